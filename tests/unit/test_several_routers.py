"""Routers as one: whom they ask, what they say together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from tidegate.adapters.routers.several import Routers
from tidegate.api.conditions import Reason
from tidegate.api.release import Step
from tidegate.api.traffic import AT_REST, Share, TrafficSpec
from tidegate.core.counters import RouterSeries, joined
from tidegate.core.hold import Hold
from tidegate.core.observed import Backends, Problem, Route
from tidegate.ports.router import Names, Routing, named

NAMES = Backends.of("shop", "checkout")
SERIES = RouterSeries("requests", "code", "bucket", "service", "a-stable", "a-canary")
OTHERS = RouterSeries("requests", "code", "bucket", "service", "b-stable", "b-canary")


class One:
    """A router that says what it is told to, and remembers what it was asked."""

    def __init__(self, kind: str, says: Routing) -> None:
        self.kinds = (kind,)
        self.says, self.asked = says, list[str]()

    async def read(
        self, backends: Backends, names: Names, propagation: timedelta | None, steps: Sequence[Step] = ()
    ) -> Routing:
        """As the port."""
        self.asked.append(f"read {named(names, self.kinds)}")
        return self.says

    async def split(self, backends: Backends, names: Names, share: Share, hold: Hold) -> None:
        """As the port."""
        self.asked.append(f"split {share.weight}")

    async def seize(self, backends: Backends, names: Names, hold: Hold) -> None:
        """As the port."""
        self.asked.append("seize")


def route(name: str) -> Route:
    return Route(name=name, weight=None, applied=True)


def read(names: Names, *routers: One) -> Routing:
    return asyncio.run(Routers(routers).read(NAMES, names, None))


def test_with_nothing_named_all_are_asked_and_all_that_is_found_takes_part() -> None:
    a = One("A", Routing((route("A/x"),), (Problem(Reason.ROUTE_TAKEN, "taken"),), SERIES))
    b = One("B", Routing((route("B/y"),), (), OTHERS))
    found = read(None, a, b)
    assert [one.name for one in found.routes] == ["A/x", "B/y"]
    assert [one.message for one in found.problems] == ["taken"]
    assert found.series == joined([SERIES, OTHERS])
    assert (a.asked, b.asked) == (["read None"], ["read None"])


def test_with_something_named_only_that_takes_part() -> None:
    a, b = One("A", Routing((route("A/x"),))), One("B", Routing((route("B/y"),)))
    assert [one.name for one in read(["B/y"], a, b).routes] == ["B/y"]
    assert (a.asked, b.asked) == ([], ["read ['B/y']"])
    read(["A/*", "B/y"], a, b)
    assert (a.asked, b.asked) == (["read None"], ["read ['B/y']", "read ['B/y']"])


def test_writes_go_to_the_same() -> None:
    async def tell() -> None:
        a, b = One("A", Routing(())), One("B", Routing(()))
        both = Routers([a, b])
        await both.split(NAMES, None, Share(25), Hold("mine"))
        await both.split(NAMES, ["A/x"], AT_REST, Hold("mine"))
        await both.seize(NAMES, ["B/y"], Hold("mine"))
        assert (a.asked, b.asked) == (["split 25", "split None"], ["split 25", "seize"])

    asyncio.run(tell())


def test_no_route_is_one_problem_for_all() -> None:
    (problem,) = read(None, One("A", Routing(())), One("B", Routing(())), One("C", Routing(()))).problems
    assert problem.reason is Reason.ROUTE_NOT_FOUND
    assert problem.message.startswith("no A, B or C of namespace shop points at Service checkout; point one at it")


def test_a_named_route_that_is_missing_is_said_once() -> None:
    missing = Problem(Reason.ROUTE_NOT_FOUND, "spec.traffic.a: 'x': there is no such A")
    assert read(["A/x"], One("A", Routing((), (missing,)))).problems == (missing,)


def test_what_is_passed_over_is_told_where_nothing_else_is_there() -> None:
    why = Problem(Reason.ROUTE_UNSUPPORTED, "B/y is of a kind that cannot")
    over = One("B", Routing((), passed_over=(why,)))
    assert read(None, One("A", Routing(())), over).problems == (why,)
    assert read(None, One("A", Routing((route("A/x"),))), over).problems == ()


@pytest.mark.parametrize(
    ("other", "counted"),
    [
        (Routing((route("B/y"),)), None),
        (Routing(()), SERIES),
        (Routing((), series=OTHERS), SERIES),
        (Routing((route("B/y"),), series=RouterSeries("n", "code", "bucket", "service", "s", "c")), None),
    ],
    ids=["one does not count", "one has no route", "one counts nothing", "other names"],
)
def test_only_routers_that_together_count_all_requests_are_asked_for_them(
    other: Routing, counted: RouterSeries | None
) -> None:
    assert read(None, One("A", Routing((route("A/x"),), (), SERIES)), One("B", other)).series == counted


def test_series_of_several_are_one_expression() -> None:
    both = joined([SERIES, OTHERS])
    assert both
    assert both.of_stable == 'service=~"a-stable|b-stable"'
    assert both.of_candidate == 'service=~"a-canary|b-canary"'


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ({}, None),
        ({"gateway": {"routes": [{"name": "x"}, {"kind": "GRPCRoute", "name": "y"}]}}, ("HTTPRoute/x", "GRPCRoute/y")),
        ({"nginx": {"ingress": "x"}, "traefik": {"service": "y"}}, ("Ingress/x", "TraefikService/y")),
        ({"nginx": {}, "traefik": {}}, ("Ingress/*", "TraefikService/*")),
    ],
)
def test_what_a_spec_names(spec: dict[str, object], names: tuple[str, ...] | None) -> None:
    assert TrafficSpec.model_validate(spec).names() == names


@pytest.mark.parametrize(
    ("names", "wire"),
    [
        (["HTTPRoute/x"], {"gateway": {"routes": [{"kind": "HTTPRoute", "name": "x"}]}}),
        (["Ingress/x", "TraefikService/y"], {"nginx": {"ingress": "x"}, "traefik": {"service": "y"}}),
        (["Ingress/x", "Ingress/y"], {"nginx": {}}),
    ],
)
def test_what_was_found_is_told_in_the_shape_of_the_spec(names: list[str], wire: dict[str, object]) -> None:
    found = TrafficSpec.model_validate({"propagation": "3s"}).finding(names)
    assert found.wire() == {"propagation": "3s", **wire}
    assert TrafficSpec.model_validate(found.wire()) == found
