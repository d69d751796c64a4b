"""Server-sent events: a set is another, ask again. They carry no answers, and so may be heard by a ticket in a URL.

Who begins to listen is told what is served now, and need not ask for it if it has that already; so nothing is missed
that changed between its first question and its listening.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter

from tidegate.flags.access import Access, Caller, Open
from tidegate.flags.answers import Header, Receive, Response, Send, failure
from tidegate.flags.catalog import Catalog
from tidegate.flags.changes import Changes

PING = 15.0
"""Seconds after which something is said, so that nobody on the way takes the line for dead."""
AGAIN = (1000, 5000)
"""Milliseconds after which a client that has lost its gateway comes back: not all of them at once."""
HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


class Events:
    """Those who listen."""

    def __init__(self, catalog: Catalog, changes: Changes, access: Access | Open, most: int) -> None:
        self._catalog, self._changes, self._access, self._most = catalog, changes, access, most
        self._by_token: Counter[bytes] = Counter()

    @property
    def listening(self) -> int:
        """How many they are."""
        return self._by_token.total()

    def full(self, caller: Caller) -> Response | None:
        """What to say where there are as many as there may be. Half of the places are for each token alike, whether it
        has taken them or not: one that everybody has, in pages, cannot take those of the others."""
        tokens = self._access.tokens
        share = self._most // (2 * max(1, len(tokens)))
        mine = self._by_token[caller.digest]
        kept = sum(max(0, share - self._by_token[token]) for token in tokens if token != caller.digest)
        if self.listening < self._most and (mine < share or self.listening + kept < self._most):
            return None
        return failure(429, "as many listen as this gateway takes: ask again by yourself", (b"retry-after", b"30"))

    async def listen(self, caller: Caller, known: str, receive: Receive, send: Send, more: tuple[Header, ...]) -> None:
        """Tell of changes until the listener goes. It may know a revision already."""
        self._by_token[caller.digest] += 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *more]})
            telling = asyncio.create_task(self._tell(caller, known, send))
            going = asyncio.create_task(_gone(receive))
            _, left = await asyncio.wait({telling, going}, return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()
            await asyncio.gather(telling, going, return_exceptions=True)
            if telling.done() and not telling.cancelled():
                await send({"type": "http.response.body", "body": b""})
        finally:
            self._by_token[caller.digest] -= 1
            if not self._by_token[caller.digest]:
                del self._by_token[caller.digest]

    async def _tell(self, caller: Caller, known: str, send: Send) -> None:
        said = f"retry: {random.randint(*AGAIN)}\n\n".encode()  # noqa: S311 - spreads listeners out, hides nothing
        while not self._changes.closed and self._access.holds(caller):
            changed = self._changes.next(caller.flag_set)
            revision = self._catalog.of(caller.flag_set).views[caller.kind].revision
            if revision != known:
                said += _event(revision)
                known = revision
            if said:
                await send({"type": "http.response.body", "body": said, "more_body": True})
            said = b""
            try:
                async with asyncio.timeout(PING):
                    await changed.wait()
            except TimeoutError:
                said = b":\n\n"


def _event(revision: str) -> bytes:
    data = json.dumps({"type": "refetchEvaluation", "etag": f'"{revision}"'})
    return f"id: {revision}\nevent: message\ndata: {data}\n\n".encode()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
