"""What one connection may take: time to ask, size of what is before the body, time to read what it is told.

uvicorn waits for the rest of a request for ever, and keeps headers of any size. One look a second over all connections
costs less than a timer for each request.

Evaluations are answered as soon as the last byte is read: they never wait, so they need none of what ASGI makes to let
them wait, which costs more than all else (docs/decisions.md).
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from httptools import HttpRequestParser
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from tidegate.flags.access import Caller
from tidegate.flags.answers import BODY, WELCOME, Headers, Response

HEAD = 16 * 1024
"""Bytes of URL and headers."""
FIELD = 32
"""Bytes that a header counts beside its text, as in HTTP/2: kept, many small ones take twenty times what they are."""
MOST = HEAD + 4 * BODY
"""Bytes of a request, with what its body comes in, and after it."""
WAITING = 32
"""Requests of a connection that wait for the answer to the one before."""
FREE = 2 * 1024
"""Bytes that each connection may hold, whatever others do: most requests are smaller."""
ASKING = 10.0
"""Seconds from the first byte of a request to its last."""
IDLE = 75.0
"""Seconds between requests."""
READING = 30.0
"""Seconds in which who is told something has to take some of it."""
LINGERING = 1.0
"""Seconds for who is refused to see that it is: closed before all has come, a connection is reset, and its answer may
be lost. Also for who keeps a connection when the gateway stops: the next request may be on its way."""
REFUSING = 64
"""Connections beyond those that there may be, that see that they are."""
AGAIN = 60.0
"""Seconds in which it is told once that somebody is refused."""
LOOKING = 1.0
NOT_MODIFIED = 304
_NOT_FORWARDED = {b"upgrade", b"http2-settings"}
log = logging.getLogger("tidegate.flags")
_FULL = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_BAD = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
    b"connection: close\r\n\r\n%b"
)


Admit = Callable[[Headers, str], Caller | Response]
"""Who asks, by headers and address; or why it is refused."""
AtOnce = Callable[[Caller | Response, str, Headers, bytes], Response]
"""Who asks, path, headers and body in, an answer out."""
Counted = Callable[[str, int], None]
"""Told of what is answered, and by which code."""


class Connections:
    """All connections of a server: so many, and so many bytes of requests that are not answered. What is posted to
    ``quick`` and below is answered by ``at_once``, if ``admit`` lets it; the answer to ``endless`` ends with its
    connection."""

    def __init__(
        self, most: int, most_held: int, quick: str, admit: Admit, at_once: AtOnce, endless: str, count: Counted
    ) -> None:
        self._most, self._most_held, self._count = most, most_held, count
        self._quick, self._admit, self._at_once, self._endless = quick.encode(), admit, at_once, endless
        self.held = 0
        """Bytes of requests that are not answered, beyond those that are free."""
        self._open: set[Guarded] = set()
        self._strangers: dict[Guarded, None] = {}
        """Those who have asked for nothing that they may ask for, in the order in which they came."""
        self._beyond: set[Guarded] = set()
        """Refused, and not closed yet."""
        self._told = -math.inf

    def protocol(self) -> type[Guarded]:
        """For uvicorn, which makes one for each connection."""

        class OfThese(Guarded):
            quick, below = self._quick, self._quick + b"/"
            admit = staticmethod(self._admit)
            at_once = staticmethod(self._at_once)
            endless = self._endless
            shared = self

        return OfThese

    def made(self, connection: Guarded) -> None:
        """There is one more. Where that is one too many, the first of the strangers goes: whoever opens connections and
        says nothing, or has no token, keeps nobody out who has one."""
        self._open.add(connection)
        self._strangers[connection] = None
        if len(self._open) <= self._most:
            return
        self._refused(429, f"{self._most} connections are open, and no more are taken")
        first = next(iter(self._strangers))
        self.lost(first)
        if len(self._beyond) < REFUSING:
            self._beyond.add(first)
            first.dismiss(_FULL)
        else:
            first.transport.abort()

    def welcome(self, connection: Guarded) -> None:
        """It asks for what it may ask for."""
        self._strangers.pop(connection, None)

    def lost(self, connection: Guarded) -> None:
        """It is gone."""
        self._open.discard(connection)
        self._strangers.pop(connection, None)
        self._beyond.discard(connection)

    def hold(self, connection: Guarded, more: int) -> None:
        """It holds more, or less. Who makes it too much is refused, and nobody else."""
        self.held += more
        if more > 0 and self.held > self._most_held:
            self._refused(503, f"requests of {self._most_held} bytes wait for their end or answer, and no more is kept")
            connection.dismiss(_BUSY)

    def _refused(self, code: int, why: str) -> None:
        self._count("refused", code)
        now = asyncio.get_running_loop().time()
        if now - self._told > AGAIN:
            self._told = now
            log.warning("%s: who is refused is told to come again", why)

    def __len__(self) -> int:
        return len(self._open)

    async def watch(self) -> None:
        """End those that take too long, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOKING)
            self.look(loop.time())

    def look(self, now: float) -> None:
        """End those whose time is up."""
        for connection in [one for one in self._open | self._beyond if min(one.until, one.taking) < now]:
            # Not closed: that waits until all is sent, and who reads nothing is one of them.
            connection.transport.abort()


