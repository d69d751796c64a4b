"""The Gateway API router: which routes, and when it takes a weight for applied."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from tests.fakes.cluster import FakeCluster
from tests.fakes.virtual import VirtualClock, VirtualLoop

from tidegate.adapters.routers import istio
from tidegate.adapters.routers.envoygateway import EnvoyGateway
from tidegate.adapters.routers.gateway import GatewayRouter
from tidegate.adapters.routers.serving import Serving
from tidegate.api.conditions import Reason
from tidegate.api.release import Step
from tidegate.api.traffic import AT_REST, Share, Stickiness
from tidegate.core import sticky
from tidegate.core.counters import RouterSeries, Uncounted
from tidegate.core.hold import Hold
from tidegate.core.observed import Backends, Route
from tidegate.ports.cluster import GATEWAY_CLASSES, GATEWAYS, GRPCROUTES, HTTPROUTES, Kind, Unavailable

NAMES = Backends.of("shop", "checkout")
WAIT = timedelta(seconds=5)
Json = dict[str, Any]


class Plane:
    """A data plane that says what it is told to."""

    controller = "x/y"

    def __init__(self) -> None:
        self.says: Serving | None = Serving("", {"checkout": frozenset({"10.0.0.1"})})
        self.fails = False

    async def serving(self, route: Json) -> Serving | None:
        """As the protocol."""
        if self.fails:
            raise Unavailable("no answer")
        return self.says

    def series(self, routes: Sequence[Json], backends: Backends) -> RouterSeries:
        """As the protocol."""
        return RouterSeries("n", "code", "b", "service", "s", "c")


def story(tell: Callable[[FakeCluster, GatewayRouter, Plane], Awaitable[None]], *, known: bool = True) -> None:
    """With a Gateway, and a data plane that is known or not."""

    async def run() -> None:
        clock, plane = VirtualClock(), Plane()
        cluster = FakeCluster(clock, latency=0)
        cluster.create_as("a", GATEWAY_CLASSES, "", {"metadata": {"name": "c"}, "spec": {"controllerName": "x/y"}})
        cluster.create_as("a", GATEWAYS, "shop", {"metadata": {"name": "g"}, "spec": {"gatewayClassName": "c"}})
        await tell(cluster, GatewayRouter(cluster, [plane] if known else [], clock), plane)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


def create(
    cluster: FakeCluster,
    name: str = "r",
    to: str = "checkout",
    kind: Kind = HTTPROUTES,
    gateway: str = "g",
    *,
    read: bool = True,
) -> None:
    """The user's route."""
    spec = {"parentRefs": [{"name": gateway}], "rules": [{"backendRefs": [{"name": to, "port": 80}]}]}
    cluster.create_as("user", kind, "shop", {"metadata": {"name": name}, "spec": spec})
    if read:
        says(cluster, name, kind=kind)


def says(
    cluster: FakeCluster, name: str = "r", generation: int | None = None, kind: Kind = HTTPROUTES, **changes: str
) -> None:
    """The controller writes the route's status."""
    route = cluster.find(kind, "shop", name)
    assert route
    seen = generation or route["metadata"]["generation"]
    conditions = [
        {"type": type_, "status": changes.get(type_, "True"), "observedGeneration": seen, "reason": "Why"}
        for type_ in ("Accepted", "ResolvedRefs")
    ]
    status = {"parents": [{"controllerName": "x/y", "parentRef": {"name": "g"}, "conditions": conditions}]}
    cluster.patch_as("x/y", kind, "shop", name, {"status": status}, subresource="status")


async def read(router: GatewayRouter, propagation: timedelta | None = WAIT) -> Route:
    """The only route."""
    return (await router.read(NAMES, None, propagation)).routes[0]


def test_a_plane_that_can_be_asked_is_believed() -> None:
    async def tell(cluster: FakeCluster, router: GatewayRouter, plane: Plane) -> None:
        create(cluster)
        seen = await read(router)
        assert (seen.name, seen.weight, seen.applied) == ("HTTPRoute/r", None, True)
        assert seen.servers == {"checkout": frozenset({"10.0.0.1"})}
        plane.says = Serving("rule 0 by other weights still", {})
        seen = await read(router)
        assert (seen.applied, seen.waiting) == (False, "rule 0 by other weights still")

    story(tell)


