"""Pods are asked beside the loop: a decision goes by the answers that are there, and waits for none.

What is known is in memory only. Another operator asks anew: it knows within an interval whether pods pass, and counts
failures from one on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
"""Intervals after which an answer says nothing any more: nobody asked meanwhile."""

Key = tuple[str, str]
"""Uid of a pod, name of a check."""


@dataclass
class _Kept:
    """A check of a pod: when it was last asked, and what is known."""

    ask: Ask
    began: float = -float("inf")
    task: asyncio.Task[Reply] | None = None
    known: Checked | None = None


class Checkups:
    """Asks, each check of a pod at most once an interval, and remembers."""

    def __init__(self, prober: Prober, clock: Clock) -> None:
        self._prober, self._clock = prober, clock
        self._kept: dict[str, dict[Key, _Kept]] = {}
        """By the release's uid."""

    def known(self, release: str) -> Mapping[tuple[str, str], Checked]:
        """What is known of a release's pods, by the names of pod and check."""
        kept = self._kept.get(release, {}).values()
        return {(one.ask.pod, one.ask.check.name): one.known for one in kept if one.known}

    def look(self, release: str, asks: Sequence[Ask]) -> Mapping[tuple[str, str], Checked]:
        """The same, with these being asked from now on, and no others."""
        kept = self._kept.pop(release, {})
        wanted = {(ask.uid, ask.check.name): ask for ask in asks}
        for key, one in kept.items():
            self._hear(one)
            if wanted.get(key) != one.ask and one.task:
                one.task.cancel()
        now = {key: _the_same(kept.get(key), ask) for key, ask in wanted.items()}
        if now:
            self._kept[release] = now
            self._begin(now)
        return self.known(release)

    def _hear(self, one: _Kept) -> None:
        """Take in the answer, where it has come."""
        if one.task and one.task.done():
            task, one.task = one.task, None
            if not task.cancelled():
                one.known = _counted(one.ask, task.result(), one.known)
            return
        every = one.ask.check.interval.total_seconds()
        if self._clock.monotonic() > one.began + STALE * every + one.ask.call.timeout:
            one.known = None

    def _begin(self, kept: Mapping[Key, _Kept]) -> None:
        """Ask what is due, whoever waits longest first, as long as there is room."""
        now = self._clock.monotonic()
        everywhere = sum(_busy(one) for of in self._kept.values() for one in of.values())
        room = min(MOST - everywhere, MOST_OF_ONE - sum(map(_busy, kept.values())))
        due = [
            one
            for one in kept.values()
            if one.task is None and now >= one.began + one.ask.check.interval.total_seconds()
        ]
        for one in sorted(due, key=lambda one: one.began)[: max(room, 0)]:
            one.began = now
            one.task = asyncio.create_task(self._prober.ask(one.ask.call))


def _the_same(one: _Kept | None, ask: Ask) -> _Kept:
    """What is known of a check, unless another question is asked by it now."""
    return one if one is not None and one.ask == ask else _Kept(ask)


def _busy(one: _Kept) -> bool:
    return one.task is not None and not one.task.done()


def _counted(ask: Ask, reply: Reply, before: Checked | None) -> Checked:
    wrong = amiss(ask.check.http.expect, reply)
    if not wrong:
        return Checked(status=reply.status)
    failures = before.failures if before else 0
    # Told as it was when it began: what is the same fault need not be told in other words each time.
    failure = before.failure if before and failures else f"{ask.call} {wrong}"
    return Checked(failures + 1, failure, reply.status)
