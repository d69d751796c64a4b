"""Pods' counters over HTTP, from real servers that behave badly."""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from tests.rig.web import serving

from tidegate.adapters.podmetrics import MOST_READ, TIMEOUT, HttpPodReader
from tidegate.ports.metrics import Exposition

pytestmark = pytest.mark.realtime

TEXT = 'http_requests_total{code="200"} 7\n'
BOMB = gzip.compress(b"#" * 30_000_000, 1)
seen: list[dict[str, str]] = []


async def _plain(request: web.Request) -> web.Response:
    seen.append(dict(request.headers))
    return web.Response(text=TEXT)


async def _packed(request: web.Request) -> web.Response:
    return web.Response(body=gzip.compress(TEXT.encode()), headers={"Content-Encoding": "gzip"})


async def _cut(request: web.Request) -> web.Response:
    return web.Response(body=gzip.compress(TEXT.encode() * 100)[:-20], headers={"Content-Encoding": "gzip"})


async def _bomb(request: web.Request) -> web.Response:
    return web.Response(body=BOMB, headers={"Content-Encoding": "gzip"})


async def _bad(request: web.Request) -> web.Response:
    return web.Response(body=b"not packed", headers={"Content-Encoding": "gzip"})


async def _strange(request: web.Request) -> web.Response:
    return web.Response(body=b"x", headers={"Content-Encoding": "br"})


async def _long(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x 1\n" * 1024)


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Encoding": "gzip"})
    await response.prepare(request)
    packer = zlib.compressobj(wbits=31)
    await response.write(packer.compress(TEXT.encode()) + packer.flush(zlib.Z_SYNC_FLUSH))
    while True:
        # Blocks of nothing.
        await response.write(b"\0\0\0\xff\xff" * 10_000)


async def _double(request: web.Request) -> web.Response:
    return web.Response(body=2 * gzip.compress(TEXT.encode()), headers={"Content-Encoding": "gzip"})


async def _slow(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"#")
        await asyncio.sleep(0.05)


async def _elsewhere(request: web.Request) -> web.Response:
    raise web.HTTPFound("/plain")


async def _openmetrics(request: web.Request) -> web.Response:
    end = "# EOF\n" if "whole" in request.query else ""
    return web.Response(text=TEXT + end, headers={"Content-Type": "application/openmetrics-text; version=1.0.0"})


@pytest.fixture
async def url() -> AsyncIterator[str]:
    app = web.Application()
    handlers = (_plain, _packed, _cut, _bomb, _bad, _strange, _long, _endless, _double, _slow, _elsewhere, _openmetrics)
    app.add_routes([web.get(f"/{handler.__name__.removeprefix('_')}", handler) for handler in handlers])
    async with serving(app) as found:
        yield found


@pytest.fixture
async def reader() -> AsyncIterator[HttpPodReader]:
    made = HttpPodReader()
    yield made
    await made.close()


async def test_text_comes_as_it_is_packed_or_not(url: str, reader: HttpPodReader) -> None:
    assert await reader.read(f"{url}/plain") == Exposition(TEXT)
    assert await reader.read(f"{url}/packed") == Exposition(TEXT)
    assert seen[-1]["Accept"].startswith("text/plain;version=0.0.4,")
    assert seen[-1]["Accept-Encoding"] == "gzip"


async def test_openmetrics_that_does_not_end_is_not_gone_by(url: str, reader: HttpPodReader) -> None:
    assert (await reader.read(f"{url}/openmetrics?whole")).text.endswith("# EOF\n")
    assert await reader.read(f"{url}/openmetrics") == Exposition(error="it ends before its # EOF")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("cut", "it ends in the middle"),
        ("bomb", f"more than {MOST_READ // 1024} KiB"),
        ("long", f"more than {MOST_READ // 1024} KiB"),
        ("endless", f"more than {MOST_READ // 1024} KiB"),
        ("double", "more follows where what is packed ends"),
        ("bad", "incorrect header check"),
        ("strange", "packed by br"),
        ("slow", f"not within {TIMEOUT:g} s"),
        ("elsewhere", "status 302"),
        ("nowhere", "status 404"),
    ],
)
async def test_what_cannot_be_read_is_told_and_takes_no_longer_than_it_may(
    url: str, reader: HttpPodReader, path: str, told: str
) -> None:
    began = time.monotonic()
    found = await reader.read(f"{url}/{path}")
    assert found.text == ""
    assert told in found.error
    assert time.monotonic() - began < 5 * TIMEOUT


async def test_who_is_not_there_is_told_in_the_systems_words(reader: HttpPodReader) -> None:
    assert await reader.read("http://127.0.0.1:1/metrics") == Exposition(error="Connection refused")
