"""The only place where the parts meet."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from contextlib import AsyncExitStack

from tidegate import __version__
from tidegate.adapters.clock import SystemClock
from tidegate.adapters.kubernetes import KubeCluster, connect
from tidegate.adapters.prometheus import PrometheusSource
from tidegate.adapters.routers.gateway import GatewayRouter
from tidegate.adapters.routers.traefik import Traefik
from tidegate.adapters.watch import watch
from tidegate.app.probes import Probes
from tidegate.app.settings import Settings
from tidegate.engine.act import Actor
from tidegate.engine.events import Recorder
from tidegate.engine.gate import GateCheck
from tidegate.engine.meters import Meters
from tidegate.engine.observe import Observer
from tidegate.engine.operator import WATCHED, Operator
from tidegate.engine.reconcile import Reconciler
from tidegate.engine.store import Cached, Store

log = logging.getLogger("tidegate.app")


async def run(settings: Settings) -> int:
    """Run the operator until SIGTERM or SIGINT; its exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_, stop.set)
    async with AsyncExitStack() as stack:
        clock, meters = SystemClock(), Meters()
        kube = KubeCluster(
            await connect(),
            count=lambda verb, resource, code: meters.requests.labels(verb, resource, code).inc(),
        )
        stack.push_async_callback(kube.close)
        identity = await kube.identity()
        store = Store(WATCHED)
        cluster = Cached(kube, store)
        metrics = PrometheusSource(settings.prometheus, clock=clock)
        stack.push_async_callback(metrics.close)
        traefik = Traefik(cluster, settings.traefik_api)
        stack.push_async_callback(traefik.close)
        router = GatewayRouter(cluster, [traefik], clock)
        observer = Observer(cluster, router, metrics, GateCheck(cluster, identity), clock)
        recorder = Recorder(cluster, clock, socket.gethostname())
        reconciler = Reconciler(cluster, observer, Actor(cluster, router), recorder, meters, clock)
        operator = Operator(kube, store, reconciler, meters, clock, settings.namespace)
        probes = Probes(operator, meters, clock)
        await probes.start(settings.listen)
        stack.push_async_callback(probes.stop)
        log.info("tidegate %s runs as %s", __version__, identity)
        return await _until_stopped(operator, settings, stop)


async def _until_stopped(operator: Operator, settings: Settings, stop: asyncio.Event) -> int:
    """The loop and the watches, side by side; the first to end ends both.

    The loop is started first: on its way out Kopf cancels every task that is younger than its own.
    """
    loop_task = asyncio.create_task(operator.run(stop), name="operator")
    watch_task = asyncio.create_task(
        watch(WATCHED, operator.told, namespace=settings.namespace or None, stop=stop), name="watch"
    )
    # Kopf catches signals as well, and its watch then ends by itself.
    await asyncio.wait({loop_task, watch_task}, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    results = await asyncio.gather(loop_task, watch_task, return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    for failure in failures:
        log.error("ended by %r", failure, exc_info=failure)
    log.info("stopped")
    return 1 if failures else 0
