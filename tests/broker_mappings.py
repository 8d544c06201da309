"""Mappings of brokers, and the secrets they name, for tests that read without a server."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from lambent.adapters.http.aws_services import AwsServices
from lambent.adapters.http.secrets import Secrets
from lambent.adapters.sources.brokers import Brokers
from lambent.model.arn import FunctionArn
from lambent.model.event_source_mapping import EventSourceMapping, SourceAccess, SourceKind

FUNCTION = FunctionArn("us-east-1", "000000000000", "reader")


def kafka_mapping(server: str, topic: str, **settings: Any) -> EventSourceMapping:
    return _mapping(SourceKind.SELF_MANAGED_KAFKA, bootstrap_servers=(server,), topics=(topic,), **settings)


def queue_mapping(queue: str, **settings: Any) -> EventSourceMapping:
    return _mapping(SourceKind.MQ, source_arn=BROKER_ARN, queues=(queue,), **settings)


BROKER_ARN = "arn:aws:mq:us-east-1:000000000000:broker:orders:b-1"


def _mapping(kind: SourceKind, **settings: Any) -> EventSourceMapping:
    defaults: dict[str, Any] = {
        "uuid": str(uuid.uuid4()),
        "account": "000000000000",
        "region": "us-east-1",
        "function": FUNCTION,
        "kind": kind,
        "batch_size": 100,
        "starting_position": "TRIM_HORIZON",
        "state_transition_reason": "USER_INITIATED",
        "last_modified_s": 0.0,
    }
    return EventSourceMapping(**(defaults | settings))


def access(**uris: str) -> tuple[SourceAccess, ...]:
    """Access configurations by type."""
    return tuple(SourceAccess(type=type, uri=uri) for type, uri in uris.items())


def brokers(directory: Path, secrets: dict[str, dict[str, str]], address: str | None = None) -> Brokers:
    """With these secrets, each in a file of its own; `address` is that of BROKER_ARN."""
    files = {}
    for name, members in secrets.items():
        files[name] = directory / f"{name}.json"
        files[name].write_text(json.dumps(members))
    return Brokers({BROKER_ARN: address} if address else {}, Secrets(files, AwsServices({})))
