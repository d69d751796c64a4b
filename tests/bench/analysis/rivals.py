"""The rules by which other tools decide, as they stand in their code, for many runs at once.

Where a rule leaves a choice to its user, the choice here is the one of its documentation; where reality would make a
rule slower (a tool that acts at its next tick), it is taken to be as quick as it could be. What is the user's guess of
a limit is in ``limit_for``.

All of them look once a minute. A minute of an arm is a column; minutes are counted from 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.bench.analysis.engine import NEVER
from tests.bench.analysis.worlds import Arm, Array, Trace

Whole = NDArray[np.int64]
Rule = Callable[["Minutes", float], Whole]
"""Of minutes and a limit: the minute with which each run is reverted, or ``NEVER``."""


@dataclass(frozen=True)
class Minutes:
    """What both arms did, per run and minute."""

    candidate: tuple[Array, Array]
    """Events and requests."""
    stable: tuple[Array, Array]

    @staticmethod
    def of(trace: Trace, seconds: float) -> Minutes:
        """Of looks that are a part of a minute apart."""
        per = round(60 / seconds)
        return Minutes(_summed(trace.candidate, per), _summed(trace.stable, per))

    @property
    def rates(self) -> tuple[Array, Array]:
        """Of the candidate and of stable; NaN without requests."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.candidate[0] / self.candidate[1], self.stable[0] / self.stable[1]


