"""What is known when a decision is made: plain values, read from the cluster a moment ago.

Everything that ``decide`` may look at is here, so a decision can be replayed from its ``Observed`` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tidegate.api.canary import CanaryRelease
from tidegate.api.conditions import Reason
from tidegate.api.release import ReleaseSpec
from tidegate.api.releasestatus import ReleaseStatus
from tidegate.api.traffic import Match, Share, Stay
from tidegate.core.asking import Asked
from tidegate.core.counters import Answer, RouterSeries, Uncounted
from tidegate.core.draining import GRACE
from tidegate.core.gate import HELD_DEADLINE, Bounds
from tidegate.core.hold import Hold
from tidegate.core.jobs import JobRun, Unread
from tidegate.core.likeness import Ports
from tidegate.core.scraping import Exposed

DEFAULT_DEADLINE = 600
"""progressDeadlineSeconds where its owner said nothing, by the API server's own default."""


@dataclass(frozen=True)
class Release:
    """The release object. Where its spec is ``invalid``, ``spec`` is the last that was not, if there was one."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: ReleaseSpec | None
    status: ReleaseStatus
    deleting: bool = False
    let_go: bool = False
    """Tidegate is to let everything go, though the objects stay: it is being uninstalled."""
    finalizer: bool = False
    """It waits for us before it goes."""
    invalid: str = ""
    """What the spec has wrong: field, value, way out."""
    unreadable: str = ""
    """What in the status is not understood: it is of another version, and is left as it is."""
    request: str = ""
    """What somebody asks of it, as it was written."""
    kind: str = CanaryRelease.kind

    @property
    def id(self) -> str:
        """By which it marks what it manages and holds: releases of two kinds may have one name."""
        return f"{self.kind}/{self.name}"

    @property
    def leaving(self) -> bool:
        """Its Deployment is to be handed back."""
        return self.deleting or self.let_go


@dataclass(frozen=True)
class ReplicaSet:
    """One revision of the workload, with the bounds that the gate keeps for it."""

    name: str
    hash: str
    revision: int
    images: tuple[str, ...] = ()
    replicas: int = 0
    current: int = 0
    """Pods that exist, as the ReplicaSet controller last counted."""
    desired: int | None = None
    """The Deployment's size when its controller sized this one."""
    ready: int = 0
    bounds: Bounds = Bounds()
    managed_by: str = ""
    """Inherited from the Deployment: the release that manages it."""
    refused: str = ""
    """Why it is not given the pods that it asks for: a quota, say."""
    template: str = ""
    """Digest of its pod template, without the hash that its controller put there."""


@dataclass(frozen=True)
class Deployment:
    """The target. ``replicas`` is what its owner asks for."""

    name: str
    uid: str
    replicas: int
    settled: bool
    """The Deployment controller has seen the newest generation."""
    revision: int
    """Revision number of the ReplicaSet of the current template."""
    strategy: str = "RollingUpdate"
    surge: int = 0
    """Pods beyond ``replicas`` that its controller may make: maxSurge."""
    paused: bool = False
    deadline: int | None = 600
    """spec.progressDeadlineSeconds."""
    min_ready_seconds: int = 0
    timed_out: bool = False
    """Its Progressing condition says ProgressDeadlineExceeded."""
    managed_by: str = ""
    """Value of the annotation that puts it under management: the release's name, or nothing."""
    deadline_note: str = ""
    """What its owner wants spec.progressDeadlineSeconds to be, while a release has another value stand there."""
    images: Mapping[str, str] = field(default_factory=dict)
    """Of the containers of its template, by name."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """Those that its template names."""
    advice: str = ""
    """What its template lacks for its pods to drain."""
    grace: int = GRACE
    """Its template's terminationGracePeriodSeconds."""
    template: str = ""
    """Digest of its pod template."""

    def has_sized(self, replicasets: Iterable[ReplicaSet]) -> bool:
        """Its controller has told all that have pods how many are wanted now."""
        return all(rs.desired == self.replicas for rs in replicasets if rs.replicas)

    @property
    def owners_deadline(self) -> int | None:
        """The progressDeadlineSeconds of its owner; None where the field was not set."""
        if self.deadline_note:
            return int(self.deadline_note) if self.deadline_note.isdigit() else None
        return DEFAULT_DEADLINE if self.deadline == HELD_DEADLINE else self.deadline


