"""Simulated releases: the same as the operator's, look by look; what becomes of them; what a recording is good for."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tidegate.api.bluegreen import BlueGreenSpec
from tidegate.api.canary import CanarySpec
from tidegate.api.release import ReleaseSpec
from tidegate.api.rolling import RollingSpec
from tidegate.core.arms import Arms
from tidegate.core.metric import Journal
from tidegate.simulation import recording, scenario, story
from tidegate.simulation.many import Share, many, worse
from tidegate.simulation.story import End, Setting

TARGET = {"targetRef": {"name": "checkout"}}
QUICK = [{"weight": 10, "bake": "4m"}, {"weight": 50, "bake": "4m"}]
KINDS: dict[str, tuple[str, type[ReleaseSpec], dict[str, Any]]] = {
    "canary": ("CanaryRelease", CanarySpec, {"steps": QUICK}),
    "pods": ("CanaryRelease", CanarySpec, {"steps": QUICK, "traffic": {"podShare": {}}}),
    "bluegreen": ("BlueGreenRelease", BlueGreenSpec, {"watch": "3m", "switch": {"approval": "Manual"}}),
    "rolling": ("RollingRelease", RollingSpec, {"bake": "2m"}),
}


def setting(kind: str = "canary", more: dict[str, Any] | None = None, **said: Any) -> Setting:
    name, model, fields = KINDS[kind]
    spec = model.model_validate({**TARGET, **fields, **(more or {})})
    return Setting(name, "checkout", spec, scenario.read({"traffic": 100, **said}))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("canary", {}),
        ("canary", {"regressions": ["4x@1m"]}),
        ("canary", {"regressions": ["5x@3m~2m"], "latency": "80ms", "counters": "Pods", "podNoise": "30%"}),
        ("canary", {"regressions": ["latency:2x@2m"], "latency": "80ms"}),
        ("canary", {"outages": ["prometheus@2m+3m", "service:50%@6m+1m"]}),
        ("canary", {"traffic": {"rps": 2, "daily": "50%"}, "podOffset": "20%"}),
        ("pods", {"regressions": ["20%@1m"]}),
        ("bluegreen", {"regressions": ["20%@1m"]}),
        ("rolling", {"regressions": ["8x@1m"]}),
    ],
)
def test_many_are_simulated_as_the_machine_does_with_samples(kind: str, said: dict[str, Any]) -> None:
    given = setting(kind, **said)
    for seed in (1, 2):
        told, brief = story.told(given, seed), story.brief(given, seed)
        assert (told.end, told.at, told.step, told.extended) == (brief.end, brief.at, brief.step, brief.extended)
        assert told.truth == brief.truth


def test_the_evidence_is_the_same_to_the_last_digit_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    given = setting(regressions=["3x@1m"], latency="80ms", counters="Pods")
    by_samples, by_growth = _evidence(given, "look", monkeypatch, story.told), None
    by_growth = _evidence(given, "look_at", monkeypatch, story.brief)
    assert len(by_samples) == len(by_growth) > 10
    for one, other in zip(by_samples, by_growth, strict=True):
        assert one == pytest.approx(other, abs=1e-9)


def _evidence(given: Setting, name: str, monkeypatch: pytest.MonkeyPatch, tell: Any) -> list[list[float]]:
    from tidegate.core import analysis

    found, original = [], getattr(analysis, name)

    def spied(*args: Any, **named: Any) -> Any:
        result = original(*args, **named)
        journal = Journal.load(result.journal, given.spec.analysis) if name == "look" else result[1]
        evidence = [known.evidence for known in journal.metrics.values()]
        found.append([process.log_m for one in evidence for process in (*one.failing.values(), *one.passing.values())])
        return result

    with monkeypatch.context() as patched:
        patched.setattr(analysis, name, spied)
        tell(given, 3)
    return found


def test_what_becomes_of_releases() -> None:
    assert story.brief(setting(), 1).end is End.PROMOTED
    bad = story.told(setting(regressions=["5x@2m"]), 1)
    assert (bad.end, bad.step) == (End.REVERTED, 1)
    assert 130 < bad.at < 310
    assert bad.why.startswith("errors ")
    assert bad.truth.excess > 0
    told = [one.what for one in bad.happenings]
    assert (told[1], told[-1]) == ("step 1/3: 10 % of requests to candidate", bad.why)
    assert bad.sights[-1].evidence == 1.0


def test_what_is_nobodys_fault_reverts_nothing() -> None:
    compared = {"analysis": {"metrics": [{"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%"}]}}
    shared = story.told(setting(more=compared, outages=["service:60%@2m+2m"]), 1)
    assert shared.end is End.PROMOTED
    away = story.told(setting(outages=["prometheus@2m+8m"]), 1)
    assert away.end is End.PROMOTED
    assert any("no answer from the metrics" in one.what for one in away.happenings)
    assert away.at > 600, "nothing advances on no data"


def test_too_little_traffic_holds() -> None:
    held = story.brief(setting(traffic=0.02), 1)
    assert (held.end, held.step) == (End.HELD, 1)
    assert held.extended in (0, 2)


def test_pods_that_are_not_ready_in_time_turn_it_back_at_the_deadline() -> None:
    given = setting(podStart="20m")
    told, brief = story.told(given, 1), story.brief(given, 1)
    assert (told.end, told.at) == (brief.end, brief.at)
    assert told.end is End.REVERTED
    assert 600 <= told.at < 610, "spec.progressDeadline is 10m"


def test_gates_and_pauses_are_not_waited_for() -> None:
    gate = [{"name": "ok", "at": "BeforePromotion", "manual": {}}]
    assert story.brief(setting(more={"gates": gate, "paused": True}), 1).end is End.PROMOTED


def test_how_often_it_is_wrong() -> None:
    found = many(setting(regressions=["5x@0s"]), range(1, 9))
    assert found.worse
    assert (found.ended(End.REVERTED).count, found.wrong.count) == (8, 0)
    assert found.when(End.PROMOTED) is None
    assert found == many(setting(regressions=["5x@0s"]), range(1, 9)), "from seeds"
    low, high = Share(0, 1000).interval
    assert (low, round(high, 4)) == (0.0, 0.0038)


def test_several_processes_do_the_same() -> None:
    given = setting(regressions=["5x@0s"])
    assert many(given, range(1, 11), cores=2) == many(given, range(1, 11))


@pytest.mark.parametrize(
    ("said", "is_worse"),
    [
        ({}, False),
        ({"regressions": ["1.4x"]}, False),
        ({"regressions": ["1.6x@20m"]}, True),
        ({"base": "4%", "regressions": ["1.4x"]}, True),
        ({"latency": "80ms", "regressions": ["latency:1.2x"]}, False),
        ({"latency": "80ms", "regressions": ["latency:1.4x"]}, True),
        ({"latency": "300ms"}, True),
    ],
)
def test_what_should_be_reverted(said: dict[str, Any], *, is_worse: bool) -> None:
    given = setting(**said)
    assert worse(given.spec.analysis, given.scenario) is is_worse


def test_a_regression_grows() -> None:
    leak = scenario.read({"traffic": 1, "regressions": ["5x@10m~10m"]})
    rates = [leak.candidates("errors", seconds) for seconds in (0, 600, 900, 1200, 9999)]
    assert rates == pytest.approx([0.01, 0.01, 0.03, 0.05, 0.05])
    assert leak.settles == 1200


def test_traffic_has_a_daily_form() -> None:
    day = scenario.read({"traffic": {"rps": 100, "daily": "50%", "peak": 14, "starts": 14}}).traffic
    assert (day.at(0), round(day.at(12 * 3600))) == (150, 50)


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({}, "traffic: is needed"),
        ({"traffic": "lots"}, "traffic: 'lots' is no number|traffic: 'lots': 'lots' is no number"),
        ({"traffic": 0}, "traffic.rps: 0"),
        ({"traffic": 1, "bse": "1%"}, "bse: '1%': there is no such field; there are traffic, base"),
        ({"traffic": 1, "base": "100%"}, "base must be below 100%"),
        ({"traffic": 1, "regressions": ["much@5m"]}, r"regressions\[0\]: 'much@5m': .* write it like 5x@20m"),
        ({"traffic": 1, "regressions": ["latency:2x"]}, "regressions: one is of latency, and the scenario has none"),
        ({"traffic": 1, "regressions": ["carts:2x"]}, "'carts' is not known here"),
        ({"traffic": 1, "latency": "80ms", "regressions": ["latency:+2%"]}, "a latency grows by a factor"),
        (
            {"traffic": 1, "latency": {"median": "80ms", "edges": [1, 0.5]}},
            "latency.edges must be above zero, and grow",
        ),
        ({"traffic": 1, "outages": ["moon@1m+1m"]}, r"outages\[0\].* write it like service:50%@10m\+5m"),
        ({"traffic": 1, "scrape": "0s"}, "scrape must be from 1s to 5m"),
    ],
)
def test_a_wrong_scenario_is_told_by_field_value_and_way_out(said: dict[str, Any], wrong: str) -> None:
    with pytest.raises(scenario.Wrong, match=wrong):
        scenario.read(said)


def test_what_the_release_measures_must_be_in_the_scenario() -> None:
    own = {"name": "carts", "ratio": {"of": "carts_lost_total", "to": "carts_total"}, "maxIncrease": "20%"}
    slow = {"name": "slow", "preset": "Latency", "max": "1s"}
    spec = setting(more={"analysis": {"metrics": [own, slow]}}).spec.analysis
    for said, wrong in (
        ({}, "ratios.carts: the release measures it"),
        ({"ratios": {"carts": "3%"}}, "latency: metric slow of the release needs a histogram"),
        (
            {"ratios": {"carts": "3%", "x": "1%"}, "latency": "80ms"},
            "ratios.x: the release has no such ratio; it has c",
        ),
    ):
        with pytest.raises(scenario.Wrong, match=wrong):
            scenario.measured(spec, scenario.read({"traffic": 1, **said}))


def test_pods_that_are_asked_themselves_show_at_once_what_is_wrong() -> None:
    given = setting(more={"analysis": {"source": "Pods", "warmup": "0s"}}, regressions=["50%@1m"])
    assert given.scenario.counters is None
    seen = scenario.as_read(given.spec.analysis, given.scenario)
    assert (seen.scrape.total_seconds(), seen.counters) == (1, "Pods")
    given = replace(given, scenario=seen)
    told, brief = story.told(given, 1), story.brief(given, 1)
    assert (told.end, told.at, told.step) == (brief.end, brief.at, brief.step)
    assert told.end is story.End.REVERTED
    other = setting(regressions=["50%@1m"])
    assert scenario.as_read(other.spec.analysis, other.scenario) is other.scenario
    assert told.at < story.told(other, 1).at


def test_whose_counters_are_read_is_whose_there_are() -> None:
    of_pods = {"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%", "from": "Pods"}
    own = {"name": "carts", "ratio": {"of": "carts_lost_total", "to": "carts_total"}, "maxIncrease": "20%"}
    told = {"ratios": {"carts": "3%"}}
    for metrics, said, counters in (
        ([of_pods], {}, "Pods"),
        ([of_pods, own], told, "Pods"),
        ([{**of_pods, "from": "Router"}, own], told, None),
        ([of_pods], {"counters": "Router"}, "Router"),
    ):
        given = setting(more={"analysis": {"metrics": metrics}}, **said)
        assert scenario.as_read(given.spec.analysis, given.scenario).counters == counters


def test_own_ratios_are_simulated() -> None:
    own = {"name": "carts", "ratio": {"of": "carts_lost_total", "to": "carts_total"}, "maxIncrease": "20%"}
    analysis = {"analysis": {"metrics": [own]}}
    given = setting(more=analysis, ratios={"carts": "3%"}, regressions=["carts:3x@1m"], counters="Pods")
    told, brief = story.told(given, 1), story.brief(given, 1)
    assert (told.end, told.at) == (brief.end, brief.at)
    assert told.end is End.REVERTED
    assert told.why.startswith("carts ")


def record(path: Path, **said: Any) -> Path:
    """What Prometheus had of a simulated release, by the pods' own counters."""
    given = setting(**said, counters="Pods")
    cluster = story._cluster(given)
    world = story._world(given, cluster, 1, remembers=True)
    world.opened(10, 1, 0.1)
    series: dict[str, Any] = {}
    arms = Arms.of_revisions("", ("stable", "checkout-stable-[a-z0-9]+"), ("candidate", "checkout-candidate-[a-z0-9]+"))
    for at in range(60, 601, 60):
        world.passes(float(at))
        for answer in world.answers(given.spec.analysis, arms, float(at), 1.7e9).values():
            for one in answer if isinstance(answer, tuple) else ():
                row = series.setdefault(json.dumps(dict(one.labels)), {})
                row.update(dict(one.samples))
    result = [
        {
            "metric": {"__name__": "http_requests_total", **json.loads(labels)},
            "values": [[t, str(v)] for t, v in row.items()],
        }
        for labels, row in series.items()
    ]
    path.write_text(json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}))
    return path


