"""The buckets of native histograms as columns: each with what it counts itself, and named by its edges.

A native histogram has buckets where it has counted something, and of a width that may grow at any time: from 2 edges an
octave to 1, say, to keep their number small. Edges of the wider are edges of the narrower too. So buckets are taken
together to cells of a fourth of an octave, which is 19 %: as narrow as a quantile needs, and few enough for the
journal. What is wider, or has edges of its own (a classic histogram that Prometheus has converted), stays as it is.

A cell is named ``~5`` if it is a fourth of an octave and ends at 2^(5/4), ``~1:5`` if it is wider and begins at
2^(1/4), ``0.25~0.3`` if its edges are no fourths. What is not in seconds says how many units one has: ``~5/1000``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

Bucket = tuple[float, float, float]
"""Lower edge, upper edge, and how much it counts."""
Cell = tuple[float, float]
"""From above the lower edge to the upper one."""
Sample = tuple[float, float]

_PARTS = 4
"""Cells of an octave."""
_FINEST = 256
"""Buckets that an octave has at most."""
_LEAST = 2.0**-20
"""Nothing is told of what is quicker: about a millionth of a unit."""


def columns(samples: Sequence[tuple[float, Iterable[Bucket]]]) -> dict[str, tuple[Sample, ...]]:
    """What each cell counted at each time. All times have the same cells, those of the widest buckets."""
    counted = [(at, _counted(buckets)) for at, buckets in samples]
    spans = sorted(set().union(*(cells for _, cells in counted))) or [(0.0, _LEAST)]
    wide: list[Cell] = []
    for low, high in spans:
        if wide and low < wide[-1][1]:
            wide[-1] = wide[-1][0], max(high, wide[-1][1])
        else:
            wide.append((low, high))
    if len(wide) < len(spans):
        counted = [(at, _gathered(cells, wide)) for at, cells in counted]
    return {_named(*cell): tuple((at, cells.get(cell, 0.0)) for at, cells in counted) for cell in wide}


def _counted(buckets: Iterable[Bucket]) -> dict[Cell, float]:
    counts: dict[Cell, float] = {}
    for low, high, count in buckets:
        cell = _cell(low, high)
        counts[cell] = counts.get(cell, 0.0) + count
    return counts


def _gathered(cells: Mapping[Cell, float], wide: Iterable[Cell]) -> dict[Cell, float]:
    return {
        (low, high): sum(count for (begins, ends), count in cells.items() if low <= begins and ends <= high)
        for low, high in wide
    }


@lru_cache(8192)
def _cell(low: float, high: float) -> Cell:
    """Where a bucket counts. What is around zero, or below, is a duration of nothing."""
    if high <= _LEAST:
        return 0.0, _LEAST
    low = low if low >= _LEAST else 0.0
    if math.isinf(high) or not all(_on(edge, _FINEST) for edge in (low, high)):
        return low, high
    begins = 2 ** (math.floor(_PARTS * math.log2(low) + 1e-6) / _PARTS) if low else 0.0
    return begins, 2 ** (math.ceil(_PARTS * math.log2(high) - 1e-6) / _PARTS)


def _on(edge: float, parts: int) -> bool:
    """Whether it is an edge where octaves have so many parts."""
    place = parts * math.log2(edge) if edge else 0.0
    return abs(place - round(place)) < 1e-6


@lru_cache(8192)
def _named(low: float, high: float) -> str:
    if math.isinf(high) or not all(_on(edge, _PARTS) for edge in (low, high)):
        return f"{low:.6g}~{high:.6g}"
    end = round(_PARTS * math.log2(high))
    if not low:
        return f"~:{end}"
    begin = round(_PARTS * math.log2(low))
    return f"~{end}" if begin + 1 == end else f"~{begin}:{end}"


def in_seconds(column: str, per_second: float) -> str:
    """The column, where so many of its units are a second."""
    return column if per_second == 1 else f"{column}/{per_second:g}"


def is_cell(column: str) -> bool:
    """Whether a column is a cell, and not what another kind of counter is called."""
    return "~" in column


@lru_cache(8192)
def edges(column: str) -> Cell:
    """In seconds, and so rounded that a journal may keep them."""
    name, _, unit = column.partition("/")
    first, _, last = name.partition("~")
    if first:
        low, high = float(first), float(last)
    else:
        begin, colon, end = last.rpartition(":")
        high = 2 ** (int(end) / _PARTS)
        low = 2 ** (int(begin or int(end) - 1) / _PARTS) if begin or not colon else 0.0
    per_second = float(unit or 1)
    return float(f"{low / per_second:.6g}"), float(f"{high / per_second:.6g}")


def held(counters: Mapping[str, float], column: str) -> float:
    """What the counters have in a column; if that is a wider cell than they knew, all that is inside of it."""
    if column in counters or not is_cell(column):
        return counters.get(column, 0.0)
    low, high = edges(column)
    return sum(
        count
        for (begins, ends), count in ((edges(other), count) for other, count in counters.items())
        if low <= begins and ends <= high
    )
