"""What a Prometheus once recorded, in place of a world that is drawn: a release is simulated on real counters.

The weights are the recording's own, whatever the simulated release has them be: it tells what the analysis makes of
that traffic, and when.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tidegate.api.analysis import AnalysisSpec, MetricSpec, Preset, is_counter_name
from tidegate.core import answered, sourcing
from tidegate.core import questions as ask
from tidegate.core.answered import Question, Reads, Reply
from tidegate.core.arms import Arms, Side
from tidegate.core.counters import Answer, Ledger, Missing, Series, count
from tidegate.core.presets import BUCKETS, STATUS_LABELS, Family, seconds
from tidegate.simulation.scenario import Wrong
from tidegate.simulation.world import Truth

_NAME = "__name__"
_WAY_OUT = "save the answer of /api/v1/query_range, or of /api/v1/query for a range such as http_requests_total[2h]"


class Recording:
    """See the module. Times are seconds from the candidate's first sample on."""

    settles = 0.0

    def __init__(self, spec: AnalysisSpec, series: Sequence[Series], stable: str, candidate: str) -> None:
        """The arms are told by regular expressions that a label's value matches, such as that of pod or service."""
        _replayable(spec)
        self.first: float | None = None
        self._until = 0.0
        self._arms = {Side.Stable: _of(series, "stable", stable), Side.Candidate: _of(series, "candidate", candidate)}
        both = [one for one in self._arms[Side.Stable] if one in self._arms[Side.Candidate]]
        if both:
            raise Wrong(f"--candidate {candidate}: it matches what --stable {stable} does: {_told(both[0])}")
        self._origin = min(one.samples[0][0] for one in self._arms[Side.Candidate])
        self.ends = max(one.samples[-1][0] for one in self._arms[Side.Candidate]) - self._origin
        for metric in spec.metrics:
            if not metric.optional and not all(self._read(metric, side, None) for side in sourcing.sides(metric)):
                told = (
                    f" with a label for the status ({', '.join(STATUS_LABELS)})"
                    if metric.preset is Preset.ErrorRatio
                    else ""
                )
                raise Wrong(
                    f"--recorded: there are no series for metric {metric.name}{told}: {_WAY_OUT}, of both revisions"
                )

    def opened(self, stable: int, candidate: int, share: float) -> None:  # noqa: ARG002 - as a world is told
        """The simulated release sends requests; the recording has its own."""
        if share > 0 and self.first is None:
            self.first = self._until

    def passes(self, until: float) -> None:
        """Time passes."""
        self._until = until

    def since(self, seconds: float) -> float:
        """Nothing waits for the candidate's first requests: they are in the recording."""
        return seconds

    def watched(self, opens: float) -> None:
        """Samples tell when they are of."""

    def answers(self, spec: AnalysisSpec, arms: Arms, now: float, epoch: float) -> dict[str, Answer]:
        """The samples that Prometheus would have answered with, as if the candidate's first had been at ``epoch``."""
        answers: dict[str, Answer] = {}
        for metric in spec.metrics:
            for side in Side:
                for question in ask.questions(spec, metric, arms, side):
                    found = [_as_asked(one, question) for one in self._read(metric, side, question)]
                    window = now - ask.window(spec), now
                    answers[question.asked] = _answer(_cut(found, window, self._origin, epoch))
        return answers

    def history(self, spec: AnalysisSpec, arms: Arms, now: float, epoch: float) -> dict[str, Answer]:
        """What a first look is answered of the time before the release: as far as it was recorded."""
        answers: dict[str, Answer] = {}
        for metric in spec.metrics:
            for question in ask.history(spec, metric, arms):
                found = [_as_asked(one, question) for one in self._read(metric, Side.Stable, question)]
                answers[question.asked] = _answer(_cut(found, (-math.inf, now), self._origin, epoch))
        return answers

    @property
    def truth(self) -> Truth:
        """What the counters tell of it, until now."""
        found = Truth()
        for side in Side:
            requests, failed = self._total(side)
            if side is Side.Stable:
                found.stable_requests, found.stable_failed = requests, failed
            else:
                found.candidate_requests, found.candidate_failed = requests, failed
        share = found.stable_failed / found.stable_requests if found.stable_requests else 0.0
        found.usual = share * found.candidate_requests
        return found

    def _total(self, side: Side) -> tuple[float, float]:
        numbers = [_numbers(one) for one in self._requests(side)]
        cut = tuple(_cut(numbers, (-math.inf, self._until), self._origin, self._origin))
        name = next((one.labels.get(_NAME, "") for one in cut), "")
        question = Question("", Reads.Requests, "", (Family(name, (), STATUS_LABELS),))
        grown = count(
            Ledger(), answered.columned(Reply(question, cut)), opens=self._origin, born_at_zero=False
        ).growths.values()
        return sum(one.get(Reads.To, 0.0) for one in grown), sum(one.get(Reads.Of, 0.0) for one in grown)

    def _requests(self, side: Side) -> list[Series]:
        """One counter of requests: where router and pods both count them, the first by name."""
        found = [
            one
            for one in self._arms[side]
            if "le" not in one.labels and any(label in one.labels for label in STATUS_LABELS)
        ]
        name = min((one.labels.get(_NAME, "") for one in found), default="")
        return [one for one in found if one.labels.get(_NAME, "") == name]

    def _read(self, metric: MetricSpec, side: Side, question: Question | None) -> list[Series]:
        """The series that a metric reads; of a ratio those of what is asked, or of any."""
        if metric.preset is Preset.Latency:
            return [one for one in self._arms[side] if "le" in one.labels]
        if metric.ratio is None:
            return self._requests(side)
        names = {Reads.Of: metric.ratio.of, Reads.To: metric.ratio.to}
        wanted = {names[question.reads]} if question and not question.wider else set(names.values())
        return [one for one in self._arms[side] if one.labels.get(_NAME) in wanted]


