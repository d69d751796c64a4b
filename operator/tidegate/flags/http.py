"""What is asked over HTTP: by which path, by whom, how often; and what all answers have."""

from __future__ import annotations

import math
from collections.abc import Callable, MutableMapping
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import parse_qs

from tidegate.flags import ofrep, sync
from tidegate.flags.access import Access, Caller, Open, Refused, selected, token_of
from tidegate.flags.answers import (
    BODY,
    WELCOME,
    Gone,
    Header,
    Headers,
    Receive,
    Response,
    Send,
    TooLarge,
    body_of,
    failure,
    respond,
)
from tidegate.flags.catalog import Catalog
from tidegate.flags.cors import Cors
from tidegate.flags.events import Events
from tidegate.flags.freshness import Freshness
from tidegate.flags.meters import Meters
from tidegate.flags.ofrep import Ofrep
from tidegate.flags.rates import Rates
from tidegate.flags.served import Kind
from tidegate.ports.clock import Clock

Scope = MutableMapping[str, Any]
ADDRESS = 45
"""Characters of the longest address. Who asks is kept; what says that it is one may be anything."""
QUERY = 1024
"""Bytes of the query of a stream's URL, which is kept as long as somebody listens."""
CLOSE: Header = (b"connection", b"close")
_ONE = ofrep.PATH + "/"
_TOO_LARGE = failure(413, f"the body is larger than {BODY} bytes", CLOSE, code="PARSE_ERROR")


