"""One invocation, from the caller's request to its outcome. Payloads are bytes all the way.

What is made per invocation is a struct: it costs a tenth of a frozen dataclass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from msgspec import Struct

from lambent.model.arn import FunctionArn
from lambent.model.function import FunctionVersion

RequestId = NewType("RequestId", str)
EnvironmentId = NewType("EnvironmentId", str)


class InvokeRequest(Struct, frozen=True, kw_only=True):
    """What a caller asks. `function` keeps the qualifier the caller used; `trace_id` is its X-Amzn-Trace-Id, if any."""

    request_id: RequestId
    function: FunctionArn
    payload: bytes
    client_context: str | None = None
    """Decoded JSON of the caller's X-Amz-Client-Context."""
    trace_id: str | None = None
    is_event: bool = False
    """An asynchronous invoke, whose rate no limit holds."""
    wants_log_tail: bool = False
    wants_stream: bool = False
    """The caller reads a streamed response as it comes; for others it is collected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What an invocation runs: one version, in environments that are shared by all with the same `pool_key`.

    The key changes with anything an environment is made from, so an update never meets an older environment.
    """

    version: FunctionVersion
    pool_key: str
    may_loop: bool = False
    """Its owner allows that it goes on invoking itself."""


class InvokeResult(Struct, frozen=True, kw_only=True):
    """What the caller gets. `function_error` is None, "Unhandled" or "Handled"; `log_tail` at most 4,096 bytes."""

    payload: bytes
    executed_version: str
    function_error: str | None = None
    log_tail: bytes | None = None
    trace_id: str | None = None
    """The X-Amzn-Trace-Id that the invocation had in the end."""
