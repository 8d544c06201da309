"""The log stream of one environment: bytes and platform events become records, which wait in the backlog to be kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lambent.logs.levels import json_lines, kept_lines
from lambent.logs.lines import text_line
from lambent.model.events import PlatformEvent
from lambent.model.function import DEFAULT_LOG_LEVEL, LogFormat, LoggingConfig
from lambent.model.limits import LOG_TAIL_BYTES
from lambent.ports.log_store import Batch, Record, StreamKey

EVENT_BYTES = 256 * 1024
"""CloudWatch Logs' limit for one event; a longer line becomes several."""

_RECORD_OVERHEAD_BYTES = 200
_EVENT_BYTES_ASSUMED = 500
_EVENTS_TOGETHER = 64
"""Of an environment in steady use so many are made into text at a time: a third of the cost of one by one."""
_TAIL_KEPT_BYTES = 4 * LOG_TAIL_BYTES


class Backlog:
    """What waits to be kept, of all streams together: whose it is, how much it is, and who waits for it to shrink."""

    def __init__(self, *, stream_bytes: int, total_bytes: int, batch_bytes: int) -> None:
        self.stream_bytes = stream_bytes
        self.total_bytes = total_bytes
        self.waiting_bytes = 0
        self.has_some = asyncio.Event()
        self.has_a_batch = asyncio.Event()
        self._batch_bytes = batch_bytes
        self._streams: list[StreamWriter] = []
        self._shrunk = asyncio.Event()

    def grow(self, size: int) -> None:
        self.waiting_bytes += size
        if self.waiting_bytes > self._batch_bytes:
            self.has_a_batch.set()

    def add(self, stream: StreamWriter) -> None:
        """The stream has something to be taken; told once, until it is taken."""
        self._streams.append(stream)
        self.has_some.set()

    def take(self) -> list[StreamWriter]:
        self.has_some.clear()
        self.has_a_batch.clear()
        streams, self._streams = self._streams, []
        return streams

    def shrink(self, size: int) -> None:
        self.waiting_bytes -= size
        shrunk, self._shrunk = self._shrunk, asyncio.Event()
        shrunk.set()

    async def shrunk(self) -> None:
        """Return when something has been kept (or lost)."""
        await self._shrunk.wait()


class StreamWriter:
    """Implements `lambent.ports.telemetry.LogStream`. Its records never go back in time, even if the clock does.

    Platform events wait as they are, and become text a little later.
    """

    def __init__(self, key: StreamKey, backlog: Backlog, clock: Callable[[], float], config: LoggingConfig) -> None:
        is_json = config.log_format is LogFormat.JSON
        self._line_of = json_lines(config.system_log_level or DEFAULT_LOG_LEVEL) if is_json else text_line
        self._kept_lines = kept_lines(config.application_log_level or DEFAULT_LOG_LEVEL) if is_json else None
        self._key = key
        self._backlog = backlog
        self._clock = clock
        self._events: list[PlatformEvent] = []
        """They come after all records."""
        self._forgotten = 0
        """So many of them belong to no tail any more."""
        self._records: list[Record] = []
        self._has_some = False
        self._waiting_bytes = 0
        self._last_ms = 0
        self._unfinished = bytearray()
        self._tail = bytearray()

    def emit(self, event: PlatformEvent) -> None:
        if self._unfinished:
            self._finish_line()
        self._wait(_EVENT_BYTES_ASSUMED)
        self._events.append(event)
        if len(self._events) >= _EVENTS_TOGETHER:
            self._write_events()

    def write(self, chunk: bytes) -> None:
        now = self._clock()
        for start in range(0, len(chunk), EVENT_BYTES):
            self._write_piece(now, chunk[start : start + EVENT_BYTES])

    def write_lines(self, lines: bytes) -> None:
        self._log(self._clock(), lines, is_lines=True)

    @property
    def is_full(self) -> bool:
        backlog = self._backlog
        return self._waiting_bytes >= backlog.stream_bytes or backlog.waiting_bytes >= backlog.total_bytes

    async def drained(self) -> None:
        while self.is_full:
            await self._backlog.shrunk()

    def take_tail(self) -> bytes:
        self._write_events()
        tail = bytes(self._tail[-LOG_TAIL_BYTES:])
        self._tail.clear()
        return tail

    def forget_tail(self) -> None:
        self._tail.clear()
        self._forgotten = len(self._events)

    def close(self) -> None:
        if self._unfinished:
            self._finish_line()

    def take_batch(self, ingested_ms: int) -> tuple[Batch, int]:
        """What waits, and its size, to be given back to `kept`."""
        self._write_events()
        self._has_some = False
        records, self._records = self._records, []
        return Batch(self._key, records, ingested_ms), self._waiting_bytes

    def kept(self, size: int) -> None:
        self._waiting_bytes -= size

    def _write_piece(self, now: float, piece: bytes) -> None:
        """A piece holds no line longer than an event may be, but together with an unfinished one it can."""
        end = piece.rfind(b"\n") + 1
        lines, rest = piece[:end], piece[end:]
        if self._unfinished:
            self._unfinished += lines or rest
            first_line = self._unfinished.find(b"\n") + 1 or len(self._unfinished)
            if first_line > EVENT_BYTES:
                self._cut_unfinished(now)
            if not lines:
                return
            lines = bytes(self._unfinished)
            self._unfinished.clear()
        if lines:
            self._log_lines(now, lines)
        self._unfinished += rest

    def _cut_unfinished(self, now: float) -> None:
        """Log as much of an overlong line as fits one event, not parting a character."""
        end = EVENT_BYTES
        while end > EVENT_BYTES - 4 and self._unfinished[end] & 0xC0 == 0x80:
            end -= 1
        self._log(now, bytes(self._unfinished[:end]))
        del self._unfinished[:end]

    def _finish_line(self) -> None:
        line = bytes(self._unfinished) + b"\n"
        self._unfinished.clear()
        self._log_lines(self._clock(), line)

    def _log_lines(self, now: float, lines: bytes) -> None:
        kept = lines if self._kept_lines is None else self._kept_lines(lines)
        if kept:
            self._log(now, kept, is_lines=True)

    def _log(self, time_s: float, text: bytes, is_lines: bool = False) -> None:
        self._write_events()
        self._wait(len(text) + _RECORD_OVERHEAD_BYTES)
        self._record(time_s, text, is_lines)
        self._add_to_tail(text)

    def _wait(self, size: int) -> None:
        if not self._has_some:
            self._has_some = True
            self._backlog.add(self)
        self._waiting_bytes += size
        self._backlog.grow(size)

    def _write_events(self) -> None:
        """Make text of the events that wait."""
        events, self._events = self._events, []
        forgotten, self._forgotten = self._forgotten, 0
        for number, event in enumerate(events):
            line = self._line_of(event)
            if line is not None:
                text = line.encode()
                self._record(event.time, text)
                if number >= forgotten:
                    self._add_to_tail(text)

    def _record(self, time_s: float, text: bytes, is_lines: bool = False) -> None:
        self._last_ms = max(self._last_ms, int(time_s * 1000))
        self._records.append(Record(self._last_ms, text, is_lines))

    def _add_to_tail(self, text: bytes) -> None:
        self._tail += text[-LOG_TAIL_BYTES:]
        if len(self._tail) > _TAIL_KEPT_BYTES:
            del self._tail[:-LOG_TAIL_BYTES]
