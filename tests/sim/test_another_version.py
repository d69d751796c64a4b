"""A status that another version wrote in mid-release: left alone, and said so; whoever wrote it goes on."""

from __future__ import annotations

from tests.fakes.cluster import TIDEGATE
from tests.sim.world import NAME, NAMESPACE, QUICK, World
from tidegate.engine.statuses import UNREADABLE
from tidegate.ports.cluster import CANARY_RELEASES, EVENTS


def said(world: World) -> list[str]:
    """Messages of the Events about it, in order."""
    events = [write.after for write in world.cluster.writes if write.kind == EVENTS and write.after]
    return [event["message"] for event in events if event["reason"] == "StatusUnreadable"]


def writes(world: World) -> int:
    """How many of Tidegate's there are, Events aside."""
    return sum(write.who == TIDEGATE and write.kind != EVENTS for write in world.cluster.writes)


def unreadable(world: World) -> float | None:
    """What the metric says."""
    labels = {"kind": "CanaryRelease", "namespace": NAMESPACE, "name": NAME}
    return world.meters.registry.get_sample_value("tidegate_release_unreadable", labels)


def write(world: World, stage: str) -> None:
    """Another version of the operator is at work."""
    status = {"status": {"journal": {"stage": stage}}}
    world.cluster.patch_as("another", CANARY_RELEASES, NAMESPACE, NAME, status, subresource="status")


async def test_what_another_version_wrote_is_left_to_it_and_users_are_told_once() -> None:
    world = await World.begin(spec={**QUICK, "steps": [{"weight": 25, "bake": "20s"}]})
    world.release("v2")
    await world.until(world.baking(1))
    assert unreadable(world) is None
    world.oracle.awake = False  # it reads the status as this version does
    write(world, "Soar")
    before = writes(world)
    await world.wait(5 * UNREADABLE.total_seconds())
    assert len(said(world)) == 1
    assert "status.journal.stage: 'Soar'" in said(world)[0]
    assert "run that one" in said(world)[0]
    assert unreadable(world) == 1
    await world.stop()
    world.start()
    await world.wait(5 * UNREADABLE.total_seconds())
    assert len(said(world)) == 2, "each operator says it once"
    world.delete(CANARY_RELEASES)
    await world.wait(5 * UNREADABLE.total_seconds())
    assert len(said(world)) == 3
    assert "The way out without the operator" in said(world)[2]
    assert writes(world) == before, "nothing but Events"
    assert world.pods() == {"v1": 4, "v2": 1}
    write(world, "Bake")
    world.oracle.awake = True
    await world.until(lambda: world.object is None)
    assert unreadable(world) is None
    assert world.pods() == {"v1": 4}
