"""Hundreds of releases that are judged at the same time, by one real Prometheus: who asks how much, how late, at what
cost. It needs no cluster: an API server in memory has the releases, all in mid-bake, and the operator is the real one.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import threading
import time
import urllib.request
from dataclasses import asdict, dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.bench.bars import Row
from tests.fakes.cluster import Write
from tests.fakes.metrics import FakeMetrics
from tests.fakes.pods import FakePods
from tests.fakes.traffic import Router
from tests.rig.prometheus import Prometheus, eventually, running
from tests.rig.standing import Standing, arms, fill
from tests.sim.process import Process
from tidegate.adapters.clock import SystemClock
from tidegate.adapters.prometheus import PrometheusSource
from tidegate.api.analysis import Verdict
from tidegate.api.canary import CanarySpec
from tidegate.api.releasestatus import ReleaseStatus
from tidegate.core import analysis
from tidegate.ports.cluster import CANARY_RELEASES, PODS

SCRAPED_EVERY = 15
SCRAPING = {"scrape_interval": f"{SCRAPED_EVERY}s", "scrape_timeout": "10s", "honor_labels": True}
"""A target speaks for many pods: what it says of namespace and pod stands."""
INTERVAL = 30
BEGINS_WITHIN = 120.0
"""Seconds in which all that begin at once must have been looked at: first looks ask what stable did before, too."""
CALMS = 30.0
"""Seconds after that until looks come as they do in the long run."""
TARGETS = 200
"""That all pods' counters are scraped from: each at a moment of its own, as pods are, and no more than there may be
connections."""
LE = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf")
SPEC: dict[str, Any] = {
    "steps": [{"weight": 25, "bake": "1h"}, {"weight": 100, "bake": "1h"}],
    "analysis": {
        "interval": f"{INTERVAL}s",
        "warmup": "0s",
        "metrics": [
            {"name": "errors", "preset": "ErrorRatio", "from": "Pods", "maxIncrease": "50%", "max": "5%"},
            {
                "name": "latency",
                "preset": "Latency",
                "from": "Pods",
                "quantile": "p99",
                "maxIncrease": "30%",
                "max": "1s",
            },
            {
                "name": "lost",
                "ratio": {"of": "orders_lost_total", "to": "orders_total"},
                "maxIncrease": "50%",
            },
        ],
    },
}


@dataclass
class Stretch:
    """What happened in some time."""

    seconds: float
    worked: float
    """Seconds of CPU of the operator's process; the API server in memory is in it."""
    sent: int
    """Queries that Prometheus received."""
    distinct: int
    """Queries that differ, look by look."""
    late: list[float] = field(default_factory=list)
    """Seconds from when a look was due until it was taken."""
    unknown: dict[str, int] = field(default_factory=dict)
    """Looks that got no usable answer, by why."""
    lists: int = 0
    """Requests by which pods and endpoints were read."""


class Looks:
    """So many releases that begin at once and are then watched for so many seconds."""

    def __init__(self, folder: Path, *, releases: int, seconds: float) -> None:
        self._folder, self._releases, self._seconds = folder, releases, seconds

    def rows(self) -> list[Row]:
        """The beginning, and the time after it."""
        begins, then = self._measured()
        what = f"{self._releases} releases × 3 metrics at {INTERVAL} s"
        late = sorted(then.late)
        work = f"({then.lists / 2 / then.seconds:.0f} releases read a second beside)"
        at_once = f"{what}, all begin at once"
        return [
            *_rows(at_once, begins),
            Row(f"{at_once}: until each is looked at", INTERVAL, begins.seconds, "s"),
            *_rows(what, then),
            Row(f"{what}: latest look", 2, late[-1], "s", f"(median {statistics.median(late):.2f} s)"),
            Row(f"{what}: CPU of the operator", 0.5, then.worked / then.seconds, "cores", work),
        ]

    def _measured(self) -> tuple[Stretch, Stretch]:
        spawn = multiprocessing.get_context("spawn")
        ours, exporters = spawn.Pipe()
        exporter = spawn.Process(target=_export, args=(_pods(self._releases), exporters), daemon=True)
        exporter.start()
        try:
            address = ours.recv()
            paths = [{"__metrics_path__": f"/{n}", "instance": str(n)} for n in range(TARGETS)]
            targets = [{"targets": [address], "labels": labels} for labels in paths]
            with running(Prometheus(self._folder / "prometheus", targets, scraping=SCRAPING)) as prometheus:
                eventually(lambda: prometheus.value("count(up == 1)") == TARGETS, "all are scraped", 60)
                time.sleep(SCRAPED_EVERY)
                hears, says = spawn.Pipe(duplex=False)
                operator = spawn.Process(target=_operate, args=(prometheus.url, self._releases, self._seconds, says))
                operator.start()
                says.close()
                try:
                    return Stretch(**hears.recv()), Stretch(**hears.recv())
                finally:
                    operator.terminate()
                    operator.join()
        finally:
            exporter.terminate()
            exporter.join()


