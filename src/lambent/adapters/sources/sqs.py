"""SQS queues, standard and FIFO: messages as functions get them, received, deleted, and given back.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from lambent.adapters.sources.aws import AwsSource
from lambent.model.source_record import Envelope, SourceRecord, source_record
from lambent.ports.sources import Received, SourceUnavailable

log = logging.getLogger(__name__)

_BATCH = 10
_BATCHES_AT_ONCE = 8
_VISIBILITY_AGE_S = 60.0
"""How long the queue's own visibility timeout is believed."""
_VISIBILITY_S_MAXIMUM = 43_200


class _Attribute(msgspec.Struct, rename="pascal"):
    data_type: str
    string_value: str | None = None
    binary_value: str | None = None


class _Message(msgspec.Struct, rename="pascal"):
    message_id: str
    receipt_handle: str
    md5_of_body: str = msgspec.field(name="MD5OfBody")
    body: str = ""
    attributes: dict[str, str] = {}
    message_attributes: dict[str, _Attribute] = {}
    md5_of_message_attributes: str | None = msgspec.field(name="MD5OfMessageAttributes", default=None)


class _Messages(msgspec.Struct, rename="pascal"):
    messages: list[_Message] | None = None


class _Refusal(msgspec.Struct, rename="pascal"):
    id: str
    code: str
    sender_fault: bool = False
    message: str = ""


class _BatchAnswer(msgspec.Struct, rename="pascal"):
    failed: list[_Refusal] | None = None


class _QueueAttributes(msgspec.Struct, rename="pascal"):
    attributes: dict[str, str] = {}


class SqsQueue:
    """Implements `lambent.ports.sources.QueueSource`; a message that is given back waits for its visibility timeout."""

    envelope = Envelope()
    receive_limit = _BATCH

    def __init__(self, source: AwsSource) -> None:
        account, name = source.arn.split(":")[4:6]
        self._source = source
        self._url = f"{source.endpoint}/{account}/{name}"
        self._visibility_s = 0
        self._visibility_until_s = 0.0

    async def receive(self, limit: int, *, wait_s: float, hold_s: float) -> Received:
        now = asyncio.get_running_loop().time
        visibility_s = await self._visibility(now())
        asked: dict[str, object] = {
            "QueueUrl": self._url,
            "MaxNumberOfMessages": min(limit, _BATCH),
            "WaitTimeSeconds": math.ceil(wait_s),
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
        if hold_s > visibility_s:
            visibility_s = min(math.ceil(hold_s), _VISIBILITY_S_MAXIMUM)
            asked["VisibilityTimeout"] = visibility_s
        answer = await self._source.ask("ReceiveMessage", asked, _Messages)
        records = [self._record(message) for message in answer.messages or ()]
        return Received(records, until_s=now() + visibility_s)

    async def delete(self, records: Sequence[SourceRecord]) -> None:
        await self._in_batches("DeleteMessageBatch", records, {})

    async def release(self, records: Sequence[SourceRecord]) -> None:
        await self._in_batches("ChangeMessageVisibilityBatch", records, {"VisibilityTimeout": 0})

    async def fail(self, records: Sequence[SourceRecord]) -> None:
        """Nothing is to be done: they come again when they become visible."""

    async def check(self) -> None:
        """Raises SourceUnavailable where there is no such queue."""
        await self._visibility(asyncio.get_running_loop().time())

    async def _visibility(self, now_s: float) -> int:
        if now_s >= self._visibility_until_s:
            asked = {"QueueUrl": self._url, "AttributeNames": ["VisibilityTimeout"]}
            answer = await self._source.ask("GetQueueAttributes", asked, _QueueAttributes)
            self._visibility_s = int(answer.attributes.get("VisibilityTimeout", "30"))
            self._visibility_until_s = now_s + _VISIBILITY_AGE_S
        return self._visibility_s

    async def _in_batches(self, action: str, records: Sequence[SourceRecord], more: Mapping[str, object]) -> None:
        batches = [records[at : at + _BATCH] for at in range(0, len(records), _BATCH)]
        for at in range(0, len(batches), _BATCHES_AT_ONCE):
            await asyncio.gather(*(self._batch(action, one, more) for one in batches[at : at + _BATCHES_AT_ONCE]))

    async def _batch(self, action: str, records: Sequence[SourceRecord], more: Mapping[str, object]) -> None:
        entries = [{"Id": str(at), "ReceiptHandle": one.receipt, **more} for at, one in enumerate(records)]
        answer = await self._source.ask(action, {"QueueUrl": self._url, "Entries": entries}, _BatchAnswer)
        for refusal in answer.failed or ():
            if not refusal.sender_fault:
                raise SourceUnavailable(f"{action} of {self._source.arn}: {refusal.code}: {refusal.message}")
            # The message is another's by now, or gone; asking again would change nothing.
            log.warning("sqs.receipt_refused", extra={"queue": self._source.arn, "reason": refusal.code})

    def _record(self, message: _Message) -> SourceRecord:
        attributes = message.attributes
        document: dict[str, object] = {
            "messageId": message.message_id,
            "receiptHandle": message.receipt_handle,
            "body": message.body,
            "attributes": attributes,
            "messageAttributes": dict(_attributes(message)),
            "md5OfBody": message.md5_of_body,
        }
        if message.md5_of_message_attributes is not None:
            document["md5OfMessageAttributes"] = message.md5_of_message_attributes
        document |= {
            "eventSource": "aws:sqs",
            "eventSourceARN": self._source.arn,
            "awsRegion": self._source.region,
        }
        return source_record(
            message.message_id,
            document,
            order_key=attributes.get("MessageGroupId", ""),
            arrived_s=int(attributes.get("SentTimestamp", "0")) / 1000,
            receipt=message.receipt_handle,
            trace_id=attributes.get("AWSTraceHeader"),
        )


def _attributes(message: _Message) -> Iterator[tuple[str, object]]:
    for name, attribute in message.message_attributes.items():
        value = (
            {"stringValue": attribute.string_value}
            if attribute.binary_value is None
            else {"binaryValue": attribute.binary_value}
        )
        yield name, {**value, "stringListValues": [], "binaryListValues": [], "dataType": attribute.data_type}
