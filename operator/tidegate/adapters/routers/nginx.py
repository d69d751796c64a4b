"""Ingresses, by the canary annotations of ingress-nginx: of that controller, and of Traefik in its place.

A canary is asked for by an Ingress of ours beside the user's. No controller says in the cluster by which weight it
serves: Traefik is asked, where it serves the Ingress; any other has ``traffic.propagation``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from tidegate.adapters.routers.serving import Patience, Serving
from tidegate.api.conditions import Reason
from tidegate.api.release import Step
from tidegate.api.traffic import Share
from tidegate.core import ingresses, presets
from tidegate.core.counters import RouterSeries, joined
from tidegate.core.hold import RELEASING, Hold, holder, renoted
from tidegate.core.observed import Backends, Problem, Route
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import INGRESS_CLASSES, INGRESSES, ClusterError, NotFound, Object, Watched
from tidegate.ports.router import Names, Routing, named, stickiness, unmatchable, unsticky

Json = dict[str, Any]

CONTROLLER = "k8s.io/ingress-nginx"
"""Of the classes whose canaries are like this: ingress-nginx's own, and Traefik's where it stands in for that."""
CLASS = "nginx"
"""What Ingresses that name their class by an annotation call it, with no such object in the cluster."""


class DataPlane(Protocol):
    """A controller of Ingresses that can be asked."""

    async def ingress(self, main: Json, backends: Backends, weight: int | None) -> Serving | None:
        """What it serves an Ingress by; None where it does not serve it, or cannot be asked at all."""
        ...

    def ingress_series(self, main: Json, backends: Backends) -> RouterSeries:
        """Where it counts the requests of the two revisions."""
        ...


@dataclass(frozen=True)
class _Pair:
    """An Ingress of the user's, and the canary of ours beside it."""

    name: str
    main: Object | None
    canary: Object | None


