"""The controllers of Kubernetes that a release meets, over virtual time: right in what matters here, no more.

Each one looks at everything it cares for shortly after something of it changed, as real ones do.
"""

from __future__ import annotations

import asyncio
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tests.fakes.cluster import FakeCluster, merge
from tidegate.core.jobs import JOB_NAME
from tidegate.core.reading import DESIRED, HASH, REVISION, selector_text
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    JOBS,
    PODS,
    REPLICASETS,
    SERVICES,
    Conflict,
    Kind,
    NotFound,
    Object,
)

Json = dict[str, Any]

GRACE = 5.0
"""Seconds that a pod goes on serving after it was told to go: those of the hook that its template has."""
GRACEFUL = "fake/kubelet"
"""A finalizer: until the kubelet takes it away a deleted pod is there, and serves."""
BIG = 2_147_483_647


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


class Controller:
    """Looks again ``delay`` seconds after one of its kinds changed."""

    name = "controller"
    kinds: Sequence[Kind] = ()
    delay = 0.02

    def __init__(self, cluster: FakeCluster, clock: Clock) -> None:
        self.cluster, self.clock = cluster, clock
        self._due = False
        cluster.watchers.append(self._told)

    def _told(self, kind: Kind, type_: str, obj: Object) -> None:
        if kind in self.kinds:
            self.look_again(self.delay)

    def look_again(self, delay: float) -> None:
        """Soon; a look that is due already is enough."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(delay, self._look)

    def _look(self) -> None:
        self._due = False
        try:
            self.sync()
        except (Conflict, NotFound):
            self.look_again(self.delay)

    def sync(self) -> None:
        """Bring the world nearer to what is asked for."""
        raise NotImplementedError

    def stamp(self) -> str:
        """Now, as the API writes it: whole seconds."""
        return self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def patch(self, kind: Kind, obj: Object, body: Json, subresource: str = "") -> Object:
        """Change an object as this controller."""
        meta = obj["metadata"]
        return self.cluster.patch_as(
            self.name, kind, meta.get("namespace", ""), meta["name"], body, subresource=subresource
        )


def owned(objects: Sequence[Object], owner: Object) -> list[Object]:
    """Those that the owner controls."""
    uid = owner["metadata"]["uid"]
    return [obj for obj in objects if any(ref["uid"] == uid for ref in obj["metadata"].get("ownerReferences", ()))]


def notes(obj: Object) -> dict[str, str]:
    """Annotations."""
    return obj["metadata"].get("annotations") or {}


def reference(kind: Kind, owner: Object) -> Json:
    """To be put in ownerReferences."""
    meta = owner["metadata"]
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }


class DeploymentController(Controller):
    """RollingUpdate as pkg/controller/deployment does it: which ReplicaSet is new, who may grow, who must shrink."""

    name = "deployment-controller"
    kinds = (DEPLOYMENTS, REPLICASETS)

    def sync(self) -> None:
        """All Deployments."""
        for deployment in self.cluster.all(DEPLOYMENTS):
            self._sync(deployment)

    def _sync(self, deployment: Object) -> None:
        sets = owned(self.cluster.all(REPLICASETS, deployment["metadata"]["namespace"]), deployment)
        scaling = any(rs["spec"]["replicas"] > 0 and notes(rs).get(DESIRED) != str(_wanted(deployment)) for rs in sets)
        paused = bool(deployment["spec"].get("paused"))
        new = self._new(deployment, sets, create=not paused)
        old = [rs for rs in sets if new is None or rs["metadata"]["name"] != new["metadata"]["name"]]
        if paused or scaling:
            self._scale(deployment, new, old)
        elif new is not None and not self._grow(deployment, new, old):
            self._shrink(deployment, new, old)
        self._report(deployment)

    def _new(self, deployment: Object, sets: Sequence[Object], *, create: bool) -> Object | None:
        """The ReplicaSet of the current template, with the newest revision and the Deployment's annotations."""
        template = deployment["spec"]["template"]
        newest = max((int(notes(rs)[REVISION]) for rs in sets), default=0)
        found = next((rs for rs in sets if _without_hash(rs["spec"]["template"]) == template), None)
        if found is None and create:
            found = self._create(deployment, template, newest + 1, sets)
        if found is None:
            return None
        mine = {**_inherited(deployment)}
        others = [int(notes(rs)[REVISION]) for rs in sets if rs["metadata"]["name"] != found["metadata"]["name"]]
        if others and max(others) > int(notes(found)[REVISION]):
            mine[REVISION] = str(newest + 1)
        found = self.patch(REPLICASETS, found, {"metadata": {"annotations": mine}})
        self.patch(DEPLOYMENTS, deployment, {"metadata": {"annotations": {REVISION: notes(found)[REVISION]}}})
        return found

    def _create(self, deployment: Object, template: Json, revision: int, sets: Sequence[Object]) -> Object:
        meta = deployment["metadata"]
        hash_ = f"{zlib.crc32(json.dumps(template, sort_keys=True).encode()):08x}"
        labels = {**template["metadata"]["labels"], HASH: hash_}
        total = sum(rs["spec"]["replicas"] for rs in sets)
        size = max(0, min(_wanted(deployment), _wanted(deployment) + _surge(deployment) - total))
        body = {
            "metadata": {
                "name": f"{meta['name']}-{hash_}",
                "labels": labels,
                "ownerReferences": [reference(DEPLOYMENTS, deployment)],
                "annotations": {
                    **_inherited(deployment),
                    REVISION: str(revision),
                    DESIRED: str(_wanted(deployment)),
                },
            },
            "spec": {
                "replicas": size,
                "selector": {"matchLabels": labels},
                "template": merge(template, {"metadata": {"labels": labels}}),
            },
        }
        created = self.cluster.create_as(self.name, REPLICASETS, meta["namespace"], body)
        self._progressed(deployment, "NewReplicaSetReason")
        return created

    def _scale(self, deployment: Object, new: Object | None, old: Sequence[Object]) -> None:
        """The Deployment's size changed: in proportion, unless one ReplicaSet is all there is."""
        wanted = _wanted(deployment)
        everyone = [*old, *([new] if new else [])]
        active = [rs for rs in everyone if rs["spec"]["replicas"] > 0]
        if len(active) <= 1:
            last = active[0] if active else new
            if last is not None:
                self._size(deployment, last, wanted)
            return
        if new is not None and self._saturated(deployment, new):
            for rs in old:
                self._size(deployment, rs, 0)
            return
        allowed = wanted + _surge(deployment) if wanted else 0
        to_add = allowed - sum(rs["spec"]["replicas"] for rs in active)
        added = 0
        older = 1 if to_add < 0 else -1
        active.sort(key=lambda rs: (-rs["spec"]["replicas"], older * int(notes(rs)[REVISION])))
        sizes: list[int] = []
        for rs in active:
            size = rs["spec"]["replicas"]
            before = int(notes(rs).get(DESIRED, wanted)) + _surge(deployment)
            share = round(size * allowed / before) - size if before else 0
            room = to_add - added
            step = min(share, room) if to_add > 0 else max(share, room)
            added += step
            sizes.append(size + step)
        sizes[0] += to_add - added
        for rs, size in zip(active, sizes, strict=True):
            self._size(deployment, rs, max(0, size))

    def _saturated(self, deployment: Object, new: Object) -> bool:
        """Paused or not, nobody else is needed: deployment/sync.go, ``scale``."""
        wanted = _wanted(deployment)
        return [new["spec"]["replicas"], int(notes(new).get(DESIRED, -1)), _ready(new)] == [wanted] * 3

    def _grow(self, deployment: Object, new: Object, old: Sequence[Object]) -> bool:
        """True when it asked for another size, whatever the gate granted."""
        wanted, size = _wanted(deployment), int(new["spec"]["replicas"])
        if size == wanted:
            return False
        total = size + sum(rs["spec"]["replicas"] for rs in old)
        room = wanted + _surge(deployment) - total
        asked = wanted if size > wanted else size + max(0, min(room, wanted - size))
        self._size(deployment, new, asked)
        return asked != size

    def _shrink(self, deployment: Object, new: Object, old: Sequence[Object]) -> None:
        total = sum(rs["spec"]["replicas"] for rs in (*old, new))
        if total == new["spec"]["replicas"]:
            return
        least = _wanted(deployment) - _unavailable(deployment)
        unready = max(0, new["spec"]["replicas"] - _ready(new))
        removable = total - least - unready
        for rs in sorted(old, key=lambda rs: int(notes(rs)[REVISION])):
            sick = max(0, rs["spec"]["replicas"] - _ready(rs))
            removed = min(sick, max(0, removable))
            if removed:
                rs = self._size(deployment, rs, rs["spec"]["replicas"] - removed)  # noqa: PLW2901
                removable -= removed
        removable = min(removable, sum(_ready(rs) for rs in (*old, new)) - least)
        for rs in sorted(old, key=lambda rs: int(notes(rs)[REVISION])):
            removed = min(rs["spec"]["replicas"], max(0, removable))
            if removed:
                self._size(deployment, rs, rs["spec"]["replicas"] - removed)
                removable -= removed

    def _size(self, deployment: Object, rs: Object, size: int) -> Object:
        body = {
            "metadata": {"annotations": {DESIRED: str(_wanted(deployment))}},
            "spec": {"replicas": size},
        }
        return self.patch(REPLICASETS, rs, body)

    def _report(self, before: Object) -> None:
        """Status: counts, the observed generation, and the Progressing condition."""
        meta = before["metadata"]
        deployment = self.cluster.find(DEPLOYMENTS, meta["namespace"], meta["name"])
        if deployment is None:
            return
        sets = owned(self.cluster.all(REPLICASETS, meta["namespace"]), deployment)
        new = next((rs for rs in sets if notes(rs)[REVISION] == notes(deployment).get(REVISION)), None)
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": sum(rs.get("status", {}).get("replicas", 0) for rs in sets),
            "updatedReplicas": new.get("status", {}).get("replicas", 0) if new else 0,
            "readyReplicas": sum(_ready(rs) for rs in sets),
            "availableReplicas": sum(_ready(rs) for rs in sets),
        }
        old = deployment.get("status", {})
        condition = self._progressing(deployment, old, status)
        body = {**status, "conditions": [condition] if condition else None}
        self.patch(DEPLOYMENTS, deployment, {"status": body}, "status")

    def _progressing(self, deployment: Object, old: Json, new: Json) -> Json | None:
        deadline = deployment["spec"].get("progressDeadlineSeconds")
        if deadline is None or deadline == BIG:
            return None
        before: Json | None = next((c for c in old.get("conditions", ()) if c["type"] == "Progressing"), None)
        wanted = _wanted(deployment)
        reason = before["reason"] if before else ""
        if new["replicas"] == new["updatedReplicas"] and reason == "NewReplicaSetAvailable":
            return before
        if new["updatedReplicas"] == new["replicas"] == new["availableReplicas"] == wanted:
            return _condition("True", "NewReplicaSetAvailable", self.clock.now())
        moved = (
            new["updatedReplicas"] > old.get("updatedReplicas", 0)
            or new["readyReplicas"] > old.get("readyReplicas", 0)
            or new["replicas"] - new["updatedReplicas"] < old.get("replicas", 0) - old.get("updatedReplicas", 0)
        )
        if moved or before is None:
            return _condition("True", "ReplicaSetUpdated", self.clock.now())
        if reason in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
            return before
        ends = datetime.fromisoformat(before["lastUpdateTime"]) + timedelta(seconds=deadline)
        left = (ends - self.clock.now()).total_seconds()
        if left >= 0:
            asyncio.get_running_loop().call_later(min(left, 1e6) + 0.5, self.look_again, 0.0)
            return before
        return _condition("False", "ProgressDeadlineExceeded", self.clock.now())

    def _progressed(self, deployment: Object, reason: str) -> None:
        if deployment["spec"].get("progressDeadlineSeconds") is not None:
            condition = _condition("True", reason, self.clock.now())
            self.patch(DEPLOYMENTS, deployment, {"status": {"conditions": [condition]}}, "status")


