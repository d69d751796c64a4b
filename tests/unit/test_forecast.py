"""The forecast of `tidegate plan`, held against simulated releases."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tidegate.api.bluegreen import BlueGreenSpec
from tidegate.api.canary import CanarySpec
from tidegate.simulation import scenario
from tidegate.simulation.forecast import MetricForecast, forecast
from tidegate.simulation.many import many
from tidegate.simulation.story import End, Setting

RUNS = 24


def release(**fields: Any) -> CanarySpec:
    return CanarySpec.model_validate({"targetRef": {"name": "checkout"}, **fields})


def errors(spec: CanarySpec, sizes: tuple[str, ...] = ("2x", "5x", "20x", "100%"), **said: Any) -> MetricForecast:
    return forecast(spec, scenario.read(said), sizes)[0]


@pytest.mark.parametrize(
    ("size", "weight", "said"),
    [
        ("5x", 5, {"traffic": 50}),
        ("4x", 25, {"traffic": 20}),
        ("10x", 50, {"traffic": 20, "base": "0.1%"}),
        ("20x", 10, {"traffic": 10}),
        ("100%", 10, {"traffic": 100}),
    ],
)
def test_a_regression_is_seen_when_the_forecast_says(size: str, weight: int, said: dict[str, Any]) -> None:
    spec = release(steps=[{"weight": weight, "bake": "1h"}])
    (seen,) = errors(spec, (size,), **said).steps[0].seen
    stories = many(
        Setting("CanaryRelease", "checkout", spec, scenario.read({**said, "regressions": [size]})), range(RUNS)
    )
    took = sorted(one.at - one.first for one in stories.stories if one.end is End.REVERTED)
    assert len(took) == RUNS
    in_time = sum(one <= seen.seconds for one in took)
    assert in_time >= 0.85 * RUNS, f"{in_time} of {RUNS} within {seen.seconds:.0f} s, forecast for 95 %"
    assert seen.seconds <= 2.5 * took[int(0.9 * RUNS)] + 30, "nor is it much too careful"
    assert seen.requests >= seen.bound


def test_a_switch_is_watched_from_its_warm_up_on() -> None:
    spec = BlueGreenSpec.model_validate({"targetRef": {"name": "checkout"}, "watch": "30m"})
    (found,) = forecast(spec, scenario.read({"traffic": 20}), ("10x",))
    watch, keep = found.steps
    assert (watch.index, watch.requests, keep.requests) == (2, 20 * (1800 - 60), 20 * 600)
    bad = scenario.read({"traffic": 20, "regressions": ["10x"]})
    took = [one.at - one.first for one in many(Setting("BlueGreenRelease", "checkout", spec, bad), range(RUNS)).stories]
    assert sum(one <= watch.seen[0].seconds for one in took) >= 0.85 * RUNS
    short = forecast(BlueGreenSpec.model_validate({"targetRef": {"name": "checkout"}}), bad, ("100%",))[0]
    assert short.steps[0].requests == 0, "the default watch is no longer than the warm-up"
    assert short.advice[-2:] == (
        "100% cannot be seen at weight 100 within 1m00s: bake for 1m45s; step 3 sees it",
        "step 2: too few requests within the bake for minRequests (100): it is extended, up to 2 times; a bake of"
        " 1m05s would do",
    )


def test_the_warm_up_goes_on_in_the_next_step_where_bakes_are_short() -> None:
    spec = release(steps=[{"weight": 10, "bake": "40s"}, {"weight": 20, "bake": "40s"}], analysis={"minRequests": 0})
    assert [one.requests for one in errors(spec, traffic=10).steps] == [0, 10 * 0.2 * 20]


def test_where_stable_is_beyond_a_limit_too_the_candidate_has_to_be_worse() -> None:
    spec = release(steps=[{"weight": 25, "bake": "1h"}])
    found = errors(spec, ("1.2x",), traffic=50, base="10%")
    assert found.advice[0] == (
        "stable itself is beyond max (10 % of requests, and 5 % are allowed): only what is worse than it fails; a"
        " greater max would do"
    )
    bad = scenario.read({"traffic": 50, "base": "10%", "regressions": ["1.2x"]})
    stories = many(Setting("CanaryRelease", "checkout", spec, bad), range(RUNS)).stories
    took = sorted(one.at - one.first for one in stories if one.end is End.REVERTED)
    assert sum(one <= found.steps[0].seen[0].seconds for one in took) >= 0.8 * RUNS
    assert found.steps[0].seen[0].seconds <= 2.5 * took[-3]


def test_where_nothing_ever_fails() -> None:
    (seen,) = errors(release(), ("+1%",), traffic=50, base="0%").steps[2].seen
    assert 60 < seen.seconds < 240


def test_what_the_default_steps_see() -> None:
    found = errors(release(), traffic=50)
    assert [one.step.weight for one in found.steps] == [5, 10, 25, 50, 100]
    first = found.steps[0]
    assert first.enough
    assert round(first.requests) == 2100
    assert [one.within for one in first.seen] == [False, True, True, True]
    assert first.smallest is not None
    assert 2 < first.smallest < 5
    assert not found.steps[-1].compares
    assert math.isinf(found.steps[-1].seen[0].requests), "at 100 % only a limit of its own can fail it"
    assert found.advice[0].startswith("2x cannot be seen at weight 5 within 15m00s")


def test_what_would_help_is_said() -> None:
    (advice,) = errors(release(), ("3.2x",), traffic=50).advice
    assert advice == "3.2x cannot be seen at weight 5 within 15m00s: start at 10"
    physics = errors(release(), ("2x",), traffic=1, base="0.1%").advice[0]
    assert "physics: no test whatever" in physics
    few = errors(release(), ("100%",), traffic=1).advice[-1]
    assert few.startswith("step 1, 2: too few requests within the bake for minRequests (100)")
    proven = release(analysis={"advance": "Proven"})
    assert "cannot be Proven within the bake" in errors(proven, ("5x",), traffic=5).advice[-1]


def test_what_is_within_the_limits_is_no_regression() -> None:
    found = errors(release(), ("1.4x",), traffic=50)
    assert all(math.isinf(one.seen[0].requests) for one in found.steps)
    assert found.advice == ()


def test_a_slower_candidate_is_seen_by_its_quantile() -> None:
    latency = forecast(release(), scenario.read({"traffic": 50, "latency": "80ms"}), (), ("1.2x", "2x"))[1]
    assert latency.usual == pytest.approx(0.01)
    first = latency.steps[0]
    assert math.isinf(first.seen[0].requests)
    assert first.seen[1].within
    assert latency.steps[3].proven < 900


def test_a_drop_is_seen_when_the_forecast_says() -> None:
    carts = {"name": "carts", "ratio": {"of": "carts_total", "to": "sessions_total"}, "maxDecrease": "10%"}
    spec = release(steps=[{"weight": 50, "bake": "30m"}], analysis={"metrics": [carts]})
    said = {"traffic": 100, "ratios": {"carts": "10%"}}
    (found,) = forecast(spec, scenario.read(said), (), (), ("0.95x", "0.5x"))
    within, seen = found.steps[0].seen
    assert math.isinf(within.requests)
    assert found.steps[0].smallest is not None
    assert 0.5 < found.steps[0].smallest < 0.9
    half = scenario.read({**said, "regressions": ["carts:0.5x"]})
    stories = many(Setting("CanaryRelease", "checkout", spec, half), range(8))
    assert stories.worse
    assert all(one.at - one.first <= seen.seconds for one in stories.stories)
