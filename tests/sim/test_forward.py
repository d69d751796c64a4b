"""Releases that go well."""

from __future__ import annotations

from itertools import pairwise

from tests.fakes.kubelet import GRACE, Version
from tests.sim.world import QUICK, USER, Json, World, route, service
from tidegate.api.releasestatus import Stage
from tidegate.core.gate import HELD_DEADLINE
from tidegate.ports.cluster import CANARY_RELEASES, DEPLOYMENTS, HTTPROUTES, REPLICASETS, SERVICES


async def test_adoption_changes_no_pod_and_ends_at_rest() -> None:
    world = await World.begin()
    assert world.events() == ["Adopted"]
    assert world.pods_created() == {"v1": 4}
    assert world.conditions() == {
        "Ready": "True",
        "Reconciling": "False",
        "Stalled": "False",
        "Progressing": "False",
        "Analyzed": "Unknown",
        "RolledBack": "False",
        "Drifted": "False",
    }
    assert world.rules() == route()["spec"]["rules"]


async def test_a_good_release_is_promoted() -> None:
    world = await World.begin()
    world.release("v2")
    await world.ends("Promoted")
    assert world.pods() == {"v2": 4}
    assert world.pods_created() == {"v1": 4, "v2": 4}, "the pods that passed are the pods that stay"
    assert world.rules() == route()["spec"]["rules"]
    assert world.conditions()["Ready"] == "True"
    assert world.status.stable is not None
    assert world.status.stable.images == ("v2",)
    assert world.status.candidate is None
    assert world.target()["spec"]["progressDeadlineSeconds"] == 600
    assert world.events() == [
        *("Adopted", "ReleaseStarted", "StepStarted", "StepStarted", "Promoting", "Promoted"),
    ]


async def test_the_steps_are_kept_and_the_deployment_does_not_time_out_meanwhile() -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    assert world.pods() == {"v1": 4, "v2": 1}
    assert world.target()["spec"]["progressDeadlineSeconds"] == HELD_DEADLINE
    assert world.conditions() == {
        "Ready": "False",
        "Reconciling": "True",
        "Stalled": "False",
        "Progressing": "True",
        "Analyzed": "Unknown",
        "RolledBack": "False",
        "Drifted": "False",
    }
    await world.until(world.baking(2))
    assert world.pods() == {"v1": 4, "v2": 4}
    await world.ends("Promoted")


async def test_a_release_by_the_defaults_takes_its_bakes_and_is_proven_by_its_metrics() -> None:
    world = await World.begin(spec={})
    world.release("v2")
    await world.until(world.baking(3), within=3600)
    assert world.oracle.most["v2"] == 0.25
    assert world.status.analysis is not None
    assert world.status.analysis.step_requests >= 0
    await world.ends("Promoted", within=2 * 3600)
    last = world.status.last_release
    assert last is not None
    minutes = (last.finished_at - last.started_at).total_seconds() / 60
    assert 65 < minutes < 66.5, "four bakes of 15 minutes, one of 5, and little more"


async def test_each_step_is_proven_by_what_it_was_seen_to_do_itself() -> None:
    steps = [*({"weight": weight, "bake": "2h"} for weight in (10, 30, 60)), {"weight": 100, "bake": "5m"}]
    analysis = {"advance": "Proven", "interval": "1m", "warmup": "0s"}
    world = await World.begin(spec={"steps": steps, "drain": "0s", "analysis": analysis})
    world.release("v2")
    begun = []
    for number in range(1, 5):
        await world.until(world.baking(number), within=3600)
        begun.append(world.clock.now())
        await world.wait(2)
        assert world.step == number, "a Pass of the step before is none of this one"
    await world.ends("Promoted", within=3600)
    assert all((later - sooner).total_seconds() >= 60 for sooner, later in pairwise(begun)), begun
    assert (begun[-1] - begun[0]).total_seconds() < 3600, "early, all the same"
    assert (world.clock.now() - begun[-1]).total_seconds() >= 300, "nobody is left to compare with: it bakes"


async def test_one_release_after_another() -> None:
    world = await World.begin()
    for image in ("v2", "v3", "v1"):
        world.release(image)
        await world.ends("Promoted")
        assert world.pods() == {image: 4}
    assert [record.images for record in world.status.history] == [("v1",), ("v3",), ("v2",)]


