"""Pollers with everything real but the functions, the sources and the time."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from function_versions import function_version
from lambent.adapters.memory.event_queue import MemoryEventQueue
from lambent.adapters.memory.ownership import LocalOwnership
from lambent.adapters.memory.sources import MemoryQueue, MemorySources, MemoryStream
from lambent.adapters.memory.store import MemoryStore
from lambent.model.arn import FunctionArn
from lambent.model.errors import ResourceNotFound, TooManyRequests
from lambent.model.event_source_mapping import EventSourceMapping, MappingState, SourceKind
from lambent.model.function import FunctionVersion
from lambent.model.invocation import InvokeRequest, InvokeResult, Target
from lambent.model.records import decode_mapping, encode
from lambent.pollers import Pollers, Surroundings
from lambent.ports.event_queue import Queued
from lambent.testing import virtual_time

FUNCTION = FunctionArn("us-east-1", "000000000000", "f")
QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
DEAD = "arn:aws:sqs:us-east-1:000000000000:dead"
ROLE = "arn:aws:iam::000000000000:role/any"

OK = InvokeResult(payload=b"null", executed_version="$LATEST")
ERROR = InvokeResult(payload=b'{"errorMessage":"no"}', executed_version="$LATEST", function_error="Unhandled")

Function = Callable[[dict[str, Any]], Coroutine[Any, Any, InvokeResult]]


def said(answer: object) -> InvokeResult:
    return InvokeResult(payload=json.dumps(answer).encode(), executed_version="$LATEST")


def reported(*ids: str) -> InvokeResult:
    return said({"batchItemFailures": [{"itemIdentifier": id} for id in ids]})


def throttled() -> TooManyRequests:
    return TooManyRequests("Rate Exceeded.", Reason="ReservedFunctionConcurrentInvocationLimitExceeded", Type="User")


async def succeed(_: dict[str, Any]) -> InvokeResult:
    return OK


def mapping(kind: SourceKind = SourceKind.SQS, **members: Any) -> EventSourceMapping:
    is_stream = kind in (SourceKind.KINESIS, SourceKind.DYNAMODB)
    streams = {"starting_position": "TRIM_HORIZON", "batch_size": 100} if is_stream else {"batch_size": 10}
    return EventSourceMapping(
        **{
            "uuid": "u",
            "account": FUNCTION.account,
            "region": FUNCTION.region,
            "function": FUNCTION,
            "kind": kind,
            "source_arn": STREAM if is_stream else QUEUE,
            "batching_window_s": 0,
            "state": MappingState.CREATING,
            "state_transition_reason": "USER_INITIATED",
            "last_modified_s": 0.0,
            **streams,
            **members,
        }
    )


@dataclass(slots=True)
class World:
    """`calls` are the events that the function got, with their times; `function` is what it does."""

    store: MemoryStore = field(default_factory=MemoryStore)
    sources: MemorySources = field(default_factory=MemorySources)
    ownership: LocalOwnership = field(default_factory=LocalOwnership)
    outcomes: MemoryEventQueue = field(default_factory=MemoryEventQueue)
    function: Function = succeed
    calls: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    version: FunctionVersion | None = field(default_factory=lambda: version())

    @property
    def batches(self) -> list[list[str]]:
        """What each event brought: bodies of messages, data of records."""
        return [[_content(record) for record in event["Records"]] for _, event in self.calls]

    @property
    def contents(self) -> list[str]:
        return list(itertools.chain.from_iterable(self.batches))

    def queue(self, **options: Any) -> MemoryQueue:
        queue = self.sources.queues[QUEUE] = MemoryQueue(**options)
        return queue

    def stream(self, *shards: str, **options: Any) -> MemoryStream:
        stream = self.sources.streams[STREAM] = MemoryStream(*(shards or ("s",)), **options)
        return stream

    async def put(self, mapped: EventSourceMapping) -> None:
        await self.store.put(mapped.key, encode(mapped))

    async def mapping(self, uuid: str = "u") -> EventSourceMapping | None:
        entry = await self.store.get(mapping(uuid=uuid).key)
        return decode_mapping(entry.value) if entry else None

    async def result(self, uuid: str = "u") -> str | None:
        entry = await self.store.get(mapping(uuid=uuid).result_key)
        return entry.value.decode() if entry else None

    async def told(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Heads and bodies of what was told of batches that were given up."""
        items: list[Queued] = []
        for lane in self.outcomes.lanes():
            items += (await self.outcomes.take(lane.name, 1_000)).items
        return [(json.loads(item.head), json.loads(item.body)) for item in items]

    @asynccontextmanager
    async def polling(self, *mappings: EventSourceMapping) -> AsyncIterator[Pollers]:
        for mapped in mappings:
            await self.put(mapped)
        numbers = itertools.count(1)
        around = Surroundings(
            store=self.store,
            sources=self.sources,
            ownership=self.ownership,
            outcomes=self.outcomes,
            invoke=self._invoke,
            resolve=self._resolve,
            new_request_id=lambda: f"request-{next(numbers)}",
            clock=virtual_time.now,
        )
        async with self.outcomes, Pollers(around) as pollers:
            yield pollers

    async def _invoke(self, request: InvokeRequest) -> InvokeResult:
        event = json.loads(request.payload)
        self.calls.append((virtual_time.now(), event))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self.function(event)
        finally:
            self.running -= 1

    async def _resolve(self, function: FunctionArn) -> Target:
        if self.version is None:
            raise ResourceNotFound(f"Function not found: {function}")
        return Target(version=self.version, pool_key="")


def version(**members: Any) -> FunctionVersion:
    return function_version(account=FUNCTION.account, region=FUNCTION.region, name=FUNCTION.name, role=ROLE, **members)


async def until(condition: Callable[[], object], timeout_s: float = 3_600.0) -> None:
    """Let virtual time pass until it is so."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - costs no time
            await asyncio.sleep(0.01)


def _content(record: dict[str, Any]) -> str:
    content = record["body"] if "body" in record else record["kinesis"]["data"]
    assert isinstance(content, str)
    return content
