"""Templates of metrics: what a release takes in, and what is said where it cannot."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tidegate.api.analysis import DEFAULT_METRICS, AnalysisSpec
from tidegate.api.rollout import Rollout
from tidegate.core import templates

TEAM = {
    "args": [{"name": "limit", "default": "5%"}, {"name": "job"}],
    "metrics": [
        {"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%", "max": "{{args.limit}}"},
        {
            "name": "orders",
            "ratio": {"of": 'sum(lost{job="{{ args.job }}",pod=~"{{pods}}"})', "to": 'sum(all{pod=~"{{pods}}"})'},
            "maxIncrease": "20%",
        },
    ],
}
COMMON = {"metrics": [{"name": "latency", "preset": "Latency", "max": "1s"}]}
FOUND: dict[str, Any] = {"team": TEAM, "common": COMMON}


def expanded(found: dict[str, Any] | None = None, **spec: object) -> AnalysisSpec:
    return templates.expanded(AnalysisSpec.model_validate(spec), FOUND if found is None else found, "shop")


def test_without_templates_nothing_changes() -> None:
    assert expanded().metrics == DEFAULT_METRICS


def test_metrics_of_templates_come_after_ones_own_with_their_arguments() -> None:
    refs = [{"name": "team", "args": {"job": "shop"}}, {"name": "common"}]
    own = [{"name": "mine", "preset": "ErrorRatio", "max": "9%"}]
    found = expanded(metrics=own, templateRefs=refs, interval="30s")
    assert [metric.name for metric in found.metrics] == ["mine", "errors", "orders", "latency"]
    assert found.metrics[1].max == "5%"
    assert found.metrics[2].ratio is not None
    assert found.metrics[2].ratio.of == 'sum(lost{job="shop",pod=~"{{pods}}"})'
    assert (found.template_refs, found.interval.total_seconds()) == ((), 30)
    assert AnalysisSpec.model_validate(found.wire()) == found, "as status.effective keeps it"


def test_the_default_metrics_are_for_who_names_nothing() -> None:
    assert [metric.name for metric in expanded(templateRefs=[{"name": "common"}]).metrics] == ["latency"]
    assert [metric.name for metric in expanded(metrics=[], templateRefs=[{"name": "common"}]).metrics] == ["latency"]


def test_gauges_alone_reach_no_min_requests_wherever_they_come_from() -> None:
    gauge = {"name": "cpu", "gauge": {"query": 'cpu{pod=~"{{pods}}"}'}, "max": "90%"}
    found = {"cpu": {"metrics": [gauge]}, **FOUND}
    refs = [{"name": "cpu"}]
    with pytest.raises(templates.Wrong, match="or write minRequests: 0"):
        expanded(found, templateRefs=refs)
    assert [one.name for one in expanded(found, templateRefs=refs, minRequests=0).metrics] == ["cpu"]
    own = expanded(found, metrics=[gauge], templateRefs=[{"name": "common"}])
    assert [one.name for one in own.metrics] == ["cpu", "latency"], "the template's counts requests"


def template(**metric: object) -> dict[str, Any]:
    return {"t": {"metrics": [{"name": "errors", "preset": "ErrorRatio", "max": "5%"} | metric]}}


@pytest.mark.parametrize(
    ("found", "ref", "told"),
    [
        (
            {},
            {},
            "[0].name: 't': there is no AnalysisTemplate of this name in namespace shop; create it, or leave it out",
        ),
        ({"t": TEAM}, {}, "[0].args: AnalysisTemplate t needs job, and has no default for it; give it"),
        (
            {"t": TEAM},
            {"jobs": "x"},
            "[0].args.jobs: 'x': AnalysisTemplate t has no such argument (it has limit, job); correct the name, or",
        ),
        (template(), {"x": "y"}, "[0].args.x: 'y': AnalysisTemplate t has no such argument (it has none)"),
        (
            {"t": TEAM},
            {"job": "x", "limit": "5 %"},
            "[0]: AnalysisTemplate t: spec.metrics[0].max: '5 %': String should match pattern",
        ),
        (
            {"t": TEAM},
            {"job": "x", "limit": "5"},
            "[0]: AnalysisTemplate t: spec.metrics[0]: metric errors: max is a percentage such as 5%",
        ),
        (template(max="{{args.x}}"), {}, "spec.metrics[0]: {{args.x}} is none of the template's arguments; declare it"),
        (template(maxx="5%"), {}, "spec.metrics[0].maxx: there is no such field; remove it, or correct its name"),
        (template(preset=None, ratio={"of": "a", "too": "b"}), {}, "spec.metrics[0].ratio.too: there is no such field"),
        (template(name="mine"), {}, "a metric 'mine', and so has spec.analysis.metrics; rename one of them, or leave"),
        ({"t": {"metrics": []}}, {}, "[0].name: 't': AnalysisTemplate t is not right: spec.metrics: "),
        ({"t": {"metrics": TEAM["metrics"]}}, {}, "{{args.limit}} is none of the template's arguments"),
        (
            {"t": {"metrics": [{"name": f"m{i}", "preset": "ErrorRatio", "max": "5%"} for i in range(8)]}},
            {},
            "spec.analysis.templateRefs: 9 metrics in all, and 8 are the most; leave some out",
        ),
    ],
)
def test_what_cannot_be_taken_in_names_the_field_and_the_way_out(
    found: dict[str, Any], ref: dict[str, str], told: str
) -> None:
    own = [{"name": "mine", "preset": "ErrorRatio", "max": "9%"}]
    with pytest.raises(templates.Wrong) as wrong:
        expanded(found, metrics=own, templateRefs=[{"name": "t", "args": ref}])
    assert told in wrong.value.what
    assert wrong.value.what.startswith("spec.analysis.templateRefs")


def test_what_pods_cannot_tell_themselves_no_template_asks_of_them() -> None:
    promql = {"name": "own", "ratio": {"of": 'bad{pod=~"{{pods}}"}', "to": "all_total"}, "max": "5%"}
    router = {"name": "own", "preset": "ErrorRatio", "max": "5%", "from": "Router"}
    gauge = {"name": "own", "gauge": {"query": 'cpu{pod=~"{{pods}}"}'}, "max": "90%"}
    for metric, way in ((promql, "bare names of counters"), (router, "leave out from: Router"), (gauge, "gauges")):
        found = {"t": {"metrics": [metric]}}
        with pytest.raises(templates.Wrong) as wrong:
            expanded(found, source="Pods", minRequests=0, templateRefs=[{"name": "t"}])
        assert wrong.value.what.startswith(
            "spec.analysis.templateRefs[0]: AnalysisTemplate t: metric 'own': with source"
        )
        assert way in wrong.value.what
        assert expanded(found, minRequests=0, templateRefs=[{"name": "t"}]).metrics
    assert expanded(source="Pods", templateRefs=[{"name": "common"}]).source == "Pods"


def test_two_templates_with_a_metric_of_the_same_name_are_named() -> None:
    found = {"a": COMMON, "b": COMMON}
    with pytest.raises(templates.Wrong) as wrong:
        expanded(found, templateRefs=[{"name": "a"}, {"name": "b"}])
    assert "[1]: AnalysisTemplate b has a metric 'latency', and so has AnalysisTemplate a" in wrong.value.what


def test_a_template_is_named_once_and_by_releases() -> None:
    with pytest.raises(ValidationError, match="templateRefs must have distinct names"):
        AnalysisSpec.model_validate({"templateRefs": [{"name": "a"}, {"name": "a"}]})
    steps = [{"percentage": 10, "bake": "1h"}, {"percentage": 100}]
    with pytest.raises(ValidationError, match="templateRefs are of releases"):
        Rollout.model_validate({"steps": steps, "analysis": {"templateRefs": [{"name": "a"}]}})


RATIO = {"of": 'sum(a_seconds_sum{pod=~"{{pods}}"})', "to": 'sum(rate(b_bytes_total{pod=~"{{pods}}"}[1m]))'}

IN_A_TEXT = {"of": 'sum(a{pod=~"{{pods}}",route="/\\"rate(x)"})', "to": "sum(a{pod=~'{{pods}}'})"}


@pytest.mark.parametrize(
    ("said", "given", "told"),
    [
        (TEAM, {"job": "x"}, []),
        (COMMON, {}, []),
        (TEAM, {}, ["spec.metrics[1]: not looked at, for it needs arguments that have no default: give --arg job=…"]),
        (COMMON, {"x": "y"}, ["x=y: the template has no such argument"]),
        ({**COMMON, "args": [{"name": "x"}]}, {}, ["spec.args: x is used by no metric; remove it"]),
        (
            {"metrics": [{"name": "m", "ratio": RATIO, "max": "5%"}]},
            {},
            [
                "spec.metrics[0].ratio.to: rate(…) is no counter: give the counter itself, what it grows by is",
                "spec.metrics[0].ratio.of: it is in seconds, and to in bytes: a share is of the same unit",
            ],
        ),
        (
            {"metrics": [{"name": "m", "ratio": {"of": "sum(a)", "to": "b_total"}, "max": "5%"}]},
            {},
            ["of must tell the two apart that are compared: give the bare name of a counter, or use {{revision}}"],
        ),
        ({"metrics": [*COMMON["metrics"], *COMMON["metrics"]]}, {}, ["spec.metrics[1].name: 'latency' is the name of"]),
        ({**COMMON, "arguments": []}, {}, ["spec.arguments: there is no such field"]),
        (
            {**TEAM, "args": [{"name": "limit", "defualt": "5%"}, {"name": "job"}]},
            {"job": "x", "limit": "5%"},
            ["spec.args[0].defualt: there is no such field"],
        ),
        (
            {**TEAM, "args": [{"name": "limit"}, {"name": "job"}, {"name": "job"}]},
            {},
            ["args must have distinct names"],
        ),
        (
            {
                "metrics": [
                    {"name": "m", "ratio": {"of": 'a{v="{{variant}}"}', "to": 'b{p="{{pods}}{{pod}}"}'}, "max": "5%"}
                ]
            },
            {},
            ["[0].ratio.of: {{variant}} stands for nothing", "[0].ratio.to: {{pod}} stands for nothing"],
        ),
        (
            {
                "metrics": [
                    {"name": "m", "gauge": {"query": 'a{p="{{pods}}",n="{{namespace}}",x="{{name}}"}'}, "max": "5%"}
                ]
            },
            {},
            ["spec.metrics[0].gauge.query: {{name}} stands for nothing in a query of a release: use {{revision}}, {{p"],
        ),
        ({"metrics": [{"name": "m", "ratio": IN_A_TEXT, "max": "5%"}]}, {}, []),
        ({}, {}, ["spec.metrics must be given"]),
        ("text", {}, ["spec: 'text': "]),
    ],
)
def test_lint_says_what_is_wrong_or_looks_so(said: object, given: dict[str, str], told: list[str]) -> None:
    found = templates.lint(said, given)
    assert len(found) == len(told), found
    for line, part in zip(found, told, strict=True):
        assert part in line