@dataclass(frozen=True)
class Pod:
    """A pod of stable or candidate."""

    name: str
    hash: str
    ready: bool
    running_since: datetime | None = None
    """When its last container started; None while one is not running."""
    ready_since: datetime | None = None
    """When Ready last became what it is."""
    created: datetime | None = None
    """When it came to be."""
    leaving: bool = False
    """It goes, or is gone and left its object: deleted, evicted, preempted, shut down with its node."""
    silent: bool = False
    """Its node is not heard of: Ready is not its kubelet's word, and all else may be old."""
    waits: str = ""
    """What it waits for before it runs."""
    excess: str = ""
    """Beyond which limit of its own it went, so that its kubelet evicted it; its object stays."""
    trouble: Reason | None = None
    """What the kubelet reported that cannot end well."""
    message: str = ""
    uid: str = ""
    address: str = ""
    """Its own IP."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """Those that its containers name."""
    exposed: Exposed = Exposed()
    """Where it exposes its counters."""


@dataclass(frozen=True)
class Checked:
    """What is known of a health check of a pod."""

    failures: int = 0
    """In a row, until now."""
    failure: str = ""
    """What was asked and answered when they began."""
    status: int = 0
    """HTTP's, of the last answer."""


@dataclass(frozen=True)
class Service:
    """A Service and the pods that serve behind it."""

    name: str
    hash: str | None
    """The pod-template-hash that its selector asks for."""
    endpoints: frozenset[str] = frozenset()
    """Names of the pods that are its ready endpoints."""
    addresses: frozenset[str] = frozenset()
    """Their addresses."""
    hold: Hold | None = None
    """The release that holds it, if one does."""
    ports: Ports = ()
    """As the two of a release have them from it."""


MIXED = -1
"""The weight of a route whose rules do not agree: it is none that anyone asks for."""
INTRODUCED = -2
"""The weight of a route that is still on the user's Service, and lists the two of the release beside it at 0."""


@dataclass(frozen=True)
class Route:
    """A route of the user's. ``weight`` is what it says now: None while it is at rest on the user's Service."""

    name: str
    """As Kind/name."""
    weight: int | None
    applied: bool
    """The router serves by what the route says now, as well as can be known."""
    waiting: str = ""
    """What the router has not done yet, where it says."""
    dropped: bool = False
    """The router answers none of its requests: a Service of it has no endpoints."""
    servers: Mapping[str, frozenset[str] | None] | None = None
    """Addresses that the router sends requests to, by Service; None where it cannot be asked, at all or of one."""
    hold: Hold | None = None
    """The release that holds it, if one does."""
    match: tuple[Match, ...] = ()
    """Requests that it sends to the candidate whatever the weight."""
    stay: Stay | None = None
    """How visitors stay where it sent them."""
    pending: str = ""
    """Fields of which something else was asked in mid-release, which waits for its end."""
    detached: bool = False
    """Whatever it is attached to is no more: nobody serves it."""

    @property
    def share(self) -> Share:
        """Who goes to the candidate by it."""
        return Share(self.weight, self.match, self.stay)

    def behind(self, service: str) -> frozenset[str] | None:
        """Addresses that requests to a Service go to; None where nobody can tell."""
        return None if self.servers is None else self.servers.get(service, frozenset())


