"""What a release remembers: everything needed to go on after a crash stands in its status, and nothing else does."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field

from tidegate.api.analysis import AnalysisStatus
from tidegate.api.base import Duration, Model, Time
from tidegate.api.conditions import Condition
from tidegate.api.gates import GateAt, GateStatus
from tidegate.api.health import HealthStatus
from tidegate.api.requests import RequestStatus
from tidegate.api.traffic import Matches, Share, Stay

Image = Annotated[str, Field(min_length=1, max_length=512)]


class Phase(StrEnum):
    """Where a release stands, for a reader; derived, never decided upon."""

    IDLE = "Idle"
    PROGRESSING = "Progressing"
    WAITING = "Waiting"
    REVERTING = "Reverting"
    ROLLED_BACK = "RolledBack"
    BLOCKED = "Blocked"
    INVALID = "Invalid"
    LET_GO = "LetGo"


class Outcome(StrEnum):
    """How a release ended."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    SUPERSEDED = "Superseded"
    ABORTED = "Aborted"


class Stage(StrEnum):
    """The step of the machine that was last begun. Each is idempotent, and done when its result is seen."""

    REST = "Rest"
    """Nothing is under way."""
    PREPARE = "Prepare"
    """Two Services, the user's Service narrowed to stable, routes on the two Services at 100/0."""
    SCALE = "Scale"
    """Candidate pods for the step: Ready, and among the endpoints of their Service."""
    SHIFT = "Shift"
    """The step's weight written to the routes, and applied by the router."""
    BAKE = "Bake"
    """The step's weight watched."""
    WIDEN = "Widen"
    """The user's Service selects both revisions: at the promotion, or at a switch."""
    NARROW = "Narrow"
    """The user's Service selects the candidate only: at the promotion, or at a switch."""
    RETURN = "Return"
    """Promotion: the routes are back on the user's Service."""
    LIFT = "Lift"
    """Promotion: bounds lifted, the Deployment controller removes the old pods."""
    REVERT = "Revert"
    """Reverting: all traffic to stable, applied by the router."""
    DRAIN = "Drain"
    """Reverting: the candidate has no traffic; its last requests end."""
    RETIRE = "Retire"
    """Reverting: the candidate's pods go, routes go back on the user's Service."""
    FLAG = "Flag"
    """Reverting: the Deployment says ProgressDeadlineExceeded."""
    CLEAN = "Clean"
    """Both ways: narrowing and the two Services removed."""


class RevisionStatus(Model):
    """One revision of the workload."""

    revision: int
    """The Deployment's revision number."""
    hash: str
    """Its pod-template-hash."""
    images: tuple[str, ...] = ()
    """Images of its containers."""
    replicas: int = 0
    """Pods asked for."""
    ready: int = 0
    """Pods ready."""


class TrafficStatus(Model):
    """Where requests go."""

    router: str
    """The routes, as Kind/name."""
    weight: int
    """The candidate's share that was asked for, in percent."""
    match: Matches = ()
    """Requests that go to the candidate whatever the weight."""
    stay: Stay | None = None
    """How visitors stay where they were sent."""
    applied: bool = False
    """Whether the router serves by that weight."""
    observed: float | None = None
    """The candidate's share as the metrics count it, of this step, in percent."""
    accepted_at: Time | None = None
    """When it was first seen to."""

    @classmethod
    def asking(cls, share: Share) -> Self:
        """This was asked for, and nothing is known of it yet."""
        return cls(router="", weight=share.weight or 0, match=share.match, stay=share.stay)

    @property
    def share(self) -> Share:
        """What was asked for."""
        return Share(self.weight, self.match, self.stay)


class StepStatus(Model):
    """The step of the release."""

    index: int
    """Its number, from 1."""
    of: int
    """How many steps there are."""
    name: str = ""
    """What it is known by, where its number says little."""
    weight: int
    """Its weight, in percent."""
    match: Matches = ()
    """Requests that go to the candidate whatever the weight."""
    stay: Stay | None = None
    """How visitors stay where they were sent."""
    started_at: Time | None = None
    """When its weight was applied: the bake counts from here."""
    until: Time | None = None
    """When its bake ends."""
    left: Duration | None = None
    """What is left of a bake whose weight was lost: it goes on when the weight is applied again."""
    extensions: int = 0
    """How many times the bake was extended for want of evidence."""
    skipped: bool = False
    """The rest of the bake is skipped by a request."""

    @property
    def share(self) -> Share:
        """What routes are to say while it lasts."""
        return Share(self.weight, self.match, self.stay)


