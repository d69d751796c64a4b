"""A decision on a flag while it is being made: the status as it will be, and what is told. Lives in one ``decide``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from tidegate.api.flag import FlagSpec
from tidegate.api.flagstatus import FlagPhase, FlagStatus, Override, RolloutStatus
from tidegate.api.flagwords import FlagCondition, FlagReason
from tidegate.api.rollout import Rollout
from tidegate.core.arms import Arms
from tidegate.core.counters import Answer
from tidegate.core.flags.check import Problem
from tidegate.core.flags.effective import EVERYBODY, Declared
from tidegate.core.flags.telemetry import Answers
from tidegate.core.plan import Event


@dataclass(frozen=True)
class Flag:
    """A FeatureFlag of the cluster."""

    declared: Declared
    uid: str = ""
    generation: int = 1
    request: str = ""
    """The annotation tidegate.dev/request."""
    unreadable: str = ""
    """Why its status cannot be read, if so: one that another version wrote."""

    @property
    def status(self) -> FlagStatus:
        """As it was read."""
        return self.declared.status or FlagStatus()


@dataclass(frozen=True)
class Observed:
    """All that is known of one flag at one time."""

    flag: Flag
    peers: Sequence[Flag] = ()
    """Others of its set: those of the same key, those that it needs, and those that they need."""
    answers: Mapping[str, Answer] | None = None
    """What the metrics answered, where a look was due."""
    counts: Answers | None = None
    """How often it is evaluated, where that was asked."""


@dataclass(frozen=True)
class FlagPlan:
    """A decision: there is nothing to do but to write the status. Gateways serve by it."""

    status: FlagStatus
    events: Sequence[Event] = ()
    wake: datetime | None = None
    """When to decide again though nothing was seen to change."""
    turned_off: FlagReason | None = None
    """This decision turns it off, for the metrics."""


@dataclass
class Draft:
    """See the module. ``say`` decides what a reader sees; the last word counts."""

    obs: Observed
    now: datetime
    spec: FlagSpec | None
    """What is served: the newest that can be."""
    problems: Sequence[Problem] = ()
    """What is wrong with the newest. There is no growth until nothing is."""
    newest: bool = True
    """The newest is what is served."""
    unmet: str = ""
    """Which prerequisite keeps it off for everybody, if one does."""
    rival: Flag | None = None
    """The flag that has its key, and is served instead."""
    status: FlagStatus = field(init=False)
    phase: FlagPhase = FlagPhase.SERVING
    reason: FlagReason = FlagReason.SERVING
    message: str = ""
    events: list[Event] = field(default_factory=list)
    wake: datetime | None = None
    turned_off: FlagReason | None = None
    expired: bool = False
    """A hold's time is over, and its declared end is to hold on, or a metric pauses the rollout: somebody had better
    look."""
    mismatch: str = ""
    """How far the arms are from their shares, if that is no chance."""

    def __post_init__(self) -> None:
        self.status = self.obs.flag.status

    @property
    def killed(self) -> bool:
        """Somebody has turned it off: in a spec that cannot be served, too."""
        said = self.obs.flag.declared.spec.get("enabled") is False
        return said or (self.spec is not None and not self.spec.enabled)

    @property
    def rollout(self) -> RolloutStatus:
        """How far it is; nowhere where there is none."""
        return self.status.rollout or RolloutStatus(digest="")

    @property
    def plan(self) -> Rollout | None:
        """What is written of it."""
        return self.spec.rollout if self.spec else None

    @property
    def partial(self) -> bool:
        """Some are in and some are not."""
        return self.plan is not None and 0 < self.rollout.milli < EVERYBODY

    @property
    def compared(self) -> bool:
        """Who is in and who is not are served what they are to be."""
        return self.partial and not self.off

    @property
    def off(self) -> bool:
        """Everybody is served the off variant."""
        return self.killed or self.status.override is not None or bool(self.unmet)

    def set(self, **changes: object) -> None:
        """Change fields of the status."""
        self.status = self.status.model_copy(update=changes)

    def note(self, **changes: object) -> None:
        """Change fields of the rollout."""
        self.set(rollout=self.rollout.model_copy(update=changes))

    def say(self, phase: FlagPhase, reason: FlagReason, message: str) -> None:
        """What a reader is told."""
        self.phase, self.reason, self.message = phase, reason, message

    def event(self, reason: FlagReason, message: str, type_: Literal["Normal", "Warning"] = "Normal") -> None:
        """Something happened."""
        self.events.append(Event(type_, reason, message))

    def wake_at(self, when: datetime) -> None:
        """Decide again then, or sooner."""
        self.wake = when if self.wake is None else min(self.wake, when)

    def wake_in(self, delay: timedelta) -> None:
        """Decide again after this long, or sooner."""
        self.wake_at(self.now + delay)

    def was(self, type_: FlagCondition) -> str:
        """Status of a condition before; nothing where it was never told."""
        return next((str(one.status) for one in self.obs.flag.status.conditions if one.type == type_), "")

    @property
    def why_ready(self) -> str:
        """Reason of Ready before, whichever way it was."""
        found = (one.reason for one in self.obs.flag.status.conditions if one.type == FlagCondition.READY)
        return next(found, "")

    @property
    def said_of_mismatch(self) -> str:
        """What was found last of the sizes of the arms."""
        type_ = FlagCondition.SAMPLE_RATIO_MISMATCH
        found = (one.message for one in self.obs.flag.status.conditions if one.type == type_ and one.status == "True")
        return next(found, "")

    def turn_off(self, reason: FlagReason, message: str) -> None:
        """Off for everybody, at once, until somebody acts. Latched by the rollout's digest, and never in the spec."""
        override = Override(reason=reason, message=message, since=self.now, rollout=self.rollout.digest)
        analysis = self.status.analysis
        self.set(override=override, analysis=analysis.model_copy(update={"journal": ""}) if analysis else None)
        self.note(until=None, started_at=None, full_since=None, paused=False, hurried=False, skipped=False)
        self.turned_off = reason
        self.event(reason, message, "Warning")


def arms(flag: Declared, spec: FlagSpec | None) -> Arms | None:
    """Who is compared: the variants that the rollout serves, and what is served to who is not in. None where these are
    the same, and nothing tells them apart."""
    if spec is None or spec.rollout is None:
        return None
    inside = served(spec)
    return Arms.of_variants(flag.namespace, flag.key, (spec.default,), inside) if inside else None


def served(spec: FlagSpec) -> tuple[str, ...]:
    """Variants that the rollout serves and nothing else does by default."""
    rollout = spec.rollout
    names = (rollout.split or (rollout.serve or "on",)) if rollout else ()
    return tuple(name for name in names if name != spec.default)