async def test_steps_that_end_below_100_end_with_one_of_100() -> None:
    world = await World.begin(
        spec={"steps": [{"weight": 50, "bake": "2s"}], "drain": "0s", "analysis": {"metrics": []}}
    )
    world.release("v2")
    await world.ends("Promoted")
    assert world.oracle.most["v2"] == 1.0


async def test_a_step_may_ask_for_more_pods_than_its_weight() -> None:
    spec = {"steps": [{"weight": 5, "bake": "3s", "replicas": "50%"}], "drain": "0s", "analysis": {"metrics": []}}
    world = await World.begin(spec=spec)
    world.release("v2")
    await world.until(world.baking(1))
    assert world.pods()["v2"] == 2
    await world.ends("Promoted")


async def test_no_replicas_release_at_once() -> None:
    world = await World.begin()
    world.scale(0)
    await world.wait(20)
    world.release("v2")
    await world.ends("Promoted", within=60)
    world.scale(3)
    await world.wait(20)
    assert world.pods() == {"v2": 3}


async def test_a_route_of_several_rules_keeps_all_but_its_weights() -> None:
    filters = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x", "value": "y"}]}}]
    rules: list[Json] = [
        {
            "name": "api",
            "matches": [{"path": {"type": "PathPrefix", "value": "/api"}}],
            "filters": filters,
            "backendRefs": [{"name": "checkout", "port": 80, "weight": 3}, {"name": "static", "port": 80, "weight": 1}],
            "timeouts": {"request": "5s"},
        },
        {"matches": [{"path": {"value": "/static"}}], "backendRefs": [{"name": "static", "port": 80}]},
        {"backendRefs": [{"name": "checkout", "port": 80, "filters": filters}]},
    ]
    world = await World.begin(rules=rules)
    world.release("v2")
    await world.until(world.baking(1))
    api, static, rest = world.rules()
    assert [(ref["name"], ref["weight"]) for ref in api["backendRefs"]] == [
        ("checkout-stable", 225),
        ("checkout-canary", 75),
        ("static", 100),
    ]
    assert {**api, "backendRefs": None} == {**rules[0], "backendRefs": None}
    assert static == rules[1]
    assert [ref["filters"] for ref in rest["backendRefs"]] == [filters, filters]
    await world.ends("Promoted")
    assert world.rules() == rules


async def test_two_routes_move_together() -> None:
    world = await World.begin()
    world.create(HTTPROUTES, route("inside"))
    await world.wait(5)
    world.release("v2")
    await world.until(world.baking(1))
    for name in ("checkout", "inside"):
        assert [ref["weight"] for ref in world.rules(name)[0]["backendRefs"]] == [75, 25]
    await world.ends("Promoted")


async def test_the_user_scales_in_mid_release() -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    world.respec(paused=True)
    for replicas, candidate in ((8, 2), (12, 3), (4, 1)):
        world.scale(replicas)
        await world.wait(20)
        assert world.pods() == {"v1": replicas, "v2": candidate}
    world.respec(paused=None)
    await world.ends("Promoted")
    assert world.pods() == {"v2": 4}


async def test_pause_holds_a_release_and_no_longer_than_it_stands() -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    world.respec(paused=True)
    await world.until(lambda: world.why() == "Paused")
    await world.wait(600)
    assert world.baking(1)()
    world.respec(paused=None)
    await world.ends("Promoted")


async def test_a_release_that_is_paused_does_not_start() -> None:
    world = await World.begin()
    world.respec(paused=True)
    world.release("v2")
    await world.until(lambda: world.why() == "Paused")
    await world.wait(60)
    assert world.pods() == {"v1": 4}
    world.respec(paused=None)
    await world.ends("Promoted")


async def test_a_deployment_paused_by_its_owner_is_waited_for() -> None:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    world.edit(DEPLOYMENTS, {"spec": {"paused": True}})
    await world.until(lambda: world.why() == "TargetPaused")
    world.edit(DEPLOYMENTS, {"spec": {"paused": None}})
    await world.ends("Promoted")


