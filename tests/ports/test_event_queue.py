"""One suite for every event queue; what only a file can suffer is tested on SQLite."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lambent.adapters.memory.event_queue import MemoryEventQueue
from lambent.adapters.sqlite.event_queue import SqliteEventQueue
from lambent.model.errors import PlatformError
from lambent.ports.event_queue import EventQueue, Item, ItemId, Lane
from lambent.ports.store import WriteFailed


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
async def queue(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[EventQueue]:
    memory = request.param == "memory"
    async with MemoryEventQueue(clock=clock) if memory else SqliteEventQueue(tmp_path / "e.db", clock=clock) as opened:
        yield opened


def item(body: bytes = b"{}", lane: str = "a", head: bytes = b"head") -> Item:
    return Item(lane, head, body)


async def bodies(queue: EventQueue, lane: str = "a", limit: int = 100) -> list[bytes]:
    return [one.body for one in (await queue.take(lane, limit)).items]


async def test_what_was_put_is_taken_once_in_order(queue: EventQueue) -> None:
    for body in (b"1", b"2", b"3"):
        await queue.put(item(body))
    assert await bodies(queue, limit=2) == [b"1", b"2"]
    assert await bodies(queue) == [b"3"]
    assert await bodies(queue) == []


async def test_lanes_do_not_see_each_other(queue: EventQueue) -> None:
    await queue.put(item(b"1", lane="a"))
    await queue.put(item(b"2", lane="b"))
    assert await bodies(queue, "b") == [b"2"]
    assert await bodies(queue, "c") == []
    assert sorted(queue.lanes()) == [Lane("a", 1), Lane("b", 1)]


async def test_a_delayed_item_is_due_at_its_time_and_the_batch_says_when(queue: EventQueue, clock: Clock) -> None:
    await queue.put(item(), delay_s=60)
    batch = await queue.take("a", 10)
    assert (list(batch.items), batch.next_due_ms) == ([], int((clock.now_s + 60) * 1000))
    clock.now_s += 60
    assert await bodies(queue) == [b"{}"]
    assert (await queue.take("a", 10)).next_due_ms is None


async def test_an_acknowledged_item_is_gone(queue: EventQueue) -> None:
    await queue.put(item())
    (taken,) = (await queue.take("a", 1)).items
    await queue.ack(taken.id)
    assert await queue.get(taken.id) is None
    assert queue.lanes() == []


async def test_what_follows_from_an_item_is_put_as_it_goes(queue: EventQueue) -> None:
    await queue.put(item())
    (taken,) = (await queue.take("a", 1)).items
    await queue.ack(taken.id, successors=[item(b"1", lane="b"), item(b"2", lane="c")])
    assert await bodies(queue, "a") == []
    assert await bodies(queue, "b") == [b"1"]
    assert await bodies(queue, "c") == [b"2"]


async def test_a_retried_item_comes_back_with_its_new_head_and_the_same_id(queue: EventQueue, clock: Clock) -> None:
    await queue.put(item())
    (first,) = (await queue.take("a", 1)).items
    await queue.retry(first.id, b"second", after_s=1.5)
    assert (await queue.take("a", 1)).next_due_ms == int((clock.now_s + 1.5) * 1000)
    clock.now_s += 1.5
    (second,) = (await queue.take("a", 1)).items
    assert (second.id, second.head, second.body, second.put_ms) == (first.id, b"second", b"{}", first.put_ms)


async def test_a_parked_item_waits_until_it_is_hastened(queue: EventQueue, clock: Clock) -> None:
    await queue.put(item())
    (taken,) = (await queue.take("a", 1)).items
    await queue.retry(taken.id, b"why", after_s=None)
    clock.now_s += 10**9
    batch = await queue.take("a", 1)
    assert (list(batch.items), batch.next_due_ms) == ([], None)
    assert await queue.oldest_ms() is None
    found = await queue.get(taken.id)
    assert found is not None
    assert (found.due_ms, found.head) == (None, b"why")
    assert await queue.hasten(taken.id)
    assert await bodies(queue) == [b"{}"]


async def test_what_is_taken_can_neither_be_dropped_nor_hastened(queue: EventQueue) -> None:
    put = await queue.put(item())
    await queue.take("a", 1)
    assert not await queue.drop(put)
    assert not await queue.hasten(put)
    found = await queue.get(put)
    assert found is not None
    assert found.is_taken


async def test_a_dropped_item_is_gone_and_an_unknown_one_is_told_so(queue: EventQueue) -> None:
    put = await queue.put(item())
    assert await queue.drop(put)
    assert not await queue.drop(put)
    assert not await queue.hasten(ItemId(99))
    assert await bodies(queue) == []


async def test_browsing_goes_by_lane_prefix_in_pages_and_leaves_bodies_out(queue: EventQueue) -> None:
    ids = [await queue.put(item(b"body", lane=lane)) for lane in ("f/a", "g/a", "f/b", "f%", "f/a")]
    page = await queue.browse(["f/"], limit=2)
    assert [(one.id, one.lane, one.body) for one in page] == [(ids[0], "f/a", b""), (ids[2], "f/b", b"")]
    assert [one.id for one in await queue.browse(["f/"], after=page[-1].id)] == [ids[4]]
    assert [one.lane for one in await queue.browse(["f%", "g/"])] == ["g/a", "f%"]
    assert len(await queue.browse()) == 5


async def test_the_oldest_is_what_was_put_first(queue: EventQueue, clock: Clock) -> None:
    assert await queue.oldest_ms() is None
    first_ms = int(clock.now_s * 1000)
    await queue.put(item(lane="f/a"), delay_s=100)
    clock.now_s += 5
    await queue.put(item(lane="g/a"))
    assert await queue.oldest_ms() == first_ms
    assert await queue.oldest_ms(["g/"]) == first_ms + 5000


async def test_watchers_hear_of_each_item_that_waits(queue: EventQueue) -> None:
    seen: list[str] = []
    queue.watch(seen.append)
    put = await queue.put(item(lane="a"))
    assert seen == ["a"]
    await queue.take("a", 1)
    await queue.retry(put, b"", after_s=1)
    await queue.hasten(put)
    assert seen == ["a"] * 3
    await queue.take("a", 1)
    await queue.ack(put, successors=[item(lane="b")])
    assert seen == ["a", "a", "a", "b"]


async def test_many_who_put_at_once_all_succeed(queue: EventQueue) -> None:
    ids = await asyncio.gather(*(queue.put(item(b"%d" % n, lane=f"l{n % 3}")) for n in range(100)))
    assert len(set(ids)) == 100
    assert sum(lane.items for lane in queue.lanes()) == 100


# What only a file can do ---------------------------------------------------------------------------------------------


async def test_a_batch_of_large_bodies_is_short(tmp_path: Path) -> None:
    async with SqliteEventQueue(tmp_path / "e.db") as queue:
        for _ in range(4):
            await queue.put(item(bytes(800_000)))
        assert len(await bodies(queue)) == 2
        assert len(await bodies(queue)) == 2


async def test_one_who_gives_up_waiting_leaves_the_queue_right(tmp_path: Path) -> None:
    async with SqliteEventQueue(tmp_path / "e.db") as queue:
        task = asyncio.create_task(queue.put(item(b"1")))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await queue.put(item(b"2"))
        assert queue.lanes() == [Lane("a", 2)]


async def test_what_was_taken_when_its_process_died_is_there_at_once(tmp_path: Path) -> None:
    code = """
