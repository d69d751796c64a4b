"""Ingresses: which can have a canary, what it looks like, and when its weight is taken for applied."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.fakes.cluster import FakeCluster
from tests.fakes.virtual import VirtualClock, VirtualLoop

from tidegate.adapters.routers.nginx import IngressRouter
from tidegate.adapters.routers.serving import Serving
from tidegate.api.conditions import Reason
from tidegate.api.release import Step
from tidegate.api.traffic import AT_REST, Match, Share, Stay, Stickiness
from tidegate.core import ingresses
from tidegate.core.counters import RouterSeries
from tidegate.core.hold import Hold, holder
from tidegate.core.observed import INTRODUCED, MIXED, Backends, Problem, Route
from tidegate.ports.cluster import INGRESS_CLASSES, INGRESSES, Conflict, Object, Unavailable

NAMES = Backends.of("shop", "checkout")
OWNER = {"apiVersion": "tidegate.dev/v1alpha1", "kind": "CanaryRelease", "name": "mine", "uid": "u"}
HOLD = Hold("CanaryRelease/mine", 7, OWNER)
WAIT = timedelta(seconds=5)
PREFIX = "nginx.ingress.kubernetes.io"
Json = dict[str, Any]


class Plane:
    """A controller that says what it is told to."""

    def __init__(self) -> None:
        self.says: Serving | None = None
        self.fails = False

    async def ingress(self, main: Json, backends: Backends, weight: int | None) -> Serving | None:
        """As the protocol."""
        if self.fails:
            raise Unavailable("no answer")
        return self.says

    def ingress_series(self, main: Json, backends: Backends) -> RouterSeries:
        """As the protocol."""
        return RouterSeries("n", "code", "b", "service", main["metadata"]["name"], "c")


def story(tell: Callable[[FakeCluster, IngressRouter, Plane], Awaitable[None]]) -> None:
    """With the class of ingress-nginx, and another."""

    async def run() -> None:
        clock, plane = VirtualClock(), Plane()
        cluster = FakeCluster(clock, latency=0)
        for name, controller in (("nginx", "k8s.io/ingress-nginx"), ("alb", "ingress.k8s.aws/alb")):
            body = {"metadata": {"name": name}, "spec": {"controller": controller}}
            cluster.create_as("a", INGRESS_CLASSES, "", body)
        await tell(cluster, IngressRouter(cluster, plane, clock), plane)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


def path(service: str = "checkout", at: str = "/", **port: object) -> Json:
    """A path to a Service."""
    return {"path": at, "pathType": "Prefix", "backend": {"service": {"name": service, "port": port or {"number": 80}}}}


def ingress(name: str = "web", *paths: Json, host: str = "shop.example", **more: Any) -> Json:
    """The user's."""
    annotations = more.pop("annotations", None)
    meta = {"name": name, **({"annotations": annotations} if annotations else {})}
    rules = [{"host": host, "http": {"paths": list(paths or (path(),))}}]
    return {"metadata": meta, "spec": {"ingressClassName": "nginx", "rules": rules, **more}}


def create(cluster: FakeCluster, *bodies: Json) -> None:
    for body in bodies:
        cluster.create_as("user", INGRESSES, "shop", body)


def canary(cluster: FakeCluster, name: str = "web-canary") -> Object:
    found = cluster.find(INGRESSES, "shop", name)
    assert found
    return found


async def read(router: IngressRouter) -> Route:
    """The only route."""
    (route,) = (await router.read(NAMES, None, WAIT)).routes
    return route


async def problems(router: IngressRouter, names: list[str] | None = None) -> list[Problem]:
    found = await router.read(NAMES, names, None)
    return [*found.problems, *(found.passed_over if names is None else ())]


def test_the_canary_is_beside_the_user_s_which_is_not_touched() -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        mine = ingress(
            "web",
            path(),
            path("static", "/static"),
            path(at="/admin", name="admin"),
            annotations={f"{PREFIX}/affinity": "cookie", f"{PREFIX}/rewrite-target": "/", "team": "shop"},
            tls=[{"hosts": ["shop.example"], "secretName": "cert"}],
        )
        create(cluster, mine)
        before = cluster.find(INGRESSES, "shop", "web")
        await router.split(NAMES, None, Share(25), HOLD)
        found = canary(cluster)
        assert found["metadata"]["ownerReferences"] == [OWNER]
        assert found["metadata"]["labels"] == {"tidegate.dev/release": "mine"}
        notes = dict(found["metadata"]["annotations"])
        del notes["tidegate.dev/releasing"]
        assert notes == {f"{PREFIX}/canary": "true", f"{PREFIX}/canary-weight": "25", f"{PREFIX}/affinity": "cookie"}
        two = [path("checkout-canary"), path("checkout-canary", "/admin", name="admin")]
        assert found["spec"] == {
            "ingressClassName": "nginx",
            "rules": [{"host": "shop.example", "http": {"paths": two}}],
        }
        assert cluster.find(INGRESSES, "shop", "web") == before
        await router.split(NAMES, None, AT_REST, HOLD)
        assert cluster.find(INGRESSES, "shop", "web-canary") is None
        assert cluster.find(INGRESSES, "shop", "web") == before

    story(tell)


