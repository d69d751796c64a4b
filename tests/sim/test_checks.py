"""Deep health: no traffic before every pod has passed, back when one fails again and again, and nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.kubelet import Version
from tests.sim.world import NAMESPACE, QUICK, World
from tidegate.api.releasestatus import Stage
from tidegate.ports.cluster import CANARY_RELEASES, DEPLOYMENTS, PODS

CHECK: dict[str, Any] = {
    "name": "works",
    "http": {"path": "/health/deep", "port": "http", "expect": {"json": {"db": "ok", "cache": "ok"}}},
    "interval": "1s",
    "timeout": "1s",
}
SPEC = {**QUICK, "health": {"checks": [CHECK]}}
LONG = {**SPEC, "steps": [{"weight": 50, "bake": "60s"}]}


def check(**changes: Any) -> dict[str, Any]:
    """A release with one check."""
    return {**SPEC, "health": {"checks": [{**CHECK, **changes}]}}


def turned(world: World) -> Callable[[], bool]:
    """That the release is on its way back."""
    return lambda: bool(world.status.journal and world.status.journal.outcome)


def becomes(world: World, image: str, **ways: Any) -> None:
    """Pods of an image change their ways."""
    world.versions[image] = Version(**ways)


async def test_pods_that_pass_are_promoted() -> None:
    world = await World.begin(spec=SPEC)
    world.release("v2")
    await world.until(world.baking(1))
    assert world.status.health
    (seen,) = world.status.health.checks
    assert (seen.name, seen.passed, seen.of, seen.last_failure) == ("works", 1, 1, "")
    await world.ends("Promoted")
    assert "health" not in (world.object or {})["status"]
    asked = world.pods_answer.asked
    assert asked["v2"] >= 5
    assert not asked["v1"], "nobody had a reason to ask stable"
    before = asked.total()
    await world.wait(60)
    assert asked.total() == before, "at rest nobody is asked"


@pytest.mark.parametrize(
    ("ways", "told"),
    [
        ({"deep": False}, 'answered 503 {"db": "ok", "cache": "cold"}, expected status 200'),
        ({"hangs": True}, "gave no answer: not within 1 s"),
        ({"knows_check": False}, "answered 404 not found, expected status 200"),
    ],
)
async def test_pods_that_fail_are_given_no_traffic(ways: dict[str, Any], told: str) -> None:
    world = await World.begin(spec=SPEC, versions={"v2": Version(**ways)})
    world.release("v2")
    await world.until(lambda: world.stage is Stage.SCALE)
    began = world.clock.monotonic()
    await world.until(turned(world), within=20)
    assert world.clock.monotonic() - began < 12, "three failures, a second or two apart"
    await world.ends("RolledBack")
    assert world.reason == "HealthCheckFailed"
    assert world.oracle.most.get("v2", 0) == 0
    message = world.status.message
    assert "check works: GET http://10.0." in message
    assert ":8080/health/deep" in message
    assert told in message
    assert world.status.health
    assert (world.status.health.checks[0].passed, world.status.health.checks[0].of) == (0, 1)
    assert told in world.status.health.checks[0].last_failure
    assert "HealthCheckFailed" in world.events()


async def test_expected_fields_are_looked_at_and_not_only_the_status() -> None:
    http = {**CHECK["http"], "expect": {"status": [200, 503], "json": {"cache": "ok"}}}
    world = await World.begin(spec=check(http=http), versions={"v2": Version(deep=False)})
    world.release("v2")
    await world.ends("RolledBack")
    assert 'expected cache to be "ok"' in world.status.message


async def test_pods_that_fail_later_are_turned_back_while_they_have_traffic() -> None:
    world = await World.begin(spec=LONG, versions={"v2": Version()})
    world.release("v2")
    await world.until(world.baking(1))
    becomes(world, "v2", deep=False)
    failed = world.clock.monotonic()
    await world.until(turned(world), within=10)
    assert world.clock.monotonic() - failed < 5
    await world.ends("RolledBack")
    assert world.reason == "HealthCheckFailed"


async def test_a_failure_now_and_then_is_forgiven() -> None:
    world = await World.begin(spec=LONG, versions={"v2": Version()})
    world.release("v2")
    await world.until(world.baking(1))
    for _ in range(4):
        becomes(world, "v2", deep=False)
        await world.wait(1.5)
        becomes(world, "v2")
        await world.wait(2.5)
    await world.ends("Promoted")


async def test_a_fault_that_stable_shares_holds_and_then_goes_on() -> None:
    world = await World.begin(spec=SPEC)
    world.release("v2")
    await world.until(world.baking(1))
    world.pods_answer.database = "down"
    await world.until(lambda: world.phase == "Waiting", within=10)
    await world.wait(300)
    assert world.stage is Stage.BAKE
    assert world.why() == "HealthChecking"
    assert "pods of stable fail it too" in world.status.message
    assert world.pods_answer.asked["v1"] > 100
    world.pods_answer.database = "ok"
    await world.ends("Promoted")


async def test_a_fault_that_stable_shares_is_not_waited_for_for_ever() -> None:
    """Before a step nor after a bake; a pause in between does not count."""
    world = await World.begin(spec={**SPEC, "progressDeadline": "2m"})
    world.release("v2")
    await world.until(world.baking(1))
    world.pods_answer.database = "down"
    await world.until(lambda: world.why() == "HealthChecking", within=10)
    await world.wait(100)
    world.respec(paused=True)
    await world.wait(100)
    world.respec(paused=None)
    await world.wait(100)
    assert (world.stage, world.why()) == (Stage.BAKE, "HealthChecking")
    await world.until(turned(world), within=30)
    await world.ends("RolledBack")
    assert world.reason == "ProgressDeadline"
    assert "within spec.progressDeadline (0:02:00) after the bake" in world.status.message
    assert "pods of stable fail it too" in world.status.message


async def test_stable_that_does_not_know_the_check_shares_no_fault() -> None:
    world = await World.begin(spec=SPEC, versions={"v1": Version(knows_check=False), "v2": Version(deep=False)})
    world.release("v2")
    await world.ends("RolledBack")
    assert world.reason == "HealthCheckFailed"


async def test_stable_that_hangs_does_not_keep_a_revert() -> None:
    slow = check(failureThreshold=1, timeout="30s")
    world = await World.begin(spec=slow, versions={"v1": Version(hangs=True), "v2": Version(deep=False)})
    world.release("v2")
    await world.until(lambda: world.stage is Stage.SCALE)
    await world.until(turned(world), within=10)
    await world.ends("RolledBack")


@pytest.mark.parametrize("image", ["v1", "v3"])
async def test_pods_that_hang_hold_up_no_other_turn(image: str) -> None:
    """The template changes while an answer is awaited that takes half a minute."""
    spec = {**check(timeout="30s", interval="1s"), "steps": [{"weight": 50, "bake": "60s"}]}
    world = await World.begin(spec=spec, versions={"v2": Version()})
    world.release("v2")
    await world.until(world.baking(1))
    becomes(world, "v2", hangs=True)
    await world.wait(5)
    began = world.clock.monotonic()
    world.release(image)
    await world.until(lambda: world.stage is not Stage.BAKE, within=1)
    assert world.clock.monotonic() - began < 1
    await world.ends("Aborted" if image == "v1" else "Promoted")


@pytest.mark.parametrize("bad", [True, False])
async def test_another_operator_takes_over_in_mid_check(*, bad: bool) -> None:
    world = await World.begin(spec=LONG, versions={"v2": Version()})
    world.release("v2")
    await world.until(world.baking(1))
    before = world.status.health
    for _ in range(3):
        becomes(world, "v2", deep=not bad)
        await world.wait(2.2)
        world.kill(world.process)
        await world.wait(1)
        if not bad:
            assert world.status.health == before, "who has yet to ask says nothing new"
    await world.ends("RolledBack" if bad else "Promoted")


async def test_a_port_that_nobody_names_is_said_and_nothing_starts() -> None:
    world = await World.begin(spec=check(http={**CHECK["http"], "port": "htp"}), settle=False)
    await world.until(lambda: world.phase == "Invalid")
    assert "spec.health.checks[0].http.port: 'htp'" in world.status.message
    assert "it has http" in world.status.message
    world.respec(**SPEC)
    await world.until(lambda: world.phase == "Idle")


async def test_a_port_by_number_needs_no_name() -> None:
    world = await World.begin(spec=check(http={**CHECK["http"], "port": 8081}))
    world.edit(DEPLOYMENTS, {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "v2"}]}}}})
    await world.ends("Promoted")


async def test_checks_may_be_taken_away_in_mid_release() -> None:
    world = await World.begin(spec=LONG, versions={"v2": Version(deep=False)})
    world.pods_answer.database = "down"
    world.release("v2")
    await world.until(lambda: world.stage is Stage.SCALE and "stable fail it too" in world.status.message, within=30)
    world.edit(CANARY_RELEASES, {"spec": {"health": None}})
    await world.ends("Promoted")


async def test_a_crowd_of_pods_is_asked_in_turns() -> None:
    """More than are asked at once, of which each hangs: all are asked, and no more at a time than there is room."""
    world = await World.begin(
        spec={**check(timeout="5s", interval="5s", failureThreshold=20), "steps": [{"weight": 100, "bake": "2s"}]},
        replicas=40,
        versions={"v2": Version()},
    )
    world.release("v2")
    becomes(world, "v2", hangs=True)
    await world.until(lambda: world.pods_answer.asked["v2"] > 0)
    assert world.pods_answer.asked["v2"] == 16
    await world.wait(4)
    assert world.pods_answer.asked["v2"] == 16
    await world.until(lambda: world.pods_answer.asked["v2"] >= 40, within=15)
    becomes(world, "v2")
    assert len(world.cluster.all(PODS, NAMESPACE)) == 80
    await world.ends("Promoted")
