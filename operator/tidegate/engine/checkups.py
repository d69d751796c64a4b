"""Pods are asked beside the loop: a decision goes by the answers that are there, and waits for none.

What is known is in memory only. Another operator asks anew: it knows within an interval whether pods pass, and counts
failures from one on.

Where more is to be asked than may be at once, questions stand in line, and each answer lets the next one begin. A pod's
answer stands until it is asked again, however long its release's line is: a thousand pods are known as well as ten.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from tidegate.core.asking import Reply, amiss
from tidegate.core.checks import Ask
from tidegate.core.observed import Checked
from tidegate.ports.clock import Clock
from tidegate.ports.prober import Prober

MOST = 64
"""Questions under way at once, of all releases."""
MOST_OF_ONE = 16
"""The same of one release: its pods may all hang, and others' answer."""
STALE = 3
"""Intervals after which an answer says nothing any more, where nobody wanted to know it meanwhile."""

Key = tuple[str, str]
"""Uid of a pod, name of a check."""


@dataclass
class _Kept:
    """A check of a pod: when it was last asked, and what is known."""

    ask: Ask
    began: float = -float("inf")
    task: asyncio.Task[Reply] | None = None
    known: Checked | None = None


@dataclass
class _Round:
    """The checks of a release's pods."""

    kept: dict[Key, _Kept] = field(default_factory=dict)
    line: deque[_Kept] = field(default_factory=deque)
    """Those that are due: whoever waits longest comes first."""
    busy: int = 0
    """Questions under way, with those that are wanted no more and have yet to end."""
    looked: float = -float("inf")


class Checkups:
    """Asks, each check of a pod at most once an interval, and remembers."""

    def __init__(self, prober: Prober, clock: Clock) -> None:
        self._prober, self._clock = prober, clock
        self._rounds: dict[str, _Round] = {}
        """By the release's uid."""

    def known(self, release: str) -> Mapping[tuple[str, str], Checked]:
        """What is known of a release's pods, by the names of pod and check."""
        found = self._rounds.get(release)
        kept = found.kept.values() if found else ()
        return {(one.ask.pod, one.ask.check.name): one.known for one in kept if one.known}

    def look(self, release: str, asks: Sequence[Ask]) -> Mapping[tuple[str, str], Checked]:
        """The same, with these being asked from now on, and no others."""
        now, round_ = self._clock.monotonic(), self._rounds.setdefault(release, _Round())
        wanted = {(ask.uid, ask.check.name): ask for ask in asks}
        for key, one in round_.kept.items():
            _ages(one, now, round_.looked)
            if wanted.get(key) != one.ask and one.task:
                one.task.cancel()
        round_.kept = {key: _the_same(round_.kept.get(key), ask) for key, ask in wanted.items()}
        due = [one for one in round_.kept.values() if one.task is None and now >= one.began + _every(one)]
        round_.line, round_.looked = deque(sorted(due, key=lambda one: one.began)), now
        self._begin()
        if not round_.kept and not round_.busy:
            del self._rounds[release]
        return self.known(release)

    def _begin(self) -> None:
        """Ask what is due, as long as there is room: of the release that has the least under way, its next."""
        busy = sum(round_.busy for round_ in self._rounds.values())
        while busy < MOST:
            able = [found for found in self._rounds.values() if found.line and found.busy < MOST_OF_ONE]
            if not able:
                return
            round_ = min(able, key=lambda found: found.busy)
            one = round_.line.popleft()
            one.began = self._clock.monotonic()
            one.task = asyncio.create_task(self._prober.ask(one.ask.call))
            one.task.add_done_callback(partial(self._hear, round_, one))
            round_.busy, busy = round_.busy + 1, busy + 1

    def _hear(self, round_: _Round, one: _Kept, task: asyncio.Task[Reply]) -> None:
        """Take in the answer, and let the next one be asked."""
        round_.busy, one.task = round_.busy - 1, None
        self._begin()
        if not task.cancelled():
            one.known = _counted(one.ask, task.result(), one.known)


def _every(one: _Kept) -> float:
    return one.ask.check.interval.total_seconds()


def _ages(one: _Kept, now: float, looked: float) -> None:
    """What was answered long ago is known no more, unless its turn has yet to come again."""
    lasts = STALE * _every(one) + one.ask.call.timeout
    if now > max(one.began, looked) + lasts:
        one.known = None


def _the_same(one: _Kept | None, ask: Ask) -> _Kept:
    """What is known of a check, unless another question is asked by it now."""
    return one if one is not None and one.ask == ask else _Kept(ask)


def _counted(ask: Ask, reply: Reply, before: Checked | None) -> Checked:
    wrong = amiss(ask.check.http.expect, reply)
    if not wrong:
        return Checked(status=reply.status)
    failures = before.failures if before else 0
    # Told as it was when it began: what is the same fault need not be told in other words each time.
    failure = before.failure if before and failures else f"{ask.call} {wrong}"
    return Checked(failures + 1, failure, reply.status)
