"""Two releases of one namespace whose Services one route leads to: one moves weights on it at a time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes.kubelet import Version
from tests.sim.world import NAMESPACE, QUICK, World, canary, deployment, route, service
from tidegate.api.releasestatus import ReleaseStatus, Stage
from tidegate.core.asked import REQUEST
from tidegate.core.hold import RELEASING
from tidegate.core.reading import HASH
from tidegate.ports.cluster import CANARY_RELEASES, DEPLOYMENTS, HTTPROUTES, PODS, SERVICES, Object

Json = dict[str, Any]
OTHER = "shipping"
OURS = {"matches": [{"path": {"value": "/"}}], "backendRefs": [{"name": "checkout", "port": 80}]}
THEIRS = {"matches": [{"path": {"value": "/ship"}}], "backendRefs": [{"name": OTHER, "port": 80}]}
SHARED = [OURS, THEIRS]
LONG: Json = {**QUICK, "steps": [{"weight": 50, "bake": "5m"}, {"weight": 100, "bake": "2s"}]}


def template(image: str) -> Json:
    """Of the other application."""
    return {"metadata": {"labels": {"app": OTHER}}, "spec": {"containers": [{"name": "app", "image": image}]}}


async def shared(spec: Json | None = None, versions: dict[str, Version] | None = None) -> World:
    """Two applications at rest, and the one route to both. The oracle judges the first of them."""
    world = await World.begin(settle=False, rules=SHARED, versions=versions)
    world.oracle.foreign = frozenset({"static", *(f"{OTHER}{suffix}" for suffix in ("", "-stable", "-canary"))})
    app = {"metadata": {"name": OTHER}, "spec": {**deployment()["spec"], "template": template("s1")}}
    app["spec"]["selector"] = {"matchLabels": {"app": OTHER}}
    world.create(DEPLOYMENTS, app)
    world.create(SERVICES, {**service(OTHER), "spec": {**service()["spec"], "selector": {"app": OTHER}}})
    await world.wait(10)
    for name in ("checkout", OTHER):
        body = canary(**(spec or QUICK))
        world.create(
            CANARY_RELEASES, {"metadata": {"name": name}, "spec": {**body["spec"], "targetRef": {"name": name}}}
        )
    await world.until(lambda: world.phase == "Idle" and other(world).phase == "Idle", within=30)
    await world.wait(5)
    return world


def found(world: World, kind: Any, name: str = OTHER) -> Object:
    obj = world.cluster.find(kind, NAMESPACE, name)
    assert obj
    return obj


def other(world: World) -> ReleaseStatus:
    """The other release."""
    return ReleaseStatus.model_validate(found(world, CANARY_RELEASES).get("status", {}))


def why(world: World, type_: str = "Ready") -> tuple[str, str]:
    """Status and reason of a condition of the other release."""
    return next(((c.status, c.reason) for c in other(world).conditions if c.type == type_), ("", ""))


def ship(world: World, image: str = "s2") -> None:
    """A new version of the other application."""
    world.edit(DEPLOYMENTS, {"spec": {"template": template(image)}}, OTHER)


def served(world: World) -> set[str]:
    """Images of the other application's pods that are there."""
    pods = world.cluster.all(PODS, NAMESPACE, f"app={OTHER}")
    return {pod["spec"]["containers"][0]["image"] for pod in pods}


async def test_both_are_released_one_after_the_other_however_long_the_first_takes() -> None:
    world = await raced()
    assert other(world).phase == "Waiting"
    assert "CanaryRelease/checkout" in other(world).message
    assert (why(world, "Reconciling")[0], why(world, "Stalled")[0]) == ("True", "False")
    world.respec(paused=True)
    await world.wait(900)
    assert why(world) == ("False", "RouteTaken"), "no deadline of its own runs meanwhile"
    deadline = found(world, DEPLOYMENTS)["spec"]["progressDeadlineSeconds"]
    assert deadline == 2147483646, "helm --wait waits as well"
    world.respec(paused=None)
    await world.until(lambda: world.outcome == "Promoted", within=600)
    await world.until(
        lambda: (last := other(world).last_release) is not None and last.outcome == "Promoted", within=900
    )
    await world.wait(10)
    assert world.rules() == SHARED
    assert served(world) == {"s2"}


async def test_nothing_is_written_for_one_that_waits_but_the_deadline() -> None:
    world = await shared(LONG)
    world.release("v2")
    await world.until(world.baking(1))
    ship(world)
    await world.until(lambda: why(world) == ("False", "RouteTaken"))
    await world.wait(60)
    assert HASH not in found(world, SERVICES)["spec"]["selector"]
    assert world.cluster.find(SERVICES, NAMESPACE, f"{OTHER}-canary") is None
    assert served(world) == {"s1"}


