"""Request durations from classic histograms: a quantile, and how many requests took longer. ANALYSIS.md §4b.

Buckets map an upper edge in seconds, the last of them infinite, to how many requests took at most that long. Within a
bucket durations are taken to be spread evenly, and the first one to begin at 0.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping

Buckets = Mapping[float, float]


def from_columns(columns: Mapping[str, float]) -> Buckets:
    """Buckets from the values by ``le`` label."""
    return {float(le): count for le, count in columns.items()}


def merged(many: Iterable[Buckets]) -> Buckets:
    """All requests of several histograms, over the edges that they share."""
    many = [buckets for buckets in many if buckets]
    shared = set(many[0]).intersection(*many[1:]) if many else set()
    return {edge: sum(buckets[edge] for buckets in many) for edge in sorted(shared)}


def requests(buckets: Buckets) -> float:
    """How many requests there were."""
    return buckets.get(math.inf, 0.0)


def quantile(buckets: Buckets, level: float) -> float | None:
    """The duration that a share ``level`` of the requests did not exceed; None: no requests, or beyond all edges."""
    rank = level * requests(buckets)
    low, below = 0.0, 0.0
    for edge in sorted(buckets):
        if buckets[edge] >= rank > 0:
            if math.isinf(edge):
                return None
            inside = buckets[edge] - below
            return low + (edge - low) * (rank - below) / inside if inside > 0 else edge
        low, below = edge, buckets[edge]
    return None


def slower(buckets: Buckets, duration: float) -> float:
    """How many requests took longer than ``duration``, by interpolation; those beyond all finite edges count
    whole."""
    edges = sorted(buckets)
    index = bisect_left(edges, duration)
    if index == len(edges):
        return 0.0
    high, count = edges[index], buckets[edges[index]]
    low, below = (edges[index - 1], buckets[edges[index - 1]]) if index else (0.0, 0.0)
    quick = below if math.isinf(high) else below + (count - below) * (duration - low) / (high - low)
    # Buckets are not scraped at one instant: the lower one may have counted a request more.
    return max(0.0, requests(buckets) - quick)


def edge_from(buckets: Buckets, duration: float) -> float | None:
    """The next finite edge at or above ``duration``; None: there is none, so nobody knows what took longer."""
    edges = [edge for edge in sorted(buckets) if edge >= duration and not math.isinf(edge)]
    return edges[0] if edges else None


def tells_apart(buckets: Buckets, first: float, second: float) -> bool:
    """Whether the buckets show requests move from ``first`` to ``second``: finite edges, not all in one bucket."""
    if edge_from(buckets, second) is None:
        return False
    if edge_from(buckets, first) != edge_from(buckets, second):
        return True
    high = edge_from(buckets, second)
    low = max((edge for edge in buckets if edge < first), default=0.0)
    inside = buckets[high] - buckets.get(low, 0.0) if high is not None else 0.0
    return inside < 0.99 * requests(buckets)
