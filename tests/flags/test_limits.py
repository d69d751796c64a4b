"""Those who send too much, too slowly, or read nothing: they end, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import re
import socket
import struct
import weakref
from pathlib import Path

import aiohttp
import pytest

from tests.flags.running import SERVER, Running, flag, running, until
from tidegate.flags import connections
from tidegate.flags.descriptors import MANY, RESERVE, shares
from tidegate.flags.rates import MOST, Rates

pytestmark = pytest.mark.realtime

HEAD = f"POST /ofrep/v1/evaluate/flags/one HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SERVER}\r\n".encode()


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("ASKING", 0.5), ("IDLE", 0.5), ("READING", 0.5), ("LOOKING", 0.05)):
        monkeypatch.setattr(connections, name, seconds)


async def sent(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """All that comes back until the other side ends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(10):
            answer = asyncio.create_task(reader.read())
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
                if answer.done():
                    break
            return await answer
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (HEAD[:20],),
        (HEAD,),
        (HEAD, *[b"x-slow: 1\r\n"] * 50),
        (HEAD + b"content-length: 1000\r\n\r\n", *[b"x"] * 50),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 50),
        tuple([b"\r\n"] * 50),
    ],
    ids=["nothing", "a piece", "no end", "drips of headers", "drips of a body", "drips of chunks", "empty lines"],
)
async def test_who_does_not_come_to_the_point_ends(tmp_path: Path, parts: tuple[bytes, ...]) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(flag("one"))
        slow = [asyncio.create_task(sent(gateway.port, *parts, pause=0.1)) for _ in range(20)]
        for _ in range(10):
            # Each by a connection of its own: one that is kept is idle for too long where this process has to wait.
            assert (await gateway.post("/one", connection="close"))[0] == 200
            await asyncio.sleep(0.02)
        assert all(b"200 OK" not in answer for answer in await asyncio.gather(*slow))


@pytest.mark.parametrize(
    "parts",
    [
        (HEAD + b"x-large: " + b"x" * 40_000,),
        (HEAD + b"x-large: ", *[b"x" * 1000] * 40),
        (HEAD + b"".join(b"x-%d: 1\r\n" % number for number in range(4000)) + b"\r\n",),
        (HEAD + b"".join(b"x%d:\r\n" % number for number in range(600)), b"\r\n"),
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n",),
        (b"\xff\xfe nonsense\r\n\r\n",),
        (b"GET /\xff HTTP/1.1\r\n\r\n",),
    ],
    ids=["one header", "a header in pieces", "many headers", "many small headers", "a URL", "no HTTP", "no ASCII"],
)
async def test_heads_that_are_too_large_or_none_are_refused(tmp_path: Path, parts: tuple[bytes, ...]) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(flag("one"))
        answer = await sent(gateway.port, *parts)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 4",))
        assert (await gateway.post("/one"))[0] == 200


async def test_a_body_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(flag("one"))
        answer = await sent(gateway.port, HEAD + b"content-length: 100000000\r\n\r\n", *[b"x" * 60_000] * 5)
        assert answer.startswith(b"HTTP/1.1 413")


UNUSUAL = HEAD.replace(b"one", b"%6fne")


@pytest.mark.parametrize("size", [100_000, 2_000_000])
async def test_that_a_body_is_too_large_is_told_before_the_connection_ends(tmp_path: Path, size: int) -> None:
    """Closed with something unread, it is reset, and the answer may be lost."""
    async with running(tmp_path) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(UNUSUAL + b"content-length: %d\r\n\r\n" % size + b"x" * size)
        async with asyncio.timeout(5):
            assert (await reader.read()).startswith(b"HTTP/1.1 413")
        writer.close()


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (HEAD.replace(b"POST", b"PUT"), 405),
        (UNUSUAL.replace(SERVER.encode(), b"nobody's"), 401),
        (HEAD.replace(b"POST /ofrep/v1/evaluate/flags/one", b"GET /flagd/v1/other.json"), 403),
    ],
    ids=["method", "token", "set"],
)
async def test_who_is_refused_is_told_so_once_all_has_come(tmp_path: Path, head: bytes, code: int) -> None:
    async with running(tmp_path) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head + b"content-length: 2\r\n\r\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read(1)
        writer.write(b"{}")
        async with asyncio.timeout(5):
            assert (await reader.read()).startswith(b"HTTP/1.1 %d" % code)
        writer.close()


