"""A wire between the operator and the API server: it counts what goes over it, and breaks on demand.

The operator's kubeconfig points here, by TLS with an authority of its own; its token goes on to the real API server.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
from aiohttp import web

from tests.cluster.pki import Authority
from tidegate.engine.operator import WATCHED
from tidegate.ports.cluster import LONGEST_WRITE

T = TypeVar("T")
KINDS = len(WATCHED)
HOP = {"connection", "transfer-encoding", "content-length", "content-encoding", "host", "keep-alive"}
"""Headers that are of one connection."""


@dataclass(frozen=True)
class Request:
    """What the operator asked."""

    at: float
    method: str
    path: str
    watch: bool
    agent: str

    @property
    def writes(self) -> bool:
        """Whether it may change anything: who we are is asked by a POST, too."""
        return self.method != "GET" and not self.path.endswith("selfsubjectreviews")

    @property
    def what(self) -> str:
        """In a word: WATCH /api/v1/services."""
        verb = "WATCH" if self.watch else self.method
        return f"{verb} {self.path}"

    @property
    def namespace(self) -> str:
        """Of the object or the list; empty where it is of the cluster."""
        _, _, rest = self.path.partition("/namespaces/")
        return rest.partition("/")[0]

    @property
    def sort(self) -> str:
        """What is done to what, in a namespace: PATCH canaryreleases/status."""
        parts = self.path.partition("/namespaces/")[2].split("/")
        return f"{self.method} {'/'.join((*parts[1:2], *parts[3:]))}"


@dataclass(frozen=True)
class Fault:
    """What befalls a request. Nothing of it reaches the API server, unless it is only late, or lost."""

    late: float = 0.0
    """Seconds before it goes on."""
    lost: bool = False
    """It is carried out, and nobody hears of it: whoever asked has given up by then, or else is cut off."""
    status: int = 0
    """Answered with this code."""
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False
    """Never answered."""
    reset: bool = False
    """The connection is reset."""


SLOW = Fault(late=2.0)
CONFLICT = Fault(status=409)
BUSY = Fault(status=429, headers={"Retry-After": "1"})
BROKEN = Fault(status=500)
HANGING = Fault(hangs=True)
RESETTING = Fault(reset=True)
LOST = Fault(lost=True)
TOO_LATE = Fault(lost=True, late=LONGEST_WRITE + 1)
Choice = Callable[[Request], Fault | None]
"""What befalls which request."""


class Wire:
    """See the module. Lives in a thread, in the network of the thread that enters it."""

    def __init__(self, kubeconfig: Path, folder: Path, port: int = 16443) -> None:
        self.kubeconfig = folder / "wire.kubeconfig"
        self.requests: list[Request] = []
        self.fault: Choice = lambda _: None
        self._port, self._ends = port, False
        self._streams: dict[web.StreamResponse, aiohttp.ClientResponse] = {}
        self._unheard: set[asyncio.Task[None]] = set()
        authority = Authority(folder / "wire")
        self._identity = authority.issue("wire", "wire", hosts=["IP:127.0.0.1"])
        config = json.loads(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._upstream = cluster["server"].rstrip("/")
        self._trust = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        cluster["server"] = f"https://127.0.0.1:{port}"
        cluster["certificate-authority-data"] = base64.b64encode(authority.certificate.read_bytes()).decode()
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(json.dumps(config))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)
        self._session: aiohttp.ClientSession
        self._runner: web.ServerRunner
        self._site: web.TCPSite | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._begin())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextmanager
    def broken(self, choice: Choice) -> Iterator[None]:
        """Faults befall requests as they are chosen."""
        self.fault = choice
        try:
            yield
        finally:
            self.fault = lambda _: None

    @contextmanager
    def down(self) -> Iterator[None]:
        """Nobody listens, and nothing that was open is left."""
        self._do(self._stop_listening())
        try:
            yield
        finally:
            self._do(self._listen())

    def cut(self) -> None:
        """All watches end, as they do when an API server goes."""
        self._do(self._cut(None))

    def gone(self) -> None:
        """All watches are told that they are too old."""
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}
        self._do(self._cut({"type": "ERROR", "object": status}))

    def fail_streams(self) -> None:
        """All watches are told of an internal error."""
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "InternalError", "code": 500}
        self._do(self._cut({"type": "ERROR", "object": status}))

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Watches end as soon as they have begun, without an error."""
        self._ends = True
        self.cut()
        try:
            yield
        finally:
            self._ends = False

    @property
    def watching(self) -> int:
        """Watches that are open."""
        return len(self._streams)

    def unwatched(self) -> str | None:
        """Whether a watch is missing, and what stands."""
        watched = {request.path for request in self.requests if request.watch}
        stand = f"{self.watching} watches are open, of {len(watched)} kinds"
        return None if self.watching >= len(watched) >= KINDS else stand

    def _do(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def _begin(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._trust), auto_decompress=False
        )
        self._runner = web.ServerRunner(web.Server(self._handle, handler_cancellation=True), shutdown_timeout=0.1)
        await self._runner.setup()
        await self._listen()

    async def _listen(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._identity.certificate, self._identity.key)
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=context, reuse_address=True)
        await self._site.start()

    async def _stop_listening(self) -> None:
        if self._site:
            await self._site.stop()
        assert self._runner.server is not None
        for connection in list(self._runner.server.connections):
            if connection.transport:
                connection.transport.abort()

    async def _end(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _cut(self, last: object) -> None:
        streams, self._streams = self._streams, {}
        for stream, answer in streams.items():
            with contextlib.suppress(ConnectionError):
                if last is not None:
                    await stream.write(json.dumps(last).encode() + b"\n")
                await stream.write_eof()
            answer.close()

    async def _handle(self, incoming: web.BaseRequest) -> web.StreamResponse:
        request = Request(
            at=time.monotonic(),
            method=incoming.method,
            path=incoming.path,
            watch="watch" in incoming.query,
            agent=incoming.headers.get("User-Agent", ""),
        )
        self.requests.append(request)
        body = await incoming.read()
        fault = self.fault(request) or Fault()
        if fault.hangs:
            await asyncio.Event().wait()
        if fault.lost:
            self._unheard.add(task := self._loop.create_task(self._carry_out(incoming, body, fault.late)))
            task.add_done_callback(self._unheard.discard)
            await asyncio.shield(task)
        if fault.reset or fault.lost:
            assert incoming.transport is not None
            incoming.transport.abort()
            return web.Response()
        if fault.status:
            return web.json_response(
                {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": fault.status, "message": "a fault"},
                status=fault.status,
                headers=fault.headers,
            )
        await asyncio.sleep(fault.late)
        return await self._forward(incoming, body, request)

    def _ask(self, incoming: web.BaseRequest, body: bytes) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._session.request(
            incoming.method,
            self._upstream + incoming.path_qs,
            headers={key: value for key, value in incoming.headers.items() if key.lower() not in HOP},
            data=body or None,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def _carry_out(self, incoming: web.BaseRequest, body: bytes, late: float) -> None:
        """Though nobody may wait for it any more."""
        await asyncio.sleep(late)
        async with self._ask(incoming, body) as answer:
            await answer.read()

    async def _forward(self, incoming: web.BaseRequest, body: bytes, request: Request) -> web.StreamResponse:
        async with self._ask(incoming, body) as answer:
            kept = {
                key: value for key, value in answer.headers.items() if key.lower() not in HOP - {"content-encoding"}
            }
            response = web.StreamResponse(status=answer.status, headers=kept)
            try:
                await response.prepare(incoming)
                if request.watch and self._ends:
                    return response
                if request.watch:
                    self._streams[response] = answer
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            except (ConnectionError, aiohttp.ClientError, RuntimeError):
                # The stream was cut, or somebody hung up: there is nobody to tell.
                return response
            finally:
                self._streams.pop(response, None)
        return response


def tally(requests: list[Request]) -> str:
    """What was asked how often, for a message."""
    return ", ".join(f"{count} x {what}" for what, count in Counter(r.what for r in requests).most_common(12))
