"""From raw counter samples to what the counters grew by, exactly.

Never ``increase()`` or ``rate()``: they extrapolate, and they miss the first errors of a series that is born with
them. The raw samples of a time window are read instead, and every sample is counted once, whatever the looks overlap
or miss.

A *source* is one scraped process, such as a pod or an instance of the router; its series are born, reset and scraped
together. A *column* is what the series of a source are summed by: a role such as ``of``, or a bucket's ``le``. A
ledger remembers, per source, up to when its samples were counted, and its counters there.

Several replicas of Prometheus scrape the same counters at other times. Their samples are never mixed: scrapes overlap,
so that one which is later by its time may show less. Where a ledger goes on from another replica, behind one address or
after an outage, the counters tell what lies between.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from tidegate.core.cells import held, is_cell

Sample = tuple[float, float]
"""(Unix time in seconds, value)."""

Growth = Mapping[str, float]
"""Per column: what the counters of one source grew by."""


@dataclass(frozen=True)
class Series:
    """One time series of an answer, its samples in the order of time."""

    labels: Mapping[str, str]
    samples: tuple[Sample, ...]
    born: float | None = None
    """When its process came to be, where that is known."""
    cells: Mapping[str, tuple[Sample, ...]] | None = None
    """Of a native histogram, what each of its cells counted (``core.cells``): ``samples`` are of all together."""


@dataclass(frozen=True)
class Missing:
    """No answer, or none to be used, and why: a text for people, the same as long as the cause is the same."""

    why: str


@dataclass(frozen=True)
class RouterSeries:
    """The names of a router's series, and which of them are whose."""

    requests: str
    """The counter of requests."""
    code_label: str
    """Its label with the HTTP status."""
    bucket: str
    """The classic histogram of request durations, with ``_bucket``."""
    label: str
    """The label that tells where a request went."""
    stable: str
    """A regular expression of its values, for the requests that went to stable."""
    candidate: str
    """The same for the candidate."""
    candidate_label: str = ""
    """The label that tells the candidate's requests, where it is another one."""
    matchers: tuple[str, ...] = ()
    """PromQL's that go with both."""
    stable_matchers: tuple[str, ...] = ()
    """PromQL's that go with stable's."""
    grpc_label: str = ""
    """Its label with the status of gRPC; empty where it does not tell which calls failed."""
    per_second: float = 1.0
    """How many of the histogram's units are a second."""
    namespace: str = ""
    """Only series of this namespace are meant, where no matcher can say so."""
    remedy: str = "does Prometheus scrape the router?"
    """What to look at where it has no series."""
    sure: bool = True
    """It is known to count; where it only should, the pods' own counters stand in for one that Prometheus has not."""

    late: bool = False
    """Its series of both are born with the first requests of the release: that there are none yet tells nothing."""

    @property
    def of_stable(self) -> str:
        """PromQL's matchers for stable's series."""
        return ",".join((f'{self.label}=~"{self.stable}"', *self.stable_matchers, *self.matchers))

    @property
    def of_candidate(self) -> str:
        """The same for the candidate's."""
        return ",".join((f'{self.candidate_label or self.label}=~"{self.candidate}"', *self.matchers))


@dataclass(frozen=True)
class Uncounted:
    """A router that is known not to count the requests of each revision, and why."""

    why: str


def joined(several: Sequence[RouterSeries]) -> RouterSeries | None:
    """Those of several routers as one; None where they do not count by the same names."""
    if len({replace(one, stable="", candidate="") for one in several}) != 1:
        return None
    return replace(
        several[0],
        stable=_either(one.stable for one in several),
        candidate=_either(one.candidate for one in several),
    )


def _either(values: Iterable[str]) -> str:
    return "|".join(dict.fromkeys(values))


class Partly(tuple[Series, ...]):
    """An answer that lacks what some sources would have told."""

    lacks: str
    """Which, and why: a text for people, like that of ``Missing``."""

    @staticmethod
    def of(series: Iterable[Series], lacks: str) -> Partly:
        """These series, and what is not among them."""
        made = Partly(series)
        made.lacks = lacks
        return made


Answer = tuple[Series, ...] | Missing
"""What a query was answered; no series at all is an answer too."""

_SOURCE_LABELS = ("cluster", "namespace", "pod", "instance")
_AGGREGATE = "sum"
"""The source of series that name none: a sum over processes, made by a query."""
_SCRAPER_LABELS = ("job", "endpoint", "prometheus", "prometheus_replica", "replica", "__replica__", "monitor")
_OF_SCRAPERS = frozenset(_SCRAPER_LABELS)
_BEHIND = 3
"""A scraper that has no sample for so many of its periods has stopped: another is read, if there is one."""
_SAME = 0.0005
"""Seconds: times of samples are in milliseconds."""
_APART = 1.0
"""Seconds between samples of two scrapers, from which on the later one shows no less than the earlier."""

