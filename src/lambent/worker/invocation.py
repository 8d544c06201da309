"""The one invocation an environment is busy with."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from msgspec.structs import replace

from lambent.model.errors import PlatformError
from lambent.model.invocation import InvokeRequest, InvokeResult


@dataclass(slots=True)
class Invocation:
    """From acceptance to its report. `deadline` is epoch seconds; `started` is of the performance clock."""

    request: InvokeRequest
    answer: asyncio.Future[InvokeResult]
    deadline: float
    started: float = field(default_factory=time.perf_counter)
    result: InvokeResult | None = None
    error_type: str | None = None

    def respond(self, payload: bytes, executed_version: str, error_type: str | None) -> None:
        """Note the outcome, and answer the caller unless it waits for the log tail, which is complete only later."""
        self.error_type = error_type
        self.result = InvokeResult(
            payload=payload,
            executed_version=executed_version,
            function_error="Unhandled" if error_type else None,
        )
        if not self.request.wants_log_tail:
            self._resolve(self.result)

    def finish(self, log_tail: bytes) -> None:
        if self.result is not None and self.request.wants_log_tail:
            self._resolve(replace(self.result, log_tail=log_tail))

    def fail(self, error: PlatformError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def _resolve(self, result: InvokeResult) -> None:
        if not self.answer.done():  # the caller may be gone
            self.answer.set_result(result)
