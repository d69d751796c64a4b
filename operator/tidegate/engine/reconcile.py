"""One turn of the wheel: observe, decide, write the status, act.

The status is the journal and the guard: it is written first, against the resourceVersion that was read, and a
conflict drops the actions. Only what takes traffic back to stable does not wait for it.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidegate.api.release import ReleaseStatus
from tidegate.core import unreadable
from tidegate.core.machine import decide
from tidegate.core.plan import Event, Plan
from tidegate.engine.act import Actor
from tidegate.engine.events import Recorder
from tidegate.engine.gate import GateCheck
from tidegate.engine.meters import Meters
from tidegate.engine.observe import Observer
from tidegate.engine.scene import Scene
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import Cluster, ClusterError, Conflict, Kind, NotFound

log = logging.getLogger("tidegate.reconcile")

UNREADABLE = timedelta(seconds=30)
"""How long until a release that cannot be read is looked at again."""
STANDING_BY = timedelta(seconds=30)
"""Between two looks whether the gate is still another installation's."""


@dataclass(frozen=True)
class ReleaseKey:
    """A release of a kind."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.name}/{self.namespace}/{self.name}"


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
    ) -> None:
        self._cluster, self._gate, self._observer, self._actor = cluster, gate, observer, actor
        self._recorder, self._meters, self._clock = recorder, meters, clock
        self._untold: dict[ReleaseKey, Plan] = {}
        """Of writes that were not answered. Where one had landed, the next turn finds its end, and no news in it."""
        self._left: dict[ReleaseKey, Event] = {}
        """What was told of releases that are left to another version."""

    async def reconcile(self, key: ReleaseKey) -> datetime | None:
        """When to be asked again though nothing was seen to change."""
        began = time.perf_counter()
        if await self._gate.foreign():
            return self._clock.now() + STANDING_BY
        try:
            obs, scene = await self._observer.observe(key.kind, key.namespace, key.name)
        except NotFound:
            self._meters.forget(key.kind.name, key.namespace, key.name)
            self._untold.pop(key, None)
            self._left.pop(key, None)
            return None
        if obs.release.unreadable:
            await self._leave(unreadable.told(obs.release), key, scene)
            return self._clock.now() + UNREADABLE
        self._left.pop(key, None)
        untold = self._untold.get(key)
        if untold is not None and untold.status == obs.release.status:
            del self._untold[key]
            await self._tell(untold, scene)
        plan = decide(obs, self._clock.now())
        await self._carry_out(plan, key, scene, obs.release.status)
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
        return min(filter(None, (plan.wake, self._gate.holds_at)), default=None)

    async def _leave(self, event: Event, key: ReleaseKey, scene: Scene) -> None:
        """Nothing is written to it; whoever looks at it is told why, once."""
        self._meters.unreadable(key.kind.name, key.namespace, key.name)
        self._untold.pop(key, None)
        if self._left.get(key) == event:
            return
        self._left[key] = event
        log.warning(event.message, extra={"release": str(key)})
        await self._recorder.record(event, scene)

    async def _carry_out(self, plan: Plan, key: ReleaseKey, scene: Scene, before: ReleaseStatus) -> None:
        await self._actor.carry_out(plan.urgent, scene)
        if plan.status != before:
            try:
                await self._write(scene, plan.status)
            except Conflict:
                raise  # it has not landed, but the one before it may have
            except ClusterError:
                self._untold[key] = plan
                raise
            self._untold.pop(key, None)
        await self._tell(plan, scene)
        await self._actor.carry_out(plan.actions, scene)

    async def _tell(self, plan: Plan, scene: Scene) -> None:
        for event in plan.events:
            await self._recorder.record(event, scene)
        if plan.ended:
            self._meters.ended(scene.kind.name, scene.namespace, scene.name, plan.ended)

    async def _write(self, scene: Scene, status: ReleaseStatus) -> None:
        """The one write of the status. What is no longer in it must go: a merge patch says so by null."""
        wanted = status.wire()
        gone = dict.fromkeys(key for key in scene.release.get("status") or {} if key not in wanted)
        version = scene.release["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "status": {**_nulls(scene, wanted), **gone}}
        answer = await self._cluster.patch(scene.kind, scene.namespace, scene.name, body, subresource="status")
        scene.release["metadata"]["resourceVersion"] = answer["metadata"]["resourceVersion"]


def _nulls(scene: Scene, wanted: dict[str, object]) -> dict[str, object]:
    """Fields of the parts of the status that are set no more, as nulls; lists are replaced whole."""
    before = scene.release.get("status") or {}
    return {key: _merge(before.get(key), value) for key, value in wanted.items()}


def _merge(old: object, new: object) -> object:
    if isinstance(old, dict) and isinstance(new, dict):
        return {**dict.fromkeys(old), **{key: _merge(old.get(key), value) for key, value in new.items()}}
    return new
