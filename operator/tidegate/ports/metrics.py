"""Where counters come from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
