"""A cluster in which all goes well: what is decided is done at once, and pods are ready after a while.

The least that ``core.machine.decide`` can be asked about, so that a simulated release is decided on by what decides on
real ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from tidegate.api.analysis import CounterSource
from tidegate.api.bluegreen import Approval, BlueGreenSpec, SwitchSpec
from tidegate.api.health import HealthSpec
from tidegate.api.release import ReleaseSpec
from tidegate.api.releasestatus import Journal, ReleaseStatus, RevisionStatus
from tidegate.api.traffic import AT_REST
from tidegate.core.counters import Answer
from tidegate.core.gate import HELD, SERVING
from tidegate.core.hold import Hold
from tidegate.core.observed import Deployment, Observed, Release, ReplicaSet, Route, Service
from tidegate.core.plan import Action, Bound, DeleteServices, EnsureServices, Plan, Select, SetDeadline, Split
from tidegate.simulation.scenario import Scenario
from tidegate.simulation.world import ROUTER

OLD, NEW = "stable", "candidate"
"""Their hashes."""
_NAMESPACE = "simulated"


def ideal(spec: ReleaseSpec) -> ReleaseSpec:
    """The release where nobody has to be asked: gates say yes at once, pods are well, and nobody holds it."""
    easy: dict[str, object] = {"gates": (), "health": HealthSpec(), "paused": False, "images": {}}
    if isinstance(spec, BlueGreenSpec):
        easy |= {"switch": SwitchSpec(approval=Approval.AUTOMATIC), "preview": None}
    return spec.model_copy(update=easy)


@dataclass
class _Revision:
    """A ReplicaSet and its pods."""

    replicaset: ReplicaSet
    births: list[datetime] = field(default_factory=list)
    """When its pods are ready."""

    def ready(self, now: datetime) -> int:
        """How many pods are."""
        return sum(one <= now for one in self.births)

    def sized(self, replicas: int, ready: datetime) -> None:
        """So many pods; new ones are ready later."""
        self.births = [*self.births[:replicas], *[ready] * (replicas - len(self.births))]


class IdealCluster:
    """See the module."""

    def __init__(self, kind: str, name: str, spec: ReleaseSpec, scenario: Scenario, now: datetime) -> None:
        self.spec, pods = ideal(spec), scenario.pods
        self._kind, self._name, self._pod_start = kind, name, scenario.pod_start
        self.by_service = not spec.routed or spec.traffic.pod_share is not None
        self.router = None if self.by_service or scenario.counters is CounterSource.Pods else ROUTER
        self._deployment = Deployment(name, "d", pods, settled=True, revision=2, managed_by=f"{kind}/{name}")
        managed = f"{kind}/{name}"
        self._stable = _Revision(
            ReplicaSet(f"{name}-{OLD}", OLD, 1, replicas=pods, bounds=SERVING, managed_by=managed), [now] * pods
        )
        self._candidate = _Revision(ReplicaSet(f"{name}-{NEW}", NEW, 2, bounds=HELD, managed_by=managed))
        self._service = Service(name, None)
        self._made = False
        self._route = AT_REST
        self._held: Hold | None = None
        self.status = ReleaseStatus(
            stable=RevisionStatus(revision=1, hash=OLD), journal=Journal(since=now, target_uid="d")
        )

    def observed(self, now: datetime, answers: Mapping[str, Answer] | None = None) -> Observed:
        """What an operator would see."""
        stable, candidate = (self._seen(one, now) for one in (self._stable, self._candidate))
        ours = frozenset(f"{OLD}-{number}" for number in range(stable.ready))
        theirs = frozenset(f"{NEW}-{number}" for number in range(candidate.ready))
        all_of = {OLD: ours, NEW: theirs, None: ours | theirs}

        def service(name: str, hash_: str | None, hold: Hold | None = None) -> Service:
            return Service(name, hash_, all_of[hash_], all_of[hash_], hold)

        users = service(self._name, self._service.hash, self._service.hold)
        two = [service(f"{self._name}-stable", OLD), service(f"{self._name}-canary", NEW)] if self._made else []
        servers = {one.name: one.addresses for one in (users, *two)}
        route = Route(
            f"HTTPRoute/{self._name}",
            self._route.weight,
            applied=True,
            servers=servers,
            hold=self._held,
            match=self._route.match,
            stay=self._route.stay,
        )
        return Observed(
            release=Release(_NAMESPACE, self._name, "r", 1, self.spec, self.status, finalizer=True, kind=self._kind),
            deployment=self._deployment,
            replicasets=(stable, candidate),
            service=users,
            stable_service=two[0] if two else None,
            canary_service=two[1] if two else None,
            made=tuple(one.name for one in two),
            routes=() if self.by_service else (route,),
            by_service=self.by_service,
            router_series=self.router,
            answers=answers,
        )

    def carried_out(self, plan: Plan, now: datetime) -> bool:
        """Do what was decided; whether that was anything."""
        self.status = plan.status
        actions = (*plan.urgent, *plan.actions)
        for action in actions:
            self._do(action, now)
        return bool(actions)

    def _do(self, action: Action, now: datetime) -> None:
        match action:
            case Bound(name, bounds, replicas):
                one = self._stable if name == self._stable.replicaset.name else self._candidate
                size = one.replicaset.replicas if replicas is None else replicas
                one.replicaset = replace(one.replicaset, bounds=bounds, replicas=size)
                one.sized(size, now + self._pod_start)
            case EnsureServices():
                self._made = True
            case DeleteServices():
                self._made = False
            case Select(hash_, held):
                hold = Hold(f"{self._kind}/{self._name}") if held else None
                self._service = replace(self._service, hash=hash_, hold=hold)
            case Split(share):
                self._route = share
                self._held = Hold(f"{self._kind}/{self._name}") if share.weight is not None else None
            case SetDeadline(seconds, owners):
                self._deployment = replace(self._deployment, deadline=seconds, deadline_note=owners or "")
            case _:
                pass

    def _seen(self, one: _Revision, now: datetime) -> ReplicaSet:
        pods = len(one.births)
        return replace(one.replicaset, current=pods, ready=one.ready(now), desired=self._deployment.replicas)

    def serving(self, now: datetime) -> tuple[int, int, float]:
        """Pods of stable and of the candidate that serve, and the candidate's share of the requests."""
        stable, candidate = self._stable.ready(now), self._candidate.ready(now)
        weight = self._route.weight
        if not self.by_service and weight is not None:
            return stable, candidate, max(weight, 0) / 100
        if self._service.hash is None:
            # At rest it selects all there are, and the candidate's pods are held at none.
            return stable, candidate, candidate / (stable + candidate) if candidate else 0.0
        return stable, candidate, 1.0 if self._service.hash == NEW else 0.0

    def next_birth(self, now: datetime) -> datetime | None:
        """When the next pod is ready."""
        births = (*self._stable.births, *self._candidate.births)
        return min((one for one in births if one > now), default=None)
