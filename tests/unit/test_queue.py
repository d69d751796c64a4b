"""A key at most once in the queue, never two workers at one, and back-off that events do not shorten."""

from __future__ import annotations

import asyncio

from tests.fakes.virtual import VirtualClock, VirtualLoop

from tidegate.engine.queue import LAST_RETRY, Queue


def virtual(story: object) -> None:
    """Run a coroutine function in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story())  # type: ignore[operator]


async def taken(queue: Queue[str], within: float) -> str | None:
    """The next key, if one comes in time."""
    try:
        return await asyncio.wait_for(queue.get(), within)
    except TimeoutError:
        return None


def test_a_key_is_queued_once_however_often_it_is_added() -> None:
    async def story() -> None:
        queue: Queue[str] = Queue(VirtualClock())
        for key in "aabab":
            queue.add(key)
        assert len(queue) == 2
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        assert await taken(queue, 100) is None

    virtual(story)


def test_a_key_in_work_is_handed_out_again_only_when_it_is_done() -> None:
    async def story() -> None:
        queue: Queue[str] = Queue(VirtualClock())
        queue.add("a")
        await queue.get()
        queue.add("a")
        queue.add("a")
        assert await taken(queue, 100) is None
        queue.done("a")
        assert await taken(queue, 0.001) == "a"
        queue.done("a")
        assert await taken(queue, 100) is None

    virtual(story)


def test_a_timer_hands_out_the_key_then_and_the_sooner_one_stands() -> None:
    async def story() -> None:
        clock = VirtualClock()
        queue: Queue[str] = Queue(clock)
        queue.add_after("a", 60)
        queue.add_after("a", 5)
        queue.add_after("a", 30)
        assert await queue.get() == "a"
        assert abs(clock.monotonic() - 5) < 0.01
        queue.done("a")
        assert await taken(queue, 1000) is None, "the other timers went with it"

    virtual(story)


def test_a_key_that_is_taken_needs_its_timer_no_more() -> None:
    async def story() -> None:
        queue: Queue[str] = Queue(VirtualClock())
        queue.add_after("a", 5)
        queue.add("a")
        assert await queue.get() == "a"
        queue.done("a")
        assert await taken(queue, 100) is None

    virtual(story)


def test_a_timer_that_ends_while_the_key_is_in_work_is_not_lost() -> None:
    async def story() -> None:
        queue: Queue[str] = Queue(VirtualClock())
        queue.add("a")
        await queue.get()
        queue.add_after("a", 1)
        assert await taken(queue, 5) is None
        queue.done("a")
        assert await taken(queue, 0.001) == "a"

    virtual(story)


def test_failures_wait_longer_each_time_and_success_forgets_them() -> None:
    async def story() -> None:
        clock = VirtualClock()
        queue: Queue[str] = Queue(clock)
        queue.add("a")
        waited = []
        for _ in range(12):
            await queue.get()
            began = clock.monotonic()
            queue.done("a", failed=True)
            await queue.get()
            waited.append(clock.monotonic() - began)
            queue.done("a", failed=True)
            await queue.get()
            queue._working.discard("a")
            queue.add("a")
        assert waited == sorted(waited)
        assert abs(waited[0] - 0.25) < 0.01
        assert abs(waited[-1] - LAST_RETRY) < 0.01
        await queue.get()
        queue.done("a")
        queue.add("a")
        await queue.get()
        began = clock.monotonic()
        queue.done("a", failed=True)
        await queue.get()
        assert clock.monotonic() - began < 0.3

    virtual(story)


def test_events_of_a_failing_key_do_not_shorten_its_back_off() -> None:
    async def story() -> None:
        clock = VirtualClock()
        queue: Queue[str] = Queue(clock)
        queue.add("a")
        await queue.get()
        queue.add("a")
        queue.done("a", failed=True, after=7)
        await queue.get()
        assert clock.monotonic() >= 7

    virtual(story)


def test_what_came_while_it_failed_makes_a_key_wait_no_longer_than_at_first() -> None:
    """The answer to a write may be lost, and the watch tell of it before the time-out: that is no failure in a row."""

    async def story() -> None:
        clock = VirtualClock()
        queue: Queue[str] = Queue(clock)
        queue.add("a")
        for _ in range(12):
            await queue.get()
            queue.done("a", failed=True)
        await queue.get()
        queue.add("a")
        began = clock.monotonic()
        queue.done("a", failed=True)
        await queue.get()
        assert abs(clock.monotonic() - began - 0.25) < 0.01
        queue.done("a", failed=True)
        began = clock.monotonic()
        await queue.get()
        assert abs(clock.monotonic() - began - 0.5) < 0.01, "it grows again from there"

    virtual(story)


def test_sixteen_workers_take_a_hundred_keys_and_none_twice() -> None:
    async def story() -> None:
        clock = VirtualClock()
        queue: Queue[str] = Queue(clock)
        done: list[str] = []
        at_once, most = 0, 0

        async def worker() -> None:
            nonlocal at_once, most
            while True:
                key = await queue.get()
                at_once += 1
                most = max(most, at_once)
                await clock.sleep(1)
                at_once -= 1
                done.append(key)
                queue.done(key)

        workers = [asyncio.ensure_future(worker()) for _ in range(16)]
        for index in range(100):
            queue.add(str(index))
        await clock.sleep(8)
        assert sorted(done, key=int) == [str(index) for index in range(100)]
        assert most == 16
        for one in workers:
            one.cancel()

    virtual(story)


def test_a_worker_that_is_cancelled_while_it_waits_leaves_the_turn_to_another() -> None:
    async def story() -> None:
        queue: Queue[str] = Queue(VirtualClock())
        first = asyncio.ensure_future(queue.get())
        second = asyncio.ensure_future(queue.get())
        await asyncio.sleep(1)
        first.cancel()
        queue.add("a")
        assert await asyncio.wait_for(second, 1) == "a"

    virtual(story)
