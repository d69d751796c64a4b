"""What the controllers of Kubernetes share that a release meets, over virtual time: right in what matters, no more.

Each one looks at everything it cares for shortly after something of it changed, as real ones do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.fakes.cluster import FakeCluster
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import Conflict, Kind, NotFound, Object

Json = dict[str, Any]


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
        """Bring the world nearer to what is asked for: by each object of the first of its kinds."""
        for obj in self.cluster.all(self.kinds[0]):
            self._sync(obj)

    def _sync(self, obj: Object) -> None:
        """The same by one of them."""
        raise NotImplementedError

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