class Guarded(HttpToolsProtocol):
    """One connection."""

    quick: bytes
    below: bytes
    admit: Admit
    at_once: AtOnce
    endless: str
    shared: Connections

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = self._came = 0
        self._in_head = True
        self._body: bytearray | None = None
        """Of a request that is answered at once."""
        self._caller: Caller | Response
        """Who asks for that."""
        self._asked: Headers = {}
        self._coming = False
        """A request has begun, and is neither whole nor ASGI's."""
        self._piled = self._held = 0
        """Bytes of that one; bytes beyond the free that are held in all."""
        self._waiting: deque[int] = deque()
        """Sizes of those that are ASGI's."""
        self._piece = self._again = b""
        self._running: RequestResponseCycle | None = None
        """What ASGI answers, or has last. uvicorn knows only the newest that waits for that."""
        self._plain: bytes | None = None
        """The head of a request that offers another protocol, without that."""
        self.until = math.inf
        """When it is ended, as things are."""
        self._over = False
        """The last answer is given."""
        self.taking = math.inf
        """When it is ended if nothing more of what it is told is taken, whatever else it does."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """It has as long for its first request as for one of which something has come."""
        self.until = self.loop.time() + ASKING
        super().connection_made(transport)
        self.shared.made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It counts no more."""
        self.shared.lost(self)
        self._over = True
        self._hold()
        self._leave()
        super().connection_lost(exc)

    def dismiss(self, answer: bytes) -> None:
        """Give the last answer. What comes afterwards is read and dropped."""
        self._over, self._body = True, None
        self._hold()
        if self._running is not None and self._running.response_started and not self._running.response_complete:
            self.transport.abort()
            return
        self._leave()
        if self.transport.is_closing():
            return
        self.transport.write(answer)
        self.transport.write_eof()
        self.until = self.loop.time() + LINGERING

    def _leave(self) -> None:
        """Whatever ASGI answers is told to nobody: what is written to a connection that has ended fails."""
        self.pipeline.clear()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def shutdown(self) -> None:
        """No other request after the next, should there be one on its way."""
        if self.cycle is None or self.cycle.response_complete:
            self.until = min(self.until, self.loop.time() + LINGERING)
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """What came cannot be read."""
        if not self._over and not self.transport.is_closing():
            self.dismiss(_BAD % (len(msg), msg.encode("ascii")))

    def data_received(self, data: bytes) -> None:
        """What goes on and on is not known as such until it ends, so it is counted as it comes: in pieces, as nobody
        says how much of one is of the request that begins in it, and none of that is counted."""
        for at in range(0, len(data), HEAD):
            if self._over or self._came > MOST or (at and self.transport.is_closing()):
                return
            piece = data[at : at + HEAD]
            self._came += len(piece)
            self._feed(piece)
            if self._came > HEAD and not self._over:
                self._bound()
            if self._coming or self._waiting or self._held:
                self._piled += len(piece)
                self._hold()

    def _hold(self) -> None:
        """Tell all what is held of this one by now."""
        piled = self._piled if self._coming else 0
        held = 0 if self._over else max(0, piled + sum(self._waiting) - FREE)
        more, self._held = held - self._held, held
        if more:
            self.shared.hold(self, more)

    def _feed(self, piece: bytes) -> None:
        while piece:
            self._piece, self._again = piece, b""
            super().data_received(piece)
            piece = b"" if self._over or self.transport.is_closing() else self._again
        # Who asks nothing for long keeps nothing of what it has asked, here and below: nobody counts that.
        self._piece = b""

    def _unsupported_upgrade_warning(self) -> None:
        """The parser has ended at the head of a request that offers another protocol, as Java's client does with each.
        None is spoken here: what follows is its body, and neither to be dropped nor taken for the next request."""
        ended = sys.exception()
        if self._plain is None or ended is None:
            return
        self._again, self._plain = self._plain + self._piece[ended.args[0] :], None
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def _without_upgrade(self) -> bytes:
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            raise ValueError("nothing is connected to here")
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                kept = (one for one in value.split(b",") if one.strip().lower() not in _NOT_FORWARDED)
                lines.append(b"connection: " + b",".join(kept))
            elif name not in _NOT_FORWARDED:
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join((*lines, b"", b""))

    def _bound(self) -> None:
        if self._in_head and not self.transport.is_closing():
            self.send_400_response("The headers are too large.")
        elif self._came > MOST:
            if not self._refused():
                self.transport.abort()
            self.until = min(self.until, self.loop.time() + LINGERING)

    def _refused(self) -> bool:
        """It is answered already that this is too much."""
        if self._body is not None:
            return len(self._body) > BODY
        return self.cycle is not None and self.cycle.response_started

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head, self._head, self._came = True, 0, 0
        self._coming, self._piled = True, 0
        self.until = self.loop.time() + ASKING
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the URL."""
        self._measure(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header. One behind the body, which a proxy does not look at, says nothing about who asks."""
        self._measure(len(name) + len(value) + FIELD)
        if self._in_head:
            super().on_header(name, value)

    def _measure(self, size: int) -> None:
        self._head += size
        if self._head > HEAD:
            # The parser takes it for what cannot be read, and uvicorn answers 400.
            raise ValueError("the headers are too large")

    def on_headers_complete(self) -> None:
        """What follows is the body."""
        self._in_head = False
        if self.parser.should_upgrade():
            self._plain = self._without_upgrade()
        elif (self.url == self.quick or self.url.startswith(self.below)) and self._may_be_answered_at_once():
            self._body, self._asked = bytearray(), dict(self.headers)
            self._caller = self.admit(self._asked, self.client[0] if self.client else "")
        elif self._waits_in_vain():
            self.transport.abort()
        else:
            self._coming = False
            self._waiting.append(self._head)
            super().on_headers_complete()

    def _may_be_answered_at_once(self) -> bool:
        """Nothing is before it, and nothing about it is unusual."""
        return (
            (self.cycle is None or self.cycle.response_complete)
            and not self.pipeline
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and not self.expect_100_continue
            and not self.flow.write_paused
            and b"%" not in self.url
            and b"?" not in self.url
            and self.url.isascii()
        )

    def _waits_in_vain(self) -> bool:
        """Too much is before it, or an answer without an end."""
        if self.cycle is None or self.cycle.response_complete:
            return False
        return len(self.pipeline) >= WAITING or self.cycle.scope["path"] == self.endless

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._body is None:
            if self._waiting:
                self._waiting[-1] += len(body)
            super().on_body(body)
        elif isinstance(self._caller, Response):
            # Who is refused is told so when all has come; it is not kept until then.
            pass
        elif len(self._body) <= BODY:
            self._body += body
            if len(self._body) > BODY:
                # Refused, whatever else comes. Closed at once, the answer might not be read: the rest is on its way.
                self._answer(bytes(self._body))
                self.until = self.loop.time() + LINGERING

    def _answer(self, body: bytes) -> bool:
        """Whether it was the last answer."""
        if not isinstance(self._caller, Response):
            self.shared.welcome(self)
        status, text, headers = self.at_once(self._caller, self.url.decode(), self._asked, body)
        lines = [b"%b: %b\r\n" % header for header in headers]
        length = b"\r\n" if status == NOT_MODIFIED else b"content-length: %d\r\n\r\n" % len(text)
        self.transport.write(b"".join((STATUS_LINE[status], *lines, length, text)))
        self.server_state.total_requests += 1
        self._asked, self.url, self.headers, self.scope = {}, b"", [], {}  # type: ignore[typeddict-item]
        self.until = self.loop.time() + IDLE
        return any(name == b"connection" for name, _ in headers)

    def on_message_complete(self) -> None:
        """All of it has come; now it is for us."""
        if self._plain is not None:
            return
        if self._body is not None:
            body, self._body, self._coming = bytes(self._body), None, False
            if len(body) > BODY or self._answer(body):
                self.transport.close()
            return
        self.until = math.inf
        if self._waiting and self.scope.get("path") == self.endless:
            # Nothing of it is kept but its URL, which is short or refused: an answer without an end would keep the
            # bytes of others for ever.
            self._waiting[-1] = 0
        super().on_message_complete()
        if self.cycle is not None and self.cycle.response_complete:
            self.until = self.loop.time() + IDLE

    def on_response_complete(self) -> None:
        """The next request may come."""
        self._waiting.popleft()
        self._hold()
        if self._running is not None:
            self._running.scope.clear()  # type: ignore[attr-defined]
        last = not self.pipeline
        super().on_response_complete()
        # Another clock than ours, and one that goes on, and keeps the connection, when that is reset.
        self._unset_keepalive_if_required()
        if last and not self._coming:
            self.url, self.headers = b"", []
            self.until = self.loop.time() + IDLE

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        cycle.scope[WELCOME] = partial(self.shared.welcome, self)  # type: ignore[literal-required]
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        """More was said than is taken."""
        self.taking = self.loop.time() + READING
        super().pause_writing()

    def resume_writing(self) -> None:
        """It was taken."""
        self.taking = math.inf
        super().resume_writing()
