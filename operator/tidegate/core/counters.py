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
from base64 import urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

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
        """As JSON: whether it was answered; the columns; the newest time, in milliseconds since ``origin``; then the
        keys of the sources, how many milliseconds older than that each is, and its counters, for as many sources as
        counters are kept of; and without counters the others.

        ``origin`` is in whole milliseconds, as the times of Prometheus are: so times come back exactly.
        """
        columns = sorted({column for mark in self.marks.values() for column in mark.counters or ()})
        newest = max([round(mark.at * 1000) for mark in self.marks.values()], default=origin)
        room = (_MAX_COUNTERS - sum(map(is_cell, columns))) // max(1, len(columns))
        columns = columns if room > 0 else []
        full: list[str] = []
        bare: list[str] = []
        counters: list[float] = []
        ages: list[int] = []
        for key, mark in sorted(self.marks.items()):
            age = newest - round(mark.at * 1000)
            if mark.counters is not None and len(full) < room:
                full.append(key)
                counters += [age, *[_short(mark.counters.get(column, 0.0)) for column in columns]]
            else:
                bare.append(key)
                ages.append(age)
        return [int(self.answered), columns, newest - origin, " ".join(full), counters, " ".join(bare), ages]

    @staticmethod
    def load(data: list[Any], origin: int) -> Ledger:
        """The inverse of ``dump``."""
        answered, columns, newest, full, counters, bare, ages = data
        newest += origin
        wide = 1 + len(columns)
        marks = {
            key: Mark((newest - counters[at]) / 1000, dict(zip(columns, counters[at + 1 : at + wide], strict=True)))
            for key, at in zip(full.split(), range(0, len(counters), wide), strict=True)
        }
        others = {key: Mark((newest - age) / 1000, None) for key, age in zip(bare.split(), ages, strict=True)}
        return Ledger({**marks, **others}, bool(answered))


def _short(value: float) -> float:
    """A counter as JSON likes it: whole numbers without a point."""
    return int(value) if value == int(value) else value


@dataclass(frozen=True)
class Counted:
    """What a look found: the growth of every source that was sampled anew, and the ledger for the next look."""

    growths: Mapping[str, Growth]
    """By their keys."""
    before: tuple[Growth, ...]
    """Of every source that was not counted before: its counters as they were before this growth."""
    ledger: Ledger


def sources(columned: Iterable[tuple[str, Series]]) -> dict[str, list[tuple[str, Series]]]:
    """Series with their columns, by source. A counter that was scraped by two scrapers is taken once."""
    found: dict[str, list[tuple[str, Series]]] = {}
    scraped_by: dict[str, Scraper] = {}
    several: set[str] = set()
    last: Series | None = None
    key, scraper = "", _scraper({})
    for column, one in columned:
        if one.samples:
            if one is not last:  # a series may count in several columns, one after the other
                key, scraper, last = _key(one.labels), _scraper(one.labels), one
            if key not in found:
                found[key], scraped_by[key] = [(column, one)], scraper
                continue
            found[key].append((column, one))
            if scraper != scraped_by[key]:
                several.add(key)
    return {key: _once(its) if key in several else its for key, its in found.items()}


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


def _scraper(labels: Mapping[str, str]) -> Scraper:
    return tuple(map(labels.get, _SCRAPER_LABELS))


def _once(series: Sequence[tuple[str, Series]]) -> list[tuple[str, Series]]:
    """Of a source that has several scrapers, each counter once: of one that is at work, and always of the same."""
    stopped = _stopped(one for _, one in series)
    taken: dict[tuple[str, frozenset[tuple[str, str]]], Series] = {}
    for column, one in sorted(
        series, key=lambda item: (item[0], _scraper(item[1].labels) in stopped, sorted(item[1].labels.items()))
    ):
        identity = frozenset(pair for pair in one.labels.items() if pair[0] not in _OF_SCRAPERS)
        taken.setdefault((column, identity), one)
    return [(column, one) for (column, _), one in taken.items()]


def _stopped(series: Iterable[Series]) -> set[Scraper]:
    """Of a source's scrapers, those that are behind another."""
    newest: dict[Scraper, tuple[float, float]] = {}
    for one in series:
        samples, scraper = one.samples, _scraper(one.labels)
        last = samples[-1][0], samples[-1][0] - samples[-2][0] if len(samples) > 1 else 0.0
        newest[scraper] = max(newest.get(scraper, last), last)
    latest = max(at for at, _ in newest.values())
    return {scraper for scraper, (at, period) in newest.items() if period and latest - at > _BEHIND * period}


def _key(labels: Mapping[str, str]) -> str:
    """A short stable name of a series' source."""
    return _named(*map(labels.get, _SOURCE_LABELS))


@lru_cache(4096)
def _named(*labels: str | None) -> str:
    if not any(label is not None for label in labels):
        return _AGGREGATE
    text = "\0".join(label or "" for label in labels)
    # Six characters: the journal has two arms' worth of them.
    return urlsafe_b64encode(zlib.crc32(text.encode()).to_bytes(4)).decode().rstrip("=")


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
        series = _continuing(present[key], mark)
        if not series:
            continue
        walk = _Walk(series, sums=key == _AGGREGATE)
        if mark is None:
            # Where there are more than are read, one that is read in place of another may have been there all along.
            unread_before = len(ledger.marks) >= MOST_SOURCES
            newborn = born_at_zero and not unread_before if walk.born is None else walk.born >= opens
            growths[key], start = walk.from_the_start(opens, born_at_zero=newborn)
            before.append(start)
        else:
            growths[key] = walk.since(mark, opens)
        marks[key] = walk.end()
    return Counted(growths, tuple(before), Ledger(_remembered(marks), answered=True))


