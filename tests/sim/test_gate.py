"""The gate missing, changed, or another installation's: noticed, said, survived."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.exhaustive.stories import ask
from tests.fakes.cluster import TIDEGATE
from tests.fakes.kubelet import Version
from tests.sim.world import NAMESPACE, QUICK, World, deployment
from tidegate.api.gates import GateState
from tidegate.api.releasestatus import Stage
from tidegate.api.requests import RequestAction
from tidegate.core.standing import NUMBER
from tidegate.engine.gate import READ_IN, STANDING_BY, needed
from tidegate.ports.cluster import (
    BLUE_GREEN_RELEASES,
    DEPLOYMENTS,
    FEATURE_FLAGS,
    POLICIES,
    POLICY_BINDINGS,
    REPLICASETS,
    ROLLING_RELEASES,
    Kind,
)

THEIRS: dict[str, Any] = {
    "matchConditions": [{"name": "not-by-tidegate", "expression": "request.userInfo.username != 'theirs'"}]
}


NAMES = {obj["metadata"]["name"] for _, obj in needed()}


def ours(world: World) -> int:
    """How many writes are Tidegate's."""
    return sum(write.who == TIDEGATE for write in world.cluster.writes)


async def test_without_the_gate_nothing_starts() -> None:
    world = await World.begin()
    world.close_gate()
    await world.until(lambda: world.why("Stalled") == "GateMissing")
    world.open_gate()
    await world.until(lambda: world.condition("Ready") == "True")
    world.release("v2")
    await world.ends("Promoted")


async def test_a_rollout_that_happened_without_the_gate_is_adopted_with_it() -> None:
    world = await World.begin()
    world.close_gate()
    await world.until(lambda: world.why("Stalled") == "GateMissing")
    world.oracle.awake = False  # without the gate a rollout is nobody's but the user's
    world.release("v2")
    await world.wait(30)
    world.open_gate()
    await world.until(lambda: world.condition("Ready") == "True" and world.pods() == {"v2": 4})
    world.oracle.awake = True
    world.release("v3")
    await world.ends("Promoted")


async def test_the_gate_vanishes_in_mid_release_and_comes_back() -> None:
    world = await World.begin(spec={**QUICK, "steps": [{"weight": 25, "bake": "60s"}]})
    world.release("v2")
    await world.until(world.baking(1))
    world.close_gate()
    await world.wait(2)
    world.open_gate()
    await world.ends("Promoted")


@pytest.mark.parametrize("kind", [POLICIES, POLICY_BINDINGS], ids=lambda kind: kind.name)
async def test_without_a_part_of_the_gate_nothing_starts(kind: Kind) -> None:
    world = await World.begin()
    for name in NAMES:
        part = world.cluster.find(kind, "", name)
        assert part
        world.cluster.delete_as("admin", kind, "", name)
        await world.until(lambda: world.why("Stalled") == "GateMissing")
        assert f"{kind.name} {name} is missing" in world.status.message
        world.cluster.create_as("admin", kind, "", part)
        await world.until(lambda: world.condition("Ready") == "True")


async def test_a_changed_policy_is_told_and_nothing_starts() -> None:
    world = await World.begin()
    policy = "tidegate-replicasets"
    world.cluster.patch_as("admin", POLICIES, "", policy, {"spec": {"failurePolicy": "Ignore"}})
    await world.until(lambda: world.why("Stalled") == "GateChanged")
    assert f"{policy} is not as this version needs it (spec.failurePolicy)" in world.status.message
    world.release("v2")
    await world.wait(60)
    assert world.pods() == {"v1": 4}
    world.cluster.patch_as("admin", POLICIES, "", policy, {"spec": {"failurePolicy": "Fail"}})
    await world.ends("Promoted")


async def test_a_policy_changed_in_mid_release_is_braked_until_it_is_as_needed() -> None:
    world = await World.begin(spec={**QUICK, "steps": [{"weight": 25, "bake": "20s"}]})
    world.release("v2")
    await world.until(world.baking(1))
    policy = "tidegate-replicasets"
    world.cluster.patch_as("admin", POLICIES, "", policy, {"spec": {"failurePolicy": "Ignore"}})
    await world.until(lambda: bool(world.target()["spec"].get("paused")))
    await world.until(lambda: world.why("Progressing") == "GateChanged")
    assert "GateChanged" in world.events()
    world.cluster.patch_as("admin", POLICIES, "", policy, {"spec": {"failurePolicy": "Fail"}})
    await world.ends("Promoted")
    assert not world.target()["spec"].get("paused")


