"""The operator's loop: what the watches tell becomes keys, workers take them, an audit catches what was missed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime

from tidegate.engine.gate import POLICY, WEBHOOK
from tidegate.engine.leader import Leader
from tidegate.engine.meters import Meters
from tidegate.engine.queue import SOON, Queue
from tidegate.engine.refers import ANY_SERVICE, backends, references, selector
from tidegate.engine.scene import ours
from tidegate.engine.store import Store
from tidegate.engine.subject import Reconciles, Subject
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import (
    ANALYSIS_TEMPLATES,
    DEPLOYMENTS,
    FEATURE_FLAGS,
    RELEASES,
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

SUBJECTS = (*RELEASES, FEATURE_FLAGS)
"""Kinds that are worked on."""
_WORKLOADS = (*SUBJECTS, ANALYSIS_TEMPLATES, DEPLOYMENTS, REPLICASETS, SERVICES, *ROUTES)
WATCHED = (*_WORKLOADS, *POLICY.kinds)
WATCHED_BY_WEBHOOK = (*_WORKLOADS, *WEBHOOK.kinds)
"""The same, where the gate is a webhook: a cluster may not know of policies."""
WORKERS = 16
AUDIT = 300.0
"""Seconds between full lists, at least: a watch can lose what was deleted while it was away."""
AFTER_GAP = 10.0
"""The same when a watch is known to have been away."""
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
        reconcilers: Mapping[Kind, Reconciles],
        meters: Meters,
        clock: Clock,
        leader: Leader,
        namespace: str = "",
    ) -> None:
        self._cluster, self._store, self._leader = cluster, store, leader
        self._reconcilers = reconcilers
        """By the kinds that they are for."""
        self._meters, self._clock, self._namespace = meters, clock, namespace
        self.queue: Queue[Subject] = Queue(clock)
        self.beat = clock.monotonic()
        """When the loop last turned (monotonic seconds)."""
        self.audited = False
        """The store has been filled once."""
        self._audited_at = -float("inf")
        self._gap = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._working = 0
        self._stopping = False

    def told(self, kind: Kind, type_: str, obj: Object) -> None:
        """A watch saw something."""
        meta = obj["metadata"]
        before = self._store.get(kind, (meta.get("namespace", ""), meta["name"]))
        if type_ == "DELETED":
            self._store.drop(kind, obj)
            before = None
        elif not self._store.put(kind, obj):
            return
        for key in self._concerned(kind, obj, before):
            self.queue.add(key)

    def missed(self) -> None:
        """A watch had a gap: what was deleted in it is known by a full list only."""
        self._gap.set()

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
            self._meters.leader.set(1)
            try:
                # A worker that dies takes the operator with it: whoever restarts it begins where the journal stands.
                async with asyncio.TaskGroup() as workers:
                    over = asyncio.Event()
                    tasks = [workers.create_task(self._work(over)) for _ in range(WORKERS)]
                    try:
                        await self._leader.lost()
                    finally:
                        over.set()
                    log.warning("this replica leads no more")
                    for task in tasks:
                        task.cancel()
            finally:
                self._meters.leads_no_more()

    async def audit(self) -> None:
        """Take full lists, and put right what the watches told wrong."""
        began = self._clock.monotonic()
        for kind in self._store.kinds():
            audit = self._store.audit(kind)
            try:
                async for page in self._cluster.pages(kind, self._namespace if kind.namespaced else ""):
                    audit.take(page)
            except NotFound:
                # The kind is not installed (no Gateway API here, say): there are none of it.
                pass
            audit.end()
            if self.audited:
                self._meters.drift.inc(len(audit.changed))
            if kind in SUBJECTS:
                for namespace, name in audit.changed:
                    self.queue.add(Subject(kind, namespace, name))
        self.audited, self._audited_at = True, began
        self._meters.audit.set(self._clock.now().timestamp())
        for key in self._keys(kinds=SUBJECTS):
            self.queue.add(key)

    def _concerned(self, kind: Kind, obj: Object, before: Object | None) -> Iterable[Subject]:
        """The releases and flags that an object matters to, or did before."""
        namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        if kind == FEATURE_FLAGS:
            return self._sharing(obj, before)
        if kind in RELEASES:
            # Others of the same Deployment or Service may have waited for this one to go.
            shared = {one for states in (obj, before or obj) for (one,) in references(kind, states) or ()}
            shared = {one for one in shared if not one.startswith(f"{ANALYSIS_TEMPLATES.name}/")}
            return {Subject(kind, namespace, name), *self._referring(namespace, shared - {ANY_SERVICE})}
        if not kind.namespaced:
            return self._keys()
        if kind in (DEPLOYMENTS, ANALYSIS_TEMPLATES):
            return self._referring(namespace, {f"{kind.name}/{name}"})
        if kind == REPLICASETS:
            # A ReplicaSet is named after its Deployment and a hash.
            return self._referring(namespace, {f"Deployment/{name.rpartition('-')[0]}"})
        if kind == SERVICES:
            if not ours(obj) and (before is None or selector(before) != selector(obj)):
                # It may be the only Service of a workload now, or no longer be.
                return self._keys(namespace)
            return self._referring(namespace, {f"Service/{name}", ANY_SERVICE})
        led_to = backends(obj) | (backends(before) if before else set())
        return self._referring(namespace, {f"{kind.name}/{name}", ANY_SERVICE, *led_to})

    def _referring(self, namespace: str, to: set[str]) -> list[Subject]:
        return [Subject(kind, *key) for kind in RELEASES for key in self._store.referring(kind, namespace, to)]

    def _sharing(self, obj: Object, before: Object | None) -> Iterable[Subject]:
        """A flag; and where what it serves may be something else now those of its key, and all that need it, by way of
        others too."""
        found = {Subject(FEATURE_FLAGS, obj["metadata"]["namespace"], obj["metadata"]["name"])}
        if before is None or _served(before) != _served(obj):
            to = {one for states in (obj, before or obj) for (one,) in references(FEATURE_FLAGS, states) or ()}
            to |= _needing(to)
            while to:
                more = {Subject(FEATURE_FLAGS, *key) for key in self._store.referring(FEATURE_FLAGS, "", to)} - found
                found |= more
                to = _needing(one for flag in more for one in self._references(flag))
        return found

    def _references(self, flag: Subject) -> Iterable[str]:
        obj = self._store.get(flag.kind, (flag.namespace, flag.name))
        return [one for (one,) in references(flag.kind, obj) or ()] if obj else ()

    def _keys(self, namespace: str = "", kinds: Iterable[Kind] = RELEASES) -> list[Subject]:
        return [Subject(kind, *key) for kind in kinds for key in self._store.keys(kind, namespace)]

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
                log.info("watching %d releases and flags", len(self._keys(kinds=SUBJECTS)))
                return

    async def _auditor(self) -> None:
        while True:
            await self._clock.sleep(AFTER_GAP)
            await self._until_gap(AUDIT * (1 + 0.1 * self._clock.jitter()) - AFTER_GAP)
            self._gap.clear()
            try:
                await self.audit()
            except ClusterError as error:
                log.warning("audit failed, the watches go on: %s", error)
                self._gap.set()

    async def _until_gap(self, seconds: float) -> None:
        """This long, or until a watch has missed something."""
        waits = {asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(self._gap.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _heart(self) -> None:
        while True:
            self.beat = self._clock.monotonic()
            self._meters.queue.set(len(self.queue))
            await self._clock.sleep(BEAT)

    async def _work(self, over: asyncio.Event) -> None:
        # A cancellation is lost where something else fails in the same moment: time-outs, when we were frozen.
        while not over.is_set():
            key = await self.queue.get()
            if self._stopping:
                # It waited here while the stop came: what is begun now would only hold up who takes over.
                return
            self._working += 1
            try:
                wake = await self._reconcile(key)
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

    async def _reconcile(self, key: Subject) -> datetime | None:
        """What we write is kept before the watch tells of it, as if it had been so: who goes by it is asked here."""
        where = key.namespace, key.name
        before = self._store.get(key.kind, where)
        wake = await self._reconcilers[key.kind].reconcile(key)
        after = self._store.get(key.kind, where)
        if key.kind == FEATURE_FLAGS and before and after:
            for other in {*self._sharing(after, before)} - {key}:
                self.queue.add(other)
        return wake

    def _failed(self, key: Subject, cause: str, error: ClusterError, after: float) -> None:
        self._meters.errors.labels(cause).inc()
        log.warning("%s: %s", cause, error, extra={"release": str(key)})
        self.queue.done(key, failed=True, after=after)


def _served(flag: Object) -> tuple[object, ...]:
    """What others of its set go by: its specs, how far its rollout is, and whether that was turned off."""
    status = flag.get("status") or {}
    rollout, override = status.get("rollout") or {}, status.get("override") or {}
    return (
        flag.get("spec"),
        status.get("accepted"),
        rollout.get("milli"),
        rollout.get("digest"),
        override.get("rollout"),
    )


def _needing(to: Iterable[str]) -> set[str]:
    """References to flags, as those have them that need these flags."""
    return {one.replace("flag=", "needs=", 1) for one in to if one.startswith("flag=")}
