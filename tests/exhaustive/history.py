"""A history: what befalls a shop, deed after deed, as data that can be drawn at random, shrunk, printed and told again.

Each deed waits for its cue: the release enters a stage (or, without one, nothing), then so many seconds pass. At the
end all faults cease, what people left undone is put in order, and the world must come to rest where their last wishes
say; then another release must go well, as if nothing had ever been.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from tests.fakes.controllers import Version, leaving
from tests.fakes.faults import Storm
from tests.fakes.line import Point, When
from tests.fakes.oracle import remains
from tests.fakes.traffic import APPLIES
from tests.sim.process import Process
from tests.sim.world import MANIFESTS, NAME, NAMESPACE, USER, World, canary, deployment, ingress, route, service
from tidegate.api.bluegreen import APPROVED
from tidegate.api.conditions import Reason
from tidegate.api.gates import GateState
from tidegate.api.release import Phase, RequestAction, Stage
from tidegate.core.gate import CEILING, FLOOR, RELEASE
from tidegate.core.jobs import JOB_NAME
from tidegate.core.reading import HASH
from tidegate.core.requests import REQUEST
from tidegate.ports.cluster import (
    BLUE_GREEN_RELEASES,
    CANARY_RELEASES,
    DEPLOYMENTS,
    HTTPROUTES,
    INGRESSES,
    PODS,
    REPLICASETS,
    ROLLING_RELEASES,
    SERVICES,
    TRAEFIK_SERVICES,
    ClusterError,
    Conflict,
    Kind,
    Unavailable,
)

VERSIONS: Mapping[str, Version] = {
    "v1": Version(),
    "v2": Version(starts_in=0.5),
    "v3": Version(starts_in=4.0),
    "erroneous": Version(errors=0.5),
    "crashing": Version(crashes=True),
    "unready": Version(never_ready=True),
    "missing": Version(image_missing=True),
    "tiring": Version(fails_after=6.0),
}
GOOD = ("v1", "v2", "v3")
BAD = tuple(sorted(set(VERSIONS) - set(GOOD)))
PROBE = "another"
"""The version that is released last of all."""

QUIET: dict[str, Any] = {
    "steps": [{"weight": 25, "bake": "4s"}, {"weight": 60, "bake": "2s"}],
    "drain": "1s",
    "progressDeadline": "60s",
    "analysis": {"metrics": []},
}
MARKED: dict[str, Any] = {"match": [{"headers": {"x-canary": "always"}}], "bake": "3s"}
GATED: dict[str, Any] = {
    **QUIET,
    "health": {"checks": [{"name": "deep", "http": {"path": "/", "port": 80}, "interval": "1s"}]},
    "gates": [
        {"name": at.lower(), "at": at, "job": {"template": {"spec": {"containers": [{"name": "t", "image": "gate"}]}}}}
        for at in ("BeforeStart", "BeforeStep", "BeforePromotion", "AfterPromotion")
    ],
}
MEASURED: dict[str, Any] = {
    **QUIET,
    "steps": [{"weight": 25, "bake": "20s"}, {"weight": 100, "bake": "6s"}],
    "analysis": {"interval": "2s", "warmup": "0s", "minRequests": 10},
}
SWITCH: dict[str, Any] = {
    "watch": "4s",
    "keep": "3s",
    "drain": "1s",
    "progressDeadline": "60s",
    "traffic": {"propagation": "1s"},
    "analysis": {"metrics": []},
}
BATCHES: dict[str, Any] = {
    "batch": "30%",
    "onFailure": "RevertAll",
    "bake": "2s",
    "drain": "1s",
    "progressDeadline": "60s",
    "traffic": {"propagation": "1s"},
    "analysis": {"metrics": []},
}
JUDGED: dict[str, Any] = {key: GATED[key] for key in ("health", "gates")}
PREVIEW: dict[str, Any] = {"preview": {"service": "checkout-preview"}, "switch": {"approval": "Manual"}}
WINDOW: dict[str, Any] = {"rollback": {"window": 2}}
BY_PODS: dict[str, Any] = {
    **QUIET,
    "steps": [{"weight": 25, "bake": "4s"}, {"weight": 50, "bake": "2s"}],
    "traffic": {"podShare": {}, "propagation": "1s"},
}


NOT_WIDENED = frozenset({Stage.WIDEN.value})
"""Where the Service leads to both revisions all the time."""


@dataclass(frozen=True)
class Scene:
    """What kind of release it is, and what leads to the Service, if anything does."""

    spec: Mapping[str, Any]
    kind: Kind = CANARY_RELEASES
    by: Kind | None = HTTPROUTES
    also: Kind | None = None
    """Leads there, too."""
    skips: frozenset[str] = frozenset()
    """Stages that its releases do not come to."""

    @property
    def stages(self) -> tuple[str, ...]:
        """Those that they do."""
        return tuple(stage.value for stage in Stage if stage.value not in self.skips)


SCENES: Mapping[str, Scene] = {
    "quiet": Scene(QUIET),
    "measured": Scene(MEASURED),
    "gated": Scene(GATED),
    "dark": Scene({**QUIET, "steps": [MARKED, *QUIET["steps"]]}),
    "sticky": Scene({**QUIET, "stickiness": {"cookie": "stay"}}),
    "nginx": Scene(QUIET, by=INGRESSES),
    "nginx-dark": Scene({**QUIET, "steps": [MARKED, *QUIET["steps"]]}, by=INGRESSES),
    "list": Scene(QUIET, by=TRAEFIK_SERVICES),
    "list-sticky": Scene({**QUIET, "stickiness": {"cookie": "stay"}}, by=TRAEFIK_SERVICES),
    "by-pods": Scene(BY_PODS, by=None, skips=NOT_WIDENED),
    "several": Scene(QUIET, also=INGRESSES),
    "window": Scene({**QUIET, **WINDOW}),
    "switch": Scene(SWITCH, BLUE_GREEN_RELEASES),
    "switch-judged": Scene({**SWITCH, "watch": "30s", "analysis": MEASURED["analysis"]}, BLUE_GREEN_RELEASES),
    "switch-service": Scene(SWITCH, BLUE_GREEN_RELEASES, by=None),
    "switch-nginx": Scene(SWITCH, BLUE_GREEN_RELEASES, by=INGRESSES),
    "switch-list": Scene(SWITCH, BLUE_GREEN_RELEASES, by=TRAEFIK_SERVICES),
    "switch-preview": Scene({**SWITCH, **PREVIEW}, BLUE_GREEN_RELEASES),
    "switch-gated": Scene({**SWITCH, **JUDGED}, BLUE_GREEN_RELEASES),
    "switch-several": Scene(SWITCH, BLUE_GREEN_RELEASES, also=INGRESSES),
    "switch-window": Scene({**SWITCH, **WINDOW}, BLUE_GREEN_RELEASES),
    "batches": Scene(BATCHES, ROLLING_RELEASES, by=None, skips=NOT_WIDENED),
    "batches-routed": Scene(BATCHES, ROLLING_RELEASES, skips=NOT_WIDENED),
    "batches-gated": Scene({**BATCHES, **JUDGED}, ROLLING_RELEASES, by=None, skips=NOT_WIDENED),
    "batches-one-back": Scene({**BATCHES, "onFailure": "RevertBatch"}, ROLLING_RELEASES, by=None, skips=NOT_WIDENED),
    "batches-window": Scene({**BATCHES, **WINDOW}, ROLLING_RELEASES, by=None, skips=NOT_WIDENED),
}

RESTS_WITHIN = 900.0
"""Seconds of virtual time, of which a watch that lost something may take 330 until the next audit."""
CUE_WITHIN = 40.0
SHORTEST = 60.0
"""Seconds: the deadline of a stage, in all scenes."""
ANSWERED_IN = 1.0
"""Seconds that people take to see that they are asked."""
BUSY = 2000
"""Requests a minute that are more than a release under way needs."""
IDLE = 12
"""Requests in a minute at rest: those of an audit."""


@dataclass(frozen=True)
class Deed:
    """What is done, and on which cue."""

    what: str
    arg: Any = None
    stage: str = ""
    after: float = 0.0

    def __repr__(self) -> str:
        cue = f", stage={self.stage!r}" if self.stage else ""
        return f"Deed({self.what!r}, {self.arg!r}{cue}, after={self.after!r})"


@dataclass(frozen=True)
class History:
    """How the shop was, and what befell it."""

    deeds: tuple[Deed, ...]
    scene: str = "quiet"
    replicas: int = 4
    seed: int = 0
    """Of what is left to chance within it: which requests a storm hits, in which order watches tell."""


@dataclass
class Telling:
    """A history while it is told."""

    history: History
    world: World
    random: Random
    met: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Which deeds were done in which stage."""
    asked: int = 0
    aborted: bool = False
    """Somebody asked for it, or took away what a good release needs."""
    paused: bool = False
    """Somebody asked for it."""
    unmanaged: bool = False
    """The Deployment was taken out of the gate: a bad version may be in mid-rollout, for ever."""
    lost: bool = False
    """A watch has missed something, that nobody knows of before the next audit."""
    disobeyed: float = math.inf
    """Since when the router does not do what routes say."""
    outwaited: bool = False
    """It did not for as long as the shortest deadline is."""
    requests: dict[str, deque[float]] = field(default_factory=dict)
    healed: bool = False
    """People put in order what they find."""

    async def tell(self) -> None:
        """All of it. What is wrong is an AssertionError."""
        people = asyncio.create_task(self._answer())
        try:
            await self._tell()
        finally:
            people.cancel()

    async def _answer(self) -> None:
        """People approve what waits for them, and at the end have go on what was held."""
        while True:
            await asyncio.sleep(ANSWERED_IN)
            status = self.world.status
            if any(gate.name == APPROVED.name and gate.state is GateState.RUNNING for gate in status.gates):
                ask(self, RequestAction.APPROVE)
            elif self.healed and status.journal and status.journal.retreated:
                ask(self, RequestAction.RESUME)

    async def _tell(self) -> None:
        world = self.world
        world.meets.append(self._count)
        world.oracle.prompt = all(deed.what in OF_PEOPLE for deed in self.history.deeds)
        for deed in self.history.deeds:
            await self._cue(deed)
            if world.object is None:
                world.oracle.excuse("nobody holds the Deployment")
            self.met[world.stage.value, deed.what] += 1
            await DEEDS[deed.what](self, deed.arg)
            world.look_soon()
            await world.wait(0.001)
        await self._heal()
        await self._rests()
        self._as_wished()
        await self._quiet()
        await self._goes_on()

    async def _cue(self, deed: Deed) -> None:
        world, loop = self.world, asyncio.get_running_loop()
        ends = loop.time() + CUE_WITHIN
        if deed.stage:
            while world.stage.value != deed.stage and loop.time() < ends:
                await world.changes(min(1.0, ends - loop.time()))
        await world.wait(deed.after)

    def _count(self, process: Process, point: Point) -> None:
        if point.when == "before" and point.request:
            now = asyncio.get_running_loop().time()
            times = self.requests.setdefault(process.name, deque())
            times.append(now)
            while times[0] < now - 60:
                times.popleft()
            if len(times) > BUSY:
                self.world.oracle.note(f"{process.name} made {len(times)} requests within a minute")

    def hear_router(self, *, well: bool) -> None:
        """From now on the router does what routes say, or does not."""
        self.outwaited = self.outwaited or self.now() > self.disobeyed + SHORTEST
        self.disobeyed = math.inf if well else min(self.disobeyed, self.now())

    def now(self) -> float:
        """Virtual seconds."""
        return self.world.clock.monotonic()

    @property
    def image(self) -> str:
        """What the template asks for."""
        return str(self.world.target()["spec"]["template"]["spec"]["containers"][0]["image"])

    async def _heal(self) -> None:
        """Nothing fails any more, and people put in order what they had taken away."""
        world = self.world
        for process in world.processes:
            process.line.slow, process.watch.deaf, process.watch.twice, process.watch.mixed = 0.0, False, False, None
            process.watch.lag = world.lag
            del process.line.listeners[1:]
            process.line.thaw()
        if not world.processes and not world.restarting:
            world.start()
        world.metrics.outage, world.metrics.empty, world.metrics.nan = "", False, False
        world.metrics.rate = 200.0
        self.hear_router(well=True)
        world.router.recover()
        world.open_gate()
        if world.cluster.find(DEPLOYMENTS, NAMESPACE, NAME) is None:
            world.oracle.excuse("the Deployment was gone")
            world.create(DEPLOYMENTS, deployment("v1", self.history.replicas))
        elif world.target()["spec"].get("paused"):
            world.edit(DEPLOYMENTS, {"spec": {"paused": None}})
        if (self.unmanaged or world.status.stable is None) and self.image in BAD:
            # Of a rollout that nobody held the end has to be seen.
            world.release("v1")
        if world.cluster.find(SERVICES, NAMESPACE, NAME) is None:
            world.create(SERVICES, service())
        if world.by and world.cluster.find(world.by, NAMESPACE, NAME) is None:
            world.lead(world.owners_route)
        if world.object is not None and "deletionTimestamp" not in world.object["metadata"]:
            scene = SCENES[self.history.scene]
            spec = scene.spec
            back = {"onFailure": "RevertAll"} if "onFailure" in spec else {}
            # What needs a router is refused of who has none, for as long as it stands; an Ingress needs to be told.
            keeps = scene.by in (HTTPROUTES, TRAEFIK_SERVICES) and scene.also is None
            if world.by and "stickiness" in spec:
                # It is refused of a rule that leads to others, too.
                world.lead(MANIFESTS[world.by]())
            loose = {} if keeps else {"stickiness": None}
            world.edit(world.kind, {"spec": {"paused": None, **loose, **spec, **back}})
            if self.paused:
                ask(self, RequestAction.RESUME)
        self.healed = True

    async def _rests(self) -> None:
        """A release that was deleted is gone; any other has come to its end."""
        world = self.world
        if self.lost:
            # Of what a watch lost the operator knows no sooner than at the next audit.
            await world.wait(330)
        await self._rested()
        if world.object is not None:
            return
        world.oracle.excuse("nobody holds the Deployment")
        assert not remains(world.cluster, NAMESPACE), world.describe()
        if self.image in BAD:
            world.release("v1")
        await world.wait(60)
        assert set(world.pods()) <= {self.image}, world.describe()
        world.create(world.kind, canary(**SCENES[self.history.scene].spec))
        await self._rested()

    async def _rested(self) -> None:
        world = self.world

        def resting() -> bool:
            if world.object is None:
                return not world.traces()
            if "deletionTimestamp" in world.object["metadata"]:
                return False
            fresh = world.status.observed_generation == world.object["metadata"]["generation"]
            done = world.phase in (Phase.IDLE, Phase.ROLLED_BACK) and world.condition("Reconciling") == "False"
            return fresh and done and world.at_rest and self._template_seen()

        end = self.now() + RESTS_WITHIN
        while True:
            await world.until(resting, within=max(1.0, end - self.now()))
            # Rest is what lasts.
            await world.wait(6)
            if resting():
                return

    def _template_seen(self) -> bool:
        """The last word is about the template that stands there now."""
        status = self.world.status
        spoken = status.candidate or status.stable
        return spoken is not None and spoken.images == (self.image,)

    def _as_wished(self) -> None:
        """The end is the one that the last wishes have, however it was reached."""
        world, status = self.world, self.world.status
        wanted = world.target()["spec"]["replicas"]
        told = world.describe()
        assert not remains(world.cluster, NAMESPACE), told
        assert world.led() == world.owners_route.get("spec", {}), told
        if also := SCENES[self.history.scene].also:
            (found,) = world.cluster.all(also, NAMESPACE)
            assert found["spec"] == MANIFESTS[also]()["spec"], told
        assert status.stable is not None, told
        assert world.target()["spec"]["progressDeadlineSeconds"] == 600, told
        stable = status.stable.images[0]
        pods = Counter(
            pod["spec"]["containers"][0]["image"]
            for pod in world.cluster.all(PODS, NAMESPACE, f"!{JOB_NAME}")
            if not leaving(pod)
        )
        assert pods == Counter({stable: wanted} if wanted else {}), told
        if world.phase == Phase.IDLE:
            assert stable == self.image, told
        else:
            # A restart is of the same image.
            assert status.candidate is not None, told
            assert status.candidate.hash != status.stable.hash, told
            # Deadlines shorter than from one audit to the next pass while a watch that lost something is believed,
            # and those of people who let a router be for longer.
            late = (self.lost or self.outwaited) and world.reason in (Reason.PROGRESS_DEADLINE, Reason.TRAFFIC_DEADLINE)
            assert self.image in BAD or self.aborted or late, f"a good version was reverted: {world.reason}\n{told}"

    async def _quiet(self) -> None:
        """At rest nothing is asked and nothing written, but for an audit now and then."""
        world = self.world
        requests, writes = world.requests(), len(world.cluster.writes)
        await world.wait(60)
        assert world.requests() - requests <= IDLE * len(world.processes), "it does not rest"
        ours = [w for w in world.cluster.writes[writes:] if w.client]
        assert not ours, f"at rest it wrote {ours[0].verb} {ours[0].kind.name} {ours[0].name}"

    async def _goes_on(self) -> None:
        """Another release goes as if nothing had been."""
        world = self.world
        if not world.target()["spec"]["replicas"]:
            world.scale(3)
            await world.wait(30)
        wanted = world.target()["spec"]["replicas"]
        world.release(PROBE)

        def serves() -> bool:
            stable = world.status.stable
            return stable is not None and stable.images == (PROBE,) and world.pods() == {PROBE: wanted}

        await world.until(serves, within=300)
        await world.until(lambda: world.phase == Phase.IDLE, within=30)
        assert world.outcome == "Promoted", world.describe()
        assert not remains(world.cluster, NAMESPACE), world.describe()


