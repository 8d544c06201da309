"""What functions get from each source, and what is told of batches that are given up: as on AWS, to the letter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from poller_world import ERROR, mapping

from lambent.adapters.http.aws_services import DYNAMODB_STREAMS, KINESIS, SQS, JsonProtocol, Refused
from lambent.adapters.http.table_streams import TableStreams, listing
from lambent.adapters.memory.store import MemoryStore
from lambent.adapters.sources.aws import AwsSource
from lambent.adapters.sources.checkpoints import StoreCheckpoints
from lambent.adapters.sources.dynamodb_streams import DynamoDbStream
from lambent.adapters.sources.kinesis import KinesisStream
from lambent.adapters.sources.sqs import SqsQueue
from lambent.model.arn import FunctionArn
from lambent.model.event import Condition
from lambent.model.event_source_mapping import SourceKind
from lambent.model.source_record import Envelope, LaneCheckpoint, Position, SourceRecord, Start, source_record
from lambent.pollers.batch_run import GiveUp
from lambent.pollers.failed_batches import FailedBatch, outcome
from lambent.pollers.tumbling import TumblingWindow
from lambent.ports.sources import CursorExpired, SourceUnavailable

GOLDEN = Path(__file__).parent / "golden" / "pollers"
ROLE = "arn:aws:iam::123456789012:role/lambda-role"
STREAM = "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream"
TABLE = "arn:aws:dynamodb:us-west-2:123456789012:table/t/stream/2015-05-11T21:21:33.291"
FUNCTION = FunctionArn("us-east-2", "123456789012", "myfunction")


class Answers:
    """AWS's services, as far as they have been told what to answer; `asked` are the actions with their members."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self._answers = answers
        self.asked: list[tuple[str, Any]] = []

    def endpoint(self, service: str) -> str:
        return f"http://{service}:1234/"

    async def ask(self, arn: str, protocol: JsonProtocol, action: str, members: Any, kind: Any) -> Any:
        self.asked.append((action, dict(members)))
        answer = self._answers[action]
        if isinstance(answer, Exception):
            raise answer
        return msgspec.json.decode(msgspec.json.encode(answer), type=kind)


def source(answers: Answers, arn: str, protocol: JsonProtocol) -> AwsSource:
    return AwsSource(answers, arn, protocol)  # type: ignore[arg-type]


def checkpoints() -> StoreCheckpoints:
    return StoreCheckpoints(MemoryStore(), mapping())


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def assert_golden(found: bytes, name: str) -> None:
    """Equal, and the members in the same order."""
    assert json.dumps(json.loads(found), indent=1) == json.dumps(golden(name), indent=1)


async def received(arn: str, name: str) -> Sequence[SourceRecord]:
    queue = SqsQueue(
        source(
            Answers({"GetQueueAttributes": {"Attributes": {}}, "ReceiveMessage": golden(f"{name}.answer")}), arn, SQS
        )
    )
    return (await queue.receive(10, wait_s=20, hold_s=0)).records


@pytest.mark.parametrize(("name", "queue"), [("sqs", "my-queue"), ("sqs-fifo", "fifo.fifo")])
async def test_messages_of_a_queue(name: str, queue: str) -> None:
    records = await received(f"arn:aws:sqs:us-east-2:123456789012:{queue}", name)
    assert_golden(Envelope().wrap(records), f"{name}.event")


async def test_a_message_carries_its_group_and_its_trace() -> None:
    (fifo,) = await received("arn:aws:sqs:us-east-2:123456789012:fifo.fifo", "sqs-fifo")
    _, traced = await received("arn:aws:sqs:us-east-2:123456789012:my-queue", "sqs")
    assert (fifo.order_key, fifo.arrived_s) == ("1", 1573251510.774)
    assert traced.trace_id == "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"


async def test_a_queue_is_polled_long_and_its_messages_are_held_as_long_as_a_window_needs() -> None:
    answers = Answers({"GetQueueAttributes": {"Attributes": {"VisibilityTimeout": "30"}}, "ReceiveMessage": {}})
    queue = SqsQueue(source(answers, "arn:aws:sqs:us-east-2:123456789012:q", SQS))
    await queue.receive(1_000, wait_s=20, hold_s=0)
    await queue.receive(5, wait_s=0.3, hold_s=40.5)

    _, (_, first), (_, second) = answers.asked
    assert first == {
        "QueueUrl": "http://sqs:1234/123456789012/q",
        "MaxNumberOfMessages": 10,
        "WaitTimeSeconds": 20,
        "MessageSystemAttributeNames": ["All"],
        "MessageAttributeNames": ["All"],
    }
    assert (second["MaxNumberOfMessages"], second["WaitTimeSeconds"], second["VisibilityTimeout"]) == (5, 1, 41)


