"""Prometheus, as far as Tidegate asks: counters of the router and of pods, scraped every two seconds of virtual time.

Traffic changes now and then and is constant between, so a counter at any time is computed, not counted.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tests.fakes.cluster import FakeCluster
from tests.fakes.kubelet import Version, Versions, images
from tests.fakes.traffic import Router
from tests.fakes.virtual import EPOCH
from tidegate.core.counters import Answer, Missing, Series
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import PODS

SCRAPE = 2.0
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, math.inf)


@dataclass
class _Line:
    """A counter that grows in straight pieces: (from when, how many by then, how many a second)."""

    pieces: list[tuple[float, float, float]] = field(default_factory=list)

    def bend(self, at: float, rate: float) -> None:
        """From now on it grows so."""
        if not self.pieces or self.pieces[-1][2] != rate:
            self.pieces.append((at, self.value(at), rate))

    def value(self, at: float) -> float:
        """How many by then."""
        for start, count, rate in reversed(self.pieces):
            if at >= start:
                return count + rate * (at - start)
        return 0.0

    @property
    def born(self) -> float:
        """When the first was counted."""
        return next((start for start, _, rate in self.pieces if rate), math.inf)


class FakeMetrics:
    """The MetricSource port. ``rate`` is requests a second through the router."""

    def __init__(
        self, cluster: FakeCluster, clock: Clock, router: Router, versions: Versions, rate: float = 200.0
    ) -> None:
        self._cluster, self._clock, self._router, self._versions = cluster, clock, router, versions
        self.rate = rate
        self.outage = ""
        """Why nothing is answered, if so."""
        self.empty = False
        """Nothing is scraped."""
        self.nan = False
        """Counters are not numbers."""
        self.takes = 0.005
        """Seconds until it answers."""
        self.more: Callable[[str, datetime], Answer | None] | None = None
        """What else is counted; None where it is not that which is asked for."""
        self.fetches = 0
        self._ways: object = None
        self._lines: dict[tuple[str, tuple[tuple[str, str], ...]], _Line] = {}

    async def fetch(self, queries: Collection[str], at: datetime | None = None) -> Mapping[str, Answer]:
        """The samples that a range selector asks for."""
        self.fetches += 1
        await asyncio.sleep(self.takes)
        return {query: self._answer(query, (at or self._clock.now())) for query in queries}

    def exposed(self, pod: str) -> str:
        """What a pod tells of itself."""
        now = self._clock.monotonic()
        return "".join(
            f"{name}{{{','.join(f'{label}={json.dumps(value)}' for label, value in labels if label != 'pod')}}}"
            f" {math.floor(line.value(now))}\n"
            for (name, labels), line in self._lines.items()
            if ("pod", pod) in labels
        )

    def _answer(self, query: str, at: datetime) -> Answer:
        if self.outage:
            return Missing(self.outage)
        if self.more is not None and (found := self.more(query, at)) is not None:
            return found
        if query.startswith(("nginx_ingress_controller_", "sum by (__name__")):
            return ()  # this one is not scraped, and there are no native histograms
        asked = re.fullmatch(
            r'(\w*)\{(?:__name__=~"([^"]+)",)?(?:namespace="shop",)?(service|pod)=~"([^"]+)"(?:,\w+!="[^"]+")*\}\[(\d+)s\]',
            query,
        )
        if asked is None:
            return Missing(f"the fake does not understand {query}")
        now = (at - EPOCH).total_seconds()
        return () if self.empty else tuple(self._series(asked[1] or asked[2], asked[3], asked[4], now, int(asked[5])))

    def _series(self, name: str, label: str, value: str, now: float, window: int) -> list[Series]:
        found = []
        for (known, labels), line in self._lines.items():
            if not re.fullmatch(name, known) or not re.fullmatch(value, dict(labels)[label]):
                continue
            first = math.ceil(max(now - window, line.born) / SCRAPE)
            times = [SCRAPE * index for index in range(first, int(now / SCRAPE) + 1)]
            values = [math.nan if self.nan else math.floor(line.value(time)) for time in times]
            samples = tuple((EPOCH.timestamp() + time, float(v)) for time, v in zip(times, values, strict=True))
            if samples:
                found.append(
                    Series({"__name__": known, **dict(labels), "instance": "router-0", "job": "router"}, samples)
                )
        return found

    def look(self) -> None:
        """Traffic may go other ways since the last look, or be answered otherwise."""
        rules = list(self._router.shares())
        ways = (rules, self._router.endpoints, self.rate, dict(self._versions))
        if ways == self._ways:
            return
        self._ways = ways
        now = self._clock.monotonic()
        rates: dict[tuple[str, tuple[tuple[str, str], ...]], float] = dict.fromkeys(self._lines, 0.0)
        for _, services in rules:
            for service, share in services.items():
                self._count(rates, service, self.rate * share / len(rules))
        for key, rate in rates.items():
            self._lines.setdefault(key, _Line()).bend(now, rate)

    def _count(self, rates: dict[tuple[str, tuple[tuple[str, str], ...]], float], service: str, rate: float) -> None:
        # With nobody behind a Service the router answers 503 by itself, and counts nothing, as Traefik does.
        for pod, version in self._behind(service):
            part = rate / len(self._behind(service))
            for code, share in (("200", 1 - version.errors), ("500", version.errors)):
                if share:
                    for name, label, value in (
                        ("router_requests_total", "service", service),
                        ("http_requests_total", "pod", pod),
                    ):
                        key = (name, (("code", code), (label, value)))
                        rates[key] = rates.get(key, 0.0) + part * share
            for le in BUCKETS:
                text = "+Inf" if le == math.inf else f"{le:g}"
                key = ("router_duration_seconds_bucket", (("le", text), ("service", service)))
                rates[key] = rates.get(key, 0.0) + part * (1 - math.exp(-le / version.latency))

    def _behind(self, service: str) -> list[tuple[str, Version]]:
        pods = (self._cluster.find(PODS, "shop", name) for name in self._router.endpoints.get(service, ()))
        return [(pod["metadata"]["name"], self._versions.get(images(pod)[0], Version())) for pod in pods if pod]
