"""Pods read by the operator itself, and remembered: a small time series database of the releases that want it.

Of each pod some last readings are kept, so that a look that is lost loses nothing. Another operator has none: it goes
by the counters that stand in the status, as after any gap.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tidegate.core.counters import Answer, Missing, Partly, Sample, Series
from tidegate.core.exposition import Key, Malformed, Wanted
from tidegate.core.questions import TOLD_BY
from tidegate.core.scraping import Target
from tidegate.core.selector import NAME, Selector, parse
from tidegate.ports.clock import Clock
from tidegate.ports.metrics import PodReader

MOST_PODS = 32
"""Pods of an arm that are read. Of more, always the same ones: enough for the statistics."""
MOST = 64
"""Pods that are read at once, of all releases."""
MOST_OF_ONE = 16
"""The same of one release: its pods may all hang, and others' answer."""
ROUND = 1.0
"""Seconds that the pods of a release may take together. Those that could not be read last are the last to be."""
KEPT = 5
"""Readings of a pod that are remembered."""
MOST_COUNTERS = 1000
"""Of a pod, by the labels that are gone by."""

_OURS = ("namespace", "pod")
"""Labels that are ours to give, as they are Prometheus'."""
_SOUGHT = 16
"""Combinations of names that are kept in mind."""
_REMEDY = (
    "is the port right (annotation prometheus.io/port), does a NetworkPolicy let the operator in, and does a service"
    " mesh ask for mTLS there?"
)


@dataclass
class _Counter:
    """One of a pod's, with its last values."""

    value: float
    lines: int
    lost: float = 0.0
    """What those of its lines had counted that are gone: a sum shrinks with them, and no process began anew."""
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=KEPT))


@dataclass
class _Pod:
    """What is remembered of a pod."""

    target: Target
    error: str = ""
    """Why it could not be read the last time."""
    unseen: int = 0
    """Rounds since it was there."""
    at: float = 0.0
    """When it was last read (Unix seconds)."""
    began: datetime | None = None
    """When its containers had begun by then."""
    counters: dict[Key, _Counter] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    """Which were looked for then."""

    def take(self, at: float, names: frozenset[str], sums: Mapping[Key, tuple[float, int]]) -> None:
        """A reading, of counters of these names. Times only grow."""
        self.error = ""
        if at <= self.at:
            return
        anew, before = self.began != self.target.began, self.at
        self.at, self.began = at, self.target.began
        for key, (value, lines) in sums.items():
            known = self.counters.get(key)
            if known is None:
                known = self.counters[key] = _Counter(value, lines)
                if before and dict(key)[NAME] in self.names:
                    # Many are born with what they count first: at the last reading it was none.
                    known.samples.append((before, 0.0))
            elif value < known.value:
                known.lost = 0.0 if anew or lines >= known.lines else known.lost + known.value - value
            known.value, known.lines = value, lines
            known.samples.append((at, value + known.lost))
        self.names = names


@dataclass
class _Watch:
    """The pods of a release."""

    pods: dict[str, _Pod] = field(default_factory=dict)
    """By their uids."""
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_OF_ONE))


