"""Blue-green releases: the idle set in full, one switch, the old set warm until nobody needs it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.exhaustive.stories import ask
from tests.fakes.jobs import Work
from tests.fakes.kubelet import Version
from tests.sim.world import World, canary, deployment, route
from tidegate.api.gates import GateState
from tidegate.api.releasestatus import Stage
from tidegate.api.requests import RequestAction
from tidegate.core.reading import HASH
from tidegate.ports.cluster import (
    BLUE_GREEN_RELEASES,
    CANARY_RELEASES,
    DEPLOYMENTS,
    HTTPROUTES,
    JOBS,
    PODS,
    SERVICES,
)

SWITCH: dict[str, Any] = {
    "watch": "6s",
    "keep": "20s",
    "drain": "1s",
    "traffic": {"propagation": "1s"},
    "analysis": {"metrics": []},
}
JOB = {"template": {"spec": {"containers": [{"name": "smoke", "image": "smoke"}]}}}
MEASURED = {**SWITCH, "watch": "2m", "keep": "5m", "analysis": {"interval": "2s", "warmup": "0s"}}
ROUTED = pytest.mark.parametrize("routed", [True, False])


async def begin(*, routed: bool, **more: Any) -> World:
    return await World.begin(
        **{"spec": SWITCH, "kind": BLUE_GREEN_RELEASES, "by": HTTPROUTES if routed else None, **more}
    )


def selected(world: World, service: str = "checkout") -> str:
    found = world.cluster.find(SERVICES, "shop", service)
    return str(found["spec"]["selector"].get(HASH, "")) if found else ""


def share(world: World) -> int:
    """The candidate's, as the route says."""
    return sum(ref["weight"] for ref in world.rules()[0]["backendRefs"] if ref["name"] == "checkout-canary")


def lose(world: World, image: str, pods: int) -> None:
    """So many of an image go with their node."""
    world.oracle.excuse("a node is lost", 3)
    for name in sorted(world.named(image))[:pods]:
        world.evict(next(pod for pod in world.cluster.all(PODS) if pod["metadata"]["name"] == name))


@ROUTED
async def test_the_idle_set_stands_in_full_before_one_switch(*, routed: bool) -> None:
    world = await begin(routed=routed)
    world.release("v2")
    await world.until(lambda: bool(world.pods()["v2"]))
    assert selected(world) == world.status.stable.hash if world.status.stable else ""
    await world.until(lambda: world.step == 2)
    assert world.pods() == {"v1": 4, "v2": 4}
    assert "v2" not in world.oracle.most, "nobody has seen it yet"
    await world.ends("Promoted")
    assert world.pods() == {"v2": 4}
    assert world.pods_created() == {"v1": 4, "v2": 4}
    whole = [share for _, by in world.oracle.spans if 0 < (share := by.get("v2", 0.0)) < 1]
    assert len(whole) <= 1, "but for the moment in which both sets answer, nothing is shared"
    assert world.status.last_release
    assert world.condition("Ready") == "True"


@ROUTED
async def test_callers_inside_the_cluster_go_over_with_the_switch(*, routed: bool) -> None:
    world = await begin(routed=routed)
    world.release("v2")
    await world.until(world.baking(2))
    assert world.status.candidate
    assert selected(world) == world.status.candidate.hash
    assert world.status.step
    assert (world.status.step.name, world.status.step.index) == ("watch", 2)
    await world.until(world.baking(3))
    assert world.pods() == {"v1": 4, "v2": 4}, "the old set is warm"
    assert "keep" in world.status.message


@ROUTED
@pytest.mark.parametrize("step", [2, 3])
async def test_a_breach_switches_back_without_a_pod_made_anew(step: int, *, routed: bool) -> None:
    world = await begin(routed=routed, versions={"v2": Version(fails_after=15.0 if step == 3 else 7.0)})
    world.release("v2")
    await world.until(world.baking(step))
    await world.ends("RolledBack")
    assert world.reason == "NotReady"
    assert world.pods() == {"v1": 4}
    assert world.pods_created()["v1"] == 4


