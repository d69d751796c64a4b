"""Metrics are asked for, and waited for no longer than a decision may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from functools import partial

from tidegate.core.counters import Answer
from tidegate.engine.subject import Subject
from tidegate.ports.metrics import MetricSource

AT_ONCE = 0.25
"""Seconds that a decision waits for the metrics."""
MOST_WAITED = 8
"""Answers that are yet to come where nobody waits for one more: hundreds of releases that look at the same time would
otherwise hold up all others, one of which may have to turn back."""
ASIDE = 2
"""Questions at a time that nobody waits for: others are not to wait for them either."""


class Asker:
    """One question at a time of each who asks, by uid."""

    def __init__(self, metrics: MetricSource) -> None:
        self._metrics = metrics
        self.answered: Callable[[Subject], None] = lambda _: None
        """Told of who has an answer that was not waited for."""
        self._asked: dict[str, asyncio.Task[Mapping[str, Answer]]] = {}
        self._late = 0
        """Answers that are yet to come, and that nobody waits for."""
        self._asides: dict[str, tuple[object, asyncio.Task[Mapping[str, Answer]]]] = {}
        self._aside = asyncio.Semaphore(ASIDE)

    async def ask(
        self, who: Subject, uid: str, queries: Collection[str], source: MetricSource | None = None
    ) -> Mapping[str, Answer] | None:
        """The answer, if it comes at once; one that takes its time is there when it is asked for again. ``answered``
        tells of that.

        Nothing else that may turn a release back waits for metrics. ``source``: who is asked, if not the usual one.
        """
        task = self._asked.get(uid) or asyncio.ensure_future((source or self._metrics).fetch(queries))
        if not task.done():
            await asyncio.wait({task}, timeout=AT_ONCE if self._late < MOST_WAITED else 0)
        if task.done():
            self._asked.pop(uid, None)
            return task.result()
        if uid not in self._asked:
            self._late += 1
            self._asked[uid] = task
            task.add_done_callback(partial(self._told, who))
        return None

    def awaits(self, uid: str) -> bool:
        """Whether the answer is yet to come, and nobody waits for it: what is to be asked need not be worked out."""
        task = self._asked.get(uid)
        return task is not None and not task.done()

    def _told(self, who: Subject, _: object) -> None:
        self._late -= 1
        self.answered(who)

    def ask_aside(self, uid: str, about: object, queries: Collection[str]) -> Mapping[str, Answer] | None:
        """The answer to what was asked before ``about`` the same, once there is one. Nobody waits, and few are asked at
        a time."""
        known, task = self._asides.get(uid, (None, None))
        if task is None or known != about:
            self._asides[uid] = about, asyncio.ensure_future(self._in_turn(queries))
        elif task.done():
            del self._asides[uid]
            return task.result()
        return None

    async def _in_turn(self, queries: Collection[str]) -> Mapping[str, Answer]:
        async with self._aside:
            return await self._metrics.fetch(queries)
