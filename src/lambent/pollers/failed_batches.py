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

_BATCH_INFO = {SourceKind.KINESIS: "KinesisBatchInfo", SourceKind.DYNAMODB: "DDBStreamBatchInfo"}


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
    """The message to the destination, and its body; only a bucket gets the event itself as well."""
    mapping, result = batch.mapping, batch.step.result
    message = Message(
        target=destination,
        trace_id=(result.trace_id if result else None) or "",
        object_key=f"aws/lambda/{mapping.uuid}/{batch.shard}/{_utc(batch.at_s):%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-"
        f"{batch.object_id}",
    )
    head = OutcomeHead(
        request_id=batch.request_id,
        function=mapping.function,
        recipient=Recipient.ON_FAILURE,
        condition=batch.step.condition,
        message=message,
    )
    return head, msgspec.json.encode(_record(batch, has_payload=destination.split(":")[2:3] == ["s3"]))


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
    members[_BATCH_INFO[batch.mapping.kind]] = _stream_info(batch, step.records)
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


def _iso(epoch_s: float) -> str:
    return _utc(epoch_s).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _utc(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)
