"""What every release kind shares: what it targets, how traffic is steered, what it remembers.

A status is a journal: everything needed to go on after a crash stands in it, and nothing else does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tidegate.api.analysis import AnalysisSpec, AnalysisStatus
from tidegate.api.base import Duration, Model, Rules, Time
from tidegate.api.conditions import Condition
from tidegate.api.gates import Gate, GateAt, Gates, GateStatus
from tidegate.api.health import HealthSpec, HealthStatus

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
Name = Annotated[str, Field(min_length=1, max_length=253, pattern=NAME_PATTERN)]


NAMES_SOMETHING = "match: name a header or a cookie"
PLAIN_NAMES = "match: names of headers and cookies are of letters, digits, '_' and '-'"
AGE_TOO_SHORT = "stickiness.maxAge must be at least 1s"


class TargetRef(Model):
    """The workload that is released."""

    kind: Literal["Deployment"] = "Deployment"
    """Its kind."""
    name: Name
    """Its name, in the namespace of the release."""


class ServiceRef(Model):
    """A Service in the namespace of the release."""

    name: Name
    """Its name."""


class RouteRef(Model):
    """A route in the namespace of the release."""

    kind: Literal["HTTPRoute", "GRPCRoute"] = "HTTPRoute"
    """Its kind."""
    name: Name
    """Its name."""

    @classmethod
    def of(cls, name: str) -> Self:
        """From Kind/name."""
        return cls.model_validate(dict(zip(("kind", "name"), name.split("/"), strict=True)))


class GatewayTraffic(Model):
    """Traffic steered by routes of the Gateway API."""

    routes: Annotated[tuple[RouteRef, ...], Field(min_length=1, max_length=16)]
    """The routes whose rules point at the Service. Each must."""

    def names(self) -> tuple[str, ...]:
        """As Kind/name."""
        return tuple(f"{route.kind}/{route.name}" for route in self.routes)

    @classmethod
    def of(cls, names: Sequence[str]) -> GatewayTraffic | None:
        """With those of the names that are its; None where there is none."""
        refs = [RouteRef.of(name) for name in names if name.startswith(("HTTPRoute/", "GRPCRoute/"))]
        return cls.model_construct(routes=tuple(refs)) if refs else None


class NginxTraffic(Model):
    """Traffic steered by an Ingress, with the canary annotations of ingress-nginx."""

    ingress: Name | None = None
    """The Ingress whose paths lead to the Service. Default: every Ingress of the namespace that leads to it."""

    def names(self) -> tuple[str, ...]:
        """As Kind/name."""
        return (f"Ingress/{self.ingress or '*'}",)

    @classmethod
    def of(cls, names: Sequence[str]) -> Self | None:
        """With that of the names which is its; with none where there are several; None where there is none."""
        found = [name.partition("/")[2] for name in names if name.startswith("Ingress/")]
        return cls(ingress=found[0] if len(found) == 1 else None) if found else None


class TraefikTraffic(Model):
    """Traffic steered by the weights of a TraefikService."""

    service: Name | None = None
    """The TraefikService that lists the Service. Default: every one of the namespace that lists it."""

    def names(self) -> tuple[str, ...]:
        """As Kind/name."""
        return (f"TraefikService/{self.service or '*'}",)

    @classmethod
    def of(cls, names: Sequence[str]) -> Self | None:
        """With that of the names which is its; with none where there are several; None where there is none."""
        found = [name.partition("/")[2] for name in names if name.startswith("TraefikService/")]
        return cls(service=found[0] if len(found) == 1 else None) if found else None


class PodShare(Model):
    """No router: whoever asks the Service reaches both revisions, by their pods."""


class TrafficSpec(Model):
    """How requests are shared between stable and candidate. With no router named, all that lead to the Service are."""

    gateway: GatewayTraffic | None = None
    """Routes of the Gateway API. Default: every HTTPRoute and GRPCRoute of the namespace that points at the Service."""
    nginx: NginxTraffic | None = None
    """An Ingress of ingress-nginx, or of Traefik in its place."""
    traefik: TraefikTraffic | None = None
    """A TraefikService of weights."""
    pod_share: PodShare | None = None
    """No router: requests are shared by the Service alone, in proportion to ready pods."""
    propagation: Duration = timedelta(seconds=5)
    """How long a router that only says that it has read a route may take to apply it."""

    def names(self) -> tuple[str, ...] | None:
        """The routes that are named, as Kind/name, and Kind/* for all of a kind; None where nothing is named."""
        said = [one.names() for one in (self.gateway, self.nginx, self.traefik) if one is not None]
        return tuple(name for names in said for name in names) if said else None

    def finding(self, names: Sequence[str]) -> TrafficSpec:
        """The same with the routes that were found, as Kind/name."""
        found = {"gateway": GatewayTraffic.of(names), "nginx": NginxTraffic.of(names)}
        return self.model_copy(update={**found, "traefik": TraefikTraffic.of(names)})


class RollbackSpec(Model):
    """Going back to what was promoted before."""

    window: Annotated[int, Field(ge=0, le=10)] = 0
    """A template that was stable among the last so many promotions is released without steps: its pods first, then
    all requests at once. 0: it is released like any other."""


Image = Annotated[str, Field(min_length=1, max_length=512)]


Token = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.-]+$")]
"""What may stand in a header or a cookie to be told by."""


class Match(Model):
    """Requests that are told by what their clients send: all of it."""

    headers: Annotated[dict[str, Token], Field(default_factory=dict, max_length=4)]
    """Values by the names of headers."""
    cookies: Annotated[dict[str, Token], Field(default_factory=dict, max_length=1)]
    """Values by the names of cookies."""

    cel_rules: ClassVar[Rules] = (("has(self.headers) || has(self.cookies)", NAMES_SOMETHING),)

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        names = [*self.headers, *self.cookies]
        if not names:
            raise ValueError(NAMES_SOMETHING)
        if not all(re.fullmatch("[A-Za-z0-9_-]+", name) for name in names):
            raise ValueError(PLAIN_NAMES)
        return self


Matches = Annotated[tuple[Match, ...], Field(max_length=4)]
"""Those of any."""


Cookie = Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Za-z][A-Za-z0-9_-]*$")]
"""The name of one of ours."""


class Stickiness(Model):
    """Visitors stay where their first request was sent, by a cookie."""

    cookie: Cookie
    """Its name. Where the router keeps visitors by a cookie of its own (an Ingress), that one's name counts."""
    max_age: Duration = timedelta(hours=1)
    """How long a visitor stays, from that first request on; then another one is. Whole seconds."""

    cel_rules: ClassVar[Rules] = (
        ("!has(self.maxAge) || self.maxAge.contains('d') || duration(self.maxAge) >= duration('1s')", AGE_TOO_SHORT),
    )

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.max_age < timedelta(seconds=1):
            raise ValueError(AGE_TOO_SHORT)
        return self

    @property
    def seconds(self) -> int:
        """The age in whole seconds."""
        return int(self.max_age.total_seconds())


class Stay(Stickiness):
    """The same for one candidate: what a visitor has of another says nothing."""

    candidate: str
    """Its pod-template-hash."""


@dataclass(frozen=True)
class Share:
    """Who goes to the candidate: what routes say, or are to say."""

    weight: int | None
    """The share of requests in percent; None of a route at rest on the user's Service."""
    match: tuple[Match, ...] = ()
    """Requests that go there whatever the weight: those of any of these."""
    stay: Stay | None = None
    """How visitors stay where they were sent; None where each request is sent anew."""


AT_REST = Share(None)
"""Routes are on the user's Service, as they were."""
ALL_STABLE = Share(0)
"""Nobody goes to the candidate."""


@dataclass(frozen=True)
class Step:
    """One step of a release of any kind, as the machine goes it. Pods are percentages of the Deployment's replicas."""

    weight: int
    """The candidate's share of requests, in percent."""
    bake: timedelta
    """How long it is watched once its weight is applied."""
    pods: int
    """Of the candidate."""
    stable: int = 100
    """Of stable, while the step lasts."""
    out: int = 0
    """So many at most are missing from service while pods are replaced."""
    judged: bool = True
    """At its end the evidence is asked. Else only what fails turns it back."""
    name: str = ""
    """What a reader knows it by, where its number says little."""
    match: tuple[Match, ...] = ()
    """Requests that go to the candidate whatever the weight: those of any of these."""
    sticky: Stickiness | None = None
    """How visitors stay where they were sent while it lasts."""

    def share(self, candidate: str) -> Share:
        """What routes are to say, of a candidate with this hash."""
        stay = Stay(**dict(self.sticky), candidate=candidate) if self.sticky else None
        return Share(self.weight, self.match, stay)


COMPARES_REVISIONS = "spec.analysis.metrics: {{variant}} is for flags: a release compares {{revision}} or {{pods}}"


class ReleaseSpec(Model):
    """The part of spec that all release kinds have."""

    switches: ClassVar[bool] = False
    """Callers of the Service itself go over with the last weight, and not at the promotion."""
    routed: ClassVar[bool] = True
    """Weights are written to routes, where there are any."""
    needs_route: ClassVar[bool] = True
    """Without a route the release is blocked, unless it is to share by pods."""

    target_ref: TargetRef
    """The Deployment to release."""
    service_ref: ServiceRef | None = None
    """The Service of the workload. Default: the only Service that selects its pods."""
    images: Annotated[dict[str, Image], Field(default_factory=dict, max_length=32)]
    """Images by container: a second way to start a release. Written to the Deployment's template, once for each wish;
    who changes the template after that has the last word."""
    traffic: TrafficSpec = TrafficSpec()
    """How requests are shared. Default: discovered, and shown in status.effective."""
    analysis: AnalysisSpec = AnalysisSpec()
    """How the candidate is compared with stable."""
    health: HealthSpec = HealthSpec()
    """What is asked of every candidate pod, before it gets traffic and while it has it."""
    gates: Gates = ()
    """Who or what must say yes, and at which point."""
    drain: Duration = timedelta(seconds=30)
    """Traffic is gone, then this long, then the pods go."""
    progress_deadline: Duration = timedelta(minutes=10)
    """Candidate pods that are not Ready by then make the release revert."""
    paused: bool = False
    """Holds the release where it is. Never holds a revert."""
    rollback: RollbackSpec = RollbackSpec()
    """Going back to what was promoted before."""

    @model_validator(mode="after")
    def _compares_revisions(self) -> Self:
        if any("{{variant}}" in query for metric in self.analysis.metrics for query in metric.texts):
            raise ValueError(COMPARES_REVISIONS)
        return self

    @property
    def lastly(self) -> tuple[Gate, ...]:
        """Gates that other fields imply: asked when all others of their point have passed."""
        return ()

    @property
    def asked(self) -> tuple[Gate, ...]:
        """The gates, and those that other fields imply."""
        return (*self.gates, *self.lastly)

    @property
    def preview_service(self) -> str:
        """The name of one more Service that leads to the candidate; none by default."""
        return ""

    @property
    def retreats(self) -> bool:
        """What fails in a step takes the release back to the step before, to be held there."""
        return False

    def plan(self) -> tuple[Step, ...]:
        """The steps to go, the last of which gives the candidate all requests."""
        raise NotImplementedError


TARGET_STAYS: Rules = (
    (
        "self.spec.targetRef.name == oldSelf.spec.targetRef.name || !has(self.status) || !has(self.status.stable)",
        "spec.targetRef cannot change while a Deployment is under management: delete this release, create another",
    ),
)
REVISIONS_ONLY: Rules = (
    (
        "!has(self.spec.analysis) || !has(self.spec.analysis.metrics) || self.spec.analysis.metrics.all(m,"
        " (!has(m.ratio) || (!m.ratio.of.contains('{{variant}}') && !m.ratio.to.contains('{{variant}}')))"
        " && (!has(m.gauge) || !m.gauge.query.contains('{{variant}}')))",
        COMPARES_REVISIONS,
    ),
)
LONGEST_NAME = 63
"""Characters of a label's value, and of a Service's name."""
NAME_FITS: Rules = (
    (
        # What is under management already must be free to go: its finalizer is removed by an update.
        f"self.metadata.name.size() <= {LONGEST_NAME} || (has(self.status) && has(self.status.stable))",
        f"metadata.name: at most {LONGEST_NAME} characters, as it is the value of a label: use a shorter one",
    ),
)
OF_EVERY_KIND: Rules = (*TARGET_STAYS, *NAME_FITS, *REVISIONS_ONLY)
"""Rules of every release kind."""


def unfit(name: str) -> str:
    """Why a release cannot be called so; empty where it can."""
    ((_, message),) = NAME_FITS
    return f"{message} (got {len(name)})" if len(name) > LONGEST_NAME else ""


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


class RequestAction(StrEnum):
    """What people ask of a release, by the annotation ``tidegate.dev/request``."""

    PROMOTE = "Promote"
    """Go through the remaining steps without their bakes. A failing analysis still reverts."""
    PAUSE = "Pause"
    """Hold the release where it is. Never holds a revert."""
    RESUME = "Resume"
    """Go on."""
    ABORT = "Abort"
    """Back to stable, from wherever the release is until stable's pods go. Asked again of one that is Stuck on its way
    back: on, without the router's word."""
    RETRY = "Retry"
    """Release the revision again that was reverted."""
    SKIP_STEP = "SkipStep"
    """End the bake of this step."""
    APPROVE = "Approve"
    """Say yes to a manual gate that waits: to the one that is named, or to all."""


class RequestOutcome(StrEnum):
    """How a request was answered."""

    DONE = "Done"
    REFUSED = "Refused"


class RequestStatus(Model):
    """The answer to the last request."""

    id: str
    """The request's own."""
    action: str
    """What was asked."""
    by: str = ""
    """Who asked, if the request says."""
    outcome: RequestOutcome
    """Done or Refused."""
    message: str = ""
    """Why it was refused."""
    at: Time
    """When it was answered."""


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
