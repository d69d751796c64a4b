"""What the watches have told, and the cluster read through it.

Watched kinds are answered from memory, so a release at rest costs no request. Our own writes go into the memory as
they are answered: the next decision sees them, though the watch may lag. An older version never replaces a newer one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tidegate.ports.cluster import Cluster, Kind, NotFound, Object, PatchType

Key = tuple[str, str]
"""Namespace and name."""


class Store:
    """Objects of the watched kinds, without what nobody reads."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._objects: dict[Kind, dict[Key, Object]] = {kind: {} for kind in kinds}
        self._by_namespace: dict[Kind, dict[str, set[str]]] = {kind: defaultdict(set) for kind in self._objects}

    def watches(self, kind: Kind) -> bool:
        """Whether this kind is kept."""
        return kind in self._objects

    def put(self, kind: Kind, obj: Object) -> bool:
        """Keep an object, unless a newer version of it is kept already. True if it was news."""
        key = _key(obj)
        known = self._objects[kind].get(key)
        if known and _version(known) >= _version(obj):
            return False
        self._objects[kind][key] = slim(obj)
        self._by_namespace[kind][key[0]].add(key[1])
        return True

    def drop(self, kind: Kind, obj: Object) -> None:
        """Forget an object that was deleted; not one of the same name that came after it."""
        known = self._objects[kind].get(_key(obj))
        if known and known["metadata"].get("uid") == obj["metadata"].get("uid"):
            self._forget(kind, _key(obj))

    def known(self, kind: Kind) -> dict[Key, str]:
        """What is kept, by uid: to be asked before a list is taken."""
        return {key: obj["metadata"].get("uid", "") for key, obj in self._objects[kind].items()}

    def replace(self, kind: Kind, objects: Sequence[Object], known: Mapping[Key, str]) -> set[Key]:
        """Take a full list: what was ``known`` before and is absent from it is gone. The keys of all that changed.

        What a watch told while the list was on its way is newer than the list, and stays.
        """
        now, listed = self.known(kind), {_key(obj) for obj in objects}
        gone = {key for key, uid in known.items() if key not in listed and now.get(key) == uid}
        for key in gone:
            self._forget(kind, key)
        return gone | {_key(obj) for obj in objects if self.put(kind, obj)}

    def get(self, kind: Kind, key: Key) -> Object | None:
        """One object."""
        return self._objects[kind].get(key)

    def all(self, kind: Kind, namespace: str = "") -> list[Object]:
        """Objects of a namespace, or all."""
        if not namespace:
            return list(self._objects[kind].values())
        return [self._objects[kind][namespace, name] for name in sorted(self._by_namespace[kind][namespace])]

    def _forget(self, kind: Kind, key: Key) -> None:
        del self._objects[kind][key]
        self._by_namespace[kind][key[0]].discard(key[1])


class Cached:
    """A Cluster whose watched kinds are read from the store. It is a Cluster itself."""

    def __init__(self, cluster: Cluster, store: Store) -> None:
        self._cluster, self._store = cluster, store

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """From memory where it is watched."""
        if not self._store.watches(kind):
            return await self._cluster.get(kind, namespace, name)
        found = self._store.get(kind, (namespace, name))
        if found is None:
            raise NotFound(f"{kind.name} {namespace}/{name} not found")
        return found

    async def list(self, kind: Kind, namespace: str = "", selector: str = "") -> Sequence[Object]:
        """From memory where it is watched; a selector always asks the API server."""
        if selector or not self._store.watches(kind):
            return await self._cluster.list(kind, namespace, selector)
        return self._store.all(kind, namespace)

    async def create(self, kind: Kind, namespace: str, body: Mapping[str, Any]) -> Object:
        """Written through, and remembered."""
        return self._remember(kind, await self._cluster.create(kind, namespace, body))

    async def patch(
        self, kind: Kind, namespace: str, name: str, body: object, *, type_: PatchType = "merge", subresource: str = ""
    ) -> Object:
        """Written through, and remembered."""
        return self._remember(
            kind, await self._cluster.patch(kind, namespace, name, body, type_=type_, subresource=subresource)
        )

    async def delete(self, kind: Kind, namespace: str, name: str, *, version: str = "") -> None:
        """Written through; the watch tells when it is gone."""
        await self._cluster.delete(kind, namespace, name, version=version)

    def _remember(self, kind: Kind, obj: Object) -> Object:
        meta = obj["metadata"]
        if self._store.watches(kind):
            if "deletionTimestamp" in meta and not meta.get("finalizers"):
                # It went with this write: kept, it would be a ghost, as the watch may have told so already.
                self._store.drop(kind, obj)
            else:
                self._store.put(kind, obj)
        return obj


def slim(obj: Object) -> Object:
    """An object without what only other tools read: it is most of its size."""
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    notes = meta.get("annotations") or {}
    if "kubectl.kubernetes.io/last-applied-configuration" in notes:
        meta["annotations"] = {
            k: v for k, v in notes.items() if k != "kubectl.kubernetes.io/last-applied-configuration"
        }
    return {**obj, "metadata": meta}


def _key(obj: Object) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _version(obj: Object) -> int:
    # Comparable as numbers since Kubernetes 1.35 (KEP-5504), and in every etcd-backed server before.
    return int(obj["metadata"].get("resourceVersion", 0))
