"""Kafka and RabbitMQ to the end: a server reads them and runs real functions on what they hold."""

from __future__ import annotations

import asyncio
import json
import os
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiormq
import pytest
from aiokafka import AIOKafkaConsumer
from pamqp.commands import Basic

import kafka_servers
import rabbitmq_server
from kafka_servers import ApacheKafka
from lambent.testing.service import RunningService, deploy, running_service
from rabbitmq_server import RabbitMq

DEADLINE_S = 60
CLUSTER = "arn:aws:kafka:us-east-1:000000000000:cluster/orders/1"
BROKER = "arn:aws:mq:us-east-1:000000000000:broker:pizza:b-1"
OTHER_BROKER = "arn:aws:mq:us-east-1:000000000000:broker:jms:b-2"

CODE = """
import base64, json
def handler(event, context):
    print(json.dumps({"seen": event}))
    lists = (event.get("records") or event["rmqMessagesByQueue"]).values()
    values = [base64.b64decode(record.get("value") or record["data"]) for records in lists for record in records]
    if b"poison" in values:
        raise ValueError("poison")
"""


@pytest.fixture(scope="module")
def secrets(kafka: ApacheKafka, moto: str, peer: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """A Secrets Manager, and the ARNs of what it holds."""
    client = peer("secretsmanager")
    held = {
        "kafka-login": {"username": kafka_servers.USER, "password": kafka_servers.PASSWORD},
        "kafka-authority": {"certificate": kafka.certificates.authority},
    }
    return moto, {
        name: client.create_secret(Name=name, SecretString=json.dumps(one))["ARN"] for name, one in held.items()
    }


@pytest.fixture(scope="module")
def reading(
    kafka: ApacheKafka,
    rabbitmq: RabbitMq,
    secrets: tuple[str, dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningService]:
    if os.geteuid() != 0:
        pytest.skip("real sandboxes are tested as root")
    directory: Path = tmp_path_factory.mktemp("brokers")
    login = directory / "rabbitmq.json"
    login.write_text(json.dumps({"username": rabbitmq_server.USER, "password": rabbitmq_server.PASSWORD}))
    options = [
        *("--endpoint", f"secretsmanager={secrets[0]}"),
        *("--broker", f"{CLUSTER}={kafka.plaintext}"),
        *("--broker", f"{BROKER}={rabbitmq.address}"),
        *("--broker", f"{OTHER_BROKER}=ssl://127.0.0.1:61617"),
        *("--secret", f"rabbitmq-login={login}"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        with running_service(directory / "data", "--egress", "none", *options) as running:
            yield running


Mapped = Callable[..., str]


@pytest.fixture
def mapped(reading: RunningService) -> Iterator[Mapped]:
    """Deploys a function of that name and maps a source to it; returns the mapping's UUID once it is Enabled."""
    client = reading.client("lambda")
    uuids: list[str] = []

    def make(name: str, **source: Any) -> str:
        deploy(client, name, CODE)
        uuids.append(client.create_event_source_mapping(FunctionName=name, **source)["UUID"])
        until(lambda: client.get_event_source_mapping(UUID=uuids[-1])["State"] == "Enabled")
        return uuids[-1]

    yield make
    for uuid in uuids:
        client.delete_event_source_mapping(UUID=uuid)


def until(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (found := look()):
        assert time.monotonic() < deadline, "it has not come to be"
    return found


def result(service: RunningService, uuid: str) -> str:
    last: str = service.client("lambda").get_event_source_mapping(UUID=uuid)["LastProcessingResult"]
    return last


def seen(service: RunningService, function: str) -> list[dict[str, Any]]:
    """The events that the function got."""
    logs = service.client("logs")
    try:
        pages = list(
            logs.get_paginator("filter_log_events").paginate(
                logGroupName=f"/aws/lambda/{function}", filterPattern='"seen"'
            )
        )
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [json.loads(one["message"])["seen"] for page in pages for one in page["events"]]


def values(events: list[dict[str, Any]]) -> list[str]:
    records = [record for event in events for records in event["records"].values() for record in records]
    return [b64decode(record["value"]).decode() for record in records]


def fill(kafka: ApacheKafka, topic: str, *contents: str) -> None:
    async def main() -> None:
        await kafka_servers.make_topic(kafka.plaintext, topic)
        await kafka_servers.put(kafka.plaintext, topic, [one.encode() for one in contents])

    asyncio.run(main())


def held_by(kafka: ApacheKafka, topic: str, count: int) -> list[bytes]:
    async def main() -> list[bytes]:
        found: list[bytes] = []
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka.plaintext, auto_offset_reset="earliest")
        await consumer.start()
        try:
            async with asyncio.timeout(DEADLINE_S):
                while len(found) < count:
                    found.append((await consumer.getone()).value)
        finally:
            await consumer.stop()
        return found

    return asyncio.run(main())


def test_a_cluster_with_tls_and_a_password_from_secrets_manager(
    kafka: ApacheKafka, reading: RunningService, mapped: Mapped, secrets: tuple[str, dict[str, str]]
) -> None:
    fill(kafka, "secured", *map(str, range(25)))
    uuid = mapped(
        "secured",
        SelfManagedEventSource={"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": [kafka.sasl_tls]}},
        SourceAccessConfigurations=[
            {"Type": "SASL_SCRAM_512_AUTH", "URI": secrets[1]["kafka-login"]},
            {"Type": "SERVER_ROOT_CA_CERTIFICATE", "URI": secrets[1]["kafka-authority"]},
        ],
        Topics=["secured"],
        StartingPosition="TRIM_HORIZON",
        BatchSize=10,
        FilterCriteria={"Filters": [{"Pattern": '{"value":[{"anything-but":["3"]}]}'}]},
    )
    events = until(lambda: (found := seen(reading, "secured")) and len(values(found)) == 24 and found)
    assert values(events) == [str(number) for number in range(25) if number != 3]
    assert all(len(event["records"]["secured-0"]) <= 10 for event in events)
    assert events[0]["eventSource"] == "SelfManagedKafka"
    assert events[0]["bootstrapServers"] == kafka.sasl_tls
    until(lambda: result(reading, uuid) == "OK")


def test_a_poison_record_alone_reaches_the_topic_for_failures(
    kafka: ApacheKafka, reading: RunningService, mapped: Mapped
) -> None:
    fill(kafka, "poisoned", "a", "b", "poison", "d", "e")
    fill(kafka, "poisoned-dead")
    mapped(
        "poisoned",
        EventSourceArn=CLUSTER,
        Topics=["poisoned"],
        StartingPosition="TRIM_HORIZON",
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": "kafka://poisoned-dead"}},
    )
    (told,) = (json.loads(one) for one in held_by(kafka, "poisoned-dead", 1))
    assert told["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert told["KafkaBatchInfo"]["eventSourceArn"] == CLUSTER
    assert told["KafkaBatchInfo"]["recordsInfo"]["poisoned-0"]["firstRecordOffset"] == "2"
    event = json.loads(told["payload"])
    assert (event["eventSource"], values([event])) == ("aws:kafka", ["poison"])
    until(lambda: {"a", "b", "d", "e"} <= set(values(seen(reading, "poisoned"))))


def test_a_cluster_that_is_down_is_told_and_tried_again(reading: RunningService, mapped: Mapped) -> None:
    uuid = mapped(
        "nowhere",
        SelfManagedEventSource={"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["127.0.0.1:9"]}},
        SourceAccessConfigurations=[{"Type": "VPC_SUBNET", "URI": "subnet:subnet-1"}],
        Topics=["orders"],
        StartingPosition="LATEST",
    )
    assert until(lambda: "127.0.0.1:9 cannot be reached" in result(reading, uuid))


def publish(rabbitmq: RabbitMq, queue: str, *bodies: str) -> None:
    async def main() -> None:
        connection = await aiormq.connect(rabbitmq.url)
        channel = await connection.channel()
        limited = {"x-queue-type": "quorum", "x-delivery-limit": 1, "x-dead-letter-exchange": ""}
        await channel.queue_declare(f"{queue}-dead", durable=True)
        await channel.queue_declare(
            queue, durable=True, arguments=limited | {"x-dead-letter-routing-key": f"{queue}-dead"}
        )
        for body in bodies:
            properties = Basic.Properties(headers={"kind": "order"})
            await channel.basic_publish(body.encode(), routing_key=queue, properties=properties)
        await connection.close()

    asyncio.run(main())


def waiting(rabbitmq: RabbitMq, queue: str) -> int:
    async def main() -> int:
        connection = await aiormq.connect(rabbitmq.url)
        count = (await (await connection.channel()).queue_declare(queue, passive=True)).message_count
        await connection.close()
        return count or 0

    return asyncio.run(main())


def test_messages_of_rabbitmq_are_gone_once_they_are_done_and_dead_once_the_queue_has_enough(
    rabbitmq: RabbitMq, reading: RunningService, mapped: Mapped
) -> None:
    publish(rabbitmq, "pizza", "a", "b", "c")
    mapped(
        "pizza",
        EventSourceArn=BROKER,
        Queues=["pizza"],
        BatchSize=2,
        SourceAccessConfigurations=[
            {"Type": "BASIC_AUTH", "URI": "rabbitmq-login"},
            {"Type": "VIRTUAL_HOST", "URI": rabbitmq_server.VIRTUAL_HOST},
        ],
    )
    key = f"pizza::{rabbitmq_server.VIRTUAL_HOST}"

    def contents() -> list[str]:
        records = [record for event in seen(reading, "pizza") for record in event["rmqMessagesByQueue"][key]]
        return [b64decode(record["data"]).decode() for record in records]

    until(lambda: contents() == ["a", "b", "c"])
    assert seen(reading, "pizza")[0]["rmqMessagesByQueue"][key][0]["basicProperties"]["headers"] == {
        "kind": {"bytes": [*b"order"]}
    }
    publish(rabbitmq, "pizza", "poison")
    until(lambda: waiting(rabbitmq, "pizza-dead") == 1)
    assert contents() == ["a", "b", "c", "poison", "poison"]


def test_activemq_is_refused_by_name(reading: RunningService, mapped: Mapped) -> None:
    uuid = mapped(
        "jms",
        EventSourceArn=OTHER_BROKER,
        Queues=["orders"],
        SourceAccessConfigurations=[{"Type": "BASIC_AUTH", "URI": "rabbitmq-login"}],
    )
    assert until(lambda: "ActiveMQ is not supported" in result(reading, uuid))
