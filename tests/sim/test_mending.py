"""What is wrong with the user's things is said, keeps the workload serving, and is gone on from once it is mended."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.kubelet import Version
from tests.fakes.oracle import remains
from tests.sim.world import QUICK, World, canary, deployment, route, service
from tidegate.ports.cluster import CANARY_RELEASES, DEPLOYMENTS, HTTPROUTES, SERVICES

MEASURED: dict[str, Any] = {
    "steps": [{"weight": 25, "bake": "30s"}, {"weight": 100, "bake": "20s"}],
    "drain": "1s",
    "analysis": {"interval": "2s", "warmup": "0s", "minRequests": 10},
}


async def test_recreate_is_refused_with_its_way_out() -> None:
    world = await World.begin(settle=False, spec=QUICK, strategy={"type": "Recreate"})
    await world.until(lambda: world.phase == "Invalid")
    assert world.why() == "StrategyRecreate"
    assert "set it to RollingUpdate" in world.status.message
    assert world.traces() == []
    world.edit(DEPLOYMENTS, {"spec": {"strategy": {"type": "RollingUpdate"}}})
    await world.until(lambda: world.condition("Ready") == "True")
    world.release("v2")
    await world.ends("Promoted")


async def test_a_target_that_does_not_exist_yet() -> None:
    world = await World.begin()
    world.oracle.awake = False
    world.delete(DEPLOYMENTS)
    await world.until(lambda: world.why("Stalled") == "TargetNotFound")
    assert "'checkout'" in world.status.message
    await world.wait(10)
    world.create(DEPLOYMENTS, deployment("v5"))
    await world.until(lambda: world.condition("Ready") == "True")
    await world.wait(5)
    world.oracle.awake = True
    assert world.status.stable is not None
    assert world.status.stable.images == ("v5",)
    world.release("v6")
    await world.ends("Promoted")


async def test_the_route_is_missing_and_comes() -> None:
    world = await World.begin()
    world.delete(HTTPROUTES)
    await world.until(lambda: world.why("Stalled") == "RouteNotFound")
    world.release("v2")
    await world.wait(60)
    assert world.pods() == {"v1": 4}, "the new revision is held"
    world.create(HTTPROUTES, route())
    await world.ends("Promoted")


async def test_the_service_is_missing_and_comes() -> None:
    world = await World.begin()
    world.oracle.awake = False
    world.delete(SERVICES)
    await world.until(lambda: world.why("Stalled") == "ServiceNotFound")
    world.create(SERVICES, service())
    await world.wait(5)
    world.oracle.awake = True
    await world.until(lambda: world.condition("Ready") == "True")
    world.release("v2")
    await world.ends("Promoted")


async def test_a_second_service_that_comes_in_mid_release_does_not_matter() -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    world.create(SERVICES, service("another"))
    world.oracle.foreign |= {"another"}
    await world.until(lambda: world.outcome == "Promoted")


@pytest.mark.parametrize("step", [1, 2])
async def test_the_route_is_deleted_in_mid_release_and_created_again(step: int) -> None:
    """As a GitOps tool may do: all requests are on the user's Service, which is narrowed to stable."""
    world = await World.begin(spec={**QUICK, "steps": [{"weight": 25, "bake": "20s"}, {"weight": 100, "bake": "20s"}]})
    world.release("v2")
    await world.until(world.baking(step))
    world.delete(HTTPROUTES)
    await world.until(lambda: world.why() == "RouteNotFound")
    await world.wait(10)
    world.create(HTTPROUTES, route())
    await world.ends("Promoted")


async def test_the_route_is_applied_anew_in_mid_release() -> None:
    """A GitOps tool applies the manifest: the gate keeps our weights, everything else of the route is its own."""
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    again = route(rules=[{"backendRefs": [{"name": "checkout", "port": 80}], "timeouts": {"request": "3s"}}])
    world.edit(HTTPROUTES, {"spec": again["spec"]})
    await world.wait(1)
    assert world.rules()[0]["timeouts"] == {"request": "3s"}
    assert len(world.rules()[0]["backendRefs"]) == 2
    await world.ends("Promoted")
    assert world.rules() == again["spec"]["rules"]