@dataclass(frozen=True)
class Backends:
    """The user's Service, and the two of a release beside it."""

    namespace: str
    service: str
    stable: str
    canary: str
    preview: str = ""
    """One more that leads to the candidate, by a name of the user's choice."""

    @classmethod
    def of(cls, namespace: str, service: str, preview: str = "") -> Backends:
        """The two are named after the user's."""
        return cls(namespace, service, f"{service}-stable", f"{service}-canary", preview)

    @property
    def two(self) -> tuple[str, str]:
        """Those of the release."""
        return self.stable, self.canary

    @property
    def made(self) -> tuple[str, ...]:
        """All that the release makes."""
        return (*self.two, self.preview) if self.preview else self.two


@dataclass(frozen=True)
class Problem:
    """Something of the user's, or of the cluster's, that keeps a release from starting."""

    reason: Reason
    message: str
    wish: bool = False
    """It is of what the spec asks for, and not of what is there: it stops a release under way, too."""
    loose: bool = False
    """Nothing holds the sizes of revisions."""


@dataclass(frozen=True)
class Observed:
    """All that is known of one release at one time."""

    release: Release
    deployment: Deployment | None = None
    replicasets: tuple[ReplicaSet, ...] = ()
    pods: tuple[Pod, ...] = ()
    """Pods of stable and candidate; read only while a release is under way."""
    service: Service | None = None
    stable_service: Service | None = None
    canary_service: Service | None = None
    preview_service: Service | None = None
    preview: str = ""
    """What the preview's Service is called, where there is to be one."""
    made: tuple[str, ...] = ()
    """Names of all Services that the release made and that are still there."""
    routes: tuple[Route, ...] = ()
    by_service: bool = False
    """No route takes part: requests are shared by what the user's Service selects."""
    problems: tuple[Problem, ...] = ()
    """What was found wrong: missing, ambiguous, unsupported."""
    router_series: RouterSeries | Uncounted | None = None
    """Where the router counts the requests of the two revisions."""
    effective: dict[str, object] | None = None
    """The spec with its defaults, the Service and routes as found."""
    answers: Mapping[str, Answer] | None = None
    """What the metrics answered, where a look was due."""
    checked: Mapping[tuple[str, str], Checked] = field(default_factory=dict)
    """What pods answered last, by the names of pod and check; nothing of those that have yet to answer."""
    asked: Mapping[str, Asked] = field(default_factory=dict)
    """What became of the requests of gates, by the attempt."""
    jobs: tuple[JobRun, ...] | Unread = ()
    """Of the release's gates, looked for only where there may be any."""
    term: int = 0
    """Of our leadership: grows with each change of the leader."""

    @property
    def shared(self) -> bool:
        """There is something by which requests are shared."""
        return bool(self.routes) or self.by_service

    @property
    def taken(self) -> Route | None:
        """A route that another release moves weights on: only one of them does so at a time."""
        return next((route for route in self.routes if self._elsewhere(route.hold)), None)

    @property
    def own(self) -> tuple[Route, ...]:
        """The routes but for those: what they say is the other release's business."""
        return tuple(route for route in self.routes if not self._elsewhere(route.hold))

    @property
    def lent(self) -> bool:
        """Another release holds the Service, and what stands beside it."""
        return self.service is not None and self._elsewhere(self.service.hold)

    def _elsewhere(self, hold: Hold | None) -> bool:
        return hold is not None and hold.release != self.release.id

    def current(self) -> ReplicaSet | None:
        """The revision of the Deployment's template, once the controller has made it."""
        if self.deployment is None or not self.deployment.settled:
            return None
        return next((rs for rs in self.replicasets if rs.revision == self.deployment.revision), None)

    def set_back_to(self, revision: ReplicaSet) -> bool:
        """The template is that of an earlier revision, and the Deployment controller has yet to see it."""
        target = self.deployment
        return target is not None and not target.settled and target.template == revision.template != ""

    def by_hash(self, hash_: str | None) -> ReplicaSet | None:
        """The revision with this pod-template-hash."""
        return next((rs for rs in self.replicasets if rs.hash == hash_), None)

    def holds(self) -> list[Hold]:
        """Who holds the routes and the user's Service, those that are held."""
        noted = [*(route.hold for route in self.routes), self.service.hold if self.service else None]
        return [hold for hold in noted if hold]
