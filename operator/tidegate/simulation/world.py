"""The world of a simulated release: requests that are answered, well or not, and the counters of it that are scraped.

Drawn from a seed, pod by pod. What a look is given of it is either samples, as Prometheus would answer, or what the
counters grew by, as ``core.counters`` makes it of those samples: the same, and sooner done.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tidegate.api.analysis import AnalysisSpec, MetricSpec, Preset
from tidegate.core import questions as ask
from tidegate.core.answered import Question, Reads
from tidegate.core.arms import Arms, Side
from tidegate.core.counters import Answer, Counted, Growth, Ledger, Mark, Missing, RouterSeries, Series, sources
from tidegate.simulation.scenario import ERRORS, OutageOf, Scenario

Floats = NDArray[np.float64]

ROUTER = RouterSeries("requests_total", "code", "duration_seconds_bucket", "service", "stable", "candidate")
"""The counters of a router that has them for each revision."""
DOWN = "Prometheus cannot be reached"
_LIFETIME = 3600.0
"""Seconds that stable has served before the release."""
_SCRAPED_BEFORE = 5
"""Scrapes before the release."""
_KEPT = 64
"""Scrapes that are remembered for those who read samples."""


@dataclass
class Truth:
    """What really happened, until now."""

    stable_requests: float = 0.0
    stable_failed: float = 0.0
    candidate_requests: float = 0.0
    candidate_failed: float = 0.0
    usual: float = 0.0
    """How many of the candidate's would have failed had stable answered them."""

    @property
    def excess(self) -> float:
        """Failed requests that are the candidate's doing; chance may make them fewer than none."""
        return self.candidate_failed - self.usual


@dataclass
class _Arm:
    """The counters of one revision. A row is a source, as ``core.counters`` has it; columns are as ``_Layout`` says."""

    names: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    """Of the rows."""
    skews: list[float] = field(default_factory=list)
    """By how much each pod's error rate differs for good."""
    counters: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    scraped: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    """As they were at the last scrape."""
    counted: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    """Up to where a look has counted them."""
    history: list[tuple[float, Floats]] = field(default_factory=list)

    def extended(self, rows: int, columns: int) -> None:
        """Room for more sources, which begin at zero."""
        missing = rows - len(self.counters)
        if missing > 0:
            empty = np.zeros((missing, columns))
            self.counters = np.vstack([self.counters.reshape(-1, columns), empty])


class _Layout:
    """What each column of the counters is: requests, failed ones, bad events of ratios, requests by duration."""

    def __init__(self, scenario: Scenario) -> None:
        self.rates = (ERRORS, *scenario.ratios)
        self._columns = {name: 1 + number for number, name in enumerate(self.rates)}
        self.edges = (*scenario.latency.edges, math.inf) if scenario.latency else ()
        self.les = tuple(str(float(edge)) for edge in self.edges)
        self.buckets = 1 + len(self.rates)
        self.columns = self.buckets + len(self.edges)

    def column(self, name: str) -> int:
        """Of a rate's events."""
        return self._columns[name]


