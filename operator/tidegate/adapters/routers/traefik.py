"""Traefik behind the Gateway API: its API tells which weights it serves by, its metrics count per Service."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import aiohttp

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

    async def serves(self, route: Json) -> str | None:
        """Whether every replica serves by the route's weights; the first that does not is named."""
        if not self._api:
            return None
        addresses = await self._replicas()
        if not addresses:
            return f"no replica of {self._api} is ready to be asked which weights it serves by"
        told = await asyncio.gather(*(self._replica(address, route) for address in addresses))
        return next((why for why in told if why), "")

    def series(self, routes: Sequence[Json], backends: Backends) -> RouterSeries:
        """Series are named after route and Service; rule, match hash and place of the backend are left open."""
        names = "|".join(re.escape(route["metadata"]["name"]) for route in routes)
        namespace = re.escape(backends.namespace)

        def matcher(service: str) -> str:
            pattern = (
                f"httproute-{namespace}-({names})-gw-.+-svc-{namespace}-{re.escape(service)}-[0-9]+@kubernetesgateway"
            )
            return f'service=~"{pattern}"'.replace("\\", "\\\\")

        return RouterSeries(
            requests="traefik_service_requests_total",
            code_label="code",
            bucket="traefik_service_request_duration_seconds_bucket",
            stable=matcher(backends.stable),
            candidate=matcher(backends.canary),
        )

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

    async def _replica(self, address: str, route: Json) -> str:
        """Why this replica does not serve by the route yet; empty when it does."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        try:
            async with self._session.get(
                f"http://{address}/api/http/services",
                params={"search": route["metadata"]["name"], "per_page": PER_PAGE},
            ) as response:
                response.raise_for_status()
                services: list[Json] = await response.json()
        except (TimeoutError, aiohttp.ClientError) as error:
            return f"Traefik at {address} could not be asked: {type(error).__name__}"
        served = weights_served(services, route)
        for index, rule in enumerate(route["spec"].get("rules", ())):
            wanted = sorted((ref["name"], int(ref.get("weight", 1))) for ref in rule.get("backendRefs", ()))
            if wanted and served.get(index) != wanted:
                return f"Traefik at {address} serves rule {index} by other weights still"
        return ""


def weights_served(services: Sequence[Json], route: Json) -> dict[int, list[tuple[str, int]]]:
    """Service and weight of each backend, sorted, by rule; of a listing of Traefik's /api/http/services."""
    namespace, name = route["metadata"]["namespace"], route["metadata"]["name"]
    rule = re.compile(
        rf"httproute-{re.escape(namespace)}-{re.escape(name)}-gw-.+-(\d+)-[0-9a-f]+-wrr@kubernetesgateway"
    )
    backend = re.compile(rf".*-svc-{re.escape(namespace)}-(.+)-\d+(@kubernetesgateway)?")
    found: dict[int, list[tuple[str, int]]] = {}
    for service in services:
        named = rule.fullmatch(service.get("name", ""))
        if named is None:
            continue
        children = [
            (match[1], int(child.get("weight", 1)))
            for child in service.get("weighted", {}).get("services", ())
            if (match := backend.fullmatch(child["name"]))
        ]
        found[int(named[1])] = sorted(children)
    return found
