"""Where the parts of the flag gateway meet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Collection, Coroutine
from pathlib import Path
from typing import Any

from tidegate import __version__
from tidegate.adapters.clock import SystemClock
from tidegate.adapters.kubernetes import KubeCluster, connect
from tidegate.adapters.listwatch import ListWatch
from tidegate.adapters.pod import PodClient, in_pod
from tidegate.app.flag_probes import FlagProbes
from tidegate.app.flag_settings import FlagSettings
from tidegate.flags import snapshot
from tidegate.flags.access import Access, Open
from tidegate.flags.catalog import Catalog
from tidegate.flags.changes import Changes
from tidegate.flags.connections import Connections
from tidegate.flags.cors import Cors
from tidegate.flags.descriptors import raise_limit, shares
from tidegate.flags.events import Events
from tidegate.flags.freshness import Freshness
from tidegate.flags.grpc_sync import GrpcSync
from tidegate.flags.http import Gateway
from tidegate.flags.meters import Meters
from tidegate.flags.ofrep import PATH, STREAM, Ofrep
from tidegate.flags.rates import Rates
from tidegate.flags.server import HttpServer, bind
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import FEATURE_FLAGS, Object

log = logging.getLogger("tidegate.flags")

GATHER = 0.02
"""Seconds in which changes of flags are gathered before a set is made anew."""
KEEPING = 5.0
"""Seconds between two snapshots, at least."""
CONFIRMING = 60.0
"""Seconds after which a snapshot is confirmed, or tried again: how old it is says when it was right, not written."""
LOOKING = 10.0
"""Seconds between two looks at the tokens: the kubelet takes a minute to write them."""


class Parts:
    """All parts but the one that watches the cluster."""

    def __init__(self, settings: FlagSettings, clock: Clock, files: int) -> None:
        loop = asyncio.get_running_loop()
        self.settings, self.clock = settings, clock
        self.catalog = Catalog(lambda refresh: loop.call_later(GATHER, refresh))
        self.changes = Changes()
        self.catalog.listen(self.changes.told)
        self.freshness = Freshness(clock)
        self.meters = Meters(self.catalog, self.freshness)
        self.access = Open(self.catalog.sets) if settings.open else Access(Path(settings.tokens))
        self.events = Events(self.catalog, self.changes, self.access, settings.streams)
        self.gateway = Gateway(
            self.catalog,
            Ofrep(self.catalog, self.changes),
            self.events,
            self.access,
            Cors(settings.cors_origins.split(",")),
            Rates(settings.rate),
            self.freshness,
            self.meters,
            clock,
            settings.proxies,
        )
        http, grpc = shares(files, settings.connections, settings.streams if settings.sync_listen else 0)
        if http < settings.connections:
            log.warning("%d files may be open: %d connections over HTTP are taken, %d over gRPC", files, http, grpc)
        self.sync = GrpcSync(self.catalog, self.changes, self.access, self.freshness, settings.streams, grpc)
        self.meters.gauges = {"sse": lambda: self.events.listening, "grpc": lambda: self.sync.listening}
        connections = Connections(
            http,
            settings.request_bytes,
            PATH,
            self.gateway.admit,
            self.gateway.at_once,
            STREAM,
            self.meters.answered,
        )
        self.http = HttpServer(self.gateway, connections)
        self.probes = FlagProbes(self.gateway, self.freshness, self.meters)

    async def serve(self, stop: asyncio.Event, beside: Collection[Coroutine[Any, Any, None]]) -> int:
        """Until told to stop; the exit code."""
        settings = self.settings
        serving = asyncio.create_task(self.http.run(bind(settings.listen)), name="http")
        if settings.sync_listen:
            await self.sync.start(settings.sync_listen)
        await self.probes.start(settings.probe_listen)
        others = {asyncio.create_task(one) for one in (self._look_at_tokens(), *beside)}
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({serving, stopping, *others}, return_when=asyncio.FIRST_COMPLETED)
        failures = [task for task in done if task is not stopping]
        for task in failures:
            log.error("%r ended by itself", task, exc_info=task.exception())
        if not failures:
            self.gateway.leaving = True
            await asyncio.sleep(settings.drain)
        for task in (stopping, *others):
            task.cancel()
        self.gateway.leaving = True
        self.changes.close()
        self.http.stop()
        await self.sync.stop(1.0)
        await asyncio.gather(serving, *others, return_exceptions=True)
        await self.probes.stop()
        log.info("stopped")
        return 1 if failures else 0

    async def _look_at_tokens(self) -> None:
        while True:
            await self.clock.sleep(LOOKING)
            self.access.look()


class Told:
    """What the watch tells, to whom it concerns."""

    def __init__(self, catalog: Catalog, freshness: Freshness) -> None:
        self._catalog = catalog
        self.put, self.remove, self.keep_only = catalog.put, catalog.remove, catalog.keep_only
        self._freshness, self.broken = freshness, freshness.broken

    def confirmed(self) -> None:
        """What was told before any of it was served is served from now on."""
        if not self._freshness.known:
            self._catalog.refresh()
        self._freshness.confirmed()


async def run(settings: FlagSettings) -> int:
    """Run the gateway until SIGTERM or SIGINT; its exit code."""
    stop = asyncio.Event()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_, stop.set)
    parts = Parts(settings, SystemClock(), raise_limit())
    beside: list[Coroutine[Any, Any, None]] = []
    if settings.snapshot:
        load(parts, Path(settings.snapshot))
        beside.append(keep(parts, Path(settings.snapshot)))
    kube = KubeCluster(PodClient() if in_pod() else await connect(), count=parts.meters.requested)
    told = Told(parts.catalog, parts.freshness)
    watching = ListWatch(kube, FEATURE_FLAGS, settings.namespace, told, parts.clock)
    log.info("tidegate %s serves flags", __version__)
    try:
        return await parts.serve(stop, [watching.run(), *beside])
    finally:
        await kube.close()


def load(parts: Parts, folder: Path) -> None:
    """Begin with the last known good flags."""
    found = snapshot.read(folder)
    if found is None:
        return
    objects, at = found
    for obj in objects:
        parts.catalog.put(obj)
    parts.catalog.refresh()
    age = (parts.clock.now() - at).total_seconds()
    parts.freshness.loaded(age)
    log.info("%d flags of a snapshot that is %.0f s old", len(objects), age)


async def keep(parts: Parts, folder: Path) -> None:
    """Write what has changed, until cancelled. A folder that cannot be written to is told of, and no more than that."""
    changed = asyncio.Event()
    parts.catalog.listen(lambda _: changed.set())
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONFIRMING):
                await changed.wait()
        pause = KEEPING
        try:
            if not changed.is_set():
                if parts.freshness.standing:
                    snapshot.confirm(folder, parts.clock.now())
            elif parts.freshness.known:
                changed.clear()
                objects: list[Object] = list(parts.catalog.objects())
                most = parts.settings.snapshot_bytes
                rest = await asyncio.to_thread(snapshot.write, folder, objects, parts.clock.now(), most)
                if rest:
                    told = "snapshot: %d of %d flags do not fit into --snapshot-bytes (%d), and are left out of it"
                    log.warning(told, rest, len(objects), most)
        except OSError as error:
            log.warning("snapshot: %s", error)
            changed.set()
            pause = CONFIRMING
        await parts.clock.sleep(pause)
