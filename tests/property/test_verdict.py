"""What holds for all counts: no evidence from nothing, capped gains, and a restart that changes nothing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.core.verdict.decision import Family, Plan
from tidegate.core.verdict.evidence import Check, Counts, Evidence, Rule
from tidegate.core.verdict.kernel import Boundary, Floats, Poll, Tally, against_stable
from tidegate.core.verdict.mixture import FailProcess, Pace, PassProcess

RULE = Rule(relative=Boundary(1.5, 1e-5), margin=1e-3, absolute=0.05, breaker=True, banded=True, usual=1e-3)
FEWER = Rule(relative=Boundary(0.95, 0), margin=0, absolute=None, breaker=False, banded=True, usual=1e-2, rising=False)
PLAN = Plan.of({"errors": (Family.Errors, RULE)}, alpha=0.05)
CAPS = PLAN.caps_of("errors")
PACE = Pace(polls=100, steps=4)


@st.composite
def tallies(draw: st.DrawFn) -> Tally:
    requests = draw(st.integers(0, 3000))
    return Tally(draw(st.integers(0, requests)), requests)


@st.composite
def counted(draw: st.DrawFn) -> Counts:
    poll = Poll(draw(tallies()), draw(tallies()))
    return Counts(poll, poll)


def after(evidence: Evidence, counts: Counts) -> Evidence:
    return evidence.after(counts, RULE, PACE, CAPS)


def logs(evidence: Evidence) -> list[float]:
    failing = [process.log_m for process in evidence.failing.values()]
    return failing + [process.log_m for process in evidence.passing.values()]


@settings(max_examples=60)
@given(st.lists(counted(), min_size=1, max_size=12), st.data())
def test_a_restart_at_any_look_changes_nothing(polls: list[Counts], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(polls)))
    through = restarted = Evidence.new(RULE)
    for index, counts in enumerate(polls):
        if index == at:
            restarted = Evidence.load(json.loads(json.dumps(restarted.dump())))
        if index % 5 == 4:
            through, restarted = through.stepped(RULE, PACE), restarted.stepped(RULE, PACE)
        through, restarted = after(through, counts), after(restarted, counts)
    assert logs(restarted) == pytest.approx(logs(through), abs=1e-9)
    assert restarted.proven(RULE) == through.proven(RULE)


@settings(max_examples=60)
@given(st.lists(counted(), min_size=1, max_size=8))
def test_no_poll_gains_more_than_its_cap(polls: list[Counts]) -> None:
    evidence = Evidence.new(RULE)
    for counts in polls:
        following = after(evidence, counts)
        for test in (Check.Relative, Check.Absolute):
            gain = following.failing[test].log_m - evidence.failing[test].log_m
            assert gain <= CAPS[test] + 1e-9
        evidence = following


@settings(max_examples=40)
@given(counted(), tallies())
def test_a_poll_without_candidate_requests_is_no_evidence(before: Counts, stable: Tally) -> None:
    evidence = after(Evidence.new(RULE), before)
    idle = after(evidence, Counts(Poll(Tally(), stable), Poll(Tally(), stable)))
    assert idle.failing == evidence.failing
    assert idle.passing == evidence.passing
    assert idle.band == evidence.band


@settings(max_examples=60)
@given(st.lists(counted(), max_size=10))
def test_the_state_is_small_and_finite(polls: list[Counts]) -> None:
    evidence, fewer = Evidence.new(RULE), Evidence.new(FEWER)
    for counts in polls:
        evidence, fewer = after(evidence, counts), fewer.after(counts, FEWER, PACE, CAPS)
    assert len(json.dumps(evidence.dump())) < 2500
    assert all(math.isfinite(log) for log in logs(evidence) + logs(fewer))


@settings(max_examples=60)
@given(st.lists(counted(), min_size=1, max_size=8), st.floats(1, 30), st.floats(1, 30))
def test_the_more_pods_differ_the_less_fails_or_passes(polls: list[Counts], one: float, other: float) -> None:
    """Look by look: what a look may gain shrinks with phi."""
    phis = sorted((one, other))
    for counts in polls:
        little, much = (Evidence.new(RULE).after(counts, RULE, PACE, CAPS, phi) for phi in phis)
        for less, more in zip(logs(much), logs(little), strict=True):
            assert less <= max(more, 0) + 1e-9


@settings(max_examples=100)
@given(
    p_s=st.floats(0.0001, 0.3),
    guess=st.floats(1e-6, 0.5),
    rho=st.floats(0.5, 3),
    delta=st.floats(0, 0.05),
    n_c=st.integers(1, 40),
    n_s=st.integers(1, 400),
    phi=st.floats(1, 5),
)
def test_no_bet_wins_on_average_at_the_boundary(
    p_s: float, guess: float, rho: float, delta: float, n_c: int, n_s: int, phi: float
) -> None:
    """In closed form: for Bernoulli events the expectation is (1 - p + p e^slope)^n; tempered it is less."""
    boundary = Boundary(rho, delta)
    effects = np.array([0.1, 0.5, 0.93, 1.15, 2, 15, 1000])

    def log_e(x_c: float, x_s: float) -> Floats:
        return against_stable(Poll(Tally(x_c, n_c), Tally(x_s, n_s)), boundary, effects, guess) / phi

    none = log_e(0, 0)
    p_c = min(boundary.at(p_s), 1.0)
    if p_c < boundary.at(p_s):
        return
    of_candidate = n_c * np.log1p(p_c * np.expm1(log_e(1, 0) - none))
    of_stable = n_s * np.log1p(p_s * np.expm1(log_e(0, 1) - none))
    assert (none + of_candidate + of_stable <= 1e-9).all()


@settings(max_examples=60)
@given(st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), max_size=20))
def test_the_mixture_never_makes_mass_of_nothing(polls: list[list[float]]) -> None:
    """With e-values that multiply to one on every path, the whole is bounded by the luckiest bet."""
    process, best = FailProcess.new(3), np.zeros(3)
    prior = np.full(3, -math.log(3))
    luckiest = 0.0
    for log_e in polls:
        process = process.after(np.array(log_e), prior, PACE, cap=math.inf)
        best = np.maximum(best, 0) + np.array(log_e)
        luckiest = max(float(best.max()), 0.0)
        assert process.log_m <= luckiest + 1e-9
        assert 0 < process.left <= 1
    assert FailProcess.load(json.loads(json.dumps(process.dump()))).log_m == pytest.approx(process.log_m, abs=1e-9)


def test_an_empty_process_is_worth_one() -> None:
    assert FailProcess.new(5).log_m == 0
    assert PassProcess.new(5).log_m == pytest.approx(0)
