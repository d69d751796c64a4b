"""Traefik: its API tells which weights it serves by, its metrics count per Service.

What it makes of each kind of object has names of its own: of Gateway API routes, of Ingresses with the annotations of
ingress-nginx, of its own TraefikServices.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import aiohttp
from yarl import URL

from tidegate.adapters.routers.serving import Serving
from tidegate.core import ingresses, traefikservices
from tidegate.core.counters import RouterSeries
from tidegate.core.observed import Backends
from tidegate.ports.cluster import ENDPOINT_SLICES, Cluster

Json = dict[str, Any]

TIMEOUT = aiohttp.ClientTimeout(total=2)
PER_PAGE = 1000


class Traefik:
    """``api`` is NAMESPACE/SERVICE:PORT of Traefik's API; without it Traefik cannot be asked."""

    controller = "traefik.io/gateway-controller"

    def __init__(self, cluster: Cluster, api: str) -> None:
        self._cluster, self._api = cluster, api
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Give back the connections."""
        if self._session:
            await self._session.close()

    async def serving(self, route: Json) -> Serving | None:
        """What every replica serves a route by."""
        return await self._all(_prefix(route), lambda services: read_route(services, route))

    def series(self, routes: Sequence[Json], backends: Backends) -> RouterSeries:
        """Series are named after route and Service; rule, match hash and place of the backend are left open."""
        names = "|".join(_prefix(route) for route in routes)

        def of(service: str) -> str:
            backend = f"svc-{_normal(backends.namespace)}-{_normal(service)}-[0-9]+"
            return f"({names})-gw-.+-{backend}@kubernetesgateway"

        return counted(of(backends.stable), of(backends.canary))

    async def ingress(self, main: Json, backends: Backends, weight: int | None) -> Serving | None:
        """What every replica serves an Ingress by; None where it is another controller's."""
        search = _normal(f"{backends.namespace}-{main['metadata']['name']}")
        return await self._all(search, lambda services: read_ingress(services, main, backends, weight))

    def ingress_series(self, main: Json, backends: Backends) -> RouterSeries:
        """Named after Ingress, the user's Service and port; the candidate's are like stable's, with ``-canary``."""
        names = "|".join(sorted(_primaries(main, backends)))
        return counted(f"({names})@{NGINX}", f"({names})-canary@{NGINX}")

    async def traefik_service(self, obj: Json, backends: Backends) -> Serving | None:
        """What every replica serves a TraefikService by."""
        search = _normal(str(obj["metadata"]["namespace"]))  # as its Services' names begin, and its own
        return await self._all(search, lambda services: read_traefik_service(services, obj, backends))

    def traefik_series(self, objs: Sequence[Json], backends: Backends) -> RouterSeries:
        """Series are named after Service and port, whoever lists it."""

        def of(service: str) -> str:
            ports = sorted({_child({**entry, "name": service}, obj) for obj in objs for entry in _mine(obj, backends)})
            return f"({'|'.join(ports)})@{CRD}"

        return counted(of(backends.stable), of(backends.canary))

    async def _all(self, search: str, read: Callable[[list[Json]], Serving | None]) -> Serving | None:
        """What every replica serves by: the first that lags behind speaks for all. None where none knows of it."""
        if not self._api:
            return None
        addresses = await self._replicas()
        if not addresses:
            return Serving(f"no replica of {self._api} is ready to be asked which weights it serves by", {})
        asked = await asyncio.gather(*(self._replica(address, search, read) for address in addresses))
        told = [serving for serving in asked if serving]
        if not told:
            return None
        behind = next((serving for serving in told if serving.waiting), None)
        agreed = len(told) == len(asked) and all(serving.servers == told[0].servers for serving in told)
        return behind or (told[0] if agreed else Serving("replicas of Traefik know different endpoints", {}))

    async def _replicas(self) -> list[str]:
        where, _, port = self._api.rpartition(":")
        namespace, _, service = where.partition("/")
        slices = await self._cluster.list(ENDPOINT_SLICES, namespace, f"kubernetes.io/service-name={service}")
        return [
            f"{address}:{port}"
            for slice_ in slices
            for endpoint in slice_.get("endpoints") or ()
            if endpoint.get("conditions", {}).get("ready")
            for address in endpoint["addresses"]
        ]

    async def _replica(self, address: str, search: str, read: Callable[[list[Json]], Serving | None]) -> Serving | None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        query = {"search": search, "per_page": str(PER_PAGE)}
        try:
            async with self._session.get(f"http://{address}/api/http/services", params=query) as response:
                response.raise_for_status()
                services: list[Json] = await response.json()
        except (TimeoutError, aiohttp.ClientError) as error:
            return Serving(f"Traefik at {address} could not be asked: {type(error).__name__}", {})
        serving = read(services)
        if serving and serving.waiting:
            return replace(serving, waiting=f"Traefik at {address} {serving.waiting}")
        return serving


def counted(stable: str, candidate: str) -> RouterSeries:
    """Traefik's metrics of its services whose names are like these."""
    return RouterSeries(
        requests="traefik_service_requests_total",
        code_label="code",
        bucket="traefik_service_request_duration_seconds_bucket",
        label="service",
        stable=stable,
        candidate=candidate,
    )


def _normal(name: str) -> str:
    """A name as Traefik writes it into its own: letters and digits stay, all between them is one dash."""
    return "-".join(re.findall(r"[^\W_]+", name))


def _addresses(service: Json) -> frozenset[str]:
    """Where a service of Traefik's sends new requests to. Pods that are leaving stay listed, for those they have."""
    servers = service.get("loadBalancer", {}).get("servers") or ()
    return frozenset(str(URL(server["url"]).host) for server in servers if not server.get("fenced"))


# Routes of the Gateway API.


