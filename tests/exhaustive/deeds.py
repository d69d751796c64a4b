"""What people do in a history, and what fails in it."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from tests.exhaustive.scenes import GOOD, SCENES, SHORTEST, VERSIONS, Scene
from tests.fakes.faults import Storm
from tests.fakes.line import Point, When
from tests.fakes.traffic import APPLIES
from tests.sim.process import Process
from tests.sim.world import NAME, NAMESPACE, USER, World, canary, deployment, ingress, route, service
from tidegate.api.releasestatus import Stage
from tidegate.api.requests import RequestAction
from tidegate.core.asked import REQUEST
from tidegate.core.gate import CEILING, FLOOR, RELEASE
from tidegate.core.reading import HASH
from tidegate.ports.cluster import (
    DEPLOYMENTS,
    HTTPROUTES,
    INGRESSES,
    PODS,
    REPLICASETS,
    ROLLING_RELEASES,
    SERVICES,
    ClusterError,
    Conflict,
    Unavailable,
)

STAGES = ("", *(stage.value for stage in Stage))
AFTER = (0.0, 0.004, 0.1, 0.4, 1.1, 3.0, 7.0, 20.0)


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
class Course:
    """What a history has come to: deeds change it, and its end is judged by it."""

    history: History
    world: World
    random: Random
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

    @property
    def scene(self) -> Scene:
        """Where it takes place."""
        return SCENES[self.history.scene]

    def hear_router(self, *, well: bool) -> None:
        """From now on the router does what routes say, or does not."""
        self.outwaited = self.outwaited or self.now() > self.disobeyed + SHORTEST
        self.disobeyed = math.inf if well else min(self.disobeyed, self.now())

    def now(self) -> float:
        """Virtual seconds."""
        return self.world.clock.monotonic()


# Deeds: what people do.


async def _release(t: Course, image: str) -> None:
    if t.world.cluster.find(DEPLOYMENTS, NAMESPACE, NAME):
        t.world.release(image)


async def _restart(t: Course, _: None) -> None:
    """kubectl rollout restart."""
    if t.world.cluster.find(DEPLOYMENTS, NAMESPACE, NAME):
        note = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": f"{t.now():.3f}"}}}
        t.world.edit(DEPLOYMENTS, {"spec": {"template": note}})


async def _restore(t: Course, _: None) -> None:
    """The template is stable's again."""
    stable = t.world.status.stable
    if stable and t.world.cluster.find(DEPLOYMENTS, NAMESPACE, NAME):
        for rs in t.world.cluster.all(REPLICASETS, NAMESPACE, f"{HASH}={stable.hash}"):
            old = json.loads(json.dumps(rs["spec"]["template"]))
            del old["metadata"]["labels"][HASH]
            patch = [{"op": "replace", "path": "/spec/template", "value": old}]
            t.world.cluster.patch_as(USER, DEPLOYMENTS, NAMESPACE, NAME, patch, type_="json")


async def _scale(t: Course, replicas: int) -> None:
    if t.world.cluster.find(DEPLOYMENTS, NAMESPACE, NAME):
        t.world.scale(replicas)


async def _pause_deployment(t: Course, paused: bool) -> None:
    if t.world.cluster.find(DEPLOYMENTS, NAMESPACE, NAME):
        t.world.edit(DEPLOYMENTS, {"spec": {"paused": paused or None}})


async def _respec(t: Course, changes: Mapping[str, Any]) -> None:
    if t.world.object is not None:
        t.world.respec(**changes)


def ask(t: Course, action: str, *, right: bool = True, again: bool = False) -> None:
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


async def _ask(t: Course, action: str) -> None:
    ask(t, action)


async def _ask_wrongly(t: Course, how: str) -> None:
    if how == "malformed":
        if t.world.object is not None:
            t.world.edit(t.world.kind, {"metadata": {"annotations": {REQUEST: "{not json"}}})
    else:
        ask(t, RequestAction.ABORT, right=how != "hash", again=how == "again")


async def _delete_release(t: Course, _: None) -> None:
    t.world.delete(t.world.kind)


async def _create_release(t: Course, _: None) -> None:
    if t.world.object is None:
        t.world.create(t.world.kind, canary(**t.scene.spec))


async def _delete_deployment(t: Course, _: None) -> None:
    t.world.oracle.excuse("the Deployment was deleted")
    t.world.delete(DEPLOYMENTS)


async def _create_deployment(t: Course, image: str) -> None:
    if t.world.cluster.find(DEPLOYMENTS, NAMESPACE, NAME) is None:
        t.world.oracle.excuse("the Deployment is new")
        t.world.create(DEPLOYMENTS, deployment(image, t.history.replicas))


