"""Releases that take in templates of metrics."""

from __future__ import annotations

from tests.fakes.kubelet import Version
from tests.sim.world import QUICK, World
from tidegate.ports.cluster import ANALYSIS_TEMPLATES

TEMPLATE = {
    "metadata": {"name": "team"},
    "spec": {
        "args": [{"name": "limit", "default": "5%"}],
        "metrics": [{"name": "failures", "preset": "ErrorRatio", "max": "{{args.limit}}"}],
    },
}
WITH = {**QUICK, "analysis": {**QUICK.get("analysis", {}), "warmup": "0s", "templateRefs": [{"name": "team"}]}}


async def test_what_a_template_measures_reverts() -> None:
    world = await World.begin(versions={"v2": Version(errors=0.3)})
    world.create(ANALYSIS_TEMPLATES, TEMPLATE)
    world.respec(**WITH)
    world.release("v2")
    await world.ends("RolledBack")
    assert world.status.last_release is not None
    assert "failures 30 %" in world.status.last_release.message


async def test_a_release_waits_for_its_template_and_follows_it() -> None:
    world = await World.begin()
    world.respec(**WITH)
    await world.until(lambda: world.phase == "Invalid")
    assert (
        "templateRefs[0].name: 'team': there is no AnalysisTemplate of this name in namespace shop"
        in world.status.message
    )
    world.release("v2")
    await world.wait(5)
    assert world.pods() == {"v1": 4}, "nothing begins that cannot be judged"
    world.create(ANALYSIS_TEMPLATES, TEMPLATE)
    await world.until(world.baking(1))
    effective = world.status.effective
    assert effective is not None
    assert effective["analysis"]["metrics"][0]["max"] == "5%"  # type: ignore[index]  # JSON
    changed = {"spec": {"metrics": [{"name": "errors", "preset": "ErrorRatio", "max": "7%"}]}}
    world.edit(ANALYSIS_TEMPLATES, changed, "team")

    def measured() -> str:
        return world.status.analysis.metrics[0].name if world.status.analysis and world.status.analysis.metrics else ""

    await world.until(lambda: measured() == "errors")
    world.delete(ANALYSIS_TEMPLATES, "team")
    await world.until(lambda: world.phase == "Invalid")
    await world.wait(300)
    assert world.step == 1, "it holds where it is"
    world.create(ANALYSIS_TEMPLATES, TEMPLATE)
    await world.ends("Promoted")
