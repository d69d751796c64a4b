"""`tidegate simulate` and `tidegate plan`: manifests and options in, tables, JSON and pictures out."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tidegate.app.cli import plan
from tidegate.app.main import main
from tidegate.core.counters import Missing, Series

RELEASE = """\
apiVersion: tidegate.dev/v1alpha1
kind: CanaryRelease
metadata: {name: checkout}
spec:
  targetRef: {name: checkout}
  steps: [{weight: 20, bake: 3m}]
"""
FEW = ["--traffic", "100", "--runs", "3", "--cores", "1"]


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    path = tmp_path / "release.yaml"
    path.write_text(RELEASE)
    return str(path)


def said(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> str:
    assert main([*args]) == code
    both = capsys.readouterr()
    return both.err if code else both.out


def test_a_table_with_plots(manifest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "plot.svg"
    told = said(capsys, "simulate", "-f", manifest, *FEW, "--regression", "10x@30s", "--svg", str(picture))
    assert "CanaryRelease checkout: 20 % 3m → 100 % 0s" in told
    assert "100 requests/s, 1 % errors, the candidate's errors 10x from 30s on" in told
    assert "one release, seed 1: reverted after " in told
    assert "evidence of failing" in told
    assert "as described" in told
    assert "with a candidate like stable" in told
    assert "latency is not simulated" in told
    titles = [one.text or "" for one in ElementTree.parse(picture).iter() if one.get("font-weight")]
    assert [title.split(",")[0].split(":")[0] for title in titles] == [
        "one release",
        "3 releases as described",
        "3 releases with a candidate like stable",
    ]


def test_plots_where_there_are_no_letters_for_them(manifest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="cp1252"))
    assert main(["plan", "-f", manifest, "--traffic", "5"]) == 0
    sys.stdout.flush()
    assert b"CanaryRelease checkout: 20 % 3m ? 100 % 0s" in written.getvalue()


def test_what_is_held_is_told_as_that(manifest: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "simulate", "-f", manifest, "--traffic", "0.05", "--runs", "1", "--cores", "1")
    assert "1 release, seed" in told
    assert "held: somebody is called; looks go on" in told
    assert "-0" not in told


def test_json_from_a_scenario_that_options_change(
    manifest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("traffic: {rps: 5, daily: 20%}\nbase: 2%\nregressions: [5x]\npods: 4\n")
    told = said(capsys, "simulate", "-f", manifest, "--scenario", str(scenario), *FEW, "-o", "json")
    found: dict[str, Any] = json.loads(told)
    assert found["scenario"]["traffic"]["rps"] == 100
    assert (found["scenario"]["traffic"]["daily"], found["scenario"]["base"], found["scenario"]["pods"]) == (
        "20%",
        "2%",
        4,
    )
    assert found["one"]["end"] == "reverted"
    assert found["many"]["asDescribed"]["beyondLimits"] is True
    assert found["many"]["likeStable"]["ends"]["promoted"]["share"] == 1.0
    assert found["one"]["looks"][-1]["verdict"] == "Fail"


@pytest.mark.parametrize(
    ("args", "wrong"),
    [
        (["--runs", "0"], "--runs 0: give a number from 1 to"),
        (["--seed", "-1"], "--seed -1: give 0 or more"),
        (["--name", "cart"], "releases in it: checkout; choose one with --name"),
        (["--regression", "worse"], "'worse' is no regression: write it like 5x@20m"),
        (["--ratio", "carts"], "--ratio carts: write it as NAME=SHARE"),
        (["--scenario", "nowhere.yaml"], "nowhere.yaml: "),
        (["--svg", "/nowhere/plot.svg", "--runs", "1"], "--svg /nowhere/plot.svg: No such file"),
        (["--stable", "checkout-1-.*"], "--stable: is for --recorded"),
        (["--recorded", "x.json"], "--traffic: a recording has its own: leave out this, or --recorded"),
    ],
)
def test_what_is_wrong_is_told(manifest: str, args: list[str], wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert wrong in said(capsys, "simulate", "-f", manifest, *FEW, *args, code=1)


def test_a_recording_needs_to_be_told_whose_series_are_whose(manifest: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "simulate", "-f", manifest, "--recorded", "x.json", code=1)
    assert "--stable: is needed with --recorded" in told


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("kind: Service\n", "releases in it: none; give a manifest with one of CanaryRelease"),
        (RELEASE.replace("weight: 20", "weight: 120"), "spec.steps[0].weight: 120"),
        (RELEASE.replace("20", "twenty"), "spec.steps[0].weight: 'twenty' is to be a whole number"),
        (RELEASE + "  analysis: {metrics: []}\n", "spec.analysis.metrics is empty"),
        ("{", "release.yaml: "),
        (RELEASE.replace("{name: checkout}", "checkout", 1), "metadata: 'checkout' is to be an object"),
        (RELEASE.replace("{name: checkout}", "{name: 5}", 1), "metadata.name is needed"),
    ],
)
def test_a_wrong_manifest_is_told(manifest: str, text: str, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(manifest).write_text(text)
    assert wrong in said(capsys, "simulate", "-f", manifest, *FEW, code=1)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("scrape: 15\n", "scrape: 15: '15' is not a duration: write it like 30s"),
        ("latency: 80\n", "latency.median: 80: '80' is not a duration"),
        ("base: [1]\n", "base: [1]: '[1]' is not a percentage"),
        ("ratios: [carts]\n", "ratios: \"['carts']\" is to be shares by name, such as {carts: 3%}"),
        ("regressions: 5x\n", "regressions: '5x': is to be a list: write it in brackets, such as [5x@20m]"),
    ],
)
def test_a_wrong_scenario_is_told(manifest: str, text: str, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = Path(manifest).with_name("scenario.yaml")
    scenario.write_text(text)
    ratio = ["--ratio", "carts=3%"] if "ratios" in text else []
    told = said(capsys, "plan", "-f", manifest, "--traffic", "5", "--scenario", str(scenario), *ratio, code=1)
    assert wrong in told


def test_a_manifest_from_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(RELEASE.replace("\n", "\r\n")))
    assert "CanaryRelease checkout: 20 % 3m" in said(capsys, "plan", "-f", "-", "--traffic", "5")


WITH_TEMPLATE = f"""\
{RELEASE}  analysis: {{templateRefs: [{{name: house, args: {{most: 2%}}}}]}}
---
apiVersion: tidegate.dev/v1alpha1
kind: AnalysisTemplate
metadata: {{name: house}}
spec:
  args: [{{name: most}}]
  metrics: [{{name: failures, preset: ErrorRatio, max: '{{{{args.most}}}}'}}]
