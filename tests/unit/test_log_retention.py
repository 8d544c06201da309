"""Retention under a clock and a sleep of the test's own."""

from __future__ import annotations

import asyncio
import logging

import pytest

from lambent.adapters.memory.log_store import MemoryLogStore
from lambent.logs.retention import keep_trimming
from lambent.ports.log_store import DAY_MS, Batch, GroupKey, Query, Record, StreamKey

GROUP = GroupKey("000000000000", "eu-central-1", "g")


class Days:
    """Each sleep lets a day pass; after `count` of them the test is over."""

    def __init__(self, count: int) -> None:
        self.now = 0.0
        self.remaining = count

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds == 60.0
        if not self.remaining:
            raise asyncio.CancelledError
        self.remaining -= 1
        self.now += DAY_MS / 1000


async def trim_for(days: Days, store: MemoryLogStore) -> None:
    with pytest.raises(asyncio.CancelledError):
        await keep_trimming(store, interval_s=60.0, clock=days.clock, sleep=days.sleep)


async def test_events_are_removed_as_they_expire() -> None:
    store = MemoryLogStore()
    for day in range(5):
        await store.append([Batch(StreamKey(GROUP, "s"), [Record(day * DAY_MS, b"%d" % day)], 0)])
    await store.set_retention(GROUP, 3)
    await trim_for(Days(3), store)
    assert [event.message for event in await store.read(Query(group=GROUP))] == ["0", "1", "2", "3", "4"]
    await trim_for(Days(5), store)
    assert [event.message for event in await store.read(Query(group=GROUP))] == ["2", "3", "4"]


async def test_trimming_goes_on_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(MemoryLogStore):
        calls = 0

        async def trim(self, now_ms: int) -> int:
            self.calls += 1
            raise OSError("disk")

    store = Failing()
    with caplog.at_level(logging.ERROR):
        await trim_for(Days(2), store)
    assert store.calls == 3
    assert caplog.records[0].message == "logs.trim_failed"
