"""A queue and a stream in memory, to be filled by who tests, and read as any source is.

They know time only from the event loop, so they serve in virtual time too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from lambent.model.event_source_mapping import EventSourceMapping
from lambent.model.function import FunctionVersion
from lambent.model.source_record import Checkpoint, Envelope, Page, Position, Shard, SourceRecord, Start, source_record
from lambent.ports.sources import QueueSource, Received, ShardLost, SourceUnavailable, StreamSource


@dataclass(slots=True)
class _Message:
    body: str
    group: str
    visible_s: float = 0.0
    receives: int = 0


class MemoryQueue:
    """Implements `lambent.ports.sources.QueueSource`: with groups it is FIFO, with `receives_maximum` it redrives."""

    envelope = Envelope()
    receive_limit = 10

    def __init__(self, *, visibility_s: float = 30.0, receives_maximum: int | None = None) -> None:
        self.visibility_s = visibility_s
        self.problem: str | None = None
        """Why it does not answer at the moment."""
        self.deleted: list[str] = []
        self.dead: list[str] = []
        self._receives_maximum = receives_maximum
        self._messages: dict[str, _Message] = {}
        self._numbers = 0
        self._news = asyncio.Event()

    def put(self, body: str, *, group: str = "") -> str:
        self._numbers += 1
        self._messages[str(self._numbers)] = _Message(body, group)
        self._news.set()
        return str(self._numbers)

    def __len__(self) -> int:
        """How many messages are neither deleted nor dead."""
        return len(self._messages)

    async def receive(self, limit: int, *, wait_s: float, hold_s: float) -> Received:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + wait_s
        while True:
            self._check()
            records = self._take(min(limit, self.receive_limit), max(self.visibility_s, hold_s))
            if records or loop.time() >= until_s:
                return Received(records, until_s=loop.time() + max(self.visibility_s, hold_s))
            self._news.clear()
            invisible = [one.visible_s for one in self._messages.values() if one.visible_s > loop.time()]
            try:
                async with asyncio.timeout_at(min([until_s, *invisible])):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def delete(self, records: Sequence[SourceRecord]) -> None:
        self._check()
        for record in records:
            if self._messages.pop(record.id, None) is not None:
                self.deleted.append(record.id)
        self._news.set()

    async def release(self, records: Sequence[SourceRecord]) -> None:
        self._check()
        for record in records:
            if record.id in self._messages:
                self._messages[record.id].visible_s = 0.0
        self._news.set()

    async def fail(self, records: Sequence[SourceRecord]) -> None:
        self._check()

    def _check(self) -> None:
        if self.problem is not None:
            raise SourceUnavailable(self.problem)

    def _take(self, limit: int, hold_s: float) -> Sequence[SourceRecord]:
        now_s = asyncio.get_running_loop().time()
        blocked = {one.group for one in self._messages.values() if one.group and one.visible_s > now_s}
        taken: list[SourceRecord] = []
        for id, message in list(self._messages.items()):
            if len(taken) == limit or message.visible_s > now_s or message.group in blocked:
                continue
            if message.receives == self._receives_maximum:
                del self._messages[id]
                self.dead.append(id)
                continue
            message.receives += 1
            message.visible_s = now_s + hold_s
            taken.append(self._record(id, message))
        return taken

    def _record(self, id: str, message: _Message) -> SourceRecord:
        document = {
            "messageId": id,
            "body": message.body,
            "attributes": {"ApproximateReceiveCount": str(message.receives), "MessageGroupId": message.group},
        }
        return source_record(id, document, order_key=message.group, receipt=id)


@dataclass(slots=True)
class _Shard:
    parents: tuple[str, ...] = ()
    records: list[SourceRecord] = field(default_factory=list)
    is_closed: bool = False


class MemoryStream:
    """Implements `lambent.ports.sources.StreamSource`; sequence numbers are one row over all shards.

    With `is_shared` shards may be handed to others and back, as those of a consumer group are.
    """

    page_limit = 1_000

    def __init__(
        self, *shards: str, poll_interval_s: float = 1.0, retention_s: float | None = None, is_shared: bool = False
    ) -> None:
        self.poll_interval_s = poll_interval_s
        self.retention_s = retention_s
        self.problem: str | None = None
        """Why it does not answer at the moment."""
        self.committed: dict[str, Checkpoint] = {}
        self.changed = asyncio.Event() if is_shared else None
        self.opened: set[str] = set()
        self._elsewhere: set[str] = set()
        self._shards = {shard: _Shard() for shard in shards}
        self._numbers = 0

    def put(self, shard: str, data: object, *, key: str = "") -> str:
        """Add a record and return its sequence number."""
        self._numbers += 1
        id = str(self._numbers)
        now_s = asyncio.get_running_loop().time()
        document = {"kinesis": {"sequenceNumber": id, "partitionKey": key, "data": data}}
        self._shards[shard].records.append(source_record(id, document, order_key=key, arrived_s=now_s))
        return id

    def split(self, shard: str, *children: str) -> None:
        """Close the shard; its children take what comes from now on."""
        self._shards[shard].is_closed = True
        for child in children:
            self._shards[child] = _Shard(parents=(shard,))

    def move(self, *elsewhere: str) -> None:
        """From now on these shards are read by somebody else, and all others by us."""
        self._elsewhere = set(elsewhere)
        if self.changed is not None:
            self.changed.set()

    def trim(self, shard: str) -> None:
        """Forget the shard altogether."""
        del self._shards[shard]

    def envelope(self, shard: str) -> Envelope:
        return Envelope()

    async def shards(self) -> Sequence[Shard]:
        self._check()
        return [
            Shard(id=id, parents=one.parents, is_closed=one.is_closed)
            for id, one in self._shards.items()
            if id not in self._elsewhere
        ]

    async def open(self, shard: str, position: Position) -> str:
        self._check()
        self._check_ours(shard)
        self.opened.add(shard)
        records = self._shards[shard].records
        if position.after is not None:
            after = int(position.after)
            return _cursor(records, lambda record: int(record.id) > after)
        if position.start is Start.AT_TIMESTAMP:
            at_s = position.at_s or 0.0
            return _cursor(records, lambda record: (record.arrived_s or 0.0) >= at_s)
        return str(len(records)) if position.start is Start.LATEST else "0"

    async def fetch(self, shard: str, cursor: str, limit: int) -> Page:
        self._check()
        self._check_ours(shard)
        read = self._shards[shard]
        end = min(int(cursor) + min(limit, self.page_limit), len(read.records))
        is_last = end == len(read.records)
        return Page(
            records=read.records[int(cursor) : end],
            cursor=None if is_last and read.is_closed else str(end),
            is_last=is_last,
        )

    async def checkpoints(self) -> Mapping[str, Checkpoint]:
        self._check()
        return dict(self.committed)

    async def commit(self, shard: str, checkpoint: Checkpoint) -> None:
        self._check()
        self.committed[shard] = checkpoint

    async def close(self, shard: str) -> None:
        self.opened.discard(shard)

    async def forget(self, shard: str) -> None:
        self.committed.pop(shard, None)

    def _check(self) -> None:
        if self.problem is not None:
            raise SourceUnavailable(self.problem)

    def _check_ours(self, shard: str) -> None:
        if shard in self._elsewhere:
            raise ShardLost(f"{shard} is somebody else's")


def _cursor(records: Sequence[SourceRecord], is_wanted: Callable[[SourceRecord], bool]) -> str:
    return str(next((at for at, record in enumerate(records) if is_wanted(record)), len(records)))


class MemorySources:
    """Implements `lambent.ports.sources.Sources`: queues and streams by their ARN."""

    def __init__(self) -> None:
        self.queues: dict[str, QueueSource] = {}
        self.streams: dict[str, StreamSource] = {}
        self.forgotten: list[str] = []

    @asynccontextmanager
    async def queue(self, mapping: EventSourceMapping, version: FunctionVersion) -> AsyncIterator[QueueSource]:
        if mapping.source_arn not in self.queues:
            raise SourceUnavailable(f"There is no queue {mapping.source_arn}")
        yield self.queues[mapping.source_arn]

    @asynccontextmanager
    async def stream(self, mapping: EventSourceMapping, version: FunctionVersion) -> AsyncIterator[StreamSource]:
        if mapping.source_arn not in self.streams:
            raise SourceUnavailable(f"There is no stream {mapping.source_arn}")
        yield self.streams[mapping.source_arn]

    async def forget(self, mapping: EventSourceMapping) -> None:
        self.forgotten.append(mapping.uuid)
