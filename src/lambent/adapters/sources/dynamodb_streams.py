"""The streams of DynamoDB tables.

https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any  # what DynamoDB says of an item is passed on as it is

import msgspec

from lambent.adapters.http.table_streams import TableStreams, listing
from lambent.adapters.sources.aws import AwsSource, SourceRefused
from lambent.adapters.sources.checkpoints import StoreCheckpoints
from lambent.model.source_record import Checkpoint, Envelope, Page, Position, Shard, SourceRecord, Start, source_record

_RETENTION_S = 24 * 3600.0
_TRIMMED = "TrimmedDataAccessException"


class _SequenceRange(msgspec.Struct, rename="pascal", frozen=True):
    ending_sequence_number: str | None = None


class _Shard(msgspec.Struct, rename="pascal"):
    shard_id: str
    parent_shard_id: str | None = None
    sequence_number_range: _SequenceRange = _SequenceRange()


class _Description(msgspec.Struct, rename="pascal"):
    shards: list[_Shard] = []
    last_evaluated_shard_id: str | None = None


class _Described(msgspec.Struct, rename="pascal"):
    stream_description: _Description


class _Iterator(msgspec.Struct, rename="pascal"):
    shard_iterator: str


class _Record(msgspec.Struct, rename="camel"):
    event_name: str
    dynamodb: dict[str, Any]
    event_id: str = msgspec.field(name="eventID")
    event_version: str = "1.1"
    event_source: str = "aws:dynamodb"
    user_identity: dict[str, str] | None = None


class _Records(msgspec.Struct, rename="pascal"):
    records: list[_Record]
    next_shard_iterator: str | None = None


class DynamoDbStream:
    """Implements `lambent.ports.sources.StreamSource`.

    DynamoDB knows no AT_TIMESTAMP: it is the beginning of the shard without the records that are older.
    """

    page_limit = 1_000
    poll_interval_s = 0.25
    retention_s: float | None = _RETENTION_S
    changed: asyncio.Event | None = None

    def __init__(self, source: AwsSource, checkpoints: StoreCheckpoints) -> None:
        self._source = source
        self._checkpoints = checkpoints
        self._not_before_s: dict[str, float] = {}
        self._stream_arn = source.arn

    async def check(self) -> None:
        """Raises SourceUnavailable where there is no such stream."""
        arn = self._source.arn
        self._stream_arn = (await self._source.ask("ListStreams", listing(arn), TableStreams)).arn_of(arn)
        await self.shards()

    def envelope(self, shard: str) -> Envelope:
        return Envelope()

    async def shards(self) -> Sequence[Shard]:
        found: list[_Shard] = []
        asked = {"StreamArn": self._stream_arn}
        while True:
            answer = (await self._source.ask("DescribeStream", asked, _Described)).stream_description
            found += answer.shards
            if answer.last_evaluated_shard_id is None:
                return [_shard(one) for one in found]
            asked["ExclusiveStartShardId"] = answer.last_evaluated_shard_id

    async def open(self, shard: str, position: Position) -> str:
        if position.after is not None:
            try:
                return await self._iterator(shard, "AFTER_SEQUENCE_NUMBER", SequenceNumber=position.after)
            except SourceRefused as error:
                if error.code != _TRIMMED:
                    raise
        if position.start is Start.LATEST:
            return await self._iterator(shard, Start.LATEST)
        self._not_before_s[shard] = float(int(position.at_s or 0))  # records tell their time in whole seconds
        return await self._iterator(shard, Start.TRIM_HORIZON)

    async def fetch(self, shard: str, cursor: str, limit: int) -> Page:
        asked = {"ShardIterator": cursor, "Limit": limit}
        answer = await self._source.ask("GetRecords", asked, _Records)
        not_before_s = self._not_before_s.get(shard, 0.0)
        records = [one for one in map(self._record, answer.records) if (one.arrived_s or 0) >= not_before_s]
        return Page(records=records, cursor=answer.next_shard_iterator, is_last=not answer.records)

    async def checkpoints(self) -> Mapping[str, Checkpoint]:
        return await self._checkpoints.load()

    async def commit(self, shard: str, checkpoint: Checkpoint) -> None:
        await self._checkpoints.save(shard, checkpoint)

    async def close(self, shard: str) -> None:
        """An iterator is not closed."""

    async def forget(self, shard: str) -> None:
        await self._checkpoints.remove(shard)

    async def _iterator(self, shard: str, kind: str, **more: str) -> str:
        asked = {"StreamArn": self._stream_arn, "ShardId": shard, "ShardIteratorType": kind, **more}
        return (await self._source.ask("GetShardIterator", asked, _Iterator)).shard_iterator

    def _record(self, record: _Record) -> SourceRecord:
        changed = record.dynamodb
        arrived_s = changed.get("ApproximateCreationDateTime")
        if arrived_s is not None:
            changed = {**changed, "ApproximateCreationDateTime": int(arrived_s)}
        document: dict[str, object] = {
            "eventID": record.event_id,
            "eventName": record.event_name,
            "eventVersion": record.event_version,
            "eventSource": record.event_source,
            "awsRegion": self._source.region,
            "dynamodb": changed,
        }
        if record.user_identity is not None:
            document["userIdentity"] = {key[0].lower() + key[1:]: value for key, value in record.user_identity.items()}
        document["eventSourceARN"] = self._source.arn
        return source_record(
            changed["SequenceNumber"],
            document,
            order_key=msgspec.json.encode(changed.get("Keys"), order="deterministic").decode(),
            arrived_s=arrived_s,
        )


def _shard(shard: _Shard) -> Shard:
    return Shard(
        id=shard.shard_id,
        parents=(shard.parent_shard_id,) if shard.parent_shard_id else (),
        is_closed=shard.sequence_number_range.ending_sequence_number is not None,
    )