def _prefix(route: Json) -> str:
    """How the names of all that Traefik makes of a route begin."""
    meta = route["metadata"]
    return _normal(f"{route['kind'].lower()}-{meta['namespace']}-{meta['name']}")


Weights = dict[int, list[tuple[str, int]]]
"""Service and weight of each backend, sorted, by the index of the rule."""


def read_route(services: Sequence[Json], route: Json) -> Serving:
    """What a listing of Traefik's /api/http/services says of a route."""
    weights, servers = read_services(services, route)
    for index, rule in enumerate(_rules(route)):
        wanted = sorted((_normal(ref["name"]), int(ref.get("weight", 1))) for ref in rule.get("backendRefs", ()))
        if wanted and weights.get(index) != wanted:
            return Serving(f"serves rule {index} by other weights still", servers)
    return Serving("", servers)


def read_services(services: Sequence[Json], route: Json) -> tuple[Weights, dict[str, frozenset[str]]]:
    """The same as weights, and addresses by Service."""
    prefix, namespace = _prefix(route), _normal(route["metadata"]["namespace"])
    rule = re.compile(rf"{prefix}-gw-.+-(\d+)-[0-9a-f]+-wrr@kubernetesgateway")
    backend = re.compile(rf"{prefix}-gw-.+-svc-{namespace}-(.+)-\d+(@kubernetesgateway)?")
    names = {_normal(ref["name"]): ref["name"] for rule_ in _rules(route) for ref in rule_.get("backendRefs", ())}
    weights: Weights = {}
    servers: dict[str, frozenset[str]] = {}
    for service in services:
        named, behind = rule.fullmatch(service.get("name", "")), backend.fullmatch(service.get("name", ""))
        if named:
            children = service.get("weighted", {}).get("services", ())
            weights[int(named[1])] = sorted(
                (match[1], int(child.get("weight", 1)))
                for child in children
                if (match := backend.fullmatch(child["name"]))
            )
        elif behind:
            servers[names.get(behind[1], str(behind[1]))] = _addresses(service)
    return weights, servers


def _rules(route: Json) -> list[Json]:
    return list(route["spec"].get("rules", ()))


# Ingresses with the annotations of ingress-nginx.

NGINX = "kubernetesingressnginx"


def _primaries(main: Json, backends: Backends) -> set[str]:
    """Traefik's names of what an Ingress leads to: one for each port of the user's Service."""
    stem = f"{backends.namespace}-{main['metadata']['name']}-{backends.service}"
    return {_normal(f"{stem}-{path.port}") for path in ingresses.paths(main, backends.service)}


def read_ingress(services: Sequence[Json], main: Json, backends: Backends, weight: int | None) -> Serving | None:
    """What a listing says of an Ingress; None where it has none of it.

    A canary without endpoints is none at all: then all goes to stable. What the user's Service has for endpoints is
    told as that of stable as well, which it is narrowed to: requests to stable go by it.
    """
    listed = {service.get("name", ""): service for service in services}
    primaries = sorted(name for name in _primaries(main, backends) if f"{name}@{NGINX}" in listed)
    if not primaries:
        return None
    stable = {_addresses(listed[f"{name}@{NGINX}"]) for name in primaries}
    candidate = {_addresses(listed.get(f"{name}-canary@{NGINX}", {})) for name in primaries}
    if len(stable) > 1 or len(candidate) > 1:
        return Serving("knows different endpoints for each port", {})
    ours = stable.copy().pop()
    servers = {backends.service: ours, backends.stable: ours, backends.canary: candidate.pop()}
    for name in primaries:
        weighted = listed.get(f"{name}-wrr@{NGINX}", {}).get("weighted", {}).get("services", ())
        served = {child["name"].partition("@")[0]: int(child.get("weight", 1)) for child in weighted}
        if served.get(f"{name}-canary", 0) != max(weight or 0, 0) or (weight is None and weighted):
            return Serving("serves by another weight still", servers)
    return Serving("", servers)


# TraefikServices.

CRD = "kubernetescrd"


def _child(entry: Json, obj: Json) -> str:
    """Traefik's name of a Service or TraefikService in a list."""
    where = entry.get("namespace") or obj["metadata"]["namespace"]
    port = entry.get("port") if entry.get("kind", "Service") == "Service" else None
    return _normal(f"{where}-{entry['name']}" + (f"-{port}" if port else ""))


def _mine(obj: Json, backends: Backends) -> list[Json]:
    """The entries of the user's Service, or of the two of its release."""
    ours = {backends.service, *backends.two}
    return [entry for entry in traefikservices.entries(obj) if traefikservices.points(entry, obj, ours)]


def read_traefik_service(services: Sequence[Json], obj: Json, backends: Backends) -> Serving:
    """What a listing says of a TraefikService. Of a Service that it does not list Traefik knows no endpoints."""
    listed = {service.get("name", ""): service for service in services}
    servers: dict[str, frozenset[str] | None] = dict.fromkeys((backends.service, *backends.two))
    for entry in _mine(obj, backends):
        servers[entry["name"]] = _addresses(listed.get(f"{_child(entry, obj)}@{CRD}", {}))
    meta = obj["metadata"]
    name = _normal(f"{meta['namespace']}-{meta['name']}") + f"@{CRD}"
    if name not in listed:
        told = f"serves no {name}: a Service that it lists has no endpoints, perhaps"
        return Serving(told, servers, dropped=True)
    children = listed[name].get("weighted", {}).get("services", ())
    served = sorted((child["name"].partition("@")[0], int(child.get("weight", 1))) for child in children)
    wanted = sorted((_child(entry, obj), int(entry.get("weight", 1))) for entry in traefikservices.entries(obj))
    return Serving("" if served == wanted else "serves by other weights still", servers)