def _condition(status: str, reason: str, now: datetime) -> Json:
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "Progressing", "status": status, "reason": reason, "lastUpdateTime": stamp}


def _inherited(deployment: Object) -> dict[str, str]:
    return {key: value for key, value in notes(deployment).items() if key not in (REVISION, DESIRED)}


def _without_hash(template: Json) -> Json:
    return merge(template, {"metadata": {"labels": {HASH: None}}})  # type: ignore[no-any-return]


def _wanted(deployment: Object) -> int:
    return int(deployment["spec"].get("replicas", 1))


def _ready(rs: Object) -> int:
    return int(rs.get("status", {}).get("readyReplicas", 0))


def _rolling(deployment: Object, key: str) -> str | int:
    found: str | int = deployment["spec"].get("strategy", {}).get("rollingUpdate", {}).get(key, "25%")
    return found


def _surge(deployment: Object) -> int:
    value = _rolling(deployment, "maxSurge")
    return value if isinstance(value, int) else math.ceil(_wanted(deployment) * int(value[:-1]) / 100)


def _unavailable(deployment: Object) -> int:
    value = _rolling(deployment, "maxUnavailable")
    found = value if isinstance(value, int) else _wanted(deployment) * int(value[:-1]) // 100
    return found or (0 if _surge(deployment) else 1)


