"""The operator's loop: what the watches tell becomes keys, workers take them, an audit catches what was missed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from tidegate.engine.leader import Leader
from tidegate.engine.meters import Meters
from tidegate.engine.queue import SOON, Queue
from tidegate.engine.reconcile import Reconciler, ReleaseKey
from tidegate.engine.store import Store
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import (
    CANARY_RELEASES,
    DEPLOYMENTS,
    POLICIES,
    POLICY_BINDINGS,
    REPLICASETS,
    ROUTES,
    SERVICES,
    Cluster,
    ClusterError,
    Conflict,
    Kind,
    NotFound,
    Object,
    Rejected,
    Unavailable,
)

log = logging.getLogger("tidegate.operator")

RELEASES = (CANARY_RELEASES,)
"""Kinds of releases."""
WATCHED = (*RELEASES, DEPLOYMENTS, REPLICASETS, SERVICES, *ROUTES, POLICIES, POLICY_BINDINGS)
WORKERS = 16
AUDIT = 300.0
"""Seconds between full lists: a watch can lose what was deleted while it was away."""
REJECTED = 5.0
"""Seconds before what the API server refused is tried again: only a change can mend it."""
BEAT = 1.0
GRACE = 5.0
"""Seconds that releases in the works have to come to the end of a turn when the operator stops."""


class Operator:
    """Everything that runs between the watches and the API server."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        reconciler: Reconciler,
        meters: Meters,
        clock: Clock,
        leader: Leader,
        namespace: str = "",
    ) -> None:
        self._cluster, self._store, self._reconciler, self._leader = cluster, store, reconciler, leader
        self._meters, self._clock, self._namespace = meters, clock, namespace
        self.queue: Queue[ReleaseKey] = Queue(clock)
        self.beat = clock.monotonic()
        """When the loop last turned (monotonic seconds)."""
        self.audited = False
        """The store has been filled once."""
        self._audited_at = -float("inf")
        self._tasks: list[asyncio.Task[None]] = []
        self._working = 0
        self._stopping = False

    def told(self, kind: Kind, type_: str, obj: Object) -> None:
        """A watch saw something."""
        if type_ == "DELETED":
            self._store.drop(kind, obj)
        elif not self._store.put(kind, obj):
            return
        for key in self._concerned(kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]):
            self.queue.add(key)

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``; a release that is being worked on is then finished with, within ``GRACE``."""
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(self._heart()), tasks.create_task(self._prepare(tasks))]
            await stop.wait()
            self._stopping = True
            deadline = self._clock.monotonic() + GRACE
            while self._working and self._clock.monotonic() < deadline:
                await self._clock.sleep(0.02)
            await self._leader.resign()
            for task in (*background, *self._tasks):
                task.cancel()

    async def _prepare(self, tasks: asyncio.TaskGroup) -> None:
        await self._sure_audit()
        self._tasks.extend(tasks.create_task(task) for task in (self._auditor(), self._leader.run(), self._lead()))

    async def _lead(self) -> None:
        """Workers work while this replica leads."""
        while True:
            await self._leader.elected()
            if self._audited_at < self._leader.since:
                # What was done in the last term stands in the cluster, and the watches may not have told it yet.
                await self._sure_audit()
            workers = [asyncio.create_task(self._work()) for _ in range(WORKERS)]
            self._meters.leader.set(1)
            try:
                await self._leader.lost()
                log.warning("this replica leads no more")
            finally:
                self._meters.leader.set(0)
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def audit(self) -> None:
        """Take full lists, and put right what the watches told wrong."""
        began = self._clock.monotonic()
        for kind in WATCHED:
            known = self._store.known(kind)
            try:
                listed = await self._cluster.list(kind, self._namespace if kind.namespaced else "")
            except NotFound:
                # The kind is not installed (no Gateway API here, say): there are none of it.
                listed = []
            changed = self._store.replace(kind, listed, known)
            if self.audited:
                self._meters.drift.inc(len(changed))
            for namespace, name in changed:
                for key in self._concerned(kind, namespace, name):
                    self.queue.add(key)
        self.audited, self._audited_at = True, began
        self._meters.audit.set(self._clock.now().timestamp())
        for key in self._keys():
            self.queue.add(key)

    def _concerned(self, kind: Kind, namespace: str, name: str) -> Iterable[ReleaseKey]:
        """The releases that an object may matter to."""
        if kind in RELEASES:
            return [ReleaseKey(kind, namespace, name)]
        if not kind.namespaced:
            return self._keys()
        if kind == DEPLOYMENTS:
            return [key for key, target in self._targets(namespace) if target == name]
        if kind == REPLICASETS:
            # A ReplicaSet is named after its Deployment and a hash.
            return [key for key, target in self._targets(namespace) if name.rpartition("-")[0] == target]
        return [key for key, _ in self._targets(namespace)]

    def _keys(self) -> list[ReleaseKey]:
        return [
            ReleaseKey(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
            for kind in RELEASES
            for obj in self._store.all(kind)
        ]

    def _targets(self, namespace: str) -> list[tuple[ReleaseKey, str]]:
        return [
            (
                ReleaseKey(kind, namespace, obj["metadata"]["name"]),
                obj.get("spec", {}).get("targetRef", {}).get("name", ""),
            )
            for kind in RELEASES
            for obj in self._store.all(kind, namespace)
        ]

    async def _sure_audit(self) -> None:
        delay = 0.5
        while True:
            try:
                await self.audit()
            except ClusterError as error:
                log.warning("the lists failed, trying again in %.0f s: %s", delay, error)
                await self._clock.sleep(delay)
                delay = min(delay * 2, 30.0)
            else:
                log.info("watching %d releases", len(self._keys()))
                return

    async def _auditor(self) -> None:
        while True:
            await self._clock.sleep(AUDIT * (0.9 + 0.2 * self._clock.jitter()))
            try:
                await self.audit()
            except ClusterError as error:
                log.warning("audit failed, the watches go on: %s", error)

    async def _heart(self) -> None:
        while True:
            self.beat = self._clock.monotonic()
            self._meters.queue.set(len(self.queue))
            await self._clock.sleep(BEAT)

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            if self._stopping:
                # It waited here while the stop came: what is begun now would only hold up who takes over.
                return
            self._working += 1
            try:
                wake = await self._reconciler.reconcile(key)
            except asyncio.CancelledError:
                self.queue.done(key, failed=True)
                raise
            except Conflict as error:
                self._meters.errors.labels("conflict").inc()
                log.debug("observing again: %s", error, extra={"release": str(key)})
                self.queue.done(key, failed=True, first=SOON)
            except Unavailable as error:
                self._failed(key, "unavailable", error, error.after)
            except (Rejected, NotFound) as error:
                self._failed(key, "rejected", error, REJECTED if isinstance(error, Rejected) else 0.0)
            except Exception:
                # A bug in one release must not stop the others: it is logged whole, counted, and tried again.
                self._meters.errors.labels("bug").inc()
                log.exception("reconcile failed", extra={"release": str(key)})
                self.queue.done(key, failed=True, after=REJECTED)
            else:
                self.queue.done(key)
                if wake is not None:
                    self.queue.add_after(key, max(0.0, (wake - self._clock.now()).total_seconds()))
            finally:
                self._working -= 1

    def _failed(self, key: ReleaseKey, cause: str, error: ClusterError, after: float) -> None:
        self._meters.errors.labels(cause).inc()
        log.warning("%s: %s", cause, error, extra={"release": str(key)})
        self.queue.done(key, failed=True, after=after)