async def tell(history: History) -> Telling:
    """Tell it in a fresh world."""
    scene = SCENES[history.scene]
    world = await World.begin(
        spec=dict(scene.spec),
        kind=scene.kind,
        by=scene.by,
        also=scene.also,
        replicas=history.replicas,
        versions={**VERSIONS, PROBE: Version()},
    )
    telling = Telling(history, world, Random(history.seed))
    try:
        await telling.tell()
    except AssertionError as error:
        raise AssertionError(f"{error}\n{world.describe()}\n{history!r}") from error
    finally:
        await world.stop()
    return telling


# Deeds: what people do.


async def _release(t: Telling, image: str) -> None:
    if t.world.cluster.find(DEPLOYMENTS, NAMESPACE, NAME):
        t.world.release(image)


async def _restart(t: Telling, _: None) -> None:
    """kubectl rollout restart."""
    if t.world.cluster.find(DEPLOYMENTS, NAMESPACE, NAME):
        note = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": f"{t.now():.3f}"}}}
        t.world.edit(DEPLOYMENTS, {"spec": {"template": note}})


async def _restore(t: Telling, _: None) -> None:
    """The template is stable's again."""
    stable = t.world.status.stable
    if stable and t.world.cluster.find(DEPLOYMENTS, NAMESPACE, NAME):
        for rs in t.world.cluster.all(REPLICASETS, NAMESPACE, f"{HASH}={stable.hash}"):
            old = json.loads(json.dumps(rs["spec"]["template"]))
            del old["metadata"]["labels"][HASH]
            patch = [{"op": "replace", "path": "/spec/template", "value": old}]
            t.world.cluster.patch_as(USER, DEPLOYMENTS, NAMESPACE, NAME, patch, type_="json")


