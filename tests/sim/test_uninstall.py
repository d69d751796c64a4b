"""Tidegate is uninstalled: every release is let go while its object stays, and the next installation takes it up."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.fakes.kubelet import Version
from tests.sim.world import NAME, NAMESPACE, QUICK, World, canary, route
from tidegate.api.releasestatus import Stage
from tidegate.app.cli.let_go import let_go, mark
from tidegate.engine.act import FINALIZER
from tidegate.ports.cluster import CANARY_RELEASES, POLICIES

MINUTES = timedelta(minutes=4)


async def uninstall(world: World) -> None:
    """What Helm does: the hook, then the operator goes and the policies with it."""
    said: list[str] = []
    assert await let_go(world.cluster, world.clock, said.append, patience=MINUTES) == 0, said
    assert world.traces() == []
    assert world.rules() == route()["spec"]["rules"]
    assert not (world.object or {})["metadata"].get("finalizers")
    assert world.phase == "LetGo"
    world.oracle.awake = False  # from here on the Deployment rolls by itself
    world.close_gate()
    await world.wait(5)
    assert world.phase == "LetGo", "its last word, though the policies went before the operator"
    await world.stop()


async def test_at_rest_no_pod_is_touched_and_the_next_installation_takes_up() -> None:
    world = await World.begin()
    await uninstall(world)
    await world.wait(60)
    assert world.pods_created() == {"v1": 4}
    assert world.target()["spec"]["progressDeadlineSeconds"] == 600

    world.release("v2")
    await world.wait(60)
    assert world.pods() == {"v2": 4}, "the Deployment rolls as it always did"

    world.open_gate()
    world.start()
    await world.until(lambda: world.phase == "Idle")
    await world.wait(5)
    world.oracle.awake = True
    world.release("v3")
    await world.ends("Promoted")
    assert (world.object or {})["metadata"]["finalizers"] == [FINALIZER]


@pytest.mark.parametrize("stage", [Stage.PREPARE, Stage.SCALE, Stage.SHIFT, Stage.BAKE])
async def test_in_mid_release_traffic_goes_back_first(stage: Stage) -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(lambda: world.stage is stage)
    await uninstall(world)
    assert world.status.last_release is not None
    assert (world.status.last_release.outcome, world.status.last_release.reason) == ("Aborted", "LetGo")
    await world.wait(60)
    assert world.pods() == {"v1": 4}
    assert world.pods_created()["v1"] == 4, "no pod of stable was re-created"


@pytest.mark.parametrize("stage", [Stage.WIDEN, Stage.RETURN, Stage.LIFT])
async def test_what_is_being_promoted_is_promoted_first(stage: Stage) -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(lambda: world.stage is stage)
    await uninstall(world)
    assert world.pods() == {"v2": 4}
    assert world.pods_created() == {"v1": 4, "v2": 4}


async def test_after_a_revert() -> None:
    world = await World.begin(versions={"v2": Version(fails_after=3.0)})
    world.release("v2")
    await world.ends("RolledBack")
    await uninstall(world)
    await world.wait(60)
    assert world.pods() == {"v1": 4}, "what was reverted is not rolled out"


async def test_a_release_that_can_never_start_is_no_obstacle() -> None:
    world = await World.begin(settle=False)
    world.create(CANARY_RELEASES, canary(**QUICK, serviceRef={"name": "nobody"}))
    await world.until(lambda: world.phase == "Blocked")
    await uninstall(world)


async def test_a_release_that_comes_meanwhile_is_not_taken_up() -> None:
    world = await World.begin(settle=False)
    await mark(world.cluster, asked=True)
    await world.wait(1)
    world.create(CANARY_RELEASES, canary(**QUICK))
    await world.until(lambda: world.phase == "LetGo")
    await world.wait(5)
    assert world.traces() == []
    assert not (world.object or {})["metadata"].get("finalizers")


async def test_to_let_go_costs_no_write_twice() -> None:
    world = await World.begin()
    await let_go(world.cluster, world.clock, lambda _: None, patience=MINUTES)
    await world.wait(5)
    before = world.object
    await world.wait(600)
    assert world.object == before


async def test_it_can_be_withdrawn() -> None:
    world = await World.begin()
    await let_go(world.cluster, world.clock, lambda _: None, patience=MINUTES)
    await mark(world.cluster, asked=False)
    await world.until(lambda: world.phase == "Idle")
    world.release("v2")
    await world.ends("Promoted")


async def test_what_remains_is_named_with_the_reason_when_the_deadline_passes() -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    await world.stop()
    said: list[str] = []
    assert await let_go(world.cluster, world.clock, said.append, patience=timedelta(seconds=30)) == 1
    assert any(line.strip().startswith(f"{NAMESPACE}/{NAME}: Progressing: step 1/2") for line in said), said
    world.start()
    await uninstall(world)


async def test_without_the_policy_nothing_is_held_or_it_is_said() -> None:
    world = await World.begin(settle=False)
    world.cluster.delete_as("admin", POLICIES, "", "tidegate-replicasets")
    said: list[str] = []
    assert await let_go(world.cluster, world.clock, said.append, patience=MINUTES) == 0
    assert said == ["Nothing is held."]
    world = await World.begin()
    world.close_gate()
    assert await let_go(world.cluster, world.clock, said.append, patience=MINUTES) == 1
    assert "MutatingAdmissionPolicy tidegate-replicasets nor MutatingWebhookConfiguration tidegate is there" in said[1]
