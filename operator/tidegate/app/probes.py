"""What the kubelet and Prometheus ask: does the loop turn, has it seen the cluster, what does it count."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from tidegate.engine.gate import GateCheck
from tidegate.engine.meters import Meters
from tidegate.engine.operator import Operator
from tidegate.ports.clock import Clock

STALE = 15.0
"""Seconds without a turn of the loop that are too many. It turns every second."""


class Probes:
    """An HTTP server for /healthz, /readyz and /metrics."""

    def __init__(
        self,
        operator: Operator,
        gate: GateCheck,
        meters: Meters,
        clock: Clock,
        webhook: Callable[[], bool] | None = None,
    ) -> None:
        self._operator, self._gate, self._meters, self._clock = operator, gate, meters, clock
        self._webhook = webhook
        """Whether the API server may call us, where it is to."""
        app = web.Application()
        app.add_routes(
            [web.get("/healthz", self._health), web.get("/readyz", self._ready), web.get("/metrics", self._metrics)]
        )
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self, listen: str) -> None:
        """Listen on HOST:PORT."""
        host, _, port = listen.rpartition(":")
        await self._runner.setup()
        await web.TCPSite(self._runner, host or None, int(port)).start()

    async def stop(self) -> None:
        """Close."""
        await self._runner.cleanup()

    async def _health(self, _: web.Request) -> web.Response:
        age = self._clock.monotonic() - self._operator.beat
        return web.json_response({"beat_age_seconds": round(age, 1)}, status=200 if age < STALE else 503)

    async def _ready(self, _: web.Request) -> web.Response:
        """An operator that stands by for another installation is not one that a cluster should count on."""
        ready = self._operator.audited
        foreign = await self._gate.foreign() if ready else None
        said: dict[str, object] = {"lists_taken": ready}
        if self._webhook:
            said["webhook_known"] = known = self._webhook()
            ready = ready and known
        if foreign:
            said[foreign.reason] = foreign.message
        return web.json_response(said, status=200 if ready and not foreign else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._meters.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
