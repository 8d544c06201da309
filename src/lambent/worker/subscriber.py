"""A subscriber to an environment's telemetry: hears all that happens, keeps what it asked for, delivers it in batches.

It never makes anybody wait. A subscriber that is slower than what it reads loses records, and is told how many.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from lambent.model import logs_api_documents
from lambent.model.event_documents import BASE_SCHEMA, Record, document, timestamp
from lambent.model.events import Fault, LogsDropped, PlatformEvent, Report
from lambent.worker.destinations import Destination, Undelivered
from lambent.worker.event_buffer import EventBuffer
from lambent.worker.subscription import Api, Subscription

log = logging.getLogger(__name__)

RETRY_AFTER_S = (0.1, 0.5)
"""A batch is tried once more than there are waits."""

_encode = msgspec.json.Encoder().encode


class Subscriber:
    """Implements `event_stream.Reader` for one extension."""

    def __init__(
        self,
        *,
        name: str,
        subscription: Subscription,
        destination: Destination,
        has_json_lines: bool,
        log: Callable[[PlatformEvent], None],
    ) -> None:
        self.name = name
        self.subscription = subscription
        self._destination = destination
        self._lines = _line_reader(subscription, has_json_lines)
        self._log = log
        self._types = frozenset(subscription.types)
        self._buffer = EventBuffer(subscription.buffering)
        self._unlogged_records = self._unlogged_bytes = 0
        self._has_some = asyncio.Event()
        self._is_due = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._is_flushed = False
        self._batch: list[bytes] = []
        self._task = asyncio.get_running_loop().create_task(self._keep_delivering(), name=f"telemetry of {name}")

    # What it hears ----------------------------------------------------------------------------------------------------

    def heed(self, event: PlatformEvent) -> None:
        if "platform" in self._types:
            for told in _documents(event, self.subscription):
                self._keep(_encode(told))
        if isinstance(event, Report):
            self._log_losses()

    def heed_lines(self, kind: str, time_s: float, lines: bytes) -> None:
        if kind not in self._types:
            return
        if self._buffer.is_full:
            self.heed_loss(lines.count(b"\n"), len(lines))
            return
        stamp = timestamp(time_s)
        for line in lines[:-1].split(b"\n"):
            self._keep(_encode({"time": stamp, "type": kind, "record": self._lines(line)}))

    def heed_loss(self, records: int, size: int) -> None:
        self._buffer.lose(records, size)
        self._unlogged_records += records
        self._unlogged_bytes += size

    def _keep(self, record: bytes) -> None:
        if self._buffer.is_full:
            self.heed_loss(1, len(record))
            return
        if self._buffer.has_lost:
            for told in _documents(self._dropped(*self._buffer.take_losses()), self.subscription):
                self._buffer.add(_encode(told))
        self._buffer.add(record)
        self._is_idle.clear()
        self._has_some.set()
        if self._buffer.has_a_batch:
            self._is_due.set()

    def _log_losses(self) -> None:
        if self._unlogged_records:
            self._log(self._dropped(self._unlogged_records, self._unlogged_bytes))
            self._unlogged_records = self._unlogged_bytes = 0

    def _dropped(self, records: int, size: int) -> LogsDropped:
        return LogsDropped(time=time.time(), name=self.name, dropped_records=records, dropped_bytes=size)

    # What it is sent --------------------------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Return once all that was heard has been delivered. What is heard later may be lost with the environment."""
        self._is_due.set()
        await self._is_idle.wait()
        self._is_flushed = True

    async def close(self) -> None:
        """Deliver nothing more; tell the log of what was lost."""
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._destination.close()
        if not self._is_flushed:
            waiting = [*self._batch, *self._buffer.drain()]
            self.heed_loss(len(waiting), sum(map(len, waiting)))
        self._log_losses()

    async def _keep_delivering(self) -> None:
        while True:
            await self._has_some.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.subscription.buffering.timeout_ms / 1000):
                    await self._is_due.wait()
            self._is_due.clear()
            while len(self._buffer):
                self._batch = self._buffer.take_batch()
                await self._deliver()
                self._batch = []
            self._has_some.clear()
            self._is_idle.set()

    async def _deliver(self) -> None:
        for wait_s in (*RETRY_AFTER_S, None):
            try:
                await self._destination.send(self._batch)
                return
            except Undelivered as exc:
                if wait_s is None:
                    log.warning("telemetry.undelivered", extra={"extension": self.name, "reason": str(exc)})
                    self.heed_loss(len(self._batch), sum(map(len, self._batch)))
                else:
                    await asyncio.sleep(wait_s)


def _documents(event: PlatformEvent, subscription: Subscription) -> list[Record]:
    """What is told of an event, by the API and in the version that the subscriber has asked for."""
    if subscription.api is Api.LOGS:
        return logs_api_documents.documents(event, subscription.schema_version)
    told = None if isinstance(event, Fault) else document(event, subscription.schema_version)
    return [] if told is None else [told]


def _line_reader(subscription: Subscription, has_json_lines: bool) -> Callable[[bytes], object]:
    """What makes a record of a line: its text, or the object it is, where function and subscriber speak of objects."""
    if has_json_lines and subscription.api is Api.TELEMETRY and subscription.schema_version != BASE_SCHEMA:
        return _object_or_text
    return _text


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def _object_or_text(line: bytes) -> object:
    if line.startswith(b"{"):
        with suppress(msgspec.DecodeError, RecursionError):
            return msgspec.json.decode(line)
    return _text(line)
