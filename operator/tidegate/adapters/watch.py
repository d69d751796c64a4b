"""Watches, by Kopf: the only file that knows it. A handler tells what it saw and returns; it decides nothing.

Kopf would add finalizers, annotations and patches of its own to objects if it were asked to handle changes, so it is
asked for raw events only. Its traps, and why its settings are what they are: docs/decisions.md.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any

import aiohttp
import kopf
import yarl
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from tidegate import __version__
from tidegate.adapters.lines import lines
from tidegate.core import depth
from tidegate.ports.cluster import Kind, Object

Told = Callable[[Kind, str, Object], None]
"""Kind, event type (of what is listed: ADDED), object."""
Show = Callable[[Kind, Iterable[Object]], Awaitable[None]]
"""Kind and listed objects; done when all of them are told."""
Counted = Callable[[str, str, int], None]
"""Verb, resource, status code of a request."""

RETRY_LIMIT = 10.0
HEADERS = 15.0
"""Seconds for an answer to begin: Kopf would wait for that of a watch without an end."""
PAGE = 100
"""Objects of a list that come in one answer."""
BURST, PACE = 4, 5.0
"""Lists or watches of a kind that may begin at once, and the seconds to each one more."""
ENDING = 2.0
"""Seconds that Kopf's tasks have to end."""
LASTING = 60.0
"""Seconds of work after which the next trouble is not taken for a continuation of the last."""

log = logging.getLogger("tidegate.watch")


class Forever(Iterable[float]):
    """Back-off without an end: an API server that is away for an hour is found again, and nothing is restarted."""

    def __iter__(self) -> Iterator[float]:
        delay = 0.25
        while True:
            yield delay * random.uniform(0.75, 1.25)  # noqa: S311 - spreads retries, hides nothing
            delay = min(delay * 2, RETRY_LIMIT)


class Pace:
    """When each of many may begin anew: a few at once, then one after the other."""

    def __init__(self) -> None:
        self._free: dict[str, float] = defaultdict(float)

    def wait(self, what: str, now: float) -> float:
        """Seconds to wait before beginning."""
        free = max(self._free[what], now - BURST * PACE) + PACE
        self._free[what] = free
        return max(0.0, free - now)


async def watch(
    kinds: Sequence[Kind],
    told: Told,
    *,
    namespace: str | None,
    stop: asyncio.Event,
    missed: Callable[[], None] = lambda: None,
    counted: Counted = lambda *_: None,
) -> None:
    """Watch until ``stop``. ``missed`` is called after each gap in a watch: what was deleted in it is not told.

    In a thread of its own: on its way out Kopf cancels all tasks of its loop, and it goes out for things that pass,
    such as an error within a stream. Then it is started again, and everybody else goes on.
    """
    loop = asyncio.get_running_loop()
    ended: concurrent.futures.Future[None] = concurrent.futures.Future()

    def tell(kind: Kind, type_: str, obj: Object) -> None:
        if not ended.done():
            loop.call_soon_threadsafe(told, kind, type_, obj)

    async def tell_all(kind: Kind, page: Iterable[Object]) -> None:
        for obj in page:
            loop.call_soon(told, kind, "ADDED", obj)
            await asyncio.sleep(0)  # until it was called

    async def show(kind: Kind, page: Iterable[Object]) -> None:
        if not ended.done():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(tell_all(kind, page), loop))

    def again() -> None:
        if not ended.done():
            loop.call_soon_threadsafe(missed)

    threads = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="watch")
    line = _Line(again, counted, _Lists(kinds, show))
    watching = loop.run_in_executor(threads, _watch_on, kinds, tell, namespace, ended, line)
    stopped = asyncio.ensure_future(stop.wait())
    either: set[asyncio.Future[Any]] = {watching, stopped}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.set_result(None)
        stopped.cancel()
        await watching
        threads.shutdown(wait=False)


def _watch_on(
    kinds: Sequence[Kind],
    told: Told,
    namespace: str | None,
    ended: concurrent.futures.Future[None],
    line: _Line,
) -> None:
    """Kopf, and again Kopf, each in a loop of its own: what it leaves behind goes with it."""
    delays = iter(Forever())
    while not ended.done():
        began = time.monotonic()
        try:
            _alone(_kopf(kinds, told, namespace, ended, line), line)
        except Exception as error:  # noqa: BLE001 - whatever ends the watches, they must begin anew
            if time.monotonic() - began > LASTING:
                delays = iter(Forever())
            delay = next(delays)
            log.warning("the watches have ended, and begin anew in %.1f s: %r", delay, error)
            concurrent.futures.wait({ended}, timeout=delay)


