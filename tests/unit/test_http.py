"""The one who asks by HTTP, against real servers that behave badly."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from tests.rig.web import serving

from tidegate.adapters.http import HttpProber
from tidegate.core.asking import MOST_READ, Call, Reply

pytestmark = pytest.mark.realtime


async def _long(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 4096)


async def _slow(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b".")
        await asyncio.sleep(0.02)


async def _zipped(request: web.Request) -> web.Response:
    return web.Response(body=b"\x1f\x8bnot really", headers={"Content-Encoding": "gzip"})


async def _told(request: web.Request) -> web.Response:
    headers = {key: request.headers.get(key) for key in ("Host", "X-Key", "Cookie", "Accept-Encoding")}
    return web.json_response({"path": request.raw_path, **headers}, headers={"Set-Cookie": "a=b"})


async def _elsewhere(request: web.Request) -> web.Response:
    raise web.HTTPFound("/told")


@pytest.fixture
async def url() -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes(
        [
            web.get("/told", _told),
            web.get("/long", _long),
            web.get("/slow", _slow),
            web.get("/zipped", _zipped),
            web.get("/elsewhere", _elsewhere),
        ]
    )
    async with serving(app) as found:
        yield found


@pytest.fixture
async def prober() -> AsyncIterator[HttpProber]:
    found = HttpProber()
    yield found
    await found.close()


async def test_the_answer_is_told_as_it_is(prober: HttpProber, url: str) -> None:
    for _ in range(2):
        reply = await prober.ask(Call(f"{url}/told?a=%2Fb", headers={"X-Key": "k", "Host": "shop"}, anywhere=True))
        assert (reply.status, reply.error) == (200, "")
        assert '"path": "/told?a=%2Fb"' in reply.body
        assert '"X-Key": "k"' in reply.body
        assert '"Host": "shop"' in reply.body
        assert '"Cookie": null' in reply.body, "nothing is remembered of the answer before"
        assert '"Accept-Encoding": "identity"' in reply.body


async def test_redirects_are_answers(prober: HttpProber, url: str) -> None:
    assert (await prober.ask(Call(f"{url}/elsewhere", anywhere=True))).status == 302


async def test_no_more_is_read_than_is_bearable(prober: HttpProber, url: str) -> None:
    reply = await prober.ask(Call(f"{url}/long", anywhere=True))
    assert reply == Reply(error=f"status 200 and more than {MOST_READ // 1024} KiB")


async def test_time_is_for_all_of_it_and_not_for_each_byte(prober: HttpProber, url: str) -> None:
    began = time.monotonic()
    assert await prober.ask(Call(f"{url}/slow", timeout=0.3, anywhere=True)) == Reply(
        error="not within 0.3 s", late=True
    )
    assert time.monotonic() - began < 2


async def test_nothing_is_unpacked(prober: HttpProber, url: str) -> None:
    assert (await prober.ask(Call(f"{url}/zipped", anywhere=True))).body.endswith("not really")


async def test_who_does_not_listen_is_said(prober: HttpProber) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    reply = await prober.ask(Call(f"http://{host}:{port}/", anywhere=True))
    assert re.search("disconnected|reset by peer", reply.error)
    server.close()
    await server.wait_closed()
    reply = await prober.ask(Call(f"http://{host}:{port}/", anywhere=True))
    assert reply == Reply(error="Connection refused")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "0"])
async def test_no_host_leads_a_gate_to_this_machine(prober: HttpProber, url: str, host: str) -> None:
    """Whatever it is written as: what it resolves to is looked at, and nothing else is connected to."""
    reply = await prober.ask(Call(url.replace("127.0.0.1", host) + "/told"))
    assert (reply.status, reply.body) == (0, "")
    assert re.search("no gate may ask that; name a Service or another host|not a canonical IPv4 address", reply.error)


async def test_what_was_looked_at_is_what_is_connected_to(
    prober: HttpProber, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads elsewhere the second time it is asked for is not asked for a second time."""
    told = iter([[("8.8.8.8", 53)], [("127.0.0.1", 0)]])
    asked = []

    async def getaddrinfo(host: str, port: int, **_: object) -> object:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address, _ in next(told)]

    connected = []

    async def connect(sock: socket.socket, address: object) -> None:
        connected.append(address)
        raise OSError(111, "Connection refused")

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(loop, "sock_connect", connect)
    reply = await prober.ask(Call("http://rebind.example:8080/"))
    assert reply.error == "Connection refused"
    assert (asked, connected) == (["rebind.example"], [("8.8.8.8", 8080)])
    again = await prober.ask(Call("http://rebind.example:8080/"))
    assert "which is loopback" in again.error, "and the next time it is looked at anew"
    assert len(connected) == 1