MOST_SOURCES = 32
"""Sources of one arm that are read. Of more, a fixed sample: enough for the statistics, and the journal is
bounded."""
_MAX_COUNTERS = 64
"""Counters of one arm that the journal keeps, with the names of cells. Sources beyond have their time only: they lose
a gap's growth."""
_FORGET_AFTER = 3600.0
"""Seconds after which a source that is gone is forgotten."""


@dataclass(frozen=True)
class Mark:
    """Up to when a source was counted (Unix seconds), and its counters at that time, if kept."""

    at: float
    counters: Mapping[str, float] | None


@dataclass(frozen=True)
class Ledger:
    """What was counted of one arm's sources, by their keys."""

    marks: Mapping[str, Mark] = field(default_factory=dict)
    answered: bool = False
    """Whether the arm's queries were ever answered: from then on, a source not seen before is a new process."""

    @property
    def newest(self) -> float:
        """Up to when anything was counted, in Unix seconds."""
        return max((mark.at for mark in self.marks.values()), default=-math.inf)

    def dump(self, origin: int) -> list[object]:
        """As JSON: [answered, columns, {key: [milliseconds since ``origin``, counter, …]}]; without counters the time
        alone.

        ``origin`` is in whole milliseconds, as the times of Prometheus are: so times come back exactly.
        """
        columns = sorted({column for mark in self.marks.values() for column in mark.counters or ()})
        rows: dict[str, list[float] | int] = {}
        room = _MAX_COUNTERS - sum(map(is_cell, columns))
        columns = columns if room >= len(columns) else []
        for key, mark in sorted(self.marks.items()):
            room -= len(columns)
            kept = mark.counters is not None and room >= 0
            counters = [_short((mark.counters or {}).get(column, 0.0)) for column in columns] if kept else []
            at = round(mark.at * 1000) - origin
            rows[key] = [at, *counters] if counters else at
        return [int(self.answered), columns, rows]

    @staticmethod
    def load(data: list[object], origin: int) -> Ledger:
        """The inverse of ``dump``."""
        answered, columns, rows = data
        assert isinstance(columns, list)
        assert isinstance(rows, dict)
        marks = {
            key: Mark((origin + row) / 1000, None)
            if isinstance(row, int)
            else Mark((origin + row[0]) / 1000, dict(zip(columns, row[1:], strict=True)))
            for key, row in rows.items()
        }
        return Ledger(marks, bool(answered))


def _short(value: float) -> float:
    """A counter as JSON likes it: whole numbers without a point."""
    return int(value) if value == int(value) else value


@dataclass(frozen=True)
class Counted:
    """What a look found: the growth of every source that was sampled anew, and the ledger for the next look."""

    growths: Mapping[str, Growth]
    """By their keys."""
    before: tuple[Growth, ...]
    """The counters of every source as they were before this growth."""
    ledger: Ledger


def sources(columned: Iterable[tuple[str, Series]]) -> dict[str, list[tuple[str, Series]]]:
    """Series with their columns, by source. A counter that was scraped by two scrapers is taken once."""
    rows = [_Row(column, _key(one.labels), _scraper(one.labels), one) for column, one in columned if one.samples]
    stopped = _stopped(rows)
    found: dict[str, list[tuple[str, Series]]] = {}
    taken: set[tuple[str, frozenset[tuple[str, str]]]] = set()
    # Those of a scraper that is at work first, and always in the same order.
    for row in sorted(rows, key=lambda row: (row.column, row[1:3] in stopped, sorted(row.series.labels.items()))):
        identity = frozenset(pair for pair in row.series.labels.items() if pair[0] not in _OF_SCRAPERS)
        if (row.column, identity) not in taken:
            taken.add((row.column, identity))
            found.setdefault(row.source, []).append((row.column, row.series))
    return found


Columned = Sequence[tuple[str, Series]]


def evened(answers: Sequence[tuple[bool, Columned]]) -> list[tuple[str, Series]]:
    """The series of several answers to one look, as if they were one answer: they are milliseconds apart, and what is
    of the same source would else be counted up to where the later one goes.

    True: an answer by PromQL, whose samples are of the time when it was worked out.
    """
    if len(answers) < 2:
        return [pair for _, answer in answers for pair in answer]
    now = max((one.samples[-1][0] for by_promql, answer in answers if by_promql for _, one in answer), default=0.0)
    found = [
        (column, replace(one, samples=((now, one.samples[0][1]),)) if by_promql and len(one.samples) == 1 else one)
        for by_promql, answer in answers
        for column, one in answer
    ]
    late = _not_everywhere([answer for by_promql, answer in answers if not by_promql])
    cut = ((column, _before(one, late.get(_key(one.labels), math.inf))) for column, one in found)
    return [(column, one) for column, one in cut if one.samples]


