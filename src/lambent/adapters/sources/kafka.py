"""Topics of Kafka, read as one member of a consumer group, whose committed offsets are the checkpoints.

The member keeps its name, so that a server which comes back has its partitions back at once.
https://docs.aws.amazon.com/lambda/latest/dg/with-kafka-process.html
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any  # aiokafka has no types

from aiokafka import ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from lambent.adapters.sources import kafka_records
from lambent.adapters.sources.kafka_cluster import KafkaCluster, problem_with
from lambent.adapters.sources.kafka_records import Partition
from lambent.model.event_source_mapping import EventSourceMapping
from lambent.model.source_record import Checkpoint, Envelope, Page, Position, Shard, Start
from lambent.ports.sources import ShardLost, SourceLost, SourceUnavailable

log = logging.getLogger(__name__)

_FETCH_S = 1.0
"""How long a fetch waits for records."""
_SILENCE_S = 10.0
"""After which a cluster is asked whether it is still there: the client does not tell."""
_COMMIT_S = 30.0
_SESSION_S = 30.0
_NEVER_MS = 2**31 - 1
_RELEASE_MARGIN_S = 30.0


@asynccontextmanager
async def kafka_stream(
    cluster: KafkaCluster, mapping: EventSourceMapping, *, timeout_s: float
) -> AsyncIterator[KafkaStream]:
    """The mapping's topics; `timeout_s` is the function's: for so long a partition may take to be let go."""
    await settle_beginning(cluster, mapping)
    release_s = timeout_s + _RELEASE_MARGIN_S
    async with cluster.consumer(
        mapping.consumer_group_id or mapping.uuid,
        group_instance_id=f"lambent-{mapping.uuid}",
        session_timeout_ms=int(_SESSION_S * 1000),
        rebalance_timeout_ms=int(release_s * 1000),
        max_poll_interval_ms=_NEVER_MS,  # a function may fail for as long as it likes
    ) as consumer:
        yield KafkaStream(cluster, mapping, consumer, release_s)


async def settle_beginning(cluster: KafkaCluster, mapping: EventSourceMapping) -> None:
    """Commit where a group begins that has never read these topics; partitions that are added later are read whole."""
    existing = await cluster.topics()
    for topic in mapping.topics:
        if topic not in existing:
            raise SourceUnavailable(f"There is no topic {topic}, or Lambent is not allowed to see it")
    if mapping.starting_position == Start.TRIM_HORIZON:
        return
    async with cluster.consumer(mapping.consumer_group_id or mapping.uuid) as consumer:
        for topic in mapping.topics:
            await _settle_topic(consumer, mapping, [TopicPartition(topic, number) for number in existing[topic]])


async def _settle_topic(consumer: Any, mapping: EventSourceMapping, partitions: Sequence[TopicPartition]) -> None:
    consumer.assign(partitions)
    if any([await consumer.committed(one) is not None for one in partitions]):
        return
    offsets: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    if mapping.starting_position == Start.AT_TIMESTAMP:
        at_ms = int((mapping.starting_timestamp_s or 0) * 1000)
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, at_ms))
        offsets |= {one: first.offset for one, first in found.items() if first is not None}
    try:
        await consumer.commit({one: OffsetAndMetadata(offset, "") for one, offset in offsets.items()})
    except CommitFailedError:
        log.info("kafka.group_is_at_work", extra={"mapping": mapping.arn})  # so it has begun already


class KafkaStream(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Implements `lambent.ports.sources.StreamSource`. Where a partition is read from, its group's offset says."""

    page_limit = 500
    poll_interval_s = 0.0
    retention_s: float | None = None

    def __init__(self, cluster: KafkaCluster, mapping: EventSourceMapping, consumer: Any, release_s: float) -> None:
        self._cluster = cluster
        self._mapping = mapping
        self._consumer = consumer
        self._release_s = release_s
        self._assigned: Mapping[str, TopicPartition] = {}
        self._opened: set[str] = set()
        self._closed = asyncio.Event()
        self._revocation = asyncio.Event()
        self._revocation.set()
        self._heard_s = asyncio.get_running_loop().time()
        self._fault: str | None = None
        self.changed = asyncio.Event()
        consumer.subscribe(topics=mapping.topics, listener=self)

    # ------------------------------------------------------------------------------------------ StreamSource

    def envelope(self, shard: str) -> Envelope:
        return kafka_records.envelope(self._mapping, self._cluster.servers, Partition.of(shard))

    async def shards(self) -> Sequence[Shard]:
        if self._fault is not None:
            raise SourceLost(self._fault)
        return () if self._revocation.is_set() else [Shard(id=shard) for shard in self._assigned]

    async def checkpoints(self) -> Mapping[str, Checkpoint]:
        """None: another member may be further, so each partition's is asked for when it is opened."""
        return {}

    async def open(self, shard: str, position: Position) -> str:
        partition = self._reading(shard)
        try:
            async with asyncio.timeout(_COMMIT_S):
                offset = await self._consumer.committed(partition)
                if offset is None:
                    offset = (await self._consumer.beginning_offsets([partition]))[partition]
            self._consumer.seek(partition, offset)
        except IllegalStateError as error:
            raise ShardLost(str(error)) from error
        except (KafkaError, TimeoutError) as error:
            raise problem_with("the Kafka cluster", error) from error
        self._reading(shard)  # still, after all this waiting
        self._opened.add(shard)
        return str(offset)

    async def fetch(self, shard: str, cursor: str, limit: int) -> Page:
        partition = self._reading(shard)
        records = await self._read(partition, limit)
        now_s = asyncio.get_running_loop().time()
        if records:
            self._heard_s = now_s
            cursor = str(records[-1].offset + 1)
        elif now_s - self._heard_s > _SILENCE_S:
            self._heard_s = now_s
            await self._require_answer(partition)
        return Page(records=[kafka_records.record(one) for one in records], cursor=cursor, is_last=not records)

    async def commit(self, shard: str, checkpoint: Checkpoint) -> None:
        """Only what was done; a partition of which nothing was has no offset."""
        if checkpoint.after is None:
            return
        partition = self._assigned.get(shard)
        if partition is None:
            raise ShardLost(f"{shard} is another member's now")
        try:
            async with asyncio.timeout(_COMMIT_S):
                await self._consumer.commit({partition: OffsetAndMetadata(int(checkpoint.after) + 1, "")})
        except (CommitFailedError, IllegalStateError) as error:
            raise ShardLost(str(error)) from error
        except (KafkaError, TimeoutError) as error:
            raise problem_with("the coordinator of the consumer group", error) from error

    async def close(self, shard: str) -> None:
        self._opened.discard(shard)
        if not self._opened:
            self._closed.set()

    async def forget(self, shard: str) -> None:
        """Kafka forgets the offsets of a group by itself."""

    # ------------------------------------------------------------------------------------------ the group

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called before the group is divided anew: what is being invoked ends, and is committed, before that."""
        self._revocation.set()
        self.changed.set()
        if self._opened:
            self._closed.clear()
            try:
                async with asyncio.timeout(self._release_s):
                    await self._closed.wait()
            except TimeoutError:
                log.warning("kafka.partitions_not_released", extra={"mapping": self._mapping.arn})
        self._assigned = {}

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._assigned = {Partition(one.topic, one.partition).shard: one for one in sorted(assigned)}
        self._revocation.clear()
        self.changed.set()

    # ------------------------------------------------------------------------------------------ reading

    def _reading(self, shard: str) -> TopicPartition:
        if self._revocation.is_set() or shard not in self._assigned:
            raise ShardLost(f"{shard} is another member's now")
        return self._assigned[shard]

    async def _read(self, partition: TopicPartition, limit: int) -> Sequence[Any]:
        """A fetch would wait until the group is divided anew, which would wait for the fetch."""
        reading = asyncio.ensure_future(
            self._consumer.getmany(partition, timeout_ms=int(_FETCH_S * 1000), max_records=limit)
        )
        revocation = asyncio.ensure_future(self._revocation.wait())
        try:
            await asyncio.wait((reading, revocation), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                raise ShardLost("the group is divided anew")
            return reading.result().get(partition, ())  # type: ignore[no-any-return]
        except IllegalStateError as error:
            raise ShardLost(str(error)) from error
        except KafkaError as error:
            problem = problem_with("the Kafka cluster", error)
            if not error.retriable:
                self._fault = str(problem)
                self.changed.set()
            raise problem from error
        finally:
            reading.cancel()
            revocation.cancel()

    async def _require_answer(self, partition: TopicPartition) -> None:
        try:
            async with asyncio.timeout(_SILENCE_S):
                await self._consumer.end_offsets([partition])
        except (KafkaError, TimeoutError) as error:
            servers = ",".join(self._cluster.servers)
            raise SourceUnavailable(f"{servers} does not answer: {error or type(error).__name__}") from error
