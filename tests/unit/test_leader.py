"""Who works, by a Lease: one at a time, the next at once or when time is up, and nobody who has lost it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.fakes.cluster import FakeCluster
from tests.fakes.virtual import VirtualClock, VirtualLoop

from tidegate.engine.leader import DURATION, LOOK_EVERY, RENEW_BY, RENEW_EVERY, Fenced, Leader
from tidegate.ports.cluster import DEPLOYMENTS, LEASES, LONGEST_WRITE, Cluster, Unavailable

LEASE = "system/tidegate"


class Cut:
    """A connection that can be cut."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.cut = cluster, False

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        async def call(*arguments: object, **options: object) -> object:
            if self.cut:
                raise Unavailable("no route to host")
            done: object = await getattr(self.cluster, name)(*arguments, **options)
            return done

        return call


class Held:
    """A line on which a write is on its way for as long as it is held; with ``lost``, its answer never comes."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.open, self.held, self.lost = cluster, asyncio.Event(), asyncio.Event(), False
        self.open.set()

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        async def call(*arguments: object, **options: object) -> object:
            on_its_way = name == "patch" and not self.open.is_set()
            if on_its_way:
                self.held.set()
                await self.open.wait()
            done: object = await getattr(self.cluster, name)(*arguments, **options)
            if on_its_way and self.lost:
                raise Unavailable("reset by peer")
            return done

        return call


def story(tell: Callable[[FakeCluster], Awaitable[None]]) -> None:
    """Tell it in virtual time."""

    async def whole() -> None:
        await tell(FakeCluster(VirtualClock()))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(whole())


def replica(cluster: object, name: str) -> tuple[Leader, asyncio.Task[None]]:
    """One that stands for election."""
    leader = Leader(cluster, VirtualClock(), LEASE, name)  # type: ignore[arg-type]
    return leader, asyncio.create_task(leader.run())


def holder(cluster: FakeCluster) -> str:
    """As the Lease says."""
    found = cluster.find(LEASES, "system", "tidegate")
    return str(found["spec"]["holderIdentity"]) if found else ""


def test_without_a_lease_everybody_leads() -> None:
    async def tell(cluster: FakeCluster) -> None:
        alone = Leader(cluster, VirtualClock(), "", "a")
        await asyncio.wait_for(alone.run(), 1)
        assert alone.leads
        assert alone.term == 0
        assert not cluster.requests

    story(tell)


def test_one_leads_and_goes_on_leading() -> None:
    async def tell(cluster: FakeCluster) -> None:
        a, task_a = replica(cluster, "a")
        await a.elected()
        b, task_b = replica(cluster, "b")
        for _ in range(600):
            await asyncio.sleep(0.5)
            assert (a.leads, b.leads) == (True, False)
        assert (holder(cluster), a.term) == ("a", 1)
        task_a.cancel()
        task_b.cancel()

    story(tell)


def test_a_clean_stop_hands_over_at_once() -> None:
    async def tell(cluster: FakeCluster) -> None:
        a, task_a = replica(cluster, "a")
        await a.elected()
        b, task_b = replica(cluster, "b")
        await asyncio.sleep(5)
        await a.resign()
        task_a.cancel()
        assert not a.leads
        before = asyncio.get_running_loop().time()
        await b.elected()
        assert asyncio.get_running_loop().time() - before <= LOOK_EVERY + 0.2
        assert b.term == 2
        task_b.cancel()

    story(tell)


@pytest.mark.parametrize("lost", [False, True], ids=["answered", "its answer lost"])
def test_a_renewal_that_is_under_way_does_not_win_against_a_clean_stop(lost: bool) -> None:
    async def tell(cluster: FakeCluster) -> None:
        line = Held(cluster)
        a, task_a = replica(line, "a")
        await a.elected()
        b, task_b = replica(cluster, "b")
        await asyncio.sleep(5)
        line.lost = lost
        line.open.clear()
        await line.held.wait()
        resigning = asyncio.create_task(a.resign())
        await asyncio.sleep(0.05)
        assert not a.leads, "nothing is begun any more"
        line.open.set()
        before = asyncio.get_running_loop().time()
        await resigning
        assert holder(cluster) == ""
        await b.elected()
        assert asyncio.get_running_loop().time() - before <= LOOK_EVERY + 0.2
        assert not a.leads
        await asyncio.wait_for(task_a, RENEW_EVERY + 0.1)
        task_b.cancel()

    story(tell)


def test_a_stop_does_not_wait_long_for_an_api_server_that_does_not_answer() -> None:
    async def tell(cluster: FakeCluster) -> None:
        line = Held(cluster)
        a, task = replica(line, "a")
        await a.elected()
        line.open.clear()
        await line.held.wait()
        before = asyncio.get_running_loop().time()
        await a.resign()
        assert asyncio.get_running_loop().time() - before <= LONGEST_WRITE
        assert not a.leads
        task.cancel()

    story(tell)


def test_who_waits_takes_nothing_from_the_holder_when_it_stops() -> None:
    async def tell(cluster: FakeCluster) -> None:
        a, task_a = replica(cluster, "a")
        await a.elected()
        b, task_b = replica(cluster, "b")
        await asyncio.sleep(5)
        await b.resign()
        assert (holder(cluster), a.leads) == ("a", True)
        task_a.cancel()
        task_b.cancel()

    story(tell)


def test_after_a_crash_it_takes_the_duration_and_no_less() -> None:
    async def tell(cluster: FakeCluster) -> None:
        a, task_a = replica(cluster, "a")
        await a.elected()
        b, task_b = replica(cluster, "b")
        await asyncio.sleep(5)
        task_a.cancel()
        before = asyncio.get_running_loop().time()
        await b.elected()
        took = asyncio.get_running_loop().time() - before
        assert DURATION - 3 <= took <= DURATION + LOOK_EVERY + 0.2
        task_b.cancel()

    story(tell)


def test_who_cannot_renew_stops_before_anybody_takes_over() -> None:
    assert RENEW_BY + LONGEST_WRITE <= DURATION

    async def tell(cluster: FakeCluster) -> None:
        line = Cut(cluster)
        a, task_a = replica(line, "a")
        await a.elected()
        b, task_b = replica(cluster, "b")
        await asyncio.sleep(5)
        line.cut = True
        while not b.leads:
            await asyncio.sleep(0.05)
            assert not (a.leads and b.leads)
        with pytest.raises(Unavailable, match="leads no more"):
            await Fenced(cluster, a).patch(DEPLOYMENTS, "shop", "checkout", {})
        line.cut = False
        await asyncio.sleep(30)
        assert (a.leads, b.leads, holder(cluster)) == (False, True, "b")
        task_a.cancel()
        task_b.cancel()

    story(tell)


def test_an_outage_of_the_api_server_ends_and_somebody_leads_again() -> None:
    async def tell(cluster: FakeCluster) -> None:
        line = Cut(cluster)
        a, task = replica(line, "a")
        await a.elected()
        line.cut = True
        await a.lost()
        await asyncio.sleep(300)
        assert not a.leads
        line.cut = False
        await asyncio.wait_for(a.elected(), 5)
        assert a.term == 1, "nobody led in between"
        task.cancel()

    story(tell)


def test_of_two_who_take_it_at_once_one_does() -> None:
    async def tell(cluster: FakeCluster) -> None:
        replicas = [replica(Cut(cluster), name) for name in "abcde"]
        await asyncio.sleep(3)
        assert sum(leader.leads for leader, _ in replicas) == 1
        for _, task in replicas:
            task.cancel()

    story(tell)
