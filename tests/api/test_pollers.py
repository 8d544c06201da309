"""Event source mappings to the end: moto's queues, streams and tables, read by a server that runs real functions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lambent.testing.service import RunningService, deploy, running_service

ACCOUNT = "123456789012"
DEADLINE_S = 60

CODE = """
import json
def handler(event, context):
    print(json.dumps({"seen": event}))
    answers = []
    for record in event["Records"]:
        if "body" in record and "fail" in record["body"]:
            answers.append({"itemIdentifier": record["messageId"]})
        poison = ("cG9pc29u", {"id": {"S": "poison"}})
        if record.get("kinesis", {}).get("data") in poison or record.get("dynamodb", {}).get("Keys") in poison:
            raise ValueError("poison")
    return {"batchItemFailures": answers}
"""


@pytest.fixture(scope="module")
def polling(moto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    if os.geteuid() != 0:
        pytest.skip("real sandboxes are tested as root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        data_dir = tmp_path_factory.mktemp("pollers") / "data"
        with running_service(data_dir, "--egress", "none", "--endpoint", f"*={moto}") as running:
            yield running


@pytest.fixture
def mapped(polling: RunningService) -> Iterator[Callable[..., str]]:
    """Deploys a function of that name and maps a source to it; returns the mapping's UUID once it is Enabled."""
    client = polling.client("lambda")
    uuids: list[str] = []

    def make(name: str, **source: Any) -> str:
        deploy(client, name, CODE)
        uuid = client.create_event_source_mapping(FunctionName=name, **source)["UUID"]
        uuids.append(uuid)
        state(client, uuid, "Enabled")
        return str(uuid)

    yield make
    for uuid in uuids:
        client.delete_event_source_mapping(UUID=uuid)
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            state(client, uuid, "nothing")


def state(client: Any, uuid: str, wanted: str) -> Any:
    return until(lambda: (found := client.get_event_source_mapping(UUID=uuid))["State"] == wanted and found)