def read(names: Iterable[str]) -> list[Series]:
    """The series of files with answers of Prometheus' API. Raises Wrong."""
    found: dict[frozenset[tuple[str, str]], dict[float, float]] = {}
    for name in names:
        try:
            said = json.loads(Path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Wrong(f"--recorded {name}: {error}") from None
        data = said.get("data", said) if isinstance(said, dict) else {}
        if not isinstance(data, dict) or data.get("resultType") != "matrix":
            kind = data.get("resultType", "no answer") if isinstance(data, dict) else "no answer"
            raise Wrong(f"--recorded {name}: {kind!r} is no range of samples: {_WAY_OUT}")
        try:
            for one in data["result"]:
                labels, samples = _series(one)
                found.setdefault(labels, {}).update(samples)
        except (KeyError, TypeError, ValueError):
            raise Wrong(f"--recorded {name}: some series has no metric or values: {_WAY_OUT}") from None
    # A series may go on in the next file, or stand in both.
    return [Series(dict(labels), tuple(sorted(samples.items()))) for labels, samples in found.items() if samples]


def _series(one: Mapping[str, Any]) -> tuple[frozenset[tuple[str, str]], dict[float, float]]:
    """Its labels, and its samples by time."""
    samples = {float(at): float(value) for at, value in one["values"]}
    return frozenset((str(key), str(value)) for key, value in one["metric"].items()), samples


def _of(series: Sequence[Series], side: str, pattern: str) -> list[Series]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise Wrong(f"--{side} {pattern}: {error}: give a regular expression, such as checkout-6fcbd-.*") from None
    found = [one for one in series if any(map(expression.fullmatch, _telling(one)))]
    if not found:
        some = ", ".join(sorted({value for one in series for value in _telling(one)})[:8]) or "none"
        raise Wrong(f"--{side} {pattern}: no series has a label of this value; there are {some}")
    return found


def _as_asked(series: Series, question: Question) -> Series:
    """A recorded series as one that is asked for, whatever it was called where it was recorded."""
    name, families = series.labels.get(_NAME, ""), question.families
    if question.reads not in answered.BY_LABELS or any(family.name == name for family in families):
        return series
    labels = {label: value for label, value in series.labels.items() if label != _NAME}
    if question.reads is Reads.Buckets:
        recorded = next((family.per_second for family in BUCKETS if family.name == name), 1.0)
        labels["le"] = str(seconds(labels["le"], recorded / families[0].per_second))
    elif not any(label in labels for label in families[0].status_labels):
        labels[families[0].status_labels[0]] = next(labels[label] for label in STATUS_LABELS if label in labels)
    return replace(series, labels=labels)


def _telling(series: Series) -> list[str]:
    return [value for label, value in series.labels.items() if label not in (_NAME, "le", "job", *STATUS_LABELS)]


def _told(series: Series) -> str:
    return ", ".join(f'{name}="{value}"' for name, value in sorted(series.labels.items()))


def _replayable(spec: AnalysisSpec) -> None:
    for metric in spec.metrics:
        own = (metric.ratio.of, metric.ratio.to) if metric.ratio else ()
        strange = next((text for text in own if not is_counter_name(text)), None)
        if strange is not None:
            raise Wrong(
                f"metric {metric.name}: {strange!r} is PromQL, which only Prometheus can answer: give the bare name"
                " of a counter, or leave the metric out of the manifest that is simulated"
            )


def _numbers(series: Series) -> Series:
    return replace(series, samples=tuple((at, value) for at, value in series.samples if math.isfinite(value)))


def _answer(series: Iterable[Series]) -> Answer:
    """As the operator takes it: what has no plain numbers is no answer."""
    found = tuple(series)
    if any(not math.isfinite(value) for one in found for _, value in one.samples):
        return Missing("it answers NaN or infinity")
    return found


def _cut(series: Iterable[Series], window: tuple[float, float], origin: float, epoch: float) -> Iterable[Series]:
    """What is within the window, with times from ``epoch`` on."""
    since, until = window
    for one in series:
        inside = [(at, value) for at, value in one.samples if since < at - origin <= until]
        if inside:
            yield replace(one, samples=tuple((round(epoch + at - origin, 3), value) for at, value in inside))
