"""A response that comes in pieces: what a caller reads while its function still runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEnd:
    """How it ended. `function_error` is None, "Unhandled" or "Handled", and `error` the document that tells why."""

    function_error: str | None = None
    error: bytes = b""
    log_tail: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseStream:
    """To be read within `async with`: whoever leaves early lets go of the rest, and the function runs on as on AWS.

    `pieces` ends where the function's bytes end, for whatever reason; `end` then tells which. A reader that takes its
    time slows the function down.
    """

    content_type: str
    executed_version: str
    trace_id: str | None
    pieces: AsyncIterator[bytes]
    end: asyncio.Future[StreamEnd]
    let_go: Callable[[], None]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()
