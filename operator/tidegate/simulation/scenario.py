"""What a simulated release meets: traffic, usual errors and latency, what the candidate does worse, what breaks.

A scenario is a YAML file, or the options of the command. It says what is true in the world; the analysis does not see
it, and has the counters alone to go by.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from statistics import NormalDist
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import BeforeValidator

from tidegate.api.analysis import AnalysisSpec, CounterSource, Preset, Source
from tidegate.api.base import DURATION_PATTERN, Duration, Model, Percent, parse_percent
from tidegate.core.reading import mistakes

EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bucket edges that Prometheus' client libraries have by default, in seconds."""
ERRORS, LATENCY = "errors", "latency"
"""What may get worse; else it is the name of a ratio of the release's."""
_NOTHING = timedelta()
_NORMAL = NormalDist()

_SIZE = re.compile(r"(?P<times>\d+(\.\d+)?)x|\+(?P<more>\d+(\.\d+)?%)|(?P<share>\d+(\.\d+)?%)")
_REGRESSION = re.compile(r"((?P<of>[a-z0-9]([-a-z0-9]*[a-z0-9])?):)?(?P<size>[^@~]+)(@(?P<at>[^~]+))?(~(?P<over>.+))?")
_OUTAGE = re.compile(r"(?P<of>service|prometheus)(:(?P<errors>[^@]+))?@(?P<at>[^+]+)\+(?P<lasts>.+)", re.IGNORECASE)


class Wrong(Exception):
    """What was asked cannot be answered: field, value, and the way out."""


class _Part(Model):
    """A part of a scenario. A field that is misspelt would be a scenario that is not the one which was meant."""

    model_config = ConfigDict(extra="forbid")


def _given(name: str, pattern: str, way_out: str) -> BeforeValidator:
    """A part that may be written as one word, which stands for this field."""

    def read(value: object) -> object:
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if plain or (isinstance(value, str) and re.fullmatch(pattern, value)):
            return {name: value}
        if not isinstance(value, str):
            return value
        raise ValueError(f"{value!r} {way_out}")

    return BeforeValidator(read)


class Traffic(_Part):
    """How many requests there are."""

    rps: Annotated[float, Field(gt=0, le=1e6)]
    """Requests a second: the mean of the day."""
    daily: Annotated[Percent, Field(ge=0, le=1)] = 0.0
    """How far it swings about its mean within a day."""
    peak: Annotated[float, Field(ge=0, lt=24)] = 14.0
    """The hour of the day when there is most."""
    starts: Annotated[float, Field(ge=0, lt=24)] = 9.0
    """The hour of the day when the release starts."""

    def at(self, seconds: float) -> float:
        """Requests a second, so long after the start of the release."""
        if not self.daily:
            return self.rps
        hours = (self.starts + seconds / 3600 - self.peak) / 24
        return self.rps * (1 + self.daily * math.cos(2 * math.pi * hours))


class LatencySpec(_Part):
    """How long requests take: a lognormal distribution."""

    median: Duration
    """Half of the requests take less."""
    sigma: Annotated[float, Field(gt=0, le=3)] = 0.8
    """Of the logarithm: 0.8 puts p99 at 6.4 times the median."""
    edges: Annotated[tuple[float, ...], Field(min_length=1, max_length=64)] = EDGES
    """Upper edges of the histogram's buckets, in seconds."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.median <= _NOTHING:
            raise ValueError("latency.median must be above zero: write it like 80ms")
        if list(self.edges) != sorted({edge for edge in self.edges if 0 < edge < math.inf}):
            raise ValueError("latency.edges must be above zero, and grow: in seconds, such as [0.1, 0.25, 1]")
        return self

    def below(self, duration: float, slower: float = 1.0) -> float:
        """Which share of the requests takes less, where all are so much slower."""
        middle = math.log(self.median.total_seconds() * slower)
        return _NORMAL.cdf((math.log(duration) - middle) / self.sigma)

    def quantile(self, level: float) -> float:
        """In seconds."""
        return self.median.total_seconds() * math.exp(self.sigma * _NORMAL.inv_cdf(level))


@dataclass(frozen=True)
class Size:
    """How much worse something is."""

    times: float = 1.0
    more: float = 0.0
    share: float | None = None

    @classmethod
    def of(cls, text: str) -> Size:
        """``5x``, ``+2%`` or ``10%``. Raises ValueError that says what would be right."""
        found = _SIZE.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no size: write 5x (times as many), +2% (of all, more), or 10% (of all)")
        if found["times"]:
            return cls(times=float(found["times"]))
        return cls(more=parse_percent(found["more"])) if found["more"] else cls(share=parse_percent(found["share"]))

    def on(self, usual: float, part: float = 1.0) -> float:
        """What becomes of a usual rate with so much of it there."""
        whole = self.times * usual + self.more if self.share is None else self.share
        return min(1.0, usual + part * (whole - usual))


class Regression(_Part):
    """What the candidate does worse than stable."""

    of: Annotated[str, Field(max_length=63)] = ERRORS
    """``errors``, ``latency``, or the name of a ratio of the release's."""
    size: str
    """``5x``: so many times as many (or as slow). ``+2%``: of all requests, more. ``10%``: of all requests."""
    at: Duration = _NOTHING
    """When it begins, from the candidate's first requests on."""
    over: Duration = _NOTHING
    """How long it takes to grow to its size, as a leak does; else it is there at once."""

    @cached_property
    def grows(self) -> Size:
        """The size, read."""
        return Size.of(self.size)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        size = self.grows
        if self.of == LATENCY and (size.more or size.share is not None):
            raise ValueError(f"regression.size: {self.size!r}: a latency grows by a factor: write it like 1.4x")
        return self

    def part(self, seconds: float) -> float:
        """How much of it is there, so long after the candidate's first requests."""
        since = seconds - self.at.total_seconds()
        if since < 0:
            return 0.0
        over = self.over.total_seconds()
        return 1.0 if over == 0 else min(1.0, since / over)