def test_a_plane_that_does_not_answer_has_applied_nothing() -> None:
    async def tell(cluster: FakeCluster, router: GatewayRouter, plane: Plane) -> None:
        create(cluster)
        plane.fails = True
        await asyncio.sleep(60)
        seen = await read(router)
        assert not seen.applied
        assert "could not be asked" in seen.waiting

    story(tell)


def test_a_plane_that_cannot_be_asked_has_its_time_from_when_it_read_the_route() -> None:
    async def tell(cluster: FakeCluster, router: GatewayRouter, plane: Plane) -> None:
        create(cluster)
        assert not (await read(router)).applied
        await asyncio.sleep(4.9)
        assert not (await read(router)).applied
        await asyncio.sleep(0.2)
        assert (await read(router)).applied
        await router.split(NAMES, None, Share(25), Hold("mine"))
        await asyncio.sleep(60)
        assert "has not read" in (await read(router)).waiting
        says(cluster)
        seen = await read(router)
        assert (seen.weight, seen.applied) == (25, False), "from the new generation on it has its time again"
        await asyncio.sleep(5.1)
        assert (await read(router)).applied

    story(tell, known=False)


def test_at_rest_nobody_is_asked() -> None:
    async def tell(cluster: FakeCluster, router: GatewayRouter, plane: Plane) -> None:
        create(cluster)
        plane.fails = True
        assert (await read(router, None)).applied

    story(tell)


def test_a_route_that_was_refused_is_not_applied_and_says_why() -> None:
    async def tell(cluster: FakeCluster, router: GatewayRouter, plane: Plane) -> None:
        create(cluster, read=False)
        assert "no Gateway controller" in (await read(router)).waiting
        says(cluster, ResolvedRefs="False")
        assert (await read(router)).waiting.startswith("ResolvedRefs is False: Why")

    story(tell)


def test_routes_are_found_by_themselves_or_named() -> None:
    async def tell(cluster: FakeCluster, router: GatewayRouter, plane: Plane) -> None:
        create(cluster, "a")
        create(cluster, "b")
        create(cluster, "static", "static")
        found = await router.read(NAMES, None, None)
        assert [route.name for route in found.routes] == ["HTTPRoute/a", "HTTPRoute/b"]
        assert found.series
        named = ["HTTPRoute/a", "HTTPRoute/static", "HTTPRoute/none"]
        found = await router.read(NAMES, named, None)
        assert [route.name for route in found.routes] == ["HTTPRoute/a"]
        assert [problem.reason for problem in found.problems] == [Reason.ROUTE_NOT_FOUND] * 2
        assert "'static': none of its rules points at Service checkout" in found.problems[0].message
        assert "'none': there is no such HTTPRoute" in found.problems[1].message
        assert not (await router.read(Backends.of("shop", "other"), None, None)).routes

    story(tell)


def test_only_named_routes_are_split() -> None:
    async def tell(cluster: FakeCluster, router: GatewayRouter, plane: Plane) -> None:
        create(cluster, "a")
        create(cluster, "b")
        await router.split(NAMES, ["HTTPRoute/a"], Share(25), Hold("mine"))
        found = await router.read(NAMES, None, None)
        assert [route.weight for route in found.routes] == [25, None]
        writes = len(cluster.writes)
        await router.split(NAMES, ["HTTPRoute/a"], Share(25), Hold("mine"))
        assert len(cluster.writes) == writes

    story(tell)


def test_routes_of_both_kinds_are_one_traffic() -> None:
    """Of one name, too: a name is of its kind."""

    async def tell(cluster: FakeCluster, router: GatewayRouter, plane: Plane) -> None:
        create(cluster, "a")
        create(cluster, "a", kind=GRPCROUTES)
        create(cluster, "b", kind=GRPCROUTES)
        await router.split(NAMES, None, Share(25), Hold("mine"))
        found = await router.read(NAMES, None, None)
        assert [(route.name, route.weight) for route in found.routes] == [
            ("HTTPRoute/a", 25),
            ("GRPCRoute/a", 25),
            ("GRPCRoute/b", 25),
        ]
        await router.split(NAMES, ["GRPCRoute/a"], AT_REST, Hold("mine"))
        found = await router.read(NAMES, None, None)
        assert [route.weight for route in found.routes] == [25, None, 25]
        found = await router.read(NAMES, ["HTTPRoute/b"], None)
        assert "'b': there is no such HTTPRoute" in found.problems[0].message

    story(tell)


