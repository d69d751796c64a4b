"""The list and the watch, through all that an API server may do to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from typing import Any

import pytest

from tidegate.adapters.listed import Listed
from tidegate.adapters.listwatch import ListWatch
from tidegate.ports.cluster import FEATURE_FLAGS, Kind, NotFound, Object, Rejected, Unavailable

Json = dict[str, Any]


def obj(name: str, version: str = "1") -> Json:
    return {"metadata": {"namespace": "shop", "name": name, "resourceVersion": version}}


class Clock:
    """Time passes as it is waited for."""

    def __init__(self) -> None:
        self.time, self.slept = 0.0, list[float]()

    def monotonic(self) -> float:
        return self.time

    def jitter(self) -> float:
        return 0.5

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.slept.append(seconds)
        await asyncio.sleep(0)


class Server:
    """Says what a story has it say, list by list and watch by watch; then nothing more."""

    def __init__(self, clock: Clock, *story: object) -> None:
        self.clock, self.story = clock, iter(story)
        self.asked: list[str] = []

    def next(self) -> Any:
        found = next(self.story, None)
        if found is None:
            raise asyncio.CancelledError
        if isinstance(found, Exception):
            raise found
        return found

    async def pages(self, kind: Kind, namespace: str = "") -> AsyncIterator[Listed]:
        self.asked.append("list")
        yield _page(self.next())

    async def events(self, kind: Kind, namespace: str, version: str, *, lasting: int) -> AsyncIterator[Object]:
        self.asked.append(f"watch {version}")
        for event in self.next():
            if isinstance(event, Exception):
                raise event
            yield event
        self.clock.time += 600


def _page(objects: Any) -> Listed:
    import json

    return Listed(json.dumps({"metadata": {"resourceVersion": "10"}, "items": objects}))


class Seen:
    def __init__(self) -> None:
        self.told: list[str] = []

    def put(self, one: Object) -> None:
        self.told.append(f"+{one['metadata']['name']}")

    def remove(self, name: tuple[str, str]) -> None:
        self.told.append(f"-{name[1]}")

    def keep_only(self, names: Collection[tuple[str, str]]) -> None:
        self.told.append("only " + ",".join(sorted(name for _, name in names)))

    def confirmed(self) -> None:
        if self.told[-1:] != ["ok"]:
            self.told.append("ok")

    def broken(self) -> None:
        self.told.append("broken")


async def tell(*story: object, clock: Clock | None = None) -> tuple[Seen, Server, Clock]:
    clock, seen = clock or Clock(), Seen()
    server = Server(clock, *story)
    watching = asyncio.create_task(ListWatch(server, FEATURE_FLAGS, "", seen, clock).run())  # type: ignore[arg-type]  # it is like one
    await asyncio.wait({watching}, timeout=60)
    assert watching.cancelled()
    return seen, server, clock


def events(*what: tuple[str, Json]) -> list[Json]:
    return [{"type": type_, "object": one} for type_, one in what]


async def test_what_comes_and_goes_is_told_and_a_watch_goes_on_where_the_last_ended() -> None:
    seen, server, _ = await tell(
        [obj("a"), obj("b")],
        events(
            ("ADDED", obj("c", "11")),
            ("DELETED", obj("a", "12")),
            ("BOOKMARK", {"metadata": {"resourceVersion": "20"}}),
        ),
        events(("MODIFIED", obj("b", "21"))),
    )
    assert seen.told == ["+a", "+b", "only a,b", "ok", "+c", "ok", "-a", "ok", "+b", "ok"]
    assert server.asked == ["list", "watch 10", "watch 20", "watch 21"]


async def test_a_version_that_is_forgotten_is_listed_anew() -> None:
    gone = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
    seen, server, _ = await tell([obj("a")], [gone], [obj("b")], events())
    assert seen.told == ["+a", "only a", "ok", "broken", "+b", "only b", "ok"]
    assert server.asked == ["list", "watch 10", "list", "watch 10", "watch 10"]


async def test_an_api_server_that_is_away_is_waited_for_ever_longer_and_said_to_be_away() -> None:
    away = [Unavailable("away") for _ in range(12)]
    seen, server, clock = await tell([obj("a")], *away, events(("ADDED", obj("b", "11"))))
    assert seen.told == ["+a", "only a", "ok", *["broken"] * 12, "+b", "ok"]
    assert clock.slept[:4] == [0.25, 0.5, 1.0, 2.0]
    assert max(clock.slept) == 10.0
    assert server.asked.count("list") == 1, "what was seen is not asked for again"


async def test_a_break_within_a_watch_loses_nothing() -> None:
    half: Iterator[object] = iter([*events(("ADDED", obj("b", "11"))), Unavailable("cut")])
    seen, server, _ = await tell([obj("a")], half, events(("ADDED", obj("c", "12"))))
    assert seen.told == ["+a", "only a", "ok", "+b", "ok", "broken", "+c", "ok"]
    assert server.asked == ["list", "watch 10", "watch 11", "watch 12"]


def lasting(clock: Clock, seconds: float, error: Exception) -> Iterator[object]:
    """A watch that stands for so long, and is cut."""
    clock.time += seconds
    yield error


async def test_a_watch_that_stood_is_asked_for_again_without_a_long_pause() -> None:
    clock = Clock()
    cuts = [lasting(clock, 300.0, Unavailable("cut after 300 s")) for _ in range(8)]
    _, _, clock = await tell([obj("a")], *cuts, clock=clock)
    assert clock.slept == [0.25] * 8


async def test_a_watch_that_is_refused_is_begun_by_a_list() -> None:
    seen, server, clock = await tell([obj("a")], Rejected("410: too old"), [obj("b")], NotFound("404"), [obj("b")])
    assert seen.told == ["+a", "only a", "ok", "broken", "+b", "only b", "ok", "broken", "+b", "only b", "ok"]
    assert server.asked == ["list", "watch 10", "list", "watch 10", "list", "watch 10"]
    assert clock.slept == [0.25, 0.5]


@pytest.mark.parametrize(
    "broken",
    [
        [{"type": "SURPRISE", "object": obj("one")}],
        [{"type": "ADDED"}],
        [{"type": "ADDED", "object": {"metadata": None}}],
        [{"type": "BOOKMARK", "object": {"metadata": {}}}],
        ["<html>"],
        [7],
    ],
    ids=["unknown", "no object", "no metadata", "no version", "text", "number"],
)
async def test_what_cannot_be_read_of_a_watch_is_asked_again_from_a_list(broken: list[Any]) -> None:
    seen, server, clock = await tell([obj("one")], broken, [obj("one"), obj("two")], [])
    assert server.asked[:4] == ["list", "watch 10", "list", "watch 10"]
    assert seen.told[-2:] == ["only one,two", "ok"]
    assert "broken" in seen.told
    assert clock.slept[0] > 0


async def test_a_list_that_cannot_be_read_is_asked_for_again_ever_later() -> None:
    seen, server, clock = await tell([7], [{"metadata": {}}], [{"kind": "no metadata"}], [obj("one")], [])
    assert server.asked[:5] == ["list"] * 4 + ["watch 10"]
    assert seen.told[-2:] == ["only one", "ok"]
    assert clock.slept[:3] == sorted(set(clock.slept[:3]))
