"""A release of another kind takes the Deployment over: nothing of the first is left, and the workload serves on."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from tests.fakes.oracle import remains
from tests.sim.world import NAME, NAMESPACE, World, canary, route
from tidegate.core.gate import RELEASE
from tidegate.ports.cluster import BLUE_GREEN_RELEASES, CANARY_RELEASES, RELEASES, ROLLING_RELEASES, Kind

COMMON: dict[str, Any] = {"drain": "1s", "traffic": {"propagation": "1s"}, "analysis": {"metrics": []}}
SPECS: Mapping[Kind, dict[str, Any]] = {
    CANARY_RELEASES: {**COMMON, "steps": [{"weight": 50, "bake": "5s"}]},
    BLUE_GREEN_RELEASES: {**COMMON, "watch": "5s", "keep": "1s"},
    ROLLING_RELEASES: {**COMMON, "batch": "50%", "bake": "5s"},
}
SERVES_NEW = {CANARY_RELEASES: 1, BLUE_GREEN_RELEASES: 2, ROLLING_RELEASES: 1}
"""The step in which the new version has requests."""
PAIRS = pytest.mark.parametrize(
    ("before", "after"),
    list(itertools.permutations(RELEASES, 2)),
    ids=lambda kind: kind.plural.removesuffix("releases"),
)


async def taken_over(world: World, after: Kind) -> None:
    """The manifest of another kind is applied, and then the old one is pruned, as GitOps tools do it."""
    world.create(after, canary(**SPECS[after]))
    await world.wait(3)
    second = world.cluster.find(after, NAMESPACE, NAME)
    assert second
    assert f"belongs to {world.kind.name} {NAME}" in second["status"]["message"]
    world.delete(world.kind)
    await world.until(lambda: world.object is None, within=90)
    assert not remains(world.cluster, NAMESPACE), world.describe()
    world.kind = after
    await world.until(lambda: world.condition("Ready") == "True", within=30)
    assert world.target()["metadata"]["annotations"][RELEASE] == f"{after.name}/{NAME}"
    assert world.target()["spec"]["progressDeadlineSeconds"] == 600
    assert world.rules() == route()["spec"]["rules"]
    assert not remains(world.cluster, NAMESPACE), world.describe()


async def goes_on(world: World) -> None:
    """The new kind releases as if nothing had been."""
    world.release("v3")
    await world.ends("Promoted")
    assert world.pods() == {"v3": 4}
    assert world.pods_created()["v3"] == 4


@PAIRS
async def test_at_rest(before: Kind, after: Kind) -> None:
    world = await World.begin(spec=SPECS[before], kind=before)
    await taken_over(world, after)
    assert world.pods_created() == {"v1": 4}
    await goes_on(world)


@PAIRS
async def test_in_mid_release(before: Kind, after: Kind) -> None:
    """The old kind goes back to stable first, and the new one finds that at rest."""
    world = await World.begin(spec=SPECS[before], kind=before)
    world.release("v2")
    await world.until(world.baking(SERVES_NEW[before]))
    await taken_over(world, after)
    assert world.pods() == {"v1": 4}
    if before is not ROLLING_RELEASES:
        assert world.pods_created()["v1"] == 4
    await goes_on(world)


@PAIRS
async def test_what_is_released_between_the_two_is_rolled_out_by_kubernetes(before: Kind, after: Kind) -> None:
    """Nobody holds it; the new kind adopts the Deployment when that is done."""
    world = await World.begin(spec=SPECS[before], kind=before)
    world.delete(before)
    await world.until(lambda: world.object is None, within=30)
    world.oracle.excuse("nobody holds the Deployment")
    world.release("v2")
    await world.wait(0.5)
    world.create(after, canary(**SPECS[after]))
    world.kind = after
    await world.until(lambda: world.condition("Ready") == "True" and world.pods() == {"v2": 4}, within=60)
    assert world.status.last_release is None
    await goes_on(world)