def _continuing(series: Sequence[tuple[str, Series]], mark: Mark | None) -> Sequence[tuple[str, Series]]:
    """The samples by which a source is counted on. Of another scraper than before, those that are surely later."""
    if mark is None or _has(series, mark.at) or all(one.samples[0][0] > mark.at for _, one in series):
        return series
    later = (
        (column, replace(one, samples=tuple(sample for sample in one.samples if sample[0] > mark.at + _APART)))
        for column, one in series
    )
    return tuple((column, one) for column, one in later if one.samples)


def _has(series: Sequence[tuple[str, Series]], at: float) -> bool:
    """Whether a sample is of that time."""
    for _, one in series:
        many = _until(one.samples, at + _SAME)
        if many and one.samples[many - 1][0] > at - _SAME:
            return True
    return False


def _until(samples: tuple[Sample, ...], at: float) -> int:
    """How many samples there are up to a time."""
    return bisect_right(samples, (at, math.inf))


def _value(samples: tuple[Sample, ...], at: float) -> float:
    """The last value up to a time; 0 before the first."""
    many = _until(samples, at)
    return samples[many - 1][1] if many else 0.0


def _remembered(marks: Mapping[str, Mark]) -> dict[str, Mark]:
    """The marks worth keeping: of sources seen lately, and no more than are read."""
    newest = max((mark.at for mark in marks.values()), default=0.0)
    alive = {key: mark for key, mark in marks.items() if newest - mark.at <= _FORGET_AFTER}
    if len(alive) <= MOST_SOURCES:
        return alive
    return dict(sorted(alive.items(), key=lambda item: (-item[1].at, item[0]))[:MOST_SOURCES])


class _Walk:
    """A way through the samples of one source."""

    def __init__(self, series: Sequence[tuple[str, Series]], *, sums: bool) -> None:
        """``sums``: the counters are sums over processes: one that shrank has lost some, and what grew meanwhile is not
        known."""
        self.born = series[0][1].born
        self._samples = [(column, one.samples) for column, one in series]
        self._sums = sums
        self._first = min([samples[0][0] for _, samples in self._samples])
        self._newest = max([samples[-1][0] for _, samples in self._samples])

    def end(self) -> Mark:
        """Up to when it is counted, and the counters then."""
        return Mark(self._newest, self._counters_at(self._newest))

    def _counters_at(self, at: float) -> dict[str, float]:
        """Per column, the counters as last sampled up to ``at``. Series that ended before are gone."""
        counters: dict[str, float] = {}
        for column, samples in self._samples:
            last, value = samples[-1]
            if last != at:
                value = _value(samples, at) if last > at else 0.0
            counters[column] = counters.get(column, 0.0) + value
        return counters

    def from_the_start(self, opens: float, *, born_at_zero: bool) -> tuple[Growth, Growth]:
        """What grew after ``opens`` in a source that was not counted before; and the counters as they were there."""
        base = max(opens, self._first)
        start = self._counters_at(min(base, self._newest))  # before ``opens``: as they are
        grown = self._after(base)
        if self._first > opens and born_at_zero:
            return _added(start, grown), dict.fromkeys(start, 0.0)
        return grown, start

    def since(self, mark: Mark, opens: float) -> Growth:
        """What grew after the mark or ``opens``, whichever is later."""
        since = max(opens, mark.at)
        if self._first <= since:
            return self._after(since)
        # The window does not reach back: the counters alone tell what happened between.
        grown = self._after(self._first)
        if mark.counters is None or mark.at < opens:
            return grown
        return _added(self._across(mark.counters, self._counters_at(self._first)), grown)

    def _across(self, then: Growth, now: Growth) -> Growth:
        """What grew between two samples with a gap between them. A process that counts less has started anew."""
        then = {column: held(then, column) for column in now}
        if any(value < then[column] for column, value in now.items()):
            return dict.fromkeys(now, 0.0) if self._sums else now
        return {column: value - then[column] for column, value in now.items()}

    def _after(self, base: float) -> Growth:
        """What the counters grew by after ``base``."""
        grown, fell = self._risen(base)
        if fell and (anew := self._begins_anew()):
            grown, _ = self._risen(base, anew)
        return grown

    def _risen(self, base: float, anew: Collection[float] = ()) -> tuple[dict[str, float], bool]:
        """The same: of each from its last value until then, else, born later, from zero; and whether any ever fell."""
        grown: dict[str, float] = {}
        fell = False
        for column, samples in self._samples:
            risen, many = grown.get(column, 0.0), _until(samples, base)
            before, last = samples[many - 1] if many else (-math.inf, 0.0)
            for when, value in samples[many:]:
                # One that is not exposed until it counts something may be back long after the process.
                if value < last or (anew and any(before < at <= when for at in anew)):
                    fell = True
                    risen += 0.0 if self._sums else value
                else:
                    risen += value - last
                before, last = when, value
            grown[column] = risen
        return grown, fell

    def _begins_anew(self) -> frozenset[float]:
        """When the process was started again: most of what it had counted is gone, in all of its counters at once.

        One of them alone may well show as much as before by the time of the next scrape.
        """
        fell = {when for _, its in self._samples for (_, was), (when, value) in pairwise(its) if value < was}
        return frozenset(at for at in fell if not self._sums and 2 * self._sum(at) < self._sum(math.nextafter(at, 0)))

    def _sum(self, at: float) -> float:
        return sum(_value(samples, at) for _, samples in self._samples)


def _added(growth: Growth, more: Growth) -> Growth:
    return {column: value + more[column] for column, value in growth.items()}


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
