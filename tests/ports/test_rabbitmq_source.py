"""Queues of RabbitMQ as a queue source: what is acknowledged is gone, what is not comes again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiormq
import pytest
from pamqp.commands import Basic

from broker_mappings import BROKER_ARN, access, brokers, queue_mapping
from lambent.adapters.sources.rabbitmq import RabbitQueue
from lambent.model.source_record import SourceRecord
from lambent.ports.sources import SourceUnavailable
from rabbitmq_server import PASSWORD, USER, VIRTUAL_HOST, RabbitMq

_numbers = itertools.count()
LOGIN = {"login": {"username": USER, "password": PASSWORD}}
ACCESS = access(BASIC_AUTH="login", VIRTUAL_HOST=VIRTUAL_HOST)


class Queue:
    """A queue as its users see it."""

    def __init__(self, channel: Any, name: str) -> None:
        self.channel = channel
        self.name = name

    async def put(self, *bodies: str, **properties: Any) -> None:
        for body in bodies:
            await self.channel.basic_publish(
                body.encode(), routing_key=self.name, properties=Basic.Properties(**properties)
            )

    async def left(self) -> int:
        """How many messages nobody holds."""
        count: int = (await self.channel.queue_declare(self.name, passive=True)).message_count
        return count


@pytest.fixture
async def queue(rabbitmq: RabbitMq) -> AsyncIterator[Queue]:
    connection = await aiormq.connect(rabbitmq.url)
    channel = await connection.channel()
    name = f"orders-{next(_numbers)}"
    await channel.queue_declare(name, arguments={"x-queue-type": "quorum", "x-delivery-limit": 2}, durable=True)
    yield Queue(channel, name)
    await connection.close()


@contextlib.asynccontextmanager
async def reading(rabbitmq: RabbitMq, directory: Path, name: str, **settings: Any) -> AsyncIterator[RabbitQueue]:
    mapping = queue_mapping(name, **({"access": ACCESS} | settings))
    async with brokers(directory, LOGIN, rabbitmq.address).queue(mapping, None) as opened:  # type: ignore[arg-type]
        yield opened


async def receive(source: RabbitQueue, count: int) -> list[SourceRecord]:
    records: list[SourceRecord] = []
    async with asyncio.timeout(30):
        while len(records) < count:
            received = await source.receive(count - len(records), wait_s=20, hold_s=0)
            records += received.records
    return records


def bodies(records: list[SourceRecord]) -> list[str]:
    return [b64decode(record.document["data"]).decode() for record in records]


async def eventually_left(queue: Queue, count: int) -> None:
    left = -1
    async with asyncio.timeout(30):
        while left != count:
            left = await queue.left()


async def test_messages_come_in_order_and_are_gone_once_they_are_deleted(
    rabbitmq: RabbitMq, queue: Queue, tmp_path: Path
) -> None:
    await queue.put("a", "b", "c", content_type="text/plain", message_id="m")
    async with reading(rabbitmq, tmp_path, queue.name) as source:
        records = await receive(source, 3)
        assert bodies(records) == ["a", "b", "c"]
        assert records[0].document["basicProperties"]["messageId"] == "m"
        assert source.envelope.before.endswith(f'{{"{queue.name}::{VIRTUAL_HOST}":['.encode())
        await source.delete(records[:2])
    await eventually_left(queue, 1)  # what was not deleted is back once the connection has ended


async def test_what_is_released_or_failed_comes_again_until_the_queue_has_enough_of_it(
    rabbitmq: RabbitMq, queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambent.adapters.sources.rabbitmq._FAILURE_WAIT_S", (0.0,))
    await queue.put("a")
    async with reading(rabbitmq, tmp_path, queue.name) as source:
        records = await receive(source, 1)
        assert records[0].document["redelivered"] is False
        await source.release(records)
        records = await receive(source, 1)
        assert records[0].document["redelivered"] is True
        await source.fail(records)
        await source.fail(await receive(source, 1))
        assert not (await source.receive(1, wait_s=0.3, hold_s=0)).records  # the delivery limit of the queue is 2
    assert await queue.left() == 0


async def test_after_a_failure_nothing_is_received_for_a_while(
    rabbitmq: RabbitMq, queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambent.adapters.sources.rabbitmq._FAILURE_WAIT_S", (60.0,))
    await queue.put("a")
    async with reading(rabbitmq, tmp_path, queue.name) as source:
        await source.fail(await receive(source, 1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await source.receive(1, wait_s=20, hold_s=0)


async def test_no_more_is_held_than_a_batch_takes(rabbitmq: RabbitMq, queue: Queue, tmp_path: Path) -> None:
    await queue.put(*map(str, range(7)))
    async with reading(rabbitmq, tmp_path, queue.name, batch_size=3) as source:
        records = await receive(source, 3)
        assert await queue.left() == 4
        await source.delete(records)
        assert bodies(await receive(source, 3)) == ["3", "4", "5"]


async def test_a_connection_that_ends_is_told_and_made_anew(rabbitmq: RabbitMq, queue: Queue, tmp_path: Path) -> None:
    await queue.put("a")
    async with reading(rabbitmq, tmp_path, queue.name) as source:
        before = await receive(source, 1)
        assert source._connection is not None
        await source._connection.close()
        with pytest.raises(SourceUnavailable, match="has ended"):
            await source.delete(before)
        records = await receive(source, 1)
        assert bodies(records) == ["a"]
        await source.delete(before)  # of a former connection: means nothing
        await source.delete(records)
    assert await queue.left() == 0


async def test_a_queue_that_is_not_there_is_told(rabbitmq: RabbitMq, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="There is no queue nowhere"):
        async with reading(rabbitmq, tmp_path, "nowhere"):
            pass


@pytest.mark.parametrize(
    ("login", "host", "told"),
    [
        (
            {"username": USER, "password": "wrong"},
            VIRTUAL_HOST,
            "EVENT_SOURCE_AUTHN_ERROR: .* does not accept the user name and password",
        ),
        ({"username": USER, "password": PASSWORD}, "nowhere", "EVENT_SOURCE_AUTHZ_ERROR: .* refuses access"),
    ],
)
async def test_a_broker_that_refuses_us_is_told(
    rabbitmq: RabbitMq, tmp_path: Path, login: dict[str, str], host: str, told: str
) -> None:
    mapping = queue_mapping("orders", access=access(BASIC_AUTH="login", VIRTUAL_HOST=host))
    with pytest.raises(SourceUnavailable, match=told):
        async with brokers(tmp_path, {"login": login}, rabbitmq.address).queue(mapping, None):  # type: ignore[arg-type]
            pass


async def test_a_broker_without_an_address_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match=f"start it with --broker {BROKER_ARN}=amqp://HOST:PORT"):
        async with brokers(tmp_path, LOGIN).queue(queue_mapping("orders"), None):  # type: ignore[arg-type]
            pass


@pytest.mark.parametrize(
    "hello", [b"AMQP\x00\x01\x00\x00", b"\x00\x00\x01\x2a\x01ActiveMQ\x00\x00\x00\x0c"], ids=["AMQP 1.0", "OpenWire"]
)
async def test_activemq_is_refused_by_name(tmp_path: Path, hello: bytes) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(hello)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        address = f"amqp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        mapping = queue_mapping("orders", access=ACCESS)
        with pytest.raises(SourceUnavailable, match="ActiveMQ, which is not supported"):
            async with brokers(tmp_path, LOGIN, address).queue(mapping, None):  # type: ignore[arg-type]
                pass


async def test_an_address_of_activemq_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="ActiveMQ is not supported"):
        async with brokers(tmp_path, LOGIN, "ssl://127.0.0.1:61617").queue(queue_mapping("o"), None):  # type: ignore[arg-type]
            pass