async def _scale(t: Telling, replicas: int) -> None:
    if t.world.cluster.find(DEPLOYMENTS, NAMESPACE, NAME):
        t.world.scale(replicas)


async def _pause_deployment(t: Telling, paused: bool) -> None:
    if t.world.cluster.find(DEPLOYMENTS, NAMESPACE, NAME):
        t.world.edit(DEPLOYMENTS, {"spec": {"paused": paused or None}})


async def _respec(t: Telling, changes: Mapping[str, Any]) -> None:
    if t.world.object is not None:
        t.world.respec(**changes)


def ask(t: Telling, action: str, *, right: bool = True, again: bool = False) -> None:
    """A request as an annotation."""
    if t.world.object is None:
        return
    t.asked += not again
    candidate = t.world.status.candidate
    hash_ = candidate.hash if candidate and right else "deadbeef"
    text = json.dumps({"id": str(t.asked), "action": action, "hash": hash_})
    t.aborted = t.aborted or action == RequestAction.ABORT
    t.paused = t.paused or action == RequestAction.PAUSE
    t.world.edit(t.world.kind, {"metadata": {"annotations": {REQUEST: text}}})


async def _ask(t: Telling, action: str) -> None:
    ask(t, action)


async def _ask_wrongly(t: Telling, how: str) -> None:
    if how == "malformed":
        if t.world.object is not None:
            t.world.edit(t.world.kind, {"metadata": {"annotations": {REQUEST: "{not json"}}})
    else:
        ask(t, RequestAction.ABORT, right=how != "hash", again=how == "again")


