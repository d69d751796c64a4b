"""A shop with a checkout, a cluster, an operator and a user: whole releases in virtual time.

A story reads like this::

    world = await World.begin()
    world.release("v2")
    await world.ends("Promoted")
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.fakes.cluster import FakeCluster
from tests.fakes.deployments import DeploymentController, ReplicaSetController
from tests.fakes.endpoints import EndpointSliceController
from tests.fakes.jobs import JobController, Work
from tests.fakes.kubelet import GRACEFUL, Kubelet, Version, Versions, images, leaving, ready
from tests.fakes.line import Point
from tests.fakes.metrics import FakeMetrics
from tests.fakes.oracle import Oracle, remains
from tests.fakes.pods import FakePods
from tests.fakes.traffic import Router
from tests.fakes.virtual import TICK, VirtualClock
from tests.sim.process import Process
from tidegate.api.base import GROUP
from tidegate.api.gates import GateStatus
from tidegate.api.releasestatus import ReleaseRecord, ReleaseStatus, Stage
from tidegate.core.reading import HASH
from tidegate.engine.gate import needed
from tidegate.engine.meters import Meters
from tidegate.ports.cluster import (
    CANARY_RELEASES,
    DEPLOYMENTS,
    EVENTS,
    HTTPROUTES,
    INGRESS_CLASSES,
    INGRESSES,
    JOBS,
    PODS,
    REPLICASETS,
    SERVICES,
    TRAEFIK_SERVICES,
    Cluster,
    Kind,
    Object,
)
from tidegate.ports.router import Router as RouterPort

Json = dict[str, Any]
NAMESPACE, NAME, USER = "shop", "checkout", "user"
RESTARTS_IN = 0.5
"""Seconds until another process stands where one died."""

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
        "spec": {
            "containers": [
                {
                    "name": "app",
                    "image": image,
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                }
            ]
        },
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
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
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


def ingress(name: str = "checkout", host: str = "shop.example", **spec: Any) -> Json:
    """The user's Ingress."""
    backend = {"service": {"name": "checkout", "port": {"number": 80}}}
    rule = {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    return {"metadata": {"name": name}, "spec": {"ingressClassName": "nginx", "rules": [rule], **spec}}


def listed(name: str = "checkout") -> Json:
    """The user's TraefikService."""
    return {"metadata": {"name": name}, "spec": {"weighted": {"services": [{"name": "checkout", "port": 80}]}}}


MANIFESTS: Mapping[Kind, Callable[[], Json]] = {HTTPROUTES: route, INGRESSES: ingress, TRAEFIK_SERVICES: listed}
"""What may lead to the Service."""


def canary(**spec: Any) -> Json:
    """The release, of any kind."""
    return {"metadata": {"name": NAME}, "spec": {"targetRef": {"name": NAME}, **spec}}


@dataclass
class World:
    """See the module."""

    cluster: FakeCluster
    clock: VirtualClock
    versions: Versions
    router: Router
    metrics: FakeMetrics
    pods_answer: FakePods
    oracle: Oracle
    slices: EndpointSliceController = field(init=False)
    works: dict[str, Work] = field(default_factory=dict)
    """What Jobs of gates do, by image."""
    lag: float = 0.02
    """Seconds until a watch tells the operator of a change."""
    kind: Kind = CANARY_RELEASES
    """Of the release."""
    by: Kind | None = HTTPROUTES
    """What leads to the Service, if anything does."""
    also: Kind | None = None
    """Leads there, too."""
    more_routers: Sequence[Callable[[Cluster], RouterPort]] = ()
    """That operators know beside their own."""
    lease: str = ""
    """By which operators elect a leader, where there are several: NAMESPACE/NAME."""
    owners_route: Json = field(default_factory=dict)
    """As its owner wrote it last."""
    processes: list[Process] = field(default_factory=list)
    """Operators that run, or stand still."""
    meets: list[Callable[[Process, Point], None]] = field(default_factory=list)
    """Told of each point that an operator comes to (tests/fakes/line.py)."""
    restarts: int = 0
    _started: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _look_due: bool = False
    _last: ReleaseRecord | None = None
    _read: tuple[Object | None, ReleaseStatus] = (None, ReleaseStatus())

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
        lease: str = "",
        kind: Kind = CANARY_RELEASES,
        by: Kind | None = HTTPROUTES,
        also: Kind | None = None,
        **workload: Any,
    ) -> World:
        """A checkout that serves, its release, and an operator; by default all is at rest."""
        world = cls.empty(versions)
        world.lease, world.kind, world.by, world.also = lease, kind, by, also
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
        if self.by:
            self.lead(route(rules=rules) if rules else MANIFESTS[self.by]())
        else:
            self.router.unrouted = NAME
        if self.also:
            self.create(self.also, MANIFESTS[self.also]())
        await asyncio.sleep(10)
        self.oracle.awake = True
        if spec is not None:
            self.create(self.kind, canary(**spec))
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
        world = cls(cluster, clock, known, router, metrics, FakePods(cluster, known, metrics), oracle)
        DeploymentController(cluster, clock)
        ReplicaSetController(cluster, clock)
        Kubelet(cluster, clock, known)
        world.slices = EndpointSliceController(cluster, clock)
        JobController(cluster, clock, world.works)
        cluster.watchers.append(world._told)
        router.changed = world.look_soon
        return world

    def install(self) -> None:
        """The gate, the Gateway and the class of Ingresses."""
        self.router.install(NAMESPACE)
        nginx = {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}
        self.cluster.create_as("admin", INGRESS_CLASSES, "", nginx)
        self.open_gate()

    def open_gate(self) -> None:
        """The admission policies stand."""
        for kind, body in needed():
            if self.cluster.find(kind, "", body["metadata"]["name"]) is None:
                self.cluster.create_as("admin", kind, "", body)

    def close_gate(self) -> None:
        """The admission policies are gone."""
        for kind, body in needed():
            self.cluster.delete_as("admin", kind, "", body["metadata"]["name"])

    # The operator.

    def start(self) -> Process:
        """A fresh operator, with nothing in its memory."""
        self._started += 1
        process = Process(
            f"operator-{self._started}",
            self.cluster,
            self.clock,
            self.router,
            self.metrics,
            self.pods_answer,
            self.lag,
            self.lease,
            self.more_routers,
        )
        self.processes.append(process)
        process.line.listeners.append(partial(self._met, process))
        process.start()
        return process

    async def stop(self) -> None:
        """All operators are no more."""
        for process in self.processes:
            process.kill()
        self.processes.clear()
        await asyncio.sleep(0)

    def kill(self, process: Process) -> None:
        """One dies where it is; another one comes in its place, as a kubelet would have it."""
        process.kill()
        self.processes.remove(process)
        self.restarts += 1
        asyncio.get_running_loop().call_later(RESTARTS_IN, self.start)

    @property
    def meters(self) -> Meters:
        """What the only operator counts."""
        return self.process.meters

    @property
    def restarting(self) -> bool:
        """One has died, and another one is to come."""
        return self._started < self.restarts + 1

    @property
    def process(self) -> Process:
        """The only operator."""
        (process,) = self.processes
        return process

    async def _all_well(self) -> None:
        assert not self.oracle.violations, "\n".join(self.oracle.violations)
        for process in self.processes:
            if process.over:
                died = await process.died_of()
                raise AssertionError(f"the operator died: {died!r}") from died

    def _met(self, process: Process, point: Point) -> None:
        for meet in tuple(self.meets):
            meet(process, point)

    def _told(self, kind: Kind, type_: str, obj: Object) -> None:
        self.look_soon()

    def look_soon(self) -> None:
        """All judges look, before anything else happens."""
        self._changed.set()
        if not self._look_due:
            self._look_due = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._look_due = False
        try:
            self.metrics.look()
            self.oracle.look()
        except Exception:  # noqa: BLE001 - a loop would log it, and all would seem well
            self.oracle.note(traceback.format_exc())

    # What the user does.

    def create(self, kind: Kind, body: Json) -> Object:
        """The user creates something."""
        return self.cluster.create_as(USER, kind, NAMESPACE, body)

    def edit(self, kind: Kind, body: Json, name: str = NAME) -> Object:
        """The user changes something."""
        return self.cluster.patch_as(USER, kind, NAMESPACE, name, body)

    def lead(self, body: Json) -> None:
        """The owner of the route writes it, whether it is there or not."""
        assert self.by
        self.owners_route = body
        if self.cluster.find(self.by, NAMESPACE, NAME):
            self.edit(self.by, {"spec": body["spec"]})
        else:
            self.create(self.by, body)

    def delete(self, kind: Kind, name: str = NAME) -> None:
        """The user removes something."""
        self.cluster.delete_as(USER, kind, NAMESPACE, name)

    def evict(self, pod: Object) -> None:
        """Somebody has a pod go: it serves on for its grace period."""
        meta = pod["metadata"]
        if not leaving(pod):
            self.cluster.patch_as(USER, PODS, NAMESPACE, meta["name"], {"metadata": {"finalizers": [GRACEFUL]}})
            self.cluster.delete_as(USER, PODS, NAMESPACE, meta["name"])

    def fall(self, image: str, pods: int | None = None) -> None:
        """So many pods of an image, or all, are ready no more; and new ones will not be either."""
        self.versions[image] = Version(never_ready=True)
        now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        told = [{"type": type_, "status": "False", "lastTransitionTime": now} for type_ in ("Ready", "ContainersReady")]
        for name in sorted(self.named(image))[:pods]:
            self.cluster.patch_as(
                "kubelet", PODS, NAMESPACE, name, {"status": {"conditions": told}}, subresource="status"
            )

    def release(self, image: str) -> None:
        """The user changes the template's image."""
        self.edit(DEPLOYMENTS, {"spec": {"template": template(image)}})

    def scale(self, replicas: int) -> None:
        """An HPA or the user scales the Deployment."""
        self.edit(DEPLOYMENTS, {"spec": {"replicas": replicas}})

    def respec(self, **spec: Any) -> None:
        """The user changes the release's spec."""
        self.edit(self.kind, {"spec": spec})

    # Waiting.

    async def until(self, so: Callable[[], bool], *, within: float = 120.0) -> None:
        """Wait until it is so. The oracle is heard all the time; an operator that dies by itself ends the story."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within
        while not so():
            await self._all_well()
            if loop.time() >= end:
                raise AssertionError(f"not so within {within:.0f} s of virtual time:\n{self.describe()}")
            await self.changes(min(60.0, end - loop.time()))

    async def changes(self, within: float) -> None:
        """Wait until something happens, or so long."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), max(within, TICK))

    async def wait(self, seconds: float) -> None:
        """Time passes."""
        await asyncio.sleep(seconds)
        await self._all_well()

    async def ends(self, outcome: str, *, within: float = 600.0) -> None:
        """A release (since the last one that was waited for) ends so; all comes to rest with nothing of ours left."""

        def ended() -> bool:
            last = self.status.last_release
            return last is not None and last != self._last and self.at_rest and last.outcome == outcome

        await self.until(ended, within=within)
        self._last = self.status.last_release
        await self.until(lambda: self.condition("Reconciling") == "False", within=30)
        await asyncio.sleep(5)
        assert not remains(self.cluster, NAMESPACE), self.describe()
        await self._all_well()

    # What is to be seen.

    @property
    def object(self) -> Object | None:
        """The release object."""
        return self.cluster.find(self.kind, NAMESPACE, NAME)

    @property
    def status(self) -> ReleaseStatus:
        """Of the release."""
        found = self.object
        if found is not self._read[0]:
            self._read = (found, ReleaseStatus.model_validate((found or {}).get("status", {})))
        return self._read[1]

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

    def named(self, image: str) -> set[str]:
        """Names of the pods of an image that are not on their way out."""
        return {
            pod["metadata"]["name"]
            for pod in self.cluster.all(PODS, NAMESPACE)
            if not leaving(pod) and images(pod)[0] == image
        }

    def jobs(self) -> dict[str, str]:
        """Jobs that exist, and the image that each runs."""
        found = self.cluster.all(JOBS, NAMESPACE)
        return {j["metadata"]["name"]: j["spec"]["template"]["spec"]["containers"][0]["image"] for j in found}

    def jobs_created(self) -> Counter[str]:
        """Jobs ever created, by image."""
        return Counter(
            w.after["spec"]["template"]["spec"]["containers"][0]["image"]
            for w in self.cluster.writes
            if w.kind == JOBS and w.verb == "create" and w.after
        )

    def gate(self, name: str) -> GateStatus:
        """What became of a gate."""
        return next((known for known in self.status.gates if known.name == name), GateStatus(name=name))

    def pods_created(self) -> Counter[str]:
        """Pods ever created, by image."""
        return Counter(
            w.after["spec"]["containers"][0]["image"]
            for w in self.cluster.writes
            if w.kind == PODS and w.verb == "create" and w.after
        )

    def led(self) -> Json:
        """The spec of what leads to the Service."""
        found = self.cluster.find(self.by, NAMESPACE, NAME) if self.by else None
        return dict(found["spec"]) if found else {}

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
                f"route: {self.led()}",
                f"deployment: {self.target()['spec'].get('progressDeadlineSeconds')} {self.target().get('status')}"
                if self.cluster.find(DEPLOYMENTS, NAMESPACE, NAME)
                else "no deployment",
            ]
        )