def _regression(value: object) -> object:
    """``5x@20m``, ``latency:1.4x@10m~30m``."""
    if not isinstance(value, str):
        return value
    found = _REGRESSION.fullmatch(value)
    if found is None or not _SIZE.fullmatch(found["size"]):
        way_out = (
            "write it like 5x@20m, +2%@0s, 10%@5m, latency:1.4x@10m, or errors:5x@20m~30m, which takes 30m to grow"
        )
        raise ValueError(f"{value!r} is no regression: {way_out}")
    return {name: found[name] for name in ("of", "size", "at", "over") if found[name]}


class OutageOf(StrEnum):
    """What breaks."""

    SERVICE = "Service"
    """Whatever stable and candidate share: both fail."""
    PROMETHEUS = "Prometheus"
    """Nothing is scraped, and nothing is answered."""


class Outage(_Part):
    """Something breaks for a while, and it is not the candidate's fault."""

    of: OutageOf
    """Service or Prometheus."""
    at: Duration = _NOTHING
    """When, from the candidate's first requests on."""
    lasts: Duration
    """How long."""
    errors: Percent = 0.5
    """Of a Service: how many requests fail meanwhile, of both revisions."""

    def covers(self, seconds: float) -> bool:
        """Whether it is so, so long after the candidate's first requests."""
        return 0 <= seconds - self.at.total_seconds() < self.lasts.total_seconds()


def _outage(value: object) -> object:
    """``service:50%@10m+5m``, ``prometheus@20m+10m``."""
    if not isinstance(value, str):
        return value
    found = _OUTAGE.fullmatch(value)
    if found is None:
        raise ValueError(f"{value!r} is no outage: write it like service:50%@10m+5m or prometheus@20m+10m")
    said = {name: found[name] for name in ("at", "lasts", "errors") if found[name]}
    return {"of": found["of"].capitalize(), **said}