async def _delete_release(t: Telling, _: None) -> None:
    t.world.delete(t.world.kind)


async def _create_release(t: Telling, _: None) -> None:
    if t.world.object is None:
        t.world.create(t.world.kind, canary(**SCENES[t.history.scene].spec))


async def _delete_deployment(t: Telling, _: None) -> None:
    t.world.oracle.excuse("the Deployment was deleted")
    t.world.delete(DEPLOYMENTS)


async def _create_deployment(t: Telling, image: str) -> None:
    if t.world.cluster.find(DEPLOYMENTS, NAMESPACE, NAME) is None:
        t.world.oracle.excuse("the Deployment is new")
        t.world.create(DEPLOYMENTS, deployment(image, t.history.replicas))


async def _delete_service(t: Telling, name: str) -> None:
    t.world.oracle.excuse("a Service was deleted")
    t.aborted = True
    t.world.delete(SERVICES, name)


async def _create_service(t: Telling, _: None) -> None:
    if t.world.cluster.find(SERVICES, NAMESPACE, NAME) is None:
        t.world.oracle.excuse("the Service is new", 30)
        t.world.create(SERVICES, service())


async def _widen_service(t: Telling, _: None) -> None:
    """Somebody takes the hash out of the Service's selector; the policy does not let them."""
    if t.world.cluster.find(SERVICES, NAMESPACE, NAME):
        t.world.edit(SERVICES, {"spec": {"selector": {HASH: None}}})