async def test_a_gate_that_is_put_back_holds_when_api_servers_have_read_it() -> None:
    world = await World.begin(spec={**QUICK, "steps": [{"weight": 25, "bake": "20s"}]})
    world.release("v2")
    await world.until(world.baking(1))
    for harm, mend in ((world.close_gate, world.open_gate), (partial(policy, world, "Ignore"), partial(policy, world))):
        harm()
        await world.until(lambda: bool(world.target()["spec"].get("paused")))
        mend()
        await world.wait(READ_IN.total_seconds() - 0.5)
        assert world.target()["spec"]["paused"], "what is let go before that would be rolled out, ungated"
        assert "API servers take a moment" in world.status.message
        await world.until(lambda: not world.target()["spec"].get("paused"), within=2)
    await world.ends("Promoted")


async def rolled_out_without_a_gate(following: Version) -> World:
    """v2, whole. Of v3 it is said how it will be."""
    world = await World.begin(versions={"v3": following})
    world.oracle.excuse("nothing holds what the Deployment controller does")
    world.close_gate()
    world.release("v2")
    await world.until(lambda: world.pods() == {"v2": 4})
    return world


async def test_what_was_rolled_out_without_a_gate_serves_on() -> None:
    """Though the template is another's when the gate is back."""
    world = await rolled_out_without_a_gate(Version(fails_after=1.0))
    world.open_gate()
    world.release("v3")
    await world.ends("RolledBack")
    assert world.pods() == {"v2": 4}
    assert world.pods_created()["v2"] == 4


async def test_pods_that_came_without_a_gate_go_with_their_revision() -> None:
    """Of a rollout that was not over when the next one came, which never serves."""
    world = await rolled_out_without_a_gate(Version(starts_in=1e6))
    world.release("v3")
    await world.wait(10)
    assert {rs["spec"]["replicas"] > 0 for rs in world.cluster.all(REPLICASETS, NAMESPACE)} == {False, True}
    world.open_gate()
    await world.ends("RolledBack", within=900)
    await world.until(lambda: world.pods() == {"v1": 4}, within=30)


async def taken_whole(weight: int) -> World:
    """The Deployment controller took all of stable's pods while there was neither a gate nor an operator."""
    world = await World.begin(spec={**QUICK, "steps": [{"weight": weight, "bake": "60s"}]})
    world.release("v2")
    await world.until(world.baking(1))
    world.oracle.excuse("nothing holds what the Deployment controller does")
    world.process.line.freeze()
    world.close_gate()
    world.edit(DEPLOYMENTS, {"metadata": {"annotations": {"looked": "at"}}})
    await world.until(lambda: world.pods() == {"v2": 4})
    world.process.line.thaw()
    return world


async def test_stable_has_its_pods_back_before_it_is_given_everything() -> None:
    """They went while there was neither a gate nor an operator that could brake."""
    world = await taken_whole(50)
    await world.until(lambda: bool(world.target()["spec"].get("paused")), within=30)
    ask(world, RequestAction.ABORT)
    world.open_gate()
    await world.ends("Aborted", within=120)
    await world.until(lambda: world.pods() == {"v1": 4} and "paused" not in world.target()["spec"])


FULL: dict[str, Any] = {"steps": [{"weight": 25, "bake": "60s"}]}
BY_PODS: dict[str, Any] = {
    "steps": [{"weight": 50, "bake": "60s"}],
    "traffic": {"podShare": {}, "propagation": "1s"},
}
SWITCH: dict[str, Any] = {"switch": {"approval": "Manual"}, "traffic": {"propagation": "1s"}}


async def to_be_approved(replicas: int = 4) -> World:
    """v2 has all of its pods and no requests."""
    spec = {**SWITCH, "analysis": {"metrics": []}}
    world = await World.begin(kind=BLUE_GREEN_RELEASES, replicas=replicas, spec=spec)
    world.release("v2")
    await world.until(lambda: world.gate("switch").state is GateState.RUNNING)
    return world