"""


def test_metrics_of_templates_are_those_of_the_file(manifest: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(manifest).write_text(WITH_TEMPLATE)
    told = json.loads(said(capsys, "plan", "-f", manifest, "--traffic", "50", "-o", "json"))
    assert [one["name"] for one in told["metrics"]] == ["failures"]
    for text, wrong in (
        (WITH_TEMPLATE.partition("---")[0], "'house': there is no AnalysisTemplate of this name in the file"),
        (WITH_TEMPLATE.replace("args: {most: 2%}", "args: {least: 2%}"), "templateRefs[0].args.least"),
    ):
        Path(manifest).write_text(text)
        assert wrong in said(capsys, "simulate", "-f", manifest, *FEW, code=1)


def test_a_plan(manifest: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "plan", "-f", manifest, "--traffic", "50", "--latency", "80ms", "--see", "2x", "--see", "5x")
    assert "errors: usually 1 %, worse by" in told
    assert "latency: p99, slower by" in told
    assert "! 2x cannot be seen at weight 20 within 3m00s" in told
    found = json.loads(said(capsys, "plan", "-f", manifest, "--traffic", "50", "-o", "json"))
    (errors,) = found["metrics"]
    assert [one["size"] for one in errors["steps"][0]["seen"]] == list(plan.SIZES)
    noisy = said(capsys, "plan", "-f", manifest, "--traffic", "50", "--pod-noise", "30%")
    assert "! pods differ (podNoise, podOffset): it takes longer than is told here" in noisy
    assert "--see much" in said(capsys, "plan", "-f", manifest, "--traffic", "50", "--see", "much", code=1)
    assert "traffic: is needed" in said(capsys, "plan", "-f", manifest, code=1)


def test_the_plan_of_the_documentation_is_what_it_says(manifest: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(manifest).write_text(RELEASE.partition("  steps")[0])
    told = said(capsys, "plan", "-f", manifest, "--traffic", "50", "--base", "1%")
    assert told in (Path(__file__).parents[2] / "docs" / "simulate.md").read_text(encoding="utf-8")


def test_traffic_and_base_from_prometheus(
    manifest: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    answers: list[Any] = [(Series({}, ((0.0, 40.0),)),), (Series({}, ((0.0, 0.8),)),)]

    async def fetch(url: str, queries: tuple[str, ...]) -> dict[str, Any]:
        asked.extend((url, *queries))
        return dict(zip(queries, answers, strict=True))

    monkeypatch.setattr(plan, "_fetch", fetch)
    args = ("plan", "-f", manifest, "-n", "shop", "--prometheus", "http://prometheus:9090")
    told = said(capsys, *args)
    assert "with 40 requests/s" in told
    assert "usually 2 %" in told
    assert asked[1] == 'sum(rate(http_requests_total{namespace="shop",pod=~"checkout-.*"}[1d]))'
    assert 'code=~"5.."' in asked[2]
    assert "with 7 requests/s" in said(capsys, *args, "--traffic", "7"), "what is given counts"
    for broken, wrong in (
        (Missing("it is down"), "it is down"),
        ((), "answers nothing: give PromQL of one number"),
        ((Series({}, ((0.0, 0.0),)),), "is 0: nobody asks"),
    ):
        answers[0] = broken
        assert wrong in said(capsys, *args, code=1)