async def _delete_route(t: Telling, _: None) -> None:
    if t.world.by:
        t.aborted = True
        t.world.delete(t.world.by)


async def _apply_route(t: Telling, rules: int) -> None:
    """The manifest is applied, as a GitOps tool does; with more rules, or fewer, than before."""
    if t.world.by is HTTPROUTES:
        ref = {"backendRefs": [{"name": NAME, "port": 80}]}
        t.world.lead(
            route(rules=[{**ref, **({"matches": [{"path": {"value": f"/{i}"}}]} if i else {})} for i in range(rules)])
        )
    elif t.world.by is INGRESSES:
        body = ingress()
        (path,) = body["spec"]["rules"][0]["http"]["paths"]
        body["spec"]["rules"][0]["http"]["paths"] = [{**path, "path": f"/{i or ''}"} for i in range(rules)]
        t.world.lead(body)
    elif t.world.by:
        t.world.lead(t.world.owners_route)


EDITS: Mapping[str, Mapping[str, Any]] = {
    "port": {"port": 8080},
    "weight": {"weight": 7},
    "filters": {"filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-\u00e9"]}}]},
    "none": {},
}
"""Of the one backend, by which it differs from the manifest."""


async def _edit_backends(t: Telling, what: str) -> None:
    """The owner writes other backends, or adds one: they hold once no release holds the route."""
    if t.world.by is None or t.world.by is INGRESSES:
        return
    body = json.loads(json.dumps(t.world.owners_route))
    spec = body["spec"]
    led = spec.get("rules") or [spec["weighted"]]
    # One that nobody answers for would be the end of a whole TraefikService.
    more = {"name": f"{NAME}-legacy", "port": 80, "weight": 0} if "rules" in spec else {"name": NAME, "port": 81}
    for rule in led:
        mine = {"name": NAME, "port": 80, **EDITS.get(what, {})}
        rule["backendRefs" if "rules" in spec else "services"] = [mine, more] if what == "more" else [mine]
    t.world.lead(body)


