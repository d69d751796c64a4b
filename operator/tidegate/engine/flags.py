"""Flags: read with what they need, decided upon, and their status written. There is nothing else to be done to one.

They need no gate: nobody's pods are held, and what is served follows from the status. Where it is another
installation's, that one writes to flags, too.
"""

from __future__ import annotations

import logging
from datetime import datetime

from pydantic import ValidationError

from tidegate.api.flagstatus import FlagStatus
from tidegate.core import reading
from tidegate.core.asked import REQUEST
from tidegate.core.flags import telemetry
from tidegate.core.flags.draft import Flag, FlagPlan, Observed
from tidegate.core.flags.effective import accepted_spec, declared_of
from tidegate.core.flags.flagset import MOST_NEEDED, eldest
from tidegate.core.flags.machine import decide, wants
from tidegate.engine.asker import Asker
from tidegate.engine.events import Recorder
from tidegate.engine.gate import STANDING_BY, GateCheck
from tidegate.engine.meters import Meters
from tidegate.engine.refers import flag_reference, prerequisites
from tidegate.engine.statuses import UNREADABLE, Statuses
from tidegate.engine.subject import Subject
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import FEATURE_FLAGS, NotFound, Object, Watched

log = logging.getLogger("tidegate.flags")


class FlagReconciler:
    """Brings one flag to where it should be by now. Raises ClusterError; then it is asked again."""

    def __init__(
        self, cluster: Watched, gate: GateCheck, asker: Asker, recorder: Recorder, meters: Meters, clock: Clock
    ) -> None:
        self._cluster, self._gate, self._asker = cluster, gate, asker
        self._recorder, self._meters, self._clock = recorder, meters, clock
        self._statuses: Statuses[FlagPlan] = Statuses(cluster)

    async def reconcile(self, key: Subject) -> datetime | None:
        """When to be asked again though nothing was seen to change."""
        if await self._gate.foreign():
            return self._clock.now() + STANDING_BY
        try:
            obj = await self._cluster.get(key.kind, key.namespace, key.name)
        except NotFound:
            self._meters.forget_flag(key.namespace, key.name)
            self._statuses.forget(key)
            return None
        flag = read_flag(obj)
        if flag.unreadable:
            # A status that is not understood must not be overwritten: whoever wrote it can go on by it.
            self._meters.errors.labels("unreadable").inc()
            log.warning("its status is of another version: %s", flag.unreadable, extra={"release": str(key)})
            return self._clock.now() + UNREADABLE
        if untold := self._statuses.landed(key, flag.status):
            await self._tell(untold, obj)
        plan = decide(await self._observe(key, flag), self._clock.now())
        if plan.status != flag.status:
            await self._statuses.write(key, key.kind, obj, plan)
        await self._tell(plan, obj)
        self._meters.flag(key.namespace, key.name, plan.status)
        return plan.wake

    async def _tell(self, plan: FlagPlan, obj: Object) -> None:
        meta = obj["metadata"]
        for event in plan.events:
            log.info(event.message, extra={"release": f"{FEATURE_FLAGS.name}/{meta['namespace']}/{meta['name']}"})
            await self._recorder.record(event, FEATURE_FLAGS, obj)
        if plan.turned_off:
            self._meters.turned_off(meta["namespace"], meta["name"], plan.turned_off)

    async def _observe(self, key: Subject, flag: Flag) -> Observed:
        """With the flags that it is decided with, and what the metrics answer where it is time to ask."""
        obs = Observed(flag, await self._peers(flag))
        looks, counts = wants(obs, self._clock.now())
        answers = await self._asker.ask(key, flag.uid, looks) if looks is not None else None
        begun = flag.status.rollout.started_at if flag.status.rollout else None
        counted = self._asker.ask_aside(flag.uid, begun, counts) if counts else None
        return Observed(flag, obs.peers, answers, None if counted is None else telemetry.by_role(counted))

    async def _peers(self, flag: Flag) -> tuple[Flag, ...]:
        """Flags of its key; those that it needs, and those that they need, as far as anything would be served by."""
        found: dict[str, Flag] = {}
        flag_set, keys, todo = flag.declared.flag_set, set[str](), [flag.declared.key, *_needed(flag)]
        while todo and len(keys) <= 2 * MOST_NEEDED:
            key = todo.pop(0)
            if key in keys:
                continue
            keys.add(key)
            same = [
                other
                for obj in await self._cluster.referring(FEATURE_FLAGS, "", {flag_reference(flag_set, key)})
                if (other := read_flag(obj)).uid != flag.uid
                and (other.declared.key, other.declared.flag_set) == (key, flag_set)
            ]
            found |= {other.uid: other for other in same}
            if key != flag.declared.key and same:
                # Others of the key are not served: whoever makes them is not to fill the list with what they need.
                todo += _needed(eldest(same, lambda one: one.declared)[key])
        return tuple(found.values())


def _needed(flag: Flag) -> list[str]:
    return [*prerequisites(flag.declared.spec), *prerequisites(accepted_spec(flag.status.accepted) or {})]


def read_flag(obj: Object) -> Flag:
    """A FeatureFlag as a value; what is wrong with its spec is found when it is compiled."""
    meta, unreadable = obj["metadata"], ""
    status: FlagStatus | None = None
    try:
        status = FlagStatus.model_validate(obj.get("status") or {})
    except ValidationError as error:
        unreadable = reading.mistakes((("status", *e["loc"]), e["input"], e["msg"]) for e in error.errors())
    return Flag(
        declared_of(obj, status),
        uid=meta.get("uid", ""),
        generation=int(meta.get("generation", 1)),
        request=(meta.get("annotations") or {}).get(REQUEST, ""),
        unreadable=unreadable,
    )
