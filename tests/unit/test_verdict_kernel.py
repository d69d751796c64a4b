"""The e-values are valid, by counting out every outcome, and strong enough, by counting requests."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from tidegate.core.verdict.kernel import (
    GROSS_DELTA,
    GROSS_RHO,
    Boundary,
    Floats,
    Poll,
    Tally,
    against_limit,
    against_stable,
    divergence,
    gross,
)  # fmt: skip

WORSE = np.array([1.15, 1.6, 2.7, 7, 40, 1000])
BETTER = np.array([0.93, 0.65, 0.3, 0.1])
SIZES = [(1, 1), (1, 9), (6, 3), (4, 12), (12, 2)]


def chances(requests: int, rate: float) -> list[float]:
    return [math.comb(requests, x) * rate**x * (1 - rate) ** (requests - x) for x in range(requests + 1)]


def expected(log_e: Callable[[Poll], Floats], n_c: int, n_s: int, p_c: float, p_s: float) -> float:
    """The largest expectation of any bet's e-value, over all outcomes of independent requests."""
    of_candidate, of_stable = chances(n_c, p_c), chances(n_s, p_s)
    outcomes = [
        chance_c * chance_s * np.exp(log_e(Poll(Tally(x_c, n_c), Tally(x_s, n_s))))
        for (x_c, chance_c), (x_s, chance_s) in itertools.product(enumerate(of_candidate), enumerate(of_stable))
    ]
    return float(np.sum(outcomes, axis=0).max())


@pytest.mark.parametrize(("n_c", "n_s"), SIZES)
@pytest.mark.parametrize("boundary", [Boundary(1.5, 1e-5), Boundary(1.0, 1e-4), Boundary(1.2, 0.05)])
def test_a_candidate_at_its_limit_gives_no_evidence_on_average(n_c: int, n_s: int, boundary: Boundary) -> None:
    for p_s, expectation in itertools.product((0.001, 0.1, 0.6), (0.001, 0.05)):
        p_c = boundary.at(p_s)
        if p_c > 1:
            continue
        for effects in (WORSE, BETTER):
            assert expected(lambda poll: against_stable(poll, boundary, effects, expectation), n_c, n_s, p_c, p_s) <= 1  # noqa: B023
    # Inside the null it is no different.
    better = expected(lambda poll: against_stable(poll, boundary, WORSE, 0.01), n_c, n_s, 0.01, 0.05)
    worse = expected(lambda poll: against_stable(poll, boundary, BETTER, 0.01), n_c, n_s, 0.5, 0.05)
    assert max(better, worse) <= 1


@pytest.mark.parametrize("limit", [0.001, 0.05, 0.5, 0.97])
def test_a_limit_is_held_to_exactly(limit: float) -> None:
    effects = np.concatenate([WORSE, BETTER])
    found = expected(lambda poll: against_limit(poll.candidate, limit, effects), 12, 0, limit, 0.0)
    assert found == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("n_c", "n_s"), SIZES)
def test_the_gross_breaker_is_valid(n_c: int, n_s: int) -> None:
    for p_s, expectation in itertools.product((0.0, 0.02, 0.19), (1e-6, 0.02, 0.2)):
        p_c = GROSS_RHO * p_s + GROSS_DELTA
        effects = np.array([1.25, 2, 4])
        assert expected(lambda poll: gross(poll, effects, expectation), n_c, n_s, p_c, p_s) <= 1 + 1e-12  # noqa: B023


def test_fractional_scores_are_valid_too() -> None:
    """A request that scores 0.3 or 0 instead of 1 or 0."""
    boundary, score, p_c = Boundary(1.0, 1e-4), 0.3, 0.5
    values = [
        chance * np.exp(against_stable(Poll(Tally(score * x, 8), Tally(0, 8)), boundary, WORSE, 0.01))
        for x, chance in enumerate(chances(8, p_c))
    ]
    # Stable's events, all of score 1, have the same mean and are independent.
    stable = [
        chance * np.exp(against_stable(Poll(Tally(0, 8), Tally(x, 8)), boundary, WORSE, 0.01))
        for x, chance in enumerate(chances(8, score * p_c))
    ]
    nothing = np.exp(against_stable(Poll(Tally(0, 8), Tally(0, 8)), boundary, WORSE, 0.01))
    assert float((sum(values) * sum(stable) / nothing).max()) <= 1


def test_the_tilt_is_the_best_one() -> None:
    """No other tilt grows faster on average, when the rates are as the bet has them."""
    boundary, p, effect = Boundary(1.5, 1e-3), 0.02, 3.0
    p_c = effect * boundary.at(p)
    poll = Poll(Tally(100 * p_c, 100), Tally(400 * p, 400))
    best = against_stable(poll, boundary, np.array([effect]), p)[0]
    assert all(against_stable(poll, boundary, np.array([other]), p)[0] <= best for other in (2.0, 2.8, 3.2, 4.0))


def test_the_gross_breakers_tilt_is_the_best_one_and_none_where_no_bet_grows() -> None:
    kappa, p = 0.25, 0.02
    boundary = GROSS_RHO * p + GROSS_DELTA
    for effect in (1.25, 2.0, 2.5):
        p_c = effect * boundary
        poll = Poll(Tally(100 * p_c, 100), Tally(400 * p, 400))
        best, *others = gross(poll, np.array([effect, 0.97 * effect, 1.01 * effect]), p)
        assert 0 < max(others) < best
    assert gross(Poll(Tally(0, 100), Tally(0, 100 / kappa)), np.array([1.0]), p) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("weight", [0.05, 0.25, 0.5])
def test_half_of_the_requests_failing_is_gross_within_130(weight: float) -> None:
    stable = 130 * (1 - weight) / weight
    e = np.exp(gross(Poll(Tally(65, 130), Tally(0, stable)), np.array([1.25, 2, 4]), 1e-3))
    assert 0.6 * float(e @ [0.5, 0.25, 0.25]) >= 1 / (0.05 * 0.1)


def test_a_failing_stable_takes_the_blame_from_the_candidate() -> None:
    down = gross(Poll(Tally(30, 30), Tally(270, 270)), np.array([1.25, 2, 4]), 1e-3)
    assert down.max() < 0


def test_divergence_is_zero_only_without_a_difference() -> None:
    assert divergence(0.3, 0.3) == 0
    assert divergence(0.5, 0.4) == pytest.approx(0.0204, abs=1e-4)
    assert divergence(0.0, 0.1) == pytest.approx(-math.log(0.9), abs=1e-6)
