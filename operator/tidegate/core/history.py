"""What stable's pods did before the release, look by look: what chance explains of it, and what it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from tidegate.core.counters import MOST_SOURCES, Growth, Series, sources
from tidegate.core.verdict.kernel import Floats, Tally


def growths(
    columned: Iterable[tuple[str, Series]], until: float, interval: float, looks: int
) -> tuple[Mapping[str, Floats], ...]:
    """Of each source, what its counters grew by in each of ``looks`` looks up to ``until``, by column; the last look
    is the last row. As many sources as are counted in a look."""
    ends: Floats = until - interval * np.arange(looks, -1, -1, dtype=np.float64)
    present = sources(columned)
    return tuple(_grown(present[key], ends) for key in sorted(present)[:MOST_SOURCES])


def names(columned: Iterable[tuple[str, Series]]) -> tuple[str, ...]:
    """What people call the sources of ``growths``, in the same order: pods, or instances of which no pod is told."""
    present = sources(columned)
    labels = [present[key][0][1].labels for key in sorted(present)[:MOST_SOURCES]]
    return tuple(one.get("pod") or one.get("instance", "") for one in labels)


def _grown(series: list[tuple[str, Series]], ends: Floats) -> dict[str, Floats]:
    """One source's. A counter that is born later than its source has grown from zero."""
    born = min(one.samples[0][0] for _, one in series)
    grown: dict[str, Floats] = {}
    for column, one in series:
        samples = np.array(one.samples)
        steps = np.diff(samples[:, 1])
        steps = np.where(steps < 0, samples[1:, 1], steps)
        first = 0.0 if one.samples[0][0] <= born else one.samples[0][1]
        # Before the first sample nothing, then what it grew by up to each.
        risen = np.concatenate(([0.0, first], first + np.cumsum(steps)))
        looks = np.diff(risen[np.searchsorted(samples[:, 0], ends, side="right")])
        grown[column] = grown.get(column, 0.0) + looks
    return grown


def tallied(
    pods: Iterable[Mapping[str, Floats]], looks: int, tally: Callable[[Growth], Tally]
) -> tuple[Floats, Floats]:
    """Requests and events as ``AmongPods.after_history`` wants them: a row for each look, a column for each pod."""
    tallies = [
        [tally({column: float(grown[look]) for column, grown in pod.items()}) for pod in pods] for look in range(looks)
    ]
    requests = np.array([[one.requests for one in row] for row in tallies])
    events = np.array([[one.events for one in row] for row in tallies])
    return requests, events
