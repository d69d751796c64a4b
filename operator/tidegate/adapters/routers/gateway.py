"""Gateway API: the weights of the user's own HTTPRoutes and GRPCRoutes.

That a controller has *read* a route is in the route's status; that its data plane *serves* by it is not. So a data
plane that can be asked is asked; of any other we wait ``traffic.propagation`` from when its status caught up.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

from tidegate.adapters.routers.granting import granted
from tidegate.adapters.routers.serving import Patience, Serving
from tidegate.api.conditions import Reason
from tidegate.api.release import Step
from tidegate.api.traffic import Share
from tidegate.core import parents, routes, sticky
from tidegate.core.counters import RouterSeries, Uncounted
from tidegate.core.hold import Hold, holder, holds
from tidegate.core.observed import Backends, Problem, Route
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import (
    GATEWAY_CLASSES,
    GATEWAY_ROUTES,
    GATEWAYS,
    HTTPROUTES,
    SERVICES,
    ClusterError,
    NotFound,
    Object,
    Rejected,
    Watched,
)
from tidegate.ports.router import Names, Routing, named, unmatchable, unsticky

Json = dict[str, Any]


class DataPlane(Protocol):
    """What is known of one implementation of the Gateway API beyond the standard."""

    controller: str
    """controllerName of its GatewayClasses."""

    async def serving(self, route: Json) -> Serving | None:
        """What it serves by; None where it cannot be asked."""
        ...

    def series(self, routes: Sequence[Json], backends: Backends) -> RouterSeries | Uncounted:
        """Where it counts the requests of the two revisions, or why it does not."""
        ...


class GatewayRouter:
    """The router port for HTTPRoutes and GRPCRoutes."""

    kinds = tuple(kind.name for kind in GATEWAY_ROUTES)

    def __init__(self, cluster: Watched, planes: Sequence[DataPlane], clock: Clock) -> None:
        self._cluster, self._patience = cluster, Patience(clock)
        self._planes = {plane.controller: plane for plane in planes}
        self._controllers: dict[tuple[str, str], str] = {}
        self._able: set[tuple[str, str]] = set()
        """Gateways of classes that can keep visitors where they are."""

    async def read(
        self, backends: Backends, names: Names, propagation: timedelta | None, steps: Sequence[Step] = ()
    ) -> Routing:
        """The routes that lead to the Service, and what they say."""
        objects, problems = await self._find(backends, names)
        problems += [problem for obj in objects if (problem := _unsplittable(obj, backends))]
        for obj in objects:
            problems += unmatchable(_name(obj), steps, partial(routes.unmatchable, obj, backends))
            problems += unsticky(_name(obj), await self._unsticky(obj, backends, steps))
        planes = [await self._plane(obj) for obj in objects]
        # A route that no Gateway has taken carries no requests: where another does, nobody waits for it.
        idle = [any(map(parents.taken, objects)) and not parents.taken(obj) for obj in objects]
        found = [
            await self._route(obj, backends, plane, propagation, holds=not out)
            for obj, plane, out in zip(objects, planes, idle, strict=True)
        ]
        known = next((plane for plane in planes if plane), None)
        served = [obj for obj, plane in zip(objects, planes, strict=True) if plane is known]
        return Routing(
            routes=tuple(found),
            problems=tuple(problems),
            series=known.series(served, backends) if known else None,
        )

    async def split(self, backends: Backends, names: Names, share: Share, hold: Hold) -> None:
        """Write the candidate's share to all of them, each only as it was read."""
        for obj in (await self._find(backends, names))[0]:
            try:
                patch = partial(routes.patch, obj, backends, share, hold)
                await granted(_name(obj), patch, partial(self._write, obj))
            except ValueError as error:
                raise Rejected(f"{_name(obj)}: {error}") from error

    async def seize(self, backends: Backends, names: Names, hold: Hold) -> None:
        """Write the leader's term to those that are held, each only as it was read."""
        for obj in (await self._find(backends, names))[0]:
            if holds(hold, obj):
                await self._write(obj, routes.seize(obj, hold))

    async def _write(self, obj: Object, patch: list[Json]) -> None:
        if patch:
            kind, meta = next(kind for kind in GATEWAY_ROUTES if kind.name == obj["kind"]), obj["metadata"]
            await self._cluster.patch(kind, meta["namespace"], meta["name"], patch, type_="json")

    async def _find(self, backends: Backends, names: Names) -> tuple[list[Object], list[Problem]]:
        """The routes, each with its kind, which an item of a list may lack.

        In one order, whoever asks: of two releases that share several, one gets all of them and the other waits.
        """
        services = [f"Service/{name}" for name in (backends.service, *backends.two, "*")]
        leading = {
            f"{kind.name}/{obj['metadata']['name']}": {**obj, "kind": kind.name}
            for kind in GATEWAY_ROUTES
            for obj in await self._cluster.referring(kind, backends.namespace, services)
            if routes.leads_to(obj, backends)
        }
        wanted = named(names, self.kinds)
        if wanted is None:
            return list(leading.values()), []
        problems = [await self._astray(backends, name) for name in wanted if name not in leading]
        return [obj for name, obj in leading.items() if name in wanted], problems

    async def _astray(self, backends: Backends, route: str) -> Problem:
        """Why a route that is named is none of the Service's."""
        kind, _, name = route.partition("/")
        told = f"none of its rules points at Service {backends.service}"
        try:
            await self._cluster.get(next(one for one in GATEWAY_ROUTES if one.name == kind), backends.namespace, name)
        except NotFound:
            told = f"there is no such {kind}"
        return Problem(Reason.ROUTE_NOT_FOUND, f"spec.traffic.gateway.routes: {name!r}: {told}")

    async def _unsticky(self, obj: Object, backends: Backends, steps: Sequence[Step]) -> str:
        """Why visitors of the route cannot be kept where they are, if they are to be."""
        sticky_ = [step for step in steps if step.sticky]
        if not sticky_:
            return ""
        if obj["kind"] != HTTPROUTES.name:
            return "cannot keep visitors: clients of gRPC keep no cookies; leave it out, or name other routes"
        beside = max((step.match for step in sticky_), key=len)
        return routes.unsticky(obj, backends, beside) or await self._unable(obj)

    async def _unable(self, obj: Object) -> str:
        """Why those who serve the route cannot, by what they say of themselves."""
        for parent in parents.of(obj):
            key = (parent.namespace, parent.name)
            if key in self._able:
                continue
            found = await self._class(parent)
            said = found.get("status", {}).get("supportedFeatures") or ()
            able = {one if isinstance(one, str) else one["name"] for one in said}
            if missing := sorted(sticky.FEATURES - able):
                name = found["metadata"]["name"] if found else f"of {parent.kind} {parent.name}"
                return f"cannot keep visitors: GatewayClass {name} lists no {' and no '.join(missing)}; leave it out"
            self._able.add(key)
        return ""

    async def _plane(self, route: Object) -> DataPlane | None:
        """The implementation behind the route; None where it is none that we know more of."""
        for parent in parents.of(route):
            # A mesh has no class: who it is stands in what it says of the route.
            of_mesh = parents.controller(route, parent) if parent.kind == SERVICES.name else ""
            controller = of_mesh or await self._controller(parent)
            if controller in self._planes:
                return self._planes[controller]
        return None

    async def _controller(self, parent: parents.Parent) -> str:
        key = (parent.namespace, parent.name)
        if key not in self._controllers:
            found = await self._class(parent)
            if not found:
                return ""
            self._controllers[key] = str(found["spec"]["controllerName"])
        return self._controllers[key]

    async def _class(self, parent: parents.Parent) -> Object:
        """The class of a Gateway; nothing of what is none, or is not there."""
        if parent.kind != GATEWAYS.name:
            return {}
        try:
            gateway = await self._cluster.get(GATEWAYS, parent.namespace, parent.name)
            return await self._cluster.get(GATEWAY_CLASSES, "", gateway["spec"]["gatewayClassName"])
        except NotFound:
            return {}

    async def _route(
        self,
        obj: Object,
        backends: Backends,
        plane: DataPlane | None,
        propagation: timedelta | None,
        *,
        holds: bool,
    ) -> Route:
        """What the route says. Unless it ``holds`` the others up, its parents' word is not waited for."""
        share = routes.share(obj, backends)
        waiting, servers = parents.unread(obj) if holds else "", None
        if propagation is not None:
            serving = await self._serving(obj, plane) if holds else None
            waiting = waiting or (
                serving.waiting
                if serving
                else self._patience.waiting(obj, str(obj["metadata"]["generation"]), propagation)
            )
            servers = serving.servers if serving else None
        return Route(
            name=_name(obj),
            weight=share.weight,
            applied=not waiting,
            waiting=waiting,
            servers=servers,
            hold=holder(obj),
            match=share.match,
            stay=share.stay,
            pending=routes.pending(obj, backends),
            detached=bool(waiting) and propagation is not None and await self._detached(obj),
        )

    async def _detached(self, obj: Object) -> bool:
        """None of the Gateways is there that the route is attached to."""
        for parent in parents.of(obj):
            if parent.kind != GATEWAYS.name:
                return False
            try:
                await self._cluster.get(GATEWAYS, parent.namespace, parent.name)
            except NotFound:
                continue
            return False
        return True

    async def _serving(self, obj: Object, plane: DataPlane | None) -> Serving | None:
        try:
            return await plane.serving(obj) if plane else None
        except ClusterError as error:
            return Serving(f"the router could not be asked: {error}", {})


def _name(route: Object) -> str:
    return f"{route['kind']}/{route['metadata']['name']}"


def _unsplittable(route: Object, backends: Backends) -> Problem | None:
    why = routes.unsplittable(route, backends)
    return Problem(Reason.ROUTE_UNSUPPORTED, f"{_name(route)}: {why}") if why else None
