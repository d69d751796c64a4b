"""What the Deployment controller gave up because nobody answered the API server is brought to its mind again.

Where the gate is a webhook, a write of the Deployment controller that would have to be clamped is refused while no
replica runs. The controller tries about 15 times, for some minutes, and then waits for something to happen.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from tidegate.api.base import GROUP
from tidegate.core import reading
from tidegate.engine.leader import Leader
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import DEPLOYMENTS, RELEASES, REPLICASETS, ClusterError, NotFound, Object, Watched

log = logging.getLogger("tidegate.again")

LOOK = 10.0
"""Seconds between two looks; who is behind at two of them is not just busy."""
TOUCH = f"{GROUP}/again"


class Again:
    """Looks for Deployments under management whose controller is behind. A look is at what the watches told."""

    def __init__(self, cluster: Watched, leader: Leader, clock: Clock) -> None:
        self._cluster, self._leader, self._clock = cluster, leader, clock
        self._behind: set[tuple[str, int]] = set()
        """Those that were behind at the last look: uid and generation."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(LOOK)
            if self._leader.leads:
                await self._look()

    async def _look(self) -> None:
        seen = set()
        for namespace, name in await self._targets():
            # Of what is read from memory nothing waits: without this nobody else would have a turn before the end.
            await self._clock.sleep(0)
            try:
                deployment = await self._cluster.get(DEPLOYMENTS, namespace, name)
            except NotFound:
                continue
            if not reading.managed(deployment):
                continue
            sets = await self._of(deployment)
            if not _is_behind(deployment, sets):
                continue
            key = (deployment["metadata"]["uid"], int(deployment["metadata"].get("generation", 0)))
            seen.add(key)
            if key in self._behind and sets:
                await self._touch(sets[0])
        self._behind = seen

    async def _targets(self) -> set[tuple[str, str]]:
        """Deployments that releases name, by namespace and name: a cluster may have many more."""
        releases = [release for kind in RELEASES for release in await self._cluster.list(kind)]
        return {
            (release["metadata"]["namespace"], release["spec"].get("targetRef", {}).get("name", ""))
            for release in releases
        }

    async def _of(self, deployment: Object) -> list[Object]:
        meta = deployment["metadata"]
        found = await self._cluster.referring(REPLICASETS, meta["namespace"], {meta["uid"]})
        return [obj for obj in found if reading.owned_by(obj, meta["uid"])]

    async def _touch(self, replicaset: Object) -> None:
        """A change of a ReplicaSet wakes the controller of its Deployment. Nothing of it stays."""
        meta = replicaset["metadata"]
        log.info("the Deployment controller is behind: woken by %s/%s", meta["namespace"], meta["name"])
        try:
            for value in ("", None):
                body = {"metadata": {"annotations": {TOUCH: value}}}
                await self._cluster.patch(REPLICASETS, meta["namespace"], meta["name"], body)
        except ClusterError as error:
            log.warning("%s: %s", meta["name"], error)


def _is_behind(deployment: Object, sets: Iterable[Object]) -> bool:
    """It has not seen the newest generation, or not told the ReplicaSets that have pods how many are wanted."""
    seen = reading.deployment(deployment)
    return not seen.paused and not (seen.settled and seen.has_sized(map(reading.replicaset, sets)))
