"""The only place where the parts meet."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import uuid
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from tidegate import __version__
from tidegate.adapters.clock import SystemClock
from tidegate.adapters.http import HttpProber
from tidegate.adapters.kubernetes import KubeCluster, connect
from tidegate.adapters.podmetrics import HttpPodReader
from tidegate.adapters.prometheus import PrometheusSource
from tidegate.adapters.routers import istio
from tidegate.adapters.routers.envoygateway import EnvoyGateway
from tidegate.adapters.routers.gateway import GatewayRouter
from tidegate.adapters.routers.nginx import IngressRouter
from tidegate.adapters.routers.several import Routers
from tidegate.adapters.routers.traefik import Traefik
from tidegate.adapters.routers.traefikservice import TraefikServiceRouter
from tidegate.adapters.watch import watch
from tidegate.app.probes import Probes
from tidegate.app.settings import Settings
from tidegate.engine.act import Actor
from tidegate.engine.again import Again
from tidegate.engine.asker import Asker
from tidegate.engine.bundle import Bundle
from tidegate.engine.calls import Calls
from tidegate.engine.checkups import Checkups
from tidegate.engine.events import Recorder
from tidegate.engine.flags import FlagReconciler
from tidegate.engine.gate import FORMS, WEBHOOK, GateCheck
from tidegate.engine.jobs import Jobs
from tidegate.engine.leader import Fenced, Leader
from tidegate.engine.meters import Meters
from tidegate.engine.observe import Observer
from tidegate.engine.operator import WATCHED, WATCHED_BY_WEBHOOK, Operator
from tidegate.engine.reconcile import Reconciler
from tidegate.engine.scrapes import Scrapes
from tidegate.engine.store import Cached, Store
from tidegate.engine.subject import Reconciles
from tidegate.engine.unwritten import Unwritten
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import FEATURE_FLAGS, RELEASES, Cluster, Kind, Watched

if TYPE_CHECKING:
    from tidegate.app.webhook import Webhook

log = logging.getLogger("tidegate.app")


async def run(settings: Settings) -> int:
    """Run the operator until SIGTERM or SIGINT; its exit code."""
    stop = asyncio.Event()
    _stop_on_signals(stop)
    async with AsyncExitStack() as stack:
        clock, meters = SystemClock(), Meters()
        kube = KubeCluster(await connect(), count=meters.requested)
        stack.push_async_callback(kube.close)
        identity = await kube.identity()
        form = FORMS[settings.gate]
        store = Store(WATCHED_BY_WEBHOOK if form is WEBHOOK else WATCHED)
        leader = Leader(kube, clock, settings.lease, f"{socket.gethostname()}_{uuid.uuid4()}")
        cluster = Cached(Fenced(kube, leader), store)
        metrics = PrometheusSource(settings.prometheus, access=settings.access, clock=clock)
        stack.push_async_callback(metrics.close)
        traefik = Traefik(cluster, settings.traefik_api)
        stack.push_async_callback(traefik.close)
        router = routers(cluster, traefik, clock)
        gate = GateCheck(cluster, identity, meters, clock, form)
        prober = HttpProber()
        stack.push_async_callback(prober.close)
        jobs, checkups, calls = Jobs(cluster, clock), Checkups(prober, clock), Calls(prober, clock)
        reader = HttpPodReader()
        stack.push_async_callback(reader.close)
        asker, scrapes, unwritten = Asker(metrics), Scrapes(reader, clock), Unwritten()
        observer = Observer(
            cluster, router, asker, gate, clock, checkups, jobs, calls, scrapes, unwritten, lambda: leader.term
        )
        recorder = Recorder(cluster, clock, socket.gethostname())
        actor = Actor(cluster, router, jobs)
        reconciler = Reconciler(cluster, gate, observer, actor, recorder, meters, clock, unwritten)
        flags = FlagReconciler(cluster, gate, asker, recorder, meters, clock)
        reconcilers: dict[Kind, Reconciles] = {**dict.fromkeys(RELEASES, reconciler), FEATURE_FLAGS: flags}
        operator = Operator(kube, store, reconcilers, meters, clock, leader, settings.namespace)
        asker.answered = operator.queue.add
        # Every replica answers the API server, leading or not.
        webhook = _webhook(Cached(kube, store), identity, meters, clock) if form is WEBHOOK else None
        probes = Probes(operator, gate, meters, clock, webhook.ready if webhook else None)
        await probes.start(settings.listen)
        stack.push_async_callback(probes.stop)
        beside: list[Coroutine[None, None, None]] = []
        if webhook:
            stack.push_async_callback(webhook.stop)
            beside = [webhook.run(settings.webhook_listen), Again(cluster, leader, clock).run()]
        log.info("tidegate %s runs as %s", __version__, identity)
        return await _until_stopped(operator, beside, store.kinds(), settings, stop, meters)


def routers(cluster: Watched, traefik: Traefik, clock: Clock) -> Routers:
    """All that are known."""
    return Routers(
        [
            GatewayRouter(cluster, [traefik, *istio.planes(), EnvoyGateway()], clock),
            IngressRouter(cluster, traefik, clock),
            TraefikServiceRouter(cluster, traefik, clock),
        ]
    )


def _webhook(cluster: Cluster, identity: str, meters: Meters, clock: Clock) -> Webhook:
    # Only who serves it has need of certificates, and of the memory that they take.
    from tidegate.app.webhook import Webhook

    return Webhook(Bundle(cluster), identity, meters, clock)


def _stop_on_signals(stop: asyncio.Event) -> None:
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_, stop.set)


async def _until_stopped(
    operator: Operator,
    beside: Iterable[Coroutine[None, None, None]],
    kinds: Sequence[Kind],
    settings: Settings,
    stop: asyncio.Event,
    meters: Meters,
) -> int:
    """The loop, the watches and what else runs, side by side; the first to end ends all, the watches last."""
    loop_task = asyncio.create_task(operator.run(stop), name="operator")
    others = [asyncio.create_task(other) for other in beside]
    unwatch = asyncio.Event()
    watching = watch(
        kinds,
        operator.told,
        namespace=settings.namespace or None,
        stop=unwatch,
        missed=operator.missed,
        counted=meters.requested,
    )
    watch_task = asyncio.create_task(watching, name="watch")
    await asyncio.wait({loop_task, watch_task, *others}, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    await asyncio.wait({loop_task})
    unwatch.set()
    results = await asyncio.gather(loop_task, watch_task, return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    failures += [task.exception() or RuntimeError(f"{task!r} ended") for task in others if task.done()]
    for task in others:
        task.cancel()
    for failure in failures:
        log.error("ended by %r", failure, exc_info=failure)
    log.info("stopped")
    return 1 if failures else 0
