"""Queues of ElasticMQ, tables of DynamoDB Local, streams of Kinesis Mock: all is done, and in order, whatever fails.

moto gives out later messages of a group before earlier ones that come again, and moves the records of a shard that is
split; these peers do as AWS does.
LAMBENT_POLLER_MESSAGES=5000 and LAMBENT_POLLER_RECORDS=100000 are the acceptance runs.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from aws_peers import dynamodb_local, elasticmq, kinesis_mock
from collector import TELLING, Collector, wait_until
from lambent.testing.service import RunningService, deploy, start_service
from server_programs import or_skip

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root"),
    pytest.mark.timeout(600),
]

MESSAGES = int(os.environ.get("LAMBENT_POLLER_MESSAGES", "200"))
RECORDS = int(os.environ.get("LAMBENT_POLLER_RECORDS", "600"))
GROUPS = max(20, MESSAGES // 50)
KEYS = 100
REGION, ACCOUNT = "us-east-1", "000000000000"

ORDERED = f"""{TELLING}
chance = random.SystemRandom()

def handler(event, context):
    failed, done, stopped = [], [], set()
    for record in event["Records"]:
        group = record["attributes"]["MessageGroupId"]
        is_first_time = record["attributes"]["ApproximateReceiveCount"] == "1"
        if group in stopped or is_first_time and int(record["body"]) % 25 == 3:
            stopped.add(group)
            failed.append(record)
        else:
            done.append(record)
    if chance.random() < 0.02:
        raise RuntimeError("all of it")
    if chance.random() < 0.02:
        os._exit(1)
    tell([[record["attributes"]["MessageGroupId"], record["body"]] for record in done])
    if chance.random() < 0.01:
        os._exit(1)
    return {{"batchItemFailures": [{{"itemIdentifier": record["messageId"]}} for record in failed]}}
"""

CHANGES = f"""{TELLING}
chance = random.SystemRandom()

def handler(event, context):
    changes = [one["dynamodb"]["NewImage"] for one in event["Records"]]
    if any("poison" in change for change in changes):
        raise ValueError("poison")
    if chance.random() < 0.03:
        os._exit(1)
    tell([[change["id"]["S"], int(change["n"]["N"])] for change in changes])
    if chance.random() < 0.01:
        os._exit(1)
"""


RESHARDED = f"""{TELLING}
import base64
chance = random.SystemRandom()

def handler(event, context):
    time.sleep(0.01)
    records = [(one["eventID"].partition(":")[0], one["kinesis"]) for one in event["Records"]]
    if chance.random() < 0.05:
        raise RuntimeError("not now")
    tell([[one["partitionKey"], int(base64.b64decode(one["data"])), shard] for shard, one in records])
