"""What the kubelet and Prometheus ask the flag gateway, on a port of its own, which is in no Service and asks for no
token. Whoever reaches the pod reads names of sets, flags and variants there, and how often they are asked for; no rule,
and nothing of a context.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from tidegate.flags.freshness import Freshness
from tidegate.flags.http import Gateway
from tidegate.flags.meters import Meters

MOST = 32
"""Connections. Where there are more the eldest ends: whoever holds many, one that asks is answered."""


class FlagProbes:
    """An HTTP server for /healthz, /readyz and /metrics. One that is asked answers, so the loop turns."""

    def __init__(self, gateway: Gateway, freshness: Freshness, meters: Meters) -> None:
        self._gateway, self._freshness, self._meters = gateway, freshness, meters
        app = web.Application()
        app.add_routes(
            [web.get("/healthz", self._health), web.get("/readyz", self._ready), web.get("/metrics", self._metrics)]
        )
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=30.0)
        self._listening: asyncio.Server | None = None

    async def start(self, listen: str) -> None:
        """Listen on HOST:PORT."""
        host, _, port = listen.rpartition(":")
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._protocol, host.strip("[]") or None, int(port))

    def _protocol(self) -> RequestHandler:
        server = self._runner.server
        assert server
        for eldest in server.connections[: max(0, len(server.connections) - MOST + 1)]:
            if eldest.transport:
                eldest.transport.abort()
        return server()

    async def stop(self) -> None:
        """Close."""
        if self._listening:
            self._listening.close()
        await self._runner.cleanup()

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({})

    async def _ready(self, _: web.Request) -> web.Response:
        """With flags of a snapshot as well: old answers are better than none. Their age is told."""
        ready = self._freshness.known and not self._gateway.leaving
        said = {"flags_known": self._freshness.known, "leaving": self._gateway.leaving, "age": self._freshness.age}
        return web.json_response(said, status=200 if ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._meters.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
