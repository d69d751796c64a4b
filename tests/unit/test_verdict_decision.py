"""From evidence to a verdict: what fails, what passes, and what one poll may do."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from tidegate.core.verdict.decision import Family, Plan, judge, needed, progress
from tidegate.core.verdict.evidence import Check, Counts, Evidence, Rule
from tidegate.core.verdict.kernel import Boundary, Poll, Tally
from tidegate.core.verdict.mixture import FROM_THE_START, Pace

ERRORS = Rule(relative=Boundary(1.5, 1e-5), margin=1e-3, absolute=0.05, breaker=True, banded=True, usual=1e-3)
LATENCY = Rule(relative=Boundary(1.0, 1e-4), margin=1e-3, absolute=0.01, breaker=False, banded=False, usual=0.01)
DEFAULT = {"errors": (Family.Errors, ERRORS), "latency": (Family.Latency, LATENCY)}
ORDERS = Rule(relative=Boundary(0.95, 0), margin=0, absolute=None, breaker=False, banded=True, usual=1e-2, rising=False)
BUSINESS = Plan.of({"orders": (Family.Business, ORDERS)}, alpha=0.05)
PACE = Pace(polls=240, steps=5)
PLAN = Plan.of(DEFAULT, alpha=0.05)


def counts(x_c: float, n_c: float, x_s: float, n_s: float) -> Counts:
    poll = Poll(Tally(x_c, n_c), Tally(x_s, n_s))
    return Counts(poll, poll)


def after(*polls: Counts, rule: Rule = ERRORS, plan: Plan = PLAN) -> Evidence:
    evidence = Evidence.new(rule)
    for poll in polls:
        evidence = evidence.after(poll, rule, PACE, plan.caps_of("errors"))
    return evidence


def failed(evidence: Evidence, plan: Plan = PLAN) -> bool:
    others = {name: Evidence.new(rule) for name, (_, rule) in DEFAULT.items()}
    return judge(plan, others | {"errors": evidence}).failed


def test_the_weights_are_one_altogether_and_gross_keeps_its_tenth() -> None:
    for metrics in (DEFAULT, {"errors": DEFAULT["errors"]}, {"a": (Family.Other, ERRORS), "b": (Family.Other, ERRORS)}):
        weights = Plan.of(metrics, alpha=0.05).weights
        assert math.isclose(sum(weights.values()), 1)
        assert math.isclose(sum(weight for (_, test), weight in weights.items() if test is Check.Gross), 0.1)
    assert math.isclose(sum(Plan.of({"latency": DEFAULT["latency"]}, 0.05).weights.values()), 1)


def test_the_whole_candidate_down_fails_in_the_first_poll() -> None:
    assert failed(after(counts(30, 30, 0, 270)))


def test_stable_down_as_well_fails_nobody() -> None:
    """But for an absolute limit, which does not ask who is to blame: so here is none."""
    rule = replace(ERRORS, absolute=None)
    plan = Plan.of({"errors": (Family.Errors, rule)}, alpha=0.05)
    evidence = after(*[counts(30, 30, 270, 270)] * 20, rule=rule, plan=plan)
    assert not judge(plan, {"errors": evidence}).failed


def test_half_of_the_requests_failing_fails_in_one_poll_of_330() -> None:
    assert failed(after(counts(165, 330, 0, 990)))


@pytest.mark.parametrize("metrics", [2, 8])
def test_short_of_gross_one_poll_fails_nothing(metrics: int) -> None:
    """Not even when every test of every metric goes as far as a poll may take it."""
    rule = replace(ERRORS, breaker=False)
    rules = {f"m{i}": (Family.Errors, rule) for i in range(metrics)}
    plan = Plan.of(rules, alpha=0.05)
    worst = {
        name: Evidence.new(rule).after(counts(1000, 1000, 0, 9000), rule, PACE, plan.caps_of(name)) for name in rules
    }
    assert not judge(plan, worst).failed
    again = {
        name: one.after(counts(1000, 1000, 0, 9000), rule, PACE, plan.caps_of(name)) for name, one in worst.items()
    }
    assert judge(plan, again).failed


@pytest.mark.parametrize("held", [0, 240, 8000])
def test_a_regression_is_found_however_long_the_release_was_held_before(held: int) -> None:
    """A person, or a gate, may keep it at a step for days: more looks than anybody planned."""
    random = np.random.default_rng(held)

    def poll(rate: float) -> Counts:
        return counts(float(random.binomial(250, rate)), 250, float(random.binomial(750, 0.004)), 750)

    evidence = after(*(poll(0.004) for _ in range(held)))
    assert not failed(evidence)
    for _ in range(60):
        evidence = evidence.after(poll(0.016), ERRORS, PACE, PLAN.caps_of("errors"))
    assert failed(evidence)


@pytest.mark.parametrize("planned", [1, 30, 240])
def test_regressions_of_all_times_have_one_mass_altogether(planned: int) -> None:
    """Beyond what was planned, too: steps that somebody adds, polls while a release is held."""
    pace, all_of_them = Pace(planned, steps=planned), range(200_000)
    mass = FROM_THE_START + sum(map(pace.of_poll, all_of_them)) + sum(map(pace.of_step, all_of_them))
    assert mass == pytest.approx(1, abs=1e-3)
    assert mass < 1


def test_steps_that_nobody_planned_leave_something_to_find_a_regression_by() -> None:
    evidence = Evidence.new(ERRORS)
    for _ in range(100):
        evidence = evidence.stepped(ERRORS, PACE).after(counts(1, 250, 3, 750), ERRORS, PACE, PLAN.caps_of("errors"))
    for _ in range(30):
        evidence = evidence.after(counts(4, 250, 3, 750), ERRORS, PACE, PLAN.caps_of("errors"))
    assert failed(evidence)


def test_the_metric_with_the_most_evidence_is_blamed() -> None:
    latency = Evidence.new(LATENCY)
    for _ in range(4):
        latency = latency.after(counts(80, 100, 9, 900), LATENCY, PACE, PLAN.caps_of("latency"))
    outcome = judge(PLAN, {"errors": after(counts(0, 100, 0, 900)), "latency": latency})
    assert outcome.failed
    assert outcome.failed_by("latency")
    assert not outcome.failed_by("errors")


def test_a_good_candidate_passes_and_a_bad_one_does_not() -> None:
    good = after(*[counts(1, 1000, 9, 9000)] * 12)
    assert good.proven(ERRORS)
    assert not good.leans(ERRORS)
    bad = after(*[counts(3, 1000, 9, 9000)] * 12)
    assert not bad.proven(ERRORS)


def test_passing_takes_two_polls_and_starts_anew_with_a_step() -> None:
    one = after(counts(0, 100000, 90, 900000))
    assert not one.proven(ERRORS)
    two = one.after(counts(0, 100000, 90, 900000), ERRORS, PACE, PLAN.caps_of("errors"))
    assert two.proven(ERRORS)
    stepped = two.stepped(ERRORS, PACE)
    assert not stepped.proven(ERRORS)
    assert stepped.failing[Check.Relative].log_m == two.failing[Check.Relative].log_m


def test_without_stable_traffic_the_limit_alone_is_watched() -> None:
    healthy = after(*[counts(1, 1000, 0, 0)] * 10)
    assert healthy.proven(ERRORS)
    assert healthy.failing[Check.Relative].left == 1
    assert failed(after(*[counts(200, 1000, 0, 0)] * 3))


def test_a_late_regression_is_found_about_as_fast_as_an_early_one() -> None:
    polls = [counts(1, 100, 9, 900)] * 100
    onset = 0
    while not failed(after(*polls)):
        polls.append(counts(10, 100, 9, 900))
        onset += 1
        assert onset <= 8


def test_what_is_needed_falls_as_requests_come_in() -> None:
    few, many = after(counts(1, 500, 9, 4500)), after(*[counts(1, 500, 9, 4500)] * 8)
    first, later = needed(PLAN, "errors", ERRORS, few), needed(PLAN, "errors", ERRORS, many)
    assert first is not None
    assert later is not None
    assert 0 < later < first
    assert needed(PLAN, "errors", ERRORS, Evidence.new(ERRORS)) is None


def test_progress_goes_from_none_to_failed() -> None:
    assert progress(PLAN, "errors", Evidence.new(ERRORS)) == 0
    assert progress(PLAN, "errors", after(counts(1, 100, 9, 900))) == 0
    some = progress(PLAN, "errors", after(counts(8, 100, 0, 900)))
    assert 0 < some < 1
    assert progress(PLAN, "errors", after(*[counts(50, 100, 0, 900)] * 5)) == 1


def test_the_interval_closes_around_the_true_ratio() -> None:
    evidence = after(*[counts(20, 1000, 90, 9000)] * 20)
    assert evidence.band is not None
    interval = evidence.band.interval(0.05)
    assert interval is not None
    assert interval[0] < 2 < interval[1]
    assert interval[0] > 1
    assert interval[1] < 4
    nothing = after(counts(0, 5, 0, 45)).band
    assert nothing is not None
    assert nothing.interval(0.05) is None


def test_the_test_needs_little_more_than_the_best_there_is() -> None:
    """The median of the requests to fail, against the bound that holds for any test (ANALYSIS.md G2)."""
    rng = np.random.default_rng(7)
    rule = replace(ERRORS, absolute=None, breaker=False)
    plan = Plan.of({"errors": (Family.Errors, rule)}, alpha=0.05)
    bound, step, ratios = 381.0, 12, []
    for _ in range(40):
        evidence, seen = Evidence.new(rule), 0
        while not judge(plan, {"errors": evidence}).failed:
            poll = counts(int(rng.binomial(step, 0.05)), step, int(rng.binomial(step, 0.01)), step)
            evidence = evidence.after(poll, rule, PACE, plan.caps_of("errors"))
            seen += step
        ratios.append(seen / bound)
    assert float(np.median(ratios)) <= 1.6


def test_healthy_releases_do_not_fail() -> None:
    """60 looks at 1 % errors in both arms, forty times; and at the limit no more often than promised."""
    rng = np.random.default_rng(11)

    def failures(rate: float) -> int:
        found = 0
        for _ in range(40):
            evidence = Evidence.new(ERRORS)
            for _ in range(60):
                poll = counts(int(rng.binomial(150, rate)), 150, int(rng.binomial(1350, 0.01)), 1350)
                evidence = evidence.after(poll, ERRORS, PACE, PLAN.caps_of("errors"))
                if failed(evidence):
                    found += 1
                    break
        return found

    assert failures(0.01) == 0
    assert failures(0.015) <= 2


def orders(rate: float, looks: int, seed: int) -> Evidence:
    """Of 3 % of stable's sessions an order comes, at 100 and 300 sessions a look."""
    rng, evidence = np.random.default_rng(seed), Evidence.new(ORDERS)
    for _ in range(looks):
        poll = counts(int(rng.binomial(100, rate)), 100, int(rng.binomial(300, 0.03)), 300)
        evidence = evidence.after(poll, ORDERS, PACE, BUSINESS.caps_of("orders"))
    return evidence


