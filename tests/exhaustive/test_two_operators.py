"""Two operators and one Lease: who leads, how it is handed over, and that the one before undoes nothing of it."""

from __future__ import annotations

import asyncio

import pytest

from tests.exhaustive.forks import Forks
from tests.exhaustive.stories import STORIES, Story
from tests.exhaustive.test_crash import EVERY, same
from tests.fakes.line import Point
from tests.sim.process import Process
from tests.sim.world import QUICK, World
from tidegate.engine.leader import DURATION, LOOK_EVERY
from tidegate.ports.cluster import Unavailable

LEASE = "tidegate-system/tidegate"
PAIRS = {name: story for name, story in STORIES.items() if story.managed}


async def two(story: Story | None = None) -> World:
    """A world with a leader and one that waits."""
    world = await (story.begin(LEASE) if story else World.begin(spec=QUICK, lease=LEASE))
    world.start()
    await world.wait(3)
    return world


async def test_one_leads_and_the_other_writes_nothing() -> None:
    world = await two()
    first, second = world.processes
    assert (first.leader.leads, second.leader.leads) == (True, False)
    world.release("v2")
    await world.ends("Promoted")
    assert {write.client for write in world.cluster.writes if write.client} == {first.name}


async def test_a_clean_stop_hands_over_within_two_seconds() -> None:
    world = await two()
    first, second = world.processes
    world.release("v2")
    await world.until(world.baking(1))
    began = world.clock.monotonic()
    await first.terminate()
    world.processes.remove(first)
    await world.until(lambda: second.leader.leads, within=5)
    assert world.clock.monotonic() - began <= 2
    await world.ends("Promoted")
    assert world.pods_created() == {"v1": 4, "v2": 4}


async def test_a_crash_hands_over_when_the_lease_ends() -> None:
    world = await two()
    first, second = world.processes
    world.release("v2")
    await world.until(world.baking(1))
    began = world.clock.monotonic()
    first.kill()
    world.processes.remove(first)
    await world.until(lambda: second.leader.leads, within=60)
    assert world.clock.monotonic() - began <= DURATION + LOOK_EVERY + 0.5
    await world.ends("Promoted")


async def test_who_cannot_renew_stops_and_goes_on_when_it_can_again() -> None:
    """Alone: nobody takes over, and the release that was in hand is not forgotten."""
    world = await World.begin(spec=QUICK, lease=LEASE)
    world.release("v2")
    await world.until(world.baking(1))
    process = world.process

    def partition(point: Point) -> None:
        if point.request and point.verb != "ask":
            raise Unavailable("no route to host")

    process.line.listeners.append(partition)
    await world.wait(30)
    assert not process.leader.leads
    process.line.listeners.remove(partition)
    await world.ends("Promoted", within=60)


async def test_whoever_stops_leading_in_the_middle_of_a_request_takes_it_up_again() -> None:
    world = await World.begin(spec=QUICK, lease=LEASE)
    process = world.process
    stuck = asyncio.Event()
    process.line.slow = 25.0
    world.release("v2")
    await world.wait(60)
    process.line.slow = 0.0
    stuck.set()
    await world.ends("Promoted", within=120)


@pytest.mark.parametrize("name", PAIRS)
async def test_an_old_leader_that_comes_to_itself_undoes_nothing_of_its_successors(name: str) -> None:
    """It stalls before or after each of its writes, and goes on when its successor has made its first."""
    story, forks = PAIRS[name], Forks()
    world = await two(story)
    (first, second), met = world.processes, 0

    def meet(process: Process, point: Point) -> None:
        nonlocal met
        if process is not first or forks.child or not point.write:
            return
        met += 1
        if met % EVERY == 0 and forks.fork(str(point)):
            first.line.freeze()
            written = len(world.cluster.writes)
            asyncio.get_running_loop().create_task(_thaw(world, first, second, written))

    world.meets.append(meet)
    end = await forks.told(lambda: story.told(world))
    assert forks.ended
    same(end, forks)


async def _thaw(world: World, first: Process, second: Process, written: int) -> None:
    """When the second has begun; or, where there was nothing left to do, when it could have."""
    until = world.clock.monotonic() + 30
    while world.clock.monotonic() < until:
        mine = [w for w in world.cluster.writes[written:] if w.client == second.name and w.kind.name != "Lease"]
        if mine:
            break
        await world.changes(0.05)
    first.line.thaw()
