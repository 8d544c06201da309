"""From environments to the log store: what is logged is taken at once and kept a moment later, all streams together.

What waits to be kept is bounded: when a stream is full, or all of them together hold too much, the function's output is
no longer read, and the function waits in its own write.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from lambent.logs.stream import Backlog, StreamWriter
from lambent.model.function import FunctionVersion
from lambent.ports.log_store import GroupKey, LogStore, StreamKey

log = logging.getLogger(__name__)

FLUSH_AFTER_S = 0.05
BATCH_BYTES = 1024 * 1024
STREAM_BYTES = 4 * 1024 * 1024
TOTAL_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterStatistics:
    """Sizes include what a record costs in memory. `lost_bytes` could not be written: a full or failing disk."""

    waiting_bytes: int
    kept_bytes: int
    lost_bytes: int


class TelemetryWriter:
    """Implements `lambent.ports.telemetry.Telemetry`. Leaving it keeps what still waits."""

    def __init__(
        self,
        store: LogStore,
        *,
        clock: Callable[[], float] = time.time,
        flush_after_s: float = FLUSH_AFTER_S,
        stream_bytes: int = STREAM_BYTES,
        total_bytes: int = TOTAL_BYTES,
    ) -> None:
        self._store = store
        self._clock = clock
        self._flush_after_s = flush_after_s
        self._backlog = Backlog(stream_bytes=stream_bytes, total_bytes=total_bytes, batch_bytes=BATCH_BYTES)
        self._kept_bytes = 0
        self._lost_bytes = 0
        self._is_losing = False

    async def __aenter__(self) -> Self:
        self._writing = asyncio.create_task(self._keep_writing(), name="log writer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.flush()
        finally:
            self._writing.cancel()
            await asyncio.wait([self._writing])

    def open(self, version: FunctionVersion, stream_name: str) -> StreamWriter:
        group = GroupKey(version.account, version.region, version.log_group)
        return StreamWriter(StreamKey(group, stream_name), self._backlog, self._clock, version.logging)

    async def flush(self) -> None:
        """Return once nothing waits to be kept any more."""
        while self._backlog.waiting_bytes:
            self._backlog.has_a_batch.set()
            await self._backlog.shrunk()

    def statistics(self) -> WriterStatistics:
        waiting_bytes = self._backlog.waiting_bytes
        return WriterStatistics(waiting_bytes=waiting_bytes, kept_bytes=self._kept_bytes, lost_bytes=self._lost_bytes)

    async def _keep_writing(self) -> None:
        while True:
            await self._backlog.has_some.wait()
            try:
                async with asyncio.timeout(self._flush_after_s):
                    await self._backlog.has_a_batch.wait()
            except TimeoutError:
                pass
            await self._write(self._backlog.take())

    async def _write(self, streams: list[StreamWriter]) -> None:
        ingested_ms = int(self._clock() * 1000)
        taken = [stream.take_batch(ingested_ms) for stream in streams]
        total = sum(size for _, size in taken)
        try:
            await self._store.append([batch for batch, _ in taken if batch.records])  # of some events nothing is logged
        except Exception:
            self._lost_bytes += total
            if not self._is_losing:
                log.exception("logs.lost", extra={"lost_bytes": self._lost_bytes})
            self._is_losing = True
        else:
            self._kept_bytes += total
            if self._is_losing:
                log.warning("logs.kept_again", extra={"lost_bytes": self._lost_bytes})
            self._is_losing = False
        for stream, (_, size) in zip(streams, taken, strict=True):
            stream.kept(size)
        self._backlog.shrink(total)
