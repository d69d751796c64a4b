"""The gate by webhook: the API server asks over HTTPS what to make of a write, and is answered by core/clamp.py."""

from __future__ import annotations

import json
import logging
import time

from aiohttp import web

from tidegate.adapters.certificate import Certificate, self_signed
from tidegate.core import clamp
from tidegate.engine.bundle import Bundle
from tidegate.engine.meters import Meters
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import ClusterError, Conflict

log = logging.getLogger("tidegate.webhook")

LOOK = 1.0
"""Seconds between looks at the configuration; it is watched, so a look costs nothing."""
SETTLE = 2.0
"""Seconds that API servers have to hear of a certificate before calls may come to it."""
LARGEST = 16 * 1024 * 1024
"""Bytes of a question: two objects, each of a size that etcd takes."""


class Webhook:
    """Answers, and keeps its certificate where the API server looks for it. Every replica does, leading or not."""

    def __init__(self, bundle: Bundle, identity: str, meters: Meters, clock: Clock) -> None:
        self._bundle, self._identity, self._meters, self._clock = bundle, identity, meters, clock
        self._hosts: frozenset[str] = frozenset()
        self._certificate: Certificate | None = None
        self._runner: web.AppRunner | None = None
        self._since: float | None = None
        """When our certificate was first seen to stand there (monotonic seconds)."""

    def ready(self) -> bool:
        """Whether calls may come to this replica."""
        return self._since is not None and self._clock.monotonic() - self._since >= SETTLE

    async def run(self, listen: str) -> None:
        """Until cancelled. What cannot be read or written now is tried again."""
        said = ""
        while True:
            try:
                await self._look(listen)
                said = ""
            except Conflict:
                pass  # another replica was quicker: look again
            except ClusterError as error:
                if str(error) != said:
                    log.warning("the certificate is not where the API server looks for it: %s", error)
                said = str(error)
            await self._clock.sleep(LOOK)

    async def stop(self) -> None:
        """Close."""
        if self._runner:
            await self._runner.cleanup()

    async def _look(self, listen: str) -> None:
        hosts = await self._bundle.hosts()
        if hosts and hosts != self._hosts:
            await self._serve(hosts, listen)
        if self._certificate and await self._bundle.ensure(self._certificate.public) and self._since is None:
            self._since = self._clock.monotonic()

    async def _serve(self, hosts: frozenset[str], listen: str) -> None:
        """Listen under a certificate for these hosts, and no longer under one for others."""
        await self.stop()
        self._hosts, self._since, self._certificate = hosts, None, self_signed(hosts)
        app = web.Application(client_max_size=LARGEST)
        app.add_routes([web.post("/clamp", self._clamp)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        host, _, port = listen.rpartition(":")
        await web.TCPSite(self._runner, host or None, int(port), ssl_context=self._certificate.context()).start()
        log.info("answers the API server as %s", ", ".join(sorted(hosts)))

    async def _clamp(self, request: web.Request) -> web.Response:
        began = time.perf_counter()
        try:
            review = json.loads(await request.read())
            answer = clamp.answer(review, self._identity)
            kind = str(review["request"]["kind"]["kind"])
        except (ValueError, KeyError, TypeError) as error:
            # The API server then refuses the write: nothing is let through unjudged.
            log.warning("a question that cannot be answered: %r", error)
            raise web.HTTPBadRequest(text=repr(error)) from error
        self._meters.reviewed(kind, time.perf_counter() - began)
        return web.json_response(answer)
