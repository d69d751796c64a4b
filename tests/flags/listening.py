"""Many pages and SDKs that listen to a gateway, and when each of them has seen that a flag is off.

``python -m tests.flags.listening`` is one that runs elsewhere, in the network of a cluster, say: it says ``listening``
when all do, and at their ends when they saw it, in seconds of the epoch.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc.aio

from tidegate.flags.grpc_sync import SERVICE, texts

FLAGS = "/ofrep/v1/evaluate/flags"
BODY = json.dumps({"context": {"targetingKey": "user-4711", "plan": "beta", "appVersion": "2.4.0"}}).encode()
SETTLES = 1.0
"""Seconds for what the last ones made of the gateway to be over."""


@dataclass(frozen=True)
class Where:
    """A gateway, and a flag of one of its sets."""

    host: str
    port: int
    grpc: int
    flag_set: str = "shop"
    token: str = ""
    """None where it is open."""
    key: str = "switch"

    @property
    def authorization(self) -> str:
        """A line of a request."""
        return f"authorization: Bearer {self.token}\r\n" if self.token else ""

    @property
    def selector(self) -> str:
        """For flagd's providers, which can send no header."""
        return f"flagSetId={self.flag_set}" + (f",token={self.token}" if self.token else "")


@dataclass(frozen=True)
class Ends:
    """When each saw the flag off, in seconds of the epoch."""

    pages: list[float]
    lines: list[float]


async def until_off(where: Where, pages: int, lines: int, listening: asyncio.Event) -> Ends:
    """Listen, say so, and wait until all have seen the flag off."""
    async with contextlib.AsyncExitStack() as stack:
        held = [await stack.enter_async_context(_page(where)) for _ in range(pages)]
        streams = [await stack.enter_async_context(_line(where)) for _ in range(lines)]
        for _, asking, asker in held:
            # A connection that nobody asks by for long is closed.
            await _asked(where, asking, asker, f"/{where.key}")
        waiting = [asyncio.create_task(_page_off(where, *page)) for page in held]
        waiting += [asyncio.create_task(_line_off(where, line)) for line in streams]
        await asyncio.sleep(SETTLES)
        listening.set()
        ends = await asyncio.gather(*waiting)
    return Ends(ends[:pages], ends[pages:])


@asynccontextmanager
async def _page(where: Where) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamReader, asyncio.StreamWriter]]:
    """One that listens, and has a connection to ask anew by."""
    asking, asker = await asyncio.open_connection(where.host, where.port)
    all_of_them = await _asked(where, asking, asker)
    uri = all_of_them["eventStreams"][0]["endpoint"]["requestUri"]
    listening, writer = await asyncio.open_connection(where.host, where.port)
    writer.write(f"GET {uri} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    await listening.readuntil(b"data: ")
    await listening.readuntil(b"\n\n")
    try:
        yield listening, asking, asker
    finally:
        writer.close()
        asker.close()


async def _asked(
    where: Where, asking: asyncio.StreamReader, asker: asyncio.StreamWriter, one: str = ""
) -> dict[str, Any]:
    """All flags, or one."""
    head = f"POST {FLAGS}{one} HTTP/1.1\r\nhost: x\r\n{where.authorization}content-length: {len(BODY)}\r\n\r\n"
    asker.write(head.encode() + BODY)
    said = await asking.readuntil(b"\r\n\r\n")
    length = re.findall(rb"content-length: (\d+)", said)
    answer: dict[str, Any] = json.loads(await asking.readexactly(int(length[0])))
    return answer


async def _page_off(
    where: Where, listening: asyncio.StreamReader, asking: asyncio.StreamReader, asker: asyncio.StreamWriter
) -> float:
    while True:
        await listening.readuntil(b"data: ")
        found = await _asked(where, asking, asker)
        if any(one["key"] == where.key and one["value"] is False for one in found["flags"]):
            return time.time()


@asynccontextmanager
async def _line(where: Where) -> AsyncIterator[grpc.aio.UnaryStreamCall[bytes, bytes]]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"{where.host}:{where.grpc}", options=options) as channel:
        selector = where.selector.encode()
        call = channel.unary_stream(f"/{SERVICE}/SyncFlags")(b"\x12" + bytes([len(selector)]) + selector)
        await call.read()
        yield call


async def _line_off(where: Where, call: grpc.aio.UnaryStreamCall[bytes, bytes]) -> float:
    while True:
        flag = json.loads(texts(await call.read())[0])["flags"][where.key]
        if flag["defaultVariant"] == "off" and not flag.get("targeting"):
            return time.time()


async def main() -> int:
    """As the module says."""
    parser = argparse.ArgumentParser(prog="python -m tests.flags.listening", description=__doc__)
    parser.add_argument("where", type=lambda text: Where(**json.loads(text)), help="JSON of a Where")
    parser.add_argument("--pages", type=int, default=1000)
    parser.add_argument("--lines", type=int, default=100)
    options = parser.parse_args()
    listening = asyncio.Event()
    ends = asyncio.create_task(until_off(options.where, options.pages, options.lines, listening))
    await asyncio.wait({ends, asyncio.create_task(listening.wait())}, return_when=asyncio.FIRST_COMPLETED)
    print("listening", flush=True)
    print(json.dumps(vars(await ends)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
