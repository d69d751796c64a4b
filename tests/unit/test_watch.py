"""Watches against an API server that misbehaves: they begin anew, with a pause, and nobody is stopped by them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.rig.web import serving

from tidegate.adapters import watch as watches
from tidegate.adapters.watch import BURST, PACE, Pace, _Forgetful, watch
from tidegate.ports.cluster import SERVICES, Kind, Object

pytestmark = pytest.mark.realtime

Json = dict[str, Any]
Stream = Callable[[web.StreamResponse], Awaitable[None]]
MUTE = [Kind("api/v1", name, name.capitalize()) for name in ("pods", "events", "endpoints", "secrets", "configmaps")]
"""Kinds whose watches never begin."""


def service(name: str, version: int) -> Json:
    """A Service."""
    return {"metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": str(version)}}


DEEP = "goes deeper than Python reads"


def text(obj: Json) -> str:
    """As JSON, which Python could not write where it is deep."""
    return json.dumps(obj).replace(json.dumps(DEEP), '{"a":[' * 4000 + "]}" * 4000)


async def line(response: web.StreamResponse, type_: str, obj: Json) -> None:
    """An event of a watch."""
    await response.write(text({"type": type_, "object": obj}).encode() + b"\n")


class Api:
    """As much of an API server as Kopf asks for. ``watching`` is what each watch gets, but for those of ``MUTE``."""

    def __init__(self, watching: Stream, *pages: list[Json]) -> None:
        self.watching, self.pages = watching, pages or ([service("a", 5)],)
        self.asked: Callable[[], None] = lambda: None
        """Called before a page is given."""
        self.lists = self.watches = self._waiting = 0
        self.all_wait = asyncio.Event()

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            page = int(request.query.get("continue", "0"))
            self.asked()
            self.lists += not page
            more = str(page + 1) if page + 1 < len(self.pages) else ""
            listed = {"metadata": {"resourceVersion": "5", "continue": more}, "items": self.pages[page]}
            return web.json_response(listed, dumps=text)
        self.watches += 1
        response = web.StreamResponse()
        await response.prepare(request)
        await self.watching(response)
        return response

    async def _list_only(self, request: web.Request) -> web.Response:
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "5"}, "items": []})
        self._waiting += 1
        if self._waiting == len(MUTE):
            self.all_wait.set()
        await asyncio.Event().wait()
        return web.Response()

    @asynccontextmanager
    async def running(self, folder: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        """Serve, with KUBECONFIG pointing here."""
        verbs = {"singularName": "", "verbs": ["list", "watch"]}
        listed = {"name": "services", "kind": "Service", "namespaced": True, **verbs}
        mute = [{"name": kind.plural, "kind": kind.name, "namespaced": True, **verbs} for kind in MUTE]
        spaces = {"name": "namespaces", "kind": "Namespace", "namespaced": False, **verbs}
        answers: dict[str, Json] = {
            "/api": {"versions": ["v1"]},
            "/apis": {"groups": []},
            "/api/v1": {"resources": [listed, *mute, spaces]},
        }
        app = web.Application()

        async def discovered(request: web.Request) -> web.Response:
            return web.json_response(answers[request.path])

        for path in answers:
            app.router.add_get(path, discovered)
        app.router.add_get("/api/v1/services", self._list)
        for kind in MUTE:
            app.router.add_get(f"/api/v1/{kind.plural}", self._list_only)
        async with serving(app) as url:
            here = {"name": "here"}
            config = {
                "clusters": [{**here, "cluster": {"server": url}}],
                "users": [{**here, "user": {"token": "t"}}],
                "contexts": [{**here, "context": {"cluster": "here", "user": "here"}}],
                "current-context": "here",
            }
            (folder / "kubeconfig").write_text(json.dumps(config))
            patch.setenv("KUBECONFIG", str(folder / "kubeconfig"))
            yield


class Seen:
    """What the watches told, and counted."""

    def __init__(self) -> None:
        self.names: list[tuple[str, str]] = []
        self.counted: list[tuple[str, str, int]] = []
        self.gaps = 0
        self._news = asyncio.Event()

    def told(self, kind: Kind, type_: str, obj: Object) -> None:
        """An event."""
        assert kind is SERVICES
        self.names.append((type_, obj["metadata"]["name"]))
        self._news.set()

    def missed(self) -> None:
        """A gap."""
        self.gaps += 1
        self._news.set()

    async def until(self, so: Callable[[], bool], seconds: float = 20) -> None:
        """Wait until it was seen."""
        async with asyncio.timeout(seconds):
            while not so():
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def watched(seen: Seen, *kinds: Kind) -> AsyncIterator[asyncio.Task[None]]:
    """The watches run; they end at once when they are asked to."""
    stop = asyncio.Event()
    task = asyncio.create_task(
        watch(
            [SERVICES, *kinds],
            seen.told,
            namespace=None,
            stop=stop,
            missed=seen.missed,
            counted=lambda *request: seen.counted.append(request),
        )
    )
    try:
        yield task
    finally:
        stop.set()
        async with asyncio.timeout(15):
            await task


async def forever(_: web.StreamResponse) -> None:
    """A watch that tells nothing."""
    await asyncio.Event().wait()


async def test_lists_and_watches_are_told_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stream(response: web.StreamResponse) -> None:
        await line(response, "ADDED", service("b", 6))
        await line(response, "DELETED", service("b", 7))
        await forever(response)

    seen = Seen()
    async with Api(stream).running(tmp_path, monkeypatch), watched(seen):
        await seen.until(lambda: len(seen.names) >= 3)
    assert seen.names == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "b")]
    assert seen.gaps == 0
    assert ("LIST", "services", 200) in seen.counted
    assert ("WATCH", "services", 200) in seen.counted


async def then_one_more(response: web.StreamResponse) -> None:
    """A watch that tells of one object."""
    await line(response, "ADDED", service("last", 6))
    await forever(response)


async def test_a_page_of_a_list_is_asked_for_when_the_one_before_has_been_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [[service(f"{page}-{number}", 5) for number in range(20)] for page in range(3)]
    seen, api, told = Seen(), Api(then_one_more, *pages), list[int]()
    api.asked = lambda: told.append(len(seen.names))
    async with api.running(tmp_path, monkeypatch), watched(seen):
        await seen.until(lambda: ("ADDED", "last") in seen.names)
    assert told == [0, 20, 40]
    assert [name for _, name in seen.names] == [*(obj["metadata"]["name"] for page in pages for obj in page), "last"]


async def test_kopf_begins_no_task_for_what_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would keep its object, parsed, for a while: of all memory that a start took it was the most."""
    spied, spy = list[str](), watches._spy

    def spying(*how: Any) -> Callable[..., Awaitable[None]]:
        async def tell(event: Json, **rest: Any) -> None:
            spied.append(event["object"]["metadata"]["name"])
            await spy(*how)(event=event, **rest)

        return tell

    monkeypatch.setattr(watches, "_spy", spying)
    seen, api = Seen(), Api(then_one_more, [service("a", 5), service("b", 5)])
    async with api.running(tmp_path, monkeypatch), watched(seen):
        await seen.until(lambda: ("ADDED", "last") in seen.names)
    assert [name for _, name in seen.names] == ["a", "b", "last"]
    assert spied == ["last"]


