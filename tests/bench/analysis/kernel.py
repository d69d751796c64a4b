"""Table 7.1: the sequential test itself, where its law is exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.bench.analysis import sieve
from tests.bench.analysis.engine import NEVER, Judge
from tests.bench.analysis.measure import Setting, audit, random_of, spread
from tests.bench.analysis.sheet import Sheet, count, percent
from tests.bench.analysis.worlds import Arm, Trace
from tests.bench.bars import Row
from tidegate.core.verdict.decision import Family, Plan
from tidegate.core.verdict.evidence import Rule
from tidegate.core.verdict.kernel import Boundary, divergence

_FINE, _BOUNDS = 60, 8
"""Looks to a bound, and bounds that are waited for."""
_BOUNDARY = Boundary(rho=1.5, delta=1e-5)


@dataclass(frozen=True)
class Race:
    """A candidate so much worse, looked at so often that looks do not matter."""

    kappa: float
    base: float
    ratio: float
    alpha: float

    @property
    def bound(self) -> float:
        """Candidate requests that the best of all tests needs on average."""
        return -math.log(self.alpha) / information(min(1.0, self.ratio * self.base), self.base, self.kappa)

    @property
    def each(self) -> int:
        """Candidate requests of a look."""
        return max(1, round(self.bound / _FINE))


def information(p_c: float, p_s: float, kappa: float) -> float:
    """Nats per candidate request: the least, over stable's rates q, of what both arms tell."""
    rates = np.geomspace(min(p_s, p_c / 2) / 2, min(1.0, p_c / _BOUNDARY.rho), 4000).tolist()
    return min(divergence(p_c, min(1.0, _BOUNDARY.at(q))) + divergence(p_s, q) / kappa for q in rates)


def _kernel_judge(alpha: float) -> Judge:
    rule = Rule(relative=_BOUNDARY, margin=1e-3, absolute=None, breaker=False, banded=False, usual=1e-3)
    return Judge(rule, Plan.of({"errors": (Family.Errors, rule)}, alpha), tempered=False)


def _race(job: tuple[Race, int, int, int]) -> tuple[list[float], int]:
    race, runs, seed, part = job
    rng = random_of(seed, race, part)
    each = race.each
    shape = (runs, math.ceil(race.bound * _BOUNDS / each), 1)
    n_c, n_s = np.full(shape, each), np.full(shape, round(each / race.kappa))
    p_c = min(1.0, race.ratio * race.base)
    arms = [
        Arm(n.astype(float), rng.binomial(n, p).astype(float)) for n, p in ((n_c, p_c), (n_s, race.base))
    ]  # fmt: skip
    nothing = Arm(np.zeros((runs, 1, 1)), np.zeros((runs, 1, 1)))
    trace = Trace(arms[0], arms[1], nothing)
    judge = _kernel_judge(race.alpha)
    found = sieve.found(judge, trace)
    audit(judge, trace, 0, (int(found.failed[0]), NEVER))
    taken = np.cumsum(n_c[:, :, 0], axis=1)[np.arange(runs), found.failed]
    used = np.where(found.failed == NEVER, math.inf, taken) / race.bound
    return used.tolist(), int((found.failed == NEVER).sum())


def _median_bounds(values: Sequence[float]) -> tuple[float, float]:
    """Where the median truly is, with 95 %: order statistics."""
    ordered, many = sorted(values), len(values)
    half = 0.98 * math.sqrt(many)
    return ordered[max(0, math.floor(many / 2 - half))], ordered[min(many - 1, math.ceil(many / 2 + half))]


def kernel(setting: Setting) -> Sheet:
    """Requests that it takes, against the bound that no test can beat."""
    races = [
        Race(kappa, base, ratio, alpha)
        for alpha in (0.01, 0.05)
        for kappa in (1.0, 1 / 9, 1 / 19)
        for base in (0.001, 0.01)
        for ratio in (2.0, 3.0, 5.0, 10.0, 20.0)
    ]
    jobs = [(race, runs, setting.seed, part) for race in races for part, runs in enumerate(setting.parts())]
    used: dict[Race, list[float]] = {race: [] for race in races}
    for (race, *_), (some, _) in zip(jobs, spread(_race, jobs, setting.cores), strict=True):
        used[race] += some
    rows = [
        [
            f"{race.alpha:.0%}",
            f"1:{1 / race.kappa:.0f}",
            f"{race.base:.1%}",
            f"×{race.ratio:g}",
            count(race.bound),
            f"{np.median(some):.2f}",
            f"{np.mean(some):.2f}" if np.isfinite(some).all() else "–",
            percent(float(np.mean(np.isinf(some)))),
        ]
        for race, some in used.items()
    ]
    medians = {race: float(np.median(some)) for race, some in used.items()}
    worst = max((race for race in races if race.alpha == 0.01), key=lambda race: medians[race])
    low, high = _median_bounds(used[worst])
    where = f"{low:.2f} to {high:.2f}; arms 1:{1 / worst.kappa:.0f}, base {worst.base:.1%}, ×{worst.ratio:g}"
    bar = Row("requests until the revert, median, by the bound, alpha 1 %", 1.6, medians[worst], "×", where)
    text = (
        "Independent requests, looks so close that they cost nothing, one test, no tempering. The bound is"
        " log(1/alpha) divided by the information of a request; no valid test needs fewer on average."
    )
    head = ("alpha", "arms", "base", "candidate", "bound", "median", "mean", "never, %")
    return Sheet("7.1", "Requests that it takes to revert", text, head, rows, (bar,))
