"""Asynchronous invocation with everything real but the functions, the targets and the time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import msgspec

from function_versions import function_version
from lambent.adapters.memory.event_queue import MemoryEventQueue
from lambent.adapters.memory.store import MemoryStore
from lambent.invoke.events import Events
from lambent.invoke.invoker import Invoker
from lambent.invoke.resolve import Resolver
from lambent.model.arn import FunctionArn
from lambent.model.errors import TooManyRequests
from lambent.model.event import Message
from lambent.model.event_invoke import EventInvokeConfig
from lambent.model.function import FunctionRecord, FunctionVersion, function_key
from lambent.model.invocation import InvokeRequest, InvokeResult, RequestId, Target
from lambent.model.records import encode
from lambent.ports.targets import Undelivered
from lambent.testing import virtual_time

ARN = FunctionArn("us-east-1", "000000000000", "f")
QUEUE = "arn:aws:sqs:us-east-1:000000000000:queue"
TOPIC = "arn:aws:sns:us-east-1:000000000000:topic"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"


def throttled(reason: str = "ReservedFunctionConcurrentInvocationLimitExceeded") -> TooManyRequests:
    return TooManyRequests("Rate Exceeded.", Reason=reason, Type="User")


def failed(message: str = "no", version: str = "$LATEST") -> InvokeResult:
    payload = b'{"errorMessage": "%s", "errorType": "ValueError"}' % message.encode()
    return InvokeResult(payload=payload, executed_version=version, function_error="Unhandled")


def succeeded(payload: bytes = b'"done"') -> InvokeResult:
    return InvokeResult(payload=payload, executed_version="$LATEST")


Answer = InvokeResult | Exception
Behaviour = Callable[[InvokeRequest], Coroutine[Any, Any, Answer]]


def answering(*answers: Answer) -> Behaviour:
    """One answer after the other; the last one for ever."""
    left = list(answers)

    async def behave(_: InvokeRequest) -> Answer:
        return left.pop(0) if len(left) > 1 else left[0]

    return behave


@dataclass(slots=True)
class FakeFunctions:
    """The manager: what each function does by its name, and when it was asked to."""

    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    calls: list[tuple[float, InvokeRequest]] = field(default_factory=list)

    def lease(self, target: Target) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    async def invoke(self, request: InvokeRequest) -> InvokeResult:
        self.calls.append((virtual_time.now() - virtual_time.START_S, request))
        answer = await self.behaviours[request.function.name](request)
        if isinstance(answer, InvokeResult):
            answer = msgspec.structs.replace(answer, trace_id=request.trace_id)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def admit(self, function: FunctionArn) -> None:
        raise AssertionError("no rate holds events")

    def reserve(self, function: FunctionArn, concurrency: int | None) -> None: ...

    def retire(self, function: FunctionArn, *, keep: object) -> None: ...

    def times_s(self, name: str = "f") -> list[float]:
        return [round(at_s, 3) for at_s, request in self.calls if request.function.name == name]


@dataclass(slots=True)
class FakeTargets:
    """Takes every message, after having refused as often as it is told."""

    refusals: list[Undelivered] = field(default_factory=list)
    sent: list[tuple[Message, bytes]] = field(default_factory=list)

    async def send(self, message: Message, body: bytes) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.sent.append((message, body))


class World:
    def __init__(self, *, concurrency: int = 1_000) -> None:
        self.store = MemoryStore()
        self.queue = MemoryEventQueue(clock=virtual_time.now)
        self.functions = FakeFunctions()
        self.targets = FakeTargets()
        self._concurrency = concurrency
        self._requests = 0
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        resolver = Resolver(self.store, lambda *_: None)
        self._stack.callback(self.store.watch("function/", resolver.forget))
        self.events = Events(
            self.queue,
            self.store,
            Invoker(resolver, self.functions),
            self.targets,
            concurrency=self._concurrency,
            new_request_id=lambda: "new-request-id",
            is_host_busy=lambda: False,
            clock=virtual_time.now,
        )
        await self._stack.enter_async_context(self.events)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def create(
        self,
        behaviour: Behaviour | None = None,
        *,
        name: str = "f",
        dead_letter: str | None = None,
        configs: dict[str, dict[str, Any]] | None = None,
        **record: Any,
    ) -> None:
        """A function; what the `configs` of its qualifiers do not say is as AWS has it."""
        self.functions.behaviours[name] = behaviour or answering(succeeded())
        said = {
            qualifier: EventInvokeConfig(last_modified_s=0, **config) for qualifier, config in (configs or {}).items()
        }
        latest = version(name, dead_letter_target_arn=dead_letter)
        await self.save(FunctionRecord(latest=latest, event_invoke_configs=said, **record))

    async def save(self, record: FunctionRecord) -> None:
        key = function_key(ARN.account, ARN.region, record.latest.name)
        await self.store.put(key, encode(record))

    async def send(self, payload: bytes = b'{"key":"value"}', *, name: str = "f", trace_id: str = TRACE) -> str:
        self._requests += 1
        request_id = f"request-{self._requests}"
        function = FunctionArn(ARN.region, ARN.account, name.partition(":")[0], name.partition(":")[2] or None)
        await self.events.accept(
            InvokeRequest(request_id=RequestId(request_id), function=function, payload=payload, trace_id=trace_id)
        )
        return request_id

    async def idle(self, after_s: float = 0.0) -> None:
        """Let the time pass, and everything happen that happens in it."""
        await asyncio.sleep(after_s + 0.001)


def version(name: str, **fields: Any) -> FunctionVersion:
    return function_version(account=ARN.account, region=ARN.region, name=name, **fields)
