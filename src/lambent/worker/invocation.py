"""The one invocation an environment is busy with."""

from __future__ import annotations

import asyncio
import time

from msgspec.structs import replace

from lambent.model.errors import PlatformError
from lambent.model.invocation import InvokeRequest, InvokeResult
from lambent.model.response_stream import ResponseStream, StreamEnd
from lambent.ports.worker import Answer
from lambent.worker.streaming import RuntimeStream


class Invocation:
    """From acceptance to its report. `deadline` is epoch seconds; `started` is of the performance clock."""

    __slots__ = (
        "_stream_end",
        "answer",
        "deadline",
        "error_type",
        "request",
        "response_began",
        "response_ended",
        "result",
        "runtime_ended",
        "started",
        "stream",
    )

    def __init__(self, request: InvokeRequest, answer: Answer, deadline: float) -> None:
        self.request = request
        self.answer = answer
        self.deadline = deadline
        self.started = time.perf_counter()
        self.result: InvokeResult | None = None
        self.error_type: str | None = None
        self.response_began: float | None = None
        """When the runtime began to stream its response; None for one that came whole."""
        self.response_ended: float | None = None
        """When the runtime had responded; None for an answer that is not its own."""
        self.runtime_ended: float | None = None
        """When the runtime asked for more and extensions were still at work; of the performance clock."""
        self.stream: RuntimeStream | None = None
        self._stream_end: asyncio.Future[StreamEnd] | None = None

    @property
    def response_latency_ms(self) -> float | None:
        if self.response_ended is None:
            return None
        return ((self.response_began or self.response_ended) - self.started) * 1000

    @property
    def response_duration_ms(self) -> float:
        if self.response_ended is None or self.response_began is None:
            return 0.0
        return (self.response_ended - self.response_began) * 1000

    @property
    def produced_bytes(self) -> int:
        if self.stream is not None:
            return self.stream.received_bytes
        return len(self.result.payload) if self.result is not None and self.response_ended is not None else 0

    def begin_stream(self, executed_version: str) -> None:
        """Give the caller the stream to read; `respond` ends it."""
        stream = self.stream
        assert stream is not None
        self.response_began = time.perf_counter()
        self._stream_end = asyncio.get_running_loop().create_future()
        if self.answer.done():  # the caller is gone
            stream.let_go()
        else:
            self.answer.set_result(
                ResponseStream(
                    content_type=stream.content_type,
                    executed_version=executed_version,
                    trace_id=self.request.trace_id,
                    pieces=stream.pieces(),
                    end=self._stream_end,
                    let_go=stream.let_go,
                )
            )

    def respond(self, payload: bytes, executed_version: str, error_type: str | None) -> None:
        """Note the outcome, and answer the caller unless it waits for the log tail, which is complete only later."""
        self.error_type = error_type
        self.result = InvokeResult(
            payload=payload,
            executed_version=executed_version,
            function_error="Unhandled" if error_type else None,
            trace_id=self.request.trace_id,
        )
        if not self.request.wants_log_tail:
            self._resolve(self.result)

    def finish(self, log_tail: bytes) -> None:
        """Answer the caller that waits for the log tail."""
        if self.result is not None:
            self._resolve(replace(self.result, log_tail=log_tail))

    def fail(self, error: PlatformError) -> None:
        if self._stream_end is not None and not self._stream_end.done():
            self._stream_end.set_exception(error)
            self._stream_end.exception()  # known to be told, even if nobody reads on
        if not self.answer.done():
            self.answer.set_exception(error)

    def _resolve(self, result: InvokeResult) -> None:
        if self._stream_end is not None:
            if not self._stream_end.done():
                self._stream_end.set_result(_end(result))
        elif not self.answer.done():  # the caller may be gone
            self.answer.set_result(result)


def _end(result: InvokeResult) -> StreamEnd:
    return StreamEnd(function_error=result.function_error, error=result.payload, log_tail=result.log_tail)
