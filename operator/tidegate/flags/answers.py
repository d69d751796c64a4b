"""ASGI without a framework: answers as values, bodies within their limits."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]
Headers = dict[bytes, bytes]

BODY = 64 * 1024
"""Bytes of a request's body."""
WELCOME = "tidegate.welcome"
"""Of a request's scope: what to call once it is known that who asks may ask."""
DEPTH = 16
"""Objects and lists within each other."""
JSON: Header = (b"content-type", b"application/json")


class Response(NamedTuple):
    """What is answered."""

    status: int
    body: bytes = b""
    headers: tuple[Header, ...] = (JSON,)


class Gone(Exception):
    """Nobody waits for the answer any more."""


class BadRequest(Exception):
    """What came cannot be read; the message says why."""


class TooLarge(Exception):
    """More came than is read."""

    def __init__(self, more: bool) -> None:
        super().__init__()
        self.more = more
        """And more is to come."""


def failure(status: int, message: str, *headers: Header, code: str = "", key: str | None = None) -> Response:
    """An error, as OFREP has them."""
    body = {"key": key, "errorCode": code or None, "errorDetails": message}
    told = {name: value for name, value in body.items() if value is not None}
    return Response(status, json.dumps(told).encode(), (JSON, *headers))


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


_decode = json.JSONDecoder(parse_constant=_no_number).decode


async def body_of(receive: Receive, *, kept: bool) -> bytes:
    """All of a request's body, or none of it if it is read only to be past it. Raises TooLarge and Gone."""
    body, size, more = b"", 0, True
    while more and size <= BODY:
        message = await receive()
        if message["type"] != "http.request":
            raise Gone
        part = message.get("body", b"")
        size += len(part)
        if kept:
            body += part
        more = message.get("more_body", False)
    if size > BODY:
        raise TooLarge(more)
    return body


def context_of(body: bytes) -> dict[str, Any]:
    """The evaluation context of a request. None is an empty one. Raises BadRequest."""
    if not body:
        return {}
    try:
        whole = _decode(body.decode())
    except (ValueError, RecursionError) as error:
        # Not the error's own words: they may quote the context.
        raise BadRequest(f"the body is no JSON ({type(error).__name__})") from None
    if not isinstance(whole, dict):
        raise BadRequest('the body is to be an object: {"context": {"targetingKey": "…"}}')
    context = whole.get("context")
    if context is None:
        return {}
    if not isinstance(context, dict):
        raise BadRequest("context is to be an object")
    if body.count(b"{") + body.count(b"[") > DEPTH and _deeper(context, DEPTH):
        raise BadRequest(f"context goes deeper than {DEPTH} levels")
    return context


def _deeper(value: object, levels: int) -> bool:
    layer: Iterable[object] = [value]
    for _ in range(levels + 1):
        inner: list[object] = []
        for one in layer:
            if isinstance(one, dict):
                inner.extend(one.values())
            elif isinstance(one, list):
                inner.extend(one)
        if not inner:
            return False
        layer = inner
    return True


async def respond(
    send: Send, response: Response, more: Iterable[Header] = (), *, head: bool = False, rest: Receive | None = None
) -> None:
    """Send it. With a ``rest`` that is still to come of the request, it is read and dropped before the end."""
    status, body, headers = response
    length = (b"content-length", b"%d" % len(body))
    all_headers = [*headers, *more] if status in {204, 304} else [*headers, length, *more]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": b"" if head else body, "more_body": rest is not None})
    if rest is not None:
        while (await rest()).get("more_body"):
            pass
        await send({"type": "http.response.body"})
