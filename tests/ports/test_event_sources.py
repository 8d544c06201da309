"""Queues and streams that mappings name: moto answers as SQS, Kinesis and DynamoDB do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from lambent.adapters.http.aws_services import AwsServices
from lambent.adapters.http.event_sources import HttpEventSources
from lambent.iam.sigv4 import Credential, sign
from lambent.model.arn import FunctionArn
from lambent.model.errors import InvalidParameterValue
from lambent.model.event_source_mapping import EventSourceMapping, SourceKind

REGION = "eu-west-1"
ABSENT_QUEUE = (
    "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
    "SQS Error Message: The specified queue does not exist."
)


@pytest.fixture(scope="module")
def arns(peer: Callable[..., Any]) -> dict[SourceKind, str]:
    """A queue of each kind, a stream and a table's stream."""
    queues = peer("sqs", REGION)
    queues.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "30"})
    queues.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})
    peer("kinesis", REGION).create_stream(StreamName="s", ShardCount=1)
    table = peer("dynamodb", REGION).create_table(
        TableName="t",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    account = f"{REGION}:123456789012"
    return {
        SourceKind.SQS: f"arn:aws:sqs:{account}:q",
        SourceKind.SQS_FIFO: f"arn:aws:sqs:{account}:q.fifo",
        SourceKind.KINESIS: f"arn:aws:kinesis:{account}:stream/s",
        SourceKind.DYNAMODB: table["TableDescription"]["LatestStreamArn"],
    }


@pytest.fixture
async def sources(moto: str) -> AsyncIterator[HttpEventSources]:
    endpoints = {"sqs": f"{moto}/", "kinesis": moto, "dynamodb": moto}
    async with AwsServices(endpoints, partial(sign, Credential("key", "secret"))) as services:
        yield HttpEventSources(services)


def mapping(kind: SourceKind, arn: str) -> EventSourceMapping:
    return EventSourceMapping(
        uuid="u",
        account="123456789012",
        region=REGION,
        function=FunctionArn(REGION, "123456789012", "f"),
        kind=kind,
        source_arn=arn,
        batch_size=1,
        state_transition_reason="",
        last_modified_s=0.0,
    )


@pytest.mark.parametrize("kind", [SourceKind.SQS, SourceKind.SQS_FIFO, SourceKind.KINESIS, SourceKind.DYNAMODB])
async def test_a_source_that_is_there_may_be_mapped(
    sources: HttpEventSources, arns: dict[SourceKind, str], kind: SourceKind
) -> None:
    await sources.require_readable(mapping(kind, arns[kind]), function_timeout_s=30)


async def test_a_queue_that_is_not_there_is_refused(sources: HttpEventSources, arns: dict[SourceKind, str]) -> None:
    absent = mapping(SourceKind.SQS, arns[SourceKind.SQS] + "-absent")
    with pytest.raises(InvalidParameterValue) as refused:
        await sources.require_readable(absent, function_timeout_s=3)
    assert refused.value.message == ABSENT_QUEUE


async def test_a_queue_must_hide_a_message_for_as_long_as_the_function_may_take(
    sources: HttpEventSources, arns: dict[SourceKind, str]
) -> None:
    with pytest.raises(InvalidParameterValue) as refused:
        await sources.require_readable(mapping(SourceKind.SQS, arns[SourceKind.SQS]), function_timeout_s=60)
    assert refused.value.message == "Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds"


@pytest.mark.parametrize(("timeout_s", "window_s", "advised_s"), [(5, 0, None), (6, 0, 36), (5, 1, 31), (30, 300, 480)])
async def test_a_queue_had_better_hide_a_message_for_six_times_as_long_and_the_window(
    sources: HttpEventSources, arns: dict[SourceKind, str], timeout_s: int, window_s: int, advised_s: int | None
) -> None:
    mapped = replace(mapping(SourceKind.SQS, arns[SourceKind.SQS]), batching_window_s=window_s)
    advice = await sources.require_readable(mapped, function_timeout_s=timeout_s)
    if advised_s is None:
        assert advice is None
    else:
        assert f"30 seconds; at least {advised_s} are advised" in (advice or "")


@pytest.mark.parametrize("kind", [SourceKind.KINESIS, SourceKind.DYNAMODB])
async def test_a_stream_that_is_not_there_is_refused(
    sources: HttpEventSources, arns: dict[SourceKind, str], kind: SourceKind
) -> None:
    arn = arns[kind].replace("stream/s", "stream/absent").replace("table/t/", "table/absent/")
    with pytest.raises(InvalidParameterValue) as refused:
        await sources.require_readable(mapping(kind, arn), function_timeout_s=3)
    assert refused.value.message == f"Stream not found: {arn}"


async def test_nobody_is_asked_where_there_is_no_endpoint(arns: dict[SourceKind, str]) -> None:
    sources = HttpEventSources(AwsServices({}))
    await sources.require_readable(mapping(SourceKind.SQS, arns[SourceKind.SQS]), function_timeout_s=900)


async def test_an_endpoint_that_does_not_answer_is_named(arns: dict[SourceKind, str]) -> None:
    async with AwsServices({"sqs": "http://127.0.0.1:1"}) as services:
        sources = HttpEventSources(services)
        with pytest.raises(InvalidParameterValue, match=r"http://127\.0\.0\.1:1 did not answer"):
            await sources.require_readable(mapping(SourceKind.SQS, arns[SourceKind.SQS]), function_timeout_s=3)


async def test_an_endpoint_of_something_else_is_named(moto: str, arns: dict[SourceKind, str]) -> None:
    async with AwsServices({"*": moto}) as services:  # moto tells services by what a request is signed for
        unsigned = HttpEventSources(services)
        for kind in (SourceKind.SQS, SourceKind.KINESIS):
            with pytest.raises(InvalidParameterValue, match="did not answer as"):
                await unsigned.require_readable(mapping(kind, arns[kind]), function_timeout_s=3)
