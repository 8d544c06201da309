"""Outcomes by real APIs: moto answers as SQS, SNS, EventBridge and S3 do; a small server does what they seldom do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from lambent.adapters.http.aws_services import AwsServices
from lambent.adapters.http.targets import HttpTargets
from lambent.iam.sigv4 import Credential, sign
from lambent.model.event import Message
from lambent.ports.targets import Undelivered

ACCOUNT = "123456789012"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0;Lineage=1:0a1b2c3d:0"
RECORD = '{"version":"1.0","requestPayload":{"größe":"a&b=<c>"}}'.encode()
ATTRIBUTES = {
    "RequestID": ("String", "e4b46cbf-b738-4a5c-8880-a18cdf61200e"),
    "ErrorCode": ("Number", "200"),
    "ErrorMessage": ("String", "what & why = ü"),
}


@pytest.fixture
async def targets(moto: str) -> AsyncIterator[HttpTargets]:
    endpoints = dict.fromkeys(("sqs", "sns", "events", "s3"), moto)
    async with AwsServices(endpoints, partial(sign, Credential("key", "secret"))) as services:
        yield HttpTargets(services)


def received(peer: Any, queue_url: str) -> dict[str, Any]:
    response = peer("sqs").receive_message(
        QueueUrl=queue_url, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"], WaitTimeSeconds=2
    )
    (message,) = response["Messages"]
    peer("sqs").delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    return dict(message)


async def test_a_queue_receives_the_body_its_attributes_and_the_trace(peer: Any, targets: HttpTargets) -> None:
    url = peer("sqs").create_queue(QueueName="plain")["QueueUrl"]

    await targets.send(
        Message(target=f"arn:aws:sqs:us-east-1:{ACCOUNT}:plain", trace_id=TRACE, attributes=ATTRIBUTES), RECORD
    )

    message = received(peer, url)
    assert message["Body"] == RECORD.decode()
    assert {
        name: (one["DataType"], one["StringValue"]) for name, one in message["MessageAttributes"].items()
    } == ATTRIBUTES


async def test_a_topic_passes_the_message_and_its_attributes_on(peer: Any, targets: HttpTargets) -> None:
    url = peer("sqs").create_queue(QueueName="subscribed")["QueueUrl"]
    topic = peer("sns").create_topic(Name="topic")["TopicArn"]
    queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:subscribed"
    peer("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)

    await targets.send(Message(target=topic, trace_id=TRACE, attributes=ATTRIBUTES), RECORD)

    notification = json.loads(received(peer, url)["Body"])
    assert notification["Message"] == RECORD.decode()
    passed_on = {name: (one["Type"], str(one["Value"])) for name, one in notification["MessageAttributes"].items()}
    assert passed_on == ATTRIBUTES


async def test_an_event_bus_gets_an_event_that_its_rules_match(peer: Any, targets: HttpTargets) -> None:
    url = peer("sqs").create_queue(QueueName="from-bus")["QueueUrl"]
    bus = peer("events").create_event_bus(Name="bus")["EventBusArn"]
    peer("events").put_rule(Name="rule", EventBusName="bus", EventPattern='{"source":["lambda"]}')
    target = {"Id": "queue", "Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:from-bus"}
    peer("events").put_targets(Rule="rule", EventBusName="bus", Targets=[target])
    function = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f:$LATEST"
    detail_type = "Lambda Function Invocation Result - Success"

    await targets.send(Message(target=bus, trace_id=TRACE, detail_type=detail_type, resources=(bus, function)), RECORD)

    event = json.loads(received(peer, url)["Body"])
    assert (event["source"], event["detail-type"], event["resources"]) == ("lambda", detail_type, [bus, function])
    assert event["detail"] == json.loads(RECORD)


async def test_a_bucket_gets_an_object_and_a_second_attempt_overwrites_it(peer: Any, targets: HttpTargets) -> None:
    peer("s3").create_bucket(Bucket="outcomes")
    key = "aws/lambda/async/my-function/2019/11/14/2019-11-14T18.16.05-0b8a1c5e-2f0e-4a8e-9d8c-1d2e3f405162"
    message = Message(target="arn:aws:s3:::outcomes", trace_id=TRACE, object_key=key)

    await targets.send(message, RECORD)
    await targets.send(message, RECORD)

    assert [one["Key"] for one in peer("s3").list_objects_v2(Bucket="outcomes")["Contents"]] == [key]
    assert peer("s3").get_object(Bucket="outcomes", Key=key)["Body"].read() == RECORD


@pytest.mark.parametrize(
    "target",
    [
        f"arn:aws:sqs:us-east-1:{ACCOUNT}:nothing",
        f"arn:aws:sns:us-east-1:{ACCOUNT}:nothing",
        "arn:aws:s3:::no-such-bucket",
        f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/t",
    ],
)
async def test_a_target_that_is_not_there_refuses_for_good(targets: HttpTargets, target: str) -> None:
    with pytest.raises(Undelivered) as refused:
        await targets.send(Message(target=target, trace_id=TRACE, object_key="key"), RECORD)
    assert refused.value.is_final


async def test_without_an_endpoint_the_message_says_how_to_give_one() -> None:
    targets = HttpTargets(AwsServices({}))
    with pytest.raises(Undelivered, match="--endpoint sqs=URL") as refused:
        await targets.send(Message(target=f"arn:aws:sqs:us-east-1:{ACCOUNT}:q", trace_id=TRACE), RECORD)
    assert refused.value.is_final


async def test_an_endpoint_that_does_not_answer_may_come_back() -> None:
    async with AwsServices({"sqs": "http://127.0.0.1:1"}) as services:
        with pytest.raises(Undelivered, match="did not answer") as refused:
            await HttpTargets(services).send(
                Message(target=f"arn:aws:sqs:us-east-1:{ACCOUNT}:q", trace_id=TRACE), RECORD
            )
    assert not refused.value.is_final


@pytest.mark.parametrize(
    ("service", "status", "answer", "is_final"),
    [
        ("sqs", 500, "{}", False),
        ("sqs", 503, "slow down", False),
        ("sqs", 429, "{}", False),
        ("sqs", 400, '{"__type":"com.amazonaws.sqs#RequestThrottled"}', False),
        ("sqs", 403, "no", True),
        ("sqs", 413, "too large", True),
        ("sqs", 302, "elsewhere", True),
        ("sqs", 200, "<html>some other server</html>", True),
        ("events", 200, '{"FailedEntryCount":1,"Entries":[{"ErrorCode":"InternalFailure","ErrorMessage":"x"}]}', False),
        ("events", 200, '{"FailedEntryCount":1,"Entries":[{"ErrorCode":"NotAuthorized","ErrorMessage":"x"}]}', True),
    ],
)
async def test_what_passes_is_told_from_what_stays(service: str, status: int, answer: str, is_final: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(answer)}\r\n\r\n{answer}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, AwsServices({service: f"http://127.0.0.1:{port}"}) as services:
        with pytest.raises(Undelivered) as refused:
            await HttpTargets(services).send(
                Message(target=f"arn:aws:{service}:us-east-1:{ACCOUNT}:q", trace_id=TRACE), RECORD
            )
    assert refused.value.is_final is is_final
