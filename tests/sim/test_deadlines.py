"""Whatever waits has a deadline: it goes back where it can, and says for what it waits where it cannot."""

from __future__ import annotations

import pytest

from tests.fakes.kubelet import Version
from tests.sim.world import QUICK, World
from tidegate.api.releasestatus import Stage
from tidegate.engine.gate import READ_IN
from tidegate.ports.cluster import DEPLOYMENTS, HTTPROUTES, SERVICES


async def test_a_router_that_never_applies_a_weight_does_not_hold_a_release_for_ever() -> None:
    world = await World.begin(spec={**QUICK, "progressDeadline": "30s"})
    world.router.stuck = True
    world.release("v2")
    await world.until(lambda: world.stage is Stage.RETIRE, within=60)
    world.router.stuck = False
    world.edit(HTTPROUTES, {"metadata": {"labels": {"touched": "yes"}}})
    await world.ends("Aborted")
    assert world.reason == "TrafficDeadline"
    assert "other weights are served still" in (world.status.last_release or world.status).message
    assert world.pods() == {"v1": 4}


async def test_a_revert_that_the_router_does_not_confirm_keeps_the_pods_and_says_so() -> None:
    world = await World.begin(versions={"v2": Version(fails_after=8.0)})
    world.release("v2")
    await world.until(lambda: world.stage is Stage.BAKE)
    world.router.stuck = True
    await world.until(lambda: world.stage is Stage.REVERT)
    await world.until(lambda: world.condition("Stalled") == "True", within=180)
    assert world.why("Stalled") == "Stuck"
    assert world.pods_created()["v2"], "its pods are kept: requests may still come"
    assert world.stage is Stage.REVERT
    world.router.stuck = False
    world.edit(HTTPROUTES, {"metadata": {"labels": {"touched": "yes"}}})
    await world.ends("RolledBack")


@pytest.mark.parametrize(("kind", "reason"), [(HTTPROUTES, "RouteNotFound"), (SERVICES, "ServiceNotFound")])
async def test_what_is_gone_for_good_ends_the_release(kind: object, reason: str) -> None:
    world = await World.begin(spec={**QUICK, "progressDeadline": "30s"})
    world.release("v2")
    await world.until(world.baking(1))
    world.oracle.awake = False
    world.delete(kind)  # type: ignore[arg-type]
    await world.until(lambda: world.phase == "Blocked")
    await world.until(lambda: world.outcome == "Aborted", within=240)
    assert world.reason == reason
    assert world.pods() == {"v1": 4}


async def test_a_promotion_whose_service_is_gone_goes_back() -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(lambda: world.stage is Stage.WIDEN)
    world.oracle.awake = False
    world.delete(SERVICES)
    await world.until(lambda: world.outcome == "Aborted", within=400)
    assert world.reason == "TrafficDeadline"
    assert world.pods() == {"v1": 4}


async def test_a_pause_of_its_owner_does_not_count() -> None:
    world = await World.begin(spec={**QUICK, "progressDeadline": "30s"}, versions={"v2": Version(starts_in=20.0)})
    world.release("v2")
    await world.until(lambda: world.stage is Stage.SCALE)
    world.edit(DEPLOYMENTS, {"spec": {"paused": True}})
    await world.until(lambda: world.why() == "TargetPaused")
    await world.wait(300)
    world.edit(DEPLOYMENTS, {"spec": {"paused": None}})
    await world.ends("Promoted")


async def test_the_gate_vanishes_in_mid_release_and_comes_back() -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    world.close_gate()
    await world.until(lambda: bool(world.target()["spec"].get("paused")), within=2)
    await world.wait(60)
    assert world.why() == "GateMissing"
    assert world.pods()["v1"] == 4
    world.open_gate()
    await world.ends("Promoted")
    assert "paused" not in world.target()["spec"]


async def test_the_gate_vanishes_after_a_revert() -> None:
    world = await World.begin(versions={"v2": Version(fails_after=3.0)})
    world.release("v2")
    await world.ends("RolledBack")
    world.close_gate()
    await world.until(lambda: bool(world.target()["spec"].get("paused")), within=2)
    world.scale(6)
    await world.wait(60)
    assert world.pods() == {"v1": 6}, "the reverted revision stays away"
    world.open_gate()
    await world.until(lambda: "paused" not in world.target()["spec"], within=READ_IN.total_seconds() + 1)
    await world.until(lambda: world.phase == "RolledBack", within=5)
    world.release("v3")
    await world.ends("Promoted")


async def test_steps_that_are_edited_in_mid_release_are_followed() -> None:
    world = await World.begin(spec={**QUICK, "steps": [{"weight": 25, "bake": "30s"}]})
    world.release("v2")
    await world.until(world.baking(1))
    world.respec(steps=[{"weight": 10, "bake": "5s"}, {"weight": 75, "bake": "5s"}])
    await world.until(lambda: world.status.step is not None and world.status.step.of == 3)
    assert world.status.step
    assert (world.status.step.index, world.status.step.weight) == (1, 25), "its pods stand for 25 %"
    await world.until(world.baking(2))
    assert world.status.step.weight == 75
    await world.ends("Promoted")


async def test_a_list_of_steps_that_is_cut_short_does_not_promote_too_few_pods() -> None:
    world = await World.begin(spec={**QUICK, "steps": [{"weight": 25, "bake": "30s"}]})
    world.release("v2")
    await world.until(world.baking(1))
    world.respec(steps=[{"weight": 100, "bake": "5s"}])
    await world.until(lambda: world.status.step is not None and world.status.step.weight == 100)
    assert world.status.step
    assert (world.status.step.index, world.status.step.of) == (1, 1), "the one step that there is, done in full"
    await world.ends("Promoted")


async def test_images_of_the_release_are_a_trigger_too() -> None:
    world = await World.begin()
    world.respec(images={"app": "v2"})
    await world.ends("Promoted")
    assert world.pods() == {"v2": 4}
    world.release("v3")
    await world.ends("Promoted")
    await world.wait(30)
    assert world.pods() == {"v3": 4}, "the last word is the template's: it came after the wish"
    world.respec(images={"app": "v4"})
    await world.ends("Promoted")
    assert world.pods() == {"v4": 4}


async def test_images_name_a_container_that_is_not_there() -> None:
    world = await World.begin()
    world.respec(images={"web": "v2"})
    await world.until(lambda: world.why("Stalled") == "ContainerNotFound")
    assert "'web'" in world.status.message
    assert "app" in world.status.message
    world.respec(images=None)
    await world.until(lambda: world.condition("Ready") == "True")
