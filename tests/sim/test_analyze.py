"""``tidegate analyze``: what it tells of a release, and of a template."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.sim.test_templates import TEMPLATE
from tests.sim.world import QUICK, World
from tidegate.api.analysis import AnalysisSpec
from tidegate.app.cli.analyze import _measured, report
from tidegate.app.main import main
from tidegate.app.settings import Settings
from tidegate.core import analysis
from tidegate.core.arms import Arms
from tidegate.core.counters import Series
from tidegate.ports.cluster import ANALYSIS_TEMPLATES, Rejected


async def told(world: World) -> list[str]:
    spec, arms = await _measured(world.cluster, "shop", "checkout", Settings())
    answers = await world.metrics.fetch(analysis.queries(spec, arms))
    return [line for line, _ in report(spec, arms, dict(answers))]


async def test_a_release_at_rest_and_under_way() -> None:
    world = await World.begin(spec={**QUICK, "traffic": {"podShare": {}}})
    world.respec(traffic={"podShare": {}}, analysis={"templateRefs": [{"name": "team"}]})
    with pytest.raises(Rejected, match="there is no AnalysisTemplate of this name in namespace shop; create it"):
        await told(world)
    world.create(ANALYSIS_TEMPLATES, TEMPLATE)
    await world.wait(30)
    lines = await told(world)
    assert lines[0] == "failures: http_requests_total"
    assert lines[1].startswith('  stable: http_requests_total{namespace="shop",pod=~"checkout-')
    assert "series of 4 pods" in lines[2]
    world.metrics.outage = "connection refused"
    assert any("QueryFailed" in line and "connection refused" in line for line in await told(world))


def test_a_gauge_is_told_by_its_level() -> None:
    gauge = {"name": "cpu", "gauge": {"query": 'cpu{pod=~"{{pods}}"}'}, "max": "90%"}
    spec = AnalysisSpec.model_validate({"metrics": [gauge], "minRequests": 0})
    arms = Arms.of_revisions("shop", ("6fcbd", "old-.*"), ("7d9f5", "new-.*"))
    (query,) = analysis.queries(spec, arms)
    pods = tuple(Series({"pod": pod}, ((0.0, level),)) for pod, level in (("new-a", 0.4), ("new-b", 0.8)))
    assert list(report(spec, arms, {query: pods})) == [
        ("cpu: your own", True),
        ('  candidate: cpu{pod=~"new-.*"}', True),
        ("    2 series, 0.6 on average now", True),
    ]


def test_lint_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "team.yaml"
    body = {"apiVersion": "tidegate.dev/v1alpha1", "kind": "AnalysisTemplate", **TEMPLATE}
    file.write_text(yaml.safe_dump(body))
    assert main(["analyze", str(file), "--lint"]) == 0
    assert main(["analyze", str(file), "--lint", "--arg", "limit=5"]) == 1
    assert main(["analyze", str(file), "--lint", "--arg", "limit"]) == 1
    assert main(["analyze", str(file), "--dry-run", "--arg", "limit=5"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("nothing is wrong with it\nteam: spec.metrics[0]: metric failures: max is ")
    assert "--arg 'limit': write NAME=VALUE" in said.err
    assert "--arg: goes with --lint" in said.err
    file.write_text("kind: Deployment\n")
    assert main(["analyze", str(file), "--lint"]) == 1
    assert "there is no AnalysisTemplate in it" in capsys.readouterr().err
