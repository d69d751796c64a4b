"""The one interpreter of actions. Each is idempotent: a crash before, within or after it changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tidegate.api.base import GROUP
from tidegate.core.gate import CEILING, FLOOR, FREE, RELEASE
from tidegate.core.observed import Backends
from tidegate.core.plan import (
    Action,
    Bound,
    DeleteServices,
    EnsureServices,
    Manage,
    Select,
    SetDeadline,
    SetFinalizer,
    Split,
)
from tidegate.core.reading import HASH
from tidegate.engine.scene import Scene, ours
from tidegate.ports.cluster import DEPLOYMENTS, REPLICASETS, SERVICES, Cluster, Conflict, NotFound
from tidegate.ports.router import Router

FINALIZER = f"{GROUP}/release"


class Actor:
    """Carries out actions for one release. Raises ClusterError."""

    def __init__(self, cluster: Cluster, router: Router) -> None:
        self._cluster, self._router = cluster, router

    async def carry_out(self, actions: Iterable[Action], scene: Scene) -> None:
        """One after the other, in the order of the plan."""
        for action in actions:
            await self._one(action, scene)

    async def _one(self, action: Action, scene: Scene) -> None:
        match action:
            case Manage(release):
                await self._deployment(scene, {"metadata": {"annotations": {RELEASE: release}}})
            case SetDeadline(seconds):
                await self._deployment(scene, {"spec": {"progressDeadlineSeconds": seconds}})
            case Bound():
                await self._bound(action, scene)
            case EnsureServices(stable, candidate):
                if scene.backends:
                    await self._ensure(scene, scene.backends.stable, stable)
                    await self._ensure(scene, scene.backends.canary, candidate)
            case DeleteServices():
                if scene.backends:
                    await self._remove(scene, scene.backends.stable)
                    await self._remove(scene, scene.backends.canary)
            case Select(hash_):
                if scene.backends:
                    await self._select(scene, scene.backends, hash_)
            case Split(weight):
                if scene.backends:
                    await self._router.split(scene.backends, scene.routes, weight, scene.name)
            case SetFinalizer(present):
                await self._finalizer(scene, present=present)

    async def _deployment(self, scene: Scene, body: object) -> None:
        if scene.deployment:
            await self._cluster.patch(DEPLOYMENTS, scene.namespace, scene.deployment["metadata"]["name"], body)

    async def _bound(self, action: Bound, scene: Scene) -> None:
        notes: dict[str, str | None] = {FLOOR: action.bounds.floor, CEILING: action.bounds.ceiling}
        if action.bounds == FREE:
            notes[RELEASE] = None
        body: dict[str, Any] = {"metadata": {"annotations": notes}}
        if action.replicas is not None:
            body["spec"] = {"replicas": action.replicas}
        await self._cluster.patch(REPLICASETS, scene.namespace, action.replicaset, body)

    async def _ensure(self, scene: Scene, name: str, hash_: str) -> None:
        """A Service like the user's, of one revision. Owned by the release: it goes with it, whatever happens."""
        if scene.service is None:
            return
        spec = scene.service["spec"]
        body = {
            "metadata": {
                "name": name,
                "labels": {RELEASE: scene.name},
                "ownerReferences": [scene.owner()],
            },
            "spec": {
                "selector": {**(spec.get("selector") or {}), HASH: hash_},
                "ports": [{key: port[key] for key in _PORT_FIELDS if key in port} for port in spec.get("ports", ())],
                **{key: spec[key] for key in _SERVICE_FIELDS if key in spec},
                **({"clusterIP": "None"} if spec.get("clusterIP") == "None" else {}),
            },
        }
        try:
            await self._cluster.create(SERVICES, scene.namespace, body)
        except Conflict:
            if not ours(await self._cluster.get(SERVICES, scene.namespace, name)):
                raise
            await self._cluster.patch(SERVICES, scene.namespace, name, {"spec": {"selector": {HASH: hash_}}})

    async def _remove(self, scene: Scene, name: str) -> None:
        try:
            found = await self._cluster.get(SERVICES, scene.namespace, name)
        except NotFound:
            return
        if ours(found):
            await self._cluster.delete(SERVICES, scene.namespace, name)

    async def _select(self, scene: Scene, backends: Backends, hash_: str | None) -> None:
        body = {"spec": {"selector": {HASH: hash_}}}
        await self._cluster.patch(SERVICES, scene.namespace, backends.service, body)

    async def _finalizer(self, scene: Scene, *, present: bool) -> None:
        others = [name for name in scene.release["metadata"].get("finalizers") or () if name != FINALIZER]
        body = {
            "metadata": {
                "resourceVersion": scene.release["metadata"]["resourceVersion"],
                "finalizers": [*others, FINALIZER] if present else others,
            }
        }
        try:
            answer = await self._cluster.patch(scene.kind, scene.namespace, scene.name, body)
        except NotFound:
            return
        scene.release["metadata"]["resourceVersion"] = answer["metadata"]["resourceVersion"]


_PORT_FIELDS = ("name", "protocol", "appProtocol", "port", "targetPort")
_SERVICE_FIELDS = (
    "sessionAffinity",
    "sessionAffinityConfig",
    "internalTrafficPolicy",
    "trafficDistribution",
    "ipFamilyPolicy",
)
