"""``python -m tests.bench.flags``: what the flag gateway promises, on the loopback interface of this machine.

Needs wrk (Debian: ``apt-get install wrk``). The gateway has one core and those who ask have another, where there are
two. Rates are by the time that its process was on a core, so that others on the machine count less; and the first bar
is a ratio to flagd's own core behind starlette, in the same run.
"""

from __future__ import annotations

import asyncio
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.flags.listening import FLAGS, Where, until_off
from tests.flags.running import free_ports
from tests.rig.environments import Environment

HERE = Path(__file__).parent
BASELINE = Environment(
    "flagd-core-starlette",
    ("openfeature-flagd-core==2.0.0", "starlette==1.10.0", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0"),
)
WHO = {"targetingKey": "user-4711", "email": "ann@example.com", "plan": "beta", "appVersion": "2.4.0", "country": "GB"}
BODY = json.dumps({"context": WHO})
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
    listening, where = asyncio.Event(), Where("127.0.0.1", gateway.port, gateway.port + 1)
    ends = asyncio.create_task(until_off(where, SSE, GRPC, listening))
    await listening.wait()
    began = gateway.ask("kill")
    seen = await ends
    middle = sorted(seen.pages)[SSE // 2] - began
    return [
        (
            f"kill switch, {SSE} pages told and asked anew",
            "1 s",
            f"last {max(seen.pages) - began:.2f} s, median {middle:.2f} s",
        ),
        (f"kill switch, {GRPC} SDKs over gRPC", "1 s", f"last {max(seen.lines) - began:.2f} s"),
    ]


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
        seen.append(time.time() - began)
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
