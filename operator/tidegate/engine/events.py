"""Kubernetes Events, for `kubectl describe` and whoever watches them: one for each transition."""

from __future__ import annotations

import logging

from tidegate.core.plan import Event
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import EVENTS, Cluster, ClusterError, Kind, Object

log = logging.getLogger("tidegate.events")


class Recorder:
    """Writes Events. One that cannot be written is logged and let go: it is news, not state."""

    def __init__(self, cluster: Cluster, clock: Clock, host: str) -> None:
        self._cluster, self._clock, self._host = cluster, clock, host

    async def record(self, event: Event, kind: Kind, about: Object) -> None:
        """Write an Event about an object."""
        now = self._clock.now()
        stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        meta = about["metadata"]
        namespace, name = meta["namespace"], meta["name"]
        body = {
            "metadata": {"generateName": f"{name}.", "namespace": namespace},
            "involvedObject": {
                "apiVersion": kind.api_version,
                "kind": kind.name,
                "namespace": namespace,
                "name": name,
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
            await self._cluster.create(EVENTS, namespace, body)
        except ClusterError as error:
            log.warning(
                "event not written: %s",
                error,
                extra={"release": f"{kind.name}/{namespace}/{name}", "reason": str(event.reason)},
            )