def _not_everywhere(answers: Sequence[Columned]) -> dict[str, float]:
    """By source, when it was scraped between two answers: that scrape is in the later one alone, and can wait."""
    times: dict[str, list[set[float]]] = {}
    for answer in answers:
        of_answer: dict[str, set[float]] = {}
        for _, one in answer:
            of_answer.setdefault(_key(one.labels), set()).update(at for at, _ in one.samples)
        for key, its in of_answer.items():
            if its:
                times.setdefault(key, []).append(its)
    late = {}
    for key, several in times.items():
        common, newest = min(map(max, several)), max(map(max, several))
        # A counter that is exposed no more is further behind from the next scrape on.
        if not any(common < at < newest for its in several for at in its):
            late[key] = newest if newest > common else math.inf
    return late


def _before(series: Series, end: float) -> Series:
    if not series.samples or series.samples[-1][0] < end:
        return series
    return replace(series, samples=tuple(sample for sample in series.samples if sample[0] < end))


Scraper = tuple[str | None, ...]


class _Row(NamedTuple):
    column: str
    source: str
    scraper: Scraper
    series: Series


def _scraper(labels: Mapping[str, str]) -> Scraper:
    return tuple(map(labels.get, _SCRAPER_LABELS))


def _stopped(rows: Sequence[_Row]) -> set[tuple[str, Scraper]]:
    """The scrapers of a source that are behind another of it."""
    newest: dict[str, dict[Scraper, tuple[float, float]]] = {}
    if len({row.source for row in rows}) == len({row[1:3] for row in rows}):
        return set()  # each has one, as it mostly is
    for row in rows:
        samples = row.series.samples
        last = samples[-1][0], samples[-1][0] - samples[-2][0] if len(samples) > 1 else 0.0
        of_source = newest.setdefault(row.source, {})
        of_source[row.scraper] = max(of_source.get(row.scraper, last), last)
    return {
        (source, scraper)
        for source, scrapers in newest.items()
        for scraper, (at, period) in scrapers.items()
        if period and max(scrapers.values())[0] - at > _BEHIND * period
    }


def _key(labels: Mapping[str, str]) -> str:
    """A short stable name of a series' source."""
    return _named(*map(labels.get, _SOURCE_LABELS))


@lru_cache(4096)
def _named(*labels: str | None) -> str:
    if not any(label is not None for label in labels):
        return _AGGREGATE
    text = "\0".join(label or "" for label in labels)
    return f"{zlib.crc32(text.encode()):08x}"


def count(ledger: Ledger, columned: Iterable[tuple[str, Series]], *, opens: float, born_at_zero: bool) -> Counted:
    """Count what grew after ``opens`` (Unix seconds) and was not counted yet.

    ``born_at_zero`` says whether a source without a mark and without a sample up to ``opens`` is a process that was
    born since, so that all its counters show counts; of one whose birth is known, that is known. Otherwise counting
    begins at its first sample. Growth up to ``opens`` is never counted.
    """
    present = sources(columned)
    tracked = [key for key in sorted(present) if key in ledger.marks]
    unseen = [key for key in sorted(present) if key not in ledger.marks]
    marks = dict(ledger.marks)
    growths, before = {}, []
    for key in (*tracked, *unseen)[:MOST_SOURCES]:
        mark = ledger.marks.get(key)
        walk = _Walk(_continuing(present[key], mark), sums=key == _AGGREGATE)
        if not walk.series:
            continue
        # Where there are more than are read, one that is read in place of another may have been there all along.
        unread_before = len(ledger.marks) >= MOST_SOURCES
        newborn = born_at_zero and not unread_before if walk.born is None else walk.born >= opens
        growth, start = walk.since(mark, opens, born_at_zero=newborn)
        growths[key] = growth
        before.append(start)
        marks[key] = Mark(walk.newest, walk.counters_at(walk.newest))
    return Counted(growths, tuple(before), Ledger(_remembered(marks), answered=True))


def _continuing(series: Sequence[tuple[str, Series]], mark: Mark | None) -> tuple[tuple[str, Series], ...]:
    """The samples by which a source is counted on. Of another scraper than before, those that are surely later."""
    if mark is None:
        return tuple(series)
    same = any(abs(at - mark.at) < _SAME for _, one in series for at, _ in one.samples)
    if same or all(one.samples[0][0] > mark.at for _, one in series):
        return tuple(series)
    later = (
        (column, replace(one, samples=tuple(sample for sample in one.samples if sample[0] > mark.at + _APART)))
        for column, one in series
    )
    return tuple((column, one) for column, one in later if one.samples)