class World:
    """See the module. Times are seconds from the start of the release."""

    ends = math.inf
    """It goes on for ever."""

    def __init__(self, scenario: Scenario, seed: int, *, router: bool, remembers: bool = False) -> None:
        """``router``: whose counters there are. ``remembers``: samples will be asked for."""
        self.scenario = scenario
        self.first: float | None = None
        """When the candidate had its first requests."""
        self._truth = Truth()
        self.sampled: float | None = None
        """When was scraped last what can be read."""
        self.opens = math.inf
        """From when on growth counts."""
        self._router, self._remembers = router, remembers
        self._random = np.random.default_rng(seed)
        self._layout = _Layout(scenario)
        self._arms = {side: _Arm() for side in Side}
        self._live: dict[Side, int] = dict.fromkeys(Side, 0)
        self._share = 0.0
        self._period = scenario.scrape.total_seconds()
        self._by_pod = not router or bool(scenario.pod_noise or scenario.pod_offset)
        self._until = -_SCRAPED_BEFORE * self._period
        self._drawn = self._until
        """Until then it is known what became of the requests."""
        self._next = self._until + round(float(self._random.uniform(0.0, self._period)), 3)
        self.opened(stable=scenario.pods, candidate=0, share=0.0)
        self._past: list[tuple[float, Floats]] = []
        self._live_on()
        self.passes(0.0)
        self._answered(0.0)
        self._truth = Truth()

    def opened(self, stable: int, candidate: int, share: float) -> None:
        """From now on so many pods of each serve, and the candidate has this share of the requests."""
        if (stable, candidate, share) == (*self._live.values(), self._share):
            return
        self._answered(self._until)
        if share > 0 and self.first is None:
            self.first = self._until
        self._share = share
        for side, pods in ((Side.Stable, stable), (Side.Candidate, candidate)):
            self._live[side] = pods
            arm = self._arms[side]
            while len(arm.names) < pods:
                arm.names.append(f"{side}-{len(arm.names)}")
                offset = self.scenario.pod_offset
                arm.skews.append(float(self._random.lognormal(-(offset**2) / 2, offset)) if offset else 1.0)
            arm.extended(1 if self._router else pods, self._layout.columns)

    def _live_on(self) -> None:
        """What stable did before the release, scrape by scrape."""
        scrapes = int(_LIFETIME / self._period)
        pods = self._live[Side.Stable] if self._by_pod else 1
        arm, rate = self._arms[Side.Stable], self.scenario.traffic.at(0.0)
        grown = self._draw(Side.Stable, rate * self._period / pods, (scrapes, pods), -1.0)
        risen = np.cumsum(grown.sum(axis=1, keepdims=True) if self._router else grown, axis=0)
        if not self._router:
            # The routers' counters tell no pods apart, and nobody asks for their past.
            times = [self._next - (scrapes - number) * self._period for number in range(scrapes)]
            self._past = list(zip(times, risen, strict=True))
        arm.counters[: risen.shape[1]] = risen[-1]

    def watched(self, opens: float) -> None:
        """An analysis begins: what grows from then on counts."""
        self.opens = opens
        for arm in self._arms.values():
            arm.counted = arm.scraped

    def passes(self, until: float) -> None:
        """Time passes: requests are answered, and counters are scraped."""
        while self._next <= until:
            self._answered(self._next)
            if not self.scenario.down(OutageOf.PROMETHEUS, self.since(self._next)):
                self._snap(self._next)
            self._next += self._period
        # What comes after the last scrape is drawn with the next one, unless something changes before.
        self._until = max(self._until, until)

    @property
    def truth(self) -> Truth:
        """What really happened, until now."""
        self._answered(self._until)
        return self._truth

    def since(self, seconds: float) -> float:
        """Seconds after the candidate's first requests; below zero before them."""
        return -1.0 if self.first is None else seconds - self.first

    def _answered(self, until: float) -> None:
        lasts = until - self._drawn
        if lasts <= 0:
            return
        middle = self._drawn + lasts / 2
        requests = self.scenario.traffic.at(middle) * lasts
        if self._share < 1:
            self._serve(Side.Stable, requests * (1 - self._share), middle)
        if self._share > 0:
            self._serve(Side.Candidate, requests * self._share, middle)
        self._drawn = until

    def _serve(self, side: Side, expected: float, middle: float) -> None:
        """One arm's requests of a while, and what became of them."""
        pods = self._live[side] if self._by_pod else min(1, self._live[side])
        if not pods:
            return
        arm, at, layout = self._arms[side], self.since(middle), self._layout
        grown = self._draw(side, expected / pods, (1, pods), at)[0]
        total = grown.sum(axis=0)
        if self._router:
            arm.counters[0] += total
        else:
            arm.counters[:pods] += grown
        self._told(side, float(total[0]), float(total[layout.column(ERRORS)]), at)

    def _draw(self, side: Side, expected: float, shape: tuple[int, int], at: float) -> Floats:
        """What the counters of so many pods grow by, in so many times of so many expected requests each."""
        arm, layout = self._arms[side], self._layout
        of = self.scenario.candidates if side is Side.Candidate else self.scenario.usual
        requests = self._random.poisson(expected, shape)
        grown = np.empty((*shape, layout.columns))
        grown[..., 0] = requests
        for name in layout.rates:
            grown[..., layout.column(name)] = self._random.binomial(requests, self._rates(arm, of(name, at), shape))
        if layout.edges:
            slower = self.scenario.slowdown(at) if side is Side.Candidate else 1.0
            durations = self._random.multinomial(requests, self._durations(slower))
            grown[..., layout.buckets :] = np.cumsum(durations, axis=-1)
        return grown

    def _rates(self, arm: _Arm, rate: float, shape: tuple[int, int]) -> Floats | float:
        if not (self.scenario.pod_noise or self.scenario.pod_offset):
            return rate
        rates = rate * np.array(arm.skews[: shape[1]])
        if self.scenario.pod_noise:
            variance = self.scenario.pod_noise**2
            rates = rates * self._random.gamma(1 / variance, variance, shape)
        limited: Floats = np.minimum(rates, 1.0)
        return limited

    def _durations(self, slower: float) -> Floats:
        """The chance of each bucket."""
        latency = self.scenario.latency
        assert latency is not None
        below = [latency.below(edge, slower) for edge in latency.edges]
        return np.diff(np.array([0.0, *below, 1.0]))

    def _told(self, side: Side, requests: float, failed: float, at: float) -> None:
        if side is Side.Stable:
            self._truth.stable_requests += requests
            self._truth.stable_failed += failed
        else:
            self._truth.candidate_requests += requests
            self._truth.candidate_failed += failed
            self._truth.usual += requests * self.scenario.usual(ERRORS, at)

    def _snap(self, at: float) -> None:
        """A scrape."""
        for arm in self._arms.values():
            arm.scraped = arm.counters.copy()
            if at <= self.opens:
                arm.counted = arm.scraped
            if self._remembers or self.opens == math.inf:
                arm.history = [*arm.history[-_KEPT:], (at, arm.scraped)]
        self.sampled = at

    # What a look is given.

    def readable(self, now: float) -> bool:
        """Prometheus answers."""
        return self.scenario.down(OutageOf.PROMETHEUS, self.since(now)) is None

    @property
    def settles(self) -> float:
        """Seconds from the candidate's first requests on after which nothing changes any more but the time of day."""
        return self.scenario.settles

    @property
    def period(self) -> float:
        """Seconds from scrape to scrape."""
        return self._period

    def has(self, side: Side) -> bool:
        """A revision's series exist: those of requests come with the first."""
        scraped = self._arms[side].scraped
        return bool(scraped.size and scraped[:, 0].any())

    def grown(self, spec: AnalysisSpec) -> Mapping[str, Mapping[Side, Counted]]:
        """What the counters grew by since this was asked last, metric by metric."""
        at = self.sampled or 0.0
        rows: dict[Side, tuple[Floats, Floats]] = {}
        for side, arm in self._arms.items():
            before = np.zeros_like(arm.scraped)
            if arm.counted.size:  # else it came with the analysis, and nothing was scraped of it before
                before[: len(arm.counted)] = arm.counted
            rows[side] = (arm.scraped - before, before)
            arm.counted = arm.scraped
        ledger = Ledger({"simulated": Mark(at, None)}, answered=True)
        return {
            metric.name: {
                side: Counted(
                    dict(zip(self._names(side), self._growths(metric, grown), strict=True)),
                    self._growths(metric, before),
                    ledger,
                )
                for side, (grown, before) in rows.items()
            }
            for metric in spec.metrics
            if self.exposes(metric)
        }

    def _names(self, side: Side) -> list[str]:
        """Of the sources, as they are when samples are counted."""
        arm = self._arms[side]
        while len(arm.keys) < len(arm.scraped):
            arm.keys += sources([("", Series(self._source(side, len(arm.keys)), ((0.0, 0.0),)))])
        return arm.keys

    def _source(self, side: Side, row: int) -> dict[str, str]:
        """The labels that tell a source."""
        if self._router:
            return {"service": side.value, "instance": "router"}
        return {"pod": self._arms[side].names[row]}

    def exposes(self, metric: MetricSpec) -> bool:
        """Whether there is what the metric reads."""
        return metric.preset is not Preset.Latency or bool(self._layout.edges)

    def _growths(self, metric: MetricSpec, rows: Floats) -> tuple[Growth, ...]:
        layout = self._layout
        if metric.preset is Preset.Latency:
            return tuple(dict(zip(layout.les, row, strict=True)) for row in rows[:, layout.buckets :].tolist())
        column = layout.column(ERRORS if metric.ratio is None else metric.name)
        taken = rows[:, (column, 0)].tolist()
        return tuple({Reads.Of.value: events, Reads.To.value: requests} for events, requests in taken)

    def answers(self, spec: AnalysisSpec, arms: Arms, now: float, epoch: float) -> dict[str, Answer]:
        """What Prometheus would answer, with times from ``epoch`` on."""
        answers: dict[str, Answer] = {}
        for metric in spec.metrics:
            for side in Side:
                for question in ask.questions(spec, metric, arms, side):
                    readable = self.readable(now)
                    answers[question.asked] = (
                        tuple(self._series(metric, side, question, now - ask.window(spec), epoch))
                        if readable
                        else Missing(DOWN)
                    )
        return answers

    def history(self, spec: AnalysisSpec, arms: Arms, now: float, epoch: float) -> dict[str, Answer]:
        """What a first look is answered of the time before the release."""
        answers: dict[str, Answer] = {}
        for metric in spec.metrics:
            for question in ask.history(spec, metric, arms):
                since = -math.inf if self._past and self.readable(now) else math.inf
                answers[question.asked] = tuple(self._series(metric, Side.Stable, question, since, epoch))
        return answers

    def _series(
        self, metric: MetricSpec, side: Side, question: Question, since: float, epoch: float
    ) -> Iterator[Series]:
        """The series of one query. A series begins with its first event."""
        if not self.exposes(metric):
            return
        arm = self._arms[side]
        scraped = [*self._past, *arm.history] if since == -math.inf else arm.history
        inside = [(at, rows) for at, rows in scraped if at > since]
        for row in range(len(arm.counters)):
            source = self._source(side, row)
            seen = [(at, rows[row]) for at, rows in inside if row < len(rows) and rows[row, 0] > 0]
            for labels, take in self._columns(metric, question):
                samples = [(round(epoch + at, 3), float(counters @ take)) for at, counters in seen]
                if "code" in labels:
                    samples = [(at, value) for at, value in samples if value > 0]
                if samples:
                    yield Series({**source, **labels}, tuple(samples[-1:] if question.single else samples))

    def _columns(self, metric: MetricSpec, question: Question) -> Iterator[tuple[dict[str, str], Floats]]:
        """The series of one source: their labels, and what they count, as weights of the columns."""
        layout = self._layout
        unit = np.eye(layout.columns)
        events = unit[layout.column(metric.name if metric.ratio else ERRORS)]
        if question.reads is Reads.Buckets:
            for number, le in enumerate(layout.les):
                yield {"le": "+Inf" if le == "inf" else le}, unit[layout.buckets + number]
        elif question.reads is Reads.Requests:
            yield {"code": "200"}, unit[0] - events
            yield {"code": "500"}, events
        elif metric.ratio is not None and question.wider:
            yield {"__name__": metric.ratio.of}, events
            yield {"__name__": metric.ratio.to}, unit[0]
        else:
            yield {}, events if question.reads is Reads.Of else unit[0]