def test_a_route_that_no_gateway_has_taken_holds_nobody_up() -> None:
    async def tell(cluster: FakeCluster, router: GatewayRouter, plane: Plane) -> None:
        create(cluster, "astray", gateway="none", read=False)
        assert "no Gateway controller" in (await read(router)).waiting
        await asyncio.sleep(60)
        assert "no Gateway controller" in (await read(router)).waiting, "alone it does"
        create(cluster, "b")
        found = await router.read(NAMES, None, WAIT)
        assert {route.name: route.applied for route in found.routes} == {"HTTPRoute/astray": False, "HTTPRoute/b": True}
        await asyncio.sleep(6)
        found = await router.read(NAMES, None, WAIT)
        assert all(route.applied for route in found.routes)

    story(tell)


def test_a_route_that_left_for_a_gateway_of_another_kind_is_not_asked_of_the_old_one() -> None:
    async def tell(cluster: FakeCluster, router: GatewayRouter, plane: Plane) -> None:
        cluster.create_as("a", GATEWAY_CLASSES, "", {"metadata": {"name": "d"}, "spec": {"controllerName": "other"}})
        cluster.create_as("a", GATEWAYS, "shop", {"metadata": {"name": "h"}, "spec": {"gatewayClassName": "d"}})
        create(cluster)
        plane.says = Serving("no such route here", {})
        body = {"spec": {"parentRefs": [{"name": "h"}]}}
        cluster.patch_as("user", HTTPROUTES, "shop", "r", body)
        assert "no Gateway controller" in (await read(router)).waiting, "what the old one said counts no more"
        route = cluster.find(HTTPROUTES, "shop", "r")
        assert route
        says(cluster)
        status = cluster.find(HTTPROUTES, "shop", "r")["status"]  # type: ignore[index]
        moved = [{**status["parents"][0], "parentRef": {"name": "h"}, "controllerName": "other"}]
        cluster.patch_as("other", HTTPROUTES, "shop", "r", {"status": {"parents": moved}}, subresource="status")
        await read(router)
        await asyncio.sleep(6)
        assert (await read(router)).applied

    story(tell)


# Visitors who stay.

STICKY = Step(25, timedelta(), 25, sticky=Stickiness(cookie="stay"))


def features(cluster: FakeCluster, *names: str, plain: bool = False) -> None:
    """What the controller says of itself: by objects, as strings before Gateway API 1.3."""
    told = list(names) if plain else [{"name": name} for name in names]
    cluster.patch_as("x/y", GATEWAY_CLASSES, "", "c", {"status": {"supportedFeatures": told}}, subresource="status")


async def unsticky(router: GatewayRouter, *steps: Step) -> list[str]:
    found = await router.read(NAMES, None, None, steps or (Step(5, timedelta(), 5), STICKY))
    assert all(problem.reason is Reason.ROUTE_UNSUPPORTED for problem in found.problems)
    return [problem.message for problem in found.problems]


@pytest.mark.parametrize("plain", [False, True])
def test_a_controller_must_say_that_it_can_filter_answers_of_a_backend(plain: bool) -> None:
    async def tell(cluster: FakeCluster, router: GatewayRouter, plane: Plane) -> None:
        create(cluster)
        (told,) = await unsticky(router)
        assert told.startswith("spec.stickiness: HTTPRoute/r cannot keep visitors: GatewayClass c lists no HTTPRoute")
        features(cluster, *sorted(sticky.FEATURES)[:1], "HTTPRouteMethodMatching")
        (told,) = await unsticky(router)
        assert "lists no HTTPRouteResponseHeaderModification;" in told
        features(cluster, *sticky.FEATURES, plain=plain)
        assert not await unsticky(router), "it is asked again"
        asked = cluster.requests.copy()
        assert not await unsticky(router)
        assert "get" not in {verb for verb, _ in cluster.requests - asked}, "and then no more"

    story(tell)


def test_a_route_of_no_gateway_keeps_nobody() -> None:
    async def tell(cluster: FakeCluster, router: GatewayRouter, plane: Plane) -> None:
        create(cluster, gateway="none")
        (told,) = await unsticky(router)
        assert "GatewayClass of Gateway none lists no" in told

    story(tell)


