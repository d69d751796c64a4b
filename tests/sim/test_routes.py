"""What befalls routes, at rest and in mid-release: weights are where they should be, and everybody is answered."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.cluster import TIDEGATE
from tests.fakes.kubelet import Version
from tests.fakes.oracle import remains
from tests.sim.world import QUICK, World, route, service
from tidegate.api.releasestatus import Stage
from tidegate.core.forward import FORWARD
from tidegate.ports.cluster import GRPCROUTES, HTTPROUTES, SERVICES, TRAEFIK_SERVICES, Kind, Object, Rejected

LONG: dict[str, Any] = {**QUICK, "steps": [{"weight": 25, "bake": "30s"}, {"weight": 100, "bake": "10s"}]}


async def served(world: World, step: int) -> float:
    """For how many seconds, from now to the end of the step, all that reaches the routes is split by its weight."""
    seconds, weight = 0.0, world.status.step.weight / 100 if world.status.step else 0.0
    while world.step == step and world.stage in FORWARD:
        await world.wait(0.1)
        shares = [found.get("checkout-canary", 0.0) for _, found in world.router.shares()]
        seconds += 0.1 if shares and all(share == weight for share in shares) else 0.0
    return seconds


async def test_routes_of_both_kinds_move_together() -> None:
    world = await World.begin()
    world.create(GRPCROUTES, route())
    await world.wait(5)
    world.release("v2")
    await world.until(world.baking(1))
    for kind in (HTTPROUTES, GRPCROUTES):
        obj = world.cluster.find(kind, "shop", "checkout")
        assert obj
        assert [ref["weight"] for ref in obj["spec"]["rules"][0]["backendRefs"]] == [75, 25]
    assert world.status.traffic is not None
    assert world.status.traffic.router == "HTTPRoute/checkout, GRPCRoute/checkout"
    await world.ends("Promoted")
    assert world.status.effective is not None
    assert world.status.effective["traffic"] == {
        "propagation": "5s",
        "gateway": {
            "routes": [{"kind": "HTTPRoute", "name": "checkout"}, {"kind": "GRPCRoute", "name": "checkout"}],
        },
    }


async def test_a_grpcroute_alone_is_enough_and_may_be_named() -> None:
    world = await World.begin()
    world.create(GRPCROUTES, route("calls"))
    world.respec(traffic={"gateway": {"routes": [{"kind": "GRPCRoute", "name": "calls"}]}})
    await world.wait(5)
    world.delete(HTTPROUTES)
    world.release("v2")
    await world.ends("Promoted")
    assert world.pods_created() == {"v1": 4, "v2": 4}


@pytest.mark.parametrize("gap", [0.0, 100.0])
@pytest.mark.parametrize(("step", "bake"), [(1, 30), (2, 10)])
async def test_a_bake_counts_no_time_without_its_weight(step: int, bake: int, gap: float) -> None:
    """The owner deletes the route and creates it again, as GitOps tools do: no admission policy can hold that."""
    world = await World.begin(spec=LONG)
    world.release("v2")
    await world.until(world.baking(step))
    await world.wait(5)
    world.delete(HTTPROUTES)
    if gap:
        await world.until(lambda: world.why() == "RouteNotFound")
        await world.wait(gap)
    world.create(HTTPROUTES, route())
    assert bake - 0.5 <= await served(world, step) <= bake + 2, "nothing is credited that no look has seen"
    await world.ends("Promoted")
    assert world.events().count("WeightLost") == 1
    assert world.events().count("StepStarted") == 2


async def test_what_a_bake_had_before_it_lost_its_weight_is_credited_up_to_the_last_look() -> None:
    world = await World.begin(spec={**LONG, "analysis": {"interval": "2s", "warmup": "0s", "minRequests": 10}})
    world.release("v2")
    await world.until(world.baking(1))
    await world.wait(20)
    world.delete(HTTPROUTES)
    await world.wait(300)
    world.create(HTTPROUTES, route())
    assert 10 <= await served(world, 1) <= 14
    await world.ends("Promoted")


async def test_a_weight_that_was_lost_while_the_operator_was_away_was_lost_all_the_time() -> None:
    world = await World.begin(spec={**LONG, "analysis": {"interval": "2s", "warmup": "0s", "minRequests": 10}})
    world.release("v2")
    await world.until(world.baking(1))
    await world.wait(15)
    await world.stop()
    world.delete(HTTPROUTES)
    await world.wait(60)
    world.create(HTTPROUTES, route())
    await world.wait(60)
    world.start()
    assert 15 <= await served(world, 1) <= 19
    await world.ends("Promoted")


async def test_a_paused_release_gets_its_weight_again() -> None:
    world = await World.begin(spec=LONG)
    world.release("v2")
    await world.until(world.baking(1))
    world.respec(paused=True)
    await world.until(lambda: world.why() == "Paused")
    world.delete(HTTPROUTES)
    world.create(HTTPROUTES, route())
    await world.wait(10)
    assert [ref.get("weight") for ref in world.rules()[0]["backendRefs"]] == [75, 25]
    assert world.why() == "Paused"
    world.respec(paused=None)
    await world.ends("Promoted")


async def test_a_route_that_is_created_anew_while_pods_start_is_no_reason_to_wait_for_ever() -> None:
    """A router knows the endpoints of a Service only that a route of its leads to."""
    world = await World.begin(spec=LONG, versions={"v2": Version(starts_in=20.0)})
    world.release("v2")
    await world.until(lambda: world.stage is Stage.SCALE)
    await world.wait(5)
    world.delete(HTTPROUTES)
    world.create(HTTPROUTES, route())
    await world.ends("Promoted", within=120)


async def test_the_only_route_is_gone_for_good_and_the_release_is_aborted() -> None:
    world = await World.begin(spec=LONG)
    world.release("v2")
    await world.until(world.baking(1))
    world.delete(HTTPROUTES)
    await world.until(lambda: world.why() == "RouteNotFound")
    world.release("v1")
    await world.ends("Aborted")
    assert world.pods() == {"v1": 4}


@pytest.mark.parametrize("kind", [HTTPROUTES, GRPCROUTES])
async def test_a_route_that_comes_in_mid_release_gets_the_weight(kind: Kind) -> None:
    """Until then all its requests go to stable, to which the user's Service is narrowed."""
    world = await World.begin(spec=LONG)
    world.release("v2")
    await world.until(world.baking(1))
    await world.wait(5)
    world.create(kind, route("late"))
    assert 29.5 <= await served(world, 1) <= 32
    assert world.events().count("WeightLost") == 1
    await world.ends("Promoted")
    found = world.cluster.find(kind, "shop", "late")
    assert found
    assert found["spec"]["rules"] == route()["spec"]["rules"]