import asyncio, os, pathlib, sys
from lambent.adapters.sqlite.event_queue import SqliteEventQueue
from lambent.ports.event_queue import Item
async def main():
    async with SqliteEventQueue(pathlib.Path(sys.argv[1])) as queue:
        await asyncio.gather(*(queue.put(Item("a", b"h", b"%d" % n)) for n in range(5)))
        taken = await queue.take("a", 3)
        await queue.ack(taken.items[0].id)
        os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code, str(tmp_path / "e.db")], check=False)
    assert killed.returncode == -9
    async with SqliteEventQueue(tmp_path / "e.db") as queue:
        assert queue.lanes() == [Lane("a", 4)]
        assert await bodies(queue) == [b"1", b"2", b"3", b"4"]


async def test_ids_are_not_given_again_after_a_restart(tmp_path: Path) -> None:
    async with SqliteEventQueue(tmp_path / "e.db") as queue:
        first = await queue.put(item())
        assert await queue.drop(first)
    async with SqliteEventQueue(tmp_path / "e.db") as queue:
        assert await queue.put(item()) > first


async def test_a_full_disk_refuses_the_put_and_loses_nothing(tmp_path: Path) -> None:
    async with SqliteEventQueue(tmp_path / "e.db") as queue:
        await queue.put(item(b"1"))
        connection = queue._writer._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(WriteFailed, match="free space"):
            await queue.put(item(bytes(100_000), lane="new"))
        connection.execute("PRAGMA max_page_count = 1000000")
        await queue.put(item(b"2", lane="new"))
        assert sorted(queue.lanes()) == [Lane("a", 1), Lane("new", 1)]
    async with SqliteEventQueue(tmp_path / "e.db") as queue:
        assert await bodies(queue, "a") == [b"1"]
        assert await bodies(queue, "new") == [b"2"]


