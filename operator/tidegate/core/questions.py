"""What a metric asks Prometheus, and how it reads the answers: PromQL, columns, and what is wrong with an answer.

Raw samples come from range vectors, such as ``http_requests_total{…}[60s]``, asked for at one instant: with the true
times of the scrapes, and nothing extrapolated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tidegate.api.analysis import AnalysisSpec, CounterSource, MetricSpec, Preset, Reason, is_counter_name
from tidegate.core.counters import Answer, Missing, RouterSeries, Series

FLAG_LABEL, VARIANT_LABEL = "feature_flag_key", "feature_flag_variant"
"""By which an application's counters tell who was served what by a flag."""
_STATUS_LABELS = ("code", "status", "grpc_code")


class Protocol(StrEnum):
    """What the routes lead to the workload. A router's count of gRPC requests does not tell which failed: their status
    comes after the answer, in its trailers, and the HTTP status is always 200."""

    HTTP = "HTTP"
    GRPC = "gRPC"


_POD_REQUESTS = {Protocol.HTTP: "http_requests_total", Protocol.GRPC: "grpc_server_handled_total"}
_POD_BUCKETS = {
    Protocol.HTTP: "http_request_duration_seconds_bucket",
    Protocol.GRPC: "grpc_server_handling_seconds_bucket",
}
_NO_PROBES = 'grpc_service!="grpc.health.v1.Health"'
_GRPC_FAULTS = frozenset({"unknown", "deadlineexceeded", "unimplemented", "internal", "unavailable", "dataloss"})
"""Statuses of gRPC that are the server's fault, as OpenTelemetry has it; spelt as any client library does."""


class Side(StrEnum):
    """The two arms of the comparison."""

    Stable = "stable"
    Candidate = "candidate"


@dataclass(frozen=True)
class Arm:
    """One of the two: how what it did is told from what the other did."""

    name: str
    """Evidence is of arms of the same names."""
    matchers: tuple[str, ...]
    """PromQL's for its series, where pods count by themselves."""
    words: Mapping[str, str]
    """What stands for it in PromQL of the user's, between ``{{`` and ``}}``."""


@dataclass(frozen=True)
class Arms:
    """Whose requests are compared: two revisions, or who is served what by a flag."""

    stable: Arm
    candidate: Arm
    router: RouterSeries | None = None
    """The router's counters, where it has them for each arm."""
    protocols: tuple[Protocol, ...] = (Protocol.HTTP,)
    """What the pods are asked by, in this order."""
    control: str = "stable"
    """What people call the one that the other is compared with."""
    labelled: str = ""
    """Which labels the pods' counters need, if any are needed."""

    @classmethod
    def of_revisions(
        cls, namespace: str, stable: tuple[str, str], candidate: tuple[str, str], router: RouterSeries | None = None
    ) -> Arms:
        """Two revisions, each by its pod-template-hash and a regular expression of its pods' names."""

        def arm(hash_: str, pods: str) -> Arm:
            matchers = (f"namespace={json.dumps(namespace)}", f"pod=~{json.dumps(pods)}")
            return Arm(hash_, matchers, {"revision": hash_, "pods": pods, "namespace": namespace})

        return cls(arm(*stable), arm(*candidate), router)

    @classmethod
    def of_variants(cls, namespace: str, flag: str, control: tuple[str, ...], candidate: tuple[str, ...]) -> Arms:
        """Who is served some variants of a flag, and who is served others at the same time."""

        def arm(variants: tuple[str, ...]) -> Arm:
            # A dot in a name is no more than a dot, in a matcher and in a quoted text of the user's alike.
            either = "|".join(name.replace(".", "[.]") for name in variants)
            labels = (f"namespace={json.dumps(namespace)}", f"{FLAG_LABEL}={json.dumps(flag)}")
            matchers = (*labels, f"{VARIANT_LABEL}=~{json.dumps(either)}")
            return Arm(f"{flag}: {either}", matchers, {"variant": either, "flag": flag, "namespace": namespace})

        labelled = f" with labels {FLAG_LABEL} and {VARIANT_LABEL}"
        return cls(arm(control), arm(candidate), control="control", labelled=labelled)

    def of(self, side: Side) -> Arm:
        """The arm of a side."""
        return self.stable if side is Side.Stable else self.candidate

    @property
    def names(self) -> tuple[str, str]:
        """Of what the evidence speaks."""
        return self.stable.name, self.candidate.name