async def _rewrite_route(t: Telling, _: None) -> None:
    """A tool reads the route and writes back what it read, with a label."""
    found = t.world.cluster.find(t.world.by, NAMESPACE, NAME) if t.world.by else None
    if found and t.world.by:
        t.world.edit(t.world.by, {"metadata": {"labels": {"read": f"{t.now():.3f}"}}, "spec": found["spec"]})


async def _evict(t: Telling, whose: str) -> None:
    """Pods of one revision go, one or all: a drain, or somebody's hand."""
    status = t.world.status
    revision = status.candidate if whose.startswith("candidate") else status.stable
    if revision is None:
        return
    t.world.oracle.excuse("pods were evicted", 30)
    pods = t.world.cluster.all(PODS, NAMESPACE, f"{HASH}={revision.hash}")
    for pod in pods if whose.endswith("all") else pods[:1]:
        t.world.evict(pod)


async def _tamper(t: Telling, how: str) -> None:
    """ReplicaSets are edited by hand, or the Deployment's annotation is removed."""
    if t.world.object is None:
        return  # what is written when nobody manages them is its writer's to remove
    t.world.oracle.excuse("somebody's hand was on the bounds")
    t.aborted = True
    if how == "unmanaged":
        t.unmanaged = True
        if t.world.cluster.find(DEPLOYMENTS, NAMESPACE, NAME):
            t.world.edit(DEPLOYMENTS, {"metadata": {"annotations": {RELEASE: None}}})
        return
    notes = {"unbound": {FLOOR: None, CEILING: None}, "lowered": {FLOOR: "10%"}, "raised": {FLOOR: "100%"}}[how]
    for rs in t.world.cluster.all(REPLICASETS, NAMESPACE):
        t.world.edit(REPLICASETS, {"metadata": {"annotations": notes}}, rs["metadata"]["name"])


