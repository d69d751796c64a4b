"""How often releases are looked at while nothing is expected of them: each second, unless there are hundreds."""

from __future__ import annotations

from tidegate.engine.subject import Subject

STEADY = 1.0
"""Seconds after which a release is looked at again."""
MOST = 15
"""Releases that are looked at in a second, beside those of which something was heard or is due. To read the pods of one
and to decide takes some milliseconds; that pods are ready no more is heard from their ReplicaSet at once."""


class Pace:
    """Knows who is to be looked at."""

    def __init__(self) -> None:
        self._watched: set[Subject] = set()

    def next(self, key: Subject, *, watched: bool) -> float | None:
        """Seconds until a release is looked at again; None: not at all, unless something happens."""
        if not watched:
            self._watched.discard(key)
            return None
        self._watched.add(key)
        return max(STEADY, len(self._watched) / MOST)