class Reads(StrEnum):
    """What the series of an answer are counted as."""

    Requests = "requests"
    """All requests, and by their status label the failed ones."""
    Buckets = "buckets"
    """Requests by duration, by the label ``le``."""
    Of = "of"
    """Events of a ratio."""
    To = "to"
    """All events."""
    Level = "level"
    """A level of a gauge."""


@dataclass(frozen=True)
class Question:
    """One query for one arm of a metric."""

    text: str
    """PromQL."""
    reads: Reads
    remedy: str
    """What to do when nothing is answered."""
    status_labels: tuple[str, ...] = _STATUS_LABELS
    single: bool = False
    """PromQL of the user's: it must answer one series, or of a gauge at least one."""


@dataclass(frozen=True)
class Trouble:
    """Why an answer cannot be used."""

    reason: Reason
    message: str


def window(spec: AnalysisSpec) -> int:
    """Seconds of samples that are asked for: some looks may fail, and with 60 s scrapes there is always one.

    It depends on the interval alone, so that the queries of all looks and releases are the same.
    """
    return max(math.ceil(4 * spec.interval.total_seconds()), 20)


HISTORY_LOOKS = 240
"""Looks of stable's history that are asked for: an hour's, at 15 s."""
_HISTORY = 3600.0
_HISTOGRAMS = 4
"""A histogram has many series: of it a fourth of that is asked for."""


