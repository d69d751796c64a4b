"""``spec.analysis`` and ``status.analysis``: what is measured, what counts as worse, and what was found.

One block, shared by every kind that releases something.
"""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from tidegate.api.base import DURATION_PATTERN, Duration, Model, Percent, Rules, Time, parse_duration, parse_percent

MOST_METRICS = 8
ARGUMENT_NAME = r"^[a-zA-Z]([-_a-zA-Z0-9]*[a-zA-Z0-9])?$"
COUNTER_NAME = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"
_PLAIN_LIMIT = "^[0-9]+([.][0-9]+)?%?$"
_LIMIT_PATTERN = rf"{DURATION_PATTERN}|{_PLAIN_LIMIT}"


class Advance(StrEnum):
    """What lets a step end."""

    Baked = "Baked"
    """Its bake is over, nothing fails or leans to failing, and at least ``minRequests`` were seen."""
    Proven = "Proven"
    """Evidence that the candidate is within its limits; it may end a bake early."""


class Preset(StrEnum):
    """A metric that needs no query."""

    ErrorRatio = "ErrorRatio"
    """The share of requests answered with 5xx, or of calls that failed by the server's fault."""
    Latency = "Latency"
    """A quantile of the request duration, from a histogram, native or classic."""


class Source(StrEnum):
    """Who is asked for counters."""

    Prometheus = "Prometheus"
    """Prometheus, or what answers like it."""
    Pods = "Pods"
    """The pods themselves, by the operator: no Prometheus is needed, and what is wrong shows within a second or two."""


class CounterSource(StrEnum):
    """Whose counters a preset reads."""

    Router = "Router"
    Pods = "Pods"


class OnFail(StrEnum):
    """What a metric does that is beyond its limits."""

    Revert = "Revert"
    """It fails the release."""
    Pause = "Pause"
    """It holds the release until somebody decides."""


class WhenInconclusive(StrEnum):
    """What is done when the extensions are used up and there is still too little evidence."""

    Hold = "Hold"
    Revert = "Revert"
    Advance = "Advance"


class WhenUnknown(StrEnum):
    """What is done when there was no data for too long. Nothing advances on no data."""

    Hold = "Hold"
    Revert = "Revert"


class Verdict(StrEnum):
    """What the evidence says."""

    Pass = "Pass"  # noqa: S105  # not a password
    """Proven, for this step: within every limit."""
    Fail = "Fail"
    """Proven: beyond a limit. It stays so for the rest of the release."""
    Inconclusive = "Inconclusive"
    """Too little evidence, so far, for either."""
    Unknown = "Unknown"
    """No answer, or one that cannot be used. It is no evidence for anything."""


class Reason(StrEnum):
    """Why the verdict is what it is; for machines, ``message`` is for people."""

    LimitExceeded = "LimitExceeded"
    """Fail: the candidate is worse than its limits allow."""
    WithinLimits = "WithinLimits"
    """Pass: every metric is within its limits."""
    WarmingUp = "WarmingUp"
    """Inconclusive: what the candidate does now does not count yet."""
    NoTraffic = "NoTraffic"
    """Inconclusive: the candidate has had no request in this step."""
    NeedsRequests = "NeedsRequests"
    """Inconclusive: more requests are needed."""
    NeedsTime = "NeedsTime"
    """Inconclusive: a gauge has not been watched for long enough."""
    NeedsPods = "NeedsPods"
    """Inconclusive: stable's own pods differ for long, and so few of the candidate's prove nothing of their version."""
    Held = "Held"
    """Inconclusive: a metric with onFail: Pause is beyond its limits, and somebody is to decide."""
    Resolution = "Resolution"
    """Inconclusive: the histogram has no bucket edge where one is needed."""
    NoSeries = "NoSeries"
    """Unknown: a query answered nothing."""
    SeveralSeries = "SeveralSeries"
    """Unknown: a query answered several series where it must answer one."""
    QueryFailed = "QueryFailed"
    """Unknown: Prometheus could not be asked, or refused the query."""
    Stale = "Stale"
    """Unknown: the counters are there, but no new samples of them."""


