"""A clean stop: what is in hand is finished, nothing else is begun, and the next replica need not wait."""

from __future__ import annotations

import asyncio
from datetime import datetime

from tests.fakes.cluster import FakeCluster
from tests.fakes.virtual import VirtualClock, VirtualLoop

from tidegate.engine.leader import Leader
from tidegate.engine.meters import Meters
from tidegate.engine.operator import WATCHED, Operator
from tidegate.engine.reconcile import ReleaseKey
from tidegate.engine.store import Store
from tidegate.ports.cluster import CANARY_RELEASES


class Slow:
    """Takes a second for each turn."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.begun: list[str] = []
        self.done: list[str] = []

    async def reconcile(self, key: ReleaseKey) -> datetime | None:
        self.begun.append(key.name)
        await self._clock.sleep(1.0)
        self.done.append(key.name)
        return None


def test_nothing_is_begun_after_a_stop() -> None:
    async def tell() -> tuple[Slow, float]:
        clock = VirtualClock()
        cluster, slow, stop = FakeCluster(clock), Slow(clock), asyncio.Event()
        leader = Leader(cluster, clock, "", "one")
        operator = Operator(cluster, Store(WATCHED), slow, Meters(), clock, leader)  # type: ignore[arg-type]
        running = asyncio.create_task(operator.run(stop))
        await clock.sleep(1.0)
        operator.queue.add(ReleaseKey(CANARY_RELEASES, "shop", "in-hand"))
        await clock.sleep(0.5)
        stop.set()
        stopped = clock.monotonic()
        for name in ("one-more", "and-another"):
            await clock.sleep(0.1)
            operator.queue.add(ReleaseKey(CANARY_RELEASES, "shop", name))
        await running
        return slow, clock.monotonic() - stopped

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        slow, took = runner.run(tell())
    assert slow.begun == slow.done == ["in-hand"]
    assert 0.5 <= took < 0.6