def history_looks(spec: AnalysisSpec, metric: MetricSpec) -> int:
    """How many looks before the release are asked for."""
    looks = min(HISTORY_LOOKS, int(_HISTORY / spec.interval.total_seconds()))
    return max(1, looks // _HISTOGRAMS if metric.preset is Preset.Latency else looks)


def history(spec: AnalysisSpec, metric: MetricSpec, arms: Arms) -> tuple[Question, ...]:
    """What stable's pods did before the release, by their own counters; even where the router's are compared, as it
    takes no more than this one query. None for PromQL of the user's, which tells no pods apart."""
    if not needs_stable(metric) or metric.gauge is not None:
        return ()
    span = math.ceil((history_looks(spec, metric) + 1) * spec.interval.total_seconds()) + window(spec)
    if metric.ratio is not None:
        texts = ((Reads.Of, metric.ratio.of), (Reads.To, metric.ratio.to))
        if not all(is_counter_name(text) for _, text in texts):
            return ()
        return tuple(Question(_of_pods((text,), arms, Side.Stable, span), reads, "") for reads, text in texts)
    reads = Reads.Buckets if metric.preset is Preset.Latency else Reads.Requests
    return (Question(_of_pods(_pod_counters(metric, arms), arms, Side.Stable, span), reads, ""),)


def by_pods(metric: MetricSpec, arms: Arms) -> bool:
    """Whether the counters that are compared tell pods apart."""
    if metric.ratio is not None:
        return is_counter_name(metric.ratio.of) and is_counter_name(metric.ratio.to)
    return _router(metric, arms) is None


def needs_stable(metric: MetricSpec) -> bool:
    """Whether stable is asked at all: not for a limit alone, but for errors, whose gross breaker compares."""
    compared = metric.max_increase is not None or metric.max_decrease is not None
    return compared or metric.preset is Preset.ErrorRatio


def questions(spec: AnalysisSpec, metric: MetricSpec, arms: Arms, side: Side) -> tuple[Question, ...]:
    """The queries of one arm of a metric; none where the router's counters are wanted and it has none."""
    if metric.gauge is not None:
        remedy = "is the query right? For pods that have no series add: or vector(0)"
        return (Question(_worded(metric.gauge.query, arms, side), Reads.Level, remedy, single=True),)
    if metric.ratio is not None:
        texts = ((Reads.Of, metric.ratio.of), (Reads.To, metric.ratio.to))
        return tuple(_own(spec, text, reads, arms, side) for reads, text in texts)
    router, latency = _router(metric, arms), metric.preset is Preset.Latency
    reads = Reads.Buckets if latency else Reads.Requests
    if router is not None:
        name = router.bucket if latency else router.requests
        matcher = router.matcher(router.stable if side is Side.Stable else router.candidate)
        remedy = f"until {side} gets requests the router has none; does Prometheus scrape the router?"
        return (Question(f"{name}{{{matcher}}}[{window(spec)}s]", reads, remedy, (router.code_label,)),)
    if metric.source is CounterSource.Router:
        return ()
    names = _pod_counters(metric, arms)
    return (Question(_of_pods(names, arms, side, window(spec)), reads, _scrape(" or ".join(names), arms)),)


def source(metric: MetricSpec, arms: Arms) -> str:
    """Whose counters a metric goes by: growth of others is no continuation of theirs."""
    if metric.preset is None:
        return ""
    router = _router(metric, arms)
    return router.requests if router else " ".join(_pod_counters(metric, arms))


def _router(metric: MetricSpec, arms: Arms) -> RouterSeries | None:
    """The router's counters, where they will do."""
    if metric.source is CounterSource.Pods or (metric.preset is Preset.ErrorRatio and Protocol.GRPC in arms.protocols):
        return None
    return arms.router


def _pod_counters(metric: MetricSpec, arms: Arms) -> tuple[str, ...]:
    """The names of the pods' counters. Two histograms may have other edges: one of them must do."""
    if metric.preset is Preset.Latency:
        return (_POD_BUCKETS[arms.protocols[0]],)
    return tuple(_POD_REQUESTS[protocol] for protocol in arms.protocols)


def _own(spec: AnalysisSpec, text: str, reads: Reads, arms: Arms, side: Side) -> Question:
    """A counter of the user's, or PromQL."""
    if is_counter_name(text):
        remedy = _scrape(text, arms)
        if reads is Reads.Of:
            remedy += " If it only appears with the first bad event, use PromQL that ends with: or vector(0)"
        return Question(_of_pods((text,), arms, side, window(spec)), reads, remedy)
    text = _worded(text, arms, side)
    return Question(text, reads, "is the query right? For a counter that may be absent add: or vector(0)", single=True)


def _worded(text: str, arms: Arms, side: Side) -> str:
    """PromQL of the user's, for one arm."""
    for name, value in arms.of(side).words.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return text


def _of_pods(names: tuple[str, ...], arms: Arms, side: Side, seconds: int) -> str:
    matchers = [*arms.of(side).matchers]
    if any(name.startswith("grpc_") for name in names):
        matchers.append(_NO_PROBES)
    name = names[0] if len(names) == 1 else ""
    if not name:
        matchers.insert(0, f'__name__=~"{"|".join(names)}"')
    return f"{name}{{{','.join(matchers)}}}[{seconds}s]"


def _scrape(name: str, arms: Arms) -> str:
    return f"do the pods expose {name}{arms.labelled}, and are they scraped (annotation prometheus.io/scrape)?"


def columned(question: Question, answer: tuple[Series, ...]) -> Iterator[tuple[str, Series]]:
    """The series with the columns that they count in."""
    for series in answer:
        if question.reads is Reads.Buckets:
            le = series.labels.get("le")
            if le is not None:
                yield str(float(le)), series
        elif question.reads is Reads.Requests:
            yield Reads.To, series
            if _failed(question, series):
                yield Reads.Of, series
        else:
            yield question.reads, series


def _status(question: Question, series: Series) -> str | None:
    return next((series.labels[label] for label in question.status_labels if label in series.labels), None)


def _failed(question: Question, series: Series) -> bool:
    status = _status(question, series) or ""
    if status.isdigit():
        return len(status) == 3 and status.startswith("5")
    return status.replace("_", "").lower() in _GRPC_FAULTS


def trouble(question: Question, answers: Mapping[str, Answer]) -> Trouble | None:
    """Why the question's answer cannot be used. No series is none here: it takes both arms to tell."""
    answer = answers.get(question.text, Missing("it was not asked"))
    if isinstance(answer, Missing):
        return Trouble(Reason.QueryFailed, f"{question.text}: {answer.why}")
    if question.single and question.reads is not Reads.Level and len(answer) > 1:
        some = " and ".join(_labels(series) for series in answer[:2])
        what = f"{question.text}: {len(answer)} series, such as {some}: sum them, so that it answers one"
        return Trouble(Reason.SeveralSeries, what)
    if question.reads is Reads.Requests and answer and not any(_status(question, series) for series in answer):
        labels = " or ".join(question.status_labels)
        return Trouble(Reason.NoSeries, f"{question.text}: the series have no label {labels} to tell failed requests")
    return None


def _labels(series: Series) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(series.labels.items())) + "}"


def unanswered(question: Question) -> Trouble:
    """Nothing was answered where something must be."""
    return Trouble(Reason.NoSeries, f"no series {question.text}: {question.remedy}")