class Scrapes:
    """Reads pods and remembers them, by the uid of their release."""

    def __init__(self, reader: PodReader, clock: Clock) -> None:
        self._reader, self._clock = reader, clock
        self._watches: dict[str, _Watch] = {}
        self._wanted: dict[frozenset[str], Wanted] = {}
        self._room = asyncio.Semaphore(MOST)

    def of(self, release: str, namespace: str, pods: Sequence[Target]) -> PodSource:
        """A ``MetricSource`` of these pods, which are of a release."""
        return PodSource(self, release, namespace, sampled(pods))

    def now(self) -> float:
        """Unix seconds, in whole milliseconds: as statuses keep them."""
        return round(self._clock.now().timestamp(), 3)

    def forget(self, release: str) -> None:
        """It wants nothing any more."""
        self._watches.pop(release, None)

    async def read(
        self, release: str, pods: Sequence[Target], selectors: Collection[Selector], at: float
    ) -> Iterable[_Pod]:
        """Read the pods; what is remembered of them, and of those that have just gone. ``at``: now, in Unix seconds."""
        watch = self._watches.setdefault(release, _Watch())
        here = {pod.uid: watch.pods.get(pod.uid) or _Pod(pod) for pod in pods}
        gone = {uid: pod for uid, pod in watch.pods.items() if uid not in here and pod.unseen < KEPT}
        watch.pods = {**here, **gone}
        for target in pods:
            here[target.uid].target, here[target.uid].unseen = target, 0
        for pod in gone.values():
            pod.unseen += 1
        wanted = self._sought(selectors)
        order = sorted(here.values(), key=lambda pod: bool(pod.error))
        tasks = [asyncio.create_task(self._take(watch, pod, wanted, at)) for pod in order]
        try:
            _, late = await asyncio.wait(tasks, timeout=ROUND) if tasks else (None, ())
        finally:
            for task in tasks:
                task.cancel()
        for pod, task in zip(order, tasks, strict=True):
            if task in late:
                pod.error = f"its turn did not come within {ROUND:g} s: others hang"
            else:
                task.result()
        return [*here.values(), *gone.values()]

    async def _take(self, watch: _Watch, pod: _Pod, wanted: Wanted, at: float) -> None:
        where = pod.target.exposed
        if not where.url:
            pod.error = where.why
            return
        async with watch.room, self._room:
            found = await self._reader.read(where.url)
        try:
            sums = {} if found.error else wanted.read(found.text)
        except Malformed as error:
            pod.error = str(error)
            return
        if found.error:
            pod.error = found.error
        elif len({*pod.counters, *sums}) > MOST_COUNTERS:
            pod.error = f"more than {MOST_COUNTERS} counters of the names that are asked for"
        else:
            pod.take(at, wanted.names, sums)

    def _sought(self, selectors: Collection[Selector]) -> Wanted:
        names = frozenset(name for one in selectors for name in one.names)
        found = self._wanted.get(names)
        if found is None:
            if len(self._wanted) >= _SOUGHT:
                self._wanted.clear()
            # The same labels whatever is asked: counters go on from look to look, by them.
            found = self._wanted[names] = Wanted(names, TOLD_BY)
        return found


class PodSource:
    """The pods of a release as a ``MetricSource``: what range selectors ask for, and no other PromQL."""

    def __init__(self, scrapes: Scrapes, release: str, namespace: str, pods: Sequence[Target]) -> None:
        self._scrapes, self._release, self._namespace, self._pods = scrapes, release, namespace, pods

    async def fetch(self, queries: Collection[str], at: datetime | None = None) -> Mapping[str, Answer]:
        """See ``MetricSource``."""
        if at is not None:
            return dict.fromkeys(queries, Missing("pods tell what is now, and nothing of another time"))
        asked = {query: parse(query) for query in queries}
        selectors, now = [one for one in asked.values() if one], self._scrapes.now()
        known = tuple(await self._scrapes.read(self._release, self._pods, selectors, now))
        return {query: self._answer(selector, known, now) for query, selector in asked.items()}

    def _answer(self, selector: Selector | None, known: Collection[_Pod], now: float) -> Answer:
        if selector is None:
            return Missing("with source: Pods nobody works out PromQL: name counters, or set source: Prometheus")
        meant = [pod for pod in known if selector.fits(self._ours(pod.target), *_OURS)]
        here = [pod for pod in meant if not pod.unseen]
        unread = [pod for pod in here if pod.error and pod.target.due]
        series = tuple(one for pod in meant for one in self._series(selector, pod, now))
        if unread and all(pod.error for pod in here):
            return Missing(f"none of {_pods(len(unread))} can be read ({_told(unread[0])}): {_REMEDY}")
        if unread:
            return Partly.of(series, f"{len(unread)} of {_pods(len(here))} cannot be read ({_told(unread[0])})")
        return series

    def _series(self, selector: Selector, pod: _Pod, now: float) -> Iterator[Series]:
        ours, since = self._ours(pod.target), now - selector.window
        born = pod.target.created.timestamp() if pod.target.created else None
        for key, counter in pod.counters.items():
            labels = {**dict(key), **ours}
            if labels[NAME] not in selector.names or not selector.fits(labels):
                continue
            if samples := tuple(sample for sample in counter.samples if sample[0] > since):
                yield Series(labels, samples, born)

    def _ours(self, target: Target) -> dict[str, str]:
        return {"namespace": self._namespace, "pod": target.name}


def sampled(pods: Sequence[Target]) -> tuple[Target, ...]:
    """So many of each arm, and those there are for as long as they are there, whoever comes or goes."""
    arms: dict[str, list[Target]] = {}
    for pod in sorted(pods, key=lambda pod: zlib.crc32(pod.uid.encode())):
        arms.setdefault(pod.arm, []).append(pod)
    return tuple(pod for arm in arms.values() for pod in arm[:MOST_PODS])


def _pods(number: int) -> str:
    return f"{number} pods" if number != 1 else "1 pod"


def _told(pod: _Pod) -> str:
    url = pod.target.exposed.url
    return f"{pod.target.name}: {url}: {pod.error}" if url else f"{pod.target.name}: {pod.error}"
