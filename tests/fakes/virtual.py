"""Virtual time: an event loop whose clock jumps to the next timer, so that hours pass in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
TICK = 1e-6
"""Seconds that pass in any case: a loop does not move on for what its clock cannot tell apart."""


class _Jump(selectors.SelectSelector):
    """Instead of waiting for a timer it moves the clock to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Nothing from outside is ever waited for, so the system is not asked; the time is over."""
        if timeout == 0:
            return []
        if timeout is None:
            raise RuntimeError("everything waits, and nothing is going to happen")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that starts at second 0 and never waits."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        """Virtual seconds."""
        return self._jump.now


class VirtualClock:
    """The clock port on the virtual loop. Retries are spread by nothing: runs are the same each time."""

    def now(self) -> datetime:
        """EPOCH and what the loop says, in whole milliseconds like the real clock."""
        return EPOCH + timedelta(milliseconds=int(self.monotonic() * 1000 + 1e-6))

    def monotonic(self) -> float:
        """Virtual seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """No time at all, as others see it."""
        await asyncio.sleep(seconds)

    def jitter(self) -> float:
        """The middle."""
        return 0.5