async def test_the_users_service_is_widened_by_somebody_in_mid_release() -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    world.edit(SERVICES, {"spec": {"selector": {"pod-template-hash": None}}})
    await world.until(lambda: "pod-template-hash" in _selector(world))
    await world.ends("Promoted")


async def test_the_spec_names_other_things_in_mid_release() -> None:
    """The release ends on what it began with, and leaves nothing behind on it."""
    world = await World.begin()
    world.create(HTTPROUTES, route("inside"))
    world.create(SERVICES, service("another"))
    world.respec(traffic={"gateway": {"routes": [{"name": "checkout"}, {"name": "inside"}]}})
    await world.wait(5)
    world.respec(serviceRef={"name": "checkout"})
    await world.until(lambda: world.condition("Ready") == "True")
    world.release("v2")
    await world.until(world.baking(1))
    world.oracle.foreign |= {"another"}
    world.respec(serviceRef={"name": "another"}, traffic={"gateway": {"routes": [{"name": "checkout"}]}})
    await world.until(lambda: world.outcome == "Promoted")
    await world.wait(5)
    assert not remains(world.cluster, "shop")
    assert world.rules("inside") == route()["spec"]["rules"]
    assert world.pods() == {"v2": 4}


def _selector(world: World) -> dict[str, str]:
    found = world.cluster.find(SERVICES, "shop", "checkout")
    return dict(found["spec"]["selector"]) if found else {}


async def test_no_data_holds_and_data_goes_on() -> None:
    world = await World.begin(spec=MEASURED)
    world.metrics.outage = "Prometheus does not answer"
    world.release("v2")
    await world.until(lambda: world.why() == "AnalysisUnknown")
    assert world.condition("Analyzed") == "Unknown"
    await world.wait(300)
    assert world.baking(1)(), "no data is not evidence: neither for nor against"
    world.metrics.outage = ""
    await world.ends("Promoted")


@pytest.mark.parametrize("wrong", ["empty", "nan"])
async def test_answers_that_are_none_hold_too(wrong: str) -> None:
    world = await World.begin(spec=MEASURED)
    setattr(world.metrics, wrong, True)
    world.release("v2")
    await world.until(world.baking(1))
    await world.wait(300)
    assert world.baking(1)(), world.describe()
    setattr(world.metrics, wrong, False)
    await world.ends("Promoted")


async def unmeasured() -> World:
    """A release whose metrics give no answer, and that is to go back for it after two minutes."""
    analysis = {**MEASURED["analysis"], "onUnknown": {"deadline": "2m", "then": "Revert"}}
    world = await World.begin(spec={**MEASURED, "analysis": analysis})
    world.metrics.outage = "Prometheus does not answer"
    world.release("v2")
    return world


async def test_no_data_for_too_long_ends_as_the_release_says() -> None:
    world = await unmeasured()
    await world.ends("Aborted")
    assert world.reason == "HoldExpired"
    assert world.pods() == {"v1": 4}


async def test_a_pause_holds_no_way_back_from_metrics_that_give_no_answer() -> None:
    world = await unmeasured()
    await world.until(lambda: world.why() == "AnalysisUnknown", within=300)
    world.respec(paused=True)
    await world.ends("Aborted", within=180)
    assert world.reason == "HoldExpired"


async def test_metrics_that_answered_in_a_pause_have_all_of_their_deadline_again() -> None:
    world = await unmeasured()
    await world.until(lambda: world.why() == "AnalysisUnknown", within=300)
    world.respec(paused=True)
    world.metrics.outage = ""
    await world.wait(180)
    world.metrics.outage = "Prometheus does not answer"
    await world.wait(60)
    world.respec(paused=None)
    await world.wait(30)
    assert world.why() == "AnalysisUnknown", world.describe()
    await world.ends("Aborted", within=60)


