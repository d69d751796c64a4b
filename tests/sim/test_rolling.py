"""Rolling releases: batch by batch, enough in service at any time, and all the way back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.exhaustive.stories import ask
from tests.fakes.jobs import Work
from tests.fakes.kubelet import Version
from tests.sim.world import World
from tidegate.api.releasestatus import Stage
from tidegate.api.requests import RequestAction
from tidegate.ports.cluster import HTTPROUTES, PODS, ROLLING_RELEASES

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


HELD: dict[str, Any] = {"onFailure": "RevertBatch"}
DEEP: dict[str, Any] = {"name": "deep", "http": {"path": "/", "port": 80}, "interval": "1s", "failureThreshold": 2}
SICK = {"CrashLoop": Version(crashes=True, starts_in=0.1), "ImageError": Version(image_missing=True, starts_in=0.1)}


async def holds_the_first_batch(world: World) -> None:
    """The second is taken back, the first stays, and the release is held there."""
    await world.until(lambda: world.phase == "Waiting" and "resume or abort" in world.status.message, within=90)
    for _ in range(2):
        assert world.pods() == {"v1": 6, "v2": 2}
        assert (world.stage, world.step) == (Stage.BAKE, 1)
        await world.wait(30)


@pytest.mark.parametrize("starts_in", [0.1, 6.0])
@pytest.mark.parametrize("sick", SICK)
async def test_pods_of_the_batch_that_failed_are_there_until_stable_is_rebuilt(sick: str, starts_in: float) -> None:
    world = await begin(spec=HELD, versions={"v1": Version(starts_in=starts_in), "v2": Version()})
    world.release("v2")
    await world.until(world.baking(1))
    world.versions["v2"] = SICK[sick]
    await holds_the_first_batch(world)
    world.versions["v2"] = Version()
    ask(world, RequestAction.RESUME)
    await world.ends("Promoted")
    assert world.events().count("BatchReverted") == 1


@pytest.mark.parametrize("starts_in", [0.1, 6.0])
async def test_pods_that_prove_ill_are_taken_back_with_their_batch(starts_in: float) -> None:
    spec = {**HELD, "health": {"checks": [DEEP]}}
    world = await begin(spec=spec, versions={"v1": Version(starts_in=starts_in)})
    world.release("v2")
    await world.until(world.baking(1))
    first = world.named("v2")
    await world.until(lambda: len(world.named("v2")) == 4)
    world.pods_answer.ill = world.named("v2") - first
    await holds_the_first_batch(world)
    assert world.named("v2") == first
    world.pods_answer.ill = set()
    ask(world, RequestAction.RESUME)
    await world.ends("Promoted")


async def test_a_pod_of_the_batch_that_stays_may_fail_as_well_and_that_goes_all_the_way() -> None:
    world = await begin(spec=HELD, versions={"v2": Version()})
    world.release("v2")
    await world.until(world.baking(1))
    world.versions["v2"] = SICK["CrashLoop"]
    await holds_the_first_batch(world)
    world.evict(next(pod for pod in world.cluster.all(PODS) if pod["metadata"]["name"] in world.named("v2")))
    await world.ends("RolledBack")
    assert world.pods() == {"v1": 8}


async def test_stable_that_does_not_come_back_ends_the_release() -> None:
    spec = {**HELD, "progressDeadline": "40s"}
    world = await begin(spec=spec, versions={"v1": Version(), "v2": Version()})
    world.release("v2")
    await world.until(world.baking(1))
    world.versions |= {"v1": Version(never_ready=True), "v2": SICK["CrashLoop"]}
    await world.until(lambda: world.stage is Stage.REVERT, within=90)
    assert "stable had not got its pods back" in world.status.message
    world.versions["v1"] = Version()
    await world.until(lambda: world.at_rest, within=600)


def job(at: str) -> dict[str, Any]:
    return {"name": "smoke", "at": at, "job": {"template": {"spec": {"containers": [{"name": "t", "image": "smoke"}]}}}}


async def test_a_gate_before_each_batch_is_not_asked_of_the_way_back() -> None:
    world = await begin(spec={**HELD, "gates": [job("BeforeStep")]}, versions={"v2": Version()})
    world.release("v2")
    await world.until(world.baking(1))
    world.versions["v2"] = SICK["CrashLoop"]
    await holds_the_first_batch(world)
    world.versions["v2"] = Version()
    ask(world, RequestAction.RESUME)
    await world.ends("Promoted")
    assert world.jobs_created() == {"smoke": 5}, "each batch, and the second one twice"


async def test_a_gate_that_refuses_a_batch_takes_it_back_and_is_asked_anew() -> None:
    world = await begin(spec={**HELD, "gates": [job("BeforeStep")]})
    world.release("v2")
    await world.until(world.baking(1))
    world.works["smoke"] = Work(code=1, says="the queue is full")
    await holds_the_first_batch(world)
    assert "the queue is full" in world.status.message
    world.works["smoke"] = Work()
    ask(world, RequestAction.RESUME)
    await world.ends("Promoted")
    assert world.events().count("BatchReverted") == 1


async def test_a_batch_that_the_analysis_fails_is_taken_back() -> None:
    spec = {**HELD, "bake": "40s", "analysis": {"interval": "2s", "warmup": "0s"}, "gates": [job("BeforeStep")]}
    world = await begin(spec=spec, versions={"v2": Version()})
    world.release("v2")
    await world.until(world.baking(2))
    await world.wait(10)
    world.versions["v2"], world.metrics.rate = Version(errors=0.5), 201.0
    await world.until(lambda: "BatchReverted" in world.events())
    world.versions["v2"], world.metrics.rate = Version(), 200.0
    await holds_the_first_batch(world)
    ask(world, RequestAction.RESUME)
    await world.ends("Promoted")
    assert world.events().count("BatchReverted") == 1


async def test_back_to_a_revision_of_the_rollback_window_at_once() -> None:
    """All pods of it first, then the requests: nothing is judged that was promoted lately."""
    world = await begin(spec={"rollback": {"window": 1}})
    for version in ("v2", "v3"):
        world.release(version)
        await world.ends("Promoted")
    began = world.clock.monotonic()
    world.release("v2")
    await world.until(lambda: world.step == 1 and world.status.step is not None and world.status.step.of == 1)
    await world.ends("Promoted", within=30)
    assert world.clock.monotonic() - began < 25
    assert world.pods() == {"v2": 8}
    world.release("v1")
    await world.until(lambda: world.step == 1)
    assert world.status.step
    assert world.status.step.of > 1, "v1 is out of the window"
    await world.ends("Promoted")
    assert world.pods() == {"v1": 8}
