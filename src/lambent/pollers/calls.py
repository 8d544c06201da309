"""Calling the function of a mapping: the same invoker as everybody's, and what comes of it told in three words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from lambent.model.arn import FunctionArn
from lambent.model.errors import ApiError, PlatformError
from lambent.model.invocation import InvokeRequest, InvokeResult, RequestId
from lambent.model.source_record import SourceRecord

InvokeFunction = Callable[[InvokeRequest], Awaitable[InvokeResult]]


@dataclass(frozen=True, slots=True)
class Succeeded:
    result: InvokeResult


@dataclass(frozen=True, slots=True)
class Failed:
    """The function ran, or was not allowed to, and trying again is a further attempt."""

    result: InvokeResult


@dataclass(frozen=True, slots=True)
class Refused:
    """It did not run: throttled, not there, or a fault of ours."""

    reason: str


Outcome = Succeeded | Failed | Refused


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation with its request id."""

    request_id: RequestId
    outcome: Outcome


class Caller:
    def __init__(self, invoke: InvokeFunction, function: FunctionArn, new_request_id: Callable[[], str]) -> None:
        self._invoke = invoke
        self._new_request_id = new_request_id
        self.function = function

    async def call(self, payload: bytes, records: Iterable[SourceRecord] = ()) -> Call:
        """Run the function on an event of these records."""
        request_id = RequestId(self._new_request_id())
        request = InvokeRequest(
            request_id=request_id, function=self.function, payload=payload, trace_id=_common_trace(records)
        )
        try:
            result = await self._invoke(request)
        except (ApiError, PlatformError) as error:
            return Call(request_id, Refused(str(error)))
        return Call(request_id, Succeeded(result) if result.function_error is None else Failed(result))


def _common_trace(records: Iterable[SourceRecord]) -> str | None:
    """The trace of a batch whose records all came from one request; of others AWS begins a new one."""
    traces = {record.trace_id for record in records}
    return traces.pop() if len(traces) == 1 else None