async def test_messages_are_deleted_by_tens_and_a_receipt_that_is_not_valid_any_more_is_no_problem() -> None:
    gone = {"Failed": [{"Id": "0", "Code": "ReceiptHandleIsInvalid", "SenderFault": True, "Message": ""}]}
    answers = Answers({"DeleteMessageBatch": gone})
    queue = SqsQueue(source(answers, "arn:aws:sqs:us-east-2:123456789012:q", SQS))
    await queue.delete([source_record(str(at), {}, receipt=f"r{at}") for at in range(25)])

    assert [len(members["Entries"]) for _, members in answers.asked] == [10, 10, 5]
    assert answers.asked[0][1]["Entries"][1] == {"Id": "1", "ReceiptHandle": "r1"}


async def test_a_message_that_the_queue_could_not_delete_is_a_problem() -> None:
    failed = {"Failed": [{"Id": "0", "Code": "InternalError", "SenderFault": False, "Message": "later"}]}
    queue = SqsQueue(source(Answers({"DeleteMessageBatch": failed}), "arn:aws:sqs:us-east-2:123456789012:q", SQS))
    with pytest.raises(SourceUnavailable, match="InternalError"):
        await queue.delete([source_record("1", {}, receipt="r")])


async def test_messages_that_were_not_worked_on_become_visible_at_once() -> None:
    answers = Answers({"ChangeMessageVisibilityBatch": {}})
    queue = SqsQueue(source(answers, "arn:aws:sqs:us-east-2:123456789012:q", SQS))
    await queue.release([source_record("1", {}, receipt="r")])
    assert answers.asked[0][1]["Entries"] == [{"Id": "0", "ReceiptHandle": "r", "VisibilityTimeout": 0}]


async def test_records_of_a_stream() -> None:
    stream = KinesisStream(
        source(Answers({"GetRecords": golden("kinesis.answer")}), STREAM, KINESIS), checkpoints(), ROLE
    )
    page = await stream.fetch("shardId-000000000006", "iterator", 100)
    assert_golden(Envelope().wrap(page.records), "kinesis.event")
    assert (page.cursor, page.is_last) == ("AAAAAAAAAAE=", True)
    assert [record.order_key for record in page.records] == ["1", "1"]