def _summed(arm: Arm, per: int) -> tuple[Array, Array]:
    events, requests = (
        total[:, : total.shape[1] // per * per].reshape(len(total), -1, per).sum(axis=2) for total in arm.totals
    )
    return events, requests


def limit_for(base: float) -> float:
    """The error rate that a careful user allows: 1 % as in the documentation, or three times what is usual."""
    return max(0.01, 3 * base)


def _first(reached: NDArray[np.bool_]) -> Whole:
    """The first minute in which something holds."""
    return np.where(reached.any(axis=1), reached.argmax(axis=1), NEVER)


def _in_a_row(bad: NDArray[np.bool_]) -> Whole:
    """How many bad minutes there were in a row, up to each."""
    at = np.arange(bad.shape[1])
    last_good = np.maximum.accumulate(np.where(bad, -1, at), axis=1)
    return np.where(bad, at - last_good, 0)


def flagger(minutes: Minutes, limit: float, threshold: int = 5) -> Whole:
    """Flagger (15bd6ad5): a check fails beyond the limit, and without a value: no traffic fails. Failed checks add up
    over the release and no success takes one back; at the threshold it is reverted."""
    rate, _ = minutes.rates
    failed = np.isnan(rate) | (rate > limit)
    return _first(np.cumsum(failed, axis=1) >= threshold)


def in_a_row(minutes: Minutes, limit: float, threshold: int = 3) -> Whole:
    """What many who use Flagger believe it to do: reverted by three failed checks in a row."""
    rate, _ = minutes.rates
    return _first(_in_a_row(np.isnan(rate) | (rate > limit)) >= threshold)


def argo(minutes: Minutes, limit: float, failure_limit: int = 3, error_limit: int = 4) -> Whole:
    """Argo Rollouts (9f8d111d), with ``successCondition: result[0] < limit``: NaN is less than nothing and fails;
    failures add up, and more than ``failureLimit`` revert (3, as its documentation has it; its default is 0). An
    empty answer is an error; more than ``consecutiveErrorLimit`` (4) of them in a row revert. Prometheus answers
    nothing before the first request that was ever counted. With one condition nothing is inconclusive."""
    rate, _ = minutes.rates
    unborn = np.cumsum(minutes.candidate[1], axis=1) == 0
    failed = ~unborn & ~(rate < limit)
    many_failed = np.cumsum(failed, axis=1) > failure_limit
    return _first(many_failed | (_in_a_row(unborn) > error_limit))


def argo_two_sided(minutes: Minutes, limit: float, failure_limit: int = 3) -> Whole:
    """The same with ``failureCondition: result[0] > 2 * limit`` beside it. What is between the two is inconclusive:
    it pauses the rollout until somebody comes, which is neither a revert nor an end of the exposure."""
    rate, _ = minutes.rates
    return _first(np.cumsum(rate > 2 * limit, axis=1) > failure_limit)


_Z_98 = 2.3263478740408408
"""Of a two-sided confidence of 98 %."""
_LEAST_MINUTES = 5
"""Before that no rank sum can be so unlikely."""


def kayenta(minutes: Minutes, allowed: float, peeks: tuple[int, ...]) -> Whole:
    """Kayenta (a69573be, NetflixACAJudge): Mann-Whitney on the minutes' error rates, unweighted, from the first minute
    on.

    High, and with its only metric high the release fails, if the lower end of the 98 % interval of the Hodges-Lehmann
    shift is above a quarter of the shift, and the ratio of the means is at least ``allowed``. Minutes without requests
    are left out; where a mean is zero the second condition is waived. The ends of the interval are order statistics of
    the differences (normal approximation, corrected for continuity and ties), as R has them to within a rank.
    """
    candidate, stable = minutes.rates
    ends = np.full(len(candidate), NEVER)
    for peek in peeks:
        going = np.flatnonzero(ends == NEVER)
        high = _is_high(candidate[going, : peek + 1], stable[going, : peek + 1], allowed)
        ends[going[high]] = peek
    return ends


def kayenta_peeking(minutes: Minutes, _: float) -> Whole:
    """Each minute from the fifth on, with half as much again allowed."""
    return kayenta(minutes, 1.5, tuple(range(_LEAST_MINUTES - 1, minutes.candidate[0].shape[1])))


def kayenta_once(minutes: Minutes, _: float) -> Whole:
    """One look at the end, as it comes."""
    return kayenta(minutes, 1.0, (minutes.candidate[0].shape[1] - 1,))


def _is_high(candidate: Array, stable: Array, allowed: float) -> NDArray[np.bool_]:
    """Per run; rows without a gap at once, the others one by one."""
    whole = ~(np.isnan(candidate).any(axis=1) | np.isnan(stable).any(axis=1))
    high = np.zeros(len(candidate), dtype=bool)
    if whole.any():
        high[whole] = _high(candidate[whole], stable[whole], allowed)
    for run in np.flatnonzero(~whole):
        both = [arm[run][~np.isnan(arm[run])][None] for arm in (candidate, stable)]
        if min(both[0].size, both[1].size) >= _LEAST_MINUTES:
            high[run] = _high(both[0], both[1], allowed)[0]
    return high


def _high(candidate: Array, stable: Array, allowed: float) -> NDArray[np.bool_]:
    runs, m, n = len(candidate), candidate.shape[1], stable.shape[1]
    differences = (candidate[:, :, None] - stable[:, None, :]).reshape(runs, m * n)
    means = candidate.mean(axis=1), stable.mean(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        large = (means[0] == 0) | (means[1] == 0) | (means[0] / means[1] >= allowed)
    high = np.zeros(runs, dtype=bool)
    # No shift upwards where the mean is not larger: most of the healthy, at no cost.
    asked = np.flatnonzero(large & (means[0] > means[1]))
    if not len(asked):
        return high
    below = _ranks_below(candidate[asked], stable[asked])
    middle = (m * n - 1) // 2, m * n // 2
    kept = np.unique([*below.tolist(), *middle])
    ordered = np.partition(differences[asked], kept, axis=1)
    low = ordered[np.arange(len(asked)), below]
    shift = (ordered[:, middle[0]] + ordered[:, middle[1]]) / 2
    high[asked] = (low > 0.25 * np.abs(shift)) & (low > 0)
    return high


def _ranks_below(candidate: Array, stable: Array) -> Whole:
    """Per run: the rank, from 0, of the difference that is the lower end of the interval."""
    m, n = candidate.shape[1], stable.shape[1]
    total = m + n
    tied = _ties(candidate) + _ties(stable)
    sigma = np.sqrt(m * n / 12 * np.maximum(total + 1 - tied / (total * (total - 1)), 0))
    ranks: Whole = np.clip(np.floor(m * n / 2 - 0.5 - _Z_98 * sigma), 0, m * n - 1).astype(np.int64)
    return ranks


def _ties(values: Array) -> Array:
    """Sum of t^3 - t over groups of t equal values, per run; those of one arm, as shifted arms seldom tie."""
    ordered = np.sort(values, axis=1)
    same = np.concatenate([np.zeros((len(values), 1), dtype=bool), np.diff(ordered, axis=1) == 0], axis=1)
    # The k-th of equal values, from 0, adds 3k(k+1): these sum up to t^3 - t.
    at = np.arange(values.shape[1])
    begun = np.maximum.accumulate(np.where(same, 0, at), axis=1)
    nth = at - begun
    summed: Array = (3 * nth * (nth + 1)).sum(axis=1)
    return summed


RULES: dict[str, Rule] = {
    "Kayenta, each minute": kayenta_peeking,
    "Kayenta, once at 60 min": kayenta_once,
    "Flagger, 5 failed checks": flagger,
    "3 failed checks in a row": in_a_row,
    "Argo, failureLimit 3": argo,
    "Argo, both conditions": argo_two_sided,
}


def reverted(rule: str, trace: Trace, seconds: float, base: float) -> Whole:
    """The look with which each run is reverted, or ``NEVER``: the last of its minute."""
    ends = RULES[rule](Minutes.of(trace, seconds), limit_for(base))
    per = round(60 / seconds)
    return np.where(ends == NEVER, NEVER, (ends + 1) * per - 1)
