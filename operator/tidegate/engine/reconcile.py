"""One turn of the wheel: observe, decide, write the status, act.

The status is the journal and the guard: it is written first, against the resourceVersion that was read, and a
conflict drops the actions. Only what takes traffic back to stable does not wait for it.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

from tidegate.api.releasestatus import ReleaseStatus
from tidegate.core import unreadable
from tidegate.core.machine import decide
from tidegate.core.observed import Release
from tidegate.core.plan import Event, Plan
from tidegate.core.unwritten import may_wait
from tidegate.engine.act import Actor
from tidegate.engine.events import Recorder
from tidegate.engine.gate import STANDING_BY, GateCheck
from tidegate.engine.meters import Meters
from tidegate.engine.observe import Observer
from tidegate.engine.pace import Pace
from tidegate.engine.scene import Scene
from tidegate.engine.statuses import UNREADABLE, Statuses
from tidegate.engine.subject import Subject
from tidegate.engine.unwritten import Unwritten
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import Cluster, NotFound

log = logging.getLogger("tidegate.reconcile")


class Reconciler:
    """Brings one release one step nearer to where it should be. Raises ClusterError; then it is asked again."""

    def __init__(
        self,
        cluster: Cluster,
        gate: GateCheck,
        observer: Observer,
        actor: Actor,
        recorder: Recorder,
        meters: Meters,
        clock: Clock,
        unwritten: Unwritten,
    ) -> None:
        self._cluster, self._gate, self._observer, self._actor = cluster, gate, observer, actor
        self._unwritten = unwritten
        self._recorder, self._meters, self._clock = recorder, meters, clock
        self._statuses: Statuses[Plan] = Statuses(cluster)
        self._pace = Pace()
        self._left: dict[Subject, Event] = {}
        """What was told of releases that are left to another version."""

    async def reconcile(self, key: Subject) -> datetime | None:
        """When to be asked again though nothing was seen to change."""
        began = time.perf_counter()
        if await self._gate.foreign():
            return self._clock.now() + STANDING_BY
        try:
            obs, scene = await self._observer.observe(key.kind, key.namespace, key.name)
        except NotFound:
            self._meters.forget(key.kind.name, key.namespace, key.name)
            self._statuses.forget(key)
            self._left.pop(key, None)
            self._pace.next(key, watched=False)
            return None
        if obs.release.unreadable:
            await self._leave(unreadable.told(obs.release), key, scene)
            return self._clock.now() + UNREADABLE
        self._left.pop(key, None)
        written = self._unwritten.below(obs.release.uid, obs.release.status)
        if untold := self._statuses.landed(key, written):
            await self._tell(untold, scene)
        plan = decide(obs, self._clock.now())
        await self._carry_out(plan, key, scene, obs.release, written)
        self._meters.release(key.kind.name, key.namespace, key.name, plan.status)
        took = time.perf_counter() - began
        self._meters.reconciled(took)
        if plan.actions or plan.urgent or plan.events:
            log.info(
                plan.status.message,
                extra={
                    "release": str(key),
                    "phase": plan.status.phase,
                    "stage": plan.status.journal.stage if plan.status.journal else None,
                    "actions": [repr(action) for action in (*plan.urgent, *plan.actions)],
                    "took_ms": round(took * 1000, 1),
                },
            )
        pace = self._pace.next(key, watched=plan.watched)
        again = None if pace is None else self._clock.now() + timedelta(seconds=pace)
        return min(filter(None, (plan.wake, self._gate.holds_at, again)), default=None)

    async def _leave(self, event: Event, key: Subject, scene: Scene) -> None:
        """Nothing is written to it; whoever looks at it is told why, once."""
        self._meters.unreadable(key.kind.name, key.namespace, key.name)
        self._statuses.forget(key)
        if self._left.get(key) == event:
            return
        self._left[key] = event
        log.warning(event.message, extra={"release": str(key)})
        await self._recorder.record(event, scene.kind, scene.release)

    async def _carry_out(
        self, plan: Plan, key: Subject, scene: Scene, release: Release, written: ReleaseStatus
    ) -> None:
        await self._actor.carry_out(plan.urgent, scene)
        if release.spec and may_wait(release.spec.analysis.source, written, plan):
            self._unwritten.keep(release.uid, written, plan.status)
        elif plan.status != written:
            await self._statuses.write(key, key.kind, scene.release, plan)
        await self._tell(plan, scene)
        await self._actor.carry_out(plan.actions, scene)

    async def _tell(self, plan: Plan, scene: Scene) -> None:
        for event in plan.events:
            await self._recorder.record(event, scene.kind, scene.release)
        if plan.ended:
            self._meters.ended(scene.kind.name, scene.namespace, scene.name, plan.ended)
