"""Deleting the release object, at any time: traffic is on stable, and nothing of ours is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.fakes.kubelet import Version
from tests.sim.world import QUICK, World, canary, route, template
from tidegate.api.releasestatus import Stage
from tidegate.ports.cluster import (
    BLUE_GREEN_RELEASES,
    CANARY_RELEASES,
    DEPLOYMENTS,
    RELEASES,
    REPLICASETS,
    ROLLING_RELEASES,
    SERVICES,
    Kind,
)

COMMON: dict[str, Any] = {"drain": "1s", "traffic": {"propagation": "1s"}, "analysis": {"metrics": []}}
SPECS: Mapping[Kind, dict[str, Any]] = {
    CANARY_RELEASES: QUICK,
    BLUE_GREEN_RELEASES: {**COMMON, "watch": "4s", "keep": "2s"},
    ROLLING_RELEASES: {**COMMON, "batch": "50%", "bake": "3s"},
}
JUDGED: dict[str, Any] = {"analysis": {"interval": "2s", "warmup": "0s"}}
MEASURED: Mapping[Kind, dict[str, Any]] = {
    CANARY_RELEASES: {**QUICK, **JUDGED, "steps": [{"weight": 25, "bake": "1m"}]},
    BLUE_GREEN_RELEASES: {**SPECS[BLUE_GREEN_RELEASES], **JUDGED, "watch": "1m"},
    ROLLING_RELEASES: {**SPECS[ROLLING_RELEASES], "bake": "1m"},
}
BAD: Mapping[Kind, Version] = {
    CANARY_RELEASES: Version(errors=0.5),
    BLUE_GREEN_RELEASES: Version(errors=0.5),
    ROLLING_RELEASES: Version(fails_after=5.0),
}
"""What has a release of the kind go back."""
KINDS = pytest.mark.parametrize("kind", RELEASES, ids=lambda kind: kind.plural)
FORWARD = [Stage.PREPARE, Stage.SCALE, Stage.SHIFT, Stage.BAKE]
PROMOTE = [Stage.WIDEN, Stage.NARROW, Stage.RETURN, Stage.LIFT, Stage.CLEAN]
SWITCH = [Stage.WIDEN, Stage.NARROW]
"""Part of a promotion, but where the Service goes over before that."""
FORWARDS = [
    *((stage, CANARY_RELEASES) for stage in FORWARD),
    *((stage, BLUE_GREEN_RELEASES) for stage in (*FORWARD, *SWITCH)),
    *((stage, ROLLING_RELEASES) for stage in (*FORWARD, Stage.NARROW)),
]
PROMOTIONS = [(stage, kind) for kind in RELEASES for stage in PROMOTE if kind is CANARY_RELEASES or stage not in SWITCH]
BACK = [Stage.REVERT, Stage.DRAIN, Stage.RETIRE, Stage.FLAG]


async def begin(kind: Kind, spec: dict[str, Any] | None = None, **more: Any) -> World:
    """A release of a kind at rest."""
    return await World.begin(spec=spec or SPECS[kind], kind=kind, **more)


async def gone(world: World, image: str) -> None:
    """The release object goes; what serves stays, and is what the template asks for."""
    world.delete(world.kind)
    await world.until(lambda: world.object is None, within=90)
    pods = world.pods_created()
    await world.wait(60)
    assert world.traces() == []
    assert world.rules() == route()["spec"]["rules"]
    assert world.pods() == {image: 4}
    assert world.pods_created() == pods, "letting go creates no pod"
    assert world.target()["spec"]["template"] == template(image)
    assert world.target()["spec"]["progressDeadlineSeconds"] == 600


@KINDS
async def test_at_rest(kind: Kind) -> None:
    world = await begin(kind)
    await gone(world, "v1")
    assert world.pods_created() == {"v1": 4}
    world.release("v2")
    await world.wait(60)
    assert world.pods() == {"v2": 4}, "the Deployment rolls as it always did"


@KINDS
async def test_after_a_promotion(kind: Kind) -> None:
    world = await begin(kind)
    world.release("v2")
    await world.ends("Promoted")
    await gone(world, "v2")
    assert world.pods_created() == {"v1": 4, "v2": 4}


async def test_old_revisions_are_free_again() -> None:
    """Those from before the adoption never inherited our annotation, but are held at rest like all others."""
    world = await World.begin(settle=False)
    world.oracle.awake = False
    world.release("v2")
    await world.wait(30)
    world.create(CANARY_RELEASES, canary(**QUICK))
    await world.until(lambda: world.condition("Ready") == "True")
    await world.wait(5)
    await gone(world, "v2")
    world.release("v1")
    await world.wait(60)
    assert world.pods() == {"v1": 4}


async def test_the_template_changes_in_the_moment_of_adoption() -> None:
    world = await World.begin(settle=False)
    world.create(CANARY_RELEASES, canary(**QUICK))
    await world.until(lambda: "tidegate.dev/release" in (world.target()["metadata"].get("annotations") or {}))
    world.release("v2")
    await world.ends("Promoted")
    await gone(world, "v2")


@KINDS
async def test_after_a_revert(kind: Kind) -> None:
    """The template still asks for the bad one: it is set back, or letting go would roll the bad one out."""
    world = await begin(kind, versions={"v2": Version(fails_after=3.0)})
    world.release("v2")
    await world.ends("RolledBack")
    await gone(world, "v1")
    assert kind is ROLLING_RELEASES or world.pods_created()["v1"] == 4
    assert "TemplateSetBack" in world.events()


@pytest.mark.parametrize(("stage", "kind"), FORWARDS)
async def test_in_each_stage_forwards(stage: Stage, kind: Kind) -> None:
    world = await begin(kind)
    world.release("v2")
    await world.until(lambda: world.stage is stage)
    await gone(world, "v1")
    assert kind is ROLLING_RELEASES or world.pods_created()["v1"] == 4


@pytest.mark.parametrize(("stage", "kind"), PROMOTIONS)
async def test_in_each_stage_of_a_promotion(stage: Stage, kind: Kind) -> None:
    world = await begin(kind)
    world.release("v2")
    await world.until(lambda: world.stage is stage)
    await gone(world, "v2")
    assert world.pods_created() == {"v1": 4, "v2": 4}, "it was promoted first"


@KINDS
@pytest.mark.parametrize("stage", BACK)
async def test_in_each_stage_of_a_revert(stage: Stage, kind: Kind) -> None:
    world = await begin(kind, MEASURED[kind], versions={"v2": BAD[kind]})
    world.release("v2")
    await world.until(lambda: world.stage is stage)
    await gone(world, "v1")
    assert kind is ROLLING_RELEASES or world.pods_created()["v1"] == 4


@KINDS
async def test_while_the_operator_is_away(kind: Kind) -> None:
    world = await begin(kind)
    world.release("v2")
    await world.until(lambda: world.stage is Stage.BAKE)
    await world.stop()
    world.delete(kind)
    await world.wait(30)
    assert world.object is not None, "the finalizer waits for us"
    world.start()
    await world.until(lambda: world.object is None, within=90)
    world.oracle.awake = False
    await world.wait(60)
    assert world.traces() == []


async def test_of_a_deployment_that_is_gone_already() -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    world.oracle.awake = False
    world.delete(DEPLOYMENTS)
    await world.wait(20)
    world.delete(CANARY_RELEASES)
    await world.until(lambda: world.object is None, within=90)
    await world.wait(5)
    assert world.traces() == []
    assert world.rules() == route()["spec"]["rules"]


async def test_of_a_release_whose_spec_has_become_invalid() -> None:
    world = await World.begin()
    world.respec(steps=[{"weight": 50}, {"weight": 20}])
    await world.until(lambda: world.phase == "Invalid")
    await gone(world, "v1")


async def test_the_service_is_gone_too() -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    world.oracle.awake = False
    world.delete(SERVICES)
    await world.wait(5)
    world.delete(CANARY_RELEASES)
    await world.until(lambda: world.object is None, within=120)
    await world.wait(30)
    assert world.traces() == []
    assert world.rules() == route()["spec"]["rules"]


async def test_by_hand_while_the_operator_is_gone_for_good() -> None:
    """The documented line: annotations removed, and the Deployment controller has everything again."""
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    await world.stop()
    world.oracle.awake = False
    world.edit(DEPLOYMENTS, {"metadata": {"annotations": {"tidegate.dev/release": None}}})
    await world.wait(1)
    for rs in world.cluster.all(REPLICASETS, "shop"):
        none = {f"tidegate.dev/{name}": None for name in ("floor", "ceiling", "release")}
        world.edit(REPLICASETS, {"metadata": {"annotations": none}}, rs["metadata"]["name"])
    await world.wait(60)
    assert world.pods() == {"v2": 4}


def test_all_stages_are_covered() -> None:
    assert {*FORWARD, *PROMOTE, *BACK, Stage.REST} == set(Stage)
    assert QUICK["drain"] == "1s"
