"""A shop with a checkout, a cluster, an operator and a user: whole releases in virtual time.

A story reads like this::

    world = await World.begin()
    world.release("v2")
    await world.ends("Promoted")
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.cluster import TIDEGATE, FakeCluster
from tests.fakes.controllers import (
    DeploymentController,
    EndpointSliceController,
    Kubelet,
    ReplicaSetController,
    Versions,
    ready,
)
from tests.fakes.memory import StrictStore
from tests.fakes.metrics import FakeMetrics
from tests.fakes.traffic import Oracle, Router, remains
from tests.fakes.virtual import VirtualClock
from tidegate.adapters.routers.gateway import GatewayRouter
from tidegate.api.base import GROUP
from tidegate.api.release import ReleaseRecord, ReleaseStatus, Stage
from tidegate.core.reading import HASH
from tidegate.engine.act import Actor
from tidegate.engine.events import Recorder
from tidegate.engine.gate import GateCheck, needed
from tidegate.engine.leader import Fenced, Leader
from tidegate.engine.meters import Meters
from tidegate.engine.observe import Observer
from tidegate.engine.operator import WATCHED, Operator
from tidegate.engine.reconcile import Reconciler
from tidegate.engine.store import Cached
from tidegate.ports.cluster import (
    CANARY_RELEASES,
    DEPLOYMENTS,
    EVENTS,
    HTTPROUTES,
    PODS,
    REPLICASETS,
    SERVICES,
    Cluster,
    Kind,
    Object,
)

Json = dict[str, Any]
NAMESPACE, NAME, USER = "shop", "checkout", "user"

QUICK: Json = {
    "steps": [{"weight": 25, "bake": "4s"}, {"weight": 100, "bake": "2s"}],
    "drain": "1s",
    "analysis": {"metrics": []},
}
"""A release that takes seconds, judged by the kubelet alone."""


def template(image: str) -> Json:
    """A pod template."""
    return {
        "metadata": {"labels": {"app": NAME}},
        "spec": {"containers": [{"name": "app", "image": image}]},
    }


def deployment(image: str = "v1", replicas: int = 4, **spec: Any) -> Json:
    """The user's Deployment."""
    return {
        "metadata": {"name": NAME, "labels": {"app": NAME}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": NAME}},
            "template": template(image),
            "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate"},
            **spec,
        },
    }


def service(name: str = NAME) -> Json:
    """The user's Service."""
    return {"metadata": {"name": name}, "spec": {"selector": {"app": NAME}, "ports": [{"name": "http", "port": 80}]}}


def route(name: str = NAME, rules: Sequence[Json] | None = None) -> Json:
    """The user's HTTPRoute."""
    rules = rules or [{"backendRefs": [{"name": NAME, "port": 80}]}]
    return {"metadata": {"name": name}, "spec": {"parentRefs": [{"name": "gateway"}], "rules": list(rules)}}


def canary(**spec: Any) -> Json:
    """The CanaryRelease."""
    return {"metadata": {"name": NAME}, "spec": {"targetRef": {"name": NAME}, **spec}}


