"""Thousands of messages and records with functions that fail, are killed, and a server that is: none is lost.

LAMBENT_POLLER_MESSAGES=5000 and LAMBENT_POLLER_RECORDS=100000 are the acceptance runs.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.sqs.models import Queue, SQSBackend

from collector import TELLING, Collector, wait_until
from lambent.testing.service import RunningService, deploy, running_service, start_service
from moto_server import moto_server

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root"),
    pytest.mark.timeout(600),
]

MESSAGES = int(os.environ.get("LAMBENT_POLLER_MESSAGES", "200"))
RECORDS = int(os.environ.get("LAMBENT_POLLER_RECORDS", "1200"))
ACCOUNT, REGION = "123456789012", "us-east-1"
SHARDS = 6

PARTIAL = f"""{TELLING}
def handler(event, context):
    failed, done = [], []
    for record in event["Records"]:
        is_bad = hash(record["messageId"]) % 10 == 0 and record["attributes"]["ApproximateReceiveCount"] == "1"
        (failed if is_bad else done).append(record)
    if random.random() < 0.02:
        raise RuntimeError("all of it")
    tell([record["body"] for record in done])
    return {{"batchItemFailures": [{{"itemIdentifier": record["messageId"]}} for record in failed]}}
"""

GROUPED = f"""{TELLING}
def handler(event, context):
    tell([[record["attributes"]["MessageGroupId"], record["body"]] for record in event["Records"]])
"""

TIMED = f"""{TELLING}
def handler(event, context):
    began = time.time()
    time.sleep(0.02)
    tell({{"began": began, "ended": time.time(), "bodies": [record["body"] for record in event["Records"]]}})
"""

STREAMED = f"""{TELLING}
def handler(event, context):
    records = [(one["eventID"].split(":")[0], int(one["kinesis"]["sequenceNumber"])) for one in event["Records"]]
    if any(one["kinesis"]["data"] == "cG9pc29u" for one in event["Records"]):
        raise ValueError("poison")
    if random.random() < 0.03:
        os._exit(1)
    tell(records)
    if random.random() < 0.01:
        os._exit(1)