def test_weights_are_written_and_read() -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress())
        assert (await read(router)).weight is None
        for weight in (INTRODUCED, 0, 25, 100):
            await router.split(NAMES, None, Share(weight), HOLD)
            seen = await read(router)
            assert seen.weight == weight
            assert seen.hold == Hold("CanaryRelease/mine", 7)
            told = canary(cluster)["metadata"]["annotations"][ingresses.WEIGHT]
            assert told == str(max(weight, 0))
            writes = len(cluster.writes)
            await router.split(NAMES, None, Share(weight), HOLD)
            assert len(cluster.writes) == writes, "once is enough"
        await router.seize(NAMES, None, Hold("CanaryRelease/mine", 8))
        assert holder(canary(cluster)) == Hold("CanaryRelease/mine", 8)
        assert (await read(router)).weight == 100

    story(tell)


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"annotations": {ingresses.WEIGHT: "abc"}}},
        {"metadata": {"annotations": {ingresses.CANARY: "false"}}},
        {"spec": {"rules": ingress(host="other")["spec"]["rules"]}},
        {"spec": {"ingressClassName": "alb"}},
    ],
)
def test_a_canary_that_somebody_changed_has_no_weight_and_is_put_right(change: Json) -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress())
        await router.split(NAMES, None, Share(25), HOLD)
        cluster.patch_as("user", INGRESSES, "shop", "web-canary", change)
        assert (await read(router)).weight == MIXED
        await router.split(NAMES, None, Share(25), HOLD)
        assert (await read(router)).weight == 25

    story(tell)


def test_a_canary_whose_ingress_is_gone_goes_too() -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress())
        await router.split(NAMES, None, Share(25), HOLD)
        cluster.delete_as("user", INGRESSES, "shop", "web")
        assert (await read(router)).weight == MIXED
        await router.split(NAMES, None, Share(25), HOLD)
        assert (await router.read(NAMES, None, WAIT)).routes == ()

    story(tell)


def test_a_controller_that_cannot_be_asked_has_its_time() -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress())
        for weight in (25, 50, None):
            await router.split(NAMES, None, Share(weight), HOLD)
            assert not (await read(router)).applied
            await asyncio.sleep(4.9)
            assert (await read(router)).waiting == "waiting 5 s for the router to apply it"
            await asyncio.sleep(0.2)
            seen = await read(router)
            assert (seen.applied, seen.servers) == (True, None)
        series = (await router.read(NAMES, None, WAIT)).series
        assert isinstance(series, RouterSeries)
        assert series.of_stable == 'ingress=~"web",service="checkout",canary=""'
        assert series.of_candidate == 'canary=~"shop-checkout-canary-80"'
        assert not series.sure, "nobody knows whether Prometheus has them"

    story(tell)


def test_one_that_can_be_asked_is_believed() -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress(), ingress("www", host="www.example"))
        plane.says = Serving("", {"checkout": frozenset({"10.0.0.1"})})
        found = await router.read(NAMES, None, WAIT)
        assert [route.applied for route in found.routes] == [True, True]
        assert isinstance(found.series, RouterSeries)
        assert found.series.stable == "web|www"
        plane.says = Serving("serves by another weight still", {})
        assert not (await router.read(NAMES, None, WAIT)).routes[0].applied
        plane.fails = True
        found = await router.read(NAMES, None, WAIT)
        assert "could not be asked: no answer" in found.routes[0].waiting
        assert found.series, "metrics do not change with an outage"

    story(tell)


def test_an_ingress_of_another_class_is_no_route() -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress(ingressClassName="alb"), ingress("none", ingressClassName=None))
        assert (await router.read(NAMES, None, None)).routes == ()
        for names in (None, ["Ingress/web"]):
            (problem, *_) = [one for one in await problems(router, names) if "Ingress/web" in one.message]
            assert problem.reason is Reason.ROUTE_UNSUPPORTED
            assert "its class 'alb' is none of k8s.io/ingress-nginx" in problem.message

    story(tell)


