"""Deep health beside the loop: however many pods there are, each is asked in its turn, and no release keeps others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec

import pytest
from tests.fakes.virtual import VirtualClock, VirtualLoop

from tidegate.api.health import HealthCheck
from tidegate.core.asking import Call, Reply
from tidegate.core.checks import Ask
from tidegate.engine.checkups import MOST, MOST_OF_ONE, Checkups

CHECK = HealthCheck.model_validate({"name": "works", "http": {"path": "/deep", "port": 80}})
"""Each pod every 5 s, for 2 s at most."""


P = ParamSpec("P")


def at_once(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """A test on the virtual loop."""

    @wraps(test)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        async def whole() -> None:
            await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(whole())

    return told


class Pods:
    """A prober whose pods all answer after a while."""

    def __init__(self, takes: float) -> None:
        self.takes, self.busy, self.most = takes, 0, 0
        self.asked: list[str] = []

    async def ask(self, call: Call) -> Reply:
        """As the port."""
        self.asked.append(call.url)
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            await asyncio.sleep(min(self.takes, call.timeout))
        finally:
            self.busy -= 1
        return Reply(200) if self.takes <= call.timeout else Reply(error="not in time", late=True)


def asks(pods: int, of: str = "a") -> list[Ask]:
    """What a release with so many pods wants to know."""
    return [
        Ask(f"{of}-{number}", f"uid-{of}-{number}", CHECK, Call(f"http://{of}/{number}", anywhere=True))
        for number in range(pods)
    ]


@pytest.mark.parametrize("takes", [0.01, 0.1, 1.0, 1.9])
@at_once
async def test_of_500_pods_each_is_known_after_a_round_and_stays_so(takes: float) -> None:
    """The loop looks once a second, as it does in a bake."""
    prober, clock = Pods(takes), VirtualClock()
    checkups, wanted = Checkups(prober, clock), asks(500)
    round_ = 500 / MOST_OF_ONE * takes + 4
    began = clock.monotonic()
    while len(checkups.look("a", wanted)) < 500:
        await asyncio.sleep(1)
        assert clock.monotonic() - began < round_
    for _ in range(120):
        await asyncio.sleep(1)
        assert len(checkups.look("a", wanted)) == 500
    assert prober.most == MOST_OF_ONE
    each = [prober.asked.count(one.call.url) for one in wanted]
    assert min(each) >= 1 + int(120 / max(7.0, round_)), "and asked again, turn by turn"


@at_once
async def test_pods_that_hang_leave_those_of_others_their_share() -> None:
    prober = Pods(100)
    checkups = Checkups(prober, VirtualClock())
    for of in "abcd":
        checkups.look(of, asks(100, of))
    await asyncio.sleep(0)
    assert prober.busy == MOST
    checkups.look("e", asks(100, "e"))
    await asyncio.sleep(2.1)
    assert sum("//e/" in url for url in prober.asked) >= MOST // 5
    assert prober.most == MOST


@at_once
async def test_what_nobody_wanted_to_know_for_long_is_known_no_more() -> None:
    checkups = Checkups(Pods(0.01), VirtualClock())
    checkups.look("a", asks(3))
    await asyncio.sleep(1)
    assert len(checkups.look("a", asks(3))) == 3
    await asyncio.sleep(18)
    assert not checkups.look("a", asks(3))


@at_once
async def test_what_is_wanted_no_more_is_given_up_and_leaves_nothing() -> None:
    prober = Pods(1)
    checkups = Checkups(prober, VirtualClock())
    checkups.look("a", asks(100))
    await asyncio.sleep(0.5)
    assert not checkups.look("a", [])
    await asyncio.sleep(5)
    assert (prober.busy, len(prober.asked)) == (0, MOST_OF_ONE)
    assert not checkups.look("a", [])
    assert not checkups.known("a")
