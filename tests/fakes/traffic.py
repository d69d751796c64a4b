"""A router with a data plane that lags, and the traffic through it: where requests go at any instant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from tests.fakes import traefik
from tests.fakes.cluster import FakeCluster
from tests.fakes.controllers import Controller
from tests.fakes.kubelet import address
from tests.fakes.virtual import TICK
from tidegate.adapters.routers.serving import Serving
from tidegate.adapters.routers.traefik import read_ingress, read_traefik_service
from tidegate.core import dark, sticky
from tidegate.core.counters import RouterSeries
from tidegate.core.observed import Backends
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import (
    ENDPOINT_SLICES,
    GATEWAY_CLASSES,
    GATEWAY_ROUTES,
    GATEWAYS,
    PODS,
    ROUTES,
    Kind,
    Object,
    Unavailable,
)

Json = dict[str, Any]

CONTROLLER = "fake.example/gateway"
READS = 0.3
"""Seconds until the route's status says that it was read."""
APPLIES = 0.5
"""Seconds more until requests go by it."""


class Router(Controller):
    """A Gateway API implementation, and the DataPlane by which it can be asked what it serves."""

    name = "gateway-controller"
    kinds = (*ROUTES, ENDPOINT_SLICES)
    controller = CONTROLLER

    def __init__(self, cluster: FakeCluster, clock: Clock, *, answers: bool = True) -> None:
        super().__init__(cluster, clock)
        self.answers = answers
        self.reads, self.applies = READS, APPLIES
        self.stuck = False
        """It reads routes and applies nothing. Of a Service that is gone it goes on to serve the pods."""
        self.begins = False
        """It is on its way out of that."""
        self.down = False
        """It serves as it did, and cannot be asked."""
        self.served: dict[str, Object] = {}
        """Routes as the data plane has them, by kind and name."""
        self._slices: dict[str, tuple[str, frozenset[str]]] = {}
        self.unrouted = ""
        """A Service that requests go to by no route: callers inside the cluster, or a load balancer."""
        self.changed: Callable[[], None] = lambda: None
        """Told whenever requests go other ways."""
        self._known: dict[str, Object] = {}
        """Routes as it has read them."""
        self._comes: dict[Kind, float] = {}
        """When the last that was heard of a kind is applied: what is heard later is never applied sooner."""

    def _told(self, kind: Kind, type_: str, obj: Object) -> None:
        loop = asyncio.get_running_loop()
        if kind in ROUTES:
            loop.call_later(self.reads, self._known.__setitem__, _called(obj), obj)
            if type_ != "DELETED" and kind in GATEWAY_ROUTES:
                loop.call_later(self.reads, self._read, kind, obj)
            self._in_turn(kind, self.reads + self.applies, self._apply, type_, obj)
        elif kind == ENDPOINT_SLICES:
            self._in_turn(kind, self.applies, self._resolve, type_, obj)

    def _in_turn(self, kind: Kind, lag: float, apply: Callable[[str, Object], None], type_: str, obj: Object) -> None:
        loop = asyncio.get_running_loop()
        self._comes[kind] = max(self._comes.get(kind, 0.0) + TICK, loop.time() + lag)
        loop.call_at(self._comes[kind], apply, type_, obj)

    def _read(self, kind: Kind, route: Object) -> None:
        meta = route["metadata"]
        now = self.cluster.find(kind, meta["namespace"], meta["name"])
        if now is None:
            return
        conditions = [
            {"type": type_, "status": "True", "observedGeneration": meta["generation"], "reason": type_}
            for type_ in ("Accepted", "ResolvedRefs")
        ]
        parent = {"controllerName": CONTROLLER, "parentRef": {"name": "gateway"}, "conditions": conditions}
        said = now.get("status", {}).get("parents", ({"conditions": ({"observedGeneration": 0},)},))
        if said[0]["conditions"][0]["observedGeneration"] < meta["generation"]:
            self.patch(kind, now, {"status": {"parents": [parent]}}, "status")

    def _apply(self, type_: str, route: Object) -> None:
        if self.stuck or _superseded(route, self._known.get(_called(route))):
            return
        if type_ == "DELETED":
            self.served.pop(_called(route), None)
        else:
            self.served[_called(route)] = route
        self.changed()

    def _resolve(self, type_: str, slice_: Object) -> None:
        if type_ != "DELETED":
            self._slices[slice_["metadata"]["name"]] = _behind(slice_)
        elif not (self.stuck or self.begins):
            self._slices.pop(slice_["metadata"]["name"], None)
        self.changed()

    def recover(self) -> None:
        """It is started anew: it reads all that there is, and goes by it from one moment on."""
        self.stuck, self.answers, self.down, self.reads, self.applies = False, True, False, READS, APPLIES
        self.begins = True
        loop = asyncio.get_running_loop()
        for kind in GATEWAY_ROUTES:
            for route in self.cluster.all(kind):
                loop.call_later(self.reads, self._read, kind, route)
        moment = max(loop.time() + self.reads + self.applies, *self._comes.values()) + TICK
        self._comes = dict.fromkeys(self.kinds, moment)
        loop.call_at(moment, self._begin)

    def _begin(self) -> None:
        self.begins = False
        if self.stuck:
            return
        self.served = {_called(route): route for kind in ROUTES for route in self.cluster.all(kind)}
        self._slices = {each["metadata"]["name"]: _behind(each) for each in self.cluster.all(ENDPOINT_SLICES)}
        self.changed()

    @property
    def endpoints(self) -> dict[str, frozenset[str]]:
        """Pods behind Services, as the data plane has them."""
        found: dict[str, frozenset[str]] = {}
        for service, names in self._slices.values():
            found[service] = found.get(service, frozenset()) | names
        return found

    async def serving(self, route: Json) -> Serving | None:
        """As the DataPlane of adapters/routers."""
        if not self._asked():
            return None
        served = self.served.get(_called(route))
        by = served["spec"] if served else {}
        listed = {ref["name"] for rule in by.get("rules", ()) for ref in rule.get("backendRefs", ())}
        servers = {
            service: self._addresses(pods, route) for service, pods in self.endpoints.items() if service in listed
        }
        return Serving("" if by == route["spec"] else "other weights are served still", servers)

    def _addresses(self, pods: frozenset[str], route: Json) -> frozenset[str]:
        found = (self.cluster.find(PODS, route["metadata"]["namespace"], name) for name in pods)
        return frozenset(address(pod) for pod in found if pod)

    def series(self, routes: Sequence[Json], backends: Backends) -> RouterSeries:
        """As the DataPlane of adapters/routers."""
        return RouterSeries(
            requests="router_requests_total",
            code_label="code",
            bucket="router_duration_seconds_bucket",
            label="service",
            stable=backends.stable,
            candidate=backends.canary,
        )

    async def ingress(self, main: Json, backends: Backends, weight: int | None) -> Serving | None:
        """As the DataPlane of Ingresses."""
        return read_ingress(self._listing(main), main, backends, weight) if self._asked() else None

    def ingress_series(self, main: Json, backends: Backends) -> RouterSeries:
        """The same."""
        return replace(self.series([main], backends), stable=backends.service)

    async def traefik_service(self, obj: Json, backends: Backends) -> Serving | None:
        """As the DataPlane of TraefikServices."""
        return read_traefik_service(self._listing(obj), obj, backends) if self._asked() else None

    def traefik_series(self, objs: Sequence[Json], backends: Backends) -> RouterSeries:
        """The same."""
        return self.series(objs, backends)

    def _asked(self) -> bool:
        if self.down:
            raise Unavailable("the router does not answer")
        return self.answers

    def _listing(self, obj: Json) -> list[Json]:
        return traefik.listing(
            self.served, {service: self._addresses(pods, obj) for service, pods in self.endpoints.items()}
        )

    def install(self, namespace: str) -> None:
        """Its Gateway and GatewayClass."""
        self.cluster.create_as(
            "admin",
            GATEWAY_CLASSES,
            "",
            {
                "metadata": {"name": "fake"},
                "spec": {"controllerName": CONTROLLER},
                "status": {"supportedFeatures": [{"name": name} for name in sorted(sticky.FEATURES)]},
            },
        )
        self.cluster.create_as(
            "admin",
            GATEWAYS,
            namespace,
            {
                "metadata": {"name": "gateway"},
                "spec": {"gatewayClassName": "fake"},
            },
        )

    def shares(self) -> Iterator[tuple[str, dict[str, float]]]:
        """Rule by rule: which share of its requests goes to which Service."""
        if self.unrouted:
            yield f"Service/{self.unrouted}", {self.unrouted: 1.0}
        for name, route in self.served.items():
            if route["kind"] not in {kind.name for kind in GATEWAY_ROUTES}:
                yield from traefik.shares(name, route, self.served, self.endpoints)
                continue
            for index, rule in enumerate(route["spec"].get("rules", ())):
                if dark.is_dark(rule):
                    continue  # whoever asks for the candidate gets it
                refs = rule.get("backendRefs", ())
                whole = sum(ref.get("weight", 1) for ref in refs)
                found: dict[str, float] = {}
                for ref in refs:
                    if ref.get("weight", 1) and whole:
                        found[ref["name"]] = found.get(ref["name"], 0) + ref.get("weight", 1) / whole
                yield f"{name}[{index}]", found


def _behind(slice_: Object) -> tuple[str, frozenset[str]]:
    """The Service of an EndpointSlice, and its pods that are ready."""
    names = (e["targetRef"]["name"] for e in slice_.get("endpoints", ()) if e["conditions"]["ready"])
    return slice_["metadata"]["labels"]["kubernetes.io/service-name"], frozenset(names)


def _superseded(route: Object, known: Object | None) -> bool:
    """What has been read since, if it says something else, takes the place of what waits to be applied."""
    if known is None or int(route["metadata"]["resourceVersion"]) >= int(known["metadata"]["resourceVersion"]):
        return False
    said, since = ((one["spec"], one["metadata"].get("annotations")) for one in (route, known))
    return said != since


def _called(route: Object) -> str:
    return f"{route['kind']}/{route['metadata']['name']}"
