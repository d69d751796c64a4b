"""What is told of stable's pods before they are compared with anything."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.api.analysis import AnalysisSpec, MetricSpec, Preset
from tidegate.core import caveat
from tidegate.core import metric as held
from tidegate.core.verdict.dispersion import Dispersion
from tidegate.core.verdict.kernel import Floats

LOOKS, INTERVAL = 240, 15.0
PODS = ("shop-a", "shop-b", "shop-c", "shop-d")


def told(rates: Floats | float, rps: float = 10.0, increase: float = 0.5, seed: int = 1, cluster: int = 1) -> str:
    """Of an hour of four pods with these error rates."""
    rng = np.random.default_rng(seed)
    requests = rng.poisson(rps * INTERVAL / len(PODS), (LOOKS, len(PODS))).astype(float)
    events = np.minimum(cluster * rng.poisson(requests * rates / cluster), requests).astype(float)
    metric = MetricSpec(name="errors", preset=Preset.ErrorRatio, max_increase=increase)
    plan = held.plan(AnalysisSpec(metrics=(metric,)))
    phi = Dispersion().after_history(requests, events).phi()
    return caveat.told("errors", held.rule(metric), plan, phi, PODS, requests, events, INTERVAL)


@pytest.mark.parametrize("seed", range(10))
def test_pods_that_are_alike_are_not_told_of(seed: int) -> None:
    assert told(0.01, seed=seed) == ""


def test_a_sick_pod_is_named_with_what_it_has_and_what_to_do() -> None:
    text = told(np.array([0.002, 0.002, 0.03, 0.002]))
    assert text.startswith("errors: in the 60 min before, stable's 4 pods differed ")
    assert "times as much as chance explains: evidence counts for 1/" in text
    assert "pod shop-c has 8" in text
    assert "% of the bad ones and 25 % of all requests: look at that pod, or delete it" in text


def test_errors_in_clusters_say_what_a_doubling_takes_and_what_helps() -> None:
    text = told(0.01, cluster=8)
    assert "differed 6.7 times as much as chance explains" in text
    assert "and to see a doubling takes about " in text
    assert "at 10 % of the traffic; what helps: 3 pods of the candidate or more" in text


def test_where_traffic_makes_up_for_it_nothing_is_told() -> None:
    assert told(0.01, cluster=8, rps=10000.0) == ""


def test_a_doubling_that_is_within_the_limits_is_not_reckoned() -> None:
    text = told(np.array([0.002, 0.002, 0.03, 0.002]), increase=2.0)
    assert "doubling" not in text
    assert "pod shop-c" in text
