"""The API server as seen from a Pod, without the official client: for who has little memory and needs little of it.

The official client takes 11 MB as it is imported, for models that we leave aside anyway; that is a tenth of what a flag
gateway may have. What it does for us within a Pod is here: the account's token, which changes every hour, and its CA.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tidegate import __version__

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_FOR = 60.0
"""Seconds before the token is read again: the kubelet writes another one long before the old one ends."""


def in_pod() -> bool:
    """Whether there is an account, and no other cluster is named."""
    return "KUBECONFIG" not in os.environ and (ACCOUNT / "token").exists()


@dataclass(frozen=True)
class Answer:
    """As the official client has it."""

    response: aiohttp.ClientResponse

    @property
    def status(self) -> int:
        """The code."""
        return self.response.status

    @property
    def headers(self) -> MutableMapping[str, str]:
        """Those of the answer."""
        return dict(self.response.headers)

    async def read(self) -> bytes:
        """The whole body."""
        return await self.response.read()


@dataclass(frozen=True)
class Place:
    """Where the API server is."""

    host: str


class PodClient:
    """What ``KubeCluster`` needs of a client."""

    def __init__(self, account: Path = ACCOUNT) -> None:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        self.configuration = Place(f"https://{f'[{host}]' if ':' in host else host}:{port}")
        self.user_agent = f"tidegate/{__version__}"
        self._account, self._token, self._read = account, "", 0.0
        tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls))

    async def close(self) -> None:
        """Give back the connections."""
        await self._session.close()

    async def update_params_for_auth(self, headers: dict[str, str], *_: object) -> None:
        """Add the account's token."""
        now = time.monotonic()
        if not self._token or now - self._read > TOKEN_FOR:
            self._token, self._read = (self._account / "token").read_text(encoding="utf-8").strip(), now
        headers["Authorization"] = f"Bearer {self._token}"

    async def call_api(
        self,
        method: str,
        url: str,
        header_params: dict[str, str],
        body: object = None,
        *,
        _request_timeout: aiohttp.ClientTimeout,
    ) -> Answer:
        """Send a request."""
        return Answer(
            await self._session.request(method, url, headers=header_params, json=body, timeout=_request_timeout)
        )