class IngressRouter:
    """The router port for Ingresses."""

    kinds = (INGRESSES.name,)

    def __init__(self, cluster: Watched, plane: DataPlane, clock: Clock) -> None:
        self._cluster, self._plane, self._patience = cluster, plane, Patience(clock)
        self._controllers: dict[str, str] = {}
        self._counted: set[str] = set()
        """Ingresses that the data plane was seen to serve, by uid: that it is silent for once changes no metric."""

    async def read(
        self, backends: Backends, names: Names, propagation: timedelta | None, steps: Sequence[Step] = ()
    ) -> Routing:
        """The Ingresses that lead to the Service by their rules, and what they and their canaries say."""
        wanted, around = named(names, self.kinds), await self._around(backends)
        found, astray = await self._pairs(backends, wanted, around), await self._astray(backends, wanted, around)
        routes = [await self._route(pair, backends, propagation) for pair in found]
        problems = [problem for pair in found for problem in self._unfit(pair, found, backends, around)]
        for route in routes:
            problems += unmatchable(route.name, steps, ingresses.unmatchable)
        asked = stickiness(steps)
        for pair in found:
            told = ingresses.unsticky(pair.main, asked) if asked and pair.main else ""
            problems += unsticky(f"{INGRESSES.name}/{pair.name}", told)
        return Routing(
            routes=tuple(routes),
            problems=(*problems, *(astray if wanted is not None else ())),
            series=self._series(found, backends),
            passed_over=tuple(astray),
        )

    async def split(self, backends: Backends, names: Names, share: Share, hold: Hold) -> None:
        """Write the candidate's share to all canaries; at rest there are none."""
        for pair in await self._pairs(backends, named(names, self.kinds), await self._around(backends)):
            if pair.canary and not ingresses.held(pair.canary, backends):
                continue  # another release's, or the user's
            if share.weight is None or pair.main is None:
                await self._remove(pair.canary)
            else:
                await self._ensure(ingresses.wanted(pair.main, backends, share, hold), pair, backends)

    async def seize(self, backends: Backends, names: Names, hold: Hold) -> None:
        """Write the leader's term to the canaries, each only as it was read."""
        for pair in await self._pairs(backends, named(names, self.kinds), await self._around(backends)):
            if pair.canary and ingresses.held(pair.canary, backends):
                await self._merge(pair.canary, {"metadata": {"annotations": {RELEASING: renoted(pair.canary, hold)}}})

    async def _ensure(self, body: Json, pair: _Pair, backends: Backends) -> None:
        if pair.canary is None:
            await self._cluster.create(INGRESSES, backends.namespace, body)
        elif pair.canary["spec"] != body["spec"] or not _has(pair.canary, body):
            stale = dict.fromkeys(ingresses.stale(pair.canary, body))
            meta = {"annotations": {**body["metadata"]["annotations"], **stale}}
            await self._merge(pair.canary, {"metadata": meta, "spec": body["spec"]})

    async def _merge(self, canary: Object, change: Json) -> None:
        meta = canary["metadata"]
        body = {**change, "metadata": {**change["metadata"], "resourceVersion": meta["resourceVersion"]}}
        await self._cluster.patch(INGRESSES, meta["namespace"], meta["name"], body)

    async def _remove(self, canary: Object | None) -> None:
        if canary is not None:
            meta = canary["metadata"]
            await self._cluster.delete(INGRESSES, meta["namespace"], meta["name"], version=meta["resourceVersion"])

    async def _around(self, backends: Backends) -> dict[str, Object]:
        """All Ingresses that may lead to the Service, or do to the candidate's, by name."""
        services = [f"Service/{name}" for name in (backends.service, *backends.two)]
        found = await self._cluster.referring(INGRESSES, backends.namespace, services)
        return {obj["metadata"]["name"]: obj for obj in found}

    async def _pairs(self, backends: Backends, wanted: list[str] | None, around: dict[str, Object]) -> list[_Pair]:
        """The Ingresses that take part: those that can, and those that had a canary of ours when they could."""
        mains = [
            name
            for name, obj in around.items()
            if not ingresses.is_canary(obj) and ingresses.paths(obj, backends.service) and await self._served(obj)
        ]
        held = [ingresses.main_of(obj) for obj in around.values() if ingresses.held(obj, backends)]
        chosen = [name for name in mains if wanted is None or f"{INGRESSES.name}/{name}" in wanted]
        return [
            _Pair(
                name,
                around[name] if name in mains else None,
                await self._find(backends.namespace, f"{name}-canary", around),
            )
            for name in dict.fromkeys((*chosen, *held))
        ]

    async def _find(self, namespace: str, name: str, around: dict[str, Object]) -> Object | None:
        """By name: a canary of another release leads to none of our Services, and is in our way."""
        try:
            return around.get(name) or await self._cluster.get(INGRESSES, namespace, name)
        except NotFound:
            return None

    async def _astray(self, backends: Backends, wanted: list[str] | None, around: dict[str, Object]) -> list[Problem]:
        """Why Ingresses that are named, or that lead to the Service, are no routes."""
        if wanted is None:
            told = [await self._unserved(obj, backends) for obj in around.values() if not ingresses.is_canary(obj)]
            return [problem for problem in told if problem]
        problems = []
        for name in (name.partition("/")[2] for name in wanted):
            obj = await self._find(backends.namespace, name, around)
            if obj is None:
                told_ = f"spec.traffic.nginx.ingress: {name!r}: there is no such Ingress"
                problems.append(Problem(Reason.ROUTE_NOT_FOUND, told_))
            elif problem := await self._unserved(obj, backends):
                problems.append(problem)
            elif not ingresses.paths(obj, backends.service):
                told_ = f"spec.traffic.nginx.ingress: {name!r}: none of its rules leads to Service {backends.service}"
                problems.append(Problem(Reason.ROUTE_NOT_FOUND, told_))
        return problems

    async def _unserved(self, obj: Object, backends: Backends) -> Problem | None:
        """Why an Ingress that leads to the Service can have no canary."""
        name = f"Ingress/{obj['metadata']['name']}"
        led = ingresses.paths(obj, backends.service)
        if not led and not ingresses.by_default(obj, backends.service):
            return None
        if not led:
            told = f"{name}: leads to Service {backends.service} by spec.defaultBackend only, which can have no canary"
            return Problem(Reason.ROUTE_UNSUPPORTED, f"{told}; use a rule with the path /")
        if await self._served(obj):
            return None
        told = f"{name}: its class {ingresses.class_of(obj)!r} is none of {CONTROLLER}, which alone knows canaries"
        return Problem(Reason.ROUTE_UNSUPPORTED, f"{told}; use another router, or traffic.podShare")

    async def _served(self, obj: Object) -> bool:
        """Its class is of a controller that knows these annotations."""
        name = ingresses.class_of(obj)
        if name and name not in self._controllers:
            try:
                found = await self._cluster.get(INGRESS_CLASSES, "", name)
            except NotFound:
                return name == CLASS and "ingressClassName" not in obj["spec"]
            self._controllers[name] = str(found["spec"].get("controller", ""))
        return self._controllers.get(name) == CONTROLLER

    def _unfit(
        self, pair: _Pair, found: Sequence[_Pair], backends: Backends, around: dict[str, Object]
    ) -> list[Problem]:
        """Why a canary beside this Ingress would not do what it is for."""
        if pair.main is None:
            return []
        others = [obj for name, obj in around.items() if name not in {one.name for one in found}]
        mains = [obj for obj in others if not ingresses.is_canary(obj)]
        name, told = f"Ingress/{pair.name}", []
        if rival := ingresses.rival(pair.main, others):
            told.append(f"{rival['metadata']['name']} is a canary of it already, and a path has one at most; remove it")
        elif pair.canary and not ingresses.is_ours(pair.canary):
            told.append(f"Ingress {pair.name}-canary is not Tidegate's, and a release needs the name; rename it")
        if other := ingresses.leaks(pair.main, mains, backends):
            leak = f"Ingress {other['metadata']['name']} leads to the same port of Service {backends.service}"
            told.append(f"{leak}, and would have its canary; name none in spec.traffic.nginx, so that both take part")
        return [Problem(Reason.ROUTE_UNSUPPORTED, f"{name}: {what}") for what in told]

    async def _route(self, pair: _Pair, backends: Backends, propagation: timedelta | None) -> Route:
        share, waiting, servers = ingresses.share(pair.main, pair.canary, backends), "", None
        if propagation is not None and pair.main is not None:
            serving = await self._serving(pair.main, backends, share.weight)
            state = f"{pair.main['metadata'].get('generation')} {share}"
            waiting = serving.waiting if serving else ""
            if not serving or share.match:
                # What it tells requests by, no list of services says.
                waiting = waiting or self._patience.waiting(pair.main, state, propagation)
            servers = serving.servers if serving else None
        return Route(
            name=f"{INGRESSES.name}/{pair.name}",
            weight=share.weight,
            applied=not waiting,
            waiting=waiting,
            servers=servers,
            hold=holder(pair.canary) if pair.canary and ingresses.is_ours(pair.canary) else None,
            match=share.match,
            stay=share.stay,
        )

    async def _serving(self, main: Object, backends: Backends, weight: int | None) -> Serving | None:
        try:
            serving = await self._plane.ingress(main, backends, weight)
        except ClusterError as error:
            return Serving(f"the router could not be asked: {error}", {})
        if serving:
            self._counted.add(main["metadata"]["uid"])
        return serving

    def _series(self, found: Sequence[_Pair], backends: Backends) -> RouterSeries | None:
        return joined([self._series_of(pair.main, backends) for pair in found if pair.main])

    def _series_of(self, main: Object, backends: Backends) -> RouterSeries:
        if main["metadata"]["uid"] in self._counted:
            return self._plane.ingress_series(main, backends)
        namespace, service = backends.namespace, backends.service
        ports = dict.fromkeys(path.port for path in ingresses.paths(main, service))
        candidates = tuple(f"{namespace}-{backends.canary}-{port}" for port in ports)
        return presets.of_nginx(namespace, main["metadata"]["name"], service, candidates)


def _has(canary: Object, body: Json) -> bool:
    told: dict[str, str] = canary["metadata"].get("annotations") or {}
    return bool(body["metadata"]["annotations"].items() <= told.items()) and not ingresses.stale(canary, body)