def lost(evidence: Evidence) -> bool:
    return judge(BUSINESS, {"orders": evidence}).failed


def test_orders_that_stay_away_fail() -> None:
    assert all(lost(orders(0.015, 120, seed)) for seed in range(10))
    assert lost(orders(0.0, 40, 1))


def test_as_many_orders_or_more_or_a_little_fewer_fail_nothing() -> None:
    for rate in (0.03, 0.06, 0.0285):
        assert not any(lost(orders(rate, 120, seed)) for seed in range(10))


def test_more_orders_pass_and_fewer_do_not() -> None:
    assert orders(0.045, 120, 1).proven(ORDERS)
    assert not orders(0.02, 120, 1).proven(ORDERS)
    assert not orders(0.02, 120, 1).within(Check.Relative, ORDERS)


def test_what_is_needed_to_tell_fewer_orders_is_told() -> None:
    few, many = (needed(BUSINESS, "orders", ORDERS, orders(rate, 5, 1)) for rate in (0.005, 0.02))
    assert few is not None
    assert many is not None
    assert few < many


def test_what_differs_more_than_chance_has_it_takes_more_to_tell() -> None:
    polls = [counts(4, 100, 9, 900)] * 6
    plain = after(*polls)
    tempered = Evidence.new(ERRORS)
    for poll in polls:
        tempered = tempered.after(poll, ERRORS, PACE, PLAN.caps_of("errors"), 3.0)
    assert tempered.failing[Check.Relative].log_m < plain.failing[Check.Relative].log_m
    few, more = (needed(PLAN, "errors", ERRORS, plain, phi) for phi in (1.0, 3.0))
    assert few is not None
    assert more is not None
    assert more > 2 * few


