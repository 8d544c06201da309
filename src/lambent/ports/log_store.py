"""Where log events are kept: groups, streams, and events in order of their time. SQLite, or JetStream in a cluster.

An event's `Position` orders it among all events of its group and never changes; a place to continue reading from is a
position too: reading forward begins with the event at it, reading backward ends just before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from msgspec import Struct

DAY_MS = 24 * 60 * 60 * 1000
END_OF_TIME_MS = 10**18


class GroupKey(NamedTuple):
    account: str
    region: str
    name: str


class StreamKey(NamedTuple):
    group: GroupKey
    name: str


class Record(Struct, frozen=True, array_like=True, gc=False):
    """Text logged at one moment: one event, or (`is_lines`) one event per newline-terminated line.

    Whole chunks of output stay one record until somebody reads them, so that a million lines cost a few objects. The
    text is meant to be UTF-8; what is not is replaced when it is read.
    """

    timestamp_ms: int
    text: bytes
    is_lines: bool = False


class Batch(NamedTuple):
    stream: StreamKey
    records: Sequence[Record]
    ingested_ms: int


class Position(NamedTuple):
    timestamp_ms: int
    block: int = 0
    line: int = 0


class Event(NamedTuple):
    position: Position
    stream: str
    ingested_ms: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    key: GroupKey
    created_ms: int
    retention_days: int | None
    stored_bytes: int
    tags: Mapping[str, str] = field(default_factory=dict)

    def oldest_kept_ms(self, now_ms: int) -> int:
        """Events before this moment have expired."""
        return now_ms - self.retention_days * DAY_MS if self.retention_days else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """The times of events are 0 in a stream that never had one."""

    name: str
    created_ms: int
    first_event_ms: int
    last_event_ms: int
    last_ingested_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which events of a group to read: of the `streams` named (None: all) whose name starts with `prefix`, with a time
    in [start_ms, end_ms). `origin` is where to begin: at the group's very start or end if it is None.
    """

    group: GroupKey
    streams: tuple[str, ...] | None = None
    prefix: str = ""
    start_ms: int = 0
    end_ms: int = END_OF_TIME_MS
    origin: Position | None = None
    is_forward: bool = True
    limit: int = 10_000
    limit_bytes: int = 1024 * 1024


class LogStore(Protocol):
    """What was appended survives the death of this process; after a power failure the last moments may be missing."""

    async def append(self, batches: Sequence[Batch]) -> None:
        """Keep all of the batches or none; groups and streams come into being with their first one.

        Raises:
            WriteFailed: the disk is full or failing.
        """
        ...

    async def read(self, query: Query) -> Sequence[Event]:
        """The next events in reading order: at most `limit` and about `limit_bytes`, but one if there is one."""
        ...

    async def groups(
        self, account: str, region: str, *, prefix: str = "", after: str = "", limit: int = 50
    ) -> Sequence[Group]:
        """Groups in order of their name, beginning behind `after`."""
        ...

    async def streams(
        self, group: GroupKey, *, prefix: str = "", after: str | None = None, limit: int = 50, descending: bool = False
    ) -> Sequence[Stream]:
        """Streams in order of their name, beginning behind `after`."""
        ...

    async def streams_by_time(
        self, group: GroupKey, *, after: tuple[int, str] | None = None, limit: int = 50, descending: bool = False
    ) -> Sequence[Stream]:
        """Streams in order of their last event, then name, beginning behind `after` (both of the last one seen)."""
        ...

    async def create_group(self, group: GroupKey, *, created_ms: int, tags: Mapping[str, str] | None = None) -> bool:
        """Whether it was created: False if it already existed."""
        ...

    async def create_stream(self, stream: StreamKey, *, created_ms: int) -> bool:
        """Whether it was created; its group comes into being with it."""
        ...

    async def set_retention(self, group: GroupKey, days: int | None) -> bool:
        """Whether there is such a group."""
        ...

    async def retag_group(self, group: GroupKey, change: Callable[[Mapping[str, str]], Mapping[str, str]]) -> bool:
        """Replace its tags by what `change` makes of them; whatever that raises leaves them as they are.

        Whether there is such a group.
        """
        ...

    async def delete_group(self, group: GroupKey) -> bool:
        """Whether there was such a group."""
        ...

    async def delete_stream(self, stream: StreamKey) -> bool:
        """Whether there was such a stream."""
        ...

    async def trim(self, now_ms: int) -> int:
        """Remove what the groups' retention has let expire, and return how many bytes that were."""
        ...