def until(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (found := look()):
        assert time.monotonic() < deadline, "it has not come to be"
    return found


def seen(service: RunningService, function: str) -> list[dict[str, Any]]:
    """The events that the function got."""
    logs = service.client("logs")
    pages = logs.get_paginator("filter_log_events")
    try:
        found = list(pages.paginate(logGroupName=f"/aws/lambda/{function}", filterPattern='"seen"'))
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [json.loads(one["message"])["seen"] for page in found for one in page["events"]]


def mapping_statistics(service: RunningService, function: str) -> Any:
    """What `lambent events mappings` tells of the function's one mapping."""
    command = [sys.executable, "-m", "lambent", "events", "mappings", "--function", function, "--json"]
    done = subprocess.run(command, env=service.environment(), capture_output=True, check=True)
    (statistics,) = json.loads(done.stdout)
    return statistics


def contents(events: list[dict[str, Any]], read: Callable[[dict[str, Any]], Any]) -> list[Any]:
    return [read(record) for event in events for record in event["Records"]]


def queue(peer: Any, name: str, **attributes: str) -> tuple[str, str]:
    """Its URL and ARN."""
    url = peer("sqs").create_queue(QueueName=name, Attributes={"VisibilityTimeout": "3", **attributes})["QueueUrl"]
    return url, f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"


def is_empty(peer: Any, url: str) -> bool:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = peer("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return all(attributes[name] == "0" for name in names)


def table(peer: Any, name: str) -> str:
    """The ARN of its stream."""
    described = peer("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )["TableDescription"]
    return str(described["LatestStreamArn"])


def received(peer: Any, url: str) -> dict[str, Any]:
    (message,) = until(lambda: peer("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages"))
    peer("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    body: dict[str, Any] = json.loads(message["Body"])
    return body


def test_messages_reach_the_function_and_are_deleted_then(
    polling: RunningService, peer: Any, mapped: Callable[..., str]
) -> None:
    url, arn = queue(peer, "standard")
    uuid = mapped("standard", EventSourceArn=arn)
    attribute = {"n": {"DataType": "Number", "StringValue": "6"}}
    peer("sqs").send_message(QueueUrl=url, MessageBody="hello", MessageAttributes=attribute)

    until(lambda: is_empty(peer, url))
    ((record,),) = [event["Records"] for event in seen(polling, "standard")]
    assert (record["body"], record["eventSource"], record["eventSourceARN"]) == ("hello", "aws:sqs", arn)
    assert record["messageAttributes"]["n"]["stringValue"] == "6"
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert polling.client("lambda").get_event_source_mapping(UUID=uuid)["State"] == "Enabled"


def test_only_what_failed_comes_again_and_ends_in_the_queues_own_dead_letter_queue(
    polling: RunningService, peer: Any, mapped: Callable[..., str]
) -> None:
    dead_url, dead_arn = queue(peer, "partial-dead")
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    url, arn = queue(peer, "partial", RedrivePolicy=policy)
    entries = [{"Id": str(at), "MessageBody": body} for at, body in enumerate(("a", "fail", "b"))]
    peer("sqs").send_message_batch(QueueUrl=url, Entries=entries)
    mapped("partial", EventSourceArn=arn, FunctionResponseTypes=["ReportBatchItemFailures"])

    (message,) = until(lambda: peer("sqs").receive_message(QueueUrl=dead_url, WaitTimeSeconds=1).get("Messages"))
    assert message["Body"] == "fail"
    assert is_empty(peer, url)
    assert sorted(contents(seen(polling, "partial"), lambda one: one["body"])) == ["a", "b", "fail", "fail"]


def test_a_group_of_a_fifo_queue_comes_in_order(polling: RunningService, peer: Any, mapped: Callable[..., str]) -> None:
    url, arn = queue(peer, "groups.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    for number in range(12):
        peer("sqs").send_message(QueueUrl=url, MessageBody=f"{number:02}", MessageGroupId="ab"[number % 2])
    mapped("groups", EventSourceArn=arn, BatchSize=2)

    until(lambda: is_empty(peer, url))
    events = seen(polling, "groups")
    for group in "ab":
        mine = [
            one["body"] for event in events for one in event["Records"] if one["attributes"]["MessageGroupId"] == group
        ]
        assert (mine, len(mine)) == (sorted(mine), 6)


def test_a_poison_record_of_kinesis_alone_reaches_the_on_failure_destination(
    polling: RunningService, peer: Any, mapped: Callable[..., str]
) -> None:
    dead_url, dead_arn = queue(peer, "kinesis-dead")
    peer("kinesis").create_stream(StreamName="poisoned", ShardCount=2)
    arn = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/poisoned"
    sent = {}
    for number in range(40):
        data = b"poison" if number == 17 else str(number).encode()
        put = peer("kinesis").put_record(StreamName="poisoned", Data=data, PartitionKey=str(number))
        sent[number] = put["SequenceNumber"], put["ShardId"]
    uuid = mapped(
        "poisoned",
        EventSourceArn=arn,
        StartingPosition="TRIM_HORIZON",
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": dead_arn}},
    )

    record = received(peer, dead_url)
    info = record["KinesisBatchInfo"]
    assert (info["startSequenceNumber"], info["shardId"]) == sent[17]
    assert (info["startSequenceNumber"], info["batchSize"]) == (info["endSequenceNumber"], 1)
    assert record["requestContext"]["condition"] == "RetryAttemptsExhausted"
    numbers = {number for _, number in sent.items()}
    got = until(
        lambda: (
            {
                (one["kinesis"]["sequenceNumber"], one["eventID"].split(":")[0])
                for event in seen(polling, "poisoned")
                for one in event["Records"]
            }
            >= numbers
        )
    )
    assert got
    assert "Messages" not in peer("sqs").receive_message(QueueUrl=dead_url)
    result = polling.client("lambda").get_event_source_mapping(UUID=uuid)["LastProcessingResult"]
    assert result in ("OK", "PROBLEM: Function call failed")
    told = until(lambda: (one := mapping_statistics(polling, "poisoned"))["counts"]["processed"] == 39 and one)
    assert (told["uuid"], told["source"], told["last_problem"]) == (uuid, arn, "Function call failed")
    assert (told["counts"]["polled"], told["counts"]["dropped"]) == (40, 1)


def test_changes_of_a_table_reach_the_function(polling: RunningService, peer: Any, mapped: Callable[..., str]) -> None:
    arn = table(peer, "changed")
    peer("dynamodb").put_item(TableName="changed", Item={"id": {"S": "a"}})
    mapped("changed", EventSourceArn=arn, StartingPosition="TRIM_HORIZON")
    peer("dynamodb").put_item(TableName="changed", Item={"id": {"S": "a"}, "n": {"N": "1"}})
    peer("dynamodb").delete_item(TableName="changed", Key={"id": {"S": "a"}})

    names = until(lambda: len(found := contents(seen(polling, "changed"), lambda one: one["eventName"])) == 3 and found)
    assert names == ["INSERT", "MODIFY", "REMOVE"]
    record = seen(polling, "changed")[0]["Records"][0]
    assert (record["eventSource"], record["eventSourceARN"]) == ("aws:dynamodb", arn)
    assert record["dynamodb"]["NewImage"] == {"id": {"S": "a"}}
    assert isinstance(record["dynamodb"]["ApproximateCreationDateTime"], int)


def test_a_poison_change_of_a_table_alone_lies_in_the_bucket_with_its_event(
    polling: RunningService, peer: Any, mapped: Callable[..., str]
) -> None:
    peer("s3").create_bucket(Bucket="poison-changes")
    arn = table(peer, "spoiled")
    for id in ("a", "b", "poison", "c"):
        peer("dynamodb").put_item(TableName="spoiled", Item={"id": {"S": id}})
    uuid = mapped(
        "spoiled",
        EventSourceArn=arn,
        StartingPosition="TRIM_HORIZON",
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": "arn:aws:s3:::poison-changes"}},
    )

    (found,) = until(lambda: peer("s3").list_objects_v2(Bucket="poison-changes").get("Contents"))
    record = json.loads(peer("s3").get_object(Bucket="poison-changes", Key=found["Key"])["Body"].read())
    info = record["DDBStreamBatchInfo"]
    assert found["Key"].startswith(f"aws/lambda/{uuid}/{info['shardId']}/20")
    assert info["batchSize"] == 1
    (change,) = json.loads(record["payload"])["Records"]
    assert change["dynamodb"]["Keys"] == {"id": {"S": "poison"}}
    until(lambda: {"S": "c"} in contents(seen(polling, "spoiled"), lambda one: one["dynamodb"]["Keys"]["id"]))
    assert len(peer("s3").list_objects_v2(Bucket="poison-changes")["Contents"]) == 1


def test_a_mapping_is_disabled_changed_and_enabled_without_losing_a_record(
    polling: RunningService, peer: Any, mapped: Callable[..., str]
) -> None:
    client = polling.client("lambda")
    peer("kinesis").create_stream(StreamName="paused", ShardCount=1)
    arn = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/paused"
    uuid = mapped("paused", EventSourceArn=arn, StartingPosition="LATEST")

    def put(data: str) -> None:
        peer("kinesis").put_record(StreamName="paused", Data=data.encode(), PartitionKey="k")

    put("a")
    until(lambda: seen(polling, "paused"))
    client.update_event_source_mapping(UUID=uuid, Enabled=False)
    state(client, uuid, "Disabled")
    put("b")
    client.update_event_source_mapping(UUID=uuid, Enabled=True, BatchSize=1)
    state(client, uuid, "Enabled")
    put("c")
    data = until(
        lambda: len(found := contents(seen(polling, "paused"), lambda one: one["kinesis"]["data"])) == 3 and found
    )
    assert data == ["YQ==", "Yg==", "Yw=="]


def test_a_source_that_is_not_there_is_said_so(polling: RunningService, peer: Any, mapped: Callable[..., str]) -> None:
    client = polling.client("lambda")
    url, arn = queue(peer, "vanishing")
    uuid = mapped("vanishing", EventSourceArn=arn)
    client.update_event_source_mapping(UUID=uuid, Enabled=False)
    state(client, uuid, "Disabled")
    peer("sqs").delete_queue(QueueUrl=url)
    client.update_event_source_mapping(UUID=uuid, Enabled=True)

    result = until(lambda: client.get_event_source_mapping(UUID=uuid).get("LastProcessingResult"))
    assert result.startswith("PROBLEM: ")
    assert "NonExistentQueue" in result or "QueueDoesNotExist" in result
