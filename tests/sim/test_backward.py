"""Releases that go back: by what the kubelet says, by the metrics, by the user, by time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.deployments import DeploymentController
from tests.fakes.kubelet import Version
from tests.sim.world import QUICK, World, route
from tidegate.ports.cluster import DEPLOYMENTS, REPLICASETS

MEASURED: dict[str, Any] = {
    "steps": [{"weight": 25, "bake": "2m"}, {"weight": 100, "bake": "1m"}],
    "drain": "1s",
    "analysis": {"interval": "2s", "warmup": "0s"},
}


def assert_rolled_back(world: World) -> None:
    """What a reader finds after a revert."""
    assert world.pods() == {"v1": 4}
    assert world.pods_created()["v1"] == 4, "stable's pods were there all the time"
    assert world.rules() == route()["spec"]["rules"]
    assert world.phase == "RolledBack"
    assert {type_: status for type_, status in world.conditions().items() if type_ != "Analyzed"} == {
        "Ready": "False",
        "Reconciling": "False",
        "Stalled": "True",
        "Progressing": "False",
        "RolledBack": "True",
        "Drifted": "True",
    }
    assert world.events()[-2:] == [world.reason, "RolledBack"]
    assert world.target()["spec"]["progressDeadlineSeconds"] == 600
    progressing = world.target()["status"]["conditions"][0]
    assert progressing["reason"] == "ProgressDeadlineExceeded", "who watches the Deployment knows"
    assert world.target()["spec"]["template"]["spec"]["containers"][0]["image"] == "v2", "no GitOps tool is fought"


@pytest.mark.parametrize(
    ("version", "reason", "within"),
    [
        (Version(crashes=True), "CrashLoop", 15),
        (Version(image_missing=True), "ImageError", 15),
        (Version(never_ready=True), "NotReady", 60),
        (Version(fails_after=3.0), "NotReady", 30),
        (Version(starts_in=3600.0), "ProgressDeadline", 90),
    ],
)
async def test_a_candidate_that_does_not_run_is_reverted(version: Version, reason: str, within: float) -> None:
    world = await World.begin(spec={**QUICK, "progressDeadline": "1m"}, versions={"v2": version})
    world.release("v2")
    await world.ends("RolledBack", within=within)
    assert world.reason == reason
    assert_rolled_back(world)
    if version.fails_after is None:
        assert "v2" not in world.oracle.most, "it never got a request"


@pytest.mark.parametrize(
    "version", [Version(errors=0.5), Version(errors=0.08), Version(latency=2.0)], ids=["broken", "worse", "slow"]
)
async def test_a_candidate_that_serves_badly_is_reverted_by_its_metrics(version: Version) -> None:
    world = await World.begin(spec=MEASURED, versions={"v2": version})
    world.release("v2")
    await world.ends("RolledBack", within=150)
    assert world.reason == "AnalysisFailed"
    assert_rolled_back(world)
    assert world.condition("Analyzed") == "False"
    assert world.oracle.most["v2"] == 0.25, "it got no further than its step"


async def test_gross_errors_are_answered_in_seconds() -> None:
    world = await World.begin(spec=MEASURED, versions={"v2": Version(errors=0.5)})
    world.release("v2")
    await world.until(lambda: world.oracle.most.get("v2", 0) > 0)
    began = world.clock.monotonic()
    await world.until(lambda: "v2" not in world.oracle.spans[-1][1])
    assert world.clock.monotonic() - began < 5


async def test_a_reverted_revision_is_not_tried_again_but_the_next_one_is() -> None:
    world = await World.begin(versions={"v2": Version(crashes=True)})
    world.release("v2")
    await world.ends("RolledBack")
    await world.wait(900)
    assert_rolled_back(world)
    world.release("v3")
    await world.ends("Promoted")
    assert world.pods() == {"v3": 4}
    assert world.conditions()["RolledBack"] == "False"


async def test_after_a_revert_the_template_is_set_back() -> None:
    world = await World.begin(versions={"v2": Version(crashes=True)})
    world.release("v2")
    await world.ends("RolledBack")
    world.release("v1")
    await world.until(lambda: world.condition("Ready") == "True")
    assert world.conditions()["Drifted"] == "False"
    assert world.pods_created()["v1"] == 4
    assert len(world.status.history) == 1


async def test_a_reverted_revision_that_is_set_back_and_tried_again_is_a_new_release() -> None:
    world = await World.begin(versions={"v2": Version(crashes=True)})
    world.release("v2")
    await world.ends("RolledBack")
    world.release("v1")
    await world.until(lambda: world.condition("Ready") == "True")
    world.versions["v2"] = Version()
    world.release("v2")
    await world.ends("Promoted")


async def test_the_template_changes_in_mid_release() -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(2))
    world.release("v3")
    await world.until(lambda: world.outcome == "Superseded")
    assert "v3" not in world.oracle.most, "traffic was on stable first"
    await world.until(world.baking(1))
    assert world.pods() == {"v1": 4, "v3": 1}
    await world.ends("Promoted")
    assert world.pods() == {"v3": 4}
    assert [str(record.outcome) for record in world.status.history] == ["Promoted", "Superseded"]


async def test_the_template_changes_while_a_revert_is_under_way() -> None:
    world = await World.begin(versions={"v2": Version(fails_after=2.0)})
    world.release("v2")
    await world.until(lambda: world.phase == "Reverting")
    world.release("v3")
    await world.ends("Promoted")
    assert world.pods() == {"v3": 4}


async def test_the_template_changes_while_a_promotion_is_under_way() -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(lambda: "Promoting" in world.events())
    world.release("v3")
    await world.ends("Promoted")
    assert world.pods() == {"v3": 4}
    assert world.pods_created()["v2"] == 4


@pytest.mark.parametrize("step", [1, 2])
async def test_the_template_is_set_back_in_mid_release(step: int) -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(step))
    world.release("v1")
    await world.ends("Aborted", within=60)
    assert world.reason == "TemplateRestored"
    assert world.pods() == {"v1": 4}
    assert world.pods_created()["v1"] == 4
    assert world.conditions()["Ready"] == "True"
    assert world.conditions()["Drifted"] == "False"


async def test_a_template_set_back_waits_for_no_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    monkeypatch.setattr(DeploymentController, "delay", 5.0)
    world.release("v1")
    await world.until(lambda: world.rules()[0]["backendRefs"][1]["weight"] == 0, within=1)
    await world.ends("Aborted", within=60)
    assert world.reason == "TemplateRestored"


async def test_a_pause_does_not_hold_a_revert() -> None:
    world = await World.begin(spec=MEASURED, versions={"v2": Version(errors=0.5)})
    world.metrics.outage = "down"
    world.release("v2")
    await world.until(world.baking(1))
    world.respec(paused=True)
    await world.wait(30)
    world.metrics.outage = ""
    await world.ends("RolledBack", within=60)


async def test_a_spec_that_becomes_invalid_does_not_hold_a_revert() -> None:
    world = await World.begin(versions={"v2": Version(fails_after=6.0)})
    world.release("v2")
    await world.until(world.baking(1))
    world.respec(steps=[{"weight": 50}, {"weight": 20}])
    await world.until(lambda: world.phase in ("Invalid", "Reverting", "RolledBack"))
    await world.until(lambda: world.outcome != "", within=60)
    assert world.outcome == "RolledBack"


async def test_the_users_deadline_is_put_back_also_where_there_was_none() -> None:
    world = await World.begin(versions={"v2": Version(crashes=True)})
    world.edit(DEPLOYMENTS, {"spec": {"progressDeadlineSeconds": None, "minReadySeconds": 0}})
    world.edit(DEPLOYMENTS, {"spec": {"progressDeadlineSeconds": 45}})
    world.release("v2")
    await world.ends("RolledBack")
    assert world.target()["spec"]["progressDeadlineSeconds"] == 45


async def test_a_reverted_candidate_is_held_whatever_the_deployment_controller_asks_for() -> None:
    world = await World.begin(versions={"v2": Version(crashes=True)})
    world.release("v2")
    await world.ends("RolledBack")
    world.scale(9)
    await world.wait(30)
    assert world.pods() == {"v1": 9}
    sizes = {rs["spec"]["replicas"] for rs in world.cluster.all(REPLICASETS, "shop")}
    assert sizes == {0, 9}