async def _delete_service(t: Course, name: str) -> None:
    t.world.oracle.excuse("a Service was deleted")
    t.aborted = True
    t.world.delete(SERVICES, name)


async def _create_service(t: Course, _: None) -> None:
    if t.world.cluster.find(SERVICES, NAMESPACE, NAME) is None:
        t.world.oracle.excuse("the Service is new", 30)
        t.world.create(SERVICES, service())


async def _widen_service(t: Course, _: None) -> None:
    """Somebody takes the hash out of the Service's selector; the policy does not let them."""
    if t.world.cluster.find(SERVICES, NAMESPACE, NAME):
        t.world.edit(SERVICES, {"spec": {"selector": {HASH: None}}})


async def _delete_route(t: Course, _: None) -> None:
    if t.world.by:
        t.aborted = True
        t.world.delete(t.world.by)


async def _apply_route(t: Course, rules: int) -> None:
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


async def _edit_backends(t: Course, what: str) -> None:
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


async def _rewrite_route(t: Course, _: None) -> None:
    """A tool reads the route and writes back what it read, with a label."""
    found = t.world.cluster.find(t.world.by, NAMESPACE, NAME) if t.world.by else None
    if found and t.world.by:
        t.world.edit(t.world.by, {"metadata": {"labels": {"read": f"{t.now():.3f}"}}, "spec": found["spec"]})


async def _evict(t: Course, whose: str) -> None:
    """Pods of one revision go, one or all: a drain, or somebody's hand."""
    status = t.world.status
    revision = status.candidate if whose.startswith("candidate") else status.stable
    if revision is None:
        return
    t.world.oracle.excuse("pods were evicted", 30)
    pods = t.world.cluster.all(PODS, NAMESPACE, f"{HASH}={revision.hash}")
    for pod in pods if whose.endswith("all") else pods[:1]:
        t.world.evict(pod)


async def _tamper(t: Course, how: str) -> None:
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


async def _metrics(t: Course, how: str) -> None:
    metrics = t.world.metrics
    metrics.outage, metrics.empty, metrics.nan = "down" if how == "down" else "", how == "empty", how == "nan"
    metrics.rate = 0.05 if how == "thin" else 200.0


async def _router(t: Course, how: str) -> None:
    router = t.world.router
    t.hear_router(well=how == "well")
    if how == "well" or router.stuck:
        router.recover()
    router.stuck, router.answers, router.down = how == "stuck", how != "silent", how == "down"
    # Of whom nobody can be asked what he goes by, he goes by it within traffic.propagation: that is what it says. Such
    # are callers of the Service, on whom each batch of a rolling release counts.
    asked = t.world.by and t.world.kind is not ROLLING_RELEASES
    router.applies = 3.0 if how == "slow" and asked else APPLIES


async def _gate(t: Course, stands: bool) -> None:
    if stands:
        t.world.open_gate()
    else:
        t.world.oracle.excuse("the policies are gone")
        t.aborted = True
        t.world.close_gate()


async def _kill(t: Course, points: int) -> None:
    """The operator dies at the so-manieth point from now."""
    for process in t.world.processes[:1]:
        at = process.line.points + points

        def meet(point: Point, process: Process = process, at: int = at) -> None:
            if point.number >= at and process in t.world.processes:
                t.world.kill(process)

        process.line.listeners.append(meet)


async def _freeze(t: Course, seconds: float) -> None:
    for process in t.world.processes[:1]:
        process.line.freeze()
        asyncio.get_running_loop().call_later(seconds, process.line.thaw)


async def _away(t: Course, seconds: float) -> None:
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


async def _storm(t: Course, how: tuple[str, float, float]) -> None:
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


async def _slow(t: Course, how: tuple[float, float]) -> None:
    """Each request takes so long on its way, for so long."""
    for process in t.world.processes:
        process.line.slow = how[0]
        asyncio.get_running_loop().call_later(how[1], setattr, process.line, "slow", 0.0)


async def _watch(t: Course, how: str) -> None:
    t.lost = t.lost or how == "deaf"
    for process in t.world.processes:
        watch = process.watch
        watch.deaf, watch.twice = how == "deaf", how == "twice"
        watch.mixed = t.random if how == "mixed" else None
        watch.lag = 3.0 if how == "late" else 0.02
        if how == "gone":
            watch.list_again()


async def _nothing(t: Course, _: None) -> None:
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
assert set(ARGUMENTS) == set(DEEDS)