@dataclass
class World:
    """See the module."""

    cluster: FakeCluster
    clock: VirtualClock
    versions: Versions
    router: Router
    metrics: FakeMetrics
    oracle: Oracle
    lag: float = 0.02
    """Seconds until a watch tells the operator of a change."""
    through: Callable[[Cluster], Cluster] = lambda cluster: cluster
    """What stands between the operator and the cluster: faults."""
    restarts: int = 0
    meters: Meters = field(default_factory=Meters)
    operator: Operator | None = None
    _task: asyncio.Task[None] | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _look_due: bool = False
    _last: ReleaseRecord | None = None

    # Beginnings.

    @classmethod
    async def begin(
        cls,
        *,
        spec: Json | None = None,
        replicas: int = 4,
        versions: Versions | None = None,
        rules: Sequence[Json] | None = None,
        settle: bool = True,
        **workload: Any,
    ) -> World:
        """A checkout that serves, its release, and an operator; by default all is at rest."""
        world = cls.empty(versions)
        await world.populate(QUICK if spec is None and settle else spec, replicas, rules, settle=settle, **workload)
        return world

    async def populate(
        self,
        spec: Json | None,
        replicas: int = 4,
        rules: Sequence[Json] | None = None,
        *,
        settle: bool = True,
        **workload: Any,
    ) -> None:
        """The shop opens."""
        self.install()
        self.create(DEPLOYMENTS, deployment(replicas=replicas, **workload))
        self.create(SERVICES, service())
        self.create(HTTPROUTES, route(rules=rules))
        await asyncio.sleep(10)
        self.oracle.awake = True
        if spec is not None:
            self.create(CANARY_RELEASES, canary(**spec))
        self.start()
        if settle:
            await self.until(lambda: self.phase == "Idle" and self.condition("Ready") == "True", within=30)
            await asyncio.sleep(5)

    @classmethod
    def empty(cls, versions: Versions | None = None) -> World:
        """A cluster with its controllers, and nothing in it."""
        clock = VirtualClock()
        cluster = FakeCluster(clock)
        known = versions if versions is not None else {}
        router = Router(cluster, clock)
        metrics = FakeMetrics(cluster, clock, router, known)
        oracle = Oracle(cluster, clock, router, known)
        world = cls(cluster, clock, known, router, metrics, oracle)
        DeploymentController(cluster, clock)
        ReplicaSetController(cluster, clock)
        Kubelet(cluster, clock, known)
        EndpointSliceController(cluster, clock)
        cluster.watchers.append(world._told)
        router.changed = world._look_soon
        return world

    def install(self) -> None:
        """The gate and the Gateway."""
        self.router.install(NAMESPACE)
        self.open_gate()

    def open_gate(self) -> None:
        """The admission policies stand."""
        for kind, body in needed():
            self.cluster.create_as("admin", kind, "", body)

    def close_gate(self) -> None:
        """The admission policies are gone."""
        for kind, body in needed():
            self.cluster.delete_as("admin", kind, "", body["metadata"]["name"])

    # The operator.

    def start(self) -> None:
        """A fresh operator, with nothing in its memory."""
        cluster = self.through(self.cluster)
        store, meters = StrictStore(WATCHED), Meters()
        self.meters = meters
        leader = Leader(cluster, self.clock, "", "sim")
        cached = Cached(Fenced(cluster, leader), store)
        router = GatewayRouter(cached, [self.router], self.clock)
        gate = GateCheck(cached, TIDEGATE, meters)
        observer = Observer(cached, router, self.metrics, gate, self.clock, lambda: leader.term)
        recorder = Recorder(cached, self.clock, "sim")
        reconciler = Reconciler(cached, gate, observer, Actor(cached, router), recorder, meters, self.clock)
        self.operator = Operator(cluster, store, reconciler, meters, self.clock, leader)
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self.operator.run(self._stop), name="operator")

    async def stop(self) -> BaseException | None:
        """The operator is no more; what it died of."""
        task, self._task, self.operator = self._task, None, None
        if task is None:
            return None
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return None
        except BaseException as error:  # noqa: BLE001 - crashes are what this is for
            return error
        return None

    @property
    def crashed(self) -> bool:
        """The operator has died by itself."""
        return self._task is not None and self._task.done()

    def _told(self, kind: Kind, type_: str, obj: Object) -> None:
        self._look_soon()
        if kind in WATCHED:
            asyncio.get_running_loop().call_later(self.lag, self._tell, self.operator, kind, type_, obj)

    def _tell(self, operator: Operator | None, kind: Kind, type_: str, obj: Object) -> None:
        if operator is not None and operator is self.operator:
            # A copy of its upper parts: the engine may write to what it was given, and so must not be given ours.
            operator.told(kind, type_, {**obj, "metadata": {**obj["metadata"]}})

    def _look_soon(self) -> None:
        self._changed.set()
        if not self._look_due:
            self._look_due = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._look_due = False
        self.metrics.look()
        self.oracle.look()

    # What the user does.

    def create(self, kind: Kind, body: Json) -> Object:
        """The user creates something."""
        return self.cluster.create_as(USER, kind, NAMESPACE, body)

    def edit(self, kind: Kind, body: Json, name: str = NAME) -> Object:
        """The user changes something."""
        return self.cluster.patch_as(USER, kind, NAMESPACE, name, body)

    def delete(self, kind: Kind, name: str = NAME) -> None:
        """The user removes something."""
        self.cluster.delete_as(USER, kind, NAMESPACE, name)

    def release(self, image: str) -> None:
        """The user changes the template's image."""
        self.edit(DEPLOYMENTS, {"spec": {"template": template(image)}})

    def scale(self, replicas: int) -> None:
        """An HPA or the user scales the Deployment."""
        self.edit(DEPLOYMENTS, {"spec": {"replicas": replicas}})

    def respec(self, **spec: Any) -> None:
        """The user changes the release's spec."""
        self.edit(CANARY_RELEASES, {"spec": spec})

    # Waiting.

    async def until(self, so: Callable[[], bool], *, within: float = 120.0, revive: bool = False) -> None:
        """Wait until it is so. The oracle is heard all the time; an operator that dies ends the story."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within
        while not so():
            assert not self.oracle.violations, "\n".join(self.oracle.violations)
            if self.crashed:
                died = await self.stop()
                if not revive:
                    raise AssertionError(f"the operator died: {died!r}") from died
                self.restarts += 1
                await asyncio.sleep(0.5)
                self.start()
            if loop.time() >= end:
                raise AssertionError(f"not so within {within:.0f} s of virtual time:\n{self.describe()}")
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(1.0 if revive else 60.0, end - loop.time()))

    async def wait(self, seconds: float) -> None:
        """Time passes."""
        await asyncio.sleep(seconds)
        assert not self.oracle.violations, "\n".join(self.oracle.violations)
        assert not self.crashed, f"the operator died: {await self.stop()!r}"

    async def ends(self, outcome: str, *, within: float = 600.0, revive: bool = False) -> None:
        """A release (since the last one that was waited for) ends so; all comes to rest with nothing of ours left."""

        def ended() -> bool:
            last = self.status.last_release
            return last is not None and last != self._last and self.at_rest and last.outcome == outcome

        await self.until(ended, within=within, revive=revive)
        self._last = self.status.last_release
        await self.until(lambda: self.condition("Reconciling") == "False", within=30, revive=revive)
        await asyncio.sleep(5)
        assert not remains(self.cluster, NAMESPACE), self.describe()
        assert not self.oracle.violations, "\n".join(self.oracle.violations)

    # What is to be seen.

    @property
    def object(self) -> Object | None:
        """The release object."""
        return self.cluster.find(CANARY_RELEASES, NAMESPACE, NAME)

    @property
    def status(self) -> ReleaseStatus:
        """Of the release."""
        found = self.object
        return ReleaseStatus.model_validate(found.get("status", {}) if found else {})

    @property
    def phase(self) -> str:
        """As kubectl prints it."""
        return str(self.status.phase)

    @property
    def stage(self) -> Stage:
        """Where the machine is."""
        return self.status.journal.stage if self.status.journal else Stage.REST

    @property
    def at_rest(self) -> bool:
        """Nothing is under way."""
        return self.stage is Stage.REST

    @property
    def outcome(self) -> str:
        """Of the last release."""
        return str(self.status.last_release.outcome) if self.status.last_release else ""

    @property
    def reason(self) -> str:
        """Of the last release's end."""
        return self.status.last_release.reason if self.status.last_release else ""

    @property
    def step(self) -> int:
        """The step under way, from 1."""
        return self.status.step.index if self.status.step else 0

    def baking(self, step: int) -> Callable[[], bool]:
        """That this step bakes."""
        return lambda: self.stage is Stage.BAKE and self.step == step

    def condition(self, type_: str) -> str:
        """Status of a condition."""
        return next((c.status for c in self.status.conditions if c.type == type_), "")

    def conditions(self) -> dict[str, str]:
        """Status of all conditions."""
        return {c.type: c.status for c in self.status.conditions}

    def why(self, type_: str = "Ready") -> str:
        """Reason of a condition."""
        return next((c.reason for c in self.status.conditions if c.type == type_), "")

    def events(self) -> list[str]:
        """Reasons of the Events written, in order."""
        return [w.after["reason"] for w in self.cluster.writes if w.kind == EVENTS and w.after]

    def pods(self) -> Counter[str]:
        """Ready pods by image."""
        return Counter(
            pod["spec"]["containers"][0]["image"]
            for pod in self.cluster.all(PODS, NAMESPACE)
            if ready(pod) and "deletionTimestamp" not in pod["metadata"]
        )

    def pods_created(self) -> Counter[str]:
        """Pods ever created, by image."""
        return Counter(
            w.after["spec"]["containers"][0]["image"]
            for w in self.cluster.writes
            if w.kind == PODS and w.verb == "create" and w.after
        )

    def rules(self, name: str = NAME) -> list[Json]:
        """Rules of the route."""
        found = self.cluster.find(HTTPROUTES, NAMESPACE, name)
        return list(found["spec"]["rules"]) if found else []

    def target(self) -> Object:
        """The user's Deployment."""
        found = self.cluster.find(DEPLOYMENTS, NAMESPACE, NAME)
        assert found
        return found

    def traces(self) -> list[str]:
        """All that is ours, anywhere but in the release object."""
        left = remains(self.cluster, NAMESPACE)
        for kind in (DEPLOYMENTS, REPLICASETS):
            for obj in self.cluster.all(kind, NAMESPACE):
                notes = obj["metadata"].get("annotations") or {}
                left += [f"{kind.name} {obj['metadata']['name']}: {key}" for key in notes if GROUP in key]
        return left

    def requests(self) -> int:
        """How many requests Tidegate has made."""
        return self.cluster.requests.total()

    def describe(self) -> str:
        """All that helps to understand where a story is stuck."""
        sets = [
            f"  {rs['metadata']['name']}: {rs['spec']['replicas']} {rs['metadata'].get('annotations')}"
            for rs in self.cluster.all(REPLICASETS, NAMESPACE)
        ]
        selectors = [
            f"  {svc['metadata']['name']}: {svc['spec'].get('selector', {}).get(HASH)}"
            for svc in self.cluster.all(SERVICES, NAMESPACE)
        ]
        status = self.status.model_copy(update={"analysis": None, "effective": None, "conditions": ()})
        return "\n".join(
            [
                f"at {self.clock.monotonic():.2f} s, {self.conditions()}",
                f"status: {status.wire()}",
                f"events: {self.events()}",
                f"pods: {dict(self.pods())}",
                *sets,
                *selectors,
                f"rules: {self.rules()}",
                f"deployment: {self.target()['spec'].get('progressDeadlineSeconds')} {self.target().get('status')}"
                if self.cluster.find(DEPLOYMENTS, NAMESPACE, NAME)
                else "no deployment",
            ]
        )
