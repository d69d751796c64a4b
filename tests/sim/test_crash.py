"""The operator dies, or the API server says no, at each of its requests in turn: the end is the same.

A story is told again and again in one world, each time with a failure at the next request, until none is left that
has not failed. Whoever comes back has an empty memory: all it knows is what stands in the cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.fakes.controllers import Version
from tests.fakes.faults import Crash, Faulty, When
from tests.sim.world import World, canary, route
from tidegate.api.release import Stage
from tidegate.ports.cluster import CANARY_RELEASES, REPLICASETS, Cluster, Conflict, Unavailable

SPEC: dict[str, Any] = {"steps": [{"weight": 50, "bake": "1s"}], "drain": "1s", "analysis": {"metrics": []}}

Story = Callable[[World, int], Awaitable[None]]


async def promotes(world: World, turn: int) -> None:
    """There and back again."""
    image = "v2" if turn % 2 == 0 else "v1"
    pods = world.pods_created()[image]
    world.release(image)
    await world.ends("Promoted", revive=True)
    assert world.pods() == {image: 4}
    assert world.pods_created()[image] == pods + 4, "the pods that passed are the pods that stay"


async def reverts(world: World, turn: int) -> None:
    """A bad one comes and is gone; then its author takes it back."""
    world.release("bad")
    await world.ends("RolledBack", revive=True)
    assert world.phase == "RolledBack"
    assert world.pods() == {"v1": 4}
    world.release("v1")
    await world.until(lambda: world.condition("Ready") == "True", revive=True)
    assert world.pods_created()["v1"] == 4


async def supersedes(world: World, turn: int) -> None:
    """Another one comes in mid-release."""
    world.release("v2")
    await world.until(lambda: world.stage is Stage.BAKE, revive=True)
    world.release("v3" if turn % 2 == 0 else "v1")
    await world.until(lambda: world.outcome == "Superseded" or world.reason == "TemplateRestored", revive=True)
    await world.until(lambda: world.condition("Ready") == "True", revive=True)
    world.release("v1")
    await world.until(lambda: world.condition("Ready") == "True" and world.pods() == {"v1": 4}, revive=True)


async def is_let_go_and_taken_again(world: World, turn: int) -> None:
    """The release object is deleted in mid-release, and created again: the old version serves all the while."""
    image = "v1"
    world.release("v2" if turn % 2 == 0 else "v3")
    await world.until(lambda: world.stage is Stage.BAKE, revive=True)
    world.delete(CANARY_RELEASES)
    await world.until(lambda: world.object is None, revive=True)
    world.oracle.awake = False
    await world.until(lambda: world.pods() == {image: 4}, revive=True)
    await world.until(lambda: not world.traces(), within=10, revive=True)
    assert world.rules() == route()["spec"]["rules"]
    await asyncio.sleep(5)
    world.oracle.awake = True
    pods = world.pods_created()
    world.create(CANARY_RELEASES, canary(**SPEC))
    await world.until(lambda: world.condition("Ready") == "True" and "bounded" in _rest(world), revive=True)
    assert world.pods_created() == pods


def _rest(world: World) -> str:
    floors = [note for note in _sets(world) if note.get("tidegate.dev/floor") == "100%"]
    return "bounded" if floors else ""


def _sets(world: World) -> list[dict[str, str]]:
    return [rs["metadata"].get("annotations") or {} for rs in world.cluster.all(REPLICASETS, "shop")]


async def told_with_failures(
    story: Story, error: Callable[[], BaseException], when: When, *, reads: bool = False, stride: int = 1
) -> int:
    """Tell it until no request is left that has not failed; how many failed."""
    faulty: list[Faulty] = []
    quick = Version(starts_in=0.2)
    bad = Version(starts_in=0.2, fails_after=1.0)
    world = World.empty({"v1": quick, "v2": quick, "v3": quick, "bad": bad})
    world.router.reads, world.router.applies = 0.1, 0.2

    def through(cluster: Cluster) -> Cluster:
        # Every operator has its own connection; what is to fail is the same.
        if not faulty:
            faulty.append(Faulty(cluster))
        return faulty[0]

    world.through = through
    await world.populate(SPEC)
    turn, tried = 0, 0
    while True:
        faulty[0].arm(turn * stride, when, error(), reads=reads)
        before = world.requests()
        await story(world, turn)
        await asyncio.sleep(1)
        await world.until(lambda: not world.crashed, revive=True)
        assert world.requests() - before < 1200, "no hot loop"
        if not faulty[0].tripped:
            break
        tried += 1
        turn += 1
        assert tried < 400
    await world.wait(5)
    return tried


@pytest.mark.parametrize(
    ("story", "stride"), [(promotes, 1), (reverts, 1), (supersedes, 2), (is_let_go_and_taken_again, 2)]
)
async def test_the_operator_dies_at_each_write(story: Story, stride: int) -> None:
    """Before a write is after the one before it: all that a crash can leave is tried (of longer stories, half)."""
    tried = await told_with_failures(story, Crash, "before", stride=stride)
    assert tried > 15


@pytest.mark.parametrize("story", [promotes, reverts])
async def test_the_operator_dies_at_a_read(story: Story) -> None:
    tried = await told_with_failures(story, Crash, "before", reads=True, stride=31)
    assert tried > 3


@pytest.mark.parametrize("story", [promotes, reverts, is_let_go_and_taken_again])
async def test_each_write_is_refused_once(story: Story) -> None:
    tried = await told_with_failures(story, lambda: Conflict("injected"), "before", stride=2)
    assert tried > 10


async def test_the_api_server_is_away_for_each_write_once() -> None:
    tried = await told_with_failures(promotes, lambda: Unavailable("injected"), "before", stride=3)
    assert tried > 10


@pytest.mark.parametrize("story", [promotes, is_let_go_and_taken_again])
async def test_an_answer_that_is_lost_is_not_acted_upon_twice(story: Story) -> None:
    tried = await told_with_failures(story, lambda: Unavailable("no answer"), "after", stride=3)
    assert tried > 10


@pytest.mark.parametrize("story", [promotes, reverts, supersedes, is_let_go_and_taken_again])
async def test_watches_that_lag_by_seconds_change_nothing(story: Story) -> None:
    world = World.empty({"bad": Version(fails_after=1.0)})
    world.lag = 3.0
    await world.populate(SPEC)
    for turn in range(2):
        await story(world, turn)