def _remembered(marks: Mapping[str, Mark]) -> dict[str, Mark]:
    """The marks worth keeping: of sources seen lately, and no more than are read."""
    newest = max((mark.at for mark in marks.values()), default=0.0)
    alive = [item for item in marks.items() if newest - item[1].at <= _FORGET_AFTER]
    return dict(sorted(alive, key=lambda item: (-item[1].at, item[0]))[:MOST_SOURCES])


@dataclass(frozen=True)
class _Walk:
    """A way through the samples of one source."""

    series: tuple[tuple[str, Series], ...]
    sums: bool
    """The counters are sums over processes: one that shrank has lost some, and what grew meanwhile is not known."""

    @property
    def born(self) -> float | None:
        return self.series[0][1].born

    @property
    def newest(self) -> float:
        return max(one.samples[-1][0] for _, one in self.series)

    def counters_at(self, at: float) -> dict[str, float]:
        """Per column, the counters as last sampled up to ``at``. Series that ended before are gone."""
        counters = dict.fromkeys((column for column, _ in self.series), 0.0)
        for column, one in self.series:
            if one.samples[-1][0] >= at:
                counters[column] += next((value for when, value in reversed(one.samples) if when <= at), 0.0)
        return counters

    def since(self, mark: Mark | None, opens: float, *, born_at_zero: bool) -> tuple[Growth, Growth]:
        """What grew since the mark or ``opens``, whichever is later; and the counters as they were there."""
        since = opens if mark is None else max(opens, mark.at)
        first = min(one.samples[0][0] for _, one in self.series)
        base = max(since, first)
        grown = dict.fromkeys((column for column, _ in self.series), 0.0)
        start = self.counters_at(min(base, self.newest))  # before ``opens``: as they are
        if first > since:  # the window does not reach back: the counters alone tell what happened between
            if mark is None:
                grown = start if born_at_zero else grown
            elif mark.counters is not None and mark.at >= opens:
                grown = self._across(mark.counters, start)
            start = {column: value - grown[column] for column, value in start.items()}
        after = [(column, self._after(one.samples, base)) for column, one in self.series]
        if any(fell for _, (_, fell) in after) and (anew := self._begins_anew()):
            after = [(column, self._after(one.samples, base, anew)) for column, one in self.series]
        return _added(grown, ((column, more) for column, (more, _) in after)), start

    def _across(self, then: Growth, now: Growth) -> dict[str, float]:
        """What grew between two samples with a gap between them. A process that counts less has started anew."""
        then = {column: held(then, column) for column in now}
        if any(value < then[column] for column, value in now.items()):
            return dict.fromkeys(now, 0.0) if self.sums else dict(now)
        return {column: value - then[column] for column, value in now.items()}

    def _begins_anew(self) -> frozenset[float]:
        """When the process was started again: most of what it had counted is gone, in all of its counters at once.

        One of them alone may well show as much as before by the time of the next scrape.
        """
        fell = {when for _, one in self.series for (_, was), (when, value) in pairwise(one.samples) if value < was}
        return frozenset(at for at in fell if not self.sums and 2 * self._sum(at) < self._sum(math.nextafter(at, 0)))

    def _sum(self, at: float) -> float:
        return sum(next((value for when, value in reversed(one.samples) if when <= at), 0.0) for _, one in self.series)

    def _after(self, samples: tuple[Sample, ...], base: float, anew: Collection[float] = ()) -> tuple[float, bool]:
        """What one counter grew by after ``base``: from its last value until then, else, born later, from zero; and
        whether it ever fell."""
        last, before, grown, fell = 0.0, -math.inf, 0.0, False
        for when, value in samples:
            if when > base:
                # One that is not exposed until it counts something may be back long after the process.
                if value < last or any(before < at <= when for at in anew):
                    fell = True
                    grown += 0.0 if self.sums else value
                else:
                    grown += value - last
            last, before = value, when
        return grown, fell


def _added(growth: Growth, more: Iterable[tuple[str, float]]) -> dict[str, float]:
    total = dict(growth)
    for column, value in more:
        total[column] += value
    return total


def scrape_period(answers: Iterable[Answer]) -> float | None:
    """The shortest time between the last two samples of a series, in seconds: how often counters are scraped."""
    gaps = [
        series.samples[-1][0] - series.samples[-2][0]
        for answer in answers
        if not isinstance(answer, Missing)
        for series in answer
        if len(series.samples) > 1
    ]
    return min((gap for gap in gaps if gap > 0.2), default=None)