def test_a_recording_is_judged_as_it_would_have_been(tmp_path: Path) -> None:
    both: list[tuple[dict[str, Any], End]] = [({"regressions": ["6x@2m"]}, End.REVERTED), ({}, End.UNFINISHED)]
    for said, end in both:
        given = setting(more={"steps": [{"weight": 10, "bake": "20m"}]}, **said)
        series = recording.read([str(record(tmp_path / "recorded.json", **said))])
        found = recording.Recording(given.spec.analysis, series, "stable-.*", "candidate-.*")
        told = story.replayed(given, found)
        assert told.end is end
        assert told.truth.candidate_requests > 500
        assert math.isclose(found.ends, 600, abs_tol=40)


@pytest.mark.parametrize("counters", ["Pods", "Router"])
def test_a_recording_is_read_by_whatever_names_it_has(tmp_path: Path, counters: str) -> None:
    given = setting(more={"steps": [{"weight": 10, "bake": "20m"}]}, counters=counters)
    own = recording.read([str(record(tmp_path / "recorded.json", regressions=["6x@2m"]))])

    def replayed(name: str, status: str) -> story.Story:
        series = [
            replace(one, labels={{"code": status}.get(key, key): said for key, said in one.labels.items()})
            for one in own
        ]
        series = [replace(one, labels={**one.labels, "__name__": name}) for one in series]
        found = recording.Recording(given.spec.analysis, series, "stable-.*", "candidate-.*")
        return story.replayed(given, found)

    usual = replayed("http_requests_total", "code")
    assert usual.end is End.REVERTED
    for name, status in (("istio_requests_total", "response_code"), ("anything_total", "status")):
        other = replayed(name, status)
        assert (other.end, other.at, other.truth) == (usual.end, usual.at, usual.truth)