# Deeds: what befalls the machinery.


async def _metrics(t: Telling, how: str) -> None:
    metrics = t.world.metrics
    metrics.outage, metrics.empty, metrics.nan = "down" if how == "down" else "", how == "empty", how == "nan"
    metrics.rate = 0.05 if how == "thin" else 200.0


async def _router(t: Telling, how: str) -> None:
    router = t.world.router
    t.hear_router(well=how == "well")
    if how == "well":
        router.recover()
    router.stuck, router.answers, router.down = how == "stuck", how != "silent", how == "down"
    # Where nobody can be asked what is served, it is served within traffic.propagation: that is what it says.
    router.applies = 3.0 if how == "slow" and t.world.by else APPLIES


async def _gate(t: Telling, stands: bool) -> None:
    if stands:
        t.world.open_gate()
    else:
        t.world.oracle.excuse("the policies are gone")
        t.aborted = True
        t.world.close_gate()


async def _kill(t: Telling, points: int) -> None:
    """The operator dies at the so-manieth point from now."""
    for process in t.world.processes[:1]:
        at = process.line.points + points

        def meet(point: Point, process: Process = process, at: int = at) -> None:
            if point.number >= at and process in t.world.processes:
                t.world.kill(process)

        process.line.listeners.append(meet)


async def _freeze(t: Telling, seconds: float) -> None:
    for process in t.world.processes[:1]:
        process.line.freeze()
        asyncio.get_running_loop().call_later(seconds, process.line.thaw)


async def _away(t: Telling, seconds: float) -> None:
    """Nobody operates for a while."""
    await t.world.stop()
    asyncio.get_running_loop().call_later(seconds, _back, t.world)


def _back(world: World) -> None:
    if not world.processes:
        world.start()


ERRORS: Mapping[str, Callable[[], ClusterError]] = {
    "conflict": lambda: Conflict("injected"),
    "throttled": lambda: Unavailable("injected: 429", after=1.0),
    "failing": lambda: Unavailable("injected: 500"),
}


async def _storm(t: Telling, how: tuple[str, float, float]) -> None:
    """Requests fail: of which kind, which share, for how long; ``failing`` also after they had their effect."""
    error, share, seconds = how
    when: Sequence[When] = ("before", "after") if error == "failing" else ("before",)
    for process in t.world.processes:
        storm = Storm(t.random, share, [ERRORS[error]], when)
        process.line.listeners.append(storm)
        asyncio.get_running_loop().call_later(seconds, partial(_remove, process, storm))


def _remove(process: Process, storm: Storm) -> None:
    if storm in process.line.listeners:
        process.line.listeners.remove(storm)


async def _slow(t: Telling, how: tuple[float, float]) -> None:
    """Each request takes so long on its way, for so long."""
    for process in t.world.processes:
        process.line.slow = how[0]
        asyncio.get_running_loop().call_later(how[1], setattr, process.line, "slow", 0.0)