@pytest.mark.parametrize("why", ["AnalysisUnknown", "AnalysisInconclusive"])
async def test_a_hold_whose_time_is_over_says_that_somebody_must_act(why: str) -> None:
    unknown = why == "AnalysisUnknown"
    analysis = {**MEASURED["analysis"], "onUnknown": {"deadline": "2m"}, "onInconclusive": {"extend": 1}}
    world = await World.begin(spec={**MEASURED, "analysis": analysis})
    world.metrics.outage, world.metrics.rate = "Prometheus does not answer" if unknown else "", 0.01
    world.release("v2")
    await world.until(lambda: world.why() == why, within=300)
    assert (world.condition("Stalled"), world.condition("Reconciling")) == ("False", "True"), "not yet"
    await world.until(lambda: world.condition("Stalled") == "True", within=300)
    assert (world.why("Stalled"), world.why(), world.phase) == ("HoldExpired", why, "Waiting")
    assert world.condition("Reconciling") == "False", "kstatus: failed, not in progress"
    assert f"on{why.removeprefix('Analysis')}.then is Hold: skip the step, promote or abort" in world.status.message
    await world.wait(300)
    assert world.baking(1)()
    assert world.events().count("HoldExpired") == 1
    world.metrics.outage, world.metrics.rate = "", 200
    await world.until(lambda: world.condition("Stalled") == "False", within=60)
    await world.ends("Promoted")


async def test_a_step_does_not_end_by_what_was_known_before_an_outage() -> None:
    analysis = {**MEASURED["analysis"], "interval": "15s"}
    world = await World.begin(spec={**MEASURED, "analysis": analysis})
    world.release("v2")
    await world.until(world.baking(1))
    assert world.status.step
    assert world.status.step.until
    await world.wait((world.status.step.until - world.clock.now()).total_seconds() - 1)
    assert world.status.analysis
    assert world.status.analysis.requests > 100
    world.metrics.outage = "Prometheus does not answer"
    await world.wait(60)
    assert world.baking(1)(), world.describe()
    assert world.why() == "AnalysisUnknown"
    world.metrics.outage = ""
    await world.ends("Promoted")


async def test_an_outage_in_mid_bake_does_not_hide_what_comes_after_it() -> None:
    world = await World.begin(spec=MEASURED, versions={"v2": Version(errors=0.4)})
    world.metrics.outage = "down"
    world.release("v2")
    await world.until(world.baking(1))
    await world.wait(120)
    world.metrics.outage = ""
    await world.ends("RolledBack", within=30)


@pytest.mark.parametrize("takes", [0.005, 2.0, 9.0])
async def test_what_came_while_nobody_was_at_work_is_seen_before_the_next_step(takes: float) -> None:
    world = await World.begin(spec={**MEASURED, "steps": [{"weight": 25, "bake": "1m"}]})
    world.release("v2")
    await world.until(world.baking(1))
    await world.wait(30)
    assert world.status.analysis is not None
    await world.stop()
    world.versions["v2"] = Version(errors=0.4)
    world.look_soon()
    await world.wait(600)
    world.metrics.takes = takes
    world.start()
    await world.ends("RolledBack", within=60)
    assert "Promoting" not in world.events()


@pytest.mark.parametrize("takes", [2.0, 9.0])
async def test_metrics_that_take_their_time_hold_up_no_good_release(takes: float) -> None:
    world = await World.begin(spec=MEASURED)
    world.metrics.takes = takes
    world.release("v2")
    await world.ends("Promoted")


