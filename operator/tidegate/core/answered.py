"""A query for one arm of a metric, and how its answer is read: columns, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from tidegate.api.analysis import Reason
from tidegate.core import presets
from tidegate.core.cells import in_seconds
from tidegate.core.counters import Answer, Missing, Series
from tidegate.core.presets import Family


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


BY_LABELS = frozenset({Reads.Requests, Reads.Buckets})
"""What of a series counts as what, or is slow, stands in its labels."""


@dataclass(frozen=True)
class Question:
    """One query for one arm of a metric."""

    text: str
    """PromQL."""
    reads: Reads
    remedy: str
    """What to do when nothing is answered."""
    families: tuple[Family, ...] = ()
    """By which names it is answered: series of others are not meant, whatever else the query asks for."""
    single: bool = False
    """PromQL of the user's: it must answer one series, or of a gauge at least one."""
    namespace: str = ""
    """Only series of this one are meant, where the query cannot say so."""
    wider: str = ""
    """PromQL for more than this, where that was asked in its place."""

    @property
    def asked(self) -> str:
        """The query that is answered."""
        return self.wider or self.text

    def family(self, series: Series) -> Family | None:
        """By which of the names a series counts; None where it is not meant."""
        return self._by_name.get((series.labels.get("__name__"), series.cells is not None))

    @cached_property
    def _by_name(self) -> Mapping[tuple[str | None, bool], Family]:
        """By name, and whether they are native; of series that have no name the first."""
        nameless: dict[tuple[str | None, bool], Family] = {
            (None, family.native): family for family in reversed(self.families)
        }
        return {**nameless, **{(family.name, family.native): family for family in self.families}}


@dataclass(frozen=True)
class Reply:
    """A question, and what of the answers is meant by it."""

    question: Question
    answer: Answer

    @property
    def series(self) -> tuple[Series, ...]:
        """The series of the answer; none where there is no answer."""
        return () if isinstance(self.answer, Missing) else self.answer


@dataclass(frozen=True)
class Trouble:
    """Why an answer cannot be used."""

    reason: Reason
    message: str


def meant(question: Question, answers: Mapping[str, Answer]) -> Answer:
    """What answers the question: of a query for more than it asks, its own series."""
    answer = answers.get(question.asked, Missing("it was not asked"))
    if isinstance(answer, Missing) or not (question.families or question.namespace):
        return answer
    return tuple([one for one in answer if _is_meant(question, one)])


def replies(asked: Sequence[Question], answers: Mapping[str, Answer]) -> tuple[Reply, ...]:
    """What answers each of the questions."""
    return tuple(Reply(question, meant(question, answers)) for question in asked)


def _is_meant(question: Question, series: Series) -> bool:
    if question.families and question.family(series) is None:
        return False
    if not question.namespace:
        return True
    return series.labels.get("exported_namespace", series.labels.get("namespace")) == question.namespace


def columned(reply: Reply) -> Iterator[tuple[str, Series]]:
    """The series with the columns that they count in."""
    question = reply.question
    for series in reply.series:
        family = question.family(series) if question.reads in BY_LABELS else None
        if family is None:
            yield question.reads, series
        elif question.reads is Reads.Requests:
            yield Reads.To, series
            if presets.failed(series.labels, family.status_labels):
                yield Reads.Of, series
        elif series.cells is not None:
            for cell, samples in series.cells.items():
                yield in_seconds(cell, family.per_second), replace(series, samples=samples, cells=None)
        elif (le := series.labels.get("le")) is not None:
            yield str(presets.seconds(le, family.per_second)), series


def trouble(reply: Reply) -> Trouble | None:
    """Why the answer cannot be used. No series is none here: it takes both arms to tell."""
    question, answer = reply.question, reply.answer
    if isinstance(answer, Missing):
        return _untold(question, answer)
    if question.single and question.reads is not Reads.Level and len(answer) > 1:
        some = " and ".join(_labels(series) for series in answer[:2])
        what = f"{question.text}: {len(answer)} series, such as {some}: sum them, so that it answers one"
        return Trouble(Reason.SeveralSeries, what)
    if question.reads not in BY_LABELS and any(one.cells is not None for one in answer):
        way = _NUMBERS[question.reads is Reads.Level]
        return Trouble(Reason.QueryFailed, f"{question.text}: native histograms, where a number is needed: {way}")
    if question.reads is Reads.Requests and answer and not _tell_failures(question, answer):
        labels = " or ".join(dict.fromkeys(label for family in question.families for label in family.status_labels))
        return Trouble(Reason.NoSeries, f"{question.text}: the series have no label {labels} to tell failed requests")
    return None


_NUMBERS = (
    "give PromQL that counts them, such as histogram_count(sum(NAME{…})), or the preset Latency",
    "give PromQL that makes one of them, such as histogram_avg(sum(rate(NAME{…}[5m])))",
)
"""What to do about histograms where counters are wanted, or levels."""


def missing(question: Question, answers: Mapping[str, Answer]) -> Trouble | None:
    answer = answers.get(question.asked, Missing("it was not asked"))
    return _untold(question, answer) if isinstance(answer, Missing) else None


def _untold(question: Question, missing: Missing) -> Trouble:
    return Trouble(Reason.QueryFailed, f"{question.text}: {missing.why}")


def _tell_failures(question: Question, answer: tuple[Series, ...]) -> bool:
    return any(
        family is not None and any(label in series.labels for label in family.status_labels)
        for series in answer
        for family in (question.family(series),)
    )


def _labels(series: Series) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(series.labels.items())) + "}"


def unanswered(question: Question) -> Trouble:
    """Nothing was answered where something must be."""
    return Trouble(Reason.NoSeries, f"no series {question.text}: {question.remedy}")