async def test_a_route_that_comes_in_mid_release_is_left_alone_where_others_are_named() -> None:
    world = await World.begin(spec={**LONG, "traffic": {"gateway": {"routes": [{"name": "checkout"}]}}})
    world.release("v2")
    await world.until(world.baking(1))
    world.create(HTTPROUTES, route("late"))
    await world.ends("Promoted")
    assert "WeightLost" not in world.events()
    assert [w.who for w in world.cluster.writes if w.name == "late" and w.who == TIDEGATE] == []


async def test_a_route_that_no_gateway_takes_comes_in_mid_release() -> None:
    world = await World.begin(spec=LONG)
    world.release("v2")
    await world.until(world.baking(1))
    astray = route("astray")
    astray["spec"]["parentRefs"] = [{"name": "none"}]
    world.create(HTTPROUTES, astray)
    await world.ends("Promoted", within=120)


async def test_the_route_is_renamed_in_mid_release() -> None:
    """As a GitOps tool does it: the new one is made, then the old one is pruned."""
    world = await World.begin(spec=LONG)
    world.release("v2")
    await world.until(world.baking(1))
    world.create(HTTPROUTES, route("renamed"))
    await world.wait(3)
    world.delete(HTTPROUTES)
    await world.ends("Promoted")
    assert world.rules("renamed") == route()["spec"]["rules"]


RULES: list[dict[str, Any]] = [
    {"name": "api", "matches": [{"path": {"value": "/api"}}], "backendRefs": [{"name": "checkout", "port": 80}]},
    {"matches": [{"path": {"value": "/static"}}], "backendRefs": [{"name": "static", "port": 80}]},
    {"matches": [{"path": {"value": "/"}}], "backendRefs": [{"name": "checkout", "port": 81, "weight": 7}]},
]
MORE = {"matches": [{"path": {"value": "/more"}}], "backendRefs": [{"name": "checkout", "port": 80}]}