async def test_too_few_requests_hold_the_step_until_there_are_enough() -> None:
    world = await World.begin(spec=MEASURED)
    world.metrics.rate = 0.01
    world.release("v2")
    await world.until(lambda: world.why() == "AnalysisInconclusive", within=300)
    await world.wait(200)
    assert world.baking(1)()
    assert "next connection" not in world.status.message, "the route gives it its share of all"
    world.metrics.rate = 200
    await world.ends("Promoted")


async def test_a_router_that_cannot_be_asked_is_given_its_time() -> None:
    world = await World.begin()
    world.router.answers = False
    world.release("v2")
    await world.ends("Promoted")
    assert world.pods_created() == {"v1": 4, "v2": 4}


async def test_a_router_that_applies_nothing_holds_the_release() -> None:
    world = await World.begin()
    world.router.stuck = True
    world.release("v2")
    await world.wait(30)
    # The first pod of v2 waits beside; that it has no request is watched at every instant.
    assert world.pods() == {"v1": 4, "v2": 1}
    assert "served still" in world.status.message
    world.router.stuck = False
    world.edit(HTTPROUTES, {"spec": {"hostnames": ["again.example"]}})
    await world.ends("Promoted")


async def test_a_release_object_with_a_wrong_spec_says_so_and_is_mended() -> None:
    world = await World.begin(settle=False)
    steps = [{"weight": 50}, {"weight": 20}]
    world.create(
        CANARY_RELEASES, {"metadata": {"name": "checkout"}, "spec": {"targetRef": {"name": "checkout"}, "steps": steps}}
    )
    await world.until(lambda: world.phase == "Invalid")
    assert "weights must grow" in world.status.message
    assert world.traces() == []
    world.respec(**QUICK)
    await world.until(lambda: world.condition("Ready") == "True")
    world.release("v2")
    await world.ends("Promoted")


async def test_a_service_of_somebody_else_has_the_name_that_we_need() -> None:
    world = await World.begin()
    world.oracle.foreign |= {"checkout-canary"}
    theirs = {"metadata": {"name": "checkout-canary"}, "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}}
    world.create(SERVICES, theirs)
    await world.until(lambda: world.why("Stalled") == "ServiceUnusable")
    world.release("v2")
    await world.wait(30)
    assert world.pods() == {"v1": 4}
    world.delete(SERVICES, "checkout-canary")
    await world.ends("Promoted")


async def test_a_second_release_of_the_same_deployment_is_refused_and_may_go() -> None:
    world = await World.begin()
    second = {"metadata": {"name": "second"}, "spec": {"targetRef": {"name": "checkout"}, **QUICK}}
    world.create(CANARY_RELEASES, second)
    await world.wait(5)
    other = world.cluster.find(CANARY_RELEASES, "shop", "second")
    assert other
    assert other["status"]["phase"] == "Blocked"
    world.release("v2")
    await world.until(world.baking(1))
    world.delete(CANARY_RELEASES, "second")
    await world.ends("Promoted")
    assert world.cluster.find(CANARY_RELEASES, "shop", "second") is None
    assert world.pods_created() == {"v1": 4, "v2": 4}


async def test_what_was_deleted_while_a_watch_was_away_is_missed_at_once() -> None:
    world = await World.begin()
    world.process.watch.deaf = True
    world.delete(HTTPROUTES)
    await world.wait(30)
    world.process.watch.deaf = False
    assert world.condition("Ready") == "True", "nobody told"
    world.process.operator.missed()
    await world.until(lambda: world.phase == "Blocked", within=15)


async def test_a_name_that_no_label_can_have_is_invalid_and_nothing_starts() -> None:
    """As where the CRD of a version before has let it in."""
    world = await World.begin(settle=False)
    name = "a" * 64
    world.create(CANARY_RELEASES, {**canary(**QUICK), "metadata": {"name": name}})
    await world.wait(5)
    found = world.cluster.find(CANARY_RELEASES, "shop", name)
    assert found
    assert found["status"]["phase"] == "Invalid"
    assert "metadata.name: at most 63 characters" in found["status"]["message"]
    assert world.traces() == []
