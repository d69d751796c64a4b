"""Routers other than the Gateway API: the same releases over Ingresses and TraefikServices."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.cluster import TIDEGATE
from tests.fakes.kubelet import Version
from tests.sim.world import QUICK, World, ingress, listed, route
from tidegate.core.asked import REQUEST
from tidegate.ports.cluster import (
    CANARY_RELEASES,
    HTTPROUTES,
    INGRESSES,
    TRAEFIK_SERVICES,
    Kind,
    Object,
)

Json = dict[str, Any]
MEASURED: Json = {**QUICK, "analysis": {"interval": "2s", "warmup": "0s", "minRequests": 10}}


ROUTERS = [pytest.param(INGRESSES, ingress, id="nginx"), pytest.param(TRAEFIK_SERVICES, listed, id="traefik")]


async def begin(kind: Kind, body: Callable[[], Json], **settings: Any) -> World:
    """A checkout that is reached by nothing but this."""
    world = await World.begin(**settings)
    world.create(kind, body())
    await world.wait(5)
    world.delete(HTTPROUTES)
    await world.wait(5)
    return world


def spec_of(world: World, kind: Kind) -> Json:
    found = world.cluster.find(kind, "shop", "checkout")
    assert found
    return dict(found["spec"])


def canary(world: World) -> Object | None:
    """The Ingress that is ours."""
    return world.cluster.find(INGRESSES, "shop", "checkout-canary")


def share(world: World) -> float:
    """Of the candidate, as requests go."""
    return max(found.get("checkout-canary", 0.0) for _, found in world.router.shares())


@pytest.mark.parametrize(("kind", "body"), ROUTERS)
async def test_a_promotion(kind: Kind, body: Callable[[], Json]) -> None:
    world = await begin(kind, body)
    before = spec_of(world, kind)
    world.release("v2")
    await world.until(world.baking(1))
    assert share(world) == 0.25
    assert world.status.traffic
    assert world.status.traffic.router == f"{kind.name}/checkout"
    assert world.status.effective
    named = {"nginx": {"ingress": "checkout"}} if kind is INGRESSES else {"traefik": {"service": "checkout"}}
    assert world.status.effective["traffic"] == {"propagation": "5s", **named}
    await world.ends("Promoted")
    assert world.pods_created() == {"v1": 4, "v2": 4}
    assert spec_of(world, kind) == before
    assert canary(world) is None


@pytest.mark.parametrize("answers", [True, False], ids=["asked", "not asked"])
@pytest.mark.parametrize(("kind", "body"), ROUTERS)
async def test_a_bad_version_is_reverted(kind: Kind, body: Callable[[], Json], answers: bool) -> None:
    world = await begin(kind, body, spec=MEASURED, versions={"v2": Version(errors=0.5)})
    world.router.answers = answers
    before = spec_of(world, kind)
    world.release("v2")
    # Where a controller of Ingresses that cannot be asked counts, nobody knows: there the pods' own counters tell.
    await world.ends("RolledBack")
    assert world.reason == "AnalysisFailed"
    assert spec_of(world, kind) == before
    assert canary(world) is None


@pytest.mark.parametrize(("kind", "body"), ROUTERS)
async def test_an_abort_by_the_template_and_a_second_release(kind: Kind, body: Callable[[], Json]) -> None:
    world = await begin(kind, body)
    world.release("v2")
    await world.until(world.baking(2))
    world.release("v1")
    await world.ends("Aborted")
    assert share(world) == 0
    world.release("v3")
    await world.ends("Promoted")


@pytest.mark.parametrize(("kind", "body"), ROUTERS)
async def test_the_operator_is_killed_in_each_stage(kind: Kind, body: Callable[[], Json]) -> None:
    world = await begin(kind, body)
    world.release("v2")
    seen: set[str] = set()

    def fresh() -> bool:
        return world.stage.value not in seen

    while not (world.outcome == "Promoted" and world.at_rest):
        await world.until(lambda: fresh() or world.at_rest)
        if fresh():
            seen.add(world.stage.value)
            world.kill(world.process)
            await world.until(lambda: bool(world.processes))
        else:
            await world.wait(1)
    assert {"Prepare", "Scale", "Shift", "Bake", "Return", "Lift"} <= seen
    await world.ends("Promoted")


async def test_a_gitops_tool_does_not_change_the_weights_of_a_traefikservice() -> None:
    world = await begin(TRAEFIK_SERVICES, listed)
    world.release("v2")
    await world.until(world.baking(1))
    world.edit(TRAEFIK_SERVICES, {"spec": listed()["spec"]})
    await world.wait(2)
    assert share(world) == 0.25
    await world.ends("Promoted")
    assert "WeightLost" not in world.events()


async def test_without_the_policy_a_changed_list_is_put_right() -> None:
    world = await begin(TRAEFIK_SERVICES, listed, spec={**QUICK, "steps": [{"weight": 25, "bake": "30s"}]})
    world.release("v2")
    await world.until(world.baking(1))
    world.cluster.patch_as("admin", TRAEFIK_SERVICES, "shop", "checkout", {"metadata": {"labels": {"a": "b"}}})
    found = world.cluster.find(TRAEFIK_SERVICES, "shop", "checkout")
    assert found
    world.delete(TRAEFIK_SERVICES)
    world.create(TRAEFIK_SERVICES, listed())
    await world.until(lambda: "WeightLost" in world.events())
    await world.until(world.baking(1))
    assert share(world) == 0.25
    await world.ends("Promoted")


async def test_a_canary_that_somebody_deletes_or_changes_comes_back() -> None:
    world = await begin(INGRESSES, ingress, spec={**QUICK, "steps": [{"weight": 25, "bake": "30s"}]})
    world.release("v2")
    await world.until(world.baking(1))
    world.delete(INGRESSES, "checkout-canary")
    await world.until(lambda: "WeightLost" in world.events())
    await world.until(world.baking(1))
    assert share(world) == 0.25
    weight = {"metadata": {"annotations": {"nginx.ingress.kubernetes.io/canary-weight": "90"}}}
    world.oracle.excuse("somebody gives the candidate more", 5)
    world.edit(INGRESSES, weight, "checkout-canary")
    await world.until(lambda: world.events().count("WeightLost") == 2)
    await world.ends("Promoted")


async def test_an_ingress_that_gets_another_host_takes_its_canary_along() -> None:
    world = await begin(INGRESSES, ingress, spec={**QUICK, "steps": [{"weight": 25, "bake": "30s"}]})
    world.release("v2")
    await world.until(world.baking(1))
    world.edit(INGRESSES, {"spec": ingress(host="other.example")["spec"]})
    await world.wait(3)
    found = canary(world)
    assert found
    assert found["spec"]["rules"][0]["host"] == "other.example"
    await world.ends("Promoted")


async def test_an_ingress_that_goes_takes_its_canary_along() -> None:
    world = await begin(INGRESSES, ingress, spec={**QUICK, "steps": [{"weight": 25, "bake": "30s"}]})
    world.release("v2")
    await world.until(world.baking(1))
    world.delete(INGRESSES)
    await world.until(lambda: world.why() == "RouteNotFound")
    assert canary(world) is None
    world.create(INGRESSES, ingress())
    await world.ends("Promoted")


async def test_routers_of_several_kinds_move_together() -> None:
    world = await World.begin()
    world.create(INGRESSES, ingress())
    world.create(INGRESSES, ingress("www", "www.example"))
    world.create(TRAEFIK_SERVICES, listed())
    await world.wait(5)
    world.release("v2")
    await world.until(world.baking(1))
    assert [found.get("checkout-canary") for _, found in world.router.shares()] == [0.25] * 4
    assert world.status.traffic
    assert world.status.traffic.router == ("HTTPRoute/checkout, Ingress/checkout, Ingress/www, TraefikService/checkout")
    await world.ends("Promoted")


async def test_a_deleted_release_takes_its_canary_along() -> None:
    world = await begin(INGRESSES, ingress)
    world.release("v2")
    await world.until(world.baking(1))
    world.delete(CANARY_RELEASES)
    await world.until(lambda: world.object is None)
    assert canary(world) is None
    assert not world.traces()


# Dark launch.

STAFF: Json = {"match": [{"headers": {"x-canary": "always"}}], "bake": "20s"}
DARK: Json = {**MEASURED, "steps": [STAFF, {"weight": 25, "bake": "4s"}]}


def rules(world: World) -> list[str]:
    """Names of the rules of the HTTPRoute."""
    found = world.cluster.find(HTTPROUTES, "shop", "checkout")
    return [rule.get("name", "") for rule in found["spec"]["rules"]] if found else []


async def test_a_dark_launch_on_a_route() -> None:
    """It is done when its bake is over, though hardly anybody was there."""
    world = await World.begin(spec=DARK)
    world.metrics.rate = 0.5
    world.release("v2")
    await world.until(world.baking(1))
    assert rules(world) == ["", "tidegate-canary-0"]
    assert share(world) == 0
    assert "0 % and all with x-canary: always to" in world.status.message
    world.edit(HTTPROUTES, {"spec": {"rules": world.owners_route["spec"]["rules"]}})
    await world.wait(2)
    assert rules(world) == ["", "tidegate-canary-0"], "admission keeps it"
    assert "WeightLost" not in world.events()
    await world.until(lambda: world.step == 2)
    world.metrics.rate = 200
    await world.until(world.baking(2))
    assert rules(world) == [""]
    await world.ends("Promoted")


async def test_a_dark_launch_on_an_ingress() -> None:
    world = await begin(INGRESSES, ingress, spec=DARK)
    world.release("v2")
    await world.until(world.baking(1))
    found = canary(world)
    assert found
    assert found["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-by-header"] == "x-canary"
    assert share(world) == 0
    await world.ends("Promoted")


@pytest.mark.parametrize("nginx", [True, False], ids=["nginx", "gateway"])
async def test_what_ends_in_the_dark_goes_back(nginx: bool) -> None:
    story: Json = {"spec": DARK, "versions": {"v2": Version(fails_after=10.0)}}
    world = await begin(INGRESSES, ingress, **story) if nginx else await World.begin(**story)
    world.release("v2")
    await world.until(world.baking(1))
    await world.ends("RolledBack")
    assert canary(world) is None
    assert rules(world) in ([""], [])


async def test_a_dark_launch_goes_on_where_it_was() -> None:
    world = await World.begin(spec=DARK)
    world.release("v2")
    await world.until(world.baking(1))
    world.kill(world.process)
    await world.until(lambda: bool(world.processes))
    await world.wait(3)
    assert rules(world) == ["", "tidegate-canary-0"]
    world.delete(HTTPROUTES)
    world.create(HTTPROUTES, route())
    await world.until(lambda: "WeightLost" in world.events())
    await world.until(world.baking(1))
    assert rules(world) == ["", "tidegate-canary-0"]
    await world.ends("Promoted")


async def test_two_steps_in_the_dark_and_one_beside_a_weight() -> None:
    beta = {"match": [{"cookies": {"beta": "yes"}}], "bake": "4s"}
    world = await World.begin(spec={**QUICK, "steps": [{**STAFF, "bake": "4s"}, beta, {**beta, "weight": 25}]})
    seen = []
    world.release("v2")
    for step in (1, 2, 3):
        await world.until(world.baking(step))
        traffic = world.status.traffic
        assert traffic
        seen.append((traffic.weight, [{**one.headers, **one.cookies} for one in traffic.match]))
    assert seen == [(0, [{"x-canary": "always"}]), (0, [{"beta": "yes"}]), (25, [{"beta": "yes"}])]
    await world.ends("Promoted")


# Visitors who stay.

STAYING: Json = {
    **QUICK,
    "steps": [{"weight": 25, "bake": "10s"}, {"weight": 50, "bake": "10s"}, {"weight": 100, "bake": "10s"}],
    "stickiness": {"cookie": "stay", "maxAge": "1h"},
}
STAYS = ["", "tidegate-canary-0-candidate", "tidegate-canary-0-stable"]


def kept(world: World, kind: Kind) -> str:
    """By what visitors are kept, if they are."""
    if kind is HTTPROUTES:
        return ",".join(rules(world)[1:]) + str("Set-Cookie" in json.dumps(spec_of(world, kind)))
    if kind is INGRESSES:
        found = canary(world)
        behavior = "nginx.ingress.kubernetes.io/affinity-canary-behavior"
        return "" if found and behavior in found["metadata"]["annotations"] else "INGRESSCOOKIE"
    return str(spec_of(world, kind)["weighted"].get("sticky", {}).get("cookie", {}).get("name", ""))


def affine() -> Json:
    """An Ingress whose controller keeps visitors."""
    prefix, body = "nginx.ingress.kubernetes.io", ingress()
    body["metadata"]["annotations"] = {f"{prefix}/affinity": "cookie", f"{prefix}/session-cookie-max-age": "3600"}
    return body


def written(world: World, kind: Kind, since: int) -> bool:
    """Tidegate wrote to one since so many writes."""
    return any(write.kind == kind and write.who == TIDEGATE for write in world.cluster.writes[since:])


async def staying(kind: Kind, body: Callable[[], Json] | None, **more: Any) -> World:
    return await begin(kind, body, spec=STAYING, **more) if body else await World.begin(spec=STAYING, **more)


ALL = [
    pytest.param(HTTPROUTES, None, id="gateway"),
    pytest.param(INGRESSES, affine, id="nginx"),
    pytest.param(TRAEFIK_SERVICES, listed, id="traefik"),
]


@pytest.mark.parametrize(("kind", "body"), ALL)
async def test_visitors_are_kept_while_there_are_two_revisions(kind: Kind, body: Callable[[], Json] | None) -> None:
    world = await staying(kind, body)
    before = spec_of(world, kind)
    world.release("v2")
    seen = []
    for step in (1, 2, 3):
        await world.until(world.baking(step))
        seen.append(kept(world, kind))
        assert world.status.traffic
        assert bool(world.status.traffic.stay) is (step < 3)
    hash_ = world.status.candidate.hash if world.status.candidate else ""
    told = {
        HTTPROUTES: [f"{','.join(STAYS[1:])}True"] * 2 + ["False"],
        INGRESSES: ["INGRESSCOOKIE"] * 3,
        TRAEFIK_SERVICES: [f"stay-{hash_}"] * 2 + [""],
    }
    assert seen == told[kind]
    await world.ends("Promoted")
    assert spec_of(world, kind) == before
    assert "WeightLost" not in world.events()


@pytest.mark.parametrize(("kind", "body"), ALL)
async def test_an_abort_frees_everybody_with_the_write_that_takes_the_weight(
    kind: Kind, body: Callable[[], Json] | None
) -> None:
    world = await staying(kind, body)
    world.release("v2")
    await world.until(world.baking(2))
    begun = len(world.cluster.writes)
    asked = {"id": "1", "action": "Abort", "hash": world.status.candidate.hash if world.status.candidate else ""}
    world.edit(CANARY_RELEASES, {"metadata": {"annotations": {REQUEST: json.dumps(asked)}}})
    await world.until(lambda: written(world, kind, begun))
    assert kept(world, kind) in ("", "False")
    assert world.pods()["v2"] > 0, "its pods are there yet"
    await world.ends("Aborted")


async def test_who_stays_stays_when_a_gitops_tool_applies_its_manifest() -> None:
    world = await staying(HTTPROUTES, None)
    world.create(TRAEFIK_SERVICES, listed())
    await world.wait(5)
    world.release("v2")
    await world.until(world.baking(1))
    then = kept(world, TRAEFIK_SERVICES), kept(world, HTTPROUTES)
    world.edit(HTTPROUTES, {"spec": {"rules": world.owners_route["spec"]["rules"]}})
    world.edit(TRAEFIK_SERVICES, {"spec": {"weighted": {**listed()["spec"]["weighted"], "sticky": None}}})
    await world.wait(2)
    assert (kept(world, TRAEFIK_SERVICES), kept(world, HTTPROUTES)) == then
    await world.ends("Promoted")
    assert "WeightLost" not in world.events()


async def test_a_stickiness_that_is_changed_in_mid_bake_holds_from_the_next_step_on() -> None:
    world = await staying(HTTPROUTES, None)
    world.release("v2")
    await world.until(world.baking(1))
    world.respec(stickiness={"cookie": "other", "maxAge": "1h"})
    await world.wait(3)
    assert "stay=candidate" in json.dumps(spec_of(world, HTTPROUTES))
    await world.until(world.baking(2))
    assert "other=candidate" in json.dumps(spec_of(world, HTTPROUTES))
    assert "stay=candidate" not in json.dumps(spec_of(world, HTTPROUTES))
    await world.ends("Promoted")
    assert "WeightLost" not in world.events()


async def test_who_cannot_be_kept_is_told_before_the_release_starts() -> None:
    world = await begin(INGRESSES, ingress, spec=STAYING)
    await world.until(lambda: world.why() == "RouteUnsupported")
    assert "spec.stickiness: Ingress/checkout keeps visitors by a cookie" in world.status.message
    world.release("v2")
    await world.wait(20)
    assert "ReleaseStarted" not in world.events()
    world.edit(INGRESSES, {"metadata": affine()["metadata"]})
    await world.ends("Promoted")


async def test_what_a_router_cannot_match_is_refused_before_the_release_starts() -> None:
    world = await begin(TRAEFIK_SERVICES, listed, spec=DARK)
    await world.until(lambda: world.why() == "RouteUnsupported")
    assert "spec.steps[0].match: TraefikService/checkout looks at no header" in world.status.message
    world.release("v2")
    await world.wait(20)
    assert "ReleaseStarted" not in world.events()
    world.respec(steps=[{"weight": 25, "bake": "4s"}])
    await world.ends("Promoted")


async def test_what_a_router_cannot_match_holds_a_release_that_is_edited_into_it() -> None:
    steps = [{"weight": 25, "bake": "20s"}, {"weight": 50, "bake": "4s"}]
    world = await begin(TRAEFIK_SERVICES, listed, spec={**MEASURED, "steps": steps})
    world.release("v2")
    await world.until(world.baking(1))
    world.respec(steps=[steps[0], {**steps[1], "match": STAFF["match"]}])
    await world.until(lambda: world.why() == "RouteUnsupported", within=5)
    assert "spec.steps[1].match: TraefikService/checkout looks at no header" in world.status.message
    await world.wait(120)
    assert (world.phase, world.condition("Stalled"), world.step) == ("Blocked", "True", 1)
    assert share(world) == 0.25, "what is written stays"
    world.respec(steps=[{**steps[0], "match": STAFF["match"]}, steps[1]])
    await world.until(lambda: world.step == 2, within=30)
    await world.ends("Promoted")


async def test_what_a_router_cannot_match_keeps_no_release_from_going_back() -> None:
    world = await begin(TRAEFIK_SERVICES, listed, spec={**MEASURED, "steps": [{"weight": 25, "bake": "20s"}]})
    world.release("v2")
    await world.until(world.baking(1))
    world.respec(steps=[{"weight": 25, "bake": "20s"}, {**STAFF, "weight": 50}])
    await world.until(lambda: world.why() == "RouteUnsupported", within=5)
    world.release("v1")
    await world.ends("Aborted")


@pytest.mark.parametrize("kind", [HTTPROUTES, INGRESSES, TRAEFIK_SERVICES])
async def test_a_release_cures_a_stable_of_which_nobody_serves(kind: Kind) -> None:
    """A TraefikService that lists a Service without endpoints is served not at all, until stable is listed no more."""
    world = await World.begin(by=kind, versions={"v1": Version(fails_after=60.0)})
    world.oracle.excuse("stable is down")
    await world.until(lambda: not world.pods()["v1"], within=100)
    world.release("v2")
    await world.ends("Promoted")
    assert world.pods() == {"v2": 4}
