"""Requests of gates beside the loop: each once, bounded for each release, and nobody waits for another's."""

from __future__ import annotations

import asyncio

from tests.fakes.virtual import VirtualClock

from tidegate.core.asking import Call, Reply
from tidegate.engine.calls import MOST, MOST_OF_ONE, Calls


class Hanging:
    """A prober that answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = asyncio.Event()

    async def ask(self, call: Call) -> Reply:
        """As the port."""
        self.asked.append(call.url)
        await self.answers.wait()
        return Reply(200)


def wanted(release: str, most: int = 16) -> dict[str, Call]:
    """So many requests of a release."""
    return {f"{release}-{number}": Call(f"http://{release}/{number}") for number in range(most)}


async def test_a_release_has_so_many_under_way_and_the_next_when_one_has_ended() -> None:
    prober = Hanging()
    calls = Calls(prober, VirtualClock())
    seen = calls.look("a", wanted("a"))
    await asyncio.sleep(0)
    assert len(prober.asked) == MOST_OF_ONE
    assert [one.made for one in seen.values()] == [True] * MOST_OF_ONE + [False] * (16 - MOST_OF_ONE)
    prober.answers.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    seen = calls.look("a", wanted("a"))
    assert sum(one.reply is not None for one in seen.values()) == MOST_OF_ONE
    assert sum(one.made for one in seen.values()) == 2 * MOST_OF_ONE


async def test_however_many_hang_each_release_has_one() -> None:
    prober = Hanging()
    calls = Calls(prober, VirtualClock())
    for number in range(2 * MOST):
        calls.look(f"r{number}", wanted(f"r{number}"))
    await asyncio.sleep(0)
    hosts = [url.split("/")[2] for url in prober.asked]
    assert set(hosts) == {f"r{number}" for number in range(2 * MOST)}
    assert len(hosts) == MOST + 2 * MOST - MOST // MOST_OF_ONE


async def test_what_is_wanted_no_more_is_given_up() -> None:
    prober = Hanging()
    calls = Calls(prober, VirtualClock())
    calls.look("a", wanted("a", 1))
    assert not calls.look("a", {})
    prober.answers.set()
    await asyncio.sleep(0)
    (again,) = calls.look("a", wanted("a", 1)).values()
    assert again.reply is None
