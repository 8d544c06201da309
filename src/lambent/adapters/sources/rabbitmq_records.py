"""RabbitMQ's messages as functions get them, and what stands around them in an event. Pure.

https://docs.aws.amazon.com/lambda/latest/dg/with-mq.html#mq-rabbitmq-sample
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
from pamqp.commands import Basic

from lambent.model.event_source_mapping import EventSourceMapping
from lambent.model.source_record import Envelope, SourceRecord, source_record

_encode = msgspec.json.Encoder().encode


def record(receipt: str, properties: Basic.Properties, body: bytes, *, is_redelivered: bool) -> SourceRecord:
    """A message; `receipt` is by what it is acknowledged."""
    document = {
        "basicProperties": {
            "contentType": properties.content_type,
            "contentEncoding": properties.content_encoding,
            "headers": _table(properties.headers or {}),
            "deliveryMode": properties.delivery_mode,
            "priority": properties.priority,
            "correlationId": properties.correlation_id,
            "replyTo": properties.reply_to,
            "expiration": properties.expiration,
            "messageId": properties.message_id,
            "timestamp": None if properties.timestamp is None else _time(properties.timestamp),
            "type": properties.message_type,
            "userId": properties.user_id,
            "appId": properties.app_id,
            "clusterId": properties.cluster_id or None,
            "bodySize": len(body),
        },
        "redelivered": is_redelivered,
        "data": b64encode(body).decode(),
    }
    return source_record(receipt, document, receipt=receipt)


def envelope(mapping: EventSourceMapping, queue: str, virtual_host: str) -> Envelope:
    head = _encode({"eventSource": "aws:rmq", "eventSourceArn": mapping.source_arn})[:-1]
    before = head + b',"rmqMessagesByQueue":{' + _encode(f"{queue}::{virtual_host}") + b":["
    return Envelope(before=before, after=b"]}")


def _table(headers: Mapping[str, object]) -> dict[str, object]:
    return {name: _header(value) for name, value in headers.items()}


def _header(value: object) -> object:
    """As AWS writes what a client written in Java makes of a header: texts are objects that hold signed bytes."""
    match value:
        case str():
            return {"bytes": _bytes(value.encode())}
        case bytes():
            return {"bytes": _bytes(value)}
        case bytearray():
            return _bytes(bytes(value))
        case Mapping():
            return _table(value)
        case list() | tuple():
            return [_header(one) for one in value]
        case datetime():
            return _time(value)
        case Decimal():
            return float(value)
    return value


def _bytes(value: bytes) -> list[int]:
    return [byte - 256 if byte > 127 else byte for byte in value]


def _time(time: datetime) -> str:
    """`Jan 1, 1970, 12:33:41 AM`; written out, for names of months depend on the locale."""
    utc = time.astimezone(UTC) if time.tzinfo else time
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[utc.month - 1]
    half = "AM" if utc.hour < 12 else "PM"
    return f"{month} {utc.day}, {utc.year}, {utc.hour % 12 or 12}:{utc:%M:%S} {half}"
