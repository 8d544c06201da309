"""One invocation, from the caller's request to its outcome. Payloads are bytes all the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from lambent.model.arn import FunctionArn

RequestId = NewType("RequestId", str)
EnvironmentId = NewType("EnvironmentId", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeRequest:
    """What a caller asks. `function` keeps the qualifier the caller used; `trace_id` is an X-Amzn-Trace-Id value."""

    request_id: RequestId
    function: FunctionArn
    payload: bytes
    client_context: str | None = None
    """Decoded JSON of the caller's X-Amz-Client-Context."""
    trace_id: str | None = None
    wants_log_tail: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeResult:
    """What the caller gets. `function_error` is None, "Unhandled" or "Handled"; `log_tail` at most 4,096 bytes."""

    payload: bytes
    executed_version: str
    function_error: str | None = None
    log_tail: bytes | None = None
