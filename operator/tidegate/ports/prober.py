"""Who asks by HTTP: pods of their health, gates of their word."""

from __future__ import annotations

from typing import Protocol

from tidegate.core.asking import Call, Reply


class Prober(Protocol):
    """Asks and reads, within bounds of time and size, and follows no redirect."""

    async def ask(self, call: Call) -> Reply:
        """What is answered. Takes no longer than the call's timeout.

        Outages, refusals and answers that are too long are replies too: nothing is raised for them.
        """
        ...
