"""The one interpreter of actions. Each is idempotent: a crash before, within or after it changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tidegate.api.base import GROUP
from tidegate.core import likeness
from tidegate.core.gate import CEILING, DEADLINE_WISH, FLOOR, FREE, RELEASE
from tidegate.core.hold import RELEASING, Hold, holds, renoted
from tidegate.core.plan import (
    Action,
    Bound,
    DeleteServices,
    EnsureServices,
    Manage,
    RemoveJob,
    RestoreTemplate,
    Seize,
    Select,
    SetDeadline,
    SetFinalizer,
    SetImages,
    SetPaused,
    Split,
    StartJob,
)
from tidegate.core.reading import HASH, unhashed
from tidegate.engine.jobs import Jobs
from tidegate.engine.scene import Scene
from tidegate.ports.cluster import DEPLOYMENTS, REPLICASETS, SERVICES, Cluster, Conflict, Kind, NotFound, Object
from tidegate.ports.router import Router

FINALIZER = f"{GROUP}/release"


class Actor:
    """Carries out actions for one release. Raises ClusterError."""

    def __init__(self, cluster: Cluster, router: Router, jobs: Jobs) -> None:
        self._cluster, self._router, self._jobs = cluster, router, jobs

    async def carry_out(self, actions: Iterable[Action], scene: Scene) -> None:
        """One after the other, in the order of the plan."""
        for action in actions:
            await self._one(action, scene)

    async def _one(self, action: Action, scene: Scene) -> None:
        match action:
            case Manage() | SetDeadline() | SetPaused():
                await self._merge(DEPLOYMENTS, scene, scene.deployment, _DEPLOYMENT[type(action)](action))
            case SetImages(images):
                await self._edit(scene, _images(scene.deployment, images))
            case RestoreTemplate(name):
                await self._edit(scene, _template(await self._whole(scene, name)))
            case Bound():
                await self._merge(REPLICASETS, scene, scene.replicasets.get(action.replicaset), _bound(action))
            case EnsureServices(stable, candidate):
                if scene.backends:
                    await self._ensure(scene, scene.backends.stable, stable)
                    for name in scene.backends.made[1:]:
                        await self._ensure(scene, name, candidate)
            case DeleteServices():
                for name in scene.made:
                    await self._remove(scene, name)
            case Select(hash_, held):
                await self._merge(SERVICES, scene, scene.service, _selection(hash_, scene.hold if held else None))
            case Split(share):
                if scene.backends:
                    await self._router.split(scene.backends, scene.routes, share, scene.hold)
            case Seize():
                await self._seize(scene)
            case SetFinalizer(present):
                await self._finalizer(scene, present=present)
            case StartJob():
                await self._jobs.start(action, scene)
            case RemoveJob(name):
                await self._jobs.remove(name, scene)

    async def _merge(self, kind: Kind, scene: Scene, obj: Object | None, change: Object) -> None:
        """A merge patch of what the decision was made upon."""
        if obj is None:
            return
        meta = {**change.get("metadata", {}), "resourceVersion": scene.version(kind, obj)}
        body = {**change, "metadata": meta}
        scene.wrote(kind, await self._cluster.patch(kind, scene.namespace, obj["metadata"]["name"], body))

    async def _whole(self, scene: Scene, replicaset: str) -> Object | None:
        """A revision with its template, of which the watches' memory keeps no more than the images."""
        known = scene.replicasets.get(replicaset)
        hash_ = known["metadata"]["labels"][HASH] if known else ""
        found = await self._cluster.list(REPLICASETS, scene.namespace, f"{HASH}={hash_}")
        return next((rs for rs in found if rs["metadata"]["name"] == replicaset), None)

    async def _edit(self, scene: Scene, operations: list[Object]) -> None:
        """A JSON patch of the Deployment as the decision was made upon."""
        if scene.deployment is None or not operations:
            return
        version = scene.version(DEPLOYMENTS, scene.deployment)
        body = [{"op": "test", "path": "/metadata/resourceVersion", "value": version}, *operations]
        name = scene.deployment["metadata"]["name"]
        scene.wrote(DEPLOYMENTS, await self._cluster.patch(DEPLOYMENTS, scene.namespace, name, body, type_="json"))

    async def _seize(self, scene: Scene) -> None:
        if scene.backends:
            await self._router.seize(scene.backends, scene.routes, scene.hold)
        if scene.service and holds(scene.hold, scene.service):
            note = {"metadata": {"annotations": {RELEASING: renoted(scene.service, scene.hold)}}}
            await self._merge(SERVICES, scene, scene.service, note)

    async def _ensure(self, scene: Scene, name: str, hash_: str) -> None:
        """A Service like the user's, of one revision. Owned by the release: it goes with it, whatever happens."""
        if scene.service is None:
            return
        notes, selector = likeness.notes(scene.service), scene.service["spec"].get("selector") or {}
        body = {
            "metadata": {
                "name": name,
                "labels": {RELEASE: scene.name},
                **({"annotations": notes} if notes else {}),
                "ownerReferences": [scene.owner()],
            },
            "spec": {**likeness.spec(scene.service), "selector": {**selector, HASH: hash_}},
        }
        try:
            await self._cluster.create(SERVICES, scene.namespace, body)
        except Conflict:
            found = await self._cluster.get(SERVICES, scene.namespace, name)
            if not scene.owns(found):
                raise
            change = {"selector": {HASH: hash_}, "ports": likeness.listed(scene.service)}
            await self._merge(SERVICES, scene, found, {"spec": change})

    async def _remove(self, scene: Scene, name: str) -> None:
        try:
            found = await self._cluster.get(SERVICES, scene.namespace, name)
        except NotFound:
            return
        if scene.owns(found):
            await self._cluster.delete(SERVICES, scene.namespace, name, version=found["metadata"]["resourceVersion"])

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


def _managed(action: Manage) -> Object:
    return {"metadata": {"annotations": {RELEASE: action.release}}}


def _deadline(action: SetDeadline) -> Object:
    note = {"annotations": {DEADLINE_WISH: action.owners}}
    return {"metadata": note, "spec": {"progressDeadlineSeconds": action.seconds}}


def _paused(action: SetPaused) -> Object:
    return {"spec": {"paused": action.paused or None}}


_DEPLOYMENT: Mapping[type, Callable[[Any], Object]] = {Manage: _managed, SetDeadline: _deadline, SetPaused: _paused}


def _bound(action: Bound) -> Object:
    notes: dict[str, str | None] = {FLOOR: action.bounds.floor, CEILING: action.bounds.ceiling}
    if action.bounds == FREE:
        notes |= {RELEASE: None, DEADLINE_WISH: None}
    size = {} if action.replicas is None else {"spec": {"replicas": action.replicas}}
    return {"metadata": {"annotations": notes}, **size}


def _selection(hash_: str | None, hold: Hold | None) -> Object:
    note = {RELEASING: hold.note() if hold else None}
    return {"metadata": {"annotations": note}, "spec": {"selector": {HASH: hash_}}}


def _images(deployment: Object | None, images: Iterable[tuple[str, str]]) -> list[Object]:
    wanted, path = dict(images), "/spec/template/spec/containers"
    containers = deployment["spec"]["template"]["spec"]["containers"] if deployment else ()
    return [
        {"op": "replace", "path": f"{path}/{index}/image", "value": wanted[container["name"]]}
        for index, container in enumerate(containers)
        if container["name"] in wanted
    ]


def _template(replicaset: Object | None) -> list[Object]:
    if replicaset is None:
        return []
    return [{"op": "replace", "path": "/spec/template", "value": unhashed(replicaset["spec"]["template"])}]