@pytest.mark.parametrize(
    ("edit", "after", "lost"),
    [
        ({"rules": RULES[::-1]}, RULES[::-1], False),
        ({"hostnames": ["other.example"]}, RULES, False),
        ({"rules": RULES[1:]}, RULES[1:], False),
        ({"rules": [MORE, *RULES]}, [MORE, *RULES], True),
        ({"rules": [{**RULES[0], "name": "new", "matches": []}, *RULES[1:]]}, None, True),
    ],
    ids=["another order", "another host name", "a rule less", "a rule more", "a rule that matches otherwise"],
)
async def test_the_owner_edits_the_route_in_mid_release(
    edit: dict[str, Any], after: list[dict[str, Any]] | None, lost: bool
) -> None:
    """Admission keeps the weights of the rules that it knows again; another leads to stable until it has its own."""
    world = await World.begin(spec=LONG, rules=RULES)
    world.release("v2")
    await world.until(world.baking(1))
    await world.wait(5)
    world.edit(HTTPROUTES, {"spec": edit})
    await world.wait(5)
    shares = [found for rule, found in world.router.shares() if "static" not in found]
    assert shares
    assert all(found == {"checkout-stable": 0.75, "checkout-canary": 0.25} for found in shares)
    await world.ends("Promoted")
    assert ("WeightLost" in world.events()) is lost
    assert world.rules() == (after or edit["rules"])


async def test_no_rule_of_the_route_leads_to_the_service_any_more() -> None:
    """Nothing of ours stays on a route that the release has lost."""
    world = await World.begin(spec=LONG)
    world.create(HTTPROUTES, route("second"))
    await world.wait(5)
    world.release("v2")
    await world.until(world.baking(1))
    elsewhere = [{"matches": [{"path": {"value": "/x"}}], "backendRefs": [{"name": "static", "port": 80}]}]
    world.edit(HTTPROUTES, {"spec": {"rules": elsewhere}}, "second")
    await world.ends("Promoted")
    assert world.rules("second") == elsewhere


async def test_the_route_moves_to_another_gateway_in_mid_release() -> None:
    world = await World.begin(spec=LONG)
    world.create(HTTPROUTES, route("second"))
    await world.wait(5)
    world.release("v2")
    await world.until(world.baking(1))
    world.edit(HTTPROUTES, {"spec": {"parentRefs": [{"name": "none"}]}}, "second")
    await world.ends("Promoted", within=120)
    assert world.rules("second") == route()["spec"]["rules"]


@pytest.mark.parametrize("name", ["checkout-stable", "checkout-canary"])
async def test_a_service_of_the_release_is_deleted_by_somebody(name: str) -> None:
    world = await World.begin(spec=LONG)
    world.release("v2")
    await world.until(world.baking(1))
    world.oracle.awake = False
    world.delete(SERVICES, name)
    await world.wait(3)
    assert world.cluster.find(SERVICES, "shop", name)
    world.oracle.awake = True
    await world.ends("Promoted")


ELSEWHERE = [{"name": "catalog", "port": 80}]
WISHES: dict[str, list[dict[str, Any]]] = {
    "another port": [{"name": "checkout", "port": 8080}],
    "a filter": [{"name": "checkout", "port": 80, "filters": [{"type": "URLRewrite"}]}],
    "one more": [{"name": "checkout", "port": 80, "weight": 9}, {"name": "catalog", "port": 80, "weight": 1}],
    "another Service": ELSEWHERE,
    "weights that no release can divide": [{"name": "checkout", "weight": 20000}, {"name": "catalog", "weight": 1}],
}


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("kind", [HTTPROUTES, GRPCROUTES])
@pytest.mark.parametrize("image", ["v2", "v1"])
async def test_backends_that_are_asked_for_in_mid_release_hold_when_it_ends(kind: Kind, wish: str, image: str) -> None:
    """Of both the one that is promoted and the one that is reverted. Until then requests are shared as before."""
    world = await World.begin(spec={**LONG, "serviceRef": {"name": "checkout"}})
    world.create(SERVICES, service("catalog"))
    world.delete(HTTPROUTES)
    world.create(kind, route())
    await world.wait(5)
    world.release("v2")
    await world.until(world.baking(1))
    world.edit(kind, {"spec": {"rules": [{"backendRefs": WISHES[wish]}]}})
    await world.wait(3)
    held = world.cluster.find(kind, "shop", "checkout")
    assert held
    assert [ref.get("weight") for ref in held["spec"]["rules"][0]["backendRefs"]] == [75, 25]
    assert world.status.pending == f"{kind.name}/checkout: spec.rules[0].backendRefs"
    world.edit(kind, {"spec": held["spec"]})  # a tool writes back what it read
    world.release(image)
    await world.ends("Promoted" if image == "v2" else "Aborted")
    await world.wait(5)
    left = world.cluster.find(kind, "shop", "checkout")
    assert left
    assert left["spec"]["rules"] == [{"backendRefs": WISHES[wish]}]
    assert not left["metadata"].get("annotations")
    assert not world.status.pending
    assert world.events().count("ChangePending") == 1
    assert "WeightLost" not in world.events()


