"""A cluster that fails on demand: the operator dies at a request, or the API server says no, once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from tidegate.ports.cluster import Cluster, Kind, Object, PatchType

T = TypeVar("T")

When = Literal["before", "after"]
"""The request that fails has had no effect yet, or all of it."""


class Crash(BaseException):
    """The operator's process dies here."""


@dataclass
class Faulty:
    """The cluster port around another one. ``arm`` it, and the request that comes then fails."""

    cluster: Cluster
    told: Callable[[str], None] = lambda _: None
    count: int = 0
    """Requests that were counted since it was armed."""
    tripped: str = ""
    """The request that failed."""
    _at: int | None = None
    _when: When = "before"
    _error: BaseException | None = None
    _reads: bool = False
    calls: list[str] = field(default_factory=list)

    def arm(
        self, at: int | None, when: When = "before", error: BaseException | None = None, *, reads: bool = False
    ) -> None:
        """The request of this number from now on fails; None counts only. Reads are counted if asked for."""
        self.count, self.tripped, self.calls = 0, "", []
        self._at, self._when, self._error, self._reads = at, when, error or Crash(), reads

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """As the port."""
        return await self._call(f"get {kind.name}", self.cluster.get(kind, namespace, name), write=False)

    async def list(self, kind: Kind, namespace: str = "", selector: str = "") -> Sequence[Object]:
        """As the port."""
        return await self._call(f"list {kind.name}", self.cluster.list(kind, namespace, selector), write=False)

    async def pages(self, kind: Kind, namespace: str = "") -> AsyncIterator[Sequence[Object]]:
        """As the port, in one page."""
        yield await self.list(kind, namespace)

    async def create(self, kind: Kind, namespace: str, body: Mapping[str, Any]) -> Object:
        """As the port."""
        return await self._call(f"create {kind.name}", self.cluster.create(kind, namespace, body))

    async def patch(
        self, kind: Kind, namespace: str, name: str, body: object, *, type_: PatchType = "merge", subresource: str = ""
    ) -> Object:
        """As the port."""
        done = self.cluster.patch(kind, namespace, name, body, type_=type_, subresource=subresource)
        return await self._call(f"patch {kind.name} {name} {subresource}", done)

    async def delete(self, kind: Kind, namespace: str, name: str, *, version: str = "") -> None:
        """As the port."""
        await self._call(f"delete {kind.name} {name}", self.cluster.delete(kind, namespace, name, version=version))

    async def _call(self, what: str, done: Awaitable[T], *, write: bool = True) -> T:
        mine = write or self._reads
        number, self.count = self.count, self.count + mine
        if mine:
            self.calls.append(what)
        if not mine or number != self._at or self._error is None:
            return await done
        self.tripped = f"{self._when} {what}"
        error, self._error = self._error, None
        if self._when == "after":
            await done
        else:
            done.close()  # type: ignore[attr-defined]
        raise error
