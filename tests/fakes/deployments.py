"""The controllers of Deployments and ReplicaSets."""

from __future__ import annotations

import asyncio
import json
import math
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from tests.fakes.cluster import merged
from tests.fakes.controllers import Controller, Json, notes, owned, reference
from tests.fakes.kubelet import GRACEFUL, active, order, ready
from tidegate.core.reading import DESIRED, HASH, REVISION
from tidegate.ports.cluster import DEPLOYMENTS, PODS, REPLICASETS, Object

BIG = 2_147_483_647


class DeploymentController(Controller):
    """RollingUpdate as pkg/controller/deployment does it: which ReplicaSet is new, who may grow, who must shrink."""

    name = "deployment-controller"
    kinds = (DEPLOYMENTS, REPLICASETS)

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
        found = next((rs for rs in sets if without_hash(rs["spec"]["template"]) == template), None)
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
                "template": merged(template, {"metadata": {"labels": labels}}),
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
                self._size(deployment, rs, rs["spec"]["replicas"] - removed)
                removable -= removed
        removable = min(removable, sum(_ready(rs) for rs in (*old, new)) - least)
        for rs in sorted(old, key=lambda rs: int(notes(rs)[REVISION])):
            removed = min(rs["spec"]["replicas"], max(0, removable))
            if removed:
                self._size(deployment, rs, rs["spec"]["replicas"] - removed)
                removable -= removed

    def _size(self, deployment: Object, rs: Object, size: int) -> None:
        body = {
            "metadata": {"annotations": {DESIRED: str(_wanted(deployment))}},
            "spec": {"replicas": size},
        }
        self.patch(REPLICASETS, rs, body)

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
            return self._condition("True", "NewReplicaSetAvailable")
        moved = (
            new["updatedReplicas"] > old.get("updatedReplicas", 0)
            or new["readyReplicas"] > old.get("readyReplicas", 0)
            or new["replicas"] - new["updatedReplicas"] < old.get("replicas", 0) - old.get("updatedReplicas", 0)
        )
        if moved or before is None:
            return self._condition("True", "ReplicaSetUpdated")
        if reason in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
            return before
        ends = datetime.fromisoformat(before["lastUpdateTime"]) + timedelta(seconds=deadline)
        left = (ends - self.clock.now()).total_seconds()
        if left >= 0:
            asyncio.get_running_loop().call_later(min(left, 1e6) + 0.5, self.look_again, 0.0)
            return before
        return self._condition("False", "ProgressDeadlineExceeded")

    def _condition(self, status: str, reason: str) -> Json:
        return {
            "type": "Progressing",
            "status": status,
            "reason": reason,
            "lastUpdateTime": self.cluster.stamp(),
        }

    def _progressed(self, deployment: Object, reason: str) -> None:
        if deployment["spec"].get("progressDeadlineSeconds") is not None:
            condition = self._condition("True", reason)
            self.patch(DEPLOYMENTS, deployment, {"status": {"conditions": [condition]}}, "status")


def _inherited(deployment: Object) -> dict[str, str]:
    return {key: value for key, value in notes(deployment).items() if key not in (REVISION, DESIRED)}


def without_hash(template: Json) -> Json:
    """A ReplicaSet's, as its Deployment has it."""
    return merged(template, {"metadata": {"labels": {HASH: None}}})


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
        for pod in sorted(pods, key=lambda pod: (ready(pod), -order(pod)))[: max(0, surplus)]:
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
