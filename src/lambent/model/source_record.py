"""What is read from event sources: records as the function gets them, shards they lie in, and how far one is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any  # a record is JSON, of any type until a filter has looked at it

import msgspec

_encode = msgspec.json.Encoder().encode

NO_STATE = msgspec.Raw(b"{}")
"""Of a tumbling window that has just been opened."""


class SourceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a queue, or one record of a shard. Of a shard they come in the order of their numbers."""

    id: str
    """What a function names it by in batchItemFailures: a message's id, a sequence number, an offset."""
    document: Mapping[str, Any]
    """What filters see: its element in the event."""
    body: bytes
    """The same as JSON."""
    order_key: str = ""
    """Records with the same one are not worked on at the same time: partition key, message group."""
    arrived_s: float | None = None
    """When the source took it, in epoch seconds."""
    receipt: str = ""
    """By which a queue's message is deleted."""
    trace_id: str | None = None


def source_record(
    id: str,
    document: Mapping[str, Any],
    *,
    order_key: str = "",
    arrived_s: float | None = None,
    receipt: str = "",
    trace_id: str | None = None,
) -> SourceRecord:
    """A record from its element in the event."""
    return SourceRecord(
        id=id,
        document=document,
        body=_encode(document),
        order_key=order_key,
        arrived_s=arrived_s,
        receipt=receipt,
        trace_id=trace_id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What stands around the records in an event: `before` and `after` their list, without the event's last brace."""

    before: bytes = b'{"Records":['
    after: bytes = b"]"

    def wrap(self, records: Iterable[SourceRecord], more: Mapping[str, object] | None = None) -> bytes:
        """The event of these records, with `more` members at its end."""
        rest = b"," + _encode(more)[1:] if more else b"}"
        return b"".join((self.before, b",".join(record.body for record in records), self.after, rest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A part of a stream whose records are in order. `parents` are those it was split or merged from."""

    id: str
    parents: Sequence[str] = ()
    is_closed: bool = False
    """It takes no more records."""


class Start(StrEnum):
    TRIM_HORIZON = "TRIM_HORIZON"
    LATEST = "LATEST"
    AT_TIMESTAMP = "AT_TIMESTAMP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where in a shard to begin: behind the record `after`, or at a `start`; `at_s` (epoch) with AT_TIMESTAMP."""

    after: str | None = None
    start: Start = Start.TRIM_HORIZON
    at_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one read of a shard brought. `cursor` reads on; None is the end of a closed shard."""

    records: Sequence[SourceRecord]
    cursor: str | None
    is_last: bool = True
    """There was nothing more to read at that moment."""


class LaneCheckpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far one of a shard's lanes is, and what its tumbling window has come to."""

    after: str | None = None
    window_start_s: int | None = None
    state: msgspec.Raw = NO_STATE


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a shard is done: all records up to `after`, in each lane perhaps some more."""

    after: str | None = None
    since_s: float | None = None
    """Until a first record is done: only those from this time on are for the function."""
    is_finished: bool = False
    lanes: tuple[LaneCheckpoint, ...] = ()
