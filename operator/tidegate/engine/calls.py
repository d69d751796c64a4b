"""Requests of gates, made beside the loop: a decision goes by the answers that are there.

In memory only: whoever takes over asks again, by the same key. A request may hang for as long as its gate may take,
which is up to a month: so a release has few under way, and always one, however many others have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tidegate.core.asking import Asked, Call, Reply
from tidegate.ports.clock import Clock
from tidegate.ports.prober import Prober

MOST = 64
"""Requests under way at once, of all releases; beyond them each has one."""
MOST_OF_ONE = 4
"""The same of one release."""


@dataclass
class _Wanted:
    call: Call
    since: datetime
    task: asyncio.Task[Reply] | None = None


class Calls:
    """Each made once, and remembered for as long as it is asked for."""

    def __init__(self, prober: Prober, clock: Clock) -> None:
        self._prober, self._clock = prober, clock
        self._of: dict[str, dict[str, _Wanted]] = {}
        """By the release's uid and the request's key."""

    def look(self, release: str, wanted: Mapping[str, Call]) -> Mapping[str, Asked]:
        """What has become of these; what is not wanted any more is given up."""
        before = self._of.pop(release, {})
        for key, one in before.items():
            if one.task and wanted.get(key) != one.call:
                one.task.cancel()
        now = {key: _the_same(before.get(key), call) or self._new(call) for key, call in wanted.items()}
        self._make(now)
        if now:
            self._of[release] = now
        return {key: _told(one) for key, one in now.items()}

    def _new(self, call: Call) -> _Wanted:
        return _Wanted(call, self._clock.now())

    def _make(self, wanted: Mapping[str, _Wanted]) -> None:
        """In their order, as many as there is room for."""
        mine, all_ = _busy(wanted), _busy(wanted) + sum(map(_busy, self._of.values()))
        for one in wanted.values():
            if one.task is None and mine < MOST_OF_ONE and (not mine or all_ < MOST):
                one.task = asyncio.create_task(self._prober.ask(one.call))
                mine, all_ = mine + 1, all_ + 1


def _the_same(one: _Wanted | None, call: Call) -> _Wanted | None:
    """What was wanted before, unless it is another request or was broken off."""
    gone = one is None or one.call != call or (one.task is not None and one.task.cancelled())
    return None if gone else one


def _busy(wanted: Mapping[str, _Wanted]) -> int:
    return sum(one.task is not None and not one.task.done() for one in wanted.values())


def _told(one: _Wanted) -> Asked:
    reply = one.task.result() if one.task and one.task.done() else None
    return Asked(one.since, made=one.task is not None, reply=reply)
