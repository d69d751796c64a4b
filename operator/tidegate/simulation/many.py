"""Many releases of the same setting: how they end, when, and at whose cost; and how often that is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from tidegate.api.analysis import AnalysisSpec, MetricSpec, Preset
from tidegate.simulation.scenario import ERRORS, Scenario
from tidegate.simulation.story import End, Setting, Story, brief

_CHUNK = 8
"""Releases that a process is given at once."""
_SURE = 1.96
"""Standard deviations of a 95 % interval."""


@dataclass(frozen=True)
class Quantiles:
    """Of some stories, the numbers that one wants to know."""

    median: float
    low: float
    high: float
    """Of 5 % of them it is less than ``low``, of 5 % more than ``high``."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Quantiles | None:
        """None where there is nothing."""
        if not values:
            return None
        ranked = sorted(values)
        return cls(*(ranked[min(len(ranked) - 1, int(share * len(ranked)))] for share in (0.5, 0.05, 0.95)))


@dataclass(frozen=True)
class Share:
    """So many of so many, and where the true share is with 95 %: Wilson's interval."""

    count: int
    of: int

    @property
    def share(self) -> float:
        """As a fraction."""
        return self.count / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """From, to."""
        n, p, z2 = self.of, self.share, _SURE**2
        middle, half = p + z2 / (2 * n), _SURE * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        return max(0.0, (middle - half) / (1 + z2 / n)), min(1.0, (middle + half) / (1 + z2 / n))


@dataclass(frozen=True)
class Summary:
    """What became of many."""

    stories: tuple[Story, ...]
    worse: bool
    """The candidate is beyond a limit of the release: to promote it is wrong. Else to revert it is."""

    def ended(self, end: End) -> Share:
        """How many ended so."""
        return Share(sum(story.end is end for story in self.stories), len(self.stories))

    @property
    def wrong(self) -> Share:
        """How many ended as they should not have."""
        return self.ended(End.PROMOTED if self.worse else End.REVERTED)

    def when(self, end: End) -> Quantiles | None:
        """When it was decided, of those that ended so: in seconds from the start."""
        return Quantiles.of([story.at for story in self.stories if story.end is end])

    @property
    def failed(self) -> Quantiles | None:
        """Failed requests by then, of both revisions."""
        return Quantiles.of([story.truth.stable_failed + story.truth.candidate_failed for story in self.stories])

    @property
    def excess(self) -> Quantiles | None:
        """Failed requests by then that are the candidate's doing."""
        return Quantiles.of([story.truth.excess for story in self.stories])

    @property
    def touched(self) -> Quantiles | None:
        """Requests that the candidate answered by then."""
        return Quantiles.of([story.truth.candidate_requests for story in self.stories])


def many(setting: Setting, seeds: range, cores: int = 1, told: Callable[[int], None] = lambda _: None) -> Summary:
    """A release for each seed. ``told`` is told how many are done."""
    stories = []
    for story in _stories(setting, seeds, cores):
        stories.append(story)
        told(len(stories))
    return Summary(tuple(stories), worse(setting.spec.analysis, setting.scenario))


def _stories(setting: Setting, seeds: range, cores: int) -> Iterator[Story]:
    if cores == 1 or len(seeds) <= _CHUNK:
        yield from map(partial(brief, setting), seeds)
        return
    with ProcessPoolExecutor(cores) as pool:
        yield from pool.map(partial(brief, setting), seeds, chunksize=_CHUNK)


def worse(spec: AnalysisSpec, scenario: Scenario) -> bool:
    """Whether the candidate, once what it does worse is there in full, is beyond a limit of the release."""
    return any(_beyond(metric, scenario) for metric in spec.metrics)


def _beyond(metric: MetricSpec, scenario: Scenario) -> bool:
    late = max((one.at + one.over).total_seconds() for one in scenario.regressions) if scenario.regressions else 0.0
    alone = scenario.model_copy(update={"outages": ()})
    if metric.preset is Preset.Latency:
        if scenario.latency is None:
            return False
        slower = alone.slowdown(late)
        quantile = scenario.latency.quantile(metric.level) * slower
        too_slow = metric.max_increase is not None and slower > 1 + metric.max_increase
        return too_slow or (metric.limit is not None and quantile > metric.limit)
    name = metric.name if metric.ratio else ERRORS
    usual, candidates = alone.usual(name, late), alone.candidates(name, late)
    if metric.max_decrease is not None:
        return candidates < (1 - metric.max_decrease) * usual
    too_many = metric.max_increase is not None and candidates > (1 + metric.max_increase) * usual
    return too_many or (metric.limit is not None and candidates > metric.limit)
