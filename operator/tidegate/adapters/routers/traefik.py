"""Traefik behind the Gateway API: its API tells which weights it serves by, its metrics count per Service."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import aiohttp
from yarl import URL

from tidegate.adapters.routers.serving import Serving
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
        """What every replica serves by: the first that lags behind the route speaks for all."""
        if not self._api:
            return None
        addresses = await self._replicas()
        if not addresses:
            return Serving(f"no replica of {self._api} is ready to be asked which weights it serves by", {})
        told = await asyncio.gather(*(self._replica(address, route) for address in addresses))
        behind = next((serving for serving in told if serving.waiting), None)
        agreed = all(serving.servers == told[0].servers for serving in told)
        return behind or (told[0] if agreed else Serving("replicas of Traefik know different endpoints", {}))

    def series(self, routes: Sequence[Json], backends: Backends) -> RouterSeries:
        """Series are named after route and Service; rule, match hash and place of the backend are left open."""
        names = "|".join(_prefix(route) for route in routes)

        def of(service: str) -> str:
            backend = f"svc-{_normal(backends.namespace)}-{_normal(service)}-[0-9]+"
            return f"({names})-gw-.+-{backend}@kubernetesgateway"

        return counted(of(backends.stable), of(backends.canary))

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

    async def _replica(self, address: str, route: Json) -> Serving:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        query = {"search": _prefix(route), "per_page": str(PER_PAGE)}
        try:
            async with self._session.get(f"http://{address}/api/http/services", params=query) as response:
                response.raise_for_status()
                services: list[Json] = await response.json()
        except (TimeoutError, aiohttp.ClientError) as error:
            return Serving(f"Traefik at {address} could not be asked: {type(error).__name__}", {})
        weights, servers = read_services(services, route)
        for index, rule in enumerate(_rules(route)):
            wanted = sorted((_normal(ref["name"]), int(ref.get("weight", 1))) for ref in rule.get("backendRefs", ()))
            if wanted and weights.get(index) != wanted:
                return Serving(f"Traefik at {address} serves rule {index} by other weights still", servers)
        return Serving("", servers)


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


def _prefix(route: Json) -> str:
    """How the names of all that Traefik makes of a route begin."""
    meta = route["metadata"]
    return _normal(f"{route['kind'].lower()}-{meta['namespace']}-{meta['name']}")


Weights = dict[int, list[tuple[str, int]]]
"""Service and weight of each backend, sorted, by the index of the rule."""


def read_services(services: Sequence[Json], route: Json) -> tuple[Weights, dict[str, frozenset[str]]]:
    """What a listing of Traefik's /api/http/services says of a route: weights, and addresses by Service."""
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
            urls = [server["url"] for server in service.get("loadBalancer", {}).get("servers") or ()]
            servers[names.get(behind[1], str(behind[1]))] = frozenset(str(URL(url).host) for url in urls)
    return weights, servers


def _rules(route: Json) -> list[Json]:
    return list(route["spec"].get("rules", ()))