async def _watch(t: Telling, how: str) -> None:
    t.lost = t.lost or how == "deaf"
    for process in t.world.processes:
        watch = process.watch
        watch.deaf, watch.twice = how == "deaf", how == "twice"
        watch.mixed = t.random if how == "mixed" else None
        watch.lag = 3.0 if how == "late" else 0.02
        if how == "gone":
            watch.list_again()


async def _nothing(t: Telling, _: None) -> None:
    """Time passes."""


DEEDS: Mapping[str, Any] = {
    "release": _release,
    "restart": _restart,
    "restore": _restore,
    "scale": _scale,
    "pause-deployment": _pause_deployment,
    "respec": _respec,
    "ask": _ask,
    "ask-wrongly": _ask_wrongly,
    "delete-release": _delete_release,
    "create-release": _create_release,
    "delete-deployment": _delete_deployment,
    "create-deployment": _create_deployment,
    "delete-service": _delete_service,
    "create-service": _create_service,
    "widen-service": _widen_service,
    "delete-route": _delete_route,
    "apply-route": _apply_route,
    "edit-backends": _edit_backends,
    "rewrite-route": _rewrite_route,
    "evict": _evict,
    "tamper": _tamper,
    "metrics": _metrics,
    "router": _router,
    "gate": _gate,
    "kill": _kill,
    "freeze": _freeze,
    "away": _away,
    "storm": _storm,
    "slow": _slow,
    "watch": _watch,
    "nothing": _nothing,
}
"""By name. Each takes the telling and its argument."""

OF_PEOPLE = frozenset(
    {"release", "restart", "restore", "scale", "pause-deployment", "respec", "ask", "evict", "nothing"}
)
"""With these alone nothing is late: what an operator does, it does in time."""

STEPS: tuple[dict[str, Any], ...] = (
    {"steps": [{"weight": 10, "bake": "2s"}, {"weight": 50, "bake": "3s"}, {"weight": 100, "bake": "1s"}]},
    {"steps": [{"weight": 100, "bake": "1s"}]},
    {"steps": [{"weight": 20, "bake": "3s", "replicas": "50%"}]},
    {"drain": "0s"},
    {"drain": "5s"},
    {"paused": True},
    {"paused": None},
    {"steps": [{"weight": 50}, {"weight": 20}]},
    {"progressDeadline": "5s"},
    {"onFailure": "RevertBatch"},
    {"stickiness": {"cookie": "other"}},
    {"stickiness": None},
    {"analysis": {"interval": "1s", "warmup": "0s", "advance": "Proven"}},
)

ARGUMENTS: Mapping[str, tuple[Any, ...]] = {
    "release": tuple(VERSIONS),
    "restart": (None,),
    "restore": (None,),
    "scale": tuple(range(13)),
    "pause-deployment": (True, False),
    "respec": STEPS,
    "ask": tuple(RequestAction),
    "ask-wrongly": ("hash", "again", "malformed"),
    "delete-release": (None,),
    "create-release": (None,),
    "delete-deployment": (None,),
    "create-deployment": GOOD,
    "delete-service": (NAME, f"{NAME}-stable", f"{NAME}-canary"),
    "create-service": (None,),
    "widen-service": (None,),
    "delete-route": (None,),
    "apply-route": (1, 2, 3),
    "edit-backends": (*EDITS, "more"),
    "rewrite-route": (None,),
    "evict": ("stable", "stable-all", "candidate", "candidate-all"),
    "tamper": ("unmanaged", "unbound", "lowered", "raised"),
    "metrics": ("down", "empty", "nan", "thin", "well"),
    "router": ("stuck", "silent", "slow", "down", "well"),
    "gate": (False, True),
    "kill": (0, 1, 2, 5, 13, 40),
    "freeze": (1.0, 8.0, 40.0),
    "away": (1.0, 30.0),
    "storm": (("conflict", 0.5, 5.0), ("throttled", 0.9, 5.0), ("failing", 0.3, 10.0), ("failing", 1.0, 3.0)),
    "slow": ((0.5, 10.0), (3.0, 20.0)),
    "watch": ("late", "deaf", "twice", "mixed", "gone", "well"),
    "nothing": (None,),
}
STAGES = ("", *(stage.value for stage in Stage))
AFTER = (0.0, 0.004, 0.1, 0.4, 1.1, 3.0, 7.0, 20.0)
assert set(ARGUMENTS) == set(DEEDS)