@pytest.mark.parametrize(
    "how",
    [
        {"kind": BLUE_GREEN_RELEASES, "spec": SWITCH},
        {"kind": BLUE_GREEN_RELEASES, "spec": SWITCH, "by": None},
        {"spec": FULL, "replicas": 1},
        {"spec": {"steps": [{"weight": 100, "bake": "60s"}]}},
        {"spec": {"steps": [{"weight": 10, "replicas": "100%", "bake": "60s"}]}},
        {"spec": {"steps": [{"weight": 10, "replicas": "75%", "bake": "60s"}]}},
        {"spec": BY_PODS, "by": None, "replicas": 1},
        {"spec": BY_PODS, "by": None},
    ],
    ids=["switch", "switch-by-service", "one", "all-of-it", "all-pods", "most-pods", "one-by-pods", "by-pods"],
)
async def test_where_a_pause_would_cost_stable_its_pods_the_release_goes_back(how: dict[str, Any]) -> None:
    """The Deployment controller takes a revision that has all of its pods for the only one that is needed."""
    spec = {**QUICK, **how["spec"]} if "kind" not in how else how["spec"]
    world = await World.begin(**{**how, "spec": {**spec, "analysis": {"metrics": []}}})
    before = world.named("v1")
    world.release("v2")
    waits = (lambda: world.gate("switch").state is GateState.RUNNING) if "kind" in how else world.baking(1)
    await world.until(waits)
    world.close_gate()
    await world.ends("Aborted")
    assert world.status.last_release
    assert "stable would have lost pods that it needs" in world.status.last_release.message
    assert "TemplateSetBack" in world.events()
    assert world.why("Stalled") == "GateMissing"
    await world.wait(60)
    assert world.named("v1") == before
    assert world.pods() == {"v1": len(before)}
    assert world.target()["spec"]["paused"], "it may be applied again"
    world.open_gate()
    await world.until(lambda: world.condition("Ready") == "True" and "paused" not in world.target()["spec"])
    world.release("v3")
    await world.until(waits)


@pytest.mark.parametrize("replicas", [1, 4])
async def test_a_template_that_is_applied_again_without_a_gate_rolls_nothing_out(replicas: int) -> None:
    """As GitOps tools do: all the time."""
    world = await to_be_approved(replicas)
    before = world.named("v1")
    world.close_gate()
    for _ in range(10):
        await world.wait(2)
        world.release("v2")
    written = ours(world)
    for _ in range(30):
        await world.wait(2)
        world.release("v2")
    assert ours(world) == written
    assert world.named("v1") == before
    world.open_gate()
    await world.until(lambda: world.phase == "RolledBack" and "paused" not in world.target()["spec"], within=30)
    await world.wait(10)
    assert world.named("v1") == before


@pytest.mark.parametrize("stage", [Stage.WIDEN, Stage.NARROW, Stage.RETURN, Stage.LIFT, Stage.CLEAN])
async def test_a_promotion_that_is_on_its_way_is_not_turned_back_for_want_of_a_gate(stage: Stage) -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(lambda: world.stage is stage)
    world.oracle.excuse("old pods go sooner without a gate")
    world.close_gate()
    await world.ends("Promoted")
    assert world.pods_created() == {"v1": 4, "v2": 4}


async def test_stable_that_the_deployment_controller_took_whole_comes_back() -> None:
    """There was neither a gate nor an operator that could brake."""
    world = await taken_whole(25)
    await world.until(lambda: world.pods() == {"v1": 4}, within=60)


async def test_a_batch_that_failed_is_not_kept_where_nothing_holds_the_others() -> None:
    spec = {"batch": "25%", "bake": "20s", "drain": "1s", "onFailure": "RevertBatch", "analysis": {"metrics": []}}
    world = await World.begin(kind=ROLLING_RELEASES, by=None, replicas=8, spec=spec)
    world.release("v2")
    await world.until(world.baking(2))
    world.oracle.excuse("a rollout without a gate")
    world.close_gate()
    await world.until(lambda: bool(world.target()["spec"].get("paused")))
    world.fall("v2")
    await world.ends("RolledBack", within=60)
    await world.until(lambda: world.pods() == {"v1": 8}, within=30)


async def test_what_holds_sizes_is_relied_on_though_another_part_of_the_gate_is_missing() -> None:
    world = await World.begin(spec={**QUICK, **FULL})
    world.release("v2")
    await world.until(world.baking(1))
    world.close_gate()
    await world.until(lambda: bool(world.target()["spec"].get("paused")))
    world.open_gate()
    world.cluster.delete_as("admin", POLICIES, "", "tidegate-routes")
    await world.until(lambda: "paused" not in world.target()["spec"], within=READ_IN.total_seconds() + 1)
    await world.wait(1)
    assert "tidegate-routes is missing, so not all that a release holds would stay" in world.status.message


