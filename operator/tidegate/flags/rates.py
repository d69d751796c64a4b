"""How often who may ask: a bucket of tokens each, of which all that is kept is the time when it is full again."""

from __future__ import annotations

from collections.abc import Hashable

MOST = 20_000
"""Callers that are kept apart. Where there are more at once, the first of them begin anew."""


class Rates:
    """So many a second for each, and twice that at once."""

    def __init__(self, a_second: float) -> None:
        self._each = 1 / a_second if a_second else 0.0
        self._slack = 2.0
        """Seconds of asking that may be used at once."""
        self._full: dict[Hashable, float] = {}

    def wait(self, who: Hashable, now: float) -> float:
        """Seconds until it may ask; 0 takes one."""
        if not self._each:
            return 0.0
        full = max(self._full.get(who, 0.0), now)
        if full - now > self._slack:
            return full - now - self._slack
        if who not in self._full and len(self._full) >= MOST:
            self._forget(now)
        self._full[who] = full + self._each
        return 0.0

    def _forget(self, now: float) -> None:
        self._full = {who: full for who, full in self._full.items() if full > now}
        # More than the one that is needed: all are looked at for it, and there may be as many who come anew.
        while len(self._full) > MOST * 7 // 8:
            del self._full[next(iter(self._full))]
