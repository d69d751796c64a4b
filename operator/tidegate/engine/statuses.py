"""The one write of a status: against the version that was read, and told of once though its answer may be lost."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

from tidegate.api.base import Model
from tidegate.ports.cluster import Cluster, ClusterError, Conflict, Kind, Object

UNREADABLE = timedelta(seconds=30)
"""How long until an object whose status cannot be read is looked at again."""

S_co = TypeVar("S_co", bound=Model, covariant=True)


class Decision(Protocol[S_co]):
    """What is written, and then told."""

    @property
    def status(self) -> S_co:
        """As it is to be."""
        ...


D = TypeVar("D", bound=Decision[Model])


class Statuses(Generic[D]):
    """Writes statuses of the objects of some kinds. Raises ClusterError."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._untold: dict[Hashable, D] = {}
        """Of writes that were not answered. Where one had landed, the next turn finds its end, and no news in it."""

    def landed(self, key: Hashable, status: Model) -> D | None:
        """The decision whose write was not answered, and landed all the same."""
        untold = self._untold.get(key)
        if untold is None or untold.status != status:
            return None
        return self._untold.pop(key)

    def forget(self, key: Hashable) -> None:
        """The object is gone."""
        self._untold.pop(key, None)

    async def write(self, key: Hashable, kind: Kind, obj: Object, decision: D) -> None:
        """Write what is decided upon an object as it was read; its version is then the new one's."""
        try:
            await self._write(kind, obj, decision.status)
        except Conflict:
            raise  # it has not landed, but the one before it may have
        except ClusterError:
            self._untold[key] = decision
            raise
        self._untold.pop(key, None)

    async def _write(self, kind: Kind, obj: Object, status: Model) -> None:
        """What is no longer in it must go: a merge patch says so by null."""
        meta, wanted = obj["metadata"], status.wire()
        gone = dict.fromkeys(key for key in obj.get("status") or {} if key not in wanted)
        body = {
            "metadata": {"resourceVersion": meta["resourceVersion"]},
            "status": {**_nulls(obj, wanted), **gone},
        }
        answer = await self._cluster.patch(kind, meta["namespace"], meta["name"], body, subresource="status")
        meta["resourceVersion"] = answer["metadata"]["resourceVersion"]


def _nulls(obj: Object, wanted: dict[str, object]) -> dict[str, object]:
    """Fields of the parts of the status that are set no more, as nulls; lists are replaced whole."""
    before = obj.get("status") or {}
    return {key: _merge(before.get(key), value) for key, value in wanted.items()}


def _merge(old: object, new: object) -> object:
    if isinstance(old, dict) and isinstance(new, dict):
        return {**dict.fromkeys(old), **{key: _merge(old.get(key), value) for key, value in new.items()}}
    return new
