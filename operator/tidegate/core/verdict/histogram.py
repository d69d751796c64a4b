"""Request durations from histograms: a quantile, and how many requests took longer. ANALYSIS.md §4b.

Buckets map an upper edge in seconds, the last of them infinite, to how many requests took at most that long. Within a
bucket durations are taken to be spread evenly, and the first one to begin at 0.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain

from tidegate.core.cells import edges, is_cell

Buckets = Mapping[float, float]


_BEYOND = 1e6
"""Seconds that none took of whom all is told: an edge of every histogram that has none without end."""


_NARROW = 1.2
"""Between the edges of a narrow bucket, as those of native histograms are."""


def from_columns(columns: Mapping[str, float]) -> Buckets:
    """Buckets from the values by ``le`` label, or of the cells of native histograms."""
    if columns and all(map(is_cell, columns)):
        return _of_cells([(*edges(column), count) for column, count in columns.items()])
    return {float(le): count for le, count in columns.items()}


def of_arm(sources: Iterable[Mapping[str, float]]) -> list[Buckets]:
    """The buckets of each source; of native histograms, all in one, as one of them may have the widest."""
    sources = list(sources)
    if not _are_native(sources):
        return [from_columns(one) for one in sources]
    total: Counter[str] = Counter()
    for one in sources:
        total.update(one)
    return [from_columns(total)]


def of_arms(
    stable: Iterable[Mapping[str, float]], candidate: Iterable[Mapping[str, float]]
) -> tuple[list[Buckets], list[Buckets]]:
    """The same of both; of native histograms by the same edges, where they have some."""
    one, other = list(stable), list(candidate)
    ours, theirs = of_arm(one), of_arm(other)
    if ours and theirs and _are_native(one) and _are_native(other):
        alike = aligned((*ours, *theirs))
        if any(edge < _BEYOND for edge in alike[0]):
            return alike[:1], alike[1:]
    return ours, theirs


def _are_native(sources: Iterable[Mapping[str, float]]) -> bool:
    return any(map(is_cell, chain.from_iterable(sources)))


def _of_cells(cells: Sequence[tuple[float, float, float]]) -> Buckets:
    """Cells may lie in each other: no edge tells anything where something was counted in a wider one."""
    ends = sorted({edge for low, high, _ in cells for edge in (low, high) if edge})
    hidden, counts = set(), dict.fromkeys(ends, 0.0)
    for low, high, count in cells:
        counts[high] += count
        if count:
            hidden.update(ends[bisect_right(ends, low) : bisect_left(ends, high)])
    told = ends if math.inf in counts else [*ends, _BEYOND, math.inf]
    risen = accumulate(counts.get(edge, 0.0) for edge in told)
    found = [(edge, total) for edge, total in zip(told, risen, strict=True) if edge not in hidden]
    # An edge within a stretch of nothing tells no more than those at its ends.
    totals = [0.0, *(total for _, total in found)]
    needless = {
        edge
        for (edge, total), before, (after, later) in zip(found, totals, found[1:], strict=False)
        if before == total == later and after < _BEYOND
    }
    return {edge: total for edge, total in found if edge not in needless}


def aligned(many: Iterable[Buckets]) -> list[Buckets]:
    """The histograms by the edges of which all of them tell. One tells of an edge that it has not, too, where it
    has counted nothing between those beside it."""
    many = [buckets for buckets in many if buckets]
    every = set().union(*many)
    if all(len(buckets) == len(every) for buckets in many):
        return many
    filled = [_filled(buckets, sorted(every)) for buckets in many]
    shared = sorted(set(filled[0]).intersection(*filled[1:]))
    return [{edge: buckets[edge] for edge in shared} for buckets in filled]


def _filled(buckets: Buckets, wanted: Iterable[float]) -> Buckets:
    own = sorted(buckets)
    found = {}
    for edge in wanted:
        place = bisect_left(own, edge)
        below = buckets[own[place - 1]] if place else 0.0
        if edge in buckets:
            found[edge] = buckets[edge]
        elif place < len(own) and buckets[own[place]] == below:
            found[edge] = below
    return found


def merged(many: Iterable[Buckets]) -> Buckets:
    """All requests of several histograms, over the edges of which all of them tell."""
    many = aligned(many)
    return {edge: sum(buckets[edge] for buckets in many) for edge in sorted(many[0])} if many else {}


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


def is_near(buckets: Buckets, duration: float, edge: float) -> bool:
    """Whether the bucket that ends at the edge is so narrow that what is in it may be divided at the duration."""
    return edge <= _NARROW * max((low for low in buckets if low < duration), default=0.0)


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
