"""Event sources as pollers read them: queues whose messages are deleted one by one, and streams of ordered shards.

A source is opened for one mapping and belongs to one owner. Whatever it raises is a `SourceUnavailable`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from lambent.model.errors import PlatformError
from lambent.model.event_source_mapping import EventSourceMapping
from lambent.model.function import FunctionVersion
from lambent.model.source_record import Checkpoint, Envelope, Page, Position, Shard, SourceRecord


class SourceUnavailable(PlatformError):
    """The source is down, refuses us or cannot be found; the message is what the mapping's owner is told."""


class CursorExpired(SourceUnavailable):
    """The place in the shard was forgotten: open the shard anew behind the last record read."""


class ShardLost(SourceUnavailable):
    """The shard is somebody else's by now: end with it, and commit nothing more."""


class SourceLost(SourceUnavailable):
    """What was opened is of no use any more: the source is to be opened anew."""


@dataclass(frozen=True, slots=True)
class Received:
    """Messages that are nobody else's until `until_s`, on the event loop's clock."""

    records: Sequence[SourceRecord]
    until_s: float


class QueueSource(Protocol):
    """SQS, RabbitMQ. Its methods may be called by several at once."""

    envelope: Envelope
    receive_limit: int
    """How many messages one `receive` can bring."""

    async def receive(self, limit: int, *, wait_s: float, hold_s: float) -> Received:
        """Up to `limit` messages, waiting up to `wait_s` for the first; they are to be held for at least `hold_s`."""
        ...

    async def delete(self, records: Sequence[SourceRecord]) -> None:
        """These are done with."""
        ...

    async def release(self, records: Sequence[SourceRecord]) -> None:
        """These were not worked on: others may have them at once."""
        ...

    async def fail(self, records: Sequence[SourceRecord]) -> None:
        """The function failed on these: they come again as the source's own rules say."""
        ...


class StreamSource(Protocol):
    """Kinesis, DynamoDB streams, Kafka. One shard's methods are called by one task at a time."""

    page_limit: int
    """How many records one `fetch` can bring."""
    poll_interval_s: float
    """Between two reads of a shard that had nothing more; 0 where `fetch` itself waits for records."""
    retention_s: float | None
    """After which the stream forgets a record; None if it is not known."""
    changed: asyncio.Event | None
    """Set when `shards` tells otherwise than before, and cleared by who asks it; None if the source does not find out.

    Where it does, a shard that is no longer told is to be let go: others wait for that.
    """

    def envelope(self, shard: str) -> Envelope: ...

    async def shards(self) -> Sequence[Shard]:
        """Every shard that still holds records, and is ours to read; raises SourceLost too."""
        ...

    async def open(self, shard: str, position: Position) -> str:
        """A cursor for `fetch`. What lies behind a record that is forgotten begins at the oldest one."""
        ...

    async def fetch(self, shard: str, cursor: str, limit: int) -> Page:
        """The next records; raises CursorExpired and ShardLost too."""
        ...

    async def checkpoints(self) -> Mapping[str, Checkpoint]:
        """What was committed, by shard."""
        ...

    async def commit(self, shard: str, checkpoint: Checkpoint) -> None:
        """Return once it is durable; raises ShardLost too."""
        ...

    async def close(self, shard: str) -> None:
        """Nothing more is read of it, nor committed, unless it is opened again."""
        ...

    async def forget(self, shard: str) -> None:
        """Remove the checkpoint of a shard that is no more."""
        ...


class Sources(Protocol):
    """Entering what these return connects, and may raise SourceUnavailable; leaving disconnects."""

    def queue(
        self, mapping: EventSourceMapping, version: FunctionVersion
    ) -> AbstractAsyncContextManager[QueueSource]: ...

    def stream(
        self, mapping: EventSourceMapping, version: FunctionVersion
    ) -> AbstractAsyncContextManager[StreamSource]: ...

    async def forget(self, mapping: EventSourceMapping) -> None:
        """Remove all that was kept for a mapping that is deleted."""
        ...
