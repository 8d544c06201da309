"""Queues and streams asked for themselves, over their own APIs at the endpoints that the operator has given."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lambent.adapters.http.aws_services import (
    DYNAMODB_STREAMS,
    KINESIS,
    SQS,
    AwsServices,
    JsonProtocol,
    Refused,
    Unreachable,
)
from lambent.adapters.http.table_streams import TableStreams, listing
from lambent.model.errors import InvalidParameterValue
from lambent.model.event_source_mapping import EventSourceMapping, SourceKind

_ADVISED_TIMEOUTS = 6
"""https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html"""


class _QueueAttributes(msgspec.Struct, rename="pascal"):
    attributes: dict[str, str]


class _StreamSummary(msgspec.Struct, rename="pascal"):
    stream_description_summary: dict[str, object]


class _TableStream(msgspec.Struct, rename="pascal"):
    stream_description: dict[str, object]


class HttpEventSources:
    """Implements `lambent.ports.event_sources.EventSources` for SQS, Kinesis and DynamoDB streams.

    What has no endpoint, and brokers, are not asked: whoever polls finds out.
    """

    def __init__(self, services: AwsServices) -> None:
        self._services = services

    async def require_readable(self, mapping: EventSourceMapping, *, function_timeout_s: int) -> str | None:
        service = (mapping.source_arn or ":::").split(":")[2]
        if self._services.endpoint(service) is None:
            return None
        try:
            if mapping.kind in (SourceKind.SQS, SourceKind.SQS_FIFO):
                return await self._require_queue(mapping, function_timeout_s)
            if mapping.kind in _DESCRIBE_STREAM:
                await self._require_stream(mapping)
        except Unreachable as error:
            raise InvalidParameterValue(f"The event source could not be asked: {error}") from error
        return None

    async def _require_queue(self, mapping: EventSourceMapping, function_timeout_s: int) -> str | None:
        arn = mapping.source_arn or ""
        account, name = arn.split(":")[4:6]
        url = f"{(self._services.endpoint('sqs') or '').rstrip('/')}/{account}/{name}"
        asked = {"QueueUrl": url, "AttributeNames": ["VisibilityTimeout"]}
        try:
            answer = await self._services.ask(arn, SQS, "GetQueueAttributes", asked, _QueueAttributes)
        except Refused as error:
            raise _queue_refused(error) from error
        visibility_s = int(answer.attributes.get("VisibilityTimeout", function_timeout_s))
        if visibility_s < function_timeout_s:
            raise InvalidParameterValue(
                f"Queue visibility timeout: {visibility_s} seconds is less than Function timeout: "
                f"{function_timeout_s} seconds"
            )
        advised_s = _ADVISED_TIMEOUTS * function_timeout_s + (mapping.batching_window_s or 0)
        if visibility_s >= advised_s:
            return None
        return (
            f"Queue visibility timeout: {visibility_s} seconds; at least {advised_s} are advised, {_ADVISED_TIMEOUTS} "
            "times the function timeout and the batching window, lest messages come again while they are worked on"
        )

    async def _require_stream(self, mapping: EventSourceMapping) -> None:
        arn = mapping.source_arn or ""
        protocol, action, member, answer = _DESCRIBE_STREAM[mapping.kind]
        try:
            await self._services.ask(arn, protocol, action, {member: await self._known_as(mapping.kind, arn)}, answer)
        except Refused as error:
            if error.code == "ResourceNotFoundException":
                raise InvalidParameterValue(f"Stream not found: {arn}") from error
            raise InvalidParameterValue(
                f"Error occurred while DescribeStream. Error Code: {error.code}. Error Message: {error.message}"
            ) from error

    async def _known_as(self, kind: SourceKind, arn: str) -> str:
        if kind is not SourceKind.DYNAMODB:
            return arn
        return (await self._services.ask(arn, DYNAMODB_STREAMS, "ListStreams", listing(arn), TableStreams)).arn_of(arn)


_DESCRIBE_STREAM: Mapping[SourceKind, tuple[JsonProtocol, str, str, type[msgspec.Struct]]] = {
    SourceKind.KINESIS: (KINESIS, "DescribeStreamSummary", "StreamARN", _StreamSummary),
    SourceKind.DYNAMODB: (DYNAMODB_STREAMS, "DescribeStream", "StreamArn", _TableStream),
}
_ABSENT_QUEUE = frozenset(("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"))


def _queue_refused(error: Refused) -> InvalidParameterValue:
    code, message = error.code, error.message
    if code in _ABSENT_QUEUE:
        code, message = "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist."
    return InvalidParameterValue(
        f"Error occurred while ReceiveMessage. SQS Error Code: {code}. SQS Error Message: {message}"
    )
