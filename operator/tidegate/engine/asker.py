"""Metrics are asked for, and waited for no longer than a decision may take."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from tidegate.core.counters import Answer
from tidegate.ports.metrics import MetricSource

AT_ONCE = 0.25
"""Seconds that a decision waits for the metrics."""
ASIDE = 2
"""Questions at a time that nobody waits for: others are not to wait for them either."""


class Asker:
    """One question at a time of each who asks, by uid."""

    def __init__(self, metrics: MetricSource) -> None:
        self._metrics = metrics
        self._asked: dict[str, asyncio.Task[Mapping[str, Answer]]] = {}
        self._asides: dict[str, tuple[object, asyncio.Task[Mapping[str, Answer]]]] = {}
        self._aside = asyncio.Semaphore(ASIDE)

    async def ask(
        self, uid: str, queries: Collection[str], source: MetricSource | None = None
    ) -> Mapping[str, Answer] | None:
        """The answer, if it comes at once; one that takes its time is there when it is asked for again.

        Nothing else that may turn a release back waits for metrics. ``source``: who is asked, if not the usual one.
        """
        task = self._asked.pop(uid, None) or asyncio.ensure_future((source or self._metrics).fetch(queries))
        done, _ = await asyncio.wait({task}, timeout=AT_ONCE)
        if done:
            return task.result()
        self._asked[uid] = task
        return None

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
