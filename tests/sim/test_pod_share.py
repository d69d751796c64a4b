"""A canary without a router: its share is that of its pods among all that the Service selects."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.kubelet import Version
from tests.sim.world import World

BY_PODS: dict[str, Any] = {
    "steps": [{"weight": 20, "bake": "4s"}, {"weight": 50, "bake": "4s"}, {"weight": 100, "bake": "2s"}],
    "traffic": {"podShare": {}, "propagation": "1s"},
    "drain": "1s",
    "analysis": {"metrics": []},
}


async def test_its_pods_come_beside_all_of_stables() -> None:
    world = await World.begin(spec=BY_PODS, by=None)
    world.release("v2")
    await world.until(world.baking(1))
    assert world.pods() == {"v1": 4, "v2": 1}
    await world.until(world.baking(2))
    assert world.pods() == {"v1": 4, "v2": 4}
    await world.ends("Promoted")
    assert world.pods_created() == {"v1": 4, "v2": 4}


async def test_routes_that_lead_to_the_service_are_left_alone() -> None:
    world = await World.begin(spec=BY_PODS)
    rules = world.rules()
    world.release("v2")
    await world.until(world.baking(2))
    assert world.rules() == rules
    await world.ends("Promoted")


@pytest.mark.parametrize("fails_after", [3.0, 9.0])
async def test_a_version_that_falls_is_taken_back(fails_after: float) -> None:
    world = await World.begin(spec=BY_PODS, by=None, versions={"v2": Version(fails_after=fails_after)})
    world.release("v2")
    await world.ends("RolledBack")
    assert world.pods() == {"v1": 4}
    assert world.pods_created()["v1"] == 4


async def test_a_share_that_stable_could_not_come_back_from_is_refused() -> None:
    world = await World.begin(spec=BY_PODS, by=None)
    world.respec(steps=[{"weight": 75}])
    await world.until(lambda: world.phase == "Invalid")
    assert "at most 50" in world.status.message