class Scenario(_Part):
    """See the module."""

    traffic: Annotated[Traffic, _given("rps", r"\d+(\.\d+)?", "is no number of requests a second: write it like 50")]
    """Requests a second, of both revisions together; or ``rps`` with its daily form."""
    base: Percent = 0.01
    """The error ratio of stable."""
    latency: Annotated[LatencySpec, _given("median", DURATION_PATTERN, "is no duration: write it like 80ms")] | None = (
        None
    )
    """How long requests take, where pods or router expose a histogram: the median, or a block. Default: none does."""
    ratios: Annotated[dict[str, Percent], Field(default_factory=dict, max_length=8)]
    """The usual share of bad events, by the names of the release's own ratios."""
    regressions: Annotated[tuple[Annotated[Regression, BeforeValidator(_regression)], ...], Field(max_length=8)] = ()
    """What the candidate does worse; nothing: it is as good as stable."""
    outages: Annotated[tuple[Annotated[Outage, BeforeValidator(_outage)], ...], Field(max_length=8)] = ()
    """What breaks meanwhile."""
    pod_noise: Annotated[Percent, Field(ge=0, le=3)] = 0.0
    """How much the error rate of each pod differs from scrape to scrape: the coefficient of variation of a gamma
    distribution."""
    pod_offset: Annotated[Percent, Field(ge=0, le=3)] = 0.0
    """How much pods differ for good, as by their nodes: the standard deviation of the rate's logarithm."""
    pods: Annotated[int, Field(ge=1, le=1000)] = 10
    """Replicas of the Deployment."""
    pod_start: Duration = timedelta(seconds=10)
    """How long a pod takes to be ready."""
    scrape: Duration = timedelta(seconds=15)
    """How often Prometheus scrapes."""
    counters: CounterSource | None = None
    """Whose counters there are: Router, one pair for each revision, or Pods. Default: Router where requests are shared
    by routes, else Pods."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not 1 <= self.scrape.total_seconds() <= 300:
            raise ValueError("scrape must be from 1s to 5m")
        if self.base >= 1:
            raise ValueError("base must be below 100%: what always fails cannot get worse")
        slower = [one for one in self.regressions if one.of == LATENCY]
        if slower and self.latency is None:
            raise ValueError("regressions: one is of latency, and the scenario has none: give latency, such as 80ms")
        known = {ERRORS, LATENCY, *self.ratios}
        strange = next((one.of for one in self.regressions if one.of not in known), None)
        if strange is not None:
            raise ValueError(
                f"regressions: {strange!r} is not known here: it is errors, latency, or of ratios"
                f" ({', '.join(self.ratios) or 'none is given'})"
            )
        return self

    @property
    def healthy(self) -> Scenario:
        """The same with a candidate that is as good as stable."""
        return self.model_copy(update={"regressions": ()})

    def down(self, of: OutageOf, seconds: float) -> Outage | None:
        """What is broken, so long after the candidate's first requests."""
        return next((one for one in self.outages if one.of is of and one.covers(seconds)), None)

    def usual(self, name: str, seconds: float) -> float:
        """Stable's rate of errors, or of a ratio's bad events."""
        rate = self.base if name == ERRORS else self.ratios[name]
        broken = self.down(OutageOf.SERVICE, seconds) if name == ERRORS else None
        return max(rate, broken.errors) if broken else rate

    def candidates(self, name: str, seconds: float) -> float:
        """The candidate's."""
        rate = self.usual(name, seconds)
        for one in self.regressions:
            if one.of == name:
                rate = one.grows.on(rate, one.part(seconds))
        return rate

    def slowdown(self, seconds: float) -> float:
        """By which factor the candidate is slower."""
        factor = 1.0
        for one in self.regressions:
            if one.of == LATENCY:
                factor *= 1 + (one.grows.times - 1) * one.part(seconds)
        return factor

    @property
    def settles(self) -> float:
        """Seconds after the candidate's first requests from which on nothing changes any more but the time of day."""
        ends = [one.at + one.over for one in self.regressions] + [one.at + one.lasts for one in self.outages]
        return max((end.total_seconds() for end in ends), default=0.0)


def measured(spec: AnalysisSpec, scenario: Scenario) -> None:
    """Raise what the release measures and the scenario does not say."""
    for metric in spec.metrics:
        if metric.gauge is not None:
            raise Wrong(f"metric {metric.name}: a gauge is not simulated: give a manifest without it")
        if metric.ratio is not None and metric.name not in scenario.ratios:
            raise Wrong(
                f"ratios.{metric.name}: the release measures it: give its usual share of bad events, such as"
                f" --ratio {metric.name}=3%"
            )
        if metric.preset is Preset.Latency and scenario.latency is None and not metric.optional:
            raise Wrong(
                f"latency: metric {metric.name} of the release needs a histogram: give the median, such as"
                " --latency 80ms, or make the metric optional"
            )
    own = [metric.name for metric in spec.metrics if metric.ratio is not None]
    strange = next((name for name in scenario.ratios if name not in own), None)
    if strange is not None:
        raise Wrong(f"ratios.{strange}: the release has no such ratio; it has {', '.join(own) or 'none'}")


def as_read(spec: AnalysisSpec, scenario: Scenario) -> Scenario:
    """As the release finds it: where it asks the pods themselves a look is a scrape, and no router is asked. Nor is
    one whose counters no metric reads."""
    if spec.source is not Source.Pods:
        of_pods = all(one.source is CounterSource.Pods or one.ratio is not None for one in spec.metrics)
        if scenario.counters is None and of_pods:
            return scenario.model_copy(update={"counters": CounterSource.Pods})
        return scenario
    return scenario.model_copy(update={"scrape": spec.interval, "counters": CounterSource.Pods})


def read(said: Mapping[str, Any]) -> Scenario:
    """The scenario of a file, or of options. Raises Wrong."""
    if "traffic" not in said:
        raise Wrong("traffic: is needed: requests a second, of both revisions together, such as --traffic 50")
    try:
        return Scenario.model_validate(said)
    except ValidationError as error:
        raise Wrong(mistakes((e["loc"], e["input"], _told(e)) for e in error.errors())) from None


def _told(error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return f"there is no such field; there are {', '.join(_fields())}"
    if error["type"] == "tuple_type":
        return "is to be a list: write it in brackets, such as [5x@20m]"
    return str(error["msg"])


def _fields() -> list[str]:
    return [field.alias or name for name, field in Scenario.model_fields.items()]
