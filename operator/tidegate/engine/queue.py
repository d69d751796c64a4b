"""A work queue of keys: each at most once in it, never two workers at one key, and one heap for all timers."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from tidegate.ports.clock import Clock

K = TypeVar("K", bound=Hashable)

SOON = 0.02
"""Seconds until what was changed under our hands is looked at again: the watch has told of it by then."""
FIRST_RETRY = 0.25
LAST_RETRY = 30.0


class Queue(Generic[K]):
    """Keys that want work. A key added while it is being worked on is handed out again afterwards."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ready: deque[K] = deque()
        self._queued: set[K] = set()
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._timers: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._serial = 0
        self._failures: dict[K, int] = {}
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: K) -> None:
        """This key wants work now."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.append(key)
            self._wake.set()

    def add_after(self, key: K, seconds: float) -> None:
        """This key wants work then. A key has one timer: the sooner stands."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        self._serial += 1
        heapq.heappush(self._timers, (due, self._serial, key))
        self._wake.set()

    async def get(self) -> K:
        """The next key, for one worker."""
        # One idle worker waits for the queue, the others for their turn: not all wake up for each key.
        async with self._turn:
            while True:
                self._ripen()
                if self._ready:
                    key = self._ready.popleft()
                    self._queued.discard(key)
                    self._due.pop(key, None)
                    self._working.add(key)
                    return key
                self._wake.clear()
                await self._wait()

    def done(self, key: K, *, failed: bool = False, after: float = 0.0, first: float = FIRST_RETRY) -> None:
        """The worker has finished with the key; a failed one is handed out again, later each time."""
        self._working.discard(key)
        if failed:
            # What came meanwhile may be just what it failed for, or what it did before: it begins anew to wait.
            count = 0 if key in self._again else self._failures.get(key, 0)
            self._failures[key] = count + 1
            delay = min(LAST_RETRY, first * 2 ** min(count, 16)) * (0.75 + self._clock.jitter() / 2)
            self.add_after(key, max(delay, after))
        else:
            self._failures.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            # A failing key must not be driven round by its own events: its back-off stands.
            if not failed:
                self.add(key)

    async def _wait(self) -> None:
        if not self._timers:
            await self._wake.wait()
            return
        delay = self._timers[0][0] - self._clock.monotonic()
        timer = asyncio.ensure_future(self._clock.sleep(max(0.0, delay)))
        event = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({timer, event}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            event.cancel()

    def _ripen(self) -> None:
        now = self._clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            due, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
