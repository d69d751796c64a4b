"""The certificates that the API server takes for ours: clientConfig.caBundle of the webhooks.

Each replica makes a certificate of its own when it starts and adds it there. So replicas need not share a key, none is
kept anywhere, and a restart needs nothing of the process before. Certificates of those that are gone are left behind,
and pushed out by newer ones; a replica that finds itself pushed out comes back.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from tidegate.engine.gate import WEBHOOK
from tidegate.ports.cluster import Cluster, NotFound, Object

KEPT = 8
"""Certificates in a bundle: those of two replicas, and of their next ones, several times over."""
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class Bundle:
    """Reads and writes the configuration of the webhooks. Raises ClusterError."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def hosts(self) -> frozenset[str]:
        """Names that the API server calls us by; none where there is no configuration."""
        return frozenset(host for webhook in _webhooks(await self._read()) if (host := _host(webhook)))

    async def ensure(self, certificate: str) -> bool:
        """Add a certificate where it is missing. Whether there is a place for it."""
        found = await self._read()
        changes = [
            {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": with_ours(bundle, certificate)}
            for index, webhook in enumerate(_webhooks(found))
            if not _has(bundle := webhook["clientConfig"].get("caBundle", ""), certificate)
        ]
        if found and changes:
            version = {"op": "test", "path": "/metadata/resourceVersion", "value": found["metadata"]["resourceVersion"]}
            kind, name = WEBHOOK.holder
            await self._cluster.patch(kind, "", name, [version, *changes], type_="json")
        return bool(_webhooks(found))

    async def _read(self) -> Object | None:
        kind, name = WEBHOOK.holder
        try:
            return await self._cluster.get(kind, "", name)
        except NotFound:
            return None


def with_ours(bundle: str, certificate: str) -> str:
    """A bundle (PEM in base64) with one more certificate, at the end, and without the oldest beyond those kept."""
    others = [pem for pem in _certificates(bundle) if pem != certificate.strip()]
    pems = [*others[-(KEPT - 1) :], certificate.strip()]
    return base64.b64encode(("\n".join(pems) + "\n").encode()).decode()


def _has(bundle: str, certificate: str) -> bool:
    return certificate.strip() in _certificates(bundle)


def _certificates(bundle: str) -> list[str]:
    return _PEM.findall(base64.b64decode(bundle).decode(errors="replace"))


def _webhooks(found: Object | None) -> Sequence[dict[str, Any]]:
    return (found or {}).get("webhooks") or []


def _host(webhook: dict[str, Any]) -> str:
    service, url = webhook["clientConfig"].get("service"), webhook["clientConfig"].get("url", "")
    return f"{service['name']}.{service['namespace']}.svc" if service else urlsplit(url).hostname or ""
