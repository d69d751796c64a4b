"""Whole releases: the default steps, each look by ``core.analysis``, each bake's end by ``core.ruling``."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from tests.bench.analysis.worlds import Random
from tidegate.api.analysis import AnalysisSpec, AnalysisStatus, Verdict
from tidegate.api.canary import DEFAULT_STEPS
from tidegate.core import analysis, ruling
from tidegate.core.arms import Arms
from tidegate.core.counters import Answer, Sample, Series
from tidegate.core.ruling import Bake, Word

_ARMS = Arms.of_revisions("shop", ("6fcbd", "checkout-6fcbd-[a-z0-9]+"), ("7d9f5", "checkout-7d9f5-[a-z0-9]+"))
_START = datetime(2026, 5, 1, tzinfo=UTC)
_SCRAPED = 15.0
"""Seconds from scrape to scrape."""
_KEPT = 256
"""Samples of a series that Prometheus is asked for at most: an hour."""
_PATIENCE = timedelta(hours=6)
"""A release that nobody has ended by then is one that holds."""


@dataclass(frozen=True)
class Service:
    """What is released."""

    rps: float
    """Both revisions together."""
    base: float
    ratio: float = 1.0
    noise: float = 0.0
    """By how much the rates of pods jump from scrape to scrape: the coefficient of variation."""
    replicas: int = 10


@dataclass(frozen=True)
class Story:
    """How a release ended."""

    ended: str
    """Promoted, reverted, or held."""
    took: float
    """Minutes."""
    failed: float
    """Requests that the candidate failed."""


@dataclass
class _Pod:
    """A pod, and its counters as they were scraped."""

    name: str
    good: float = 0.0
    bad: float = 0.0
    samples: dict[str, deque[Sample]] = field(default_factory=dict)

    def scrape(self, at: float) -> None:
        for code, value in (("200", self.good), ("500", self.bad)):
            if value:
                self.samples.setdefault(code, deque(maxlen=_KEPT)).append((at, value))

    def series(self, since: float, until: float) -> list[Series]:
        found = []
        for code, samples in self.samples.items():
            inside = tuple(sample for sample in samples if since < sample[0] <= until)
            if inside:
                found.append(Series({"pod": self.name, "code": code}, inside))
        return found


@dataclass
class _Cluster:
    """Pods of both revisions under load, and a Prometheus."""

    service: Service
    rng: Random
    stable: list[_Pod]
    candidate: list[_Pod]
    weight: int = 0
    scraped: float = 0.0
    failed: float = 0.0

    def give(self, weight: int) -> None:
        """The candidate's share, and the pods for it."""
        self.weight = weight
        wanted = max(1, math.ceil(self.service.replicas * weight / 100))
        self.candidate += [_Pod(f"candidate-{number}") for number in range(len(self.candidate), wanted)]

    def run(self, until: datetime) -> None:
        """Requests and scrapes up to a time."""
        while self.scraped + _SCRAPED <= until.timestamp():
            self.scraped += _SCRAPED
            share = self.weight / 100
            self._serve(self.stable, 1 - share, self.service.base)
            self.failed += self._serve(self.candidate, share, min(1.0, self.service.base * self.service.ratio))
            for pod in (*self.stable, *self.candidate):
                pod.scrape(self.scraped)

    def _serve(self, pods: list[_Pod], share: float, rate: float) -> float:
        if not pods or not share:
            return 0.0
        cv, many = self.service.noise, len(pods)
        factors = self.rng.gamma(cv**-2, cv**2, many) if cv else np.ones(many)
        requests = self.rng.poisson(self.service.rps * share * _SCRAPED / many, many)
        failed = self.rng.binomial(requests, np.minimum(rate * factors, 1.0))
        for pod, n, x in zip(pods, requests.tolist(), failed.tolist(), strict=True):
            pod.good += n - x
            pod.bad += x
        return float(failed.sum())

    def answers(self, queries: tuple[str, ...], now: datetime) -> dict[str, Answer]:
        """To range vectors of raw samples: of the arm whose name stands in it, as far back as it says."""
        found: dict[str, Answer] = {}
        for query in queries:
            if query.startswith("sum by (__name__"):
                found[query] = ()  # no native histograms
                continue
            window = float(query.rpartition("[")[2].removesuffix("s]"))
            pods = self.candidate if "7d9f5" in query else self.stable
            at = now.timestamp()
            found[query] = tuple(series for pod in pods for series in pod.series(at - window, at - 0.1))
        return found


def story(service: Service, spec: AnalysisSpec, rng: Random) -> Story:
    """One release."""
    cluster = _begun(service, rng)
    steps = DEFAULT_STEPS
    baked = sum((step.bake for step in steps), timedelta()) * (1 + spec.on_inconclusive.extend)
    looks = max(1, round(baked / spec.interval))
    cluster.give(steps[0].weight)
    status = analysis.begin(spec, _ARMS, _START, looks, len(steps))
    now, index, looked = _START, 0, 0
    bake = Bake(_START + steps[0].bake)
    while now < _START + _PATIENCE:
        due = max(now, analysis.next_look(spec, status))
        ends = bake.until if bake.until > now else due
        now = min(due, ends)
        cluster.run(now)
        if now == due:
            status = _looked(spec, status, cluster, now, changed=index != looked)
            looked = index
            if status.verdict is Verdict.Fail:
                return _story("reverted", now, cluster)
        if looked != index:
            continue
        word = ruling.rule(spec, status, bake, now)
        if word is Word.LONGER:
            bake = Bake(now + steps[index].bake, bake.extensions + 1)
        elif word in (Word.BACK_THIN, Word.BACK_UNKNOWN):
            return _story("reverted", now, cluster)
        elif word is Word.HOLD_THIN:
            return _story("held", now, cluster)
        elif word is Word.ON:
            index += 1
            if index == len(steps):
                return _story("promoted", now, cluster)
            cluster.give(steps[index].weight)
            bake = Bake(now + steps[index].bake)
    return _story("held", now, cluster)


@dataclass(frozen=True)
class Look:
    """What one look cost."""

    seconds: float
    """Of the processor."""
    kept: int
    """Bytes of the journal."""


def looks(service: Service, spec: AnalysisSpec, rng: Random, many: int) -> list[Look]:
    """So many looks at a candidate with half of the traffic and as many pods as stable has."""
    cluster = _begun(service, rng)
    cluster.give(100)
    cluster.weight = 50
    status, found = analysis.begin(spec, _ARMS, _START, many, 1), []
    for _ in range(many):
        now = analysis.next_look(spec, status)
        cluster.run(now)
        answers = cluster.answers(analysis.queries(spec, _ARMS, status), now)
        began = time.process_time()
        status = analysis.look(spec, status, _ARMS, answers, now, step_changed=False)
        found.append(Look(time.process_time() - began, len(status.journal)))
    return found


def _begun(service: Service, rng: Random) -> _Cluster:
    """With an hour behind it."""
    cluster = _Cluster(service, rng, [_Pod(f"stable-{number}") for number in range(service.replicas)], [])
    cluster.scraped = _START.timestamp() - 3600 + 0.7
    cluster.run(_START)
    return cluster


def _looked(
    spec: AnalysisSpec, status: AnalysisStatus, cluster: _Cluster, now: datetime, *, changed: bool
) -> AnalysisStatus:
    answers = cluster.answers(analysis.queries(spec, _ARMS, status), now)
    return analysis.look(spec, status, _ARMS, answers, now, step_changed=changed)


def _story(ended: str, now: datetime, cluster: _Cluster) -> Story:
    return Story(ended, (now - _START).total_seconds() / 60, cluster.failed)
