"""Who waits for a set to be another. Changes that come close together are told once."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

GATHER = 0.1
"""Seconds from a change until it is told: who is told asks anew, all at once."""


class Changes:
    """Told of changes by the catalog, tells those who wait."""

    def __init__(self, gather: float = GATHER) -> None:
        self._gather = gather
        # Not kept by us: whoever waits may have made up the name.
        self._at_once = WeakValueDictionary[str, asyncio.Event]()
        self._gathered = WeakValueDictionary[str, asyncio.Event]()
        self._due: set[str] = set()
        self.closed = False
        """Nothing more is told: who waits is to go."""

    def told(self, name: str) -> None:
        """A set is another."""
        if event := self._at_once.pop(name, None):
            event.set()
        if name in self._gathered and name not in self._due:
            self._due.add(name)
            asyncio.get_running_loop().call_later(self._gather, self._tell, name)

    def _tell(self, name: str) -> None:
        self._due.discard(name)
        if event := self._gathered.pop(name, None):
            event.set()

    def next(self, name: str, *, at_once: bool = False) -> asyncio.Event:
        """Set when the set is another. To be taken before it is looked at, so that no change falls between."""
        events = self._at_once if at_once else self._gathered
        return events.setdefault(name, asyncio.Event())

    def close(self) -> None:
        """Wake all who wait."""
        self.closed = True
        for events in (self._at_once, self._gathered):
            for event in events.values():
                event.set()
            events.clear()
