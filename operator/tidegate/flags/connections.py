"""What one connection may take: time to ask, size of what is before the body, time to read what it is told.

uvicorn waits for the rest of a request for ever, and keeps headers of any size. One look a second over all connections
costs less than a timer for each request.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD = 16 * 1024
"""Bytes of URL and headers."""
ASKING = 10.0
"""Seconds from the first byte of a request to its last."""
IDLE = 75.0
"""Seconds between requests."""
READING = 30.0
"""Seconds in which who is told something has to take some of it."""
LOOKING = 1.0
_FULL = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connections:
    """All connections of a server."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[Guarded] = set()

    def protocol(self) -> type[Guarded]:
        """For uvicorn, which makes one for each connection."""
        connections = self

        class Counted(Guarded):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
                super().connection_made(transport)
                connections._open.add(self)
                if len(connections._open) > connections._most:
                    transport.write(_FULL)
                    transport.close()

            def connection_lost(self, exc: Exception | None) -> None:
                connections._open.discard(self)
                super().connection_lost(exc)

        return Counted

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
        for connection in [one for one in self._open if one.until is not None and one.until < now]:
            # Not closed: that waits until all is sent, and who reads nothing is one of them.
            connection.transport.abort()


class Guarded(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = self._partial = 0
        self._in_head = True
        self.until: float | None = None
        """When it is ended, as things are."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """It has as long for its first request as for one of which something has come."""
        self.until = self.loop.time() + ASKING
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """A head that goes on and on is not known as such until it ends."""
        super().data_received(data)
        if self._in_head:
            self._partial += len(data)
            if self._partial > HEAD and not self.transport.is_closing():
                self.send_400_response("The headers are too large.")

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head, self._head, self._partial = True, 0, 0
        self.until = self.loop.time() + ASKING
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the URL."""
        self._measure(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._measure(len(name) + len(value) + 4)
        super().on_header(name, value)

    def _measure(self, size: int) -> None:
        self._head += size
        if self._head > HEAD:
            # The parser takes it for what cannot be read, and uvicorn answers 400.
            raise ValueError("the headers are too large")

    def on_headers_complete(self) -> None:
        """What follows is the body."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of it has come; now it is for us."""
        self.until = None
        super().on_message_complete()
        if self.cycle is not None and self.cycle.response_complete:
            self.until = self.loop.time() + IDLE

    def on_response_complete(self) -> None:
        """The next request may come."""
        super().on_response_complete()
        if not self.pipeline:
            self.until = self.loop.time() + IDLE

    def pause_writing(self) -> None:
        """More was said than is taken."""
        self.until = self.loop.time() + READING
        super().pause_writing()

    def resume_writing(self) -> None:
        """It was taken."""
        done = self.cycle is None or self.cycle.response_complete
        self.until = self.loop.time() + IDLE if done else None
        super().resume_writing()
