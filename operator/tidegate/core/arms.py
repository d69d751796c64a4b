"""The two that are compared, and how what the one did is told from what the other did."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum

from tidegate.core.counters import RouterSeries, Uncounted
from tidegate.core.presets import Protocol

FLAG_LABEL, VARIANT_LABEL = "feature_flag_key", "feature_flag_variant"
"""By which an application's counters tell who was served what by a flag."""


class Side(StrEnum):
    """The two arms of the comparison."""

    Stable = "stable"
    Candidate = "candidate"


@dataclass(frozen=True)
class Arm:
    """One of the two: how what it did is told from what the other did."""

    name: str
    """Evidence is of arms of the same names."""
    matchers: tuple[str, ...]
    """PromQL's for its series, where pods count by themselves."""
    words: tuple[tuple[str, str], ...]
    """What stands for it in PromQL of the user's: for which word between ``{{`` and ``}}``, and what."""


@dataclass(frozen=True)
class Arms:
    """Whose requests are compared: two revisions, or who is served what by a flag."""

    stable: Arm
    candidate: Arm
    router: RouterSeries | Uncounted | None = None
    """The router's counters, where it has them for each arm; else why it has not, where that is known."""
    protocols: tuple[Protocol, ...] = (Protocol.HTTP,)
    """What the pods are asked by, in this order."""
    control: str = "stable"
    """What people call the one that the other is compared with."""
    labelled: str = ""
    """Which labels the pods' counters need, if any are needed."""
    themselves: bool = False
    """The pods are asked themselves."""
    pods: int = 0
    """Of the candidate that are ready; 0: not known, or not what the two arms are."""

    @classmethod
    def of_revisions(
        cls,
        namespace: str,
        stable: tuple[str, str],
        candidate: tuple[str, str],
        router: RouterSeries | Uncounted | None = None,
    ) -> Arms:
        """Two revisions, each by its pod-template-hash and a regular expression of its pods' names."""

        def arm(hash_: str, pods: str) -> Arm:
            matchers = (f"namespace={json.dumps(namespace)}", f"pod=~{json.dumps(pods)}")
            return Arm(hash_, matchers, (("revision", hash_), ("pods", pods), ("namespace", namespace)))

        return cls(arm(*stable), arm(*candidate), router)

    @classmethod
    def of_variants(cls, namespace: str, flag: str, control: tuple[str, ...], candidate: tuple[str, ...]) -> Arms:
        """Who is served some variants of a flag, and who is served others at the same time."""

        def arm(variants: tuple[str, ...]) -> Arm:
            # A dot in a name is no more than a dot, in a matcher and in a quoted text of the user's alike.
            either = "|".join(name.replace(".", "[.]") for name in variants)
            labels = (f"namespace={json.dumps(namespace)}", f"{FLAG_LABEL}={json.dumps(flag)}")
            matchers = (*labels, f"{VARIANT_LABEL}=~{json.dumps(either)}")
            words = (("variant", either), ("flag", flag), ("namespace", namespace))
            return Arm(f"{flag}: {either}", matchers, words)

        labelled = f" with labels {FLAG_LABEL} and {VARIANT_LABEL}"
        return cls(arm(control), arm(candidate), control="control", labelled=labelled)

    def asked_themselves(self) -> Arms:
        """The same two, by what their pods say themselves: no continuation of what Prometheus had of them."""
        stable, candidate = (replace(arm, name=f"{arm.name}, asked itself") for arm in (self.stable, self.candidate))
        return replace(self, stable=stable, candidate=candidate, router=None, themselves=True)

    def of(self, side: Side) -> Arm:
        """The arm of a side."""
        return self.stable if side is Side.Stable else self.candidate

    @property
    def names(self) -> tuple[str, str]:
        """Of what the evidence speaks."""
        return self.stable.name, self.candidate.name