async def test_batches_are_undone_where_a_pause_would_give_the_candidate_the_rest_of_them() -> None:
    """The largest revision gets what maxSurge has room for, and with all of its pods it is the only one."""
    spec = {"batch": "25%", "bake": "20s", "drain": "1s", "analysis": {"metrics": []}}
    world = await World.begin(kind=ROLLING_RELEASES, by=None, replicas=8, spec=spec)
    world.release("v2")
    await world.until(world.baking(3))
    world.oracle.excuse("a rollout without a gate")
    world.close_gate()
    least = 8
    while world.stage is not Stage.REST:
        await world.wait(0.05)
        least = min(least, sum(world.pods().values()))
    assert least >= 6
    await world.until(lambda: world.pods() == {"v1": 8}, within=30)


async def test_the_template_is_set_back_when_the_router_has_heard_of_it() -> None:
    """Until then the candidate answers its share."""
    world = await World.begin(replicas=1, spec={**QUICK, **FULL, "drain": "20s"})
    world.release("v2")
    await world.until(world.baking(1))
    world.router.applies = 10.0
    world.close_gate()
    await world.wait(8)
    assert world.pods() == {"v1": 1, "v2": 1}
    await world.ends("Aborted", within=60)


async def test_without_what_holds_routes_a_release_waits_and_nothing_is_paused() -> None:
    world = await to_be_approved()
    part = world.cluster.find(POLICY_BINDINGS, "", "tidegate-routes")
    assert part
    world.cluster.delete_as("admin", POLICY_BINDINGS, "", "tidegate-routes")
    await world.until(lambda: world.why("Progressing") == "GateMissing")
    await world.wait(30)
    assert world.pods() == {"v1": 4, "v2": 4}
    assert "paused" not in world.target()["spec"]
    world.cluster.create_as("admin", POLICY_BINDINGS, "", part)
    await world.until(lambda: world.why("Progressing") != "GateMissing", within=READ_IN.total_seconds() + 5)
    ask(world, RequestAction.APPROVE)
    await world.until(world.baking(2))


async def test_the_gate_of_an_earlier_version_holds_sizes() -> None:
    """As between an operator that was rolled out and policies that are still to be."""
    world = await to_be_approved()
    earlier = {"metadata": {"annotations": {NUMBER: "1"}}, "spec": {"reinvocationPolicy": "Never"}}
    world.cluster.patch_as("admin", POLICIES, "", "tidegate-replicasets", earlier)
    await world.until(lambda: world.why("Progressing") == "GateChanged")
    await world.wait(30)
    assert world.pods() == {"v1": 4, "v2": 4}
    assert "paused" not in world.target()["spec"]


@pytest.mark.parametrize(("weight", "replicas", "to"), [(50, 10, 4), (25, 4, 0), (25, 4, 2), (75, 8, 6)])
async def test_a_deployment_that_is_scaled_while_it_is_braked_stays_so(weight: int, replicas: int, to: int) -> None:
    """What its controller makes of the revisions is to be seen yet when its size has changed."""
    world = await World.begin(replicas=replicas, spec={**QUICK, "steps": [{"weight": weight, "bake": "60s"}]})
    world.release("v2")
    await world.until(world.baking(1))
    world.oracle.excuse("it is scaled without a gate")
    world.close_gate()
    await world.until(lambda: bool(world.target()["spec"].get("paused")))
    await world.wait(2)
    world.edit(DEPLOYMENTS, {"spec": {"replicas": to}})
    await world.wait(30)
    assert world.stage is Stage.BAKE
    assert world.target()["spec"]["paused"]


async def test_going_back_while_braked_is_no_fight_for_pods() -> None:
    """Stable gets them by its template: sized by hand they would be taken again."""
    world = await World.begin(replicas=8, spec={**QUICK, "steps": [{"weight": 75, "bake": "60s"}]})
    world.release("v2")
    await world.until(world.baking(1))
    world.oracle.excuse("pods are moved without a gate")
    world.close_gate()
    await world.until(lambda: bool(world.target()["spec"].get("paused")))
    await world.until(lambda: world.pods()["v1"] == 4, within=10)
    await world.wait(10)
    written = ours(world)
    ask(world, RequestAction.ABORT)
    await world.ends("Aborted", within=15)
    await world.until(lambda: world.pods() == {"v1": 8}, within=15)
    assert ours(world) - written < 60