class ReplicaSetController(Controller):
    """As many pods as asked for; the unready go first, and of the others the newest."""

    name = "replicaset-controller"
    kinds = (REPLICASETS, PODS)

    def sync(self) -> None:
        """All ReplicaSets."""
        for rs in self.cluster.all(REPLICASETS):
            self._sync(rs)

    def _sync(self, rs: Object) -> None:
        namespace = rs["metadata"]["namespace"]
        pods = [pod for pod in owned(self.cluster.all(PODS, namespace), rs) if active(pod)]
        for _ in range(rs["spec"]["replicas"] - len(pods)):
            body = {
                "metadata": {
                    "generateName": f"{rs['metadata']['name']}-",
                    "labels": rs["spec"]["template"]["metadata"]["labels"],
                    "ownerReferences": [reference(REPLICASETS, rs)],
                },
                "spec": rs["spec"]["template"]["spec"],
            }
            self.cluster.create_as(self.name, PODS, namespace, body)
        surplus = len(pods) - rs["spec"]["replicas"]
        for pod in sorted(pods, key=lambda pod: (ready(pod), -_number(pod)))[: max(0, surplus)]:
            finalizers = {"metadata": {"finalizers": [GRACEFUL]}}
            self.patch(PODS, pod, finalizers)
            self.cluster.delete_as(self.name, PODS, namespace, pod["metadata"]["name"])
        left = [pod for pod in owned(self.cluster.all(PODS, namespace), rs) if active(pod)]
        status = {
            "observedGeneration": rs["metadata"]["generation"],
            "replicas": len(left),
            "readyReplicas": sum(ready(pod) for pod in left),
        }
        self.patch(REPLICASETS, rs, {"status": status}, "status")


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
        return {"running": {"startedAt": self.stamp()}}

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
        since = before["lastTransitionTime"] if before and before["status"] == said else self.stamp()
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


