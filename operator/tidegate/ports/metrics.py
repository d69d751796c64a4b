"""Where counters come from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tidegate.core.counters import Answer


class MetricSource(Protocol):
    """A time series database that speaks PromQL."""

    async def fetch(self, queries: Collection[str], at: datetime | None = None) -> Mapping[str, Answer]:
        """The answer to each query, evaluated at ``at``, or now. Takes no longer than its own deadline.

        Outages, refusals and partial answers are answers too (``Missing``): nothing is raised for them.
        """
        ...


@dataclass(frozen=True)
class Exposition:
    """What a pod exposes, or why that cannot be read: a text for people, the same as long as the cause is the same."""

    text: str = ""
    error: str = ""


class PodReader(Protocol):
    """Reads what a pod exposes of itself, within bounds of time and size, and follows no redirect."""

    async def read(self, url: str) -> Exposition:
        """What is there now. Takes no longer than its own deadline; nothing is raised for outages and refusals."""
        ...
