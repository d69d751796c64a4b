"""What people ask of a running release, by the annotation: done once, for the candidate that it names, and answered."""

from __future__ import annotations

import json

import pytest

from tests.fakes.kubelet import Version
from tests.sim.world import QUICK, World
from tidegate.api.releasestatus import Stage
from tidegate.core.asked import REQUEST
from tidegate.core.forward import FORWARD, PROMOTION
from tidegate.ports.cluster import CANARY_RELEASES

SLOW = {**QUICK, "steps": [{"weight": 25, "bake": "10m"}, {"weight": 50, "bake": "10m"}, {"weight": 100, "bake": "2s"}]}


def ask(world: World, action: str, *, hash_: str | None = None, id_: str = "1") -> None:
    """As kubectl annotate would."""
    candidate = world.status.candidate
    named = hash_ or (candidate.hash if candidate else "none")
    text = json.dumps({"id": id_, "action": action, "hash": named, "by": "ada"})
    world.edit(CANARY_RELEASES, {"metadata": {"annotations": {REQUEST: text}}})


def answered(world: World, id_: str = "1") -> tuple[str, str]:
    """Outcome and message of the answer."""
    last = world.status.last_request
    assert last is not None
    assert last.id == id_
    return last.outcome.value, last.message


@pytest.mark.parametrize("stage", sorted(FORWARD | PROMOTION))
async def test_abort_goes_back_from_wherever_stables_pods_still_stand(stage: Stage) -> None:
    world = await World.begin(spec=QUICK)
    world.release("v2")
    await world.until(lambda: world.stage is stage)
    ask(world, "abort")
    await world.ends("Aborted")
    assert world.reason == "Aborted"
    assert answered(world) == ("Done", "")
    assert world.pods() == {"v1": 4}
    assert world.pods_created()["v1"] == 4
    assert world.phase == "RolledBack"


async def test_too_late_to_abort_is_said() -> None:
    world = await World.begin(spec=QUICK)
    world.release("v2")
    await world.until(lambda: world.stage is Stage.LIFT)
    ask(world, "abort")
    await world.ends("Promoted")
    assert answered(world) == ("Refused", "the release is at Lift")
    assert "RequestRefused" in world.events()


PAUSING = {
    "steps": [{"weight": 25, "bake": "30s"}, {"weight": 100, "bake": "2s"}],
    "drain": "1s",
    "analysis": {
        "interval": "2s",
        "warmup": "0s",
        "minRequests": 10,
        "metrics": [{"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%", "onFail": "Pause"}],
    },
}


async def paused_by_its_errors() -> World:
    world = await World.begin(spec=PAUSING, versions={"v2": Version(errors=0.4)})
    world.release("v2")
    await world.until(lambda: world.why() == "AnalysisPaused", within=60)
    return world


@pytest.mark.parametrize(
    ("action", "ends"),
    [("resume", "Promoted"), ("skip-step", "Promoted"), ("promote", "Promoted"), ("abort", "Aborted")],
)
async def test_a_metric_that_pauses_holds_the_release_until_somebody_decides(action: str, ends: str) -> None:
    world = await paused_by_its_errors()
    await world.wait(60)
    assert world.baking(1)(), "it takes nothing back, and goes no further"
    assert (world.phase, world.why("Stalled"), world.condition("Analyzed")) == ("Waiting", "AnalysisPaused", "False")
    assert "errors beyond limits: resume, skip the step, promote or abort" in world.status.message
    assert world.events().count("AnalysisPaused") == 1
    world.versions["v2"] = Version()
    await world.wait(10)
    ask(world, action)
    await world.ends(ends)
    assert answered(world) == ("Done", "")


