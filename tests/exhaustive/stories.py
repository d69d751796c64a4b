"""Whole stories of a release, each with one end however it is interrupted: told by test_crash and others."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.fakes.jobs import Work
from tests.fakes.kubelet import Version
from tests.sim.world import NAME, NAMESPACE, World, canary
from tidegate.api.flagstatus import FlagStatus
from tidegate.api.gates import GateState
from tidegate.api.releasestatus import Stage
from tidegate.api.requests import RequestAction
from tidegate.core.asked import REQUEST
from tidegate.ports.cluster import (
    BLUE_GREEN_RELEASES,
    CANARY_RELEASES,
    DEPLOYMENTS,
    FEATURE_FLAGS,
    HTTPROUTES,
    INGRESSES,
    REPLICASETS,
    ROLLING_RELEASES,
    ROUTES,
    SERVICES,
    TRAEFIK_SERVICES,
    Kind,
)

SPEC: dict[str, Any] = {"steps": [{"weight": 50, "bake": "1s"}], "drain": "1s", "analysis": {"metrics": []}}
QUICK = Version(starts_in=0.2)
VERSIONS = {"v1": QUICK, "v2": QUICK, "v3": QUICK, "bad": Version(starts_in=0.2, fails_after=1.0)}
VERSIONS["ill"] = Version(starts_in=0.2, deep=False)


@dataclass(frozen=True)
class Story:
    """What people do, and when it is over."""

    tell: Callable[[World], Awaitable[None]]
    spec: Mapping[str, Any] = field(default_factory=lambda: SPEC)
    managed: bool = True
    """The release is there from the beginning, and at rest."""
    kind: Kind = CANARY_RELEASES
    by: Kind | None = HTTPROUTES
    """What leads to the Service, if anything does."""

    async def begin(self, lease: str = "") -> World:
        """A shop in which it can happen."""
        world = World.empty(dict(VERSIONS))
        world.lease, world.kind, world.by = lease, self.kind, self.by
        world.router.reads, world.router.applies = 0.1, 0.2
        await world.populate(dict(self.spec) if self.managed else None, settle=self.managed)
        return world

    async def told(self, world: World) -> str:
        """Tell it, and what it ended as."""
        await self.tell(world)
        await world.wait(5)
        return ending(world)


def ending(world: World) -> str:
    """All that is to be the same however a story was interrupted, as text."""
    status = world.status
    objects = [_bare(obj) for kind in (DEPLOYMENTS, SERVICES, *ROUTES) for obj in world.cluster.all(kind, NAMESPACE)]
    sets = {
        rs["spec"]["template"]["spec"]["containers"][0]["image"]: (
            rs["spec"]["replicas"],
            {key: value for key, value in (rs["metadata"].get("annotations") or {}).items() if "tidegate" in key},
        )
        for rs in world.cluster.all(REPLICASETS, NAMESPACE)
    }
    told = {
        "phase": status.phase if world.object else "gone",
        "conditions": {c.type: (c.status, c.reason) for c in status.conditions},
        "stable": status.stable.images if status.stable else None,
        "candidate": status.candidate.images if status.candidate else None,
        "history": [(record.images, record.outcome, record.reason) for record in status.history],
        "asked": [status.last_request.outcome] if status.last_request else [],
        "pods": dict(sorted(world.pods().items())),
        "gates": [(known.name, known.state, known.attempts) for known in status.gates],
        "jobs": sorted(world.jobs().values()),
        "replicasets": sets,
        "objects": objects,
    }
    return json.dumps(told, indent=1, sort_keys=True)


def _bare(obj: dict[str, Any]) -> dict[str, Any]:
    meta = {key: obj["metadata"][key] for key in ("name", "labels", "annotations") if obj["metadata"].get(key)}
    return {"metadata": meta, "spec": obj["spec"]}


def ask(world: World, action: RequestAction, id_: str = "1") -> None:
    """Somebody asks something of the candidate, as kubectl annotate would."""
    candidate = world.status.candidate
    text = json.dumps({"id": id_, "action": action, "hash": candidate.hash if candidate else ""})
    world.edit(world.kind, {"metadata": {"annotations": {REQUEST: text}}})


def ready(world: World) -> bool:
    """What the template asks for is what serves."""
    deployment = world.target()
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    status = world.status
    fresh = bool(world.object) and status.observed_generation == (world.object or {})["metadata"]["generation"]
    return (
        fresh and world.condition("Ready") == "True" and status.stable is not None and status.stable.images == (image,)
    )


async def _promotes(world: World) -> None:
    world.release("v2")
    await world.ends("Promoted")


async def _reverts(world: World) -> None:
    """A bad one comes and is gone; then its author takes it back."""
    world.release("bad")
    await world.ends("RolledBack")
    world.release("v1")
    await world.until(lambda: ready(world))


async def _proven_ill(world: World) -> None:
    """One whose pods are ready and do not work; then its author takes it back."""
    world.release("ill")
    await world.ends("RolledBack")
    world.release("v1")
    await world.until(lambda: ready(world))


async def _gated(world: World) -> None:
    """A Job says yes before traffic, once, and a person at the end."""
    world.works["smoke"] = Work(seconds=0.3)
    world.release("v2")
    await world.until(lambda: world.gate("cab").state is GateState.RUNNING)
    ask(world, RequestAction.APPROVE)
    await world.ends("Promoted")
    assert world.jobs_created()["smoke"] == 1


async def _superseded(world: World) -> None:
    world.release("v2")
    await world.until(lambda: world.stage is Stage.BAKE)
    world.release("v3")
    await world.until(lambda: ready(world))


async def _restored(world: World) -> None:
    world.release("v2")
    await world.until(lambda: world.stage is Stage.BAKE and bool(world.status.traffic and world.status.traffic.weight))
    world.release("v1")
    await world.until(lambda: ready(world) and world.pods() == {"v1": 4})


async def _aborted(world: World) -> None:
    world.release("v2")
    await world.until(lambda: world.stage is Stage.BAKE)
    ask(world, RequestAction.ABORT)
    await world.ends("Aborted")


async def _let_go(world: World) -> None:
    world.release("v2")
    await world.until(lambda: world.stage is Stage.BAKE)
    world.delete(CANARY_RELEASES)
    await world.until(lambda: world.object is None)
    world.oracle.awake = False
    await world.wait(20)


async def _scaled(world: World) -> None:
    world.release("v2")
    await world.until(lambda: world.stage is Stage.BAKE)
    world.scale(7)
    await world.until(lambda: ready(world))
    await world.until(lambda: world.pods() == {"v2": 7})


async def _adopted(world: World) -> None:
    world.create(CANARY_RELEASES, canary(**SPEC))
    world.start()
    await world.until(lambda: ready(world))


async def _promoted_by_request(world: World) -> None:
    world.release("v2")
    await world.until(lambda: world.stage is Stage.BAKE)
    ask(world, RequestAction.PROMOTE)
    await world.ends("Promoted")


async def _approved(world: World) -> None:
    """Nobody sees it until somebody says so."""
    world.release("v2")
    await world.until(lambda: world.phase == "Waiting")
    ask(world, RequestAction.APPROVE)
    await world.ends("Promoted")


async def _batch_back(world: World) -> None:
    """The second batch does not come up, and is taken back alone; mended, it goes on."""
    world.release("v2")
    await world.until(world.baking(1))
    world.versions["v2"] = replace(QUICK, never_ready=True)
    await world.until(lambda: world.phase == "Waiting")
    world.versions["v2"] = QUICK
    ask(world, RequestAction.RESUME)
    await world.ends("Promoted")


CHECK = {"name": "deep", "http": {"path": "/deep", "port": 80}, "interval": "1s", "failureThreshold": 2}
JOB = {"template": {"spec": {"containers": [{"name": "smoke", "image": "smoke"}]}}}
GATES = [
    {"name": "smoke", "at": "BeforeTraffic", "job": JOB},
    {"name": "cab", "at": "BeforePromotion", "manual": {}},
]
GATED = {**SPEC, "gates": GATES}
CHECKED = {**SPEC, "health": {"checks": [CHECK]}}
SWITCH = {
    "watch": "1s",
    "keep": "1s",
    "drain": "1s",
    "traffic": {"propagation": "1s"},
    "analysis": {"metrics": []},
}
BATCHES = {"batch": "50%", "bake": "1s", "drain": "1s", "traffic": {"propagation": "1s"}, "analysis": {"metrics": []}}
WATCHED = {**SWITCH, "watch": "1h"}
PREVIEW = {**SWITCH, "preview": {"service": "checkout-preview"}, "switch": {"approval": "Manual"}}
ONE_BACK = {**BATCHES, "onFailure": "RevertBatch", "progressDeadline": "40s"}
BY_PODS = {**SPEC, "traffic": {"podShare": {}, "propagation": "1s"}}
SLOW = {**SPEC, "steps": [{"weight": 25, "bake": "1h"}, {"weight": 50, "bake": "1h"}]}

MARKED = {"match": [{"headers": {"x-canary": "always"}}], "bake": "1s"}
DARK = {**SPEC, "steps": [MARKED, {"weight": 50, "bake": "1s"}], "traffic": {"propagation": "1s"}}
STICKY = {**SPEC, "stickiness": {"cookie": "stay"}, "traffic": {"propagation": "1s"}}

FLAG: dict[str, Any] = {"rollout": {"steps": [{"percentage": 10, "bake": "1s"}, {"percentage": 100, "bake": "1s"}]}}


@dataclass(frozen=True)
class FlagStory(Story):
    """What people do with a flag; nothing else is there."""

    async def begin(self, lease: str = "") -> World:
        """A cluster with a flag."""
        world = World.empty()
        world.lease, world.kind = lease, FEATURE_FLAGS
        world.create(FEATURE_FLAGS, {"metadata": {"name": NAME}, "spec": dict(self.spec)})
        world.start()
        return world

    async def told(self, world: World) -> str:
        """Tell it, and what it ended as."""
        await self.tell(world)
        await world.wait(5)
        status = flag_status(world)
        told = {
            "phase": status.phase,
            "serving": status.serving,
            "percentage": status.percentage,
            "override": status.override.reason if status.override else None,
            "asked": status.last_request.outcome if status.last_request else None,
            "conditions": {one.type: (one.status, one.reason) for one in status.conditions},
        }
        return json.dumps(told, indent=1, sort_keys=True)


def flag_status(world: World) -> FlagStatus:
    """Of the flag."""
    return FlagStatus.model_validate((world.object or {}).get("status", {}))


def _flag_is(world: World, serving: str) -> Callable[[], bool]:
    return lambda: flag_status(world).serving == serving


async def _rolled_out(world: World) -> None:
    await world.until(_flag_is(world, "on"))


async def _off_and_again(world: World) -> None:
    """Killed in mid-rollout and revived; aborted by somebody, and another rollout written."""
    await world.until(_flag_is(world, "on 10 %"))
    world.respec(enabled=False)
    await world.until(_flag_is(world, "off"))
    world.respec(enabled=True)
    await world.until(_flag_is(world, "on"))
    rollout = flag_status(world).rollout
    text = json.dumps({"id": "1", "action": "Abort", "hash": rollout.digest if rollout else ""})
    world.edit(FEATURE_FLAGS, {"metadata": {"annotations": {REQUEST: text}}})
    await world.until(_flag_is(world, "off"))
    world.respec(rollout={**FLAG["rollout"], "by": "account"})
    await world.until(_flag_is(world, "on"))


STORIES: Mapping[str, Story] = {
    "promote": Story(_promotes),
    "revert": Story(_reverts),
    "deep-health": Story(_proven_ill, CHECKED),
    "gates": Story(_gated, GATED),
    "supersede": Story(_superseded),
    "restore": Story(_restored),
    "abort": Story(_aborted, SLOW),
    "let-go": Story(_let_go, SLOW),
    "scale": Story(_scaled),
    "switch": Story(_promotes, SWITCH, kind=BLUE_GREEN_RELEASES),
    "switch-back": Story(_restored, WATCHED, kind=BLUE_GREEN_RELEASES),
    "switch-service": Story(_promotes, SWITCH, kind=BLUE_GREEN_RELEASES, by=None),
    "switch-service-back": Story(_restored, WATCHED, kind=BLUE_GREEN_RELEASES, by=None),
    "switch-ingress": Story(_promotes, SWITCH, kind=BLUE_GREEN_RELEASES, by=INGRESSES),
    "switch-ingress-back": Story(_restored, WATCHED, kind=BLUE_GREEN_RELEASES, by=INGRESSES),
    "switch-list": Story(_promotes, SWITCH, kind=BLUE_GREEN_RELEASES, by=TRAEFIK_SERVICES),
    "switch-list-back": Story(_restored, WATCHED, kind=BLUE_GREEN_RELEASES, by=TRAEFIK_SERVICES),
    "preview": Story(_approved, PREVIEW, kind=BLUE_GREEN_RELEASES),
    "batches": Story(_promotes, BATCHES, kind=ROLLING_RELEASES),
    "batches-back": Story(_reverts, BATCHES, kind=ROLLING_RELEASES),
    "one-batch-back": Story(_batch_back, ONE_BACK, kind=ROLLING_RELEASES, by=None),
    "by-pods": Story(_promotes, BY_PODS, by=None),
    "by-pods-back": Story(_reverts, BY_PODS, by=None),
    "dark": Story(_promotes, DARK),
    "ingress": Story(_promotes, DARK, by=INGRESSES),
    "ingress-back": Story(_reverts, by=INGRESSES),
    "sticky": Story(_reverts, STICKY),
    "list": Story(_promotes, STICKY, by=TRAEFIK_SERVICES),
    "list-back": Story(_reverts, STICKY, by=TRAEFIK_SERVICES),
    "adopt": Story(_adopted, managed=False),
    "promote-by-request": Story(_promoted_by_request, SLOW),
    "flag": FlagStory(_rolled_out, FLAG, managed=False),
    "flag-off": FlagStory(_off_and_again, FLAG, managed=False),
}
