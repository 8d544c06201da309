"""Event sources as pollers read them: in memory, and moto's SQS, Kinesis and DynamoDB streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from function_versions import function_version
from lambent.adapters.http.aws_services import AwsServices
from lambent.adapters.memory.sources import MemoryQueue, MemoryStream
from lambent.adapters.memory.store import MemoryStore
from lambent.adapters.sources.http_sources import HttpSources
from lambent.iam.sigv4 import Credential, sign
from lambent.model.arn import FunctionArn
from lambent.model.event_source_mapping import EventSourceMapping, SourceKind
from lambent.model.function import FunctionVersion
from lambent.model.source_record import Checkpoint, LaneCheckpoint, Position, SourceRecord, Start
from lambent.ports.sources import QueueSource, SourceUnavailable, StreamSource

REGION, ACCOUNT = "eu-west-1", "123456789012"
ROLE = "arn:aws:iam::123456789012:role/r"


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


def mapping(kind: SourceKind, arn: str) -> EventSourceMapping:
    return EventSourceMapping(
        uuid="u",
        account=ACCOUNT,
        region=REGION,
        function=FunctionArn(REGION, ACCOUNT, "f"),
        kind=kind,
        source_arn=arn,
        batch_size=1,
        state_transition_reason="",
        last_modified_s=0.0,
    )


def version() -> FunctionVersion:
    return function_version(account=ACCOUNT, region=REGION, role=ROLE)


async def http_sources(stack: AsyncExitStack, moto: str) -> HttpSources:
    credential = Credential("key", "secret")
    services = await stack.enter_async_context(AwsServices({"*": moto}, partial(sign, credential)))
    return HttpSources(services, MemoryStore())


Filled = tuple[Any, Callable[[str], None]]
"""A source, and what puts something into it."""


@pytest.fixture(params=["memory", "sqs"])
async def queue(request: pytest.FixtureRequest, stack: AsyncExitStack, moto: str, peer: Any) -> Filled:
    if request.param == "memory":
        memory = MemoryQueue(visibility_s=1)
        return memory, memory.put
    name = f"q{time.monotonic_ns()}"
    url = peer("sqs", REGION).create_queue(QueueName=name, Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
    sources = await http_sources(stack, moto)
    opened = sources.queue(mapping(SourceKind.SQS, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"), version())
    sqs = await stack.enter_async_context(opened)
    return sqs, lambda body: peer("sqs", REGION).send_message(QueueUrl=url, MessageBody=body)


def bodies(records: Any) -> list[str]:
    return [record.document["body"] for record in records]


async def test_a_message_is_received_once_and_gone_when_it_is_deleted(queue: Filled) -> None:
    source: QueueSource = queue[0]
    queue[1]("a")
    now_s = asyncio.get_running_loop().time()
    received = await source.receive(10, wait_s=1, hold_s=0)
    assert bodies(received.records) == ["a"]
    assert now_s + 0.9 <= received.until_s <= now_s + 3
    assert not (await source.receive(10, wait_s=0, hold_s=0)).records
    await source.delete(received.records)
    assert not (await source.receive(10, wait_s=2, hold_s=0)).records


async def test_no_more_messages_are_received_than_asked_for(queue: Filled) -> None:
    source: QueueSource = queue[0]
    for number in range(15):
        queue[1](str(number))
    assert len((await source.receive(3, wait_s=1, hold_s=0)).records) == 3
    assert len((await source.receive(100, wait_s=1, hold_s=0)).records) == source.receive_limit


async def test_a_message_that_failed_comes_again_after_a_while(queue: Filled) -> None:
    source: QueueSource = queue[0]
    queue[1]("a")
    first = await source.receive(10, wait_s=1, hold_s=0)
    await source.fail(first.records)
    assert not (await source.receive(10, wait_s=0, hold_s=0)).records
    again = await source.receive(10, wait_s=3, hold_s=0)
    assert bodies(again.records) == ["a"]


async def test_a_message_that_is_released_comes_again_at_once(queue: Filled) -> None:
    source: QueueSource = queue[0]
    queue[1]("a")
    await source.release((await source.receive(10, wait_s=1, hold_s=600)).records)
    assert bodies((await source.receive(10, wait_s=1, hold_s=0)).records) == ["a"]


async def test_a_message_is_held_as_long_as_asked_for(queue: Filled) -> None:
    source: QueueSource = queue[0]
    queue[1]("a")
    received = await source.receive(10, wait_s=1, hold_s=600)
    assert received.until_s > asyncio.get_running_loop().time() + 500
    assert not (await source.receive(10, wait_s=2, hold_s=0)).records


@pytest.fixture(params=["memory", "kinesis", "dynamodb"])
async def stream(request: pytest.FixtureRequest, stack: AsyncExitStack, moto: str, peer: Any) -> Filled:
    name = f"s{time.monotonic_ns()}"
    if request.param == "memory":
        memory = MemoryStream("s")
        return memory, lambda data: memory.put("s", data, key=data)
    sources = await http_sources(stack, moto)
    if request.param == "kinesis":
        peer("kinesis", REGION).create_stream(StreamName=name, ShardCount=1)
        arn = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}"
        kinesis = await stack.enter_async_context(sources.stream(mapping(SourceKind.KINESIS, arn), version()))
        put = peer("kinesis", REGION).put_record
        return kinesis, lambda data: put(StreamName=name, Data=data.encode(), PartitionKey=data)
    table = peer("dynamodb", REGION).create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    arn = table["TableDescription"]["LatestStreamArn"]
    dynamodb = await stack.enter_async_context(sources.stream(mapping(SourceKind.DYNAMODB, arn), version()))
    return dynamodb, lambda data: peer("dynamodb", REGION).put_item(TableName=name, Item={"id": {"S": data}})


async def read(source: StreamSource, position: Position) -> list[SourceRecord]:
    """All that a shard holds from a position on."""
    (shard,) = await source.shards()
    cursor: str | None = await source.open(shard.id, position)
    found: list[SourceRecord] = []
    while cursor is not None:
        page = await source.fetch(shard.id, cursor, source.page_limit)
        found += page.records
        cursor = None if page.is_last else page.cursor
    return found


async def test_a_shard_is_read_in_the_order_of_its_records(stream: Filled) -> None:
    source: StreamSource = stream[0]
    for number in range(5):
        stream[1](str(number))
    records = await read(source, Position())
    numbers = [int(record.id) for record in records]
    assert (len(records), numbers) == (5, sorted(numbers))
    assert len({record.order_key for record in records}) == 5


async def test_a_page_is_not_larger_than_asked_for(stream: Filled) -> None:
    source: StreamSource = stream[0]
    for number in range(5):
        stream[1](str(number))
    (shard,) = await source.shards()
    page = await source.fetch(shard.id, await source.open(shard.id, Position()), 2)
    assert (len(page.records), page.is_last) == (2, False)


async def test_reading_goes_on_behind_a_record(stream: Filled) -> None:
    source: StreamSource = stream[0]
    for number in range(5):
        stream[1](str(number))
    records = await read(source, Position())
    assert [one.id for one in await read(source, Position(after=records[2].id))] == [one.id for one in records[3:]]


async def test_latest_is_what_comes_after_opening(stream: Filled) -> None:
    source: StreamSource = stream[0]
    stream[1]("a")
    (shard,) = await source.shards()
    cursor = await source.open(shard.id, Position(start=Start.LATEST))
    stream[1]("b")
    page = await source.fetch(shard.id, cursor, 10)
    assert len(page.records) == 1
    assert page.cursor is not None


@pytest.mark.parametrize(("since_s", "count"), [(-60.0, 2), (+60.0, 0)])
async def test_a_shard_is_read_from_a_time_on(stream: Filled, since_s: float, count: int) -> None:
    source: StreamSource = stream[0]
    stream[1]("a")
    stream[1]("b")
    now_s = asyncio.get_running_loop().time() if isinstance(source, MemoryStream) else time.time()
    assert len(await read(source, Position(start=Start.AT_TIMESTAMP, at_s=now_s + since_s))) == count


async def test_a_checkpoint_is_what_was_committed_last(stream: Filled) -> None:
    source: StreamSource = stream[0]
    assert await source.checkpoints() == {}
    lanes = (LaneCheckpoint(after="3"), LaneCheckpoint(window_start_s=60))
    first, second = Checkpoint(after="2", since_s=1.5, lanes=lanes), Checkpoint(after="4", is_finished=True)
    await source.commit("s", first)
    assert await source.checkpoints() == {"s": first}
    await source.commit("s", second)
    assert await source.checkpoints() == {"s": second}
    await source.forget("s")
    assert await source.checkpoints() == {}


@pytest.mark.parametrize(
    ("kind", "arn"),
    [
        (SourceKind.SQS, f"arn:aws:sqs:{REGION}:{ACCOUNT}:absent"),
        (SourceKind.KINESIS, f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/absent"),
        (SourceKind.DYNAMODB, f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/absent/stream/2024"),
    ],
)
async def test_a_source_that_is_not_there_cannot_be_opened(
    stack: AsyncExitStack, moto: str, kind: SourceKind, arn: str
) -> None:
    sources = await http_sources(stack, moto)
    opening = sources.queue if kind is SourceKind.SQS else sources.stream
    with pytest.raises(SourceUnavailable, match="absent"):
        await stack.enter_async_context(opening(mapping(kind, arn), version()))  # type: ignore[arg-type]


async def test_a_source_without_an_endpoint_says_which_one_is_missing(stack: AsyncExitStack) -> None:
    sources = HttpSources(AwsServices({}), MemoryStore())
    arn = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s"
    with pytest.raises(SourceUnavailable, match="--endpoint kinesis=URL"):
        await stack.enter_async_context(sources.stream(mapping(SourceKind.KINESIS, arn), version()))


async def test_what_was_kept_for_a_mapping_is_removed_with_it(stack: AsyncExitStack, moto: str, peer: Any) -> None:
    peer("kinesis", REGION).create_stream(StreamName="kept", ShardCount=1)
    sources = await http_sources(stack, moto)
    mapped = mapping(SourceKind.KINESIS, f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/kept")
    source = await stack.enter_async_context(sources.stream(mapped, version()))
    await source.commit("s", Checkpoint(after="1"))
    await sources.forget(mapped)
    assert await source.checkpoints() == {}
