"""AWS's services as event sources, at the endpoints that the operator has given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lambent.adapters.http.aws_services import DYNAMODB_STREAMS, KINESIS, SQS, AwsServices, JsonProtocol
from lambent.adapters.sources.aws import AwsSource
from lambent.adapters.sources.checkpoints import StoreCheckpoints
from lambent.adapters.sources.dynamodb_streams import DynamoDbStream
from lambent.adapters.sources.kinesis import KinesisStream
from lambent.adapters.sources.sqs import SqsQueue
from lambent.model.event_source_mapping import EventSourceMapping, SourceKind
from lambent.model.function import FunctionVersion
from lambent.ports.sources import QueueSource, StreamSource
from lambent.ports.store import Store


class HttpSources:
    """Implements `lambent.ports.sources.Sources` for SQS, Kinesis and DynamoDB streams."""

    def __init__(self, services: AwsServices, store: Store) -> None:
        self._services = services
        self._store = store

    @asynccontextmanager
    async def queue(self, mapping: EventSourceMapping, version: FunctionVersion) -> AsyncIterator[QueueSource]:
        queue = SqsQueue(self._source(mapping, SQS))
        await queue.check()
        yield queue

    @asynccontextmanager
    async def stream(self, mapping: EventSourceMapping, version: FunctionVersion) -> AsyncIterator[StreamSource]:
        checkpoints = StoreCheckpoints(self._store, mapping)
        stream: KinesisStream | DynamoDbStream
        if mapping.kind is SourceKind.KINESIS:
            stream = KinesisStream(self._source(mapping, KINESIS), checkpoints, version.role)
        else:
            stream = DynamoDbStream(self._source(mapping, DYNAMODB_STREAMS), checkpoints)
        await stream.check()
        yield stream

    async def forget(self, mapping: EventSourceMapping) -> None:
        await StoreCheckpoints(self._store, mapping).clear()

    def _source(self, mapping: EventSourceMapping, protocol: JsonProtocol) -> AwsSource:
        return AwsSource(self._services, mapping.source_arn or "", protocol)