def test_a_recording_in_several_files_is_one_whatever_their_order(tmp_path: Path) -> None:
    given = setting(more={"steps": [{"weight": 10, "bake": "20m"}]})
    whole = record(tmp_path / "recorded.json", regressions=["6x@2m"])
    said = json.loads(whole.read_text())
    parts = [tmp_path / name for name in ("late.json", "early.json")]
    for path, (since, until) in zip(parts, ((150.0, math.inf), (-math.inf, 200.0)), strict=True):
        for one, all_of in zip(said["data"]["result"], json.loads(whole.read_text())["data"]["result"], strict=True):
            inside = [[at, value] for at, value in all_of["values"] if since < at - 1.7e9 < until]
            one["values"] = inside[::-1]
        path.write_text(json.dumps(said))

    def replayed(*paths: Path) -> story.Story:
        series = recording.read([str(path) for path in paths])
        return story.replayed(given, recording.Recording(given.spec.analysis, series, "stable-.*", "candidate-.*"))

    assert replayed(*parts) == replayed(whole, whole) == replayed(whole)


def test_what_was_no_number_is_no_answer(tmp_path: Path) -> None:
    given = setting(more={"steps": [{"weight": 10, "bake": "8m"}]})
    series = recording.read([str(record(tmp_path / "recorded.json"))])
    broken = [
        replace(one, samples=tuple((at, math.nan if 200 < at - 1.7e9 < 300 else value) for at, value in one.samples))
        for one in series
    ]
    told = story.replayed(given, recording.Recording(given.spec.analysis, broken, "stable-.*", "candidate-.*"))
    assert any("NaN" in one.what for one in told.happenings)
    assert told.end is not End.REVERTED
    assert math.isfinite(told.truth.candidate_requests)


