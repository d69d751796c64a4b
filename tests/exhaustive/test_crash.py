"""Something goes wrong at each point at which the operator waits for anything: the end is the same as if it had not.

A story is told once; at each of its moments (in a test run, at one of six) a copy of the world comes into being in
which the operator dies, or is refused, just there, and is told to its end (tests/exhaustive/forks.py). Whoever comes
in the place of a dead operator has an empty memory: all it knows is what stands in the cluster.
"""

from __future__ import annotations

import asyncio
import difflib
import os
from collections.abc import Callable
from itertools import count

import pytest

from tests.exhaustive.forks import Forks
from tests.exhaustive.stories import STORIES
from tests.fakes.line import Point
from tests.sim.process import Process
from tests.sim.world import World
from tidegate.ports.cluster import ClusterError, Conflict, Unavailable

EVERY = int(os.environ.get("TIDEGATE_EXHAUSTIVE", "30"))
"""Of so many moments one is told to its end; of 1, all: `make histories` does."""
Mishap = Callable[[World, Process], None]


def dies(world: World, process: Process) -> None:
    """SIGKILL."""
    world.kill(process)


def refused(error: Callable[[], ClusterError]) -> Mishap:
    """The API server says no, or the answer is lost."""

    def mishap(world: World, process: Process) -> None:
        raise error()

    return mishap


async def told_with(
    name: str, mishap: Mishap, where: Callable[[Point], bool] = lambda _: True, at: int | None = None
) -> tuple[str, Forks]:
    """Tell a story with a mishap at each point (or, without a copy, ``at`` one of them): how it ends without it."""
    story, forks = STORIES[name], Forks()
    world, moments = await story.begin(), set[object]()

    def meet(process: Process, point: Point) -> None:
        if forks.child or not where(point):
            return
        if at is not None:
            if point.number == at and process.name == "operator-1":
                mishap(world, process)
            return
        # Of several points at one moment, with nothing written between them, the world after a death is one.
        moment = (asyncio.get_running_loop().time(), world.cluster.version, None if mishap is dies else point)
        if moment not in moments:
            moments.add(moment)
            if len(moments) % EVERY == 1 % EVERY and forks.fork(str(point)):
                mishap(world, process)

    world.meets.append(meet)
    return await forks.told(lambda: story.told(world)), forks


def same(end: str, forks: Forks) -> None:
    """All copies ended as the original did."""
    differ = [ended for ended in forks.ended if not ended.well or ended.told != end]
    assert not differ, f"{len(differ)} of {len(forks.ended)}, the first at {differ[0].label}:\n" + (
        "\n".join(difflib.unified_diff(end.splitlines(), differ[0].told.splitlines(), "undisturbed", "disturbed"))
        if differ[0].well
        else differ[0].told
    )


@pytest.mark.parametrize("name", STORIES)
async def test_the_operator_dies_at_each_await(name: str) -> None:
    end, forks = await told_with(name, dies)
    assert forks.ended
    same(end, forks)


@pytest.mark.parametrize("name", STORIES)
async def test_each_write_is_refused(name: str) -> None:
    mishap = refused(lambda: Conflict("injected"))
    end, forks = await told_with(name, mishap, lambda point: point.write and point.when == "before")
    assert forks.ended
    same(end, forks)


@pytest.mark.parametrize("name", STORIES)
async def test_the_answer_to_each_write_is_lost(name: str) -> None:
    mishap = refused(lambda: Unavailable("injected"))
    end, forks = await told_with(name, mishap, lambda point: point.write and point.when == "after")
    assert forks.ended
    same(end, forks)


async def test_what_happened_is_told_though_no_write_of_it_is_answered_at_first() -> None:
    async def events(*, answered: bool) -> list[str]:
        world = await STORIES["revert"].begin()
        turns = count()

        def meet(process: Process, point: Point) -> None:
            if (
                point.verb == "patch"
                and point.what.startswith("CanaryRelease")
                and point.when == "after"
                and next(turns) % 2 == 0
            ):
                raise Unavailable("injected")

        if not answered:
            world.meets.append(meet)
        await STORIES["revert"].told(world)
        return world.events()

    assert await events(answered=False) == await events(answered=True)


@pytest.mark.parametrize("name", ["promote", "revert", "adopt"])
async def test_the_api_server_is_away_for_each_request(name: str) -> None:
    mishap = refused(lambda: Unavailable("injected", after=1.0))
    end, forks = await told_with(
        name, mishap, lambda point: point.request and point.verb != "ask" and point.when == "before"
    )
    assert forks.ended
    same(end, forks)


async def test_a_copy_ends_as_a_world_does_that_is_told_anew() -> None:
    """So what a copy found can be looked into without one: by ``at``."""
    _, forks = await told_with("revert", dies, lambda point: point.write)
    assert forks.ended
    for ended in forks.ended[::9]:
        number = int(ended.label.partition(":")[0])
        assert (await told_with("revert", dies, at=number))[0] == ended.told


@pytest.mark.parametrize("name", STORIES)
async def test_watches_that_lag_by_seconds_change_nothing(name: str) -> None:
    end = (await told_with(name, dies, lambda _: False))[0]
    story = STORIES[name]
    world = await story.begin()
    for process in world.processes:
        process.watch.lag = 3.0
    world.lag = 3.0
    assert await story.told(world) == end