async def test_errors_after_the_switch_switch_back() -> None:
    world = await begin(routed=True, spec=MEASURED, versions={"v2": Version(errors=0.2)})
    world.release("v2")
    await world.ends("RolledBack", within=120)
    assert world.reason == "AnalysisFailed"
    assert world.pods_created()["v1"] == 4


@ROUTED
async def test_a_new_template_replaces_the_candidate(*, routed: bool) -> None:
    world = await begin(routed=routed)
    world.release("v2")
    await world.until(world.baking(2))
    world.release("v3")
    await world.until(lambda: world.outcome == "Superseded")
    await world.ends("Promoted")
    assert world.pods() == {"v3": 4}
    assert world.pods_created()["v1"] == 4


@ROUTED
@pytest.mark.parametrize("step", [2, 3])
async def test_the_template_set_back_is_an_instant_way_back(step: int, *, routed: bool) -> None:
    world = await begin(routed=routed)
    world.release("v2")
    await world.until(world.baking(step))
    world.release("v1")
    await world.ends("Aborted")
    assert world.reason == "TemplateRestored"
    assert world.pods_created()["v1"] == 4


@ROUTED
async def test_promoted_by_request_the_old_set_is_not_kept(*, routed: bool) -> None:
    world = await begin(routed=routed)
    world.release("v2")
    await world.until(world.baking(2))
    ask(world, RequestAction.PROMOTE)
    await world.ends("Promoted", within=15)


@ROUTED
async def test_somebody_widens_the_service_after_the_switch(*, routed: bool) -> None:
    world = await begin(routed=routed)
    world.release("v2")
    await world.until(world.baking(2))
    world.oracle.excuse("the gate was away")
    world.cluster.patch_as(
        "tidegate-less",
        SERVICES,
        "shop",
        "checkout",
        {"spec": {"selector": {HASH: None}}, "metadata": {"annotations": {}}},
    )
    await world.ends("Promoted")


async def test_the_preview_service_leads_to_the_idle_set() -> None:
    world = await begin(routed=True, spec={**SWITCH, "preview": {"service": "checkout-preview"}})
    rules = [{"backendRefs": [{"name": "checkout-preview", "port": 80}]}]
    world.release("v2")
    await world.until(world.baking(2))
    world.create(HTTPROUTES, route("preview", rules))
    await world.wait(2)
    assert world.status.candidate
    assert selected(world, "checkout-preview") == world.status.candidate.hash
    assert world.rules("preview") == rules, "a route to the preview is its owner's"
    world.delete(HTTPROUTES, "preview")
    await world.ends("Promoted")
    assert world.cluster.find(SERVICES, "shop", "checkout-preview") is None


PREVIEW = {**SWITCH, "preview": {"service": "checkout-preview"}}


