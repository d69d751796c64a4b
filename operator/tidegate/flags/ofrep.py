"""OFREP: one flag, or all that a token sees, evaluated for who asks.

An answer of all of them has an ETag of what is served, of who asks and of the context as it was sent. Whoever sends the
same again with it is told that nothing has changed, and nothing is read or evaluated.
"""

from __future__ import annotations

import asyncio
import json
import logging
from hashlib import blake2b
from urllib.parse import parse_qs, quote

from tidegate.flags.access import Caller
from tidegate.flags.answers import JSON, BadRequest, Headers, Response, context_of, failure
from tidegate.flags.catalog import Catalog
from tidegate.flags.changes import Changes
from tidegate.flags.served import FAILED, SINGLE, View

log = logging.getLogger("tidegate.flags")

PATH = "/ofrep/v1/evaluate/flags"
STREAM = "/ofrep/v1/events"
INACTIVITY = 120
"""Seconds in the background after which a client stops listening."""
CATCHING_UP = 1.0
"""Seconds to wait for a change that another gateway has told of and this one has not heard of yet."""


class Ofrep:
    """Evaluations."""

    def __init__(self, catalog: Catalog, changes: Changes) -> None:
        self._catalog, self._changes = catalog, changes

    def one(self, caller: Caller, key: str, body: bytes) -> Response:
        """A single flag."""
        try:
            context = context_of(body)
        except BadRequest as error:
            return failure(400, str(error), code="PARSE_ERROR", key=key)
        flag = self._catalog.of(caller.flag_set).views[caller.kind].flags.get(key)
        if flag is None:
            said = f"no flag of this key in flag set {caller.flag_set} for a {caller.kind.value} token"
            return failure(404, said, code="FLAG_NOT_FOUND", key=key)
        try:
            return Response(200, flag.answer(context, SINGLE))
        except Exception:
            # A traceback has lines of code, and nothing of the context.
            log.exception("flag %s of %s could not be evaluated", key, caller.flag_set)
            return failure(500, FAILED)

    def all(self, caller: Caller, headers: Headers, body: bytes) -> Response:
        """All flags that the token sees."""
        view = self._catalog.of(caller.flag_set).views[caller.kind]
        tag = f'"{view.revision}-{blake2b(body, digest_size=8, key=caller.digest).hexdigest()}"'.encode()
        known = headers.get(b"if-none-match")
        if known is not None and tag in known:
            return Response(304, headers=((b"etag", tag),))
        try:
            context = context_of(body)
        except BadRequest as error:
            return failure(400, str(error), code="PARSE_ERROR")
        whole = b'{"flags":[' + view.answers(context) + b"]," + self._beside(caller, view) + b"}"
        return Response(200, whole, (JSON, (b"etag", tag)))

    async def catch_up(self, caller: Caller, query: bytes) -> None:
        """If another gateway has told of something newer, wait until this one knows it."""
        told = parse_qs(query.decode("latin-1")).get("flagConfigEtag") if query else None
        if not told or self._knows(caller, told[0]):
            return
        changed = self._changes.next(caller.flag_set, at_once=True)
        if not self._knows(caller, told[0]):
            try:
                async with asyncio.timeout(CATCHING_UP):
                    await changed.wait()
            except TimeoutError:
                pass

    def _knows(self, caller: Caller, tag: str) -> bool:
        return tag.strip('"') in self._catalog.of(caller.flag_set).views[caller.kind].known

    @staticmethod
    def _beside(caller: Caller, view: View) -> bytes:
        """Where to listen for changes, and of what all this is. The URL is the same as long as the token is."""
        where = f"{STREAM}?flagSet={quote(caller.flag_set)}" + (f"&ticket={caller.ticket}" if caller.ticket else "")
        stream = {"type": "sse", "endpoint": {"requestUri": where}, "inactivityDelaySec": INACTIVITY}
        beside = {"eventStreams": [stream], "metadata": {"flagSetId": caller.flag_set, "version": view.revision}}
        return json.dumps(beside, separators=(",", ":")).encode()[1:-1]
