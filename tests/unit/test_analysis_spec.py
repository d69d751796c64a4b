"""What ``spec.analysis`` accepts, and what it says of what it does not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tidegate.api.analysis import AnalysisSpec, MetricSpec, OnFail

ERRORS = {"name": "errors", "preset": "ErrorRatio", "max": "5%"}
CPU = {"preset": None, "gauge": {"query": 'cpu{pod=~"{{pods}}"}'}, "max": "90%"}
ORDERS = {"preset": None, "max": None, "ratio": {"of": "orders", "to": "sessions"}, "maxDecrease": "5%"}
QUERY = {"name": "own", "ratio": {"of": 'bad_total{pod=~"{{pods}}"}', "to": "all_total"}, "max": "5%"}


def test_pods_are_looked_at_each_second_unless_something_else_is_said() -> None:
    spec = AnalysisSpec.model_validate({"source": "Pods", "metrics": [{**ERRORS, "from": "Pods"}]})
    assert spec.interval.total_seconds() == 1
    assert spec.warmup == AnalysisSpec().warmup
    assert AnalysisSpec.model_validate(spec.wire()) == spec
    assert AnalysisSpec.model_validate({"source": "Pods", "interval": "5s"}).interval.total_seconds() == 5
    assert AnalysisSpec.model_validate({"source": "Prometheus"}) == AnalysisSpec()


def test_the_defaults_are_written_out_and_read_back() -> None:
    spec = AnalysisSpec()
    assert AnalysisSpec.model_validate(spec.wire()) == spec
    assert [metric["name"] for metric in spec.wire()["metrics"]] == ["errors", "latency"]  # type: ignore[attr-defined]
    assert spec.metrics[1].optional
    assert spec.metrics[1].level == pytest.approx(0.99)
    assert [metric.limit for metric in spec.metrics] == [0.05, 1.0]


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ({"preset": None}, "give exactly one of preset, ratio and gauge"),
        ({"ratio": {"of": "a", "to": "b"}}, "give exactly one of preset, ratio and gauge"),
        ({"max": None}, "a metric needs a limit"),
        ({"quantile": "p99"}, "quantile is for preset Latency"),
        ({"preset": "Latency"}, "max is a percentage such as 5%, or with preset Latency a duration"),
        ({"max": "1s"}, "max is a percentage such as 5%, or with preset Latency a duration"),
        ({"max": "100%"}, "max must be above 0% and below 100%"),
        ({"max": "0%"}, "max must be above 0% and below 100%"),
        ({"preset": "Latency", "max": "0s"}, "max must be above zero"),
        ({"preset": None, "ratio": {"of": "a", "to": "b"}, "from": "Pods"}, "from is for presets"),
        ({"preset": None, "ratio": {"of": "sum(a)", "to": "b"}}, "of must tell the two apart"),
        ({"preset": None, "ratio": {"of": "a", "to": "b / 2"}}, "to must tell the two apart"),
        ({"preset": "Latency", "quantile": "p9", "max": "1s"}, "quantile"),
        (ORDERS | {"maxIncrease": "5%"}, "give one or the others"),
        (CPU | {"ratio": {"of": "a", "to": "b"}}, "give exactly one of preset, ratio and gauge"),
        (CPU | {"gauge": {"query": "cpu"}}, "gauge.query must tell the two apart"),
        (CPU | {"max": "1s"}, "max of a gauge is a number such as '0.9', or a percentage"),
        (CPU | {"max": "0"}, "max must be above zero"),
        (CPU | {"max": None, "maxDecrease": "5%"}, "maxDecrease is for a ratio"),
        (CPU | {"from": "Pods"}, "from is for presets"),
        ({"max": "0.9"}, "max is a percentage such as 5%, or with preset Latency a duration"),
        ({"preset": "Latency", "max": "0.9"}, "max is a percentage such as 5%, or with preset Latency a duration"),
        ({"onFail": "Stop"}, "Revert"),
        (ORDERS | {"max": "5%"}, "give one or the others"),
        ({"max": None, "maxDecrease": "5%"}, "maxDecrease is for a ratio of what ought to happen"),
        (ORDERS | {"maxDecrease": "0%"}, "maxDecrease must be above 0% and below 100%"),
        (ORDERS | {"maxDecrease": "100%"}, "maxDecrease must be above 0% and below 100%"),
        ({"name": "Errors!"}, "name"),
        ({"maxIncrease": "half"}, "is not a percentage"),
        ({"maxIncrease": "9" * 400 + "%"}, "is not a percentage"),
        ({"preset": "Latency", "max": "9999999d"}, "is longer than 36500d"),
    ],
)
def test_a_metric_that_makes_no_sense_says_so(metric: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        MetricSpec.model_validate(ERRORS | metric)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"confidence": "100%"}, "confidence must be from 50% to 99.99%"),
        ({"metrics": [ERRORS, ERRORS]}, "metrics must have distinct names"),
        ({"metrics": [ERRORS | CPU]}, "gauges count no requests"),
        ({"interval": "100ms"}, "interval must be from 1s to 1h"),
        ({"onUnknown": {"then": "Advance"}}, "Hold"),
        ({"source": "Pods", "metrics": [{**ERRORS, "from": "Router"}]}, "leave out from: Router"),
        ({"source": "Pods", "metrics": [ERRORS, ERRORS | CPU | {"name": "cpu"}]}, "PromQL, which a gauge takes"),
        ({"source": "Pods", "metrics": [QUERY]}, "give bare names of counters in ratio.of and ratio.to"),
        ({"source": "Pod"}, "Prometheus"),
    ],
)
def test_an_analysis_that_makes_no_sense_says_so(spec: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        AnalysisSpec.model_validate(spec)


def test_quantiles_are_fractions() -> None:
    metric = MetricSpec.model_validate({"name": "l", "preset": "Latency", "quantile": "p99.9", "max": "1m30s"})
    assert metric.level == pytest.approx(0.999)
    assert metric.limit == 90


def test_what_ought_to_happen_may_happen_a_little_less() -> None:
    metric = MetricSpec.model_validate(ERRORS | ORDERS)
    assert metric.max_decrease == pytest.approx(0.05)
    assert MetricSpec.model_validate(metric.wire()) == metric


@pytest.mark.parametrize(("limit", "means"), [("90%", 0.9), ("150%", 1.5), ("0.25", 0.25), ("500000000", 5e8)])
def test_a_gauge_has_a_limit_of_its_own_and_pauses_unless_it_is_to_revert(limit: str, means: float) -> None:
    metric = MetricSpec.model_validate(ERRORS | CPU | {"max": limit})
    assert metric.limit == pytest.approx(means)
    assert metric.fails_by is OnFail.Pause
    assert MetricSpec.model_validate(metric.wire()) == metric
    assert MetricSpec.model_validate(ERRORS | CPU | {"onFail": "Revert"}).fails_by is OnFail.Revert
    assert MetricSpec.model_validate(ERRORS).fails_by is OnFail.Revert
    assert AnalysisSpec.model_validate({"metrics": [ERRORS | CPU], "minRequests": 0}).min_requests == 0