async def test_an_object_that_goes_too_deep_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deep(name: str, version: int) -> Json:
        return {**service(name, version), "spec": DEEP}

    async def stream(response: web.StreamResponse) -> None:
        await line(response, "MODIFIED", deep("a", 6))
        await then_one_more(response)

    seen, api = Seen(), Api(stream, [service("a", 5), deep("b", 5), service("c", 5)])
    async with api.running(tmp_path, monkeypatch), watched(seen):
        await seen.until(lambda: ("ADDED", "last") in seen.names)
    assert [name for _, name in seen.names] == ["a", "b", "c", "a", "last"]
    assert (api.lists, seen.gaps) == (1, 0)


@pytest.mark.parametrize("code", [410, 500, 504])
async def test_an_error_within_a_stream_is_followed_by_another_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Kopf takes any but 410 for the end of the whole program."""
    failed = False

    async def stream(response: web.StreamResponse) -> None:
        nonlocal failed
        if not failed:
            failed = True
            await line(response, "ERROR", {"kind": "Status", "code": code})
        await forever(response)

    seen, api = Seen(), Api(stream)
    async with api.running(tmp_path, monkeypatch), watched(seen) as task:
        await seen.until(lambda: len(seen.names) >= 2 and seen.gaps == 1)
        assert not task.done()
    assert api.lists == 2


async def test_an_error_within_a_stream_while_other_watches_have_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left to itself Kopf takes its going out for a pause in those, and waits for their end for ever."""
    failed = False

    async def stream(response: web.StreamResponse) -> None:
        nonlocal failed
        if not failed:
            failed = True
            await api.all_wait.wait()
            await line(response, "ERROR", {"kind": "Status", "code": 500})
        await forever(response)

    seen, api = Seen(), Api(stream)
    async with api.running(tmp_path, monkeypatch), watched(seen, *MUTE):
        await seen.until(lambda: len(seen.names) == 2)


async def test_watches_that_are_closed_at_once_are_not_begun_anew_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = 5

    async def stream(response: web.StreamResponse) -> None:
        nonlocal version
        version += 1
        await line(response, "MODIFIED", service("a", version))

    seen, api = Seen(), Api(stream)
    monkeypatch.setattr(watches, "PACE", 0.5)
    loop = asyncio.get_running_loop()
    async with api.running(tmp_path, monkeypatch), watched(seen):
        began = loop.time()
        await seen.until(lambda: api.watches >= BURST + 3)
        took = loop.time() - began
    assert took >= 2 * 0.5
    assert api.watches <= BURST + 1 + took / 0.5


async def test_a_watch_that_never_begins_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "HEADERS", 0.3)
    seen, api = Seen(), Api(forever)
    listing = api._list
    hung = False

    async def hangs_once(request: web.Request) -> web.StreamResponse:
        nonlocal hung
        if "watch" in request.query and not hung:
            hung = True
            await asyncio.sleep(3600)
        return await listing(request)

    async def stream(response: web.StreamResponse) -> None:
        await line(response, "ADDED", service("b", 6))
        await forever(response)

    api.watching = stream
    monkeypatch.setattr(api, "_list", hangs_once)
    async with api.running(tmp_path, monkeypatch), watched(seen):
        await seen.until(lambda: ("ADDED", "b") in seen.names)
    assert ("WATCH", "services", 0) in seen.counted


def test_the_pace_lets_few_through_at_once_and_then_one_by_one() -> None:
    pace = Pace()
    assert [pace.wait("a", 100.0) for _ in range(BURST + 2)] == [0.0] * BURST + [PACE, 2 * PACE]
    assert pace.wait("b", 100.0) == 0.0, "each has a pace of its own"
    assert pace.wait("a", 100.0 + 20 * PACE) == 0.0, "whoever waited is free again"


async def test_kopf_remembers_no_object() -> None:
    memories = _Forgetful()
    await memories.recall({"metadata": {"uid": "u1"}}, noticed_by_listing=True)
    assert list(memories.iter_all_memories()) == []
