"""A quantile of the latency as events: which requests count as slow, and what is remembered to say so.

Stable's requests are slow above its own past quantile u, the candidate's above u plus the tolerated increase; then
"the quantile is worse than tolerated" is "more of the candidate's requests are slow". The cuts come from the past
alone and stand still within a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from tidegate.core.verdict.evidence import Counts
from tidegate.core.verdict.histogram import (
    Buckets,
    edge_from,
    is_near,
    merged,
    quantile,
    requests,
    slower,
    tells_apart,
)  # fmt: skip
from tidegate.core.verdict.kernel import Poll, Tally


@dataclass(frozen=True)
class Cuts:
    """What a latency metric is about."""

    level: float
    """The quantile: 0.99."""
    factor: float | None
    """How much slower the candidate may be: 1.3. None: it is not compared."""
    limit: float | None
    """What is slow in any case, in seconds."""


@dataclass(frozen=True)
class Latency:
    """What is remembered of a latency metric."""

    slow: float | None = None
    """Stable's quantile, as this step takes it to be, in seconds."""
    resolved: bool = True
    """Whether the buckets can tell a candidate as slow as tolerated from stable."""
    past: Buckets = field(default_factory=dict)
    """Stable's requests that the next quantile is taken from."""
    stable: Buckets = field(default_factory=dict)
    """Stable's requests in this step."""
    candidate: Buckets = field(default_factory=dict)

    def starting_from(self, lifetime: Iterable[Buckets]) -> Latency:
        """With what stable's processes have served so far, at the first look."""
        return replace(self, past=merged(lifetime))

    def stepped(self) -> Latency:
        """The next step begins: its quantile is that of the last one, or of now if there was too little."""
        return replace(self, slow=None, stable={}, candidate={})

    def cut(self, cuts: Cuts) -> Latency:
        """The quantile taken, if it is not yet and the past suffices: five requests beyond it."""
        if self.slow is not None or cuts.factor is None or requests(self.past) * (1 - cuts.level) < 5:
            return self
        slow = quantile(self.past, cuts.level)
        if slow is None:
            return replace(self, resolved=False)
        resolved = tells_apart(self.past, slow, slow * cuts.factor)
        return replace(self, slow=slow, resolved=resolved, past={})

    def counts(self, cuts: Cuts, stable: Iterable[Buckets], candidate: Iterable[Buckets]) -> Counts:
        """The growth of both arms' sources as requests and slow requests."""
        stable, candidate = tuple(stable), tuple(candidate)
        relative = absolute = Poll()
        if cuts.factor is not None and self.slow is not None and self.resolved:
            relative = Poll(tally(candidate, self.slow * cuts.factor), tally(stable, self.slow))
        if cuts.limit is not None:
            absolute = Poll(_beyond(candidate, cuts.limit), _beyond(stable, cuts.limit))
        return Counts(relative, absolute)

    def grown(self, stable: Iterable[Buckets], candidate: Iterable[Buckets]) -> Latency:
        """With the growth remembered, after it was counted."""
        stable = tuple(stable)
        return replace(
            self,
            past=merged((self.past, *stable)),
            stable=merged((self.stable, *stable)),
            candidate=merged((self.candidate, *candidate)),
        )

    def dump(self) -> list[object]:
        """As JSON: what was decided, the edges of all histograms, and their counts."""
        histograms = (self.past, self.stable, self.candidate)
        edges = sorted(set().union(*histograms))
        rows = [[_short(one[edge]) if edge in one else None for edge in edges] if one else [] for one in histograms]
        return [self.slow, self.resolved, [None if math.isinf(edge) else edge for edge in edges], *rows]

    @staticmethod
    def load(data: list[Any]) -> Latency:
        """The inverse of ``dump``."""
        slow, resolved, edges, *rows = data
        edges = [math.inf if edge is None else edge for edge in edges]
        past, stable, candidate = (
            {edge: count for edge, count in zip(edges, row, strict=False) if count is not None} for row in rows
        )
        return Latency(slow, resolved, past, stable, candidate)


def _short(count: float) -> float:
    """Rounded; whole numbers without a point."""
    count = round(count, 3)
    return int(count) if count == int(count) else count


def _beyond(sources: Iterable[Buckets], limit: float) -> Tally:
    """Requests slower than a limit, of the sources that have an edge for it; slower than that edge, if it is not
    near."""
    edges = [(one, edge) for one in sources if (edge := edge_from(one, limit)) is not None]
    return sum(
        (tally((one,), limit if is_near(one, limit, edge) else edge) for one, edge in edges),
        start=Tally(),
    )


def tally(sources: Iterable[Buckets], cut: float) -> Tally:
    """All requests of the sources, and those slower than ``cut`` seconds."""
    sources = tuple(sources)
    return Tally(sum(slower(buckets, cut) for buckets in sources), sum(requests(buckets) for buckets in sources))