async def test_who_has_nothing_to_release_is_idle_while_the_other_moves_weights() -> None:
    world = await shared(LONG)
    world.release("v2")
    await world.until(world.baking(1))
    world.edit(CANARY_RELEASES, {"metadata": {"labels": {"looked": "at"}}}, OTHER)
    await world.wait(30)
    assert why(world) == ("True", "Idle")
    assert other(world).phase == "Idle"


@pytest.mark.parametrize("spec", [{}, {"stickiness": {"cookie": "side"}}], ids=["plain", "with rules of ours"])
async def test_the_one_that_waits_is_aborted_and_the_other_goes_on(spec: Json) -> None:
    world = await shared({**LONG, **spec})
    world.release("v2")
    await world.until(world.baking(1))
    ship(world)
    await world.until(lambda: why(world) == ("False", "RouteTaken"))
    candidate = other(world).candidate
    assert candidate
    text = json.dumps({"id": "1", "action": "abort", "hash": candidate.hash})
    world.edit(CANARY_RELEASES, {"metadata": {"annotations": {REQUEST: text}}}, OTHER)
    await world.until(lambda: other(world).phase == "RolledBack", within=60)
    assert world.baking(1)(), "the other is not disturbed"
    assert HASH not in found(world, SERVICES)["spec"]["selector"]
    await world.until(lambda: world.outcome == "Promoted", within=400)
    await world.wait(10)
    assert world.rules() == SHARED


async def raced() -> World:
    """Both begin, and the first gets the route: the other stands with its Service narrowed. It is a matter of
    hundredths of a second, which are tried one after the other."""
    for hundredths in range(4, 40, 2):
        world = await shared(LONG)
        world.release("v2")
        await world.wait(hundredths / 100)
        ship(world)
        await world.wait(5)
        if why(world) == ("False", "RouteTaken") and HASH in found(world, SERVICES)["spec"]["selector"]:
            await world.until(world.baking(1))
            return world
        await world.stop()
    raise AssertionError("the other is never overtaken")


@pytest.mark.parametrize("begun", [False, True], ids=["before it began", "in mid-preparation"])
async def test_deleted_while_another_holds_the_route_it_leaves_nothing(begun: bool) -> None:
    """Its Service narrowed for good would lose all its pods with the next rollout, which nobody watches."""
    world = await (raced() if begun else shared(LONG))
    if not begun:
        world.release("v2")
        await world.until(world.baking(1))
        ship(world)
        await world.until(lambda: why(world) == ("False", "RouteTaken"))
    world.delete(CANARY_RELEASES, OTHER)
    await world.until(lambda: world.cluster.find(CANARY_RELEASES, NAMESPACE, OTHER) is None, within=90)
    assert HASH not in found(world, SERVICES)["spec"]["selector"]
    assert RELEASING not in (found(world, SERVICES)["metadata"].get("annotations") or {})
    assert found(world, DEPLOYMENTS)["spec"]["progressDeadlineSeconds"] == 600
    ship(world, "s3")
    await world.wait(60)
    assert world.router.endpoints[OTHER], "it serves after a rollout of its own"
    await world.until(lambda: world.outcome == "Promoted", within=400)
    assert world.rules() == SHARED


async def test_a_release_of_the_same_deployment_that_came_second_takes_nothing_with_it() -> None:
    world = await shared(LONG)
    second = {"metadata": {"name": "late"}, "spec": canary(**LONG)["spec"]}
    world.create(CANARY_RELEASES, second)
    world.release("v2")
    await world.until(world.baking(1))
    world.delete(CANARY_RELEASES, "late")
    await world.wait(30)
    assert world.target()["spec"]["progressDeadlineSeconds"] == 2147483646
    assert found(world, SERVICES, "checkout")["spec"]["selector"][HASH]
    assert world.baking(1)()
    await world.until(lambda: world.outcome == "Promoted", within=400)


async def test_a_route_that_another_holds_comes_to_lead_here_in_mid_release() -> None:
    """The bake waits until it has the weight there, too, and counts no time meanwhile; nobody is reverted."""
    world = await shared(LONG)
    world.edit(HTTPROUTES, {"spec": {"rules": [OURS]}})
    world.create(HTTPROUTES, route(OTHER, [THEIRS]))
    await world.wait(5)
    world.release("v2")
    ship(world)
    await world.until(lambda: world.baking(1)() and other(world).traffic is not None)
    await world.until(lambda: (j := other(world).journal) is not None and j.stage is Stage.BAKE)
    more = {"matches": [{"path": {"value": "/more"}}], "backendRefs": [{"name": OTHER, "port": 80}]}
    world.edit(HTTPROUTES, {"spec": {"rules": [*world.rules(), more]}})
    await world.until(lambda: why(world) == ("False", "RouteTaken"))
    await world.until(lambda: world.outcome == "Promoted", within=600)
    await world.until(
        lambda: (last := other(world).last_release) is not None and last.outcome == "Promoted", within=900
    )
    await world.wait(10)
    assert world.rules() == [OURS, more]