async def test_a_metric_that_pauses_between_two_steps_keeps_the_next_weight_away() -> None:
    steps = [{"weight": 25, "bake": "10s"}, {"weight": 50, "bake": "20s"}, {"weight": 100, "bake": "2s"}]
    world = await World.begin(spec=PAUSING | {"steps": steps}, versions={"v2": Version(starts_in=40)})
    world.release("v2")
    await world.until(lambda: world.step == 2 and world.stage is Stage.SCALE)
    world.versions["v2"] = Version(starts_in=40, errors=0.4)
    await world.until(lambda: world.why() == "AnalysisPaused", within=120)
    await world.wait(900)
    assert world.status.traffic is not None
    assert (world.status.traffic.weight, world.stage) == (25, Stage.SHIFT), "and no deadline passes while it is held"
    assert "errors beyond limits: resume, promote or abort" in world.status.message
    assert (world.phase, world.why("Stalled"), world.events().count("AnalysisPaused")) == (
        "Waiting",
        "AnalysisPaused",
        1,
    )
    world.versions["v2"] = Version()
    await world.wait(10)
    ask(world, "resume")
    await world.ends("Promoted")


async def test_a_metric_that_pauses_is_decided_on_for_what_it_has_shown() -> None:
    world = await paused_by_its_errors()
    world.versions["v2"] = Version()
    await world.wait(10)
    ask(world, "resume")
    await world.until(lambda: world.why() != "AnalysisPaused", within=5)
    assert world.condition("Stalled") == "False"
    ask(world, "resume", id_="2")
    await world.until(lambda: world.status.last_request is not None and world.status.last_request.id == "2", within=5)
    assert answered(world, "2") == ("Refused", "it is not paused by a request, nor by a metric")


async def test_pause_holds_and_resume_goes_on() -> None:
    world = await World.begin(spec=QUICK)
    world.release("v2")
    await world.until(world.baking(1))
    ask(world, "pause")
    await world.wait(600)
    assert (world.phase, world.step) == ("Waiting", 1)
    ask(world, "resume", id_="2")
    await world.ends("Promoted")
    assert answered(world, "2") == ("Done", "")


async def test_abort_works_while_paused() -> None:
    world = await World.begin(spec={**QUICK, "paused": False})
    world.release("v2")
    await world.until(world.baking(1))
    world.respec(**{**QUICK, "paused": True})
    await world.until(lambda: world.phase == "Waiting")
    ask(world, "Abort")
    await world.ends("Aborted")


async def test_promote_goes_through_without_the_bakes() -> None:
    world = await World.begin(spec=SLOW)
    world.release("v2")
    await world.until(world.baking(1))
    ask(world, "promote")
    await world.ends("Promoted", within=60)
    assert world.pods_created() == {"v1": 4, "v2": 4}


async def test_a_skipped_step_is_followed_by_the_next() -> None:
    world = await World.begin(spec=SLOW)
    world.release("v2")
    await world.until(world.baking(1))
    ask(world, "skip-step")
    await world.until(world.baking(2), within=30)
    await world.wait(30)
    assert world.step == 2, "that one step, and no other"


async def test_retry_releases_a_reverted_revision_again() -> None:
    world = await World.begin(spec=QUICK)
    world.release("v2")
    await world.until(world.baking(1))
    ask(world, "abort")
    await world.ends("Aborted")
    ask(world, "retry", id_="2")
    await world.ends("Promoted")
    assert [record.outcome for record in world.status.history] == ["Promoted", "Aborted"]


async def test_a_request_for_another_candidate_is_refused() -> None:
    world = await World.begin(spec=QUICK)
    world.release("v2")
    await world.until(world.baking(1))
    ask(world, "abort", hash_="deadbeef")
    await world.ends("Promoted")
    assert answered(world)[0] == "Refused"
    assert "it names deadbeef" in answered(world)[1]


@pytest.mark.parametrize("text", ["abort", "{}", '{"id": "9", "action": "explode", "hash": "x"}'])
async def test_what_is_no_request_is_refused_once_with_the_way_to_write_one(text: str) -> None:
    world = await World.begin(spec=QUICK)
    world.release("v2")
    await world.until(world.baking(1))
    world.edit(CANARY_RELEASES, {"metadata": {"annotations": {REQUEST: text}}})
    await world.ends("Promoted")
    last = world.status.last_request
    assert last is not None
    assert last.outcome == "Refused"
    assert "not a request: write tidegate.dev/request" in last.message
    assert world.events().count("RequestRefused") == 1
