"""TraefikServices of weights: Traefik's own kind of object, which IngressRoutes lead to."""

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
from tidegate.core import traefikservices
from tidegate.core.counters import RouterSeries
from tidegate.core.hold import Hold, holder, holds
from tidegate.core.observed import Backends, Problem, Route
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import TRAEFIK_SERVICES, ClusterError, NotFound, Object, Watched
from tidegate.ports.router import Names, Routing, named, stickiness, unmatchable, unsticky

Json = dict[str, Any]

BLIND = "looks at no header and no cookie: leave the match out, or use an HTTPRoute"


class DataPlane(Protocol):
    """Traefik, if it can be asked."""

    async def traefik_service(self, obj: Json, backends: Backends) -> Serving | None:
        """What it serves one by; None where it cannot be asked."""
        ...

    def traefik_series(self, objs: Sequence[Json], backends: Backends) -> RouterSeries:
        """Where it counts the requests of the two revisions."""
        ...


class TraefikServiceRouter:
    """The router port for TraefikServices."""

    kinds = (TRAEFIK_SERVICES.name,)

    def __init__(self, cluster: Watched, plane: DataPlane, clock: Clock) -> None:
        self._cluster, self._plane, self._patience = cluster, plane, Patience(clock)

    async def read(
        self, backends: Backends, names: Names, propagation: timedelta | None, steps: Sequence[Step] = ()
    ) -> Routing:
        """Those that list the Service, and what they say."""
        objs, problems = await self._find(backends, names)
        problems += [problem for obj in objs if (problem := _unfit(obj, backends))]
        for obj in objs:
            problems += unmatchable(_name(obj), steps, lambda _: BLIND)
            problems += unsticky(_name(obj), traefikservices.unsticky(obj) if stickiness(steps) else "")
        return Routing(
            routes=tuple([await self._route(obj, backends, propagation) for obj in objs]),
            problems=tuple(problems),
            series=self._plane.traefik_series(objs, backends) if objs else None,
        )

    async def split(self, backends: Backends, names: Names, share: Share, hold: Hold) -> None:
        """Write the candidate's share to all of them, each only as it was read."""
        for obj in (await self._find(backends, names))[0]:
            patch = partial(traefikservices.patch, obj, backends, share, hold)
            await granted(_name(obj), patch, partial(self._write, obj))

    async def seize(self, backends: Backends, names: Names, hold: Hold) -> None:
        """Write the leader's term to those that are held, each only as it was read."""
        for obj in (await self._find(backends, names))[0]:
            if holds(hold, obj):
                await self._write(obj, traefikservices.seize(obj, hold))

    async def _write(self, obj: Object, patch: list[Json]) -> None:
        if patch:
            meta = obj["metadata"]
            await self._cluster.patch(TRAEFIK_SERVICES, meta["namespace"], meta["name"], patch, type_="json")

    async def _find(self, backends: Backends, names: Names) -> tuple[list[Object], list[Problem]]:
        services = [f"Service/{name}" for name in (backends.service, *backends.two, "*")]
        found = await self._cluster.referring(TRAEFIK_SERVICES, backends.namespace, services)
        leading = {_name(obj): obj for obj in found if traefikservices.leads_to(obj, backends)}
        wanted = named(names, self.kinds)
        if wanted is None:
            return list(leading.values()), []
        problems = [await self._astray(backends, name) for name in wanted if name not in leading]
        # In one order, whoever asks: of two releases that share several, one gets all of them and the other waits.
        return [obj for name, obj in leading.items() if name in wanted], problems

    async def _astray(self, backends: Backends, route: str) -> Problem:
        """Why one that is named is none of the Service's."""
        name = route.partition("/")[2]
        told = f"it is of no weights, or does not list Service {backends.service}"
        try:
            await self._cluster.get(TRAEFIK_SERVICES, backends.namespace, name)
        except NotFound:
            told = "there is no such TraefikService"
        return Problem(Reason.ROUTE_NOT_FOUND, f"spec.traffic.traefik.service: {name!r}: {told}")

    async def _route(self, obj: Object, backends: Backends, propagation: timedelta | None) -> Route:
        share, waiting, servers, serving = traefikservices.share(obj, backends), "", None, None
        if propagation is not None:
            serving = await self._serving(obj, backends)
            state = str(obj["metadata"].get("generation"))
            waiting = serving.waiting if serving else self._patience.waiting(obj, state, propagation)
            servers = serving.servers if serving else None
        return Route(
            name=_name(obj),
            weight=share.weight,
            applied=not waiting,
            waiting=waiting,
            dropped=serving is not None and serving.dropped,
            servers=servers,
            hold=holder(obj),
            stay=share.stay,
            pending=traefikservices.pending(obj, backends),
        )

    async def _serving(self, obj: Object, backends: Backends) -> Serving | None:
        try:
            return await self._plane.traefik_service(obj, backends)
        except ClusterError as error:
            return Serving(f"the router could not be asked: {error}", {})


def _name(obj: Object) -> str:
    return f"{TRAEFIK_SERVICES.name}/{obj['metadata']['name']}"


def _unfit(obj: Object, backends: Backends) -> Problem | None:
    if not traefikservices.empty_weights(obj, backends):
        return None
    told = f"Service {backends.service} has the weight 0 in it, and so would both revisions; give it one"
    return Problem(Reason.ROUTE_UNSUPPORTED, f"{_name(obj)}: {told}")
