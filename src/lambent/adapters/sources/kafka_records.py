"""Kafka's records as functions get them, and what stands around them in an event. Pure.

https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html#smaa-sample-event
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from lambent.model.event_source_mapping import EventSourceMapping, SourceKind
from lambent.model.source_record import Envelope, SourceRecord, source_record

_TIMESTAMP_TYPES = ("CREATE_TIME", "LOG_APPEND_TIME")
_encode = msgspec.json.Encoder().encode


class Partition(NamedTuple):
    """A partition of a topic. As a shard it is named as in events: `orders-3`."""

    topic: str
    partition: int

    @property
    def shard(self) -> str:
        return f"{self.topic}-{self.partition}"

    @classmethod
    def of(cls, shard: str) -> Partition:
        topic, _, number = shard.rpartition("-")
        return cls(topic, int(number))


class ConsumedRecord(Protocol):
    """What a client of Kafka tells of a record."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    """Epoch milliseconds."""
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def record(consumed: ConsumedRecord) -> SourceRecord:
    """A record; a key or value that is null is absent from it, as on AWS."""
    document: dict[str, object] = {
        "topic": consumed.topic,
        "partition": consumed.partition,
        "offset": consumed.offset,
        "timestamp": consumed.timestamp,
        "timestampType": _TIMESTAMP_TYPES[consumed.timestamp_type == 1],
    }
    if consumed.key is not None:
        document["key"] = b64encode(consumed.key).decode()
    if consumed.value is not None:
        document["value"] = b64encode(consumed.value).decode()
    document["headers"] = [{name: _bytes(value)} for name, value in consumed.headers]
    return source_record(str(consumed.offset), document, arrived_s=consumed.timestamp / 1000)


def envelope(mapping: EventSourceMapping, servers: Sequence[str], partition: Partition) -> Envelope:
    """Around the records of one partition; `servers` are the bootstrap servers."""
    head: Mapping[str, object] = {"eventSource": "SelfManagedKafka", "bootstrapServers": ",".join(servers)}
    if mapping.kind is SourceKind.MSK:
        head = {"eventSource": "aws:kafka", "eventSourceArn": mapping.source_arn, "bootstrapServers": ",".join(servers)}
    before = _encode(head)[:-1] + b',"records":{' + _encode(partition.shard) + b":["
    return Envelope(before=before, after=b"]}")


def _bytes(value: bytes | None) -> list[int] | None:
    """As Java writes bytes: signed."""
    return None if value is None else [byte - 256 if byte > 127 else byte for byte in value]