class EndpointSliceController(Controller):
    """One slice a Service, with the pods that it selects."""

    name = "endpointslice-controller"
    kinds = (SERVICES, PODS)
    delay = 0.2
    blind: str = ""
    """A Service that it is late with."""

    def sync(self) -> None:
        """All Services."""
        services = self.cluster.all(SERVICES)
        for service in services:
            self._sync(service)

    def _sync(self, service: Object) -> None:
        meta, selector = service["metadata"], service["spec"].get("selector")
        if not selector or meta["name"] == self.blind:
            return
        pods = self.cluster.all(PODS, meta["namespace"], selector_text({"matchLabels": selector}))
        endpoints = [
            {
                "addresses": [address(pod)],
                "conditions": {"ready": ready(pod) and not leaving(pod)},
                "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"]},
            }
            for pod in pods
            if pod.get("status")
        ]
        name = f"{meta['name']}-{meta['uid']}"
        of_name = f"kubernetes.io/service-name={meta['name']}"
        for slice_ in self.cluster.all(ENDPOINT_SLICES, meta["namespace"], of_name):
            if slice_["metadata"]["name"] != name:
                # Of a Service of this name that was deleted: nobody has kept it since.
                self.cluster.delete_as(self.name, ENDPOINT_SLICES, meta["namespace"], slice_["metadata"]["name"])
        if self.cluster.find(ENDPOINT_SLICES, meta["namespace"], name) is None:
            body = {
                "metadata": {
                    "name": name,
                    "labels": {"kubernetes.io/service-name": meta["name"]},
                    "ownerReferences": [reference(SERVICES, service)],
                },
                "endpoints": endpoints,
            }
            self.cluster.create_as(self.name, ENDPOINT_SLICES, meta["namespace"], body)
            return
        found = self.cluster.find(ENDPOINT_SLICES, meta["namespace"], name)
        if found is not None:
            self.patch(ENDPOINT_SLICES, found, {"endpoints": endpoints})


