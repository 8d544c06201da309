"""Alarms ring at the time that was set last, and at no other."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine

import uvloop

from lambent.testing import virtual_time
from lambent.worker.alarm import Alarm


def rung(story: Callable[[Alarm], Coroutine[None, None, None]]) -> list[float]:
    """When it rang, in seconds from the beginning, within the minute after the story."""
    times: list[float] = []

    async def play() -> None:
        await story(Alarm(lambda: times.append(round(virtual_time.now() - virtual_time.START_S, 3))))
        await asyncio.sleep(60)

    virtual_time.run(play())
    return times


def test_it_rings_once_at_its_time() -> None:
    async def story(alarm: Alarm) -> None:
        alarm.set(3)

    assert rung(story) == [3]


def test_one_that_is_cleared_does_not_ring() -> None:
    async def story(alarm: Alarm) -> None:
        alarm.set(3)
        await asyncio.sleep(1)
        alarm.clear()

    assert rung(story) == []


def test_only_the_last_time_counts_whether_it_is_later_or_earlier() -> None:
    async def later(alarm: Alarm) -> None:
        for _ in range(10):
            alarm.set(3)
            await asyncio.sleep(1)
            alarm.clear()
        alarm.set(3)

    async def earlier(alarm: Alarm) -> None:
        alarm.set(30)
        await asyncio.sleep(1)
        alarm.set(3)

    assert rung(later) == [13]
    assert rung(earlier) == [4]


def test_it_can_be_set_anew_from_its_own_ring() -> None:
    times: list[float] = []

    async def play() -> None:
        def ring() -> None:
            times.append(round(virtual_time.now() - virtual_time.START_S, 3))
            if len(times) < 3:
                alarm.set(2)

        alarm = Alarm(ring)
        alarm.set(1)
        await asyncio.sleep(60)

    virtual_time.run(play())
    assert times == [1, 3, 5]


def test_one_that_is_cancelled_keeps_nobody_alive() -> None:
    class Owner:
        def __init__(self) -> None:
            self.alarm = Alarm(self.ring)

        def ring(self) -> None:
            raise AssertionError

    async def play() -> None:
        owner = Owner()
        owner.alarm.set(900)
        owner.alarm.cancel()
        gone = weakref.ref(owner)
        gc.disable()  # without looking for circles
        try:
            del owner
            await asyncio.sleep(0)
            assert gone() is None
        finally:
            gc.enable()

    virtual_time.run(play())


def test_the_loop_of_the_server_rings_it_too() -> None:
    async def play() -> None:
        done = asyncio.Event()
        alarm = Alarm(done.set)
        alarm.set(0.05)
        alarm.set(0.01)
        async with asyncio.timeout(30):
            await done.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play())
