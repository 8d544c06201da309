"""What functions get from Kafka and RabbitMQ, and what is told of batches that are given up: to AWS's letter."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError
from pamqp.commands import Basic
from poller_world import ERROR, mapping

from lambent.adapters.sources import kafka_records, rabbitmq_records
from lambent.adapters.sources.kafka_cluster import problem_with
from lambent.adapters.sources.kafka_records import Partition
from lambent.model.arn import FunctionArn
from lambent.model.event import Condition
from lambent.model.event_filter import compile_filter
from lambent.model.event_source_mapping import SourceKind
from lambent.model.source_record import source_record
from lambent.pollers.batch_run import GiveUp, run_policy
from lambent.pollers.failed_batches import FailedBatch, outcome
from lambent.pollers.responses import failed_ids, offset_in

GOLDEN = Path(__file__).parent / "golden" / "pollers"
CLUSTER = "arn:aws:kafka:us-east-1:123456789012:cluster/vpc-2priv-2pub/751d2973-a626-431c-9d4e-d7975eb44dd7-2"
BROKER = "arn:aws:mq:us-west-2:111122223333:broker:pizzaBroker:b-9bcfa592-423a-4942-879d-eb284b418fc8"
SERVERS = tuple(f"b-{number}.demo-cluster-1.a1bcde.c1.kafka.us-east-1.amazonaws.com:9092" for number in (2, 1))
KAFKA = SourceKind.SELF_MANAGED_KAFKA


@dataclass
class Consumed:
    topic: str = "my-topic"
    partition: int = 12
    offset: int = 16
    timestamp: int = 1545084650987
    timestamp_type: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)


def assert_golden(found: bytes, name: str) -> None:
    """Equal, and the members in the same order."""
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    assert json.dumps(json.loads(found), indent=1) == json.dumps(expected, indent=1)


def test_records_of_an_msk_cluster() -> None:
    consumed = Consumed(
        "mytopic", 0, 15, key=b"key", value=b"Hello, this is a test.", headers=[("headerKey", b"headerValue")]
    )
    msk = mapping(SourceKind.MSK, source_arn=CLUSTER)
    event = kafka_records.envelope(msk, SERVERS, Partition("mytopic", 0)).wrap([kafka_records.record(consumed)])
    assert_golden(event, "kafka-msk.event")


def test_records_of_a_self_managed_cluster_without_what_is_null() -> None:
    records = [
        kafka_records.record(Consumed(timestamp_type=1, value=b'{"a":1}', headers=[("accented", "ë".encode())])),
        kafka_records.record(Consumed(offset=17, timestamp=1545084650988, key=b"key")),
    ]
    event = kafka_records.envelope(mapping(KAFKA), SERVERS[:1], Partition.of("my-topic-12")).wrap(records)
    assert_golden(event, "kafka-self-managed.event")
    assert [record.id for record in records] == ["16", "17"]
    assert records[0].arrived_s == 1545084650.987


def test_filters_see_the_value_and_where_a_record_lies() -> None:
    passes = compile_filter(('{"value":{"a":[1]},"partition":[12]}',), KAFKA.filter_source)
    assert passes(kafka_records.record(Consumed(value=b'{"a":1}')).document)
    assert not passes(kafka_records.record(Consumed(value=b'{"a":2}')).document)
    assert not passes(kafka_records.record(Consumed(value=b'{"a":1}', partition=3)).document)


def pizza(**properties: Any) -> Basic.Properties:
    return Basic.Properties(**properties)


def test_messages_of_a_rabbitmq_queue() -> None:
    properties = pizza(
        content_type="text/plain",
        headers={"header1": "value1", "header2": "ë", "numberInHeader": 10},
        delivery_mode=1,
        priority=34,
        expiration="60000",
        timestamp=datetime(1970, 1, 1, 0, 33, 41, tzinfo=UTC),
        user_id="AIDACKCEVSQ6C2EXAMPLE",
    )
    body = b'{"timeout":0,"data":"CZrmf0Gw8Ov4bqLQxD4E"}'
    record = rabbitmq_records.record("1:1", properties, body, is_redelivered=False)
    event = rabbitmq_records.envelope(mapping(SourceKind.MQ, source_arn=BROKER), "pizzaQueue", "/").wrap([record])
    assert_golden(event, "rabbitmq.event")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (b"\xff", {"bytes": [-1]}),
        (bytearray(b"\x01\xff"), [1, -1]),
        ({"a": ["b", True, None]}, {"a": [{"bytes": [98]}, True, None]}),
        (datetime(2024, 12, 31, 23, 5, 9, tzinfo=UTC), "Dec 31, 2024, 11:05:09 PM"),
        (Decimal("1.5"), 1.5),
    ],
)
def test_headers_of_every_type_are_written(value: Any, written: object) -> None:
    record = rabbitmq_records.record("1:1", pizza(headers={"h": value}), b"", is_redelivered=True)
    assert record.document["basicProperties"]["headers"] == {"h": written}
    assert record.document["redelivered"] is True


def test_a_batch_of_kafka_that_is_given_up() -> None:
    minute_s = datetime.fromisoformat("2019-11-14T00:38:00+00:00").timestamp()
    msk = mapping(
        SourceKind.MSK,
        function=FunctionArn("us-east-1", "123456789012", "myfunction"),
        source_arn="arn:aws:kafka:us-east-1:123456789012:cluster/c/1",
        topics=("my-topic",),
    )
    batch = FailedBatch(
        mapping=msk,
        shard="my-topic-0",
        step=GiveUp(
            [source_record(id, {}, arrived_s=minute_s + second) for id, second in (("496", 4.835), ("497", 5.58))],
            Condition.RETRY_ATTEMPTS_EXHAUSTED,
            1,
            ERROR,
        ),
        request_id="316aa6d0-8154-4a7c-8a8a-9a1b2c3d4e5f",  # type: ignore[arg-type]
        payload=b'{"bootstrapServers":"b-1:9092","records":{"my-topic-0":[{},{}]}}',
        at_s=minute_s + 6.021,
        object_id="o",
    )
    head, body = outcome(batch, "arn:aws:sqs:us-east-1:123456789012:dead")
    assert_golden(body, "kafka.failed")
    assert head.message.cluster_of is None

    head, body = outcome(batch, "kafka://dead")
    assert json.loads(body) == json.loads((GOLDEN / "kafka.failed.json").read_text()) | {
        "payload": batch.payload.decode()
    }
    assert (head.message.target, head.message.cluster_of) == ("kafka://dead", msk.key)


@pytest.mark.parametrize(
    ("settings", "attempts"),
    [
        ({}, None),
        ({"maximum_retry_attempts": -1, "on_failure": "kafka://dead"}, 10),
        ({"maximum_retry_attempts": 3, "on_failure": "kafka://dead"}, 3),
    ],
)
def test_kafka_with_a_destination_is_not_retried_for_ever(settings: dict[str, Any], attempts: int | None) -> None:
    assert run_policy(mapping(KAFKA, **settings), None).maximum_retry_attempts == attempts


@pytest.mark.parametrize("error", [TopicAuthorizationFailedError("orders"), GroupAuthorizationFailedError("readers")])
def test_what_a_user_of_kafka_may_not_do_is_told_in_awss_words(error: KafkaError) -> None:
    assert str(problem_with("a:9092", error)).startswith("Cluster failed to authorize Lambda: ")


@pytest.mark.parametrize(
    ("identifier", "failed"),
    [
        ({"partition": "orders-3", "offset": 15}, {"15"}),
        ({"partition": "orders-3", "offset": "15"}, {"15"}),
        ({"partition": "orders-2", "offset": 15}, None),
        ({"partition": "orders-3", "offset": 99}, None),
        ({"partition": "orders-3"}, None),
        ("15", None),
        (None, None),
    ],
)
def test_a_record_of_kafka_is_reported_by_partition_and_offset(identifier: object, failed: set[str] | None) -> None:
    payload = json.dumps({"batchItemFailures": [{"itemIdentifier": identifier}]}).encode()
    assert failed_ids(payload, {"15", "16"}, offset_in("orders-3")) == failed