@dataclass(frozen=True)
class Work:
    """What the Job of an image does."""

    seconds: float = 2.0
    code: int = 0
    says: str = ""


class JobController(Controller):
    """A pod a Job, which ends by the ways of its image, or at its deadline."""

    name = "job-controller"

    def __init__(self, cluster: FakeCluster, clock: Clock, works: Mapping[str, Work]) -> None:
        super().__init__(cluster, clock)
        self._works = works

    def _told(self, kind: Kind, type_: str, obj: Object) -> None:
        if kind != JOBS or type_ != "ADDED":
            return
        meta, template = obj["metadata"], obj["spec"]["template"]
        body = {
            "metadata": {
                "generateName": f"{meta['name']}-",
                "labels": {**template["metadata"]["labels"], JOB_NAME: meta["name"]},
                "ownerReferences": [reference(JOBS, obj)],
            },
            "spec": template["spec"],
        }
        work = self._works.get(images(template)[0], Work())
        deadline = obj["spec"].get("activeDeadlineSeconds") or math.inf
        loop = asyncio.get_running_loop()
        loop.call_later(0.1, self.cluster.create_as, self.name, PODS, meta["namespace"], body)
        loop.call_later(min(work.seconds, deadline) + 0.2, self._end, obj, work, work.seconds > deadline)

    def _end(self, job: Object, work: Work, late: bool) -> None:
        meta = job["metadata"]
        now = self.cluster.find(JOBS, meta["namespace"], meta["name"])
        if now is None or now["metadata"]["uid"] != meta["uid"]:
            return
        for pod in owned(self.cluster.all(PODS, meta["namespace"]), job):
            if late:
                self.cluster.delete_as(self.name, PODS, meta["namespace"], pod["metadata"]["name"])
                continue
            ended = {"terminated": {"exitCode": work.code, "message": work.says}}
            status = {
                "phase": "Failed" if work.code else "Succeeded",
                "containerStatuses": [{"name": "work", "state": ended}],
            }
            self.patch(PODS, pod, {"status": status}, "status")
        failed = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded" if late else "BackoffLimitExceeded"}
        condition = failed if work.code or late else {"type": "Complete", "status": "True"}
        self.patch(JOBS, now, {"status": {"conditions": [condition]}}, "status")


def _number(pod: Object) -> int:
    """In which order it was made."""
    return int(pod["metadata"]["uid"].removeprefix("uid-"))


def address(pod: Object) -> str:
    """A pod's IP, as good as any."""
    number = _number(pod)
    return f"10.0.{number // 250}.{number % 250 + 1}"


def images(template: Mapping[str, Any]) -> list[str]:
    """Images of a pod template."""
    return [container["image"] for container in template["spec"]["containers"]]