def _rows(what: str, told: Stretch) -> list[Row]:
    worst = max(told.unknown.items(), key=lambda item: item[1], default=("", 0))[0]
    return [
        # Of some looks the queries are sent just before the time that is watched, or answered just after it.
        Row(
            f"{what}: queries for each distinct one", 1.02, told.sent / max(1, told.distinct), "times", f"({told.sent})"
        ),
        Row(
            f"{what}: looks without an answer",
            0,
            sum(told.unknown.values()),
            more=f"of {len(told.late)} {worst[:80]}",
        ),
    ]


# The pods, in a process of their own.


def _pods(releases: int) -> list[tuple[str, str, float]]:
    """Namespace, name and requests a second of each pod."""
    cluster = _cluster(releases)[0]
    return [
        (pod["metadata"]["namespace"], pod["metadata"]["name"], 1.0 + number % 7)
        for number, pod in enumerate(cluster.all(PODS))
    ]


def _cluster(releases: int) -> tuple[Standing, Router, SystemClock]:
    clock = SystemClock()
    cluster = Standing(clock)
    router = Router(cluster, clock)
    fill(cluster, router, SPEC, releases)
    return cluster, router, clock


def _export(pods: list[tuple[str, str, float]], said: Connection) -> None:
    """Counters that grow with time, for ever."""
    began = time.time() - 3600
    # A text with what each counter is of a pod's requests, made once.
    shares: dict[str, list[tuple[str, float]]] = {}
    for number, (namespace, name, rate) in enumerate(pods):
        pod = f'namespace="{namespace}",pod="{name}"'
        lines = shares.setdefault(f"/{number % TARGETS}", [])
        lines += [
            (f'http_requests_total{{{pod},code="200"}}', rate * 0.995),
            (f'http_requests_total{{{pod},code="500"}}', rate * 0.005),
            (f"orders_total{{{pod}}}", rate / 4),
            (f"orders_lost_total{{{pod}}}", rate / 400),
        ]
        for index, le in enumerate(LE):
            name_of = f'http_request_duration_seconds_bucket{{{pod},le="{le}"}}'
            lines.append((name_of, rate * (index + 1) / len(LE)))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            age = time.time() - began
            body = "".join(f"{name} {int(rate * age)}\n" for name, rate in shares[self.path]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    said.send(f"127.0.0.1:{http.server_address[1]}")
    threading.Event().wait()


# The operator, in a process of its own.


def _operate(url: str, releases: int, seconds: float, said: Connection) -> None:
    found = _cluster(releases)
    asyncio.run(_operated(*found, url, seconds, said))


async def _operated(
    cluster: Standing, router: Router, clock: SystemClock, url: str, seconds: float, said: Connection
) -> None:
    source = PrometheusSource(url, clock=clock)
    pods = FakePods(cluster, {}, FakeMetrics(cluster, clock, router, {}))
    process = Process("operator", cluster, clock, router, source, pods, 0.02)
    process.start()
    told = []
    for stretch in (partial(_each_looked_at, cluster), partial(asyncio.sleep, CALMS), partial(asyncio.sleep, seconds)):
        cluster.writes.clear()
        cluster.requests.clear()
        sent, began, work = await asyncio.to_thread(_received, url), time.monotonic(), time.process_time()
        await stretch()
        worked, took = time.process_time() - work, time.monotonic() - began
        received = await asyncio.to_thread(_received, url) - sent
        told.append((Stretch(took, worked, received, 0, lists=_lists(cluster)), list(cluster.writes)))
    await process.terminate()
    await source.close()
    if process.over and (died := await process.died_of()):
        raise died
    for found, writes in (told[0], told[-1]):
        for write in writes:
            _see(found, write)
        said.send(asdict(found))


async def _each_looked_at(cluster: Standing) -> None:
    deadline = time.monotonic() + BEGINS_WITHIN
    while time.monotonic() < deadline:
        if all(release["status"]["analysis"].get("metrics") for release in cluster.all(CANARY_RELEASES)):
            return
        await asyncio.sleep(0.5)


def _lists(cluster: Standing) -> int:
    return sum(count for (verb, what), count in cluster.requests.items() if verb == "list")


def _see(stretch: Stretch, write: Write) -> None:
    """What a status says of the look that was taken for it."""
    if write.kind != CANARY_RELEASES or write.before is None or write.after is None:
        return
    before, after = (ReleaseStatus.model_validate(obj["status"]).analysis for obj in (write.before, write.after))
    if before is None or after is None or before.looked_at == after.looked_at:
        return
    rules = CanarySpec.model_validate(write.after["spec"]).analysis
    stretch.late.append((after.looked_at - analysis.next_look(rules, before)).total_seconds())
    if after.verdict is Verdict.Unknown:
        stretch.unknown[after.message] = stretch.unknown.get(after.message, 0) + 1
    stretch.distinct += len(analysis.queries(rules, arms(write.after), before))


def _received(url: str) -> int:
    """Queries that Prometheus has answered, by its own count; this one is not yet in it."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:  # our own address
        lines = response.read().decode().splitlines()
    return sum(
        round(float(line.rpartition(" ")[2]))
        for line in lines
        if line.startswith("prometheus_http_requests_total{") and 'handler="/api/v1/query"' in line
    )