class Gateway:
    """The ASGI application."""

    def __init__(
        self,
        catalog: Catalog,
        evaluations: Ofrep,
        events: Events,
        access: Access | Open,
        cors: Cors,
        rates: Rates,
        freshness: Freshness,
        meters: Meters,
        clock: Clock,
        proxies: str = "",
    ) -> None:
        self._catalog, self._ofrep, self._events = catalog, evaluations, events
        self._access, self._cors, self._rates = access, cors, rates
        self._freshness, self._meters, self._clock = freshness, meters, clock
        self._proxies = [ip_network(network.strip()) for network in proxies.split(",") if network.strip()]
        self.leaving = False
        """Connections end with their next answer, for their clients to find another gateway."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["type"] != "http":
            return
        headers: Headers = dict(scope["headers"])
        method, path = scope["method"], scope["path"]
        more = self._cors.headers(headers.get(b"origin"))
        rest: Receive | None = None
        try:
            if method == "OPTIONS":
                await body_of(receive, kept=False)
                await respond(send, self._cors.preflight(), more)
                return
            if path == ofrep.STREAM and method == "GET":
                await body_of(receive, kept=False)
                refused = await self._listen(scope, headers, receive, send, more)
                if refused is None:
                    return
                response, what = refused, "events"
            else:
                response, what = await self._answer(scope, method, path, headers, receive)
        except TooLarge as error:
            response, what, rest = _TOO_LARGE, "other", receive if error.more else None
        except Gone:
            return
        self._meters.answered(what, response.status)
        age = (b"x-config-age", self._freshness.header)
        last = (CLOSE,) if self.leaving else ()
        await respond(send, response, (age, *more, *last), head=method == "HEAD", rest=rest)

    def admit(self, headers: Headers, peer: str) -> Caller | Response:
        """Who asks, if there is something to tell and it may ask now."""
        if not self._freshness.known:
            return failure(503, "no flags are known yet", (b"retry-after", b"1"), CLOSE)
        authorization, key = headers.get(b"authorization", b""), headers.get(b"x-api-key", b"")
        token = token_of(authorization.decode("latin-1"), key.decode("latin-1"))
        selector = headers.get(b"flagd-selector")
        caller = self._access.who(token, selected(selector.decode("latin-1")) if selector else "")
        digest = b"" if isinstance(caller, Refused) else caller.digest
        wait = self._rates.wait((digest, self._asking(peer, headers)), self._clock.monotonic())
        if wait:
            return failure(429, "too many requests", (b"retry-after", b"%d" % math.ceil(wait)))
        if isinstance(caller, Refused):
            return failure(caller.status, caller.message, *_challenge(caller.status), CLOSE, code="GENERAL")
        return caller

    def at_once(self, caller: Caller | Response, path: str, headers: Headers, body: bytes) -> Response:
        """Evaluations, for a connection that has read all of what it was asked."""
        if isinstance(caller, Response):
            response = caller
        elif len(body) > BODY:
            response = _TOO_LARGE
        else:
            response = self._evaluated(caller, path, headers, body)
        self._meters.answered("bulk" if path == ofrep.PATH else "single", response.status)
        more = self._cors.headers(headers.get(b"origin"))
        last = (CLOSE,) if self.leaving else ()
        age = (b"x-config-age", self._freshness.header)
        return response._replace(headers=(*response.headers, age, *more, *last))

    async def _answer(
        self, scope: Scope, method: str, path: str, headers: Headers, receive: Receive
    ) -> tuple[Response, str]:
        what, allowed = _what(path)
        caller: Caller | Response
        if not what:
            told = f"nothing is served here: {ofrep.PATH}, {ofrep.STREAM} and {sync.PATH}SET.json are"
            what, caller = "other", failure(404, told)
        elif method != allowed and not (method == "HEAD" and what == "sync"):
            caller = failure(405, f"{allowed} is to be used here", (b"allow", allowed.encode()), CLOSE)
        else:
            client = scope.get("client")
            caller = self.admit(headers, client[0] if client else "")
        # Whatever is answered: a connection that is closed before all has come is reset, and its answer lost.
        body = await body_of(receive, kept=what in {"single", "bulk"} and not isinstance(caller, Response))
        if isinstance(caller, Response):
            return caller, what
        scope[WELCOME]()
        if what == "sync":
            return self._sync(caller, path, headers), what
        if what == "bulk":
            await self._ofrep.catch_up(caller, scope["query_string"])
        return self._evaluated(caller, path, headers, body), what

    def _evaluated(self, caller: Caller, path: str, headers: Headers, body: bytes) -> Response:
        if path == ofrep.PATH:
            return self._ofrep.all(caller, headers, body)
        return self._ofrep.one(caller, path[len(_ONE) :], body)

    def _asking(self, peer: str, headers: Headers) -> str:
        """The address that asks; behind proxies that are known, the one that they name."""
        if not self._proxies or b"x-forwarded-for" not in headers:
            return peer
        told = headers[b"x-forwarded-for"].decode("latin-1").split(",")
        while told and self._is_proxy(peer):
            peer = told.pop().strip()
        return peer[:ADDRESS]

    def _is_proxy(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)

    def _sync(self, caller: Caller, path: str, headers: Headers) -> Response:
        name = path[len(sync.PATH) : -len(sync.SUFFIX)]
        if caller.kind is not Kind.SERVER:
            return failure(403, "a client token sees answers, not rules: use one of kind server", CLOSE)
        if name != caller.flag_set and caller.digest:
            return failure(403, "this token is of another flag set", CLOSE)
        return sync.document(self._catalog.of(name), headers)

    async def _listen(
        self, scope: Scope, headers: Headers, receive: Receive, send: Send, more: tuple[Header, ...]
    ) -> Response | None:
        if len(scope["query_string"]) > QUERY:
            return failure(414, f"the query is longer than {QUERY} bytes", CLOSE)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        first: Callable[[str], str] = lambda name: query.get(name, [""])[0]  # noqa: E731
        caller = self._access.listener(first("flagSet"), first("ticket"))
        if isinstance(caller, Refused):
            return failure(caller.status, caller.message, *_challenge(caller.status), CLOSE)
        if full := self._events.full(caller):
            return full
        scope[WELCOME]()
        known = headers.get(b"last-event-id", b"").decode("latin-1")
        # Whoever listens for hours does not keep them as long: see ``Guarded.on_message_complete``.
        headers.clear()
        scope["headers"].clear()
        await self._events.listen(caller, known, receive, send, more)
        return None


def _what(path: str) -> tuple[str, str]:
    """What is asked for by this path, and by which method; nothing, where there is nothing."""
    if path.startswith(_ONE):
        return "single", "POST"
    if path == ofrep.PATH:
        return "bulk", "POST"
    if path.startswith(sync.PATH) and path.endswith(sync.SUFFIX):
        return "sync", "GET"
    return ("events", "GET") if path == ofrep.STREAM else ("", "")


def _challenge(status: int) -> tuple[Header, ...]:
    return ((b"www-authenticate", b"Bearer"),) if status == 401 else ()
