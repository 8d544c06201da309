"""The event queue in one SQLite file: everything that waits is on disk, what is taken is known in memory.

There is one owner, the process that holds the data directory: whatever it had taken when it died is simply there again.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self  # Any: a row is what its statement asks for

from lambent.adapters.sqlite.event_file import FORMAT, PARKED_MS, PRAGMAS, Change, EventWriter
from lambent.adapters.sqlite.file import open_file, unusable
from lambent.adapters.sqlite.group_commit import GroupCommit
from lambent.ports.event_queue import START, Batch, Item, ItemId, Lane, Queued
from lambent.ports.store import WriteFailed

_TAKE_BYTES = 1024 * 1024
"""Once a batch holds this much it is handed out, so that the event loop reads for a few milliseconds at most."""

_DUE = "SELECT id FROM items WHERE lane_id = ? AND due_ms <= ? ORDER BY due_ms, id LIMIT ?"
_NEXT_DUE = "SELECT due_ms FROM items WHERE lane_id = ? AND due_ms > ? AND due_ms < ? ORDER BY due_ms LIMIT 1"
_GET = (
    "SELECT items.id, name, put_ms, due_ms, head, body FROM items JOIN lanes ON lanes.id = lane_id WHERE items.id = ?"
)
_IN_LANES = """
lane_id IN (SELECT lanes.id FROM lanes, json_each(?) AS of WHERE substr(name, 1, length(of.value)) = of.value)
"""
_BROWSE = f"""
SELECT items.id, name, put_ms, due_ms, head, x'' FROM items JOIN lanes ON lanes.id = lane_id
WHERE {_IN_LANES} AND items.id > ? ORDER BY items.id LIMIT ?
"""
_OLDEST = f"SELECT put_ms FROM items WHERE {_IN_LANES} AND due_ms < ? ORDER BY id LIMIT 1"


class SqliteEventQueue:
    """Implements `lambent.ports.event_queue.EventQueue` on the file `path`, which is made if it is absent.

    Raises (on entering, and on reading what is damaged):
        PlatformError: the file is damaged, or is not one of ours; it is left as it is.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._taken: dict[ItemId, int] = {}
        """Lane by item: what was handed out, and what is about to be changed."""
        self._taken_counts: Counter[int] = Counter()
        self._watchers: list[Callable[[str], None]] = []

    async def __aenter__(self) -> Self:
        connection, self._reader = await asyncio.to_thread(open_file, self._path, FORMAT, *PRAGMAS)
        self._browser = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._writer = EventWriter(connection, self._path)
        await asyncio.to_thread(self._load, connection)
        self._commits: GroupCommit[Change] = GroupCommit("events", self._writer.commit)
        self._browsing = asyncio.Lock()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._commits.close(self._writer.close)
        self._reader.close()
        self._browser.close()

    async def put(self, item: Item, *, delay_s: float = 0.0) -> ItemId:
        change = self._inserting((item,), delay_s)
        await self._commits.submit(change, lambda: self._inserted(change))
        return ItemId(change.inserts[0][0])

    async def take(self, lane: str, limit: int) -> Batch:
        lane_id = self._lane_ids.get(lane)
        if lane_id is None:
            return Batch([], None)
        now_ms = self._now_ms()
        # What is taken is still on disk and comes first: it is passed over.
        due = self._read(_DUE, lane_id, now_ms, limit + self._taken_counts[lane_id])
        items: list[Queued] = []
        size = 0
        for (item,) in due:
            if item in self._taken:
                continue
            if len(items) == limit or size >= _TAKE_BYTES:
                break
            items.append(self._queued(self._read(_GET, item)[0], is_taken=True))
            size += len(items[-1].body)
            self._hold(item, lane_id)
        if items:
            return Batch(items, None)
        following = self._read(_NEXT_DUE, lane_id, now_ms, PARKED_MS)
        return Batch([], following[0][0] if following else None)

    async def ack(self, item: ItemId, *, successors: Sequence[Item] = ()) -> None:
        change = replace(self._inserting(successors, 0.0), deletes=((item,),))

        def applied() -> None:
            self._count(self._release(item), -1)
            self._inserted(change)

        await self._commits.submit(change, applied)

    async def retry(self, item: ItemId, head: bytes, *, after_s: float | None) -> None:
        due_ms = PARKED_MS if after_s is None else self._now_ms() + round(after_s * 1000)
        change = Change(retries=((head, due_ms, item),))
        await self._commits.submit(change, lambda: self._tell(self._release(item)))

    async def hasten(self, item: ItemId) -> bool:
        change = Change(hastens=((self._now_ms(), item),))
        return await self._change_waiting(item, change, lambda: self._tell(self._release(item)))

    async def drop(self, item: ItemId) -> bool:
        change = Change(deletes=((item,),))
        return await self._change_waiting(item, change, lambda: self._count(self._release(item), -1))

    async def get(self, item: ItemId) -> Queued | None:
        rows = self._read(_GET, item)
        return self._queued(rows[0], is_taken=item in self._taken) if rows else None

    async def browse(
        self, prefixes: Sequence[str] = ("",), *, after: ItemId = START, limit: int = 100
    ) -> Sequence[Queued]:
        rows = await self._browse(_BROWSE, json.dumps(prefixes), after, limit)
        return [self._queued(row, is_taken=row[0] in self._taken) for row in rows]

    def lanes(self) -> Sequence[Lane]:
        return [Lane(self._lane_names[lane_id], count) for lane_id, count in self._counts.items()]

    async def oldest_ms(self, prefixes: Sequence[str] = ("",)) -> int | None:
        rows = await self._browse(_OLDEST, json.dumps(prefixes), PARKED_MS)
        return rows[0][0] if rows else None

    def watch(self, changed: Callable[[str], None]) -> None:
        self._watchers.append(changed)

    def _load(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("DELETE FROM lanes WHERE id NOT IN (SELECT lane_id FROM items)")
            self._lane_names = dict(connection.execute("SELECT id, name FROM lanes"))
            self._counts = Counter(dict(connection.execute("SELECT lane_id, count(*) FROM items GROUP BY lane_id")))
            sequence = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'items'").fetchone()
        except sqlite3.Error as error:
            raise unusable(self._path, FORMAT, str(error)) from error
        self._lane_ids = {name: lane_id for lane_id, name in self._lane_names.items()}
        self._kept_lanes = set(self._lane_names)
        self._next_id = (sequence[0] if sequence else 0) + 1
        self._next_lane_id = max(self._lane_names, default=0) + 1

    def _inserting(self, items: Sequence[Item], delay_s: float) -> Change:
        """The rows of new items, and those of lanes that are new with them."""
        now_ms = self._now_ms()
        lanes: list[tuple[int, str]] = []
        rows: list[tuple[int, int, int, int, bytes, bytes]] = []
        for item in items:
            lane_id = self._lane_id(item.lane)
            if lane_id not in self._kept_lanes:
                lanes.append((lane_id, item.lane))
            rows.append((self._next_id, lane_id, now_ms, now_ms + round(delay_s * 1000), item.head, item.body))
            self._next_id += 1
        return Change(lanes=lanes, inserts=rows)

    def _lane_id(self, name: str) -> int:
        lane_id = self._lane_ids.get(name)
        if lane_id is None:
            lane_id = self._lane_ids[name] = self._next_lane_id
            self._lane_names[lane_id] = name
            self._next_lane_id += 1
        return lane_id

    def _inserted(self, change: Change) -> None:
        self._kept_lanes.update(lane_id for lane_id, _ in change.lanes)
        for _, lane_id, *_ in change.inserts:
            self._count(lane_id, 1)
            self._tell(lane_id)

    def _hold(self, item: ItemId, lane_id: int) -> None:
        self._taken[item] = lane_id
        self._taken_counts[lane_id] += 1

    def _release(self, item: ItemId) -> int:
        lane_id = self._taken.pop(item)
        self._taken_counts[lane_id] -= 1
        return lane_id

    async def _change_waiting(self, item: ItemId, change: Change, applied: Callable[[], None]) -> bool:
        """Change an item that nobody has taken, and keep it from being taken meanwhile."""
        rows = self._read("SELECT lane_id FROM items WHERE id = ?", item) if item not in self._taken else []
        if not rows:
            return False
        self._hold(item, rows[0][0])
        try:
            await self._commits.submit(change, applied)
        except WriteFailed:
            self._release(item)
            raise
        return True

    def _count(self, lane_id: int, change: int) -> None:
        self._counts[lane_id] += change
        if not self._counts[lane_id]:
            del self._counts[lane_id]

    def _tell(self, lane_id: int) -> None:
        for changed in self._watchers:
            changed(self._lane_names[lane_id])

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _queued(self, row: tuple[int, str, int, int, bytes, bytes], *, is_taken: bool) -> Queued:
        item, lane, put_ms, due_ms, head, body = row
        return Queued(ItemId(item), lane, put_ms, None if due_ms == PARKED_MS else due_ms, is_taken, head, body)

    def _read(self, statement: str, *parameters: str | int) -> list[Any]:
        try:
            return self._reader.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise unusable(self._path, FORMAT, str(error)) from error

    async def _browse(self, statement: str, *parameters: str | int) -> list[Any]:
        """For a person, and perhaps through a million rows: in a thread, beside the event loop."""
        async with self._browsing:
            try:
                return await asyncio.to_thread(lambda: self._browser.execute(statement, parameters).fetchall())
            except sqlite3.Error as error:
                raise unusable(self._path, FORMAT, str(error)) from error
