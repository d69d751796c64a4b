"""Requests of gates, made beside the loop: a decision goes by the answers that are there.

In memory only: whoever takes over asks again, by the same key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from tidegate.core.asking import Call, Reply
from tidegate.ports.prober import Prober

MOST = 64
"""Requests under way at once, of all releases."""


@dataclass
class _Asked:
    call: Call
    task: asyncio.Task[Reply]


class Calls:
    """Each made once, and remembered for as long as it is asked for."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober
        self._of: dict[str, dict[str, _Asked]] = {}
        """By the release's uid and the request's key."""

    def look(self, release: str, wanted: Mapping[str, Call]) -> Mapping[str, Reply]:
        """The answers that have come; what is not wanted any more is given up."""
        asked = self._of.pop(release, {})
        for key, one in asked.items():
            if wanted.get(key) != one.call or one.task.cancelled():
                one.task.cancel()
        kept = {key: one for key, one in asked.items() if wanted.get(key) == one.call and not one.task.cancelled()}
        busy = sum(not one.task.done() for of in (*self._of.values(), kept) for one in of.values())
        for key, call in wanted.items():
            if key not in kept and busy < MOST:
                kept[key] = _Asked(call, asyncio.create_task(self._prober.ask(call)))
                busy += 1
        if kept:
            self._of[release] = kept
        return {key: one.task.result() for key, one in kept.items() if one.task.done()}