@pytest.mark.parametrize(
    ("position", "asked"),
    [
        (Position(), {"ShardIteratorType": "TRIM_HORIZON"}),
        (Position(start=Start.LATEST), {"ShardIteratorType": "LATEST"}),
        (Position(start=Start.AT_TIMESTAMP, at_s=5.5), {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 5.5}),
        (Position(after="7"), {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": "7"}),
    ],
)
async def test_a_stream_is_opened_at_each_position(position: Position, asked: dict[str, object]) -> None:
    answers = Answers({"GetShardIterator": {"ShardIterator": "i"}})
    stream = KinesisStream(source(answers, STREAM, KINESIS), checkpoints(), ROLE)
    assert await stream.open("s", position) == "i"
    assert answers.asked == [("GetShardIterator", {"StreamARN": STREAM, "ShardId": "s", **asked})]


async def test_an_expired_iterator_is_told_apart() -> None:
    stream = KinesisStream(
        source(Answers({"GetRecords": Refused("ExpiredIteratorException", "old")}), STREAM, KINESIS),
        checkpoints(),
        ROLE,
    )
    with pytest.raises(CursorExpired):
        await stream.fetch("s", "i", 100)


async def test_shards_and_retention_are_the_streams_own() -> None:
    shards = {
        "Shards": [
            {"ShardId": "a", "SequenceNumberRange": {"StartingSequenceNumber": "1", "EndingSequenceNumber": "9"}},
            {"ShardId": "b", "ParentShardId": "a", "AdjacentParentShardId": "z", "SequenceNumberRange": {}},
        ]
    }
    summary = {"StreamDescriptionSummary": {"RetentionPeriodHours": 48}}
    answers = Answers({"ListShards": shards, "DescribeStreamSummary": summary})
    stream = KinesisStream(source(answers, STREAM, KINESIS), checkpoints(), ROLE)
    await stream.check()
    found = [(shard.id, shard.parents, shard.is_closed) for shard in await stream.shards()]
    assert found == [("a", (), True), ("b", ("a", "z"), False)]
    assert stream.retention_s == 172_800


async def test_changes_of_a_table() -> None:
    stream = DynamoDbStream(
        source(Answers({"GetRecords": golden("dynamodb.answer")}), TABLE, DYNAMODB_STREAMS), checkpoints()
    )
    page = await stream.fetch("s", "i", 100)
    assert_golden(Envelope().wrap(page.records), "dynamodb.event")
    assert [record.order_key for record in page.records] == ['{"Id":{"N":"101"}}'] * 2


async def test_a_table_is_read_from_a_time_on_by_leaving_out_what_is_older() -> None:
    answers = Answers({"GetRecords": golden("dynamodb.answer"), "GetShardIterator": {"ShardIterator": "i"}})
    stream = DynamoDbStream(source(answers, TABLE, DYNAMODB_STREAMS), checkpoints())
    await stream.open("s", Position(start=Start.AT_TIMESTAMP, at_s=1479499741.7))
    page = await stream.fetch("s", "i", 100)
    assert [record.document["eventName"] for record in page.records] == ["REMOVE"]
    assert not page.is_last
    assert answers.asked[0][1]["ShardIteratorType"] == "TRIM_HORIZON"


def test_a_tables_stream_is_known_by_its_label() -> None:
    label = "2024-06-10T19:26:16.525"
    arn, local = (
        f"arn:aws:dynamodb:{region}:000000000000:table/t/stream/{label}" for region in ("eu-west-1", "ddblocal")
    )
    other = f"{local}-before"
    streams = [{"StreamArn": one, "StreamLabel": one.rpartition("/")[2]} for one in (other, local)]
    assert listing(arn) == {"TableName": "t"}
    assert msgspec.convert({"Streams": streams}, TableStreams).arn_of(arn) == local
    assert msgspec.convert({"Streams": streams[:1]}, TableStreams).arn_of(arn) == arn


def test_the_last_event_of_a_window() -> None:
    checkpoint = LaneCheckpoint(window_start_s=1607497440, state=msgspec.Raw(b'{"1":282,"2":715}'))
    window = TumblingWindow(120, checkpoint)
    members = window.members("shardId-000000000006", STREAM, is_final=True, is_early=False)
    assert_golden(Envelope().wrap((), members), "kinesis-window.event")


def test_a_batch_of_a_stream_that_is_given_up() -> None:
    ends = (
        ("49601189658422359378836298521827638475320189012309704722", 4.835),
        (
            "49601189658422359378836298522902373528957594348623495186",
            5.58,
        ),
    )
    minute_s = datetime.fromisoformat("2019-11-14T00:38:00+00:00").timestamp()
    batch = FailedBatch(
        mapping=mapping(
            SourceKind.KINESIS, function=FUNCTION, source_arn="arn:aws:kinesis:us-east-2:123456789012:stream/mystream"
        ),
        shard="shardId-000000000001",
        step=GiveUp(
            [source_record(id, {}, arrived_s=minute_s + second) for id, second in ends],
            Condition.RETRY_ATTEMPTS_EXHAUSTED,
            1,
            ERROR,
        ),
        request_id="c9b8fa9f-5a7f-4af9-9c0c-604cde93a5aa",  # type: ignore[arg-type]
        payload=b"{}",
        at_s=minute_s + 6.021,
        object_id="o",
    )
    head, body = outcome(batch, "arn:aws:sqs:us-east-2:123456789012:dead")
    assert_golden(body, "kinesis.failed")
    assert (head.recipient, head.message.target) == ("OnFailure", "arn:aws:sqs:us-east-2:123456789012:dead")


def test_a_bucket_gets_the_event_itself_as_well() -> None:
    arn = "arn:aws:dynamodb:us-east-2:123456789012:table/mytable/stream/2019-11-14T00:04:06.388"
    arrived_s = datetime.fromisoformat("2019-11-14T00:13:19+00:00").timestamp()
    record = source_record("800000000003126276362", {"eventName": "INSERT"}, arrived_s=arrived_s)
    batch = FailedBatch(
        mapping=mapping(SourceKind.DYNAMODB, function=FUNCTION, source_arn=arn),
        shard="shardId-00000001573689847184-864758bb",
        step=GiveUp([record], Condition.RECORD_AGE_EXCEEDED, 0, None),
        request_id="316aa6d0-8154-4a7c-8a8a-9a1b2c3d4e5f",  # type: ignore[arg-type]
        payload=Envelope().wrap([record]),
        at_s=arrived_s + 30.717,
        object_id="o",
    )
    head, body = outcome(batch, "arn:aws:s3:::bucket")
    assert_golden(body, "dynamodb.failed")
    assert head.message.object_key == (
        "aws/lambda/u/shardId-00000001573689847184-864758bb/2019/11/14/2019-11-14T00.13.49-o"
    )