@pytest.mark.parametrize("image", ["v2", "v1"])
async def test_a_list_that_is_asked_for_in_mid_release_holds_when_it_ends(image: str) -> None:
    world = await World.begin(spec=LONG, by=TRAEFIK_SERVICES)
    world.release("v2")
    await world.until(world.baking(1))
    services = [{"name": "checkout", "port": 8080}, {"name": "checkout", "port": 80, "weight": 2}]
    world.lead({"spec": {"weighted": {"services": services}}})
    await world.wait(3)
    held = world.cluster.find(TRAEFIK_SERVICES, "shop", "checkout")
    assert held
    assert [entry["weight"] for entry in held["spec"]["weighted"]["services"]] == [75, 25]
    assert world.status.pending == "TraefikService/checkout: spec.weighted.services"
    world.edit(TRAEFIK_SERVICES, {"spec": held["spec"]})  # a tool writes back what it read
    world.release(image)
    await world.ends("Promoted" if image == "v2" else "Aborted")
    await world.wait(5)
    assert world.led() == world.owners_route["spec"]
    assert not remains(world.cluster, "shop")
    assert not world.status.pending


async def test_a_manifest_that_is_applied_again_and_again_asks_for_nothing_new() -> None:
    world = await World.begin(spec=LONG)
    world.release("v2")
    await world.until(world.baking(1))
    for _ in range(10):
        world.edit(HTTPROUTES, {"spec": route()["spec"]})
        await world.wait(1)
    assert world.status.pending is None
    await world.ends("Promoted")
    assert world.rules() == route()["spec"]["rules"]
    assert "ChangePending" not in world.events()


async def test_what_was_asked_for_and_is_refused_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server judges it only when it is put back."""
    world = await World.begin(spec=LONG)
    world.release("v2")
    await world.until(world.baking(1))
    world.edit(HTTPROUTES, {"spec": {"rules": [{"backendRefs": [{"name": "checkout", "port": 808080}]}]}})

    patch_as = world.cluster.patch_as

    def judging(who: str, kind: Kind, namespace: str, name: str, body: object, **more: Any) -> Object:
        if who == TIDEGATE and "808080" in str(body):
            raise Rejected("spec.rules[0].backendRefs[0].port: must be less than or equal to 65535")
        return patch_as(who, kind, namespace, name, body, **more)

    monkeypatch.setattr(world.cluster, "patch_as", judging)
    await world.ends("Promoted")
    assert world.rules() == route()["spec"]["rules"]
    assert not remains(world.cluster, "shop")


TLS = {"traefik.ingress.kubernetes.io/service.serversscheme": "https"}


async def test_the_two_services_have_the_annotations_and_the_ports_of_the_users() -> None:
    world = await World.begin(spec=LONG)
    world.edit(SERVICES, {"metadata": {"annotations": {**TLS, "meta.helm.sh/release-name": "shop"}}})
    world.release("v2")
    await world.until(world.baking(1))
    ports = [{"name": "http", "port": 80, "appProtocol": "kubernetes.io/h2c"}, {"name": "admin", "port": 81}]
    world.edit(SERVICES, {"spec": {"ports": ports}})
    await world.wait(3)
    for name in ("checkout-stable", "checkout-canary"):
        found = world.cluster.find(SERVICES, "shop", name)
        assert found
        assert found["metadata"]["annotations"] == TLS
        assert found["spec"]["ports"] == ports
    await world.ends("Promoted")
