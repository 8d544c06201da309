"""What is told of a batch that is given up: AWS's record of it, for the mapping's on-failure destination. Pure.

https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from lambent.model.event import Message, OutcomeHead, Recipient
from lambent.model.event_source_mapping import EventSourceMapping, SourceKind
from lambent.model.invocation import RequestId
from lambent.pollers.batch_run import GiveUp, Records

_BATCH_INFO = {
    SourceKind.KINESIS: "KinesisBatchInfo",
    SourceKind.DYNAMODB: "DDBStreamBatchInfo",
    SourceKind.MSK: "KafkaBatchInfo",
    SourceKind.SELF_MANAGED_KAFKA: "KafkaBatchInfo",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedBatch:
    """A batch that is given up. `payload` is the event that its function has, or would have, got."""

    mapping: EventSourceMapping
    shard: str
    step: GiveUp
    request_id: RequestId
    payload: bytes
    at_s: float
    """Epoch seconds."""
    object_id: str
    """A UUID, for the name of an S3 object."""


def outcome(batch: FailedBatch, destination: str) -> tuple[OutcomeHead, bytes]:
    """The message to the destination, and its body; only a bucket and a Kafka topic get the event itself as well."""
    mapping, result = batch.mapping, batch.step.result
    message = Message(
        target=destination,
        trace_id=(result.trace_id if result else None) or "",
        object_key=f"aws/lambda/{mapping.uuid}/{batch.shard}/{_utc(batch.at_s):%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-"
        f"{batch.object_id}",
        cluster_of=mapping.key if destination.startswith("kafka://") else None,
    )
    has_payload = message.cluster_of is not None or destination.split(":")[2] == "s3"
    head = OutcomeHead(
        request_id=batch.request_id,
        function=mapping.function,
        recipient=Recipient.ON_FAILURE,
        condition=batch.step.condition,
        message=message,
    )
    return head, msgspec.json.encode(_record(batch, has_payload=has_payload))


def _record(batch: FailedBatch, *, has_payload: bool) -> dict[str, object]:
    step = batch.step
    members: dict[str, object] = {
        "requestContext": {
            "requestId": batch.request_id,
            "functionArn": str(batch.mapping.function),
            "condition": step.condition,
            "approximateInvokeCount": step.invokes,
        }
    }
    if step.result is not None:
        context: dict[str, object] = {"statusCode": 200, "executedVersion": step.result.executed_version}
        if step.result.function_error is not None:
            context["functionError"] = step.result.function_error
        members["responseContext"] = context
    members |= {"version": "1.0", "timestamp": _iso(batch.at_s)}
    info = _kafka_info if batch.mapping.topics else _stream_info
    members[_BATCH_INFO[batch.mapping.kind]] = info(batch, step.records)
    return members | ({"payload": batch.payload.decode()} if has_payload else {})


def _stream_info(batch: FailedBatch, records: Records) -> dict[str, object]:
    first, last = records[0], records[-1]
    return {
        "shardId": batch.shard,
        "startSequenceNumber": first.id,
        "endSequenceNumber": last.id,
        "approximateArrivalOfFirstRecord": _iso(first.arrived_s or 0),
        "approximateArrivalOfLastRecord": _iso(last.arrived_s or 0),
        "batchSize": len(records),
        "streamArn": batch.mapping.source_arn,
    }


class _KafkaEvent(msgspec.Struct, rename="camel"):
    bootstrap_servers: str = ""


def _kafka_info(batch: FailedBatch, records: Records) -> dict[str, object]:
    """https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure.html"""
    first, last, source_arn = records[0], records[-1], batch.mapping.source_arn
    return {
        "batchSize": len(records),
        **({"eventSourceArn": source_arn} if source_arn else {}),
        "bootstrapServers": msgspec.json.decode(batch.payload, type=_KafkaEvent).bootstrap_servers,
        "payloadSize": len(batch.payload),
        "recordsInfo": {
            batch.shard: {
                "firstRecordOffset": first.id,
                "lastRecordOffset": last.id,
                "firstRecordTimestamp": _iso(first.arrived_s or 0),
                "lastRecordTimestamp": _iso(last.arrived_s or 0),
            }
        },
    }


def _iso(epoch_s: float) -> str:
    return _utc(epoch_s).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _utc(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)
