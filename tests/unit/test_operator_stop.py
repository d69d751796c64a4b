"""A clean stop: what is in hand is finished, nothing else is begun, and the next replica need not wait.
Nobody works for a replica that leads no more."""

from __future__ import annotations

import asyncio
from datetime import datetime

from tests.fakes.cluster import FakeCluster
from tests.fakes.virtual import VirtualClock, VirtualLoop

from tidegate.engine.leader import Leader
from tidegate.engine.meters import Meters
from tidegate.engine.operator import WATCHED, Operator
from tidegate.engine.store import Store
from tidegate.engine.subject import Subject
from tidegate.ports.cluster import CANARY_RELEASES, Unavailable


class Slow:
    """Takes a second for each turn."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.begun: list[str] = []
        self.done: list[str] = []

    async def reconcile(self, key: Subject) -> datetime | None:
        self.begun.append(key.name)
        await self._clock.sleep(1.0)
        self.done.append(key.name)
        return None


def test_nothing_is_begun_after_a_stop() -> None:
    async def tell() -> tuple[Slow, float]:
        clock = VirtualClock()
        cluster, slow, stop = FakeCluster(clock), Slow(clock), asyncio.Event()
        leader = Leader(cluster, clock, "", "one")
        operator = Operator(cluster, Store(WATCHED), {CANARY_RELEASES: slow}, Meters(), clock, leader)
        running = asyncio.create_task(operator.run(stop))
        await clock.sleep(1.0)
        operator.queue.add(Subject(CANARY_RELEASES, "shop", "in-hand"))
        await clock.sleep(0.5)
        stop.set()
        stopped = clock.monotonic()
        for name in ("one-more", "and-another"):
            await clock.sleep(0.1)
            operator.queue.add(Subject(CANARY_RELEASES, "shop", name))
        await running
        return slow, clock.monotonic() - stopped

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        slow, took = runner.run(tell())
    assert slow.begun == slow.done == ["in-hand"]
    assert 0.5 <= took < 0.6


class Deaf:
    """Is never done, and hears of a time-out in the moment in which it is cancelled, as what gathers answers does."""

    def __init__(self) -> None:
        self.turns = 0

    async def reconcile(self, key: Subject) -> datetime | None:
        self.turns += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Unavailable("no answer") from None
        return None


class Chair:
    """Leads as it is told."""

    since, term = 0.0, 1

    def __init__(self, clock: VirtualClock) -> None:
        self._clock, self.leads = clock, True

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def elected(self) -> None:
        while not self.leads:
            await self._clock.sleep(0.1)

    async def lost(self) -> None:
        while self.leads:
            await self._clock.sleep(0.1)

    async def resign(self) -> None:
        self.leads = False


def test_no_worker_outlives_its_term_or_a_stop() -> None:
    async def tell() -> None:
        clock = VirtualClock()
        deaf, chair, meters, stop = Deaf(), Chair(clock), Meters(), asyncio.Event()
        operator = Operator(FakeCluster(clock), Store(WATCHED), {CANARY_RELEASES: deaf}, meters, clock, chair)  # type: ignore[arg-type]
        running = asyncio.create_task(operator.run(stop))
        await clock.sleep(1.0)
        operator.queue.add(Subject(CANARY_RELEASES, "shop", "checkout"))
        await clock.sleep(0.5)
        chair.leads = False
        await clock.sleep(60.0)
        assert deaf.turns == 1
        assert meters.leader._value.get() == 0
        chair.leads = True
        await clock.sleep(60.0)
        assert deaf.turns == 2, "the next term works on it"
        stop.set()
        await asyncio.wait_for(running, 60.0)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(tell())
