"""Pods, and the kubelet that runs them, each by the ways of its image."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.fakes.cluster import FakeCluster
from tests.fakes.controllers import Controller, Json
from tidegate.core.jobs import JOB_NAME
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import PODS, Kind, Object

GRACE = 5.0
"""Seconds that a pod goes on serving after it was told to go: those of the hook that its template has."""
GRACEFUL = "fake/kubelet"
"""A finalizer: until the kubelet takes it away a deleted pod is there, and serves."""


@dataclass(frozen=True)
class Version:
    """How pods of an image behave."""

    starts_in: float = 1.5
    """Seconds from a pod's creation until its containers run, and it is ready."""
    crashes: bool = False
    image_missing: bool = False
    never_ready: bool = False
    fails_after: float | None = None
    """Seconds after which a ready pod's readiness probe fails."""
    errors: float = 0.0
    """Share of requests answered with a 500."""
    latency: float = 0.05
    """Seconds that a request takes."""
    deep: bool = True
    """What its pods answer of their own health is good."""
    hangs: bool = False
    """They never answer that."""
    knows_check: bool = True
    """They know what they are asked."""

    @property
    def sick(self) -> bool:
        """Its pods do not run as pods should."""
        return self.crashes or self.image_missing or self.never_ready or self.fails_after is not None


Versions = dict[str, Version]
"""By image. One that is not there is a good one."""


def leaving(pod: Object) -> bool:
    """It was told to go."""
    return "deletionTimestamp" in pod["metadata"]


def active(pod: Object) -> bool:
    """It counts as one of its ReplicaSet: it neither goes nor has ended."""
    return not leaving(pod) and pod.get("status", {}).get("phase") not in ("Failed", "Succeeded")


def ready(pod: Object) -> bool:
    """Its Ready condition is True."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", ()))


class Kubelet(Controller):
    """Pods run, become ready, fail, and go, each by the ways of its image."""

    name = "kubelet"
    kinds = (PODS,)

    def __init__(self, cluster: FakeCluster, clock: Clock, versions: Versions) -> None:
        super().__init__(cluster, clock)
        self._versions = versions
        self._known: set[str] = set()

    def _told(self, kind: Kind, type_: str, obj: Object) -> None:
        if kind != PODS or type_ == "DELETED" or JOB_NAME in (obj["metadata"].get("labels") or {}):
            return
        loop, uid = asyncio.get_running_loop(), obj["metadata"]["uid"]
        if type_ == "ADDED":
            version = self.version(obj)
            loop.call_later(version.starts_in, self._start, obj, replace(version))
        elif leaving(obj) and uid not in self._known:
            self._known.add(uid)
            loop.call_later(GRACE, self._end, obj)

    def version(self, pod: Object) -> Version:
        """How the pod behaves."""
        return self._versions.get(pod["spec"]["containers"][0]["image"], Version())

    def _start(self, pod: Object, version: Version) -> None:
        loop = asyncio.get_running_loop()
        if version.image_missing:
            self._say(pod, ready=False, state={"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})
        elif version.crashes:
            self._crash(pod, 1)
        else:
            self._say(pod, ready=not version.never_ready, state=self._running())
            if version.fails_after is not None:
                loop.call_later(version.fails_after, self._fail, pod)

    def _crash(self, pod: Object, times: int) -> None:
        ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
        if times < 3:
            self._say(pod, ready=False, state=ended, last=ended if times > 1 else None, restarts=times - 1)
            asyncio.get_running_loop().call_later(1.0, self._crash, pod, times + 1)
            return
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting"}}
        self._say(pod, ready=False, state=waiting, last=ended, restarts=times - 1)

    def _running(self) -> Json:
        return {"running": {"startedAt": self.cluster.stamp()}}

    def _fail(self, pod: Object) -> None:
        now = self.cluster.find(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
        if now is not None and not leaving(now):
            self._say(now, ready=False, state=now["status"]["containerStatuses"][0]["state"])

    def _end(self, pod: Object) -> None:
        now = self.cluster.find(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
        if now is not None:
            self.patch(PODS, now, {"metadata": {"finalizers": None}})

    def _say(self, pod: Object, *, ready: bool, state: Json, last: Json | None = None, restarts: int = 0) -> None:
        now = self.cluster.find(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
        if now is None or leaving(now):
            return
        before = next((c for c in now.get("status", {}).get("conditions", ())), None)
        said = "True" if ready else "False"
        since = before["lastTransitionTime"] if before and before["status"] == said else self.cluster.stamp()
        container = {
            "name": "app",
            "state": state,
            "restartCount": restarts,
            **({"lastState": last} if last else {}),
        }
        status = {
            "phase": "Running",
            "podIP": address(pod),
            "conditions": [
                {"type": type_, "status": said, "lastTransitionTime": since} for type_ in ("Ready", "ContainersReady")
            ],
            "containerStatuses": [container],
        }
        self.patch(PODS, now, {"status": status}, "status")


def order(pod: Object) -> int:
    """In which order it was made."""
    return int(pod["metadata"]["uid"].removeprefix("uid-"))


def address(pod: Object) -> str:
    """A pod's IP, as good as any."""
    number = order(pod)
    return f"10.0.{number // 250}.{number % 250 + 1}"


def images(template: Mapping[str, Any]) -> list[str]:
    """Images of a pod template."""
    return [container["image"] for container in template["spec"]["containers"]]
