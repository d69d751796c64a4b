"""How much more counts vary than chance has it: seen among stable's pods, or between the arms."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from tidegate.core.verdict.dispersion import AmongPods, BetweenArms, Dispersion
from tidegate.core.verdict.kernel import Floats, Poll, Tally

Rates = Callable[[np.random.Generator, int, int], Floats]
REQUESTS, LOOKS, PODS = 200, 240, 9


def steady(rng: np.random.Generator, looks: int, pods: int) -> Floats:
    return np.full((looks, pods), 0.02)


def noisy(rng: np.random.Generator, looks: int, pods: int) -> Floats:
    return 0.02 * rng.gamma(1, 1, (looks, pods))


def drifting(rng: np.random.Generator, looks: int, pods: int) -> Floats:
    """Pods that are worse or better for 20 looks at a time."""
    return 0.02 * np.repeat(rng.gamma(4, 0.25, (looks // 20, pods)), 20, axis=0)


def together(rng: np.random.Generator, looks: int, pods: int) -> Floats:
    """Outages that all pods share."""
    return np.repeat(rng.choice([0.002, 0.5], (looks, 1), p=[0.9, 0.1]), pods, axis=1)


def history(rates: Rates, seed: int = 1, *, cluster: int = 1) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    requests = rng.poisson(REQUESTS, (LOOKS, PODS)).astype(float)
    return requests, cluster * rng.poisson(requests * rates(rng, LOOKS, PODS) / cluster).astype(float)


def look(requests: Floats, events: Floats) -> dict[str, Tally]:
    return {f"{pod:04x}": Tally(events[pod], requests[pod]) for pod in range(len(requests))}


@pytest.mark.parametrize(
    ("rates", "cluster", "least", "most"),
    [
        (steady, 1, 1.0, 1.25),
        (together, 1, 1.0, 1.3),
        (noisy, 1, 4.0, 6.5),
        (drifting, 1, 12.0, 27.0),
        (steady, 5, 4.5, 6.5),
    ],
)
def test_phi_is_what_evidence_must_be_divided_by(rates: Rates, cluster: int, least: float, most: float) -> None:
    """4 events a pod and look. Noise of a pod's own adds their number times its variance, and clusters their size; what
    lasts for 20 looks adds 20 times as much, by the blocks of 20."""
    phis = [Dispersion().after_history(*history(rates, seed, cluster=cluster)).phi() for seed in range(10)]
    assert least <= float(np.median(phis)) <= most
    assert min(phis) >= 1


@pytest.mark.parametrize(
    ("rates", "cluster", "lasts"),
    [(steady, 1, False), (together, 1, False), (noisy, 1, False), (steady, 5, False), (drifting, 1, True)],
)
def test_pods_that_differ_for_long_let_no_two_vouch_for_a_version(rates: Rates, cluster: int, lasts: bool) -> None:
    for seed in range(20):
        known = Dispersion().after_history(*history(rates, seed, cluster=cluster))
        assert known.pods.lasts is lasts
        assert [known.vouched_by(pods) for pods in (0, 1, 2, 3)] == [True, not lasts, not lasts, True]


def test_look_by_look_it_is_what_the_history_says() -> None:
    requests, events = history(noisy)
    whole = AmongPods().after_history(requests, events)
    one_by_one = AmongPods()
    for at in range(LOOKS):
        one_by_one = one_by_one.after(look(requests[at], events[at]))
    assert one_by_one.phi(0) == pytest.approx(whole.phi(0), abs=1e-3), "but for what the journal rounds"
    assert (one_by_one.told, one_by_one.events) == (whole.told, whole.events)


def test_little_is_believed_before_much_is_seen() -> None:
    requests, events = history(noisy)
    few, many = (Dispersion().after_history(requests[:looks], events[:looks]).phi() for looks in (2, 200))
    assert few < many
    assert Dispersion().phi() == pytest.approx(1.2), "with nothing known"
    assert AmongPods().phi(0) == pytest.approx(1.05)


def test_a_pod_that_gets_more_than_a_pod_of_stable_had_differs_by_more() -> None:
    known = Dispersion().after_history(*history(noisy))
    usual = known.pods.events / known.pods.told
    assert usual == pytest.approx(4, rel=0.1)
    assert known.phi(usual / 2) == known.phi(usual) == known.phi()
    assert known.phi(3 * usual) - 1 == pytest.approx(3 * (known.phi() - 1))


def test_pods_without_events_or_alone_say_nothing() -> None:
    none = Dispersion().after_history(np.full((40, 5), 100.0), np.zeros((40, 5)))
    assert none.phi(1.0) == pytest.approx(1.05)
    one = Dispersion().after_history(np.full((40, 1), 100.0), np.full((40, 1), 3.0))
    assert one.phi() == pytest.approx(1.2), "the arms are all there is"
    assert Dispersion().after_history(np.zeros((0, 0)), np.zeros((0, 0))) == Dispersion()


def test_pods_may_come_and_go() -> None:
    among, rng = AmongPods(), np.random.default_rng(3)
    for at in range(200):
        born = range(at // 10, at // 10 + 5)
        among = among.after({f"{pod:04x}": Tally(float(rng.poisson(4)), 200.0) for pod in born})
    assert among.phi(0) < 1.4
    assert len(among.under_way) <= 10


def between(ratios: Floats, seed: int) -> BetweenArms:
    rng, arms = np.random.default_rng(seed), BetweenArms()
    for ratio in ratios:
        poll = Poll(Tally(float(rng.poisson(5 * ratio)), 100.0), Tally(float(rng.poisson(45)), 900.0))
        arms = arms.after(poll)
    return arms


def test_without_pods_the_arms_tell_noise_from_chance_and_a_regression_at_once_is_none() -> None:
    rng = np.random.default_rng(5)
    even = float(np.median([between(np.ones(120), seed).phi for seed in range(10)]))
    worse = float(np.median([between(np.full(120, 5.0), seed).phi for seed in range(10)]))
    uneven = float(np.median([between(rng.gamma(1, 1, 120), seed).phi for seed in range(10)]))
    assert 1.0 <= even < 1.5
    assert worse < 1.6
    assert uneven > 2.5


def test_arms_without_events_are_alike() -> None:
    arms = BetweenArms()
    for _ in range(50):
        arms = arms.after(Poll(Tally(0, 100), Tally(0, 900)))
    assert arms.phi == pytest.approx(1.2)


def test_a_restart_changes_nothing() -> None:
    requests, events = history(noisy)
    events = events * 0.377  # as of buckets that are cut in two
    for pods in (True, False):
        through = restarted = Dispersion()
        for at in range(50):
            polls = Poll(Tally(events[at, 0], requests[at, 0]), Tally(events[at].sum(), requests[at].sum()))
            told = look(requests[at], events[at]) if pods else {}
            through = through.after(told, polls)
            restarted = Dispersion.load(json.loads(json.dumps(restarted.dump()))).after(told, polls)
            assert restarted.phi(9.0) == through.phi(9.0)
    assert Dispersion.load(Dispersion().dump()) == Dispersion()


def test_whole_events_stay_whole_however_many_a_block_has() -> None:
    among = AmongPods()
    for _ in range(3):
        among = among.after({"one": Tally(123_457, 654_321), "two": Tally(123_459, 654_323)})
    assert among.under_way["one"][1] == Tally(370_371, 1_962_963)
