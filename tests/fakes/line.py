"""The line between one operator process and the world: every request, sleep and watch event of it goes over this.

Both ends of each wait are a ``Point``. Whoever listens is told of it and may have the operator die there, stand still
until later, or be refused: so every place at which a real process can be interrupted is one that a test can name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Literal, TypeVar

from tests.fakes.cluster import CLIENT, FakeCluster
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import ClusterError, Kind, Object, PatchType

T = TypeVar("T")

When = Literal["before", "after"]
"""What was asked for has had no effect yet, or all of it."""
WRITES = frozenset({"create", "patch", "delete"})
READS = frozenset({"get", "list", "ask"})


@dataclass(frozen=True)
class Point:
    """One end of one wait of an operator."""

    number: int
    """Counted from the operator's start."""
    when: When
    verb: str
    """get, list, create, patch, delete, ask (a router or the metrics), sleep."""
    what: str

    def __str__(self) -> str:
        return f"{self.number}: {self.when} {self.verb} {self.what}".rstrip()

    @property
    def write(self) -> bool:
        """It changes something."""
        return self.verb in WRITES

    @property
    def request(self) -> bool:
        """It is one to the API server, the router or the metrics."""
        return self.write or self.verb in READS


class Line:
    """See the module. It is the cluster port of its operator; ``clock`` and ``asked`` cover the other ports."""

    def __init__(self, cluster: FakeCluster, clock: Clock, client: str) -> None:
        self._cluster, self._clock, self.client = cluster, clock, client
        self.points = 0
        self.listeners: list[Callable[[Point], None]] = []
        """Told of each point, in turn. One that raises has the operator see that error."""
        self.slow = 0.0
        """Seconds that a request takes on its way there, beyond what is usual."""
        self.dead = False
        self._going = asyncio.Event()
        self._going.set()
        self.thawed: Callable[[], None] = lambda: None

    @property
    def frozen(self) -> bool:
        """The process stands still, as after SIGSTOP."""
        return not self._going.is_set()

    def freeze(self) -> None:
        """It stands still at the next point that it comes to."""
        self._going.clear()

    def thaw(self) -> None:
        """It goes on where it stood, and hears all that was told meanwhile."""
        self._going.set()
        self.thawed()

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """As the port."""
        return await self.over("get", f"{kind.name} {name}", self._cluster.get, kind, namespace, name)

    async def list(self, kind: Kind, namespace: str = "", selector: str = "") -> Sequence[Object]:
        """As the port."""
        return await self.over("list", kind.name, self._cluster.list, kind, namespace, selector)

    async def pages(self, kind: Kind, namespace: str = "") -> AsyncIterator[Sequence[Object]]:
        """As the port, in one page."""
        yield await self.list(kind, namespace)

    async def create(self, kind: Kind, namespace: str, body: Mapping[str, Any]) -> Object:
        """As the port."""
        what = f"{kind.name} {body['metadata'].get('name', '')}"
        return await self.over("create", what, self._cluster.create, kind, namespace, body)

    async def patch(
        self, kind: Kind, namespace: str, name: str, body: object, *, type_: PatchType = "merge", subresource: str = ""
    ) -> Object:
        """As the port."""

        async def done() -> Object:
            return await self._cluster.patch(kind, namespace, name, body, type_=type_, subresource=subresource)

        return await self.over("patch", f"{kind.name} {name} {subresource}".rstrip(), done)

    async def delete(self, kind: Kind, namespace: str, name: str, *, version: str = "") -> None:
        """As the port."""

        async def done() -> None:
            await self._cluster.delete(kind, namespace, name, version=version)

        await self.over("delete", f"{kind.name} {name}", done)

    async def over(self, verb: str, what: str, done: Callable[..., Awaitable[T]], *args: object) -> T:
        """Have something done on the other side."""
        await self._meet("before", verb, what)
        CLIENT.set(self.client)
        if self.slow and verb != "sleep":
            await asyncio.sleep(self.slow)
        try:
            answer = await (_sent(done(*args)) if verb in WRITES else done(*args))
        except ClusterError:
            await self._meet("after", verb, what)
            raise
        await self._meet("after", verb, what)
        return answer

    async def _meet(self, when: When, verb: str, what: str) -> None:
        point = Point(self.points, when, verb, what)
        self.points += 1
        for hear in tuple(self.listeners):
            hear(point)
        while self.frozen and not self.dead:
            await self._going.wait()
        if self.dead:
            raise asyncio.CancelledError


async def _sent(request: Awaitable[T]) -> T:
    """Who asked may be gone by then: what was sent arrives all the same."""
    sent = asyncio.ensure_future(request)
    try:
        return await asyncio.shield(sent)
    except asyncio.CancelledError:
        sent.add_done_callback(_forget)
        raise


def _forget(sent: asyncio.Future[Any]) -> None:
    """Nobody is there to hear how it went."""
    if not sent.cancelled():
        sent.exception()


class LineClock:
    """The clock port of one operator: its sleeps are points too."""

    def __init__(self, line: Line, clock: Clock) -> None:
        self._line, self._clock = line, clock

    def now(self) -> datetime:
        """As everybody's."""
        return self._clock.now()

    def monotonic(self) -> float:
        """As everybody's."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Others see no time pass."""
        await self._line.over("sleep", "", asyncio.sleep, seconds)

    def jitter(self) -> float:
        """The middle."""
        return self._clock.jitter()


class Watch:
    """What one operator hears of changes: a little late, and on demand much later, twice, mixed up, or never.

    Objects are mixed up, never the versions of one: a watch is in order, and Kopf keeps a queue an object.
    """

    def __init__(self, line: Line, cluster: FakeCluster, kinds: Sequence[Kind], lag: float) -> None:
        self._line, self._cluster, self._kinds = line, cluster, kinds
        self.lag = lag
        self.deaf = False
        """What changes now it never hears of."""
        self.twice = False
        self.mixed: Random | None = None
        """Objects come in another order than they changed in."""
        self.told: Callable[[Kind, str, Object], None] = lambda *_: None
        self._waiting: list[tuple[Kind, str, Object]] = []
        self._latest: dict[str, float] = {}
        cluster.watchers.append(self._heard)
        line.thawed = self._catch_up

    def close(self) -> None:
        """Nobody listens any more."""
        with suppress(ValueError):
            self._cluster.watchers.remove(self._heard)

    def list_again(self) -> None:
        """410 Gone, or the beginning: all that exists is told. That something is gone is not."""
        for kind in self._kinds:
            for obj in self._cluster.all(kind):
                self._heard(kind, "ADDED", obj)

    def _heard(self, kind: Kind, type_: str, obj: Object) -> None:
        if kind not in self._kinds or self.deaf:
            return
        loop, uid = asyncio.get_running_loop(), obj["metadata"]["uid"]
        lag = self.lag * (1 + 3 * self.mixed.random()) if self.mixed else self.lag
        at = max(loop.time() + lag, self._latest.get(uid, 0.0) + 1e-6)
        self._latest[uid] = at
        for _ in range(2 if self.twice else 1):
            loop.call_at(at, self._tell, kind, type_, obj)

    def _tell(self, kind: Kind, type_: str, obj: Object) -> None:
        if self._line.dead:
            return
        if self._line.frozen:
            self._waiting.append((kind, type_, obj))
            return
        # A copy of its upper parts: the engine may write to what it was given, and so must not be given ours.
        self.told(kind, type_, {**obj, "metadata": {**obj["metadata"]}})

    def _catch_up(self) -> None:
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            self._tell(*event)
