"""What the watches have told, and the cluster read through it.

Watched kinds are answered from memory, so a release at rest costs no request. Our own writes go into the memory as
they are answered: the next decision sees them, though the watch may lag. An older version never replaces a newer one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tidegate.core import depth
from tidegate.engine.keep import FEW, slim
from tidegate.engine.refers import ANYWHERE, references
from tidegate.ports.cluster import Cluster, Kind, NotFound, Object, PatchType

Key = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """An object as text: as a tree of dicts it would take five times the memory, and most are hardly ever read."""

    version: int
    uid: str
    text: str
    filed: tuple[str, ...]
    """The references that it is found by."""


class Store:
    """Objects of the watched kinds, without what nobody reads."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._shelves = {kind: _Shelf(kind) for kind in kinds}

    def kinds(self) -> tuple[Kind, ...]:
        """All kinds that are kept."""
        return tuple(self._shelves)

    def watches(self, kind: Kind) -> bool:
        """Whether this kind is kept."""
        return kind in self._shelves

    def put(self, kind: Kind, obj: Object) -> bool:
        """Keep an object, unless a newer version of it is kept already. True if it was news."""
        return self._shelves[kind].put(obj)

    def drop(self, kind: Kind, obj: Object) -> None:
        """Forget an object that was deleted; not one of the same name that came after it."""
        self._shelves[kind].drop(_key(obj), obj["metadata"].get("uid", ""))

    def audit(self, kind: Kind) -> Audit:
        """Begin to compare with a full list that is going to be taken."""
        return Audit(self._shelves[kind])

    def get(self, kind: Kind, key: Key) -> Object | None:
        """One object."""
        return self._shelves[kind].get(key)

    def keys(self, kind: Kind, namespace: str = "") -> list[Key]:
        """The objects of a namespace, or all, by name."""
        return self._shelves[kind].keys(namespace)

    def open(self, kind: Kind, keys: Iterable[Key]) -> list[Object]:
        """These objects."""
        return [obj for key in keys if (obj := self.get(kind, key))]

    def all(self, kind: Kind, namespace: str = "") -> list[Object]:
        """Objects of a namespace, or all."""
        return self.open(kind, self.keys(kind, namespace))

    def referring(self, kind: Kind, namespace: str, to: Collection[str]) -> list[Key]:
        """The objects of a namespace that may refer to any of these."""
        return self._shelves[kind].referring(namespace, to)


class _Shelf:
    """Objects of one kind."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.kept: dict[Key, _Kept] = {}
        self._names: dict[str, set[str]] = defaultdict(set)
        self._files: dict[tuple[str, str], set[Key]] = defaultdict(set)
        self._parsed: dict[str, Object] = {}
        """By text, of kinds of which there are few."""

    def put(self, obj: Object) -> bool:
        key, version = _key(obj), _version(obj)
        known = self.kept.get(key)
        if known and known.version >= version:
            return False
        if known:
            self._unfile(key, known)
        text = depth.cut(depth.dumps(slim(self._kind, obj)))
        self.kept[key] = _Kept(version, obj["metadata"].get("uid", ""), text, self._file(key, obj))
        self._names[key[0]].add(key[1])
        return True

    def drop(self, key: Key, uid: str) -> bool:
        known = self.kept.get(key)
        if known is None or known.uid != uid:
            return False
        self._unfile(key, known)
        del self.kept[key]
        self._names[key[0]].discard(key[1])
        return True

    def get(self, key: Key) -> Object | None:
        found = self.kept.get(key)
        if found is None:
            return None
        obj: Object | None = self._parsed.get(found.text)
        if obj is None:
            obj = depth.loads(found.text)
            if self._kind in FEW:
                self._parsed[found.text] = obj
        return obj

    def keys(self, namespace: str) -> list[Key]:
        if not namespace:
            return list(self.kept)
        return [(namespace, name) for name in sorted(self._names.get(namespace, ()))]

    def referring(self, namespace: str, to: Collection[str]) -> list[Key]:
        if references(self._kind, {"metadata": {"name": ""}}) is None:
            return self.keys(namespace)
        where = self._where(namespace)
        return sorted({key for reference in to for key in self._files.get((where, reference), ())})

    def _file(self, key: Key, obj: Object) -> tuple[str, ...]:
        """Of references that stand together the rarest will do: whoever asks for all of them asks for it, too."""
        where = self._where(key[0])
        filed = tuple(
            min(together, key=lambda reference: len(self._files.get((where, reference), ())))
            for together in references(self._kind, obj) or ()
        )
        for reference in filed:
            self._files[where, reference].add(key)
        return filed

    def _where(self, namespace: str) -> str:
        return "" if self._kind in ANYWHERE else namespace

    def _unfile(self, key: Key, kept: _Kept) -> None:
        where = self._where(key[0])
        self._parsed.pop(kept.text, None)
        for reference in kept.filed:
            file = self._files[where, reference]
            file.discard(key)
            if not file:
                del self._files[where, reference]


class Audit:
    """A full list against what is kept. What was kept before the list was asked for and is absent from it is gone.

    What a watch told while the list was on its way is newer than the list, and stays.
    """

    def __init__(self, shelf: _Shelf) -> None:
        self._shelf = shelf
        self._missing = {key: kept.uid for key, kept in shelf.kept.items()}
        self.changed: set[Key] = set()
        """What the list knew better."""

    def take(self, page: Iterable[Object]) -> None:
        """A part of the list."""
        for obj in page:
            key = _key(obj)
            self._missing.pop(key, None)
            if self._shelf.put(obj):
                self.changed.add(key)

    def end(self) -> None:
        """That was all."""
        self.changed.update(key for key, uid in self._missing.items() if self._shelf.drop(key, uid))


class Cached:
    """A cluster whose watched kinds are read from the store."""

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

    async def referring(self, kind: Kind, namespace: str, to: Collection[str]) -> Sequence[Object]:
        """From memory."""
        return self._store.open(kind, self._store.referring(kind, namespace, to))

    def pages(self, kind: Kind, namespace: str = "") -> AsyncIterator[Iterable[Object]]:
        """Always of the API server."""
        return self._cluster.pages(kind, namespace)

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


def _key(obj: Object) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _version(obj: Object) -> int:
    # Comparable as numbers since Kubernetes 1.35 (KEP-5504), and in every etcd-backed server before.
    return int(obj["metadata"].get("resourceVersion", 0))
