"""What of a FeatureFlag is served: its spec, unless that cannot be or its status says something else.

A person's word goes before automation's, and both only ever lead to the off variant.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.api.flag import FlagSpec
from tidegate.api.flagstatus import FlagStatus
from tidegate.core.flags.check import Problem, read

EVERYBODY = 100_000
"""Thousandths of a percent."""


@dataclass(frozen=True)
class Declared:
    """A FeatureFlag as it stands in the cluster."""

    name: str
    namespace: str
    spec: Mapping[str, Any]
    """As JSON: one that is not valid must not keep its kill switch from working."""
    status: FlagStatus | None = None
    created: str = ""
    """creationTimestamp: of several flags with one key in a set the oldest is served."""

    @property
    def age(self) -> tuple[str, str, str]:
        """The least is the oldest."""
        return self.created, self.namespace, self.name

    @property
    def key(self) -> str:
        """By which applications ask."""
        return str(self.spec.get("key") or self.name)

    @property
    def flag_set(self) -> str:
        """The set that it is in."""
        return str(self.spec.get("flagSet") or self.namespace)


def declared_of(obj: Mapping[str, Any], status: FlagStatus | None) -> Declared:
    """From JSON of the API server, with its status as it was read."""
    meta = obj["metadata"]
    made = meta.get("creationTimestamp", "")
    return Declared(meta["name"], meta.get("namespace", ""), obj.get("spec") or {}, status, made)


@dataclass(frozen=True)
class Effective:
    """A spec, and how much of it holds at present."""

    key: str
    spec: FlagSpec
    killed: bool
    """Somebody has turned it off."""
    breached: bool
    """Its analysis has turned it off."""
    milli: int
    """How much of everybody the rollout has, in thousandths of a percent."""

    @property
    def off(self) -> bool:
        """Everybody is served the off variant."""
        return self.killed or self.breached


@dataclass(frozen=True)
class Choice:
    """What could be served of a flag, the best first, and what is wrong with its newest spec by itself."""

    candidates: tuple[Effective, ...] = ()
    problems: tuple[Problem, ...] = field(default=())


def choice(declared: Declared) -> Choice:
    """The newest spec if it can be served, then the last that could."""
    newest = read(declared.spec)
    status = declared.status or FlagStatus()
    specs = [newest] if isinstance(newest, FlagSpec) else []
    if (before := accepted_spec(status.accepted)) is not None:
        accepted = read(before)
        specs += [accepted] if isinstance(accepted, FlagSpec) and accepted not in specs else []
    killed = declared.spec.get("enabled") is False
    candidates = tuple(_effective(declared.key, spec, status, killed=killed or not spec.enabled) for spec in specs)
    return Choice(candidates, () if isinstance(newest, FlagSpec) else newest)


def accepted_spec(text: str) -> Mapping[str, Any] | None:
    """The spec that a status has as accepted. One that cannot be read is none: whoever wrote it, the flag goes on."""
    try:
        found = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def rollout_digest(spec: FlagSpec) -> str:
    """What the rollout serves, and by what: where this differs, another rollout begins at nobody."""
    if spec.rollout is None:
        return ""
    whole = [spec.rollout.by, spec.rollout.split or spec.rollout.serve or "on"]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]


def _effective(key: str, spec: FlagSpec, status: FlagStatus, *, killed: bool) -> Effective:
    digest = rollout_digest(spec)
    rollout = status.rollout if status.rollout and status.rollout.digest == digest else None
    return Effective(
        key=key,
        spec=spec,
        killed=killed,
        breached=status.override is not None and status.override.rollout == digest,
        milli=min(max(rollout.milli, 0), EVERYBODY) if rollout and spec.rollout else 0,
    )
