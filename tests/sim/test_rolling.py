"""Rolling releases: batch by batch, enough in service at any time, and all the way back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.exhaustive.stories import ask
from tests.fakes.controllers import Version
from tests.sim.world import World
from tidegate.api.release import RequestAction, Stage
from tidegate.ports.cluster import HTTPROUTES, ROLLING_RELEASES

BATCHES: dict[str, Any] = {
    "bake": "3s",
    "drain": "1s",
    "traffic": {"propagation": "1s"},
    "analysis": {"metrics": []},
}


async def begin(replicas: int = 8, *, routed: bool = False, **more: Any) -> World:
    spec = {**BATCHES, **more.pop("spec", {})}
    return await World.begin(
        spec=spec, replicas=replicas, kind=ROLLING_RELEASES, by=HTTPROUTES if routed else None, **more
    )


@pytest.mark.parametrize("routed", [True, False])
async def test_batch_by_batch(*, routed: bool) -> None:
    world = await begin(routed=routed)
    rules = world.rules()
    world.release("v2")
    for batch in (1, 2, 3):
        await world.until(world.baking(batch))
        assert world.pods() == {"v1": 8 - 2 * batch, "v2": 2 * batch}
        assert world.rules() == rules, "routes lead to the Service all the time"
    await world.ends("Promoted")
    assert world.pods_created() == {"v1": 8, "v2": 8}


@pytest.mark.parametrize(
    ("replicas", "batch"), [(1, "25%"), (1, "100%"), (2, "25%"), (3, "50%"), (5, "30%"), (10, "25%"), (4, "100%")]
)
async def test_of_any_size_enough_are_in_service(replicas: int, batch: str) -> None:
    world = await begin(replicas, spec={"batch": batch})
    world.release("v2")
    await world.ends("Promoted")
    assert world.pods() == {"v2": replicas}
    assert world.pods_created() == {"v1": replicas, "v2": replicas}


@pytest.mark.parametrize("fails_after", [2.0, 8.0])
async def test_a_version_that_falls_is_taken_back_with_all_that_it_had(fails_after: float) -> None:
    world = await begin(versions={"v2": Version(fails_after=fails_after)})
    world.release("v2")
    await world.ends("RolledBack", within=120)
    assert world.pods() == {"v1": 8}


async def test_superseded_in_the_middle() -> None:
    world = await begin()
    world.release("v2")
    await world.until(world.baking(2))
    world.release("v3")
    await world.until(lambda: world.outcome == "Superseded")
    await world.ends("Promoted", within=120)
    assert world.pods() == {"v3": 8}


async def test_the_template_set_back_in_the_middle() -> None:
    world = await begin()
    world.release("v2")
    await world.until(world.baking(2))
    world.release("v1")
    await world.ends("Aborted")
    assert world.pods() == {"v1": 8}


async def test_scaled_in_the_middle() -> None:
    world = await begin()
    world.release("v2")
    await world.until(world.baking(2))
    world.scale(12)
    await world.until(lambda: world.pods() == {"v1": 6, "v2": 6}, within=10)
    await world.ends("Promoted")
    assert world.pods() == {"v2": 12}


async def test_promoted_by_request_it_still_goes_batch_by_batch() -> None:
    world = await begin(spec={"bake": "1h"})
    world.release("v2")
    await world.until(world.baking(1))
    ask(world, RequestAction.PROMOTE)
    await world.ends("Promoted", within=60)


async def test_aborted_stable_has_its_pods_back_before_requests_are_its_alone() -> None:
    world = await begin()
    world.release("v2")
    await world.until(world.baking(3))
    ask(world, RequestAction.ABORT)
    await world.until(lambda: world.stage is Stage.DRAIN)
    assert world.pods() == {"v1": 8, "v2": 6}
    await world.ends("Aborted")
    assert world.pods() == {"v1": 8}


async def test_only_the_batch_that_failed_is_taken_back_and_tried_again() -> None:
    world = await begin(spec={"onFailure": "RevertBatch"}, versions={"v2": Version()})
    world.release("v2")
    await world.until(world.baking(1))
    world.versions["v2"] = Version(never_ready=True)
    await world.until(lambda: world.phase == "Waiting", within=90)
    assert world.pods() == {"v1": 6, "v2": 2}
    assert world.step == 1
    assert "resume or abort" in world.status.message
    await world.wait(60)
    assert world.pods() == {"v1": 6, "v2": 2}, "it is held"
    world.versions["v2"] = Version()
    ask(world, RequestAction.RESUME)
    await world.ends("Promoted")
    assert world.pods() == {"v2": 8}


async def test_a_batch_that_was_taken_back_may_go_all_the_way() -> None:
    world = await begin(spec={"onFailure": "RevertBatch"}, versions={"v2": Version()})
    world.release("v2")
    await world.until(world.baking(1))
    world.versions["v2"] = Version(never_ready=True)
    await world.until(lambda: world.phase == "Waiting", within=90)
    ask(world, RequestAction.ABORT)
    await world.ends("Aborted")
    assert world.pods() == {"v1": 8}