async def test_where_the_candidate_falls_after_the_switch_stable_comes_back_without_a_gate() -> None:
    world = await World.begin(
        kind=BLUE_GREEN_RELEASES, spec={"watch": "60s", "drain": "1s", "analysis": {"metrics": []}}
    )
    world.release("v2")
    await world.until(world.baking(2))
    world.oracle.excuse("the set that was kept warm goes with the gate")
    world.close_gate()
    await world.until(lambda: world.pods() == {"v2": 4})
    world.fall("v2")
    await world.until(lambda: world.pods() == {"v1": 4}, within=20)
    await world.ends("RolledBack", within=30)


async def test_a_way_back_by_the_rollback_window_goes_on_without_a_gate() -> None:
    """What is fled from is no place to be."""
    world = await World.begin(spec={**QUICK, "rollback": {"window": 2}})
    for version in ("v2", "v3"):
        world.release(version)
        await world.ends("Promoted")
    world.release("v2")
    await world.until(lambda: world.stage is Stage.SCALE)
    world.oracle.excuse("a rollout without a gate")
    world.close_gate()
    await world.ends("Promoted", within=20)
    assert world.pods() == {"v2": 4}


async def test_a_deployment_that_its_owner_paused_is_not_said_to_be_paused_by_tidegate() -> None:
    world = await World.begin(spec={**QUICK, **FULL})
    world.release("v2")
    await world.until(world.baking(1))
    world.edit(DEPLOYMENTS, {"spec": {"paused": True}})
    await world.until(lambda: world.why("Progressing") == "TargetPaused")
    world.close_gate()
    await world.until(lambda: world.why("Progressing") == "GateMissing")
    assert world.status.message.startswith("the release waits until the gate holds it again")
    world.open_gate()
    await world.until(lambda: world.why("Progressing") == "TargetPaused", within=30)
    assert world.target()["spec"]["paused"]
    world.edit(DEPLOYMENTS, {"spec": {"paused": None}})
    await world.ends("Promoted", within=120)


async def test_another_deployment_of_the_name_was_never_paused() -> None:
    world = await World.begin(spec={**QUICK, "steps": [{"weight": 50, "bake": "60s"}]})
    world.release("v2")
    await world.until(world.baking(1))
    world.oracle.excuse("the Deployment goes")
    world.close_gate()
    await world.until(lambda: bool(world.target()["spec"].get("paused")), within=2)
    world.delete(DEPLOYMENTS)
    world.create(DEPLOYMENTS, deployment("v1", 4))
    await world.wait(30)
    world.delete(world.kind)
    await world.until(lambda: world.object is None, within=120)


def policy(world: World, failure: str = "Fail") -> None:
    """Somebody edits the one that holds new revisions."""
    world.cluster.patch_as("admin", POLICIES, "", "tidegate-replicasets", {"spec": {"failurePolicy": failure}})


async def test_the_gate_of_another_installation_is_left_alone_and_so_are_its_releases_and_flags() -> None:
    world = await World.begin(spec={**QUICK, "steps": [{"weight": 25, "bake": "20s"}]})
    world.release("v2")
    await world.until(world.baking(1))
    before = {name: world.cluster.find(POLICIES, "", name) for name in NAMES}
    for name in NAMES:
        world.cluster.patch_as("admin", POLICIES, "", name, {"spec": THEIRS})
    await world.wait(1)
    written = ours(world)
    world.cluster.create_as("user", FEATURE_FLAGS, NAMESPACE, {"metadata": {"name": "flag"}, "spec": {}})
    await world.wait(90)
    assert ours(world) == written, "not even a status"
    assert world.baking(1)()
    assert world.meters.registry.get_sample_value("tidegate_gate_problem", {"reason": "GateForeign"}) == 1

    for name, policy in before.items():
        assert policy
        world.cluster.patch_as("admin", POLICIES, "", name, {"spec": policy["spec"]})
    await world.ends("Promoted", within=STANDING_BY.total_seconds() + 60)
    flag = world.cluster.find(FEATURE_FLAGS, NAMESPACE, "flag")
    assert flag
    assert flag["status"]["phase"] == "Serving"
    assert world.meters.registry.get_sample_value("tidegate_gate_problem", {"reason": "GateForeign"}) == 0