class RatioSpec(Model):
    """A share of events: two counters, ``of`` divided by ``to``."""

    of: Annotated[str, Field(min_length=1, max_length=1024)]
    """The events that count: bad ones, with `maxDecrease` good ones. The name of a counter (read for every pod of
    each arm), or PromQL that returns exactly one series, a counter, for an arm: `{{revision}}` stands for its
    pod-template-hash, `{{pods}}` for a regular expression of its pod names, `{{namespace}}` for the namespace."""
    to: Annotated[str, Field(min_length=1, max_length=1024)]
    """All events, those among them. Given like `of`."""

    cel_rules: ClassVar[Rules] = tuple(
        (
            f"self.{side}.matches('{COUNTER_NAME}') || self.{side}.contains('{{{{revision}}}}')"
            f" || self.{side}.contains('{{{{pods}}}}') || self.{side}.contains('{{{{variant}}}}')",
            f"{side} must tell the two apart that are compared: give the bare name of a counter, or use"
            " {{revision}} or {{pods}} in the query of a release, {{variant}} in that of a flag",
        )
        for side in ("of", "to")
    )

    @model_validator(mode="after")
    def _tells_the_arms_apart(self) -> Self:
        for text, (_, message) in zip((self.of, self.to), self.cel_rules, strict=True):
            if not (is_counter_name(text) or any(mark in text for mark in ("{{revision}}", "{{pods}}", "{{variant}}"))):
                raise ValueError(message)
        return self


def is_counter_name(text: str) -> bool:
    """Whether ``text`` is the bare name of a counter, rather than PromQL."""
    return re.fullmatch(COUNTER_NAME, text) is not None


GAUGE_TELLS_APART = (
    "gauge.query must tell the two apart that are compared: use {{revision}} or {{pods}} in the query of a release,"
    " {{variant}} in that of a flag"
)


class GaugeSpec(Model):
    """A level, such as CPU, memory or the length of a queue."""

    query: Annotated[str, Field(min_length=1, max_length=1024)]
    """PromQL of the level of an arm, with `{{revision}}`, `{{pods}}` and `{{namespace}}` as in a ratio; of several
    series, of each pod say, the mean is taken."""

    cel_rules: ClassVar[Rules] = (
        (
            "self.query.contains('{{revision}}') || self.query.contains('{{pods}}')"
            " || self.query.contains('{{variant}}')",
            GAUGE_TELLS_APART,
        ),
    )

    @model_validator(mode="after")
    def _tells_the_arms_apart(self) -> Self:
        if not any(mark in self.query for mark in ("{{revision}}", "{{pods}}", "{{variant}}")):
            raise ValueError(GAUGE_TELLS_APART)
        return self


