"""Kubernetes Events, for `kubectl describe` and whoever watches them: one for each transition."""

from __future__ import annotations

import logging

from tidegate.core.plan import Event
from tidegate.engine.scene import Scene
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import EVENTS, Cluster, ClusterError

log = logging.getLogger("tidegate.events")


class Recorder:
    """Writes Events. One that cannot be written is logged and let go: it is news, not state."""

    def __init__(self, cluster: Cluster, clock: Clock, host: str) -> None:
        self._cluster, self._clock, self._host = cluster, clock, host

    async def record(self, event: Event, scene: Scene) -> None:
        """Write an Event about the release."""
        now = self._clock.now()
        stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        meta = scene.release["metadata"]
        body = {
            "metadata": {"generateName": f"{scene.name}.", "namespace": scene.namespace},
            "involvedObject": {
                "apiVersion": scene.kind.api_version,
                "kind": scene.kind.name,
                "namespace": scene.namespace,
                "name": scene.name,
                "uid": meta["uid"],
            },
            "type": event.type,
            "reason": str(event.reason),
            "message": event.message[:1024],
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "source": {"component": "tidegate", "host": self._host},
            "reportingComponent": "tidegate.dev/operator",
            "reportingInstance": self._host,
        }
        try:
            await self._cluster.create(EVENTS, scene.namespace, body)
        except ClusterError as error:
            log.warning("event not written: %s", error, extra={"release": scene.name, "reason": str(event.reason)})
