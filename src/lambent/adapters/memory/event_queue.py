"""The event queue in dictionaries: for tests and for servers that are to forget."""

from __future__ import annotations

import time
from bisect import insort
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from lambent.ports.event_queue import START, Batch, Item, ItemId, Lane, Queued


class MemoryEventQueue:
    """Implements `lambent.ports.event_queue.EventQueue`; durable as long as the process."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._items: dict[ItemId, Queued] = {}
        self._due: dict[str, list[tuple[int, ItemId]]] = {}
        """By lane, in order: what is neither taken nor parked."""
        self._last_id = 0
        self._watchers: list[Callable[[str], None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    async def put(self, item: Item, *, delay_s: float = 0.0) -> ItemId:
        self._last_id += 1
        item_id, now_ms = ItemId(self._last_id), self._now_ms()
        due_ms = now_ms + round(delay_s * 1000)
        self._schedule(Queued(item_id, item.lane, now_ms, due_ms, False, item.head, item.body))
        return item_id

    async def take(self, lane: str, limit: int) -> Batch:
        due, now_ms = self._due.get(lane, []), self._now_ms()
        chosen = [item for due_ms, item in due[:limit] if due_ms <= now_ms]
        del due[: len(chosen)]
        for item in chosen:
            self._items[item] = self._items[item]._replace(is_taken=True)
        return Batch([self._items[item] for item in chosen], due[0][0] if due and not chosen else None)

    async def ack(self, item: ItemId, *, successors: Sequence[Item] = ()) -> None:
        del self._items[item]
        for successor in successors:
            await self.put(successor)

    async def retry(self, item: ItemId, head: bytes, *, after_s: float | None) -> None:
        due_ms = None if after_s is None else self._now_ms() + round(after_s * 1000)
        self._schedule(self._items[item]._replace(head=head, due_ms=due_ms, is_taken=False))

    async def hasten(self, item: ItemId) -> bool:
        if not self._unschedule(item):
            return False
        self._schedule(self._items[item]._replace(due_ms=self._now_ms()))
        return True

    async def drop(self, item: ItemId) -> bool:
        is_waiting = self._unschedule(item)
        if is_waiting:
            del self._items[item]
        return is_waiting

    async def get(self, item: ItemId) -> Queued | None:
        return self._items.get(item)

    async def browse(
        self, prefixes: Sequence[str] = ("",), *, after: ItemId = START, limit: int = 100
    ) -> Sequence[Queued]:
        found = [one for one in self._items.values() if one.id > after and one.lane.startswith(tuple(prefixes))]
        return [one._replace(body=b"") for one in sorted(found)[:limit]]

    def lanes(self) -> Sequence[Lane]:
        names = [one.lane for one in self._items.values()]
        return [Lane(name, names.count(name)) for name in dict.fromkeys(names)]

    async def oldest_ms(self, prefixes: Sequence[str] = ("",)) -> int | None:
        waiting = (one for one in self._items.values() if one.lane.startswith(tuple(prefixes)))
        return min((one.put_ms for one in waiting if one.due_ms is not None), default=None)

    def watch(self, changed: Callable[[str], None]) -> None:
        self._watchers.append(changed)

    def _schedule(self, item: Queued) -> None:
        self._items[item.id] = item
        if item.due_ms is not None:
            insort(self._due.setdefault(item.lane, []), (item.due_ms, item.id))
        for changed in self._watchers:
            changed(item.lane)

    def _unschedule(self, item_id: ItemId) -> bool:
        item = self._items.get(item_id)
        if item is None or item.is_taken:
            return False
        if item.due_ms is not None:
            self._due[item.lane].remove((item.due_ms, item_id))
        return True

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