"""


@pytest.fixture(scope="module")
def queues(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with or_skip("ElasticMQ"), elasticmq(tmp_path_factory.mktemp("elasticmq")) as url:
        yield url


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with or_skip("DynamoDB Local"), dynamodb_local(tmp_path_factory.mktemp("dynamodb")) as url:
        yield url


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with or_skip("Kinesis Mock"), kinesis_mock(tmp_path_factory.mktemp("kinesis")) as url:
        yield url


def peer(service: str, url: str) -> Any:
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    return botocore.session.get_session().create_client(service, region_name=REGION, endpoint_url=url, **keys)


@pytest.fixture
def start(tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Starts a server with these endpoints; the one before, over the same data, has been killed."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    running: list[RunningService] = []

    def begin(**endpoints: str) -> RunningService:
        named = [f"{service}={url}" for service, url in (endpoints | {"collector": collector.url}).items()]
        arguments = [word for one in named for word in ("--endpoint", one)]
        running.append(start_service(tmp_path / "data", "--egress", "none", *arguments))
        return running[-1]

    yield begin
    running[-1].stop()


def test_groups_stay_in_order_when_messages_fail(queues: str, start: Callable[..., Any], collector: Collector) -> None:
    client = peer("sqs", queues)
    attributes = {"FifoQueue": "true", "VisibilityTimeout": "2"}
    url = client.create_queue(QueueName="failing.fifo", Attributes=attributes)["QueueUrl"]
    sent = [(f"g{number % GROUPS}", f"{number:06}") for number in range(MESSAGES)]
    for at in range(0, MESSAGES, 10):
        entries = [
            {"Id": body, "MessageBody": body, "MessageGroupId": group, "MessageDeduplicationId": body}
            for group, body in sent[at : at + 10]
        ]
        assert not client.send_message_batch(QueueUrl=url, Entries=entries).get("Failed")

    lambdas = start(sqs=queues).client("lambda")
    deploy(lambdas, "failing", ORDERED, Timeout=2)
    began = time.monotonic()
    lambdas.create_event_source_mapping(
        FunctionName="failing",
        EventSourceArn=f"arn:aws:sqs:{REGION}:{ACCOUNT}:failing.fifo",
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    wait_until(lambda: is_empty(client, url))

    done = collector.all()
    print(
        f"\n{MESSAGES} messages in {time.monotonic() - began:.1f} s; done more than once: {len(done) - len(set(done))}"
    )
    assert set(done) == set(sent)
    assert_in_order(done)


def test_of_a_table_only_the_poison_is_given_up_whatever_is_killed(
    tables: str, queues: str, start: Callable[..., Any], collector: Collector
) -> None:
    queue = peer("sqs", queues)
    dead = queue.create_queue(QueueName="spoiled")["QueueUrl"]
    stream, wanted = changed_table(peer("dynamodb", tables))

    service = start(dynamodb=tables, sqs=queues)
    lambdas = service.client("lambda")
    deploy(lambdas, "changed", CHANGES, Timeout=10)
    began = time.monotonic()
    lambdas.create_event_source_mapping(
        FunctionName="changed",
        EventSourceArn=stream,
        StartingPosition="TRIM_HORIZON",
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=3,
        ParallelizationFactor=2,
        DestinationConfig={"OnFailure": {"Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:spoiled"}},
    )
    for share in (0.3, 0.6):
        wait_until(lambda share=share: collector.count() > share * len(wanted))  # type: ignore[misc]
        service.kill()
        service = start(dynamodb=tables, sqs=queues)
    wait_until(lambda: collector.count() >= len(wanted) and set(collector.all()) >= wanted)
    told: list[Any] = []
    wait_until(lambda: told.extend(received(queue, dead)) or told)

    done = collector.all()
    print(f"\n{RECORDS} changes in {time.monotonic() - began:.1f} s; done more than once: {len(done) - len(set(done))}")
    assert set(done) == wanted
    assert_in_order(done)
    infos = [one["DDBStreamBatchInfo"] for one in told + received(queue, dead)]
    (poison,) = {one["startSequenceNumber"] for one in infos}
    assert {(one["batchSize"], one["endSequenceNumber"], one["streamArn"]) for one in infos} == {(1, poison, stream)}


def test_a_stream_is_split_and_merged_while_records_come(
    streams: str, start: Callable[..., Any], collector: Collector
) -> None:
    client = peer("kinesis", streams)
    client.create_stream(StreamName="resharded", ShardCount=1)
    wait_until(lambda: is_active(client, "resharded"))
    lambdas = start(kinesis=streams).client("lambda")
    deploy(lambdas, "resharded", RESHARDED, Timeout=10)
    lambdas.create_event_source_mapping(
        FunctionName="resharded",
        EventSourceArn=f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/resharded",
        StartingPosition="TRIM_HORIZON",
        BatchSize=10,
    )

    sent: list[tuple[str, int]] = []
    is_over = threading.Event()
    putting = threading.Thread(target=put_until, args=(is_over, peer("kinesis", streams), "resharded", sent))
    putting.start()
    try:
        for reshard in (
            lambda: client.split_shard(
                StreamName="resharded", ShardToSplit=shard_id(0), NewStartingHashKey=str(2**127)
            ),
            lambda: client.merge_shards(
                StreamName="resharded", ShardToMerge=shard_id(1), AdjacentShardToMerge=shard_id(2)
            ),
        ):
            goal = len(sent) + 100
            wait_until(lambda goal=goal: len(sent) > goal)  # type: ignore[misc]
            reshard()
            wait_until(lambda: is_active(client, "resharded"))
        goal = len(sent) + 100
        wait_until(lambda: len(sent) > goal)
    finally:
        is_over.set()
        putting.join()
    wait_until(lambda: {(key, number) for key, number, _ in collector.all()} >= set(sent))

    done = collector.all()
    print(f"\n{len(sent)} records; done more than once: {len(done) - len(set(done))}")
    assert {shard for _, _, shard in done} == {shard_id(number) for number in range(4)}
    assert_in_order((key, number) for key, number, _ in done)


def put_until(is_over: threading.Event, client: Any, stream: str, sent: list[tuple[str, int]]) -> None:
    """Put records of 10 keys, each key's numbered; `sent` is what was put."""
    for number in range(10_000):
        if is_over.wait(0.02):
            return
        entries = [{"Data": b"%d" % number, "PartitionKey": f"key {key}"} for key in range(10)]
        assert not client.put_records(StreamName=stream, Records=entries)["FailedRecordCount"]
        sent.extend((f"key {key}", number) for key in range(10))


def shard_id(number: int) -> str:
    return f"shardId-{number:012}"


def is_active(client: Any, stream: str) -> bool:
    summary = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    return bool(summary["StreamStatus"] == "ACTIVE")


def changed_table(client: Any) -> tuple[str, set[tuple[str, int]]]:
    """A table whose items have changed in turn: the ARN of its stream, and the changes but for one, the poison."""
    described = client.create_table(
        TableName="spoiled",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )["TableDescription"]
    changes = [(f"k{number % KEYS}", number // KEYS) for number in range(RECORDS)]
    poison = changes[RECORDS // 2]
    for at in range(0, RECORDS, 25):
        items = [
            {"id": {"S": key}, "n": {"N": str(number)}}
            | ({"poison": {"BOOL": True}} if (key, number) == poison else {})
            for key, number in changes[at : at + 25]
        ]
        answer = client.batch_write_item(RequestItems={"spoiled": [{"PutRequest": {"Item": one}} for one in items]})
        assert not answer.get("UnprocessedItems")
    stream = described["LatestStreamArn"].replace(":ddblocal:", f":{REGION}:")
    return stream, set(changes) - {poison}


def assert_in_order(done: Iterable[tuple[Hashable, Any]]) -> None:
    """Of each group, or key, what is done for the first time comes after all that was sent before it."""
    groups: dict[Hashable, list[Any]] = defaultdict(list)
    for group, what in done:
        groups[group].append(what)
    for group_done in groups.values():
        firsts = list(dict.fromkeys(group_done))
        assert firsts == sorted(firsts)


def is_empty(client: Any, url: str) -> bool:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return all(found[name] == "0" for name in names)


def received(client: Any, url: str) -> list[Any]:
    messages = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"]) for message in messages]
