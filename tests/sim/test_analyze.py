"""``tidegate analyze``: what it tells of a release, and of a template."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.sim.test_templates import TEMPLATE
from tests.sim.world import QUICK, World
from tidegate.app.cli.analyze import _measured, report
from tidegate.app.main import main
from tidegate.app.settings import Settings
from tidegate.core import analysis
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


def test_lint_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "team.yaml"
    body = {"apiVersion": "tidegate.dev/v1alpha1", "kind": "AnalysisTemplate", **TEMPLATE}
    file.write_text(yaml.safe_dump(body))
    assert main(["analyze", str(file), "--lint"]) == 0
    assert main(["analyze", str(file), "--lint", "--arg", "limit=5"]) == 1
    assert main(["analyze", str(file), "--lint", "--arg", "limit"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("nothing is wrong with it\nteam: spec.metrics[0]: metric failures: max is ")
    assert "--arg 'limit': write NAME=VALUE" in said.err
    file.write_text("kind: Deployment\n")
    assert main(["analyze", str(file), "--lint"]) == 1
    assert "there is no AnalysisTemplate in it" in capsys.readouterr().err