async def test_a_deployment_in_mid_rollout_is_adopted_when_that_is_done() -> None:
    world = await World.begin(settle=False)
    world.oracle.awake = False  # a rolling update of the user's own is not judged
    world.release("v2")
    await world.wait(0.5)
    world.cluster.create_as(
        USER,
        CANARY_RELEASES,
        "shop",
        {
            "metadata": {"name": "checkout"},
            "spec": {"targetRef": {"name": "checkout"}},
        },
    )
    await world.until(lambda: world.why() == "WaitingForRollout")
    await world.until(lambda: world.condition("Ready") == "True")
    await world.wait(1)
    assert world.pods() == {"v2": 4}
    assert world.pods_created() == {"v1": 4, "v2": 4}
    assert world.events() == ["Adopted"]


async def test_at_rest_a_release_costs_nothing() -> None:
    world = await World.begin()
    world.release("v2")
    await world.ends("Promoted")
    await world.wait(GRACE + 1)
    before, writes = world.requests(), len(world.cluster.writes)
    for _ in range(20):
        for key in world.process.operator._keys():
            world.process.operator.queue.add(key)
        await world.wait(1)
    assert world.requests() == before
    assert len(world.cluster.writes) == writes


async def test_old_revisions_are_held_at_rest_and_may_come_back() -> None:
    world = await World.begin()
    world.release("v2")
    await world.ends("Promoted")
    old = next(rs for rs in world.cluster.all(REPLICASETS, "shop") if rs["spec"]["replicas"] == 0)
    assert old["metadata"]["annotations"]["tidegate.dev/ceiling"] == "0"
    world.release("v1")
    await world.until(world.baking(1))
    assert world.pods() == {"v2": 4, "v1": 1}
    await world.ends("Promoted")


async def test_a_second_service_is_no_trouble_once_one_is_named() -> None:
    world = await World.begin()
    world.create(SERVICES, service("checkout-internal"))
    await world.until(lambda: world.why() == "ServiceAmbiguous")
    assert world.condition("Stalled") == "True"
    world.respec(serviceRef={"name": "checkout"})
    await world.until(lambda: world.condition("Ready") == "True")
    world.release("v2")
    await world.ends("Promoted")


async def test_with_the_operator_dead_the_shares_are_kept() -> None:
    """The numbers are those that were measured on a real cluster (DESIGN §3): the fake gate grants the same."""
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    await world.stop()
    for replicas, candidate in ((4, 1), (8, 2), (9, 3), (12, 3), (4, 1), (1, 1)):
        world.scale(replicas)
        await world.wait(30)
        assert world.pods() == {"v1": replicas, "v2": candidate}


async def test_with_the_operator_dead_a_new_revision_is_held() -> None:
    world = await World.begin()
    await world.stop()
    world.release("v2")
    await world.wait(600)
    assert world.pods() == {"v1": 4}
    world.start()
    await world.ends("Promoted")


async def test_with_the_operator_dead_the_template_is_set_back_under_traffic() -> None:
    """The Deployment controller asks at once for the candidate to go: its floor keeps it."""
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(2))
    await world.stop()
    world.release("v1")
    await world.wait(60)
    assert world.pods() == {"v1": 4, "v2": 4}
    world.start()
    await world.ends("Aborted")
    assert world.pods() == {"v1": 4}


async def test_a_rolling_update_that_takes_pods_first_takes_none_of_stable() -> None:
    world = await World.begin(
        strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "50%"}}
    )
    world.release("v2")
    await world.until(world.baking(1))
    assert world.pods() == {"v1": 4, "v2": 1}
    await world.ends("Promoted")
    assert world.pods_created() == {"v1": 4, "v2": 4}


async def test_pods_that_take_a_minute_are_looked_for_once_a_second_and_seen_as_they_come() -> None:
    world = await World.begin(spec=QUICK, versions={"v2": Version(starts_in=60)})
    world.versions["v1"] = Version(starts_in=60)
    world.release("v2")
    await world.until(lambda: world.stage is Stage.SCALE)
    await world.wait(20)
    before = world.requests()
    await world.wait(30)
    assert world.requests() - before <= 4 * 30
    began = world.clock.monotonic()
    await world.until(world.baking(1), within=20)
    assert world.clock.monotonic() - began < 15