def test_a_wrong_recording_is_told(tmp_path: Path) -> None:
    path = tmp_path / "recorded.json"
    path.write_text('{"data": {"resultType": "vector", "result": []}}')
    for names, wrong in (
        ([str(tmp_path / "no.json")], "No such file"),
        ([str(path)], "'vector' is no range of samples"),
    ):
        with pytest.raises(scenario.Wrong, match=wrong):
            recording.read(names)
    series = recording.read([str(record(path))])
    spec = setting().spec.analysis
    for stable, candidate, wrong in (
        ("old-.*", "candidate-.*", "--stable old-.*: no series has a label of this value; there are candidate-0"),
        ("stable-(", "candidate-.*", "give a regular expression"),
        (".*-0", "candidate-.*", "--candidate candidate-.*: it matches what --stable .*-0 does"),
    ):
        with pytest.raises(
            scenario.Wrong, match=wrong.replace("(", r"\(") if "(" in wrong else wrong.replace("*", r"\*")
        ):
            recording.Recording(spec, series, stable, candidate)
    promql = {
        "name": "own",
        "ratio": {"of": "sum(a{pod=~'{{pods}}'})", "to": "sum(b{pod=~'{{pods}}'})"},
        "maxIncrease": "9%",
    }
    own = setting(more={"analysis": {"metrics": [promql]}}).spec.analysis
    with pytest.raises(scenario.Wrong, match="is PromQL, which only Prometheus can answer"):
        recording.Recording(own, series, "stable-.*", "candidate-.*")
