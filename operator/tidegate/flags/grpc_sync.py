"""flagd.sync.v1 over gRPC: SDKs that evaluate in process are told whole sets, and again whenever they change.

The messages are two texts in and one out, so their few bytes are written here by hand: no code is generated, and no
library for it is loaded. ``flagd.sync.v1.FlagSyncService``:

    rpc SyncFlags(SyncFlagsRequest) returns (stream SyncFlagsResponse)
    rpc FetchAllFlags(FetchAllFlagsRequest) returns (FetchAllFlagsResponse)
    rpc GetMetadata(GetMetadataRequest) returns (GetMetadataResponse)

Requests: ``string provider_id = 1; string selector = 2``. Responses: ``string flag_configuration = 1``; that of
GetMetadata, which flagd has given up, ``google.protobuf.Struct metadata = 2``, an empty one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NoReturn

import grpc
import grpc.aio

from tidegate.flags.access import Access, Caller, Open, Refused, selected, selector_token, token_of
from tidegate.flags.catalog import Catalog
from tidegate.flags.changes import Changes
from tidegate.flags.freshness import Freshness
from tidegate.flags.served import Kind

SERVICE = "flagd.sync.v1.FlagSyncService"
SELECTOR = "flagd-selector"
REQUEST = 16 * 1024
"""Bytes of a request."""
ASKING = 10.0
"""Seconds in which a call is to say what it asks."""
CALLS = 100
"""Calls of one connection at a time."""
NO_METADATA = b"\x12\x00"
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
}
OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 3),
    ("grpc.max_receive_message_length", REQUEST),
    ("grpc.max_metadata_size", REQUEST),
    ("grpc.max_concurrent_streams", CALLS),
    ("grpc.so_reuseport", 0),
    ("grpc.server_handshake_timeout_ms", 10_000),
    # Who listens is never idle.
    ("grpc.max_connection_idle_ms", 60_000),
    # Whose token is gone is not told of it while nothing changes; nor does anybody else stay with one gateway for ever.
    ("grpc.max_connection_age_ms", 1_800_000),
    ("grpc.max_connection_age_grace_ms", 10_000),
)


class GrpcSync:
    """The service and its server."""

    def __init__(
        self,
        catalog: Catalog,
        changes: Changes,
        access: Access | Open,
        freshness: Freshness,
        most: int,
        connections: int,
    ) -> None:
        self._catalog, self._changes, self._access, self._freshness = catalog, changes, access, freshness
        self._most, self._connections = most, connections
        self.listening = 0
        self._server: grpc.aio.Server | None = None

    async def start(self, listen: str) -> int:
        """Listen on HOST:PORT; the port."""
        options = (*OPTIONS, ("grpc.max_allowed_incoming_connections", self._connections))
        self._server = grpc.aio.server(options=options, maximum_concurrent_rpcs=self._most)
        handlers = {
            # A handler of one request is called when it has come, for which it waits for ever.
            "SyncFlags": grpc.stream_stream_rpc_method_handler(self._sync),
            "FetchAllFlags": grpc.stream_unary_rpc_method_handler(self._fetch),
            "GetMetadata": grpc.stream_unary_rpc_method_handler(self._metadata),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        port: int = self._server.add_insecure_port(listen)
        await self._server.start()
        return port

    async def stop(self, grace: float) -> None:
        """No new calls; those that are there end within the grace."""
        if self._server:
            await self._server.stop(grace)

    async def _sync(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        caller = await self._who(await _asked(requests, context), context)
        self.listening += 1
        known = None
        try:
            while not self._changes.closed:
                changed = self._changes.next(caller.flag_set)
                served = self._catalog.of(caller.flag_set)
                if served.revision != known:
                    known = served.revision
                    yield served.message
                await changed.wait()
                if not self._access.holds(caller):
                    await _abort(context, grpc.StatusCode.UNAUTHENTICATED, "this token holds no more")
        finally:
            self.listening -= 1

    async def _fetch(self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        caller = await self._who(await _asked(requests, context), context)
        return self._catalog.of(caller.flag_set).message

    async def _metadata(self, _: AsyncIterator[bytes], __: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        """Nothing, to whoever asks: SDKs do before they say who they are, and wait in vain for one that refuses."""
        return NO_METADATA

    async def _who(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> Caller:
        """By the metadata; some SDKs can only send a selector, so a token may stand there as well."""
        if not self._freshness.known:
            await _abort(context, grpc.StatusCode.UNAVAILABLE, "no flags are known yet")
        try:
            _, asked = texts(request)
        except ValueError as error:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        sent = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
        selector = sent.get(SELECTOR) or asked
        token = token_of(sent.get("authorization", ""), sent.get("x-api-key", ""))
        caller = self._access.who(token or selector_token(selector), selected(selector))
        if isinstance(caller, Refused):
            await _abort(context, _CODES[caller.status], caller.message)
        if caller.kind is not Kind.SERVER:
            said = "a client token sees answers, not rules: use one of kind server"
            await _abort(context, grpc.StatusCode.PERMISSION_DENIED, said)
        return caller


async def _asked(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    """The request of a call. Who says nothing keeps its place from others no longer than who says nothing over HTTP."""
    try:
        async with asyncio.timeout(ASKING):
            return await anext(requests)
    except (StopAsyncIteration, TimeoutError):
        await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, f"a request is to come within {ASKING:.0f} s")


async def _abort(context: grpc.aio.ServicerContext[bytes, bytes], code: grpc.StatusCode, message_: str) -> NoReturn:
    await context.abort(code, message_)
    raise grpc.aio.AbortError


def texts(raw: bytes) -> tuple[str, str]:
    """The first two fields of a message, texts both. Others are passed over. Raises ValueError."""
    found = {1: "", 2: ""}
    at = 0
    while at < len(raw):
        tag, at = _read_varint(raw, at)
        field, wire = tag >> 3, tag & 7
        if wire == 2:
            size, at = _read_varint(raw, at)
            if at + size > len(raw):
                raise ValueError("the message ends within a field")
            if field in found:
                found[field] = raw[at : at + size].decode()
            at += size
        elif wire == 0:
            _, at = _read_varint(raw, at)
        elif wire in {1, 5}:
            at += 8 if wire == 1 else 4
        else:
            raise ValueError("the message has a field of no known kind")
    return found[1], found[2]


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(raw) or shift > 63:
            raise ValueError("the message ends within a number")
        byte = raw[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