class MetricSpec(Model):
    """One metric and its limits, relative to stable (`maxIncrease` or `maxDecrease`), absolute (`max`), or both."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
    """How messages and the status call it."""
    preset: Preset | None = None
    """A metric that needs no query: ErrorRatio or Latency."""
    ratio: RatioSpec | None = None
    """A share of events from counters of your own: of bad ones, or with `maxDecrease` of good ones."""
    gauge: GaugeSpec | None = None
    """A level, rather than a share of requests. What it says is no proof: levels of a pod hang together from minute to
    minute, so it only pauses the release unless you say otherwise."""
    source: Annotated[CounterSource | None, Field(alias="from")] = None
    """Whose counters a preset reads, Router or Pods. Default: the router's where it has them for each arm, else the
    pods' own or those of the proxy beside each: `http_requests_total` and `http_request_duration_seconds`,
    `grpc_server_handled_total`, OpenTelemetry's, Istio's or Linkerd's, whichever there are."""
    quantile: Annotated[str | None, Field(pattern=r"^p[5-9][0-9](\.[0-9]+)?$", max_length=8)] = None
    """Which quantile of the latency, p50 to p99.9. Only with preset Latency; default p99."""
    max_increase: Percent | None = None
    """How much worse than stable is still fine: 50% means up to 1.5 times its error ratio, or its quantile."""
    max_decrease: Percent | None = None
    """For a ratio of what ought to happen, such as orders to sessions: how much less than stable's is still fine. 5%
    means down to 0.95 times. Instead of `maxIncrease`."""
    max: Annotated[str | None, Field(pattern=_LIMIT_PATTERN, max_length=16)] = None
    """What is too much: a percentage of the requests, a duration for Latency, or for a gauge a number in its unit; 90%
    is 0.9. Where stable is asked as well (ErrorRatio, or with `maxIncrease`; not of gauges), it is too much unless
    stable is as bad."""
    on_fail: OnFail | None = None
    """Revert fails the release when the metric is beyond its limits. Pause holds it until somebody asks to resume, to
    skip the step, to promote or to abort. Default: Pause for a gauge, else Revert."""
    optional: bool = False
    """Whether the release goes on without this metric where nothing exposes it. It then shows as Unknown and does
    not hold, as long as another metric has data; once it had data, losing it holds as with any other. The
    default latency metric is optional; what you write is not unless you say so."""

    cel_rules: ClassVar[Rules] = (
        (
            "[has(self.preset), has(self.ratio), has(self.gauge)].filter(given, given).size() == 1",
            "give exactly one of preset, ratio and gauge",
        ),
        (
            "has(self.maxIncrease) || has(self.maxDecrease) || has(self.max)",
            "give maxIncrease, maxDecrease, or max: a metric needs a limit",
        ),
        (
            "!has(self.maxDecrease) || (!has(self.maxIncrease) && !has(self.max))",
            "maxDecrease is for what ought to happen, maxIncrease and max for what ought not: give one or the others",
        ),
        (
            "!has(self.maxDecrease) || has(self.ratio)",
            "maxDecrease is for a ratio of what ought to happen: give maxIncrease, or a ratio",
        ),
        (
            "!has(self.maxDecrease) || (double(self.maxDecrease.replace('%', '')) > 0.0"
            " && double(self.maxDecrease.replace('%', '')) < 100.0)",
            "maxDecrease must be above 0% and below 100%",
        ),
        (
            "!has(self.quantile) || (has(self.preset) && self.preset == 'Latency')",
            "quantile is for preset Latency: remove it, or set preset: Latency",
        ),
        (
            "!has(self.from) || has(self.preset)",
            "from is for presets: remove it, the ratio or the gauge says what it reads",
        ),
        (
            "!has(self.max) || has(self.gauge) || (has(self.preset) && self.preset == 'Latency'"
            f" ? !self.max.matches('{_PLAIN_LIMIT}') : self.max.endsWith('%'))",
            "max is a percentage such as 5%, or with preset Latency a duration such as 1s",
        ),
        (
            f"!has(self.max) || !has(self.gauge) || self.max.matches('{_PLAIN_LIMIT}')",
            "max of a gauge is a number such as '0.9', or a percentage such as 90%",
        ),
        (
            "!has(self.max) || has(self.gauge) || !self.max.endsWith('%')"
            " || (double(self.max.replace('%', '')) > 0.0 && double(self.max.replace('%', '')) < 100.0)",
            "max must be above 0% and below 100%",
        ),
        ("!has(self.max) || self.max.matches('[1-9]')", "max must be above zero"),
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        latency = self.preset is Preset.Latency
        percentage = self.max is not None and self.max.endswith("%")
        plain = self.max is not None and re.fullmatch(_PLAIN_LIMIT, self.max) is not None
        held = (
            sum(one is not None for one in (self.preset, self.ratio, self.gauge)) == 1,
            any(limit is not None for limit in (self.max_increase, self.max_decrease, self.max)),
            self.max_decrease is None or (self.max_increase is None and self.max is None),
            self.max_decrease is None or self.ratio is not None,
            self.max_decrease is None or 0 < self.max_decrease < 1,
            self.quantile is None or latency,
            self.source is None or self.preset is not None,
            self.max is None or self.gauge is not None or (not plain if latency else percentage),
            self.max is None or self.gauge is None or plain,
            self.max is None or self.gauge is not None or not percentage or 0 < parse_percent(self.max) < 1,
            self.max is None or re.search("[1-9]", self.max) is not None,
        )
        for holds, (_, message) in zip(held, self.cel_rules, strict=True):
            if not holds:
                raise ValueError(f"metric {self.name}: {message}")
        if latency and self.max is not None:
            parse_duration(self.max)
        return self

    @property
    def level(self) -> float:
        """The quantile as a fraction: 0.99 for p99."""
        return float((self.quantile or "p99")[1:]) / 100

    @property
    def texts(self) -> tuple[str, ...]:
        """The names of counters, and the PromQL, that are the user's."""
        if self.ratio is not None:
            return self.ratio.of, self.ratio.to
        return () if self.gauge is None else (self.gauge.query,)

    @property
    def fails_by(self) -> OnFail:
        """What becomes of the release when the metric is beyond its limits."""
        return self.on_fail or (OnFail.Revert if self.gauge is None else OnFail.Pause)

    @property
    def limit(self) -> float | None:
        """``max`` as a fraction of the requests, in seconds for Latency, or in the unit of a gauge."""
        if self.max is None:
            return None
        if self.max.endswith("%"):
            return parse_percent(self.max)
        if self.gauge is not None:
            return float(self.max)
        return parse_duration(self.max).total_seconds()


class OnInconclusive(Model):
    """What happens when a step's time is over and there is too little evidence."""

    extend: Annotated[int, Field(ge=0, le=10)] = 2
    """How many times the step's bake is repeated before `then`."""
    then: WhenInconclusive = WhenInconclusive.Hold
    """Hold, Revert or Advance. Evidence that leans to failing reverts all the same: in doubt, for the users."""


class OnUnknown(Model):
    """What happens when there is no data. Until the deadline the release holds."""

    deadline: Duration = timedelta(minutes=15)
    """How long without data before `then`."""
    then: WhenUnknown = WhenUnknown.Hold
    """Hold or Revert. No data is not evidence, so it never advances."""


DEFAULT_METRICS = (
    MetricSpec(name="errors", preset=Preset.ErrorRatio, max_increase=0.5, max="5%"),
    MetricSpec(name="latency", preset=Preset.Latency, quantile="p99", max_increase=0.3, max="1s", optional=True),
)
"""A tuple: pydantic would copy a list at each release that is read."""


class TemplateRef(Model):
    """An AnalysisTemplate whose metrics are taken in."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Of the AnalysisTemplate, in the same namespace."""
    args: Annotated[dict[str, Annotated[str, Field(max_length=256)]], Field(default_factory=dict, max_length=16)]
    """What its arguments are here. Those without a default must be given."""


_NOT_BY_PODS = "!has(self.source) || self.source != 'Pods' || !has(self.metrics)"
_ROUTER = "with source: Pods the pods alone are asked: leave out from: Router, or set source: Prometheus"
_PROMQL = (
    "with source: Pods nobody works out PromQL: give bare names of counters in ratio.of and ratio.to, or set"
    " source: Prometheus"
)
_GAUGE = "with source: Pods nobody works out PromQL, which a gauge takes: leave out gauges, or set source: Prometheus"


def not_by_pods(metric: MetricSpec) -> str:
    """Why pods that are asked themselves cannot tell what the metric takes, and the way out; empty where they can."""
    if metric.source is CounterSource.Router:
        return _ROUTER
    if metric.ratio is not None and not (is_counter_name(metric.ratio.of) and is_counter_name(metric.ratio.to)):
        return _PROMQL
    return "" if metric.gauge is None else _GAUGE


class AnalysisSpec(Model):
    """What is measured while the candidate has traffic, and what is concluded from it."""

    source: Source = Source.Prometheus
    """Who is asked for counters: Prometheus, or Pods: the operator reads the pods' own metrics at each look. Pods are
    read where annotations prometheus.io/port, path and scheme say, else at a port named metrics or http-metrics, else
    at their first one."""
    interval: Duration = timedelta(seconds=15)
    """How often to look; looks follow the scrapes. Looking often costs no errors: choose the scrape interval. Default
    15s, and 1s with source: Pods."""
    warmup: Duration = timedelta(seconds=60)
    """What the candidate does this long after its first traffic does not count, to the nearest scrape."""
    confidence: Percent = 0.95
    """The chance that a release within its limits is not reverted by mistake, over the whole release and however
    often it is looked at. 50% to 99.99%."""
    advance: Advance = Advance.Baked
    """Baked: a step ends with its bake unless something speaks against. Proven: it ends, even early, when every
    metric is proven to be within its limits."""
    min_requests: Annotated[int, Field(ge=0)] = 100
    """A step in which the candidate was seen to answer fewer requests than this holds."""
    metrics: Annotated[tuple[MetricSpec, ...], Field(max_length=MOST_METRICS)] = DEFAULT_METRICS
    """What is measured. Default: what `templateRefs` name; else the error ratio, and the latency where a histogram is
    exposed. An empty list: no analysis, steps only bake."""
    template_refs: Annotated[tuple[TemplateRef, ...], Field(max_length=8)] = ()
    """AnalysisTemplates whose metrics are measured too. A change of a template is like one of this field: it holds from
    the next decision on."""
    on_inconclusive: OnInconclusive = OnInconclusive()
    """When a step's time is over and there is too little evidence."""
    on_unknown: OnUnknown = OnUnknown()
    """When there is no data."""

    cel_rules: ClassVar[Rules] = (
        (
            "!has(self.confidence) || (double(self.confidence.replace('%', '')) >= 50.0"
            " && double(self.confidence.replace('%', '')) <= 99.99)",
            "confidence must be from 50% to 99.99%",
        ),
        (
            "!has(self.metrics) || self.metrics.all(m, self.metrics.exists_one(n, n.name == m.name))",
            "metrics must have distinct names",
        ),
        (
            "!has(self.metrics) || self.metrics.size() == 0 || self.metrics.exists(m, !has(m.gauge))"
            " || (has(self.templateRefs) && self.templateRefs.size() > 0)"
            " || (has(self.minRequests) && self.minRequests == 0)",
            "gauges count no requests, so that minRequests would never be reached: add a metric that does, or write"
            " minRequests: 0",
        ),
        (
            "!has(self.templateRefs) || self.templateRefs.all(t, self.templateRefs.exists_one(o, o.name == t.name))",
            "templateRefs must have distinct names",
        ),
        (
            "!has(self.interval) || (!self.interval.contains('d') && duration(self.interval) >= duration('1s')"
            " && duration(self.interval) <= duration('1h'))",
            "interval must be from 1s to 1h",
        ),
        (
            f"{_NOT_BY_PODS} || self.metrics.all(m, !has(m.from) || m.from != 'Router')",
            _ROUTER,
        ),
        (
            f"{_NOT_BY_PODS} || self.metrics.all(m, !has(m.ratio) || [m.ratio.of, m.ratio.to].all(q,"
            f" q.matches('{COUNTER_NAME}')))",
            _PROMQL,
        ),
        (f"{_NOT_BY_PODS} || self.metrics.all(m, !has(m.gauge))", _GAUGE),
    )

    @model_validator(mode="before")
    @classmethod
    def _looks_often_where_it_is_cheap(cls, said: object) -> object:
        if isinstance(said, dict) and said.get("source") == Source.Pods and "interval" not in said:
            return {**said, "interval": timedelta(seconds=1)}
        return said

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        wrong = {not_by_pods(metric) for metric in self.metrics} if self.source is Source.Pods else set()
        held = (
            0.5 <= self.confidence <= 0.9999,
            len({metric.name for metric in self.metrics}) == len(self.metrics),
            not self.metrics
            or any(metric.gauge is None for metric in self.metrics)
            or bool(self.template_refs)
            or self.min_requests == 0,
            len({ref.name for ref in self.template_refs}) == len(self.template_refs),
            1 <= self.interval.total_seconds() <= 3600,
            _ROUTER not in wrong,
            _PROMQL not in wrong,
            _GAUGE not in wrong,
        )
        for holds, (_, message) in zip(held, self.cel_rules, strict=True):
            if not holds:
                raise ValueError(message)
        return self


class MetricStatus(Model):
    """What is known of one metric. Numbers are of the current step, evidence is of the whole release."""

    name: str
    """The metric's name in the spec."""
    verdict: Verdict
    """Pass, Fail, Inconclusive or Unknown."""
    reason: Reason
    """Why, in one word."""
    message: str = ""
    """Why, and what to do where something can be done."""
    stable: float | None = None
    """Stable's error ratio, its quantile in seconds, or its level."""
    candidate: float | None = None
    """The candidate's."""
    ratio: float | None = None
    """Candidate divided by stable."""
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    """Where the ratio of the error rates truly is, at the given confidence; 0.1 stands for 0.1 or less, 50 for 50
    or more. Only for ratios."""
    evidence: float = 0.0
    """How far the evidence is on its way to failing: from 0, none, to 1, failed."""
    dispersion: float | None = None
    """How much more stable's pods differ than chance explains: 1 not at all. Evidence counts for so much less. Without
    pods that are told apart, how much more the two arms do."""
    requests: int = 0
    """How many of the candidate's requests the evidence rests on, in the whole release."""
    needed: int | None = None
    """About how many more requests of the candidate it takes to conclude, if it goes on like this."""


class AnalysisStatus(Model):
    """What the analysis found, and all it needs to go on after a restart."""

    verdict: Verdict
    """Pass, Fail, Inconclusive or Unknown."""
    reason: Reason
    """Why, in one word."""
    message: str = ""
    """Why, and what to do where something can be done."""
    caveat: str | None = None
    """That stable's own pods differed so much before the release that the comparison says little, which pod stands out
    if one does, and what would help. Nothing is held up by it."""
    leans_to_failing: bool = False
    """Whether the evidence of some metric speaks for failing, short of proving it. Such a step does not advance."""
    held_by: Annotated[tuple[str, ...], Field(max_length=8)] = ()
    """Metrics with onFail: Pause that are beyond their limits. Nothing goes on until somebody decides."""
    looked_at: Time
    """When it last looked."""
    requests: int = 0
    """How many of the candidate's requests were seen since the warm-up."""
    share: float | None = None
    """The candidate's share of the requests that both revisions were seen to answer in the current step, in percent."""
    step_requests: int = 0
    """How many of them in the current step."""
    metrics: tuple[MetricStatus, ...] = ()
    """Metric by metric."""
    journal: str = ""
    """The evidence so far and the last counters read, for the operator alone."""
