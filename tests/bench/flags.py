"""``python -m tests.bench.flags``: what the flag gateway promises, on the loopback interface of this machine.

Needs wrk (Debian: ``apt-get install wrk``). The gateway has one core and those who ask have another, where there are
two. Rates are by the time that its process was on a core, so that others on the machine count less; and the first bar
is a ratio to flagd's own core behind starlette, in the same run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio

from tests.flags.running import free_ports
from tests.rig.environments import Environment
from tidegate.flags.grpc_sync import SERVICE, texts

HERE = Path(__file__).parent
BASELINE = Environment(
    "flagd-core-starlette",
    ("openfeature-flagd-core==2.0.0", "starlette==1.10.0", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0"),
)
WHO = {"targetingKey": "user-4711", "email": "ann@example.com", "plan": "beta", "appVersion": "2.4.0", "country": "GB"}
BODY = json.dumps({"context": WHO})
FLAGS = "/ofrep/v1/evaluate/flags"
SECONDS = 4
SSE, GRPC = 1000, 100
Row = tuple[str, str, str]


@dataclass
class Gateway:
    """A process."""

    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, line: str) -> float:
        """Feed it; when it began."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    @property
    def worked(self) -> float:
        """Seconds on a core so far, those of threads among them."""
        spent = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(spent[11]) + int(spent[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident(self) -> float:
        """MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1000


def _core(number: int) -> list[str]:
    """A command that keeps another on one core."""
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[number % len(cores)])]


@contextmanager
def process(command: list[str], port: int) -> Iterator[Gateway]:
    """On the first core, until the block ends."""
    running = subprocess.Popen([*_core(0), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        _until_it_listens(port)
        yield Gateway(running, port)
    finally:
        running.kill()
        running.wait()


def _until_it_listens(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def wrk(gateway: Gateway, path: str, header: str = "") -> float:
    """Answers a second on a core, all of them right."""
    before = gateway.worked
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"wrk.method='POST' wrk.body='{BODY}' wrk.headers['Content-Type']='application/json' {header}\n")
        script.flush()
        command = [*_core(1), "wrk", "-t1", "-c32", f"-d{SECONDS}s", "-s", script.name, gateway.url + path]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said and not header:
        raise RuntimeError(said)
    return int(re.findall(r"(\d+) requests in", said)[0]) / (gateway.worked - before)


def rates(gateway: Gateway) -> list[Row]:
    """Evaluations, one by one and a hundred at once."""
    gateway.ask("100")
    document = urllib.request.urlopen(f"{gateway.url}/flagd/v1/shop.json").read()
    with tempfile.NamedTemporaryFile() as file:
        file.write(document)
        file.flush()
        (port,) = free_ports(1)
        command, _ = BASELINE.command(str(HERE / "flag_baseline.py"))
        with process([*command, str(port), file.name], port) as baseline:
            rows = []
            for name, key in (("rollout", "flag-2"), ("rules", "flag-1"), ("static", "flag-0")):
                # In turn, and the best of each: what else the machine does is not to be compared.
                turns = [(wrk(gateway, f"{FLAGS}/{key}"), wrk(baseline, f"{FLAGS}/{key}")) for _ in range(3)]
                ours, theirs = (max(found) for found in zip(*turns, strict=True))
                told = f"{ours:,.0f}/s, {ours / theirs:.1f} times {theirs:,.0f}/s"
                rows.append((f"single evaluation, {name}", "30,000/s or 2 times flagd-core", told))
            ours, theirs = wrk(gateway, FLAGS), wrk(baseline, FLAGS)
    rows.append(("all of 100 flags", "3,500/s", f"{ours:,.0f}/s, {ours / theirs:.1f} times {theirs:,.0f}/s"))
    asked = urllib.request.Request(f"{gateway.url}{FLAGS}", BODY.encode(), method="POST")
    tag = urllib.request.urlopen(asked).headers["etag"]
    known = wrk(gateway, FLAGS, f"wrk.headers['If-None-Match']='{tag}'")
    return [*rows, ("nothing new (304)", "20,000/s", f"{known:,.0f}/s")]


async def told(gateway: Gateway) -> list[Row]:
    """From a kill switch until the last of many has the off variant."""
    gateway.ask("100")
    async with contextlib.AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(_page(gateway.port)) for _ in range(SSE)]
        lines = [await stack.enter_async_context(_line(gateway.port + 1)) for _ in range(GRPC)]
        for _, asking, asker in pages:
            # A connection that nobody asks by for long is closed.
            await _asked(asking, asker, "/switch")
        waiting = [asyncio.create_task(_page_off(*page)) for page in pages]
        waiting += [asyncio.create_task(_line_off(line)) for line in lines]
        await asyncio.sleep(1)
        began = gateway.ask("kill")
        ends = await asyncio.gather(*waiting)
    last, last_line = max(ends[:SSE]) - began, max(ends[SSE:]) - began
    middle = sorted(ends[:SSE])[SSE // 2] - began
    return [
        (f"kill switch, {SSE} pages told and asked anew", "1 s", f"last {last:.2f} s, median {middle:.2f} s"),
        (f"kill switch, {GRPC} SDKs over gRPC", "1 s", f"last {last_line:.2f} s"),
    ]


@asynccontextmanager
async def _page(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamReader, asyncio.StreamWriter]]:
    """One that listens, and has a connection to ask anew by."""
    asking, asker = await asyncio.open_connection("127.0.0.1", port)
    await _asked(asking, asker, "/switch")
    listening, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /ofrep/v1/events?flagSet=shop HTTP/1.1\r\nhost: x\r\n\r\n")
    await listening.readuntil(b"data: ")
    await listening.readuntil(b"\n\n")
    try:
        yield listening, asking, asker
    finally:
        writer.close()
        asker.close()


async def _asked(asking: asyncio.StreamReader, asker: asyncio.StreamWriter, one: str = "") -> dict[str, str]:
    """All flags, by key; or one, of which nothing is told."""
    body = BODY.encode()
    asker.write(
        b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % ((FLAGS + one).encode(), len(body), body)
    )
    head = await asking.readuntil(b"\r\n\r\n")
    answer = await asking.readexactly(int(re.findall(rb"content-length: (\d+)", head)[0]))
    return {one["key"]: one["variant"] for one in json.loads(answer).get("flags", ())}


async def _page_off(
    listening: asyncio.StreamReader, asking: asyncio.StreamReader, asker: asyncio.StreamWriter
) -> float:
    await listening.readuntil(b"data: ")
    found = await _asked(asking, asker)
    at = time.monotonic()
    assert found["switch"] == "off"
    return at


@asynccontextmanager
async def _line(port: int) -> AsyncIterator[grpc.aio.UnaryStreamCall[bytes, bytes]]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        call = channel.unary_stream(f"/{SERVICE}/SyncFlags")(b"\x12\x0eflagSetId=shop")
        await call.read()
        yield call


async def _line_off(call: grpc.aio.UnaryStreamCall[bytes, bytes]) -> float:
    raw = await call.read()
    at = time.monotonic()
    assert json.loads(texts(raw)[0])["flags"]["switch"]["defaultVariant"] == "off"
    return at


def many(gateway: Gateway) -> list[Row]:
    """1,000 flags."""
    gateway.ask("1000")
    wrk(gateway, FLAGS)
    urllib.request.urlopen(f"{gateway.url}/flagd/v1/shop.json").read()
    resident = gateway.resident
    seen = []
    for _ in range(5):
        gateway.ask("1000")
        began = gateway.ask("kill")
        asked = urllib.request.Request(f"{gateway.url}{FLAGS}/switch", b"{}", method="POST")
        while b'"off"' not in urllib.request.urlopen(asked).read():
            pass
        seen.append(time.monotonic() - began)
    return [
        ("1,000 flags", "100 MB", f"{resident:.0f} MB"),
        ("1,000 flags, a change is served after", "0.3 s", f"{max(seen):.2f} s at most of {len(seen)}"),
    ]


def main() -> int:
    """Measure, and tell."""
    if not shutil.which("wrk"):
        print("NOT RUN: wrk is missing: apt-get install wrk")
        return 1
    for measure in (rates, lambda gateway: asyncio.run(told(gateway)), many):
        (port,) = free_ports(1)
        with process([sys.executable, "-m", "tests.bench.flag_server", str(port)], port) as gateway:
            for what, bar, measured in measure(gateway):
                print(f"{what:46} {bar:32} {measured}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