@pytest.mark.parametrize("name", ["nginx", "other"])
def test_a_class_may_be_named_as_of_old(name: str) -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        cluster.delete_as("a", INGRESS_CLASSES, "", "nginx")
        old = ingress(annotations={"kubernetes.io/ingress.class": name})
        del old["spec"]["ingressClassName"]
        create(cluster, old)
        found = await router.read(NAMES, None, None)
        assert len(found.routes) == (name == "nginx")
        if name == "nginx":
            await router.split(NAMES, None, Share(25), HOLD)
            assert canary(cluster)["metadata"]["annotations"]["kubernetes.io/ingress.class"] == "nginx"
            assert (await read(router)).weight == 25

    story(tell)


def test_a_default_backend_can_have_no_canary() -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress("web", path("static"), defaultBackend=path()["backend"]))
        (problem,) = await problems(router)
        assert problem.reason is Reason.ROUTE_UNSUPPORTED
        assert "by spec.defaultBackend only" in problem.message

    story(tell)


def test_an_ingress_that_would_have_the_canary_as_well_takes_part() -> None:
    """A controller knows one canary for each port of a Service, whatever the hosts."""

    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress(), ingress("www", host="www.example"))
        assert not await problems(router)
        (problem,) = await problems(router, ["Ingress/web"])
        assert problem.reason is Reason.ROUTE_UNSUPPORTED
        assert "Ingress www leads to the same port of Service checkout" in problem.message
        assert not await problems(router, ["Ingress/*"])

    story(tell)


def test_another_port_of_the_service_has_a_canary_of_its_own() -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress(), ingress("admin", path(number=81), host="admin.example"))
        assert not await problems(router, ["Ingress/web"])

    story(tell)


def test_a_canary_of_the_user_s_own_is_in_the_way() -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress(), ingress("beta", path("checkout"), annotations={ingresses.CANARY: "true"}))
        (problem,) = await problems(router)
        assert "beta is a canary of it already" in problem.message

    story(tell)


def test_the_name_of_the_canary_may_be_taken() -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress(), ingress("web-canary", path("other"), host="other.example"))
        (problem,) = await problems(router)
        assert "Ingress web-canary is not Tidegate's" in problem.message
        await router.split(NAMES, None, Share(25), HOLD)
        assert (await read(router)).weight is None

    story(tell)


def test_two_releases_may_share_an_ingress_and_one_moves_weights() -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        cart = Backends.of("shop", "cart")
        create(cluster, ingress("web", path(), path("cart", "/cart")))
        await router.split(cart, None, Share(50), Hold("CanaryRelease/cart", 7, {**OWNER, "name": "cart"}))
        seen = await read(router)
        assert (seen.weight, seen.hold) == (None, Hold("CanaryRelease/cart", 7))
        await router.split(NAMES, None, Share(25), HOLD)
        await router.split(NAMES, None, AT_REST, HOLD)
        assert canary(cluster)["metadata"]["annotations"][ingresses.WEIGHT] == "50"

    story(tell)


@pytest.mark.parametrize(
    ("name", "told"),
    [("none", "there is no such Ingress"), ("static", "none of its rules leads to Service checkout")],
)
def test_a_name_that_does_not_lead_to_the_service(name: str, told: str) -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress(), ingress("static", path("static"), host="static.example"))
        (problem,) = await problems(router, [f"Ingress/{name}"])
        assert problem.reason is Reason.ROUTE_NOT_FOUND
        assert told in problem.message

    story(tell)


def test_a_write_to_what_has_changed_meanwhile_is_refused() -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress())
        await router.split(NAMES, None, Share(25), HOLD)
        stale = dict(canary(cluster))
        await router.split(NAMES, None, Share(50), HOLD)
        with pytest.raises(Conflict):
            await router._merge(stale, {"metadata": {}})

    story(tell)


def at(match: tuple[Match, ...] = (), sticky: Stickiness | None = None) -> Step:
    """A step of some weight."""
    return Step(5, timedelta(), 5, match=match, sticky=sticky)


STAFF = (Match(headers={"x-canary": "1"}), Match(cookies={"canary": "always"}))


