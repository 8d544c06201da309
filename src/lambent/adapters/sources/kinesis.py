"""Kinesis data streams, read with shard iterators.

https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from lambent.adapters.sources.aws import AwsSource
from lambent.adapters.sources.checkpoints import StoreCheckpoints
from lambent.model.source_record import Checkpoint, Envelope, Page, Position, Shard, SourceRecord, source_record


class _SequenceRange(msgspec.Struct, rename="pascal", frozen=True):
    ending_sequence_number: str | None = None


class _Shard(msgspec.Struct, rename="pascal"):
    shard_id: str
    parent_shard_id: str | None = None
    adjacent_parent_shard_id: str | None = None
    sequence_number_range: _SequenceRange = _SequenceRange()


class _Shards(msgspec.Struct, rename="pascal"):
    shards: list[_Shard]
    next_token: str | None = None


class _Iterator(msgspec.Struct, rename="pascal"):
    shard_iterator: str


class _Record(msgspec.Struct, rename="pascal"):
    data: str
    partition_key: str
    sequence_number: str
    approximate_arrival_timestamp: float


class _Records(msgspec.Struct, rename="pascal"):
    records: list[_Record]
    next_shard_iterator: str | None = None
    millis_behind_latest: int = 0


class _Summary(msgspec.Struct, rename="pascal"):
    retention_period_hours: int = 24


class _Described(msgspec.Struct, rename="pascal"):
    stream_description_summary: _Summary


class KinesisStream:
    """Implements `lambent.ports.sources.StreamSource`; `role_arn` is that of the function, told in its events."""

    page_limit = 10_000
    poll_interval_s = 1.0
    retention_s: float | None = None
    changed: asyncio.Event | None = None

    def __init__(self, source: AwsSource, checkpoints: StoreCheckpoints, role_arn: str) -> None:
        self._source = source
        self._checkpoints = checkpoints
        self._role_arn = role_arn

    async def check(self) -> None:
        """Raises SourceUnavailable where there is no such stream."""
        answer = await self._source.ask("DescribeStreamSummary", {"StreamARN": self._source.arn}, _Described)
        self.retention_s = answer.stream_description_summary.retention_period_hours * 3600.0

    def envelope(self, shard: str) -> Envelope:
        return Envelope()

    async def shards(self) -> Sequence[Shard]:
        answer = await self._source.ask("ListShards", {"StreamARN": self._source.arn}, _Shards)
        found = answer.shards
        while answer.next_token:
            asked = {"NextToken": answer.next_token, "StreamARN": self._source.arn}
            answer = await self._source.ask("ListShards", asked, _Shards)
            found += answer.shards
        return [_shard(one) for one in found]

    async def open(self, shard: str, position: Position) -> str:
        asked: dict[str, object] = {"StreamARN": self._source.arn, "ShardId": shard}
        if position.after is not None:
            asked |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": position.after}
        else:
            asked["ShardIteratorType"] = position.start
            if position.at_s is not None:
                asked["Timestamp"] = position.at_s
        return (await self._source.ask("GetShardIterator", asked, _Iterator)).shard_iterator

    async def fetch(self, shard: str, cursor: str, limit: int) -> Page:
        asked = {"ShardIterator": cursor, "Limit": limit, "StreamARN": self._source.arn}
        answer = await self._source.ask("GetRecords", asked, _Records)
        records = [self._record(shard, one) for one in answer.records]
        return Page(records=records, cursor=answer.next_shard_iterator, is_last=answer.millis_behind_latest == 0)

    async def checkpoints(self) -> Mapping[str, Checkpoint]:
        return await self._checkpoints.load()

    async def commit(self, shard: str, checkpoint: Checkpoint) -> None:
        await self._checkpoints.save(shard, checkpoint)

    async def close(self, shard: str) -> None:
        """An iterator is not closed."""

    async def forget(self, shard: str) -> None:
        await self._checkpoints.remove(shard)

    def _record(self, shard: str, record: _Record) -> SourceRecord:
        arrived_s = record.approximate_arrival_timestamp
        document = {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record.partition_key,
                "sequenceNumber": record.sequence_number,
                "data": record.data,
                "approximateArrivalTimestamp": round(arrived_s, 3),
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{shard}:{record.sequence_number}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": self._role_arn,
            "awsRegion": self._source.region,
            "eventSourceARN": self._source.arn,
        }
        return source_record(record.sequence_number, document, order_key=record.partition_key, arrived_s=arrived_s)


def _shard(shard: _Shard) -> Shard:
    parents = (shard.parent_shard_id, shard.adjacent_parent_shard_id)
    return Shard(
        id=shard.shard_id,
        parents=tuple(parent for parent in parents if parent),
        is_closed=shard.sequence_number_range.ending_sequence_number is not None,
    )
