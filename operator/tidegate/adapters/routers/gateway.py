"""Gateway API: the weights of the user's own HTTPRoutes.

That a controller has *read* a route is in the route's status; that its data plane *serves* by it is not. So a data
plane that can be asked is asked; of any other we wait ``traffic.propagation`` from when its status caught up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from tidegate.api.conditions import Reason
from tidegate.core import httproute
from tidegate.core.counters import RouterSeries
from tidegate.core.observed import Backends, Problem, Route
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import (
    GATEWAY_CLASSES,
    GATEWAYS,
    HTTPROUTES,
    Cluster,
    ClusterError,
    NotFound,
    Object,
    Rejected,
)
from tidegate.ports.router import Routing

Json = dict[str, Any]


@dataclass(frozen=True)
class Serving:
    """What a data plane does with a route."""

    waiting: str
    """Why it does not serve by the route yet; empty when it does."""
    servers: Mapping[str, frozenset[str]]
    """Addresses behind each of its Services."""


class DataPlane(Protocol):
    """What is known of one implementation of the Gateway API beyond the standard."""

    controller: str
    """controllerName of its GatewayClasses."""

    async def serving(self, route: Json) -> Serving | None:
        """What it serves by; None where it cannot be asked."""
        ...

    def series(self, routes: Sequence[Json], backends: Backends) -> RouterSeries:
        """Where it counts the requests of the two revisions."""
        ...


class GatewayRouter:
    """The router port for HTTPRoutes."""

    def __init__(self, cluster: Cluster, planes: Sequence[DataPlane], clock: Clock) -> None:
        self._cluster, self._clock = cluster, clock
        self._planes = {plane.controller: plane for plane in planes}
        self._caught_up: dict[tuple[str, int], datetime] = {}
        self._controllers: dict[tuple[str, str], str] = {}

    async def read(self, backends: Backends, named: Sequence[str] | None, propagation: timedelta | None) -> Routing:
        """The routes that lead to the Service, and what they say."""
        objects, problems = await self._find(backends, named)
        problems += [problem for obj in objects if (problem := _unsplittable(obj, backends))]
        plane = await self._plane(objects)
        routes = [await self._route(obj, backends, plane, propagation) for obj in objects]
        return Routing(
            routes=tuple(routes),
            problems=tuple(problems),
            series=plane.series(objects, backends) if plane and objects else None,
        )

    async def split(self, backends: Backends, named: Sequence[str] | None, weight: int | None, release: str) -> None:
        """Write the candidate's share to all of them, each only as it was read."""
        for obj in (await self._find(backends, named))[0]:
            try:
                patch = httproute.patch(obj, backends, weight, release)
            except ValueError as error:
                raise Rejected(f"HTTPRoute {obj['metadata']['name']}: {error}") from error
            if patch:
                name = obj["metadata"]["name"]
                await self._cluster.patch(HTTPROUTES, backends.namespace, name, patch, type_="json")

    async def _find(self, backends: Backends, named: Sequence[str] | None) -> tuple[list[Object], list[Problem]]:
        listed = await self._cluster.list(HTTPROUTES, backends.namespace)
        leading = {obj["metadata"]["name"]: obj for obj in listed if httproute.leads_to(obj, backends)}
        if named is None:
            return list(leading.values()), [] if leading else [
                Problem(
                    Reason.ROUTE_NOT_FOUND,
                    f"no HTTPRoute of namespace {backends.namespace} points at Service {backends.service};"
                    " point one at it, or name one in spec.traffic.gateway.routes",
                )
            ]
        known = {obj["metadata"]["name"] for obj in listed}
        problems = [
            Problem(
                Reason.ROUTE_NOT_FOUND,
                f"spec.traffic.gateway.routes: {name!r}: "
                + (
                    f"none of its rules points at Service {backends.service}"
                    if name in known
                    else "there is no such HTTPRoute"
                ),
            )
            for name in named
            if name not in leading
        ]
        return [leading[name] for name in named if name in leading], problems

    async def _plane(self, routes: Sequence[Object]) -> DataPlane | None:
        """The implementation behind the routes; None where it is none that we know more of."""
        for route in routes:
            for parent in route["spec"].get("parentRefs") or ():
                controller = await self._controller(route, parent)
                if controller in self._planes:
                    return self._planes[controller]
        return None

    async def _controller(self, route: Object, parent: Mapping[str, Any]) -> str:
        key = (parent.get("namespace") or route["metadata"]["namespace"], parent["name"])
        if key not in self._controllers:
            try:
                gateway = await self._cluster.get(GATEWAYS, *key)
                found = await self._cluster.get(GATEWAY_CLASSES, "", gateway["spec"]["gatewayClassName"])
            except NotFound:
                return ""
            self._controllers[key] = str(found["spec"]["controllerName"])
        return self._controllers[key]

    async def _route(
        self, obj: Object, backends: Backends, plane: DataPlane | None, propagation: timedelta | None
    ) -> Route:
        waiting, servers = _unread(obj), None
        if propagation is not None:
            serving = await self._serving(obj, plane)
            waiting = waiting or (serving.waiting if serving else self._in_time(obj, propagation))
            servers = serving.servers if serving else None
        return Route(
            name=f"HTTPRoute/{obj['metadata']['name']}",
            weight=httproute.weight(obj, backends),
            applied=not waiting,
            waiting=waiting,
            servers=servers,
        )

    async def _serving(self, obj: Object, plane: DataPlane | None) -> Serving | None:
        try:
            return await plane.serving(obj) if plane else None
        except ClusterError as error:
            return Serving(f"the router could not be asked: {error}", {})

    def _in_time(self, obj: Object, propagation: timedelta) -> str:
        """A router that cannot be asked has this long from when its status caught up."""
        key = (obj["metadata"]["uid"], int(obj["metadata"]["generation"]))
        since = self._caught_up.setdefault(key, self._clock.now())
        self._forget(key)
        if self._clock.now() < since + propagation:
            return f"the route was read; waiting {propagation.total_seconds():.0f} s for it to be applied"
        return ""

    def _forget(self, newest: tuple[str, int]) -> None:
        """Generations that are no more need no memory."""
        for key in [key for key in self._caught_up if key[0] == newest[0] and key[1] < newest[1]]:
            del self._caught_up[key]


def _unsplittable(route: Object, backends: Backends) -> Problem | None:
    try:
        httproute.patch(route, backends, 50, "")
    except ValueError as error:
        return Problem(Reason.ROUTE_UNSUPPORTED, f"HTTPRoute {route['metadata']['name']}: {error}")
    return None


def _unread(route: Object) -> str:
    """What the route's status says is not in place; empty when its newest generation was accepted by all parents."""
    parents = route.get("status", {}).get("parents") or ()
    if not parents:
        return "no Gateway controller has accepted the route"
    for parent in parents:
        for type_ in ("Accepted", "ResolvedRefs"):
            found = next((c for c in parent.get("conditions", ()) if c["type"] == type_), None)
            if found is None or int(found.get("observedGeneration", 0)) < int(route["metadata"]["generation"]):
                return f"{parent.get('controllerName', 'the controller')} has not read its newest version"
            if found["status"] != "True":
                return f"{type_} is {found['status']}: {found.get('reason', '')}: {found.get('message', '')}"
    return ""