async def test_requests_one_behind_the_other_are_answered_in_turn_whichever_way_they_go(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(flag("one"), flag("two"))
        single = HEAD + b"content-length: 2\r\n\r\n{}"
        every = single.replace(b"flags/one", b"flags")
        asked = single + every + single.replace(b"one", b"two") + single.replace(b"one", b"%6fne") + every + single
        last = single.replace(b"host: x", b"connection: close")
        answer = await sent(gateway.port, asked + last)
        keys = re.findall(
            rb'(\{"flags":|"key":"one"|"key":"two")', re.sub(rb'("flags":\[).*?("eventStreams)', rb"\1\2", answer)
        )
        assert keys == [
            b'"key":"one"',
            b'{"flags":',
            b'"key":"two"',
            b'"key":"one"',
            b'{"flags":',
            *[b'"key":"one"'] * 2,
        ]
        assert answer.count(b"HTTP/1.1 200 OK") == 7


async def test_a_trailer_that_does_not_end_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ASKING", 60.0)
    async with running(tmp_path) as gateway:
        gateway.now(flag("one"))
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\nx: ")
        pieces = 0
        with contextlib.suppress(ConnectionError):
            while pieces < 100:
                writer.write(b"x" * 65_536)
                await writer.drain()
                pieces += 1
        assert pieces < 100
        assert (await gateway.post("/one"))[0] == 200


async def test_as_many_requests_as_one_likes_may_come_in_one_piece_and_the_last_be_cut(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(flag("one"))
        asked = HEAD + b"content-length: 2\r\n\r\n{}"
        last = asked.replace(b"host: x", b"connection: close")
        answer = await sent(gateway.port, asked * 200 + last[:30], last[30:], pause=0.1)
        assert answer.count(b"HTTP/1.1 200 OK") == 201


UPGRADE = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMA\r\n"
NAMED = b'{"context":{"targetingKey":"ada"}}'


@pytest.mark.parametrize("apart", [False, True])
async def test_who_offers_another_protocol_is_answered_by_its_body_and_asks_on(tmp_path: Path, apart: bool) -> None:
    """As Java's client does with each request. A body is no request, whatever it looks like."""
    async with running(tmp_path) as gateway:
        gateway.now(
            flag("one", rules=[{"name": "r", "when": {"attribute": "targetingKey", "exists": True}, "serve": "on"}])
        )
        head = HEAD + UPGRADE + b"content-length: %d\r\n\r\n" % len(NAMED)
        last = HEAD + b"connection: close\r\ncontent-length: 2\r\n\r\n{}"
        parts = (head, NAMED, head, NAMED, last) if apart else ((head + NAMED) * 300 + last,)
        answer = await sent(gateway.port, *parts, pause=0.05)
        assert answer.count(b'"variant":"on"') == (2 if apart else 300)
        assert answer.count(b"HTTP/1.1 200 OK") == answer.count(b'"variant":"on"') + 1
        inner = HEAD + b"content-length: 0\r\n\r\n"
        smuggled = HEAD + UPGRADE + b"content-length: %d\r\n\r\n" % len(inner)
        assert b"200 OK" not in await sent(gateway.port, smuggled, inner, pause=0.05)


async def test_a_trailer_says_nothing_about_who_asks(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(flag("one"))
        for head in (HEAD, UNUSUAL):
            asked = head.replace(SERVER.encode(), b"nobody's") + b"transfer-encoding: chunked\r\n\r\n0\r\n"
            answer = await sent(gateway.port, asked + f"authorization: Bearer {SERVER}\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 401")


async def test_nothing_may_wait_for_an_answer_without_an_end(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(flag("one"))
        uri = await gateway.events_path()
        listen = f"GET {uri} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
        for behind in (b"GET / HTTP/1.1\r\n\r\n" * 3000, HEAD + b"content-length: 2\r\n\r\n{}"):
            await sent(gateway.port, listen, behind, pause=0.1)
        await until(lambda: gateway.parts.events.listening == 0)


NOTHING = b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n"


async def test_what_cannot_be_read_behind_requests_that_wait_is_no_error_of_ours(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as gateway:
        assert (await sent(gateway.port, NOTHING * 2 + b"\xff\xfe\r\n\r\n")).startswith(b"HTTP/1.1 400")
        assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


async def test_an_answer_without_an_end_goes_on_whatever_was_asked_before(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(flag("one"))
        uri = await gateway.events_path()
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(NOTHING + f"GET {uri} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        await until(lambda: gateway.parts.events.listening == 1)
        await asyncio.sleep(1.5)
        assert gateway.parts.events.listening == 1
        writer.close()


async def test_a_part_of_a_request_behind_another_has_no_longer_than_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IDLE", 60.0)
    async with running(tmp_path) as gateway:
        assert (await sent(gateway.port, NOTHING + HEAD)).startswith(b"HTTP/1.1 404")


async def test_who_listens_keeps_no_bytes_of_others(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(flag("one"))
        uri = await gateway.events_path()
        head = f"GET {uri} HTTP/1.1\r\ncookie: {'x' * 15_000}\r\ncontent-length: 9000\r\n\r\n".encode()
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head + b"x" * 9000)
        await until(lambda: gateway.parts.events.listening == 1)
        assert gateway.parts.http._connections.held == 0
        writer.close()
        long = f"GET {uri}&x={'x' * 2000} HTTP/1.1\r\n\r\n".encode()
        assert (await sent(gateway.port, long)).startswith(b"HTTP/1.1 414")


@pytest.mark.parametrize("head", [HEAD, HEAD.replace(b"one", b"%6fne")], ids=["at once", "by ASGI"])
async def test_of_who_asks_nothing_more_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(connections, "IDLE", 30.0)
    async with running(tmp_path) as gateway:
        gateway.now(flag("one"))
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head + b"x-large: " + b"secret" * 2000 + b"\r\ncontent-length: 2\r\n\r\n{}")
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.05)
        (connection,) = gateway.parts.http._connections._open
        cycle = connection.cycle
        kept = [connection._piece, connection._asked, connection.headers, connection.scope, cycle and cycle.scope]
        assert "secret" not in repr(kept)
        gone = weakref.ref(connection)
        del connection, cycle
        # Reset, not closed.
        writer.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()
        await until(lambda: len(gateway.parts.http._connections) == 0)
        await asyncio.sleep(0.05)
        gc.collect()
        assert gone() is None


async def test_so_many_requests_may_wait_for_the_answer_before_and_no_more(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(flag("one"))
        fetch = f"GET /flagd/v1/shop.json HTTP/1.1\r\nauthorization: Bearer {SERVER}\r\n\r\n".encode()
        assert (await sent(gateway.port, fetch * 33)).count(b"200 OK") == 33
        assert await sent(gateway.port, fetch * 34) == b""


@pytest.mark.parametrize("path", ["GET /flagd/v1/shop.json", "POST /ofrep/v1/evaluate/flags"])
async def test_who_reads_nothing_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(connections, "IDLE", 60.0)
    async with running(tmp_path) as gateway:
        variants = [{"name": "off", "value": "x" * 5000}]
        gateway.now(*(flag(f"flag-{n}", type="String", variants=variants, offVariant="off") for n in range(300)))
        asked = f"{path} HTTP/1.1\r\nauthorization: Bearer {SERVER}\r\ncontent-length: 0\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", gateway.port)) as one:
            await until(lambda: len(gateway.parts.http._connections) == 1)
            (connection,) = gateway.parts.http._connections._open
            while not connection.flow.write_paused:
                one.sendall(asked)
                await asyncio.sleep(0.02)
            one.sendall(asked)
            await until(lambda: len(gateway.parts.http._connections) == 0)
        assert (await gateway.post("/flag-1"))[0] == 200


@pytest.mark.parametrize("head", [HEAD, UNUSUAL], ids=["at once", "by ASGI"])
async def test_there_are_so_many_connections_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, head: bytes
) -> None:
    monkeypatch.setattr(connections, "IDLE", 30.0)
    async with running(tmp_path, connections=3) as gateway:
        gateway.now(flag("one"))
        held = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(3)]
        for reader, writer in held:
            writer.write(head + b"content-length: 2\r\n\r\n{}")
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        for _ in range(20):
            # All of it is read, so nobody is reset before the answer has come.
            assert (await sent(gateway.port, HEAD, b"x" * 100_000)).startswith(b"HTTP/1.1 429")
        assert len([one for one in caplog.records if "3 connections are open" in one.message]) == 1
        assert (await gateway.metrics())['tidegate_flag_requests_total{code="429",what="refused"}'] == 20
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.1)
        assert (await gateway.post("/one"))[0] == 200


async def test_who_opens_connections_and_asks_nothing_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ASKING", "IDLE"):
        monkeypatch.setattr(connections, name, 30.0)
    async with running(tmp_path, connections=20) as gateway:
        gateway.now(flag("one"))
        listening, _ = await listens(gateway)
        assert (await gateway.post("/one"))[0] == 200
        slow = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(200)]
        for number, (_, writer) in enumerate(slow):
            # Silent; without an end; read by all and of no use.
            writer.write((b"", HEAD, b"OPTIONS /ofrep/v1/evaluate/flags/one HTTP/1.1\r\n\r\n")[number % 3])
        await asyncio.sleep(0.2)
        async with aiohttp.ClientSession() as anew:
            url = f"{gateway.url}/ofrep/v1/evaluate/flags/one"
            async with anew.post(url, json={}, headers={"authorization": f"Bearer {SERVER}"}) as answer:
                assert answer.status == 200
        assert (await gateway.post("/one"))[0] == 200
        flag_changed = asyncio.create_task(listening.readuntil(b"refetch"))
        gateway.now(flag("one", defaultVariant="on"))
        await asyncio.wait_for(flag_changed, 10)
        for _, writer in slow:
            writer.close()


