"""Where accepted events wait: durable, in lanes, each item due at a time of its own. SQLite; JetStream in a cluster.

A lane is what must not be held up by other lanes: the events of one function, the messages to one target. An item that
was taken is nobody else's until it is acknowledged or comes back; when its taker dies, it comes back by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, NewType, Protocol

ItemId = NewType("ItemId", int)

START = ItemId(0)
"""Before the first item."""


class Item(NamedTuple):
    """What is put. `head` is small and may change with each retry; `body` is carried as it is."""

    lane: str
    head: bytes
    body: bytes


class Queued(NamedTuple):
    """What waits or is taken. Times are epoch milliseconds; `due_ms` None means parked: it waits to be hastened."""

    id: ItemId
    lane: str
    put_ms: int
    due_ms: int | None
    is_taken: bool
    head: bytes
    body: bytes


class Batch(NamedTuple):
    """What was taken, and when the next item of the lane falls due that is not due yet (None: there is none)."""

    items: Sequence[Queued]
    next_due_ms: int | None


class Lane(NamedTuple):
    """How many `items` a lane holds, those that are taken or parked included."""

    name: str
    items: int


class EventQueue(Protocol):
    """Whatever a method has returned from is on disk. Every method but `take` may be called by several at once.

    Raises (whatever writes):
        WriteFailed: the disk is full or failing; nothing was changed.
    """

    async def put(self, item: Item, *, delay_s: float = 0.0) -> ItemId:
        """Keep the item, due after `delay_s`. Callers that wait at the same time share one sync of the disk."""
        ...

    async def take(self, lane: str, limit: int) -> Batch:
        """Up to `limit` due items of a lane, earliest due first; fewer if their bodies are large."""
        ...

    async def ack(self, item: ItemId, *, successors: Sequence[Item] = ()) -> None:
        """A taken item is done: remove it and put what follows from it, both or neither."""
        ...

    async def retry(self, item: ItemId, head: bytes, *, after_s: float | None) -> None:
        """A taken item comes back with a new head, due after `after_s`; None parks it."""
        ...

    async def hasten(self, item: ItemId) -> bool:
        """Make an item due now. False if there is none of that id, or it is taken."""
        ...

    async def drop(self, item: ItemId) -> bool:
        """Remove an item that is not taken. False if there is none of that id, or it is taken."""
        ...

    async def get(self, item: ItemId) -> Queued | None: ...

    async def browse(
        self, prefixes: Sequence[str] = ("",), *, after: ItemId = START, limit: int = 100
    ) -> Sequence[Queued]:
        """Items of the lanes whose name starts with one of `prefixes`, in the order of their ids, without bodies."""
        ...

    def lanes(self) -> Sequence[Lane]:
        """Every lane that holds something."""
        ...

    async def oldest_ms(self, prefixes: Sequence[str] = ("",)) -> int | None:
        """When the oldest item was put that is not parked, of the lanes whose name starts with one of `prefixes`."""
        ...

    def watch(self, changed: Callable[[str], None]) -> None:
        """Call `changed(lane)` in the event loop when an item was put, hastened or came back; it returns at once."""
        ...
