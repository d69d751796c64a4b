"""One operator process of a simulation: the real engine, wired as app/wiring does it, behind a ``Line`` of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from tests.fakes.cluster import TIDEGATE, FakeCluster
from tests.fakes.line import Line, LineClock, Watch
from tests.fakes.memory import StrictStore
from tests.fakes.pods import FakePods
from tests.fakes.traffic import Router
from tidegate.adapters.routers.gateway import GatewayRouter
from tidegate.adapters.routers.nginx import IngressRouter
from tidegate.adapters.routers.serving import Serving
from tidegate.adapters.routers.several import Routers
from tidegate.adapters.routers.traefikservice import TraefikServiceRouter
from tidegate.core.asking import Call, Reply
from tidegate.core.counters import Answer, RouterSeries
from tidegate.core.observed import Backends
from tidegate.engine.act import Actor
from tidegate.engine.asker import Asker
from tidegate.engine.calls import Calls
from tidegate.engine.checkups import Checkups
from tidegate.engine.events import Recorder
from tidegate.engine.flags import FlagReconciler
from tidegate.engine.gate import GateCheck
from tidegate.engine.jobs import Jobs
from tidegate.engine.leader import Fenced, Leader
from tidegate.engine.meters import Meters
from tidegate.engine.observe import Observer
from tidegate.engine.operator import WATCHED, Operator
from tidegate.engine.reconcile import Reconciler
from tidegate.engine.scrapes import Scrapes
from tidegate.engine.store import Cached
from tidegate.engine.subject import Reconciles
from tidegate.engine.unwritten import Unwritten
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import FEATURE_FLAGS, RELEASES, Cluster, ClusterError, Kind
from tidegate.ports.metrics import Exposition, MetricSource
from tidegate.ports.router import Router as RouterPort


class Process:
    """It begins with an empty memory, and ends by a signal, by an error, or by ``kill`` at whatever point it is."""

    def __init__(
        self,
        name: str,
        cluster: FakeCluster,
        clock: Clock,
        router: Router,
        metrics: MetricSource,
        pods: FakePods,
        lag: float,
        lease: str = "",
        more_routers: Sequence[Callable[[Cluster], RouterPort]] = (),
    ) -> None:
        self.name = name
        self.line = Line(cluster, clock, name)
        own = LineClock(self.line, clock)
        store, meters = StrictStore(WATCHED), Meters()
        self.meters = meters
        self.watch = Watch(self.line, cluster, WATCHED, lag)
        self.leader = Leader(self.line, own, lease, name)
        cached = Cached(Fenced(self.line, self.leader), store)
        routers = Routers(
            [
                GatewayRouter(cached, [_Plane(self.line, router)], own),
                IngressRouter(cached, _Plane(self.line, router), own),
                TraefikServiceRouter(cached, _Plane(self.line, router), own),
                *(make(cached) for make in more_routers),
            ]
        )
        gate = GateCheck(cached, TIDEGATE, meters, own)
        prober = _Prober(self.line, pods)
        checkups, jobs, calls = Checkups(prober, own), Jobs(cached, own), Calls(prober, own)
        asker, scrapes, unwritten = (
            Asker(_Metrics(self.line, metrics)),
            Scrapes(_Reader(self.line, pods), own),
            Unwritten(),
        )
        observer = Observer(
            cached, routers, asker, gate, own, checkups, jobs, calls, scrapes, unwritten, lambda: self.leader.term
        )
        recorder = Recorder(cached, own, name)
        actor = Actor(cached, routers, jobs)
        reconciler = Reconciler(cached, gate, observer, actor, recorder, meters, own, unwritten)
        flags = FlagReconciler(cached, gate, asker, recorder, meters, own)
        reconcilers: dict[Kind, Reconciles] = {**dict.fromkeys(RELEASES, reconciler), FEATURE_FLAGS: flags}
        self.operator = Operator(self.line, store, reconcilers, meters, own, self.leader)
        self.watch.told = self.operator.told
        asker.answered = self.operator.queue.add
        self._stop = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Its loop begins, and the watches list."""
        self.task = asyncio.create_task(self.operator.run(self._stop), name=self.name)
        self.watch.list_again()

    @property
    def over(self) -> bool:
        """It runs no more."""
        return self.task is None or self.task.done()

    def kill(self) -> None:
        """SIGKILL: not one request more; what is on its way arrives."""
        self.line.dead = True
        self.watch.close()
        self.line.thaw()
        if self.task is not None:
            self.task.cancel()

    async def terminate(self) -> None:
        """SIGTERM, and wait until it has ended."""
        self._stop.set()
        if self.task is not None:
            await asyncio.wait({self.task})
        self.watch.close()

    async def died_of(self) -> BaseException | None:
        """What ended it, where it was no signal."""
        if self.task is None:
            return None
        await asyncio.wait({self.task})
        return None if self.task.cancelled() else self.task.exception()


class _Plane:
    """The router's API as this process asks it."""

    def __init__(self, line: Line, router: Router) -> None:
        self._line, self._router = line, router
        self.controller = router.controller

    async def serving(self, route: dict[str, Any]) -> Serving | None:
        """As the DataPlane."""
        return await self._line.over("ask", "router", self._router.serving, route)

    def series(self, routes: Sequence[dict[str, Any]], backends: Backends) -> RouterSeries:
        """As the DataPlane."""
        return self._router.series(routes, backends)

    async def ingress(self, main: dict[str, Any], backends: Backends, weight: int | None) -> Serving | None:
        """As the DataPlane of Ingresses."""
        return await self._line.over("ask", "router", self._router.ingress, main, backends, weight)

    def ingress_series(self, main: dict[str, Any], backends: Backends) -> RouterSeries:
        """The same."""
        return self._router.ingress_series(main, backends)

    async def traefik_service(self, obj: dict[str, Any], backends: Backends) -> Serving | None:
        """As the DataPlane of TraefikServices."""
        return await self._line.over("ask", "router", self._router.traefik_service, obj, backends)

    def traefik_series(self, objs: Sequence[dict[str, Any]], backends: Backends) -> RouterSeries:
        """The same."""
        return self._router.traefik_series(objs, backends)


class _Metrics:
    """Prometheus as this process asks it."""

    def __init__(self, line: Line, metrics: MetricSource) -> None:
        self._line, self._metrics = line, metrics

    async def fetch(self, queries: Collection[str], at: datetime | None = None) -> Mapping[str, Answer]:
        """As the port."""
        return await self._line.over("ask", "metrics", self._metrics.fetch, queries, at)


class _Reader:
    """Pods' counters as this process reads them."""

    def __init__(self, line: Line, pods: FakePods) -> None:
        self._line, self._pods = line, pods

    async def read(self, url: str) -> Exposition:
        """As the port."""
        try:
            return await self._line.over("ask", "pod", self._pods.read, url)
        except ClusterError as error:
            return Exposition(error=str(error))


class _Prober:
    """Pods as this process asks them."""

    def __init__(self, line: Line, pods: FakePods) -> None:
        self._line, self._pods = line, pods

    async def ask(self, call: Call) -> Reply:
        """As the port."""
        try:
            return await self._line.over("ask", "pod", self._pods.ask, call)
        except ClusterError as error:
            return Reply(error=str(error))
