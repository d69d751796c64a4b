"""An abort works always: whatever is broken, traffic goes to stable, and the release ends or says what it lacks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.sim.world import NAME, QUICK, World, route
from tidegate.api.releasestatus import Stage
from tidegate.core.asked import REQUEST
from tidegate.core.forward import FORWARD
from tidegate.ports.cluster import CANARY_RELEASES, DEPLOYMENTS, GATEWAYS

Json = dict[str, Any]
MEASURED: Json = {
    **QUICK,
    "steps": [{"weight": 50, "bake": "10m"}, {"weight": 100, "bake": "2s"}],
    "analysis": {"interval": "2s", "warmup": "0s"},
}


def ask(world: World, id_: str = "1") -> None:
    """Somebody aborts it."""
    candidate = world.status.candidate
    assert candidate
    text = json.dumps({"id": id_, "action": "abort", "hash": candidate.hash, "by": "ada"})
    world.edit(CANARY_RELEASES, {"metadata": {"annotations": {REQUEST: text}}})


def answered(world: World) -> tuple[str, str]:
    """The answer, and its message."""
    last = world.status.last_request
    return (last.outcome.value, last.message) if last else ("", "")


def on_stable(world: World) -> bool:
    """No request goes to the candidate, by what the route says."""
    refs = [ref for rule in world.rules() for ref in rule["backendRefs"]]
    return all(ref["name"] != f"{NAME}-canary" or ref["weight"] == 0 for ref in refs)


def invalid(world: World) -> None:
    world.respec(steps=[{"weight": 50}, {"weight": 20}])


def unmeasured(world: World) -> None:
    world.metrics.outage = "connection refused"


def owner_pauses(world: World) -> None:
    world.edit(DEPLOYMENTS, {"spec": {"paused": True}})


def spec_pauses(world: World) -> None:
    world.respec(paused=True)


def no_gate(world: World) -> None:
    world.close_gate()


def no_router(world: World) -> None:
    world.router.down = True


def no_gateway(world: World) -> None:
    world.delete(GATEWAYS, "gateway")
    world.router.reads = world.router.applies = 1e6


TROUBLE = [invalid, unmeasured, owner_pauses, spec_pauses, no_gate]


async def begun(stage: Stage, trouble: Callable[[World], None]) -> World:
    """In trouble in a stage."""
    world = await World.begin(spec=MEASURED)
    world.release("v2")
    await world.until(lambda: world.stage is stage)
    if trouble is no_gate:
        world.oracle.excuse("what the Deployment controller does before it is paused")
    trouble(world)
    return world


@pytest.mark.parametrize("never", ["9999999d", "9" * 250_000 + "h"], ids=["days", "digits"])
async def test_a_time_that_never_comes_is_refused_and_keeps_no_abort_from_its_work(never: str) -> None:
    world = await begun(Stage.BAKE, lambda world: world.respec(drain=never))
    await world.until(lambda: world.why("Progressing") == "InvalidSpec")
    assert "is longer than 36500d" in world.status.message
    assert len(world.status.message) < 300
    ask(world)
    await world.ends("Aborted")


@pytest.mark.parametrize("patience", [0.0, 30.0], ids=["at once", "later"])
@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda trouble: trouble.__name__)
@pytest.mark.parametrize("stage", sorted(FORWARD))
async def test_whatever_else_is_broken(stage: Stage, trouble: Callable[[World], None], patience: float) -> None:
    world = await begun(stage, trouble)
    await world.wait(patience)
    ask(world)
    await world.until(lambda: on_stable(world), within=2)
    await world.ends("Aborted", within=90)
    # Without a gate it may have gone back by itself before.
    assert world.reason == "Aborted" or (trouble is no_gate and world.reason == "GateMissing")
    assert world.rules() == route()["spec"]["rules"]
    assert world.pods() == {"v1": 4}
    assert trouble is no_gate or world.pods_created()["v1"] == 4


@pytest.mark.parametrize("stage", [Stage.PREPARE, Stage.SCALE])
async def test_without_a_router_that_answers_before_the_candidate_had_a_request(stage: Stage) -> None:
    """No pod of it can be missed, so that nobody's word is waited for before they go."""
    world = await begun(stage, no_router)
    ask(world)
    await world.until(lambda: world.pods() == {"v1": 4} and world.stage not in FORWARD, within=20)
    await world.ends("Aborted", within=300)
    assert world.rules() == route()["spec"]["rules"]


@pytest.mark.parametrize("stage", [Stage.SHIFT, Stage.BAKE])
async def test_without_a_router_that_answers_it_says_so_until_it_is_asked_again(stage: Stage) -> None:
    world = await begun(stage, no_router)
    await world.wait(1)
    ask(world)
    await world.until(lambda: on_stable(world), within=2)
    await world.wait(10)
    ask(world, "2")
    await world.until(lambda: answered(world)[0] == "Refused")
    assert "without the router's word if asked again" in answered(world)[1]
    await world.until(lambda: world.why("Stalled") == "Stuck", within=180)
    assert "could not be asked" in world.status.message
    assert "abort it once more, or delete the release" in world.status.message
    await world.wait(300)
    assert world.pods()["v2"], "for as long as nobody insists its pods stay: requests may still come"
    ask(world, "3")
    await world.ends("Aborted", within=60)
    assert answered(world) == ("Done", "")
    assert "RouterUnheard" in world.events()
    assert world.pods() == {"v1": 4}
    world.router.down = False
    world.release("v3")
    await world.until(lambda: world.stage is Stage.BAKE)
    assert world.status.journal
    assert not world.status.journal.unheard, "the next release waits for the router again"


@pytest.mark.parametrize("stage", [Stage.SHIFT, Stage.BAKE])
async def test_deletion_waits_for_a_router_that_is_gone_for_good_no_longer_than_it_must(stage: Stage) -> None:
    world = await begun(stage, no_router)
    world.delete(CANARY_RELEASES)
    await world.until(lambda: on_stable(world), within=2)
    await world.wait(60)
    assert world.pods()["v2"]
    await world.until(lambda: world.object is None, within=120)
    await world.wait(10)
    assert world.traces() == []
    assert world.pods() == {"v1": 4}
    assert world.target()["spec"]["progressDeadlineSeconds"] == 600


async def test_its_gateway_is_gone_for_good_and_nobody_needs_to_insist() -> None:
    world = await begun(Stage.BAKE, no_gateway)
    await world.wait(5)
    world.router.served.clear()
    ask(world)
    await world.until(lambda: on_stable(world), within=2)
    await world.ends("Aborted", within=300)
    assert "RouterUnheard" in world.events()