async def listens(gateway: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To events, from its first line on."""
    uri = await gateway.events_path()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(f"GET {uri} HTTP/1.1\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


@pytest.mark.parametrize("head", [HEAD, UNUSUAL], ids=["at once", "by ASGI"])
async def test_what_is_not_answered_is_bounded_and_who_is_within_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(connections, "ASKING", 30.0)
    async with running(tmp_path, request_bytes=200_000) as gateway:
        gateway.now(flag("one"))
        begun = head + b"content-length: 60000\r\n\r\n"
        within = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(3)]
        for _, writer in within:
            writer.write(begun + b" " * 59_000)
        held = gateway.parts.http._connections
        await until(lambda: held.held >= 3 * 56_000)
        for _ in range(5):
            assert (await sent(gateway.port, begun, b" " * 59_000)).startswith(b"HTTP/1.1 503")
        assert (await gateway.post("/one"))[0] == 200
        small = await asyncio.open_connection("127.0.0.1", gateway.port)
        small[1].write(HEAD + b"content-length: 1500\r\n\r\n")
        await asyncio.sleep(0.05)
        small[1].write(b"{" + b" " * 1498 + b"}")
        for reader, writer in (small, *within):
            writer.write(b"" if reader is small[0] else b" " * 998 + b"{}")
            async with asyncio.timeout(5):
                assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            writer.close()
        await until(lambda: held.held == 0)


async def test_heads_without_an_end_are_within_the_same_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ASKING", 3.0)
    async with running(tmp_path, request_bytes=50_000) as gateway:
        gateway.now(flag("one"))
        many = [asyncio.create_task(sent(gateway.port, HEAD + b"x: " + b"x" * 12_000)) for _ in range(20)]
        answers = await asyncio.gather(*many)
        assert 10 <= sum(answer.startswith(b"HTTP/1.1 503") for answer in answers) <= 16
        assert (await gateway.post("/one"))[0] == 200


@pytest.mark.parametrize("head", [HEAD, UNUSUAL], ids=["at once", "by ASGI"])
async def test_of_who_is_not_known_no_body_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(connections, "ASKING", 30.0)
    async with running(tmp_path) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head.replace(SERVER.encode(), b"nobody's") + b"content-length: 60001\r\n\r\n" + b"x" * 60_000)
        await until(lambda: len(gateway.parts.http._connections) == 1)
        (connection,) = gateway.parts.http._connections._open
        await asyncio.sleep(0.1)
        assert not connection._body
        assert connection.cycle is None or not connection.cycle.body
        writer.write(b"x")
        async with asyncio.timeout(5):
            assert (await reader.read()).startswith(b"HTTP/1.1 401")
        writer.close()


async def test_who_sends_too_much_before_the_body_sees_why(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        for _ in range(20):
            answer = await sent(gateway.port, HEAD, *[b"x-large: " + b"x" * 9000 + b"\r\n"] * 40)
            assert answer.startswith(b"HTTP/1.1 400")


async def test_a_request_that_comes_as_the_gateway_stops_is_answered_and_told_that_it_was_the_last(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "IDLE", 30.0)
    monkeypatch.setattr(connections, "LINGERING", 4.0)
    async with running(tmp_path) as gateway:
        gateway.now(flag("one"))
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        asked = HEAD + b"content-length: 2\r\n\r\n{}"
        writer.write(asked)
        await reader.readuntil(b"content-length: ")
        gateway.stop.set()
        await until(lambda: gateway.parts.http._server.should_exit)
        await asyncio.sleep(0.3)
        writer.write(asked)
        async with asyncio.timeout(5):
            left = await reader.read()
        assert left.count(b"HTTP/1.1 200 OK") == 1
        assert b"connection: close" in left
        writer.close()


async def test_files_are_left_for_the_api_server_whatever_may_connect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ASKING", 30.0)
    async with running(tmp_path, files=RESERVE + 30, connections=100, streams=50) as gateway:
        held = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(21)]
        await asyncio.sleep(0.05)
        assert (await held[0][0].read()).startswith(b"HTTP/1.1 429")
        many = [socket.create_connection(("127.0.0.1", gateway.grpc)) for _ in range(20)]
        await asyncio.sleep(0.2)
        assert sum(_closed(one) for one in many) >= 10
        for one in many:
            one.close()
        for _, writer in held:
            writer.close()


def _closed(one: socket.socket) -> bool:
    one.settimeout(0.01)
    try:
        while one.recv(4096):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


async def test_who_holds_the_port_of_the_probes_holds_nobody_else_off(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        held = [await asyncio.open_connection("127.0.0.1", gateway.probes) for _ in range(200)]
        async with asyncio.timeout(5), gateway.session.get(f"http://127.0.0.1:{gateway.probes}/healthz") as answer:
            assert answer.status == 200
        assert sum(reader.at_eof() for reader, _ in held) >= 160
        for _, writer in held:
            writer.close()


def test_what_is_left_of_the_files_is_shared_by_what_is_wanted() -> None:
    assert shares(RESERVE + 300, 100, 200) == (100, 200)
    assert shares(RESERVE + 150, 100, 200) == (50, 100)
    assert shares(100, 100, 0) == (1, 1)
    assert shares(MANY, 10_000, 5_000) == (10_000, 5_000)


def test_rates_are_each_s_own_and_forgotten_where_there_are_too_many() -> None:
    rates = Rates(10.0)
    taken = sum(rates.wait("a", 0.0) == 0 for _ in range(100))
    assert 20 <= taken <= 22
    assert 0 < rates.wait("a", 0.0) <= 0.2
    assert rates.wait("b", 0.0) == 0
    assert rates.wait("a", 0.5) == 0
    for number in range(MOST + 1):
        rates.wait(number, 100.0)
    assert MOST / 2 < len(rates._full) < MOST * 0.9, "all are looked at for many who come, not for each of them"
    for number in range(MOST):
        rates.wait(-number, 100.0)
    assert len(rates._full) <= MOST
    assert Rates(0.0).wait("a", 0.0) == 0