class ReleaseRecord(Model):
    """What became of a revision."""

    revision: int
    """The Deployment's revision number."""
    hash: str
    """Its pod-template-hash."""
    images: tuple[str, ...] = ()
    """Images of its containers."""
    outcome: Outcome
    """How it ended."""
    reason: str
    """A machine's word for why."""
    message: str = ""
    """A person's words for why."""
    started_at: Time
    """When the release began."""
    finished_at: Time
    """When it ended."""


class Journal(Model):
    """What the machine must remember of the release under way."""

    stage: Stage = Stage.REST
    """The stage that was last begun."""
    since: Time
    """When it was begun."""
    target_uid: str = ""
    """The Deployment that this was begun on: another object of the same name is another workload."""
    started_at: Time | None = None
    """When the release began."""
    settled_at: Time | None = None
    """When all that the stage waits for was first seen, but for a router that cannot be asked."""
    held_since: Time | None = None
    """Since when the stage is stopped by somebody: its deadline does not run meanwhile."""
    paused: bool = False
    """Held by a request."""
    braked: bool = False
    """The Deployment was paused by us, until the gate holds again."""
    images: Annotated[dict[str, str], Field(default_factory=dict)]
    """spec.images as last written to the Deployment: who changes its template after that has the last word."""
    hurried: bool = False
    """Bakes are skipped by a request."""
    retreated: str = ""
    """Why the release went back by a batch. Held there, until somebody asks for another try, or for the way back."""
    retreated_at: Time | None = None
    """When it last did."""
    returning: bool = False
    """The candidate was promoted before, within spec.rollback.window: it needs no steps."""
    served: bool = False
    """The candidate may have had requests."""
    unheard: bool = False
    """The router has not confirmed in time that traffic is on stable, and nobody waits for its word any more."""
    looked_step: int = 0
    """The step that the analysis last looked at."""
    gate: GateAt | None = None
    """The point at which the release stands until its gates have passed."""
    unready_since: Time | None = None
    """Since when candidate pods that were ready are not."""
    falls: int = 0
    """How many times all candidate pods failed at once that had been ready."""
    unknown_since: Time | None = None
    """Since when the analysis has had no answer."""
    unproven_since: Time | None = None
    """Since when a bake that is over waits for pods to pass their checks."""
    term: int = 0
    """Of the leader that works on the release: it guards against writes of the one before."""
    outcome: Outcome | None = None
    """What the release is ending as, once decided. Latched."""
    reason: str = ""
    """Why it is ending."""
    message: str = ""
    """The same for people."""


class ReleaseStatus(Model):
    """The part of status that all release kinds have."""

    observed_generation: int = 0
    """The generation that this status speaks of."""
    phase: Phase = Phase.IDLE
    """Where the release stands."""
    message: str = ""
    """The same in a sentence."""
    stable: RevisionStatus | None = None
    """The revision that serves."""
    candidate: RevisionStatus | None = None
    """The revision that is being released, or was and is held."""
    traffic: TrafficStatus | None = None
    """Where requests go while a release runs."""
    step: StepStatus | None = None
    """The step of the release under way."""
    analysis: AnalysisStatus | None = None
    """What the metrics say of the candidate."""
    health: HealthStatus | None = None
    """What the candidate's pods answer to spec.health."""
    gates: tuple[GateStatus, ...] = ()
    """What became of spec.gates, for this candidate."""
    last_release: ReleaseRecord | None = None
    """What became of the last revision."""
    history: Annotated[tuple[ReleaseRecord, ...], Field(max_length=10)] = ()
    """The last ten releases, newest first."""
    last_request: RequestStatus | None = None
    """The answer to the last request."""
    journal: Journal | None = None
    """What the operator must remember to go on after a restart."""
    effective: dict[str, object] | None = None
    """What the release goes by: the spec with its defaults, the Service and routes as found."""
    advice: str | None = None
    """What the candidate's pod template lacks to lose no request, as far as can be seen. Nothing is held up by it."""
    pending: str | None = None
    """Fields of routes of which something else was asked in mid-release: they have it when the release ends."""
    conditions: tuple[Condition, ...] = ()
    """As in the API conventions."""
