"""Whole sets with their rules: over HTTP for fleets of flagd, over gRPC for SDKs."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

import grpc
import grpc.aio
import pytest

from tests.flags.running import CLIENT, SERVER, Running, flag, running
from tidegate.flags import grpc_sync
from tidegate.flags.grpc_sync import OPTIONS, SERVICE, texts
from tidegate.flags.served import Served, encoded

pytestmark = pytest.mark.realtime

SHOP = "flagSetId=shop"


async def test_a_document_over_http_is_never_empty_and_says_when_nothing_is_new(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        status, raw, _ = await gateway.get("/flagd/v1/shop.json", **{"accept-encoding": "identity"})
        assert (status, json.loads(raw)["flags"]) == (200, {})
        gateway.now(flag("one", rules=[{"name": "r", "when": {"attribute": "a", "is": True}, "serve": "on"}]))
        status, raw, headers = await gateway.get("/flagd/v1/shop.json", **{"accept-encoding": "identity"})
        document = json.loads(raw)
        assert document["flags"]["one"]["targeting"]
        assert document["metadata"]["flagSetId"] == "shop"
        plain = headers["etag"]
        assert not plain.startswith("W/")
        assert (await gateway.get("/flagd/v1/shop.json", **{"if-none-match": plain, "accept-encoding": "identity"}))[
            0
        ] == 304
        status, zipped, headers = await gateway.get("/flagd/v1/shop.json", **{"accept-encoding": "gzip"})
        assert gzip.decompress(zipped) == raw
        assert headers["etag"] != plain, "another body has another tag"
        assert (
            await gateway.get("/flagd/v1/shop.json", **{"if-none-match": headers["etag"], "accept-encoding": "gzip"})
        )[0] == 304


def request(selector: str = "") -> bytes:
    """As a generated client writes it."""
    text = selector.encode()
    return b"\x0a\x04some" + (b"\x12" + bytes([len(text)]) + text if text else b"")


def channel(gateway: Running) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc}")


async def test_a_stream_tells_the_set_and_its_changes(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway, channel(gateway) as line:
        gateway.now(flag("one"))
        call = line.unary_stream(f"/{SERVICE}/SyncFlags")(request(), metadata=(("authorization", f"Bearer {SERVER}"),))
        async with asyncio.timeout(10):
            first = texts(await call.read())[0]
            gateway.now(flag("one", defaultVariant="on"))
            second = texts(await call.read())[0]
        assert json.loads(first)["flags"]["one"]["defaultVariant"] == "off"
        assert json.loads(second)["flags"]["one"]["defaultVariant"] == "on"
        assert gateway.parts.sync.listening == 1
        call.cancel()


async def test_a_stream_ends_with_the_change_after_its_token_went(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway, channel(gateway) as line:
        gateway.now(flag("one"))
        call = line.unary_stream(f"/{SERVICE}/SyncFlags")(request(), metadata=(("authorization", f"Bearer {SERVER}"),))
        async with asyncio.timeout(10):
            await call.read()
            (tmp_path / "shop.server").write_text("another-token-of-shop\n")
            gateway.parts.access.look()
            gateway.now(flag("one", defaultVariant="on"))
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call.read()
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_no_stream_lasts_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hasty = {**dict(OPTIONS), "grpc.max_connection_age_ms": 300, "grpc.max_connection_age_grace_ms": 100}
    assert hasty.keys() == dict(OPTIONS).keys()
    monkeypatch.setattr(grpc_sync, "OPTIONS", tuple(hasty.items()))
    async with running(tmp_path) as gateway, channel(gateway) as line:
        gateway.now(flag("one"))
        call = line.unary_stream(f"/{SERVICE}/SyncFlags")(request(), metadata=(("authorization", f"Bearer {SERVER}"),))
        async with asyncio.timeout(10):
            await call.read()
            with pytest.raises(grpc.aio.AioRpcError):
                await call.read()


async def test_one_answer_and_what_flagd_has_given_up(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway, channel(gateway) as line:
        gateway.now(flag("one"))
        fetch, metadata = line.unary_unary(f"/{SERVICE}/FetchAllFlags"), line.unary_unary(f"/{SERVICE}/GetMetadata")
        asked = request(f"{SHOP},token={SERVER}")
        assert set(json.loads(texts(await fetch(asked))[0])["flags"]) == {"one"}
        for sent in (
            (("authorization", f"bearer {SERVER}"),),
            (("authorization", "Basic eA=="), ("x-api-key", SERVER)),
        ):
            assert await fetch(request(), metadata=sent) == await fetch(asked), "as over HTTP"
        assert await metadata(b"") == b"\x12\0", "SDKs ask for it before they say who they are"


@pytest.mark.parametrize(
    ("raw", "metadata", "code"),
    [
        (request(), (), grpc.StatusCode.UNAUTHENTICATED),
        (request(SHOP), (("authorization", "Bearer nobody-knows-this-one"),), grpc.StatusCode.UNAUTHENTICATED),
        (request("flagSetId=other"), (("authorization", f"Bearer {SERVER}"),), grpc.StatusCode.PERMISSION_DENIED),
        (request(), (("flagd-selector", f"flagSetId=other,token={SERVER}"),), grpc.StatusCode.PERMISSION_DENIED),
        (request(), (("x-api-key", CLIENT),), grpc.StatusCode.PERMISSION_DENIED),
        (b"\x12\x7f", (("x-api-key", SERVER),), grpc.StatusCode.INVALID_ARGUMENT),
        (b"\xff" * 20, (("x-api-key", SERVER),), grpc.StatusCode.INVALID_ARGUMENT),
        (b"\x0a\x02\xff\xff", (("x-api-key", SERVER),), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_who_may_not_be_told(
    tmp_path: Path, raw: bytes, metadata: tuple[tuple[str, str], ...], code: grpc.StatusCode
) -> None:
    async with running(tmp_path) as gateway, channel(gateway) as line:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await line.unary_unary(f"/{SERVICE}/FetchAllFlags")(raw, metadata=metadata)
        assert error.value.code() is code


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 70_000])
def test_texts_are_written_as_they_are_read(size: int) -> None:
    assert texts(encoded(b"x" * size)) == ("x" * size, "")


def test_fields_of_other_numbers_and_kinds_are_passed_over() -> None:
    assert texts(b"\x1a\x01z\x20\x05\x29" + b"\0" * 8 + b"\x35" + b"\0" * 4 + b"\x12\x02hi") == ("", "hi")


async def test_a_call_that_asks_nothing_keeps_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_sync, "ASKING", 0.2)
    async with running(tmp_path) as gateway, grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc}") as channel:
        async with asyncio.timeout(10):
            call = channel.stream_stream(f"/{SERVICE}/SyncFlags")()
            assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_all_who_listen_are_told_by_the_same_bytes() -> None:
    served = Served("shop", {}, None)
    assert served.message is served.message
    assert texts(served.message)[0].encode() == served.document