async def test_the_preview_service_has_all_endpoints_before_anybody_is_asked() -> None:
    smoke = {"name": "smoke", "at": "BeforeTraffic", "job": JOB}
    world = await begin(routed=True, spec={**PREVIEW, "gates": [smoke]})
    world.slices.blind = "checkout-preview"
    world.release("v2")
    await world.until(lambda: world.pods()["v2"] == 4)
    await world.wait(10)
    assert (world.stage, world.jobs()) == (Stage.SCALE, {})
    assert "0 of 4 pods" in world.status.message
    world.slices.blind = ""
    world.slices.look_again(0.0)
    await world.until(lambda: bool(world.jobs()))
    (started,) = world.cluster.all(JOBS)
    told = {one["name"]: one["value"] for one in started["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert told["TIDEGATE_PREVIEW_SERVICE"] == "checkout-preview"
    await world.ends("Promoted")


async def test_a_route_of_the_user_s_to_the_candidate_s_service_is_left_alone() -> None:
    world = await begin(routed=True)
    rules = [{"backendRefs": [{"name": "checkout-canary", "port": 80}]}]
    world.oracle.foreign |= {"checkout-canary"}
    world.create(HTTPROUTES, route("preview", rules))
    await world.wait(5)
    world.release("v2")
    await world.ends("Promoted")
    written = [w for w in world.cluster.writes if w.name == "preview" and w.client]
    assert not written
    assert world.rules("preview") == rules


@pytest.mark.parametrize("preview", [None, {"service": "checkout-other"}])
async def test_a_release_keeps_the_preview_that_it_began_with(preview: dict[str, str] | None) -> None:
    world = await begin(routed=True, spec=PREVIEW)
    world.release("v2")
    await world.until(world.baking(2))
    world.respec(preview=preview)
    await world.wait(2)
    assert selected(world, "checkout-preview")
    assert world.cluster.find(SERVICES, "shop", "checkout-other") is None
    await world.ends("Promoted")
    assert [svc["metadata"]["name"] for svc in world.cluster.all(SERVICES)] == ["checkout"]


@pytest.mark.parametrize("name", ["checkout", "checkout-stable", "checkout-canary"])
async def test_a_preview_may_not_be_called_what_the_release_needs_itself(name: str) -> None:
    world = await begin(routed=True, spec=SWITCH)
    world.respec(preview={"service": name})
    world.release("v2")
    await world.until(lambda: world.phase == "Blocked")
    assert f"spec.preview.service: '{name}'" in world.status.message
    assert world.pods() == {"v1": 4}
    world.respec(preview={"service": "checkout-preview"})
    await world.ends("Promoted")


async def test_the_preview_of_another_release_is_left_alone() -> None:
    world = await begin(routed=True, spec=PREVIEW)
    theirs = {"labels": {"tidegate.dev/release": "cart"}, "name": "checkout-preview"}
    owner = {"kind": "BlueGreenRelease", "name": "cart", "uid": "another", "apiVersion": "x", "controller": True}
    body = {"metadata": {**theirs, "ownerReferences": [owner]}, "spec": {"selector": {"app": "cart"}}}
    world.oracle.foreign |= {"checkout-preview"}
    world.create(SERVICES, body)
    world.release("v2")
    await world.until(lambda: world.phase == "Blocked")
    assert "belongs to BlueGreenRelease cart" in world.status.message
    found = world.cluster.find(SERVICES, "shop", "checkout-preview")
    assert found
    assert found["spec"] == body["spec"]
    world.delete(SERVICES, "checkout-preview")
    await world.ends("Promoted")


@pytest.mark.parametrize("preview", ["checkout-preview", "checkout-canary"])
async def test_no_two_releases_make_a_service_of_one_name(preview: str) -> None:
    world = await begin(routed=True, spec=PREVIEW)
    cart = deployment(image="v1")
    cart["metadata"]["name"] = cart["spec"]["selector"]["matchLabels"]["app"] = "cart"
    cart["spec"]["template"]["metadata"]["labels"]["app"] = "cart"
    world.oracle.foreign |= {"cart"}
    world.create(DEPLOYMENTS, cart)
    world.create(
        SERVICES, {"metadata": {"name": "cart"}, "spec": {"selector": {"app": "cart"}, "ports": [{"port": 80}]}}
    )
    spec = {**SWITCH, "targetRef": {"name": "cart"}, "preview": {"service": preview}}
    world.create(BLUE_GREEN_RELEASES, {"metadata": {"name": "cart"}, "spec": spec})
    await world.wait(30)
    second = world.cluster.find(BLUE_GREEN_RELEASES, "shop", "cart")
    assert second
    assert f"BlueGreenRelease checkout makes a Service {preview}" in second["status"]["message"]
    assert world.condition("Ready") == "True", "the first of them goes on"


@ROUTED
async def test_somebody_is_asked_to_approve_the_switch_when_all_else_has_passed(*, routed: bool) -> None:
    smoke = {"name": "smoke", "at": "BeforeTraffic", "job": JOB}
    world = await begin(routed=routed, spec={**SWITCH, "switch": {"approval": "Manual"}, "gates": [smoke]})
    world.works["smoke"] = Work(seconds=30)
    world.release("v2")
    await world.until(lambda: world.gate("smoke").state is GateState.RUNNING)
    await world.wait(20)
    assert world.gate("switch").state is GateState.PENDING
    await world.until(lambda: world.gate("switch").state is GateState.RUNNING)
    assert world.gate("smoke").state is GateState.PASSED
    ask(world, RequestAction.APPROVE)
    await world.ends("Promoted")


async def test_another_kind_of_release_takes_over_and_nothing_is_left() -> None:
    world = await World.begin()
    world.create(BLUE_GREEN_RELEASES, canary(**SWITCH))
    await world.wait(5)
    second = world.cluster.find(BLUE_GREEN_RELEASES, "shop", "checkout")
    assert second
    assert "belongs to CanaryRelease checkout" in second["status"]["message"]
    world.delete(CANARY_RELEASES)
    world.kind = BLUE_GREEN_RELEASES
    await world.until(lambda: world.condition("Ready") == "True")
    assert world.target()["metadata"]["annotations"]["tidegate.dev/release"] == "BlueGreenRelease/checkout"
    world.release("v2")
    await world.ends("Promoted")
    assert world.pods_created() == {"v1": 4, "v2": 4}


@ROUTED
async def test_back_to_a_revision_of_the_rollback_window_without_steps(*, routed: bool) -> None:
    world = await begin(routed=routed, spec={**SWITCH, "rollback": {"window": 1}})
    world.release("v2")
    await world.ends("Promoted")
    world.release("v3")
    await world.ends("Promoted")
    began = world.clock.monotonic()
    world.release("v2")
    await world.until(lambda: world.step == 1 and world.status.step is not None and world.status.step.of == 1)
    await world.ends("Promoted", within=20)
    assert world.clock.monotonic() - began < 25
    world.release("v1")
    await world.until(lambda: world.step == 1)
    assert world.status.step
    assert world.status.step.of == 3, "v1 is out of the window"


@ROUTED
async def test_the_switch_waits_for_approval(*, routed: bool) -> None:
    world = await begin(routed=routed, spec={**SWITCH, "switch": {"approval": "Manual"}})
    world.release("v2")
    await world.until(lambda: world.phase == "Waiting")
    assert "kubectl tidegate approve checkout --gate switch" in world.status.message
    await world.wait(3600)
    assert world.pods() == {"v1": 4, "v2": 4}
    assert "v2" not in world.oracle.most
    ask(world, RequestAction.APPROVE)
    await world.ends("Promoted")


@ROUTED
@pytest.mark.parametrize("stage", [Stage.SHIFT, Stage.WIDEN, Stage.NARROW])
async def test_an_idle_set_that_falls_under_its_first_load_is_left_at_once(stage: Stage, *, routed: bool) -> None:
    world = await begin(routed=routed)
    world.oracle.prompt = True
    world.release("v2")
    await world.until(lambda: world.stage is stage and bool(world.status.step and world.status.step.weight))
    world.fall("v2")
    began = world.clock.monotonic()
    await world.until(lambda: world.status.stable is not None and selected(world) == world.status.stable.hash)
    await world.until(lambda: not routed or share(world) == 0)
    assert world.clock.monotonic() - began < 2
    await world.ends("RolledBack", within=60)
    assert world.reason == "NotReady"
    assert world.pods_created()["v1"] == 4


@ROUTED
@pytest.mark.parametrize("stage", [Stage.WIDEN, Stage.NARROW])
async def test_what_turns_a_release_back_does_so_in_the_middle_of_the_switch(stage: Stage, *, routed: bool) -> None:
    world = await begin(routed=routed)
    world.release("v2")
    await world.until(lambda: world.stage is stage)
    world.release("v3")
    await world.until(lambda: world.stage is Stage.REVERT, within=2)
    await world.until(lambda: world.outcome == "Superseded")
    await world.ends("Promoted")
    assert world.pods() == {"v3": 4}


@ROUTED
async def test_a_set_that_is_not_ready_in_full_any_more_is_not_switched_to(*, routed: bool) -> None:
    world = await begin(routed=routed, versions={"v2": Version()})
    world.release("v2")
    await world.until(lambda: world.stage is Stage.WIDEN)
    world.versions["v2"] = Version(starts_in=15, fails_after=1e9)
    lose(world, "v2", 1)
    await world.wait(10)
    assert world.stage is Stage.SCALE
    assert world.status.candidate
    assert selected(world) != world.status.candidate.hash, "three of four"
    await world.ends("Promoted")
    assert world.pods_created()["v2"] == 5


KEPT = {**SWITCH, "keep": "1h"}


@ROUTED
@pytest.mark.parametrize("lost", [4, 2])
async def test_the_old_set_is_ready_before_it_has_all_requests_again(lost: int, *, routed: bool) -> None:
    world = await begin(routed=routed, spec=KEPT, versions={"v1": Version(), "v2": Version()})
    world.release("v2")
    await world.until(world.baking(3))
    world.versions["v1"] = Version(starts_in=20)
    lose(world, "v1", lost)
    world.fall("v2", 1)
    await world.until(lambda: world.stage is Stage.REVERT)
    await world.wait(5)
    assert f"stable gets its pods back ({4 - lost} of 4 are ready)" in world.status.message
    assert world.status.candidate
    assert selected(world) == world.status.candidate.hash
    await world.ends("RolledBack", within=60)
    assert world.pods() == {"v1": 4}


@ROUTED
@pytest.mark.parametrize(("lost", "within"), [(1, 3), (2, 35)])
async def test_an_old_set_that_does_not_come_back_whole_is_not_waited_for(
    lost: int, within: float, *, routed: bool
) -> None:
    world = await begin(routed=routed, spec=KEPT, versions={"v1": Version(), "v2": Version()})
    world.release("v2")
    await world.until(world.baking(3))
    world.versions["v1"] = Version(never_ready=True)
    lose(world, "v1", lost)
    world.fall("v2", 1)
    await world.until(lambda: world.stage is Stage.REVERT)
    began = world.clock.monotonic()
    await world.until(lambda: world.status.stable is not None and selected(world) == world.status.stable.hash)
    assert within - 6 < world.clock.monotonic() - began < within, "with as many as the other has; with fewer in time"


@ROUTED
async def test_a_set_that_nobody_is_left_of_is_left_at_once_for_whoever_there_is(*, routed: bool) -> None:
    world = await begin(routed=routed, spec=KEPT, versions={"v1": Version(), "v2": Version()})
    world.release("v2")
    await world.until(world.baking(3))
    world.versions["v1"] = Version(never_ready=True)
    lose(world, "v1", 3)
    world.fall("v2")
    began = world.clock.monotonic()
    await world.until(lambda: world.status.stable is not None and selected(world) == world.status.stable.hash)
    assert world.clock.monotonic() - began < 3


@ROUTED
async def test_where_nobody_of_the_old_set_comes_back_the_way_back_still_ends(*, routed: bool) -> None:
    spec = {**KEPT, "progressDeadline": "40s"}
    world = await begin(routed=routed, spec=spec, versions={"v1": Version(), "v2": Version()})
    world.release("v2")
    await world.until(world.baking(3))
    world.oracle.excuse("nobody comes back")
    world.versions["v1"] = Version(never_ready=True)
    lose(world, "v1", 4)
    await world.wait(2)
    ask(world, RequestAction.ABORT)
    await world.wait(30)
    assert world.stage is Stage.REVERT
    assert world.status.candidate
    assert selected(world) == world.status.candidate.hash, "somebody answers"
    await world.until(lambda: world.outcome == "Aborted", within=60)