def test_grpc_has_no_cookies() -> None:
    async def tell(cluster: FakeCluster, router: GatewayRouter, plane: Plane) -> None:
        features(cluster, *sticky.FEATURES)
        create(cluster)
        create(cluster, "g", kind=GRPCROUTES)
        (told,) = await unsticky(router)
        assert told.startswith("spec.stickiness: GRPCRoute/g cannot keep visitors: clients of gRPC keep no cookies")

    story(tell)


def test_a_new_leader_seizes_what_its_release_holds_and_not_what_another_does_on_a_shared_route() -> None:
    async def tell(cluster: FakeCluster, router: GatewayRouter, plane: Plane) -> None:
        create(cluster)
        more = {"matches": [{"path": {"value": "/ship"}}], "backendRefs": [{"name": "shipping", "port": 80}]}
        rules = [{"backendRefs": [{"name": "checkout", "port": 80}]}, more]
        cluster.patch_as("user", HTTPROUTES, "shop", "r", {"spec": {"rules": rules}})
        theirs = Backends.of("shop", "shipping")
        await router.split(theirs, None, Share(50), Hold("CanaryRelease/shipping", 1))
        before = cluster.find(HTTPROUTES, "shop", "r")
        await router.seize(NAMES, None, Hold("CanaryRelease/checkout", 2))
        assert cluster.find(HTTPROUTES, "shop", "r") == before
        await router.seize(theirs, None, Hold("CanaryRelease/shipping", 2))
        assert (await read(router)).hold == Hold("CanaryRelease/shipping", 2)

    story(tell)


def test_a_route_whose_gateways_are_gone_is_served_by_nobody() -> None:
    async def tell(cluster: FakeCluster, router: GatewayRouter, plane: Plane) -> None:
        plane.says = Serving("not served", {})
        create(cluster)
        assert not (await read(router)).detached
        cluster.delete_as("a", GATEWAYS, "shop", "g")
        seen = await read(router)
        assert (seen.applied, seen.detached) == (False, True)

    story(tell)


def test_who_counts_is_known_by_the_class_and_of_a_mesh_by_what_it_says() -> None:
    async def run() -> None:
        clock = VirtualClock()
        cluster = FakeCluster(clock, latency=0)
        for name, controller in (
            ("istio", "istio.io/gateway-controller"),
            ("eg", "gateway.envoyproxy.io/gatewayclass-controller"),
            ("other", "x/y"),
        ):
            body = {"metadata": {"name": name}, "spec": {"controllerName": controller}}
            cluster.create_as("a", GATEWAY_CLASSES, "", body)
            cluster.create_as("a", GATEWAYS, "shop", {"metadata": {"name": name}, "spec": {"gatewayClassName": name}})
        router = GatewayRouter(cluster, [*istio.planes(), EnvoyGateway()], clock)

        async def series(parent: dict[str, str], controller: str) -> RouterSeries | Uncounted | None:
            spec = {"parentRefs": [parent], "rules": [{"backendRefs": [{"name": "checkout", "port": 80}]}]}
            cluster.create_as("user", HTTPROUTES, "shop", {"metadata": {"name": "r"}, "spec": spec})
            status = {"parents": [{"controllerName": controller, "parentRef": parent, "conditions": []}]}
            cluster.patch_as(controller, HTTPROUTES, "shop", "r", {"status": status}, subresource="status")
            found = (await router.read(NAMES, None, WAIT)).series
            await cluster.delete(HTTPROUTES, "shop", "r")
            return found

        gateway = await series({"name": "istio"}, "istio.io/gateway-controller")
        assert isinstance(gateway, RouterSeries)
        assert gateway.of_candidate == (
            'destination_service_name=~"checkout-canary",reporter=~"source",destination_service_namespace="shop"'
        )
        mesh = await series({"group": "", "kind": "Service", "name": "checkout"}, "istio.io/mesh-controller")
        assert isinstance(mesh, RouterSeries)
        assert 'reporter=~"source|waypoint"' in mesh.of_stable
        assert isinstance(await series({"name": "eg"}, "gateway.envoyproxy.io/gatewayclass-controller"), Uncounted)
        assert await series({"name": "other"}, "x/y") is None

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())
