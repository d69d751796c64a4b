"""Metrics are asked without anybody waiting for them longer than a decision may take."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime

from tidegate.core.counters import Answer
from tidegate.engine.asker import ASIDE, AT_ONCE, MOST_WAITED, Asker
from tidegate.engine.subject import Subject
from tidegate.ports.cluster import CANARY_RELEASES


class Slow:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.answers, self.asked = asyncio.Event(), 0

    async def fetch(self, queries: Collection[str], at: datetime | None = None) -> Mapping[str, Answer]:
        self.asked += 1
        await self.answers.wait()
        return dict.fromkeys(queries, ())


async def test_what_is_asked_aside_is_there_later_and_few_are_asked_at_a_time() -> None:
    slow = Slow()
    asker = Asker(slow)
    for number in range(9):
        assert asker.ask_aside(f"flag-{number}", None, {"q"}) is None
    await asyncio.sleep(0)
    assert slow.asked == ASIDE
    slow.answers.set()
    await asyncio.sleep(0.01)
    assert slow.asked == 9
    assert asker.ask_aside("flag-3", None, {"q"}) == {"q": ()}


async def test_an_answer_about_another_step_is_none() -> None:
    slow = Slow()
    asker = Asker(slow)
    slow.answers.set()
    asker.ask_aside("flag", 1, {"old"})
    await asyncio.sleep(0.01)
    assert asker.ask_aside("flag", 2, {"new"}) is None
    await asyncio.sleep(0.01)
    assert asker.ask_aside("flag", 2, {"new"}) == {"new": ()}


WHO = Subject(CANARY_RELEASES, "shop", "checkout")


async def test_who_has_not_waited_is_told_when_the_answer_is_there() -> None:
    slow, told = Slow(), list[Subject]()
    asker = Asker(slow)
    asker.answered = told.append
    assert await asker.ask(WHO, "uid", {"q"}) is None
    assert await asker.ask(WHO, "uid", {"q"}) is None
    assert (told, slow.asked) == ([], 1)
    assert asker.awaits("uid")
    slow.answers.set()
    await asyncio.sleep(0.01)
    assert told == [WHO]
    assert not asker.awaits("uid")
    assert await asker.ask(WHO, "uid", {"q"}) == {"q": ()}


async def test_where_many_are_late_nobody_waits_for_one_more() -> None:
    """A release that is to turn back comes to its turn behind hundreds that have yet to be answered."""
    slow = Slow()
    asker = Asker(slow)
    for number in range(MOST_WAITED):
        await asker.ask(WHO, f"uid-{number}", {"q"})
    began = asyncio.get_running_loop().time()
    for number in range(MOST_WAITED, 100):
        assert await asker.ask(WHO, f"uid-{number}", {"q"}) is None
    assert asyncio.get_running_loop().time() - began < 5 * AT_ONCE
    slow.answers.set()
    await asyncio.sleep(0.01)
    assert await asker.ask(WHO, "uid-99", {"q"}) == {"q": ()}