def test_requests_are_told_by_annotations_while_that_is_asked_for() -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress())
        await router.split(NAMES, None, Share(0, STAFF), HOLD)
        notes = canary(cluster)["metadata"]["annotations"]
        told = {key.removeprefix(ingresses.BY): value for key, value in notes.items() if key.startswith(ingresses.BY)}
        assert told == {"header": "x-canary", "header-value": "1", "cookie": "canary"}
        seen = await read(router)
        assert (seen.weight, seen.match) == (0, STAFF)
        other = {"metadata": {"annotations": {f"{ingresses.BY}cookie": "x"}}}
        cluster.patch_as("user", INGRESSES, "shop", "web-canary", other)
        assert (await read(router)).weight == MIXED
        await router.split(NAMES, None, Share(25), HOLD)
        seen = await read(router)
        assert (seen.weight, seen.match) == (25, ())
        assert not any(key.startswith(ingresses.BY) for key in canary(cluster)["metadata"]["annotations"])

    story(tell)


def test_that_it_tells_requests_nobody_can_be_asked() -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress())
        plane.says = Serving("", {})
        await router.split(NAMES, None, Share(0, STAFF), HOLD)
        assert not (await read(router)).applied
        await asyncio.sleep(5.1)
        assert (await read(router)).applied

    story(tell)


@pytest.mark.parametrize(
    ("match", "told"),
    [
        ([{"headers": {"a": "1"}}, {"cookies": {"b": "always"}}], ""),
        ([{"headers": {"a": "1", "b": "2"}}], "not by several at once"),
        ([{"headers": {"a": "1"}, "cookies": {"b": "always"}}], "not by several at once"),
        ([{"headers": {"a": "1"}}, {"headers": {"b": "1"}}], "by one header and by one cookie"),
        ([{"cookies": {"a": "yes"}}], "by the value always only"),
    ],
)
def test_what_no_annotation_says_is_refused(match: list[Json], told: str) -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress())
        asked = tuple(Match.model_validate(one) for one in match)
        found = [problem.message for problem in (await router.read(NAMES, None, None, [at(), at(asked)])).problems]
        assert [told in message for message in found] == ([True] if told else [])
        assert all(message.startswith("spec.steps[1].match: Ingress/web ") for message in found)

    story(tell)


# Visitors who stay.

KEPT = {f"{PREFIX}/affinity": "cookie", f"{PREFIX}/session-cookie-max-age": "3600"}
STAY = Stay(cookie="stay", max_age=timedelta(hours=1), candidate="7d9f5")
BEHAVIOR = f"{PREFIX}/affinity-canary-behavior"


@pytest.mark.parametrize(
    ("annotations", "told"),
    [
        (KEPT, ""),
        ({}, "affinity: 'cookie' and nginx.ingress.kubernetes.io/session-cookie-max-age: '3600'"),
        (
            {**KEPT, f"{PREFIX}/session-cookie-max-age": "60"},
            "annotation nginx.ingress.kubernetes.io/session-cookie",
        ),
    ],
)
def test_visitors_stay_by_the_controller_s_own_cookie(annotations: dict[str, str], told: str) -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress(annotations=annotations))
        asked = at(sticky=Stickiness(cookie="stay"))
        found = [problem.message for problem in (await router.read(NAMES, None, None, [at(), asked])).problems]
        assert [told in message for message in found] == ([True] if told else [])
        assert all(message.startswith("spec.stickiness: Ingress/web keeps visitors by") for message in found)
        assert not (await router.read(NAMES, None, None, [at()])).problems

    story(tell)


def test_at_weight_0_ingress_nginx_itself_is_bound_by_no_cookie() -> None:
    """It goes by the cookie before it looks at the weight: who was on the candidate would stay there."""

    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress(annotations={**KEPT, BEHAVIOR: "legacy"}))
        for share, behavior in (
            (Share(INTRODUCED), "legacy"),
            (Share(0), "legacy"),
            (Share(25, (), STAY), None),
            (Share(0), "legacy"),
            (Share(25), "legacy"),
        ):
            await router.split(NAMES, None, share, HOLD)
            assert canary(cluster)["metadata"]["annotations"].get(BEHAVIOR) == behavior
            seen = await read(router)
            assert Share(seen.weight, seen.match, seen.stay) == share
        cluster.patch_as("user", INGRESSES, "shop", "web", {"metadata": {"annotations": {BEHAVIOR: None}}})
        assert (await read(router)).weight == MIXED
        await router.split(NAMES, None, Share(25), HOLD)
        assert BEHAVIOR not in canary(cluster)["metadata"]["annotations"], (
            "as its own says, where nobody asked for more"
        )

    story(tell)


def test_without_a_cookie_of_its_own_nothing_is_said_of_one() -> None:
    async def tell(cluster: FakeCluster, router: IngressRouter, plane: Plane) -> None:
        create(cluster, ingress())
        await router.split(NAMES, None, Share(0), HOLD)
        assert BEHAVIOR not in canary(cluster)["metadata"]["annotations"]

    story(tell)