def test_candidates_that_are_down_fail_in_the_first_poll_however_much_pods_differ() -> None:
    evidence = Evidence.new(ERRORS).after(counts(30, 30, 0, 270), ERRORS, PACE, PLAN.caps_of("errors"), 50.0)
    assert failed(evidence)


def test_one_cluster_of_errors_is_not_gross_where_errors_come_in_clusters() -> None:
    cluster = counts(22, 30, 2, 270)
    assert failed(after(cluster)), "untempered, it is"
    assert not failed(Evidence.new(ERRORS).after(cluster, ERRORS, PACE, PLAN.caps_of("errors"), 9.0))


def test_an_outage_that_stable_shares_fails_nobody_beyond_a_limit() -> None:
    shared = after(*[counts(40, 100, 360, 900)] * 20)
    assert not failed(shared)
    assert not shared.leans(ERRORS)
    alone = after(*[counts(8, 100, 36, 900)] * 20)
    assert failed(alone), "beyond the limit, and worse than stable, which is within"
    without_stable = after(*[counts(40, 100, 0, 0)] * 3)
    assert failed(without_stable), "a limit counts alone where there is nobody to compare with"


def test_twice_as_bad_speaks_against_going_on_long_before_it_fails() -> None:
    bad = after(*[counts(0.8, 40, 7.6, 760)] * 60)
    assert not failed(bad)
    assert bad.leans(ERRORS)
    a_little = after(*[counts(0.48, 40, 7.6, 760)] * 60)
    assert not a_little.leans(ERRORS), "1.2 times is tolerated"
    differing = Evidence.new(ERRORS)
    for _ in range(60):
        differing = differing.after(counts(0.8, 40, 7.6, 760), ERRORS, PACE, PLAN.caps_of("errors"), 9.0)
    assert not differing.leans(ERRORS), "pods differ by as much"
    assert Evidence.load(json.loads(json.dumps(bad.dump()))).leans(ERRORS)


def test_fewer_orders_than_tolerated_speak_against_going_on() -> None:
    assert orders(0.015, 40, 1).leans(ORDERS)
    assert not orders(0.03, 40, 1).leans(ORDERS)
