"""A decision while it is being made: the status as it will be, and what is to be done.

It lives inside one call of ``decide`` only, so that the stages can be written as a sequence of ensured facts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from tidegate.api.analysis import Verdict
from tidegate.api.conditions import ConditionStatus, ConditionType, Reason, set_conditions
from tidegate.api.gates import GateAt
from tidegate.api.releasestatus import Journal, Outcome, Phase, ReleaseRecord, ReleaseStatus, RevisionStatus, Stage
from tidegate.core.gate import SERVING, Bounds
from tidegate.core.observed import Observed, ReplicaSet
from tidegate.core.plan import Action, Bound, Event, Plan

POLL = timedelta(milliseconds=200)
"""How soon to look again at what no watch reports: endpoints, pods, what a router has applied."""
FIRST = timedelta(seconds=2)
"""The time of a stage in which most of that comes to pass, and is looked for twice as often."""
LATE = timedelta(seconds=15)
"""The time of a stage after which it is waited for, and looked for as where nothing is expected."""
STEADY = timedelta(seconds=1)
"""The same where nothing is expected, but trouble of a pod would matter."""
HISTORY = 10

_SHORT: dict[Phase, tuple[ConditionStatus, ConditionStatus, ConditionStatus, ConditionStatus]] = {
    # phase: Ready, Reconciling, Stalled, Progressing
    Phase.IDLE: ("True", "False", "False", "False"),
    Phase.PROGRESSING: ("False", "True", "False", "True"),
    Phase.WAITING: ("False", "True", "False", "False"),
    Phase.REVERTING: ("False", "True", "False", "True"),
    Phase.ROLLED_BACK: ("False", "False", "True", "False"),
    Phase.BLOCKED: ("False", "False", "True", "False"),
    Phase.INVALID: ("False", "False", "True", "False"),
    Phase.LET_GO: ("True", "False", "False", "False"),
}


@dataclass
class Draft:
    """See the module. ``say`` and ``wait`` decide what a reader sees; the last word counts."""

    obs: Observed
    now: datetime
    status: ReleaseStatus = field(init=False)
    phase: Phase = Phase.IDLE
    reason: Reason = Reason.IDLE
    message: str = ""
    drifted: bool = False
    actions: list[Action] = field(default_factory=list)
    urgent: list[Action] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    ended: ReleaseRecord | None = None
    wake: datetime | None = None
    watched: bool = False
    stalled: tuple[Reason, str] | None = None
    """Why somebody has to act, in whatever phase: what the stage waits for is long overdue."""
    unchanged: bool = False
    """Nothing is decided yet: what was said before stands."""
    behind: bool = False
    """The metrics were to be looked at by now, and have not answered yet."""
    gate: GateAt | None = None
    """The point at which the release stands until its gates have passed."""

    def __post_init__(self) -> None:
        self.status = self.obs.release.status

    @property
    def journal(self) -> Journal:
        """The journal, begun where there was none."""
        return self.status.journal or Journal(since=self.now)

    def set(self, **changes: object) -> None:
        """Change fields of the status."""
        self.status = self.status.model_copy(update=changes)

    def note(self, **changes: object) -> None:
        """Change fields of the journal."""
        self.set(journal=self.journal.model_copy(update=changes))

    def enter(self, stage: Stage) -> None:
        """Begin a stage. Its time starts now."""
        self.note(stage=stage, since=self.now, settled_at=None, held_since=None)

    def hold(self) -> None:
        """The stage is stopped by somebody: its time does not run."""
        if self.journal.held_since is None:
            self.note(held_since=self.now)

    def go_on(self) -> None:
        """The stage is stopped no more."""
        if self.journal.held_since is not None:
            self.note(since=self.now - self.waited(), held_since=None)

    def waited(self) -> timedelta:
        """How long the stage has been at work."""
        return (self.journal.held_since or self.now) - self.journal.since

    def act(self, *actions: Action) -> None:
        """Have this done once the status is written."""
        self.actions.extend(action for action in actions if action not in self.actions)

    def bound(self, replicaset: ReplicaSet, bounds: Bounds, replicas: int | None = None) -> bool:
        """Have a ReplicaSet's bounds and size be so; True when they are."""
        if replicaset.bounds == bounds and replicas in (None, replicaset.replicas):
            return True
        self.act(Bound(replicaset.name, bounds, replicas))
        return False

    def serving(self, replicaset: ReplicaSet) -> bool:
        """Have a ReplicaSet carry all of the Deployment's pods at least; True when it is asked to.

        Its floor speaks at the next write only: what was taken from it before is given back here.
        """
        desired = self.obs.deployment.replicas if self.obs.deployment else 0
        return self.bound(replicaset, SERVING, desired if replicaset.replicas < desired else None)

    def say(self, phase: Phase, reason: Reason, message: str) -> None:
        """What a reader is told."""
        self.phase, self.reason, self.message = phase, reason, message

    def stall(self, reason: Reason, message: str) -> None:
        """Nothing is expected to change any more until somebody acts."""
        self.stalled = reason, message

    def event(self, reason: Reason, message: str, type_: Literal["Normal", "Warning"] = "Normal") -> None:
        """Something happened."""
        self.events.append(Event(type_, reason, message))

    def wake_at(self, when: datetime) -> None:
        """Decide again then, or sooner."""
        self.wake = when if self.wake is None else min(self.wake, when)

    def wake_in(self, delay: timedelta) -> None:
        """Decide again after this long, or sooner."""
        self.wake_at(self.now + delay)

    def wake_soon(self) -> None:
        """Look again at what no watch reports."""
        lasts = self.now - self.journal.since
        self.wake_in(POLL / 2 if lasts < FIRST else POLL if lasts < LATE else STEADY)

    def watch(self) -> None:
        """Nothing is expected of what no watch reports, but trouble of a pod would matter."""
        self.watched = True

    def close(self, outcome: Outcome, reason: str, message: str) -> None:
        """The release under way ends here."""
        candidate, journal = self.status.candidate, self.journal
        if candidate is None:
            return
        self.ended = ReleaseRecord(
            revision=candidate.revision,
            hash=candidate.hash,
            images=candidate.images,
            outcome=outcome,
            reason=reason,
            message=message,
            started_at=journal.started_at or journal.since,
            finished_at=self.now,
        )
        self.set(
            last_release=self.ended,
            history=(self.ended, *self.status.history)[:HISTORY],
            traffic=None,
            step=None,
        )

    def plan(self) -> Plan:
        """The decision, with the status as a reader will find it."""
        if self.unchanged:
            return Plan(status=self.obs.release.status)
        release, obs = self.obs.release, self.obs
        for name in ("stable", "candidate"):
            known: RevisionStatus | None = getattr(self.status, name)
            seen = obs.by_hash(known.hash) if known else None
            if seen:
                self.set(**{name: revision(seen)})
        self._see_traffic()
        if obs.effective is not None:
            self.set(effective=obs.effective)
        self.set(
            observed_generation=release.generation,
            phase=self.phase,
            message=self.message,
            conditions=set_conditions(self.status.conditions, self._conditions(), release.generation, self.now),
        )
        return Plan(
            status=self.status,
            actions=tuple(self.actions),
            urgent=tuple(self.urgent),
            events=tuple(self.events),
            ended=self.ended,
            wake=self.wake,
            watched=self.watched,
        )

    def _see_traffic(self) -> None:
        """What became of the weight that was asked for."""
        traffic, routes, analysis = self.status.traffic, self.obs.own, self.status.analysis
        if traffic is None or not routes:
            return
        said = all(replace(route.share, weight=route.weight or 0) == traffic.share for route in routes)
        applied = said and all(route.applied for route in routes)
        seen = {
            "router": ", ".join(route.name for route in routes),
            "applied": applied,
            "observed": analysis.share if analysis else None,
            "accepted_at": (traffic.accepted_at or self.now) if applied else None,
        }
        self.set(traffic=traffic.model_copy(update=seen))

    def _conditions(self) -> list[tuple[ConditionType, ConditionStatus, Reason, str]]:
        ready, reconciling, stalled, progressing = _SHORT[self.phase]
        # The sentence with its numbers stands in status.message; a condition's must not flap.
        said = self.message if self.phase in (Phase.INVALID, Phase.BLOCKED, Phase.ROLLED_BACK) else ""
        rolled_back = self.phase is Phase.ROLLED_BACK
        # What turned the release back is said while it goes: who watches need not wait for its end.
        back = self.phase is Phase.REVERTING and self.journal.reason
        return [
            (ConditionType.READY, ready, self.reason, said),
            # kstatus reads a release that is both as one in progress.
            (ConditionType.RECONCILING, "False" if self.stalled else reconciling, self.reason, said),
            (ConditionType.STALLED, "True", *self.stalled)
            if self.stalled
            else (ConditionType.STALLED, stalled, self.reason, said),
            (ConditionType.PROGRESSING, progressing, self.reason, said),
            self._analyzed(),
            (
                ConditionType.ROLLED_BACK,
                "True" if rolled_back else "False",
                Reason.ROLLED_BACK if rolled_back else Reason(back) if back else self.reason,
                said if rolled_back else "",
            ),
            (
                ConditionType.DRIFTED,
                "True" if self.drifted else "False",
                self.reason,
                "stable serves, the Deployment's template asks for another revision" if self.drifted else "",
            ),
        ]

    def _analyzed(self) -> tuple[ConditionType, ConditionStatus, Reason, str]:
        analysis = self.status.analysis
        if analysis is None:
            return ConditionType.ANALYZED, "Unknown", Reason.NO_ANALYSIS, ""
        if analysis.verdict is Verdict.Fail:
            return ConditionType.ANALYZED, "False", Reason.ANALYSIS_FAILED, ""
        if analysis.held_by:
            return ConditionType.ANALYZED, "False", Reason.ANALYSIS_PAUSED, ""
        if analysis.verdict is Verdict.Unknown:
            return ConditionType.ANALYZED, "Unknown", Reason.ANALYSIS_UNKNOWN, ""
        return ConditionType.ANALYZED, "True", Reason.ANALYSIS_PASSING, ""


def revision(replicaset: ReplicaSet) -> RevisionStatus:
    """A ReplicaSet as the status shows it."""
    return RevisionStatus(
        revision=replicaset.revision,
        hash=replicaset.hash,
        images=replicaset.images,
        replicas=replicaset.replicas,
        ready=replicaset.ready,
    )