async def test_a_file_that_is_none_of_ours_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(PlatformError, match=r"e\.db cannot be used"):
        await SqliteEventQueue(path).__aenter__()


class QueueMachine(RuleBasedStateMachine):
    """Both queues do the same; SQLite is closed and opened again at any moment."""

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.directory = TemporaryDirectory()
        self.path = Path(self.directory.name) / "e.db"
        self.sqlite = self.runner.run(self.open())
        self.memory = MemoryEventQueue(clock=self.clock)
        self.taken: list[ItemId] = []
        self.last_id = 0

    async def open(self) -> SqliteEventQueue:
        return await SqliteEventQueue(self.path, clock=self.clock).__aenter__()

    def both(self, call: Callable[[EventQueue], object]) -> object:
        sqlite, memory = (self.runner.run(call(queue)) for queue in (self.sqlite, self.memory))  # type: ignore[arg-type, var-annotated]
        assert sqlite == memory
        return sqlite

    @rule(lane=st.sampled_from("ab"), delay_s=st.sampled_from([0.0, 0.5, 60.0]))
    def put(self, lane: str, delay_s: float) -> None:
        self.last_id += 1
        self.both(lambda queue: queue.put(item(b"%d" % self.last_id, lane), delay_s=delay_s))

    @rule(lane=st.sampled_from("ab"), limit=st.integers(1, 3))
    def take(self, lane: str, limit: int) -> None:
        batches = [self.runner.run(queue.take(lane, limit)) for queue in (self.sqlite, self.memory)]
        assert batches[0] == batches[1]
        self.taken += [one.id for one in batches[0].items]

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), is_followed=st.booleans())
    def ack(self, data: st.DataObject, is_followed: bool) -> None:
        chosen = data.draw(st.sampled_from(self.taken))
        self.taken.remove(chosen)
        self.last_id += is_followed
        self.both(lambda queue: queue.ack(chosen, successors=[item(lane="b")] if is_followed else []))

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), after_s=st.sampled_from([0.0, 1.0, None]))
    def retry(self, data: st.DataObject, after_s: float | None) -> None:
        chosen = data.draw(st.sampled_from(self.taken))
        self.taken.remove(chosen)
        self.both(lambda queue: queue.retry(chosen, b"again", after_s=after_s))

    @precondition(lambda self: self.last_id)
    @rule(data=st.data(), is_drop=st.booleans())
    def steer(self, data: st.DataObject, is_drop: bool) -> None:
        chosen = ItemId(data.draw(st.integers(1, self.last_id)))
        self.both(lambda queue: queue.drop(chosen) if is_drop else queue.hasten(chosen))

    @rule(seconds=st.sampled_from([0.25, 1.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule()
    def reopen(self) -> None:
        for chosen in self.taken:  # as a restart does: what was taken is there again, as it was
            found = self.memory._items[chosen]
            self.memory._schedule(found._replace(is_taken=False))
        self.taken.clear()
        self.runner.run(self.sqlite.__aexit__(None, None, None))
        self.sqlite = self.runner.run(self.open())

    @invariant()
    def same_content(self) -> None:
        if hasattr(self, "runner"):
            self.both(lambda queue: queue.browse())
            assert sorted(self.sqlite.lanes()) == sorted(self.memory.lanes())

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.sqlite.__aexit__(None, None, None))
            self.runner.close()
            self.directory.cleanup()


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