"""


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """moto, made fit for thousands of messages.

    Requests come one after the other: it has no lock, and so finds some messages twice and forgets that it has deleted
    others. And it counts them simply: as it is it looks at every message several times for each that is received.
    """
    receive, delete, lock = SQSBackend.receive_message, SQSBackend.delete_message_batch, threading.Lock()

    def delete_alone(self: Any, *rest: Any) -> Any:
        with lock:
            return delete(self, *rest)

    def one_at_a_time(self: Any, queue: str, count: int, wait_s: int, *rest: Any) -> Any:
        deadline = time.monotonic() + wait_s
        while True:
            with lock:
                found = receive(self, queue, count, 0, *rest)
            if found or time.monotonic() >= deadline:
                return found
            time.sleep(0.05)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SQSBackend, "receive_message", one_at_a_time)
        patch.setattr(SQSBackend, "delete_message_batch", delete_alone)
        patch.setattr(Queue, "approximate_number_of_messages", property(lambda queue: len(queue._messages)))
        for state in ("delayed", "not_visible"):
            patch.setattr(Queue, f"approximate_number_of_messages_{state}", property(lambda queue: 0))
        with moto_server() as url:
            yield url


@pytest.fixture
def arguments(moto: str, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return ("--egress", "none", "--endpoint", f"*={moto}", "--endpoint", f"collector={collector.url}")


@pytest.fixture
def service(arguments: tuple[str, ...], tmp_path: Path) -> Iterator[RunningService]:
    with running_service(tmp_path / "data", *arguments) as running:
        yield running


def filled_queue(peer: Any, name: str, bodies: list[str], group: Callable[[str], str] | None = None) -> tuple[str, str]:
    """A queue of that name with these messages: its URL and ARN."""
    attributes = {"VisibilityTimeout": "10"} if group is None else {"VisibilityTimeout": "300", "FifoQueue": "true"}
    url = peer("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    client = peer("sqs")
    for at in range(0, len(bodies), 10):
        entries: list[dict[str, Any]] = [
            {"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies[at : at + 10])
        ]
        for entry in entries if group is not None else ():
            body = entry["MessageBody"]
            entry |= {"MessageGroupId": group(body) if group else "", "MessageDeduplicationId": body}
        assert not client.send_message_batch(QueueUrl=url, Entries=entries).get("Failed")
    return url, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def map_queue(service: RunningService, peer: Any, code: str, url: str, arn: str, **mapping: Any) -> float:
    """Deploy the function, map the queue to it, and wait until all messages are deleted; how many seconds that took."""
    client = service.client("lambda")
    name = arn.rpartition(":")[2].removesuffix(".fifo")
    deploy(client, name, code, Timeout=5)
    began = time.monotonic()
    client.create_event_source_mapping(FunctionName=name, EventSourceArn=arn, **mapping)
    names = ["ApproximateNumberOfMessages"]
    attributes = peer("sqs").get_queue_attributes
    wait_until(lambda: attributes(QueueUrl=url, AttributeNames=names)["Attributes"][names[0]] == "0")
    return time.monotonic() - began


def test_partial_failures_lose_no_message(service: RunningService, peer: Any, collector: Collector) -> None:
    bodies = [str(number) for number in range(MESSAGES)]
    url, arn = filled_queue(peer, "load-partial", bodies)
    took_s = map_queue(service, peer, PARTIAL, url, arn, FunctionResponseTypes=["ReportBatchItemFailures"])

    done = [body for batch in collector.told for body in batch]
    print(f"\n{MESSAGES} messages in {took_s:.1f} s; done more than once: {len(done) - len(set(done))}")
    assert set(done) == set(bodies)


def test_groups_stay_in_order(service: RunningService, peer: Any, collector: Collector) -> None:
    """None fails here: of messages that come again moto gives out later ones before earlier ones."""
    bodies = [f"{number:06}" for number in range(MESSAGES)]
    url, arn = filled_queue(peer, "load-grouped.fifo", bodies, lambda body: f"g{int(body) % 20}")
    took_s = map_queue(service, peer, GROUPED, url, arn)

    done: dict[str, list[str]] = defaultdict(list)
    for batch in collector.told:
        for group, body in batch:
            done[group].append(body)
    print(f"\n{MESSAGES} messages of {len(done)} groups in {took_s:.1f} s")
    assert sorted(body for group in done.values() for body in set(group)) == bodies
    for group in done.values():
        firsts = list(dict.fromkeys(group))
        assert firsts == sorted(firsts)


def test_no_more_than_the_maximum_concurrency_run_at_once(
    service: RunningService, peer: Any, collector: Collector
) -> None:
    bodies = [str(number) for number in range(MESSAGES)]
    url, arn = filled_queue(peer, "load-limited", bodies)
    took_s = map_queue(service, peer, TIMED, url, arn, ScalingConfig={"MaximumConcurrency": 3})

    changes = sorted(change for one in collector.told for change in ((one["began"], 1), (one["ended"], -1)))
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    print(f"\n{MESSAGES} messages in {took_s:.1f} s; at most {most} at once")
    assert most <= 3
    assert {body for one in collector.told for body in one["bodies"]} == set(bodies)


def test_filters_let_through_what_is_wanted_and_delete_the_rest(
    service: RunningService, peer: Any, collector: Collector
) -> None:
    bodies = [json.dumps({"number": number, "kind": "ab"[number % 2]}) for number in range(MESSAGES)]
    url, arn = filled_queue(peer, "load-filtered", bodies)
    criteria = {"Filters": [{"Pattern": json.dumps({"body": {"kind": ["a"]}})}]}
    took_s = map_queue(service, peer, TIMED, url, arn, FilterCriteria=criteria)

    print(f"\n{MESSAGES} messages in {took_s:.1f} s")
    assert {body for one in collector.told for body in one["bodies"]} == {body for body in bodies if '"a"' in body}


def test_a_stream_is_read_to_its_end_whatever_is_killed_and_only_the_poison_is_given_up(
    arguments: tuple[str, ...], tmp_path: Path, peer: Any, collector: Collector
) -> None:
    kinesis = peer("kinesis")
    kinesis.create_stream(StreamName="killed", ShardCount=SHARDS)
    dead = peer("sqs").create_queue(QueueName="killed-dead")["QueueUrl"]
    chance = random.Random(5)
    poison_at = RECORDS // 2
    sent: list[tuple[str, int]] = []
    for at in range(0, RECORDS, 500):
        entries = [
            {"Data": b"poison" if number == poison_at else b"%d" % number, "PartitionKey": str(chance.random())}
            for number in range(at, min(at + 500, RECORDS))
        ]
        answer = kinesis.put_records(StreamName="killed", Records=entries)
        sent += [(one["ShardId"], int(one["SequenceNumber"])) for one in answer["Records"]]
    wanted = set(sent) - {sent[poison_at]}

    service = start_service(tmp_path / "data", *arguments)
    try:
        began = time.monotonic()
        client = service.client("lambda")
        deploy(client, "killed", STREAMED, Timeout=10)
        client.create_event_source_mapping(
            FunctionName="killed",
            EventSourceArn=f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/killed",
            StartingPosition="TRIM_HORIZON",
            BisectBatchOnFunctionError=True,
            MaximumRetryAttempts=3,
            DestinationConfig={"OnFailure": {"Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:killed-dead"}},
        )
        for share in (0.3, 0.6):
            wait_until(lambda share=share: collector.count() > share * len(wanted))  # type: ignore[misc]
            service.kill()
            service = start_service(tmp_path / "data", *arguments)
        wait_until(lambda: collector.count() >= len(wanted) and set(collector.all()) >= wanted)
        messages: list[Any] = []
        wait_until(lambda: messages.extend(received(peer, dead)) or messages)
        took_s = time.monotonic() - began
    finally:
        service.stop()

    done = collector.all()
    print(f"\n{RECORDS} records in {took_s:.1f} s; done more than once: {len(done) - len(set(done))}")
    assert set(done) == wanted
    for shard in {shard for shard, _ in sent}:
        firsts = list(dict.fromkeys(number for one, number in done if one == shard))
        assert firsts == sorted(firsts)
    told = [json.loads(message["Body"]) for message in messages + received(peer, dead)]
    infos = [one["KinesisBatchInfo"] for one in told]
    assert {(one["shardId"], int(one["startSequenceNumber"]), one["batchSize"]) for one in infos} == {
        (*sent[poison_at], 1)
    }


def received(peer: Any, url: str) -> list[Any]:
    return list(peer("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []))