def _alone(main: Coroutine[Any, Any, None], line: _Line) -> None:
    """Run to its end, and end all that it began."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main)
    finally:
        loop.run_until_complete(_end(line))
        # Of a task that would not end nobody needs to hear when it is thrown away.
        loop.set_exception_handler(lambda *_: None)
        loop.close()


async def _end(line: _Line) -> None:
    """Kopf's own way out waits without a limit. But a watcher that is cancelled while it waits for an answer, at the
    same time as its sign for pauses, takes it for a pause and goes on: so all others come after the watchers.
    """
    await _cancel(task for task in asyncio.all_tasks() if task.get_name().startswith(("watcher", "multi")))
    await _cancel(asyncio.all_tasks() - {asyncio.current_task()})
    await line.close()
    closing = asyncio.ensure_future(asyncio.get_running_loop().shutdown_asyncgens())
    await asyncio.wait({closing}, timeout=ENDING)


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    if cancelled := [task for task in tasks if task.cancel()]:
        await asyncio.wait(cancelled, timeout=ENDING)


async def _kopf(
    kinds: Sequence[Kind],
    told: Told,
    namespace: str | None,
    ended: concurrent.futures.Future[None],
    line: _Line,
) -> None:
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry, errors=kopf.ErrorsMode.PERMANENT)(_login(line))
    for kind in kinds:
        group, _, version = kind.api_version.rpartition("/")
        kopf.on.event(group, version, kind.plural, registry=registry)(_spy(kind, told))
    # Left without a name Kopf asks who its user is, and an arbitrary uid in a pod has no entry that tells.
    name: Any = "tidegate"
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    # It warns that signals are not its own in a thread.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=_settings(),
        memories=_Forgetful(),
        standalone=True,
        identity=name,
        clusterwide=namespace is None,
        namespaces=[namespace] if namespace else [],
        stop_flag=ended,
    )
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    if not ended.done():
        raise RuntimeError(f"{done} ended by itself")


def _spy(kind: Kind, told: Told) -> Callable[..., Any]:
    async def spy(type: str, event: dict[str, Any], **_: object) -> None:  # noqa: A002 - Kopf's names
        told(kind, type, event["object"])

    return spy


def _login(line: _Line) -> Callable[..., Any]:
    async def login(**kwargs: Any) -> kopf.AiohttpSession | None:
        """The same cluster as the client's: a kubeconfig that is named goes before the Pod's ServiceAccount."""
        found = None if "KUBECONFIG" in os.environ else kopf.login_with_service_account(**kwargs)
        found = found or kopf.login_with_kubeconfig(**kwargs)
        if found is None:
            return None
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=found.as_ssl_context()),
            headers={**found.as_http_headers(), "User-Agent": f"tidegate/{__version__}"},
            middlewares=[line.send],
            response_class=line.lists.answer(),
        )
        line.sessions.append(session)
        return kopf.AiohttpSession(server=found.server, aiohttp_session=session)

    return login


class _Line:
    """All requests of Kopf pass here: paced, within a time-out, counted, and each list but the first of its kind told.

    Kopf begins a list or a watch anew without a pause when the last one ended, however soon that was. It lists anew
    after a gap, and shows what it finds; what it does not find it does not miss.
    """

    def __init__(self, missed: Callable[[], None], counted: Counted, lists: _Lists) -> None:
        self._missed, self._counted, self._pace = missed, counted, Pace()
        self._listed: set[str] = set()
        self.lists, self.sessions = lists, list[aiohttp.ClientSession]()

    async def close(self) -> None:
        """Give back the connections."""
        while self.sessions:
            await self.sessions.pop().close()

    async def send(self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """As a middleware of the session."""
        path, query = request.url.path, request.url.query
        verb = "WATCH" if "watch" in query else "LIST" if "limit" in query else request.method
        if "continue" not in query:
            await asyncio.sleep(self._pace.wait(f"{verb} {path}", time.monotonic()))
        code = 0
        try:
            async with asyncio.timeout(HEADERS):
                response = await handler(request)
            code = response.status
        finally:
            self._counted(verb, path.rpartition("/")[2], code)
        if verb == "LIST" and code == 200 and "continue" not in query:
            if path in self._listed:
                self._missed()
            self._listed.add(path)
        return response


class _Lists:
    """What is listed is told from here, page by page, and Kopf gets lists without objects: it needs their version only.

    For each object it would start a task that keeps it, parsed, for a while: all objects of a cluster at once.
    """

    def __init__(self, kinds: Iterable[Kind], show: Show) -> None:
        self._kinds, self._show = kinds, show

    def answer(self) -> type[aiohttp.ClientResponse]:
        """What an answer of the session is."""
        lists = self
        # Kopf lists all kinds at once: of their pages one at a time is parsed.
        turn = asyncio.Lock()

        class Answer(aiohttp.ClientResponse):
            async def start(self, connection: Any) -> aiohttp.ClientResponse:
                await super().start(connection)
                if "watch" in self.url.query:
                    self.content = _Readable(self.content)  # type: ignore[assignment]  # it is like one
                return self

            async def json(self, **how: Any) -> Any:
                kind = lists.kind(self.url)
                if kind is None:
                    return await super().json(**how)
                async with turn:
                    page = await super().json(loads=depth.loads)
                    await lists._show(kind, page.pop("items", None) or ())
                    return page

        return Answer

    def kind(self, url: yarl.URL) -> Kind | None:
        """Which of the watched kinds is listed there."""
        if "limit" not in url.query:
            return None
        of_path = (kind for kind in self._kinds if url.path.startswith(f"/{kind.path}/"))
        return next((kind for kind in of_path if url.path.endswith(f"/{kind.plural}")), None)


class _Readable:
    """What a watch tells, in whole lines, none of them deeper than Python reads. At one that is Kopf would end, and
    begin anew, and come to the same again."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """As a StreamReader, but for where they are parted."""
        async for line in lines(self._content.iter_chunked(size)):
            yield depth.cut(line.decode()).encode() + b"\n"


class _Forgetful(ResourceMemories):
    """Kopf remembers some 2 KB of each object that it has ever shown, for kinds of handlers that there are none of."""

    async def recall(self, *args: Any, **kwargs: Any) -> ResourceMemory:
        """A memory for this event only."""
        return await super().recall(*args, **{**kwargs, "ephemeral": True})


class _NoDifferences(kopf.AnnotationsDiffBaseStorage):
    """Kopf would take two deep copies of each object that it shows, to compare them for such handlers."""

    def build(self, **_: Any) -> Any:
        """Nothing is compared."""
        return {}


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = _NoDifferences()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.chunk_size = PAGE
    settings.watching.server_timeout = 600
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = Forever()
    settings.queueing.idle_timeout = 1
    settings.process.ultimate_exiting_timeout = None
    return settings
