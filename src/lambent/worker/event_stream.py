"""The one stream of what happens to an environment, and those who read it: the log, and whoever has subscribed.

What happens before anybody can have subscribed is kept, and told to each subscriber first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from lambent.model.events import PlatformEvent
from lambent.ports.telemetry import LogStream

LINE_BYTES = 256 * 1024
"""A longer line becomes several."""
EARLY_BYTES = 1024 * 1024
"""So much of a generation's first output is kept for subscribers."""
_OVERHEAD_BYTES = 200
"""What keeping one piece of it costs."""

FUNCTION, EXTENSION = "function", "extension"


class Reader(Protocol):
    """Who hears of all that happens. Must return at once."""

    def heed(self, event: PlatformEvent) -> None: ...

    def heed_lines(self, kind: str, time_s: float, lines: bytes) -> None:
        """Whole lines that the function or an extension has printed; `kind` says who."""
        ...

    def heed_loss(self, records: int, size: int) -> None:
        """So much was printed that nobody could keep."""
        ...


class EventStream:
    """Implements `lambent.ports.telemetry.LogStream` on top of the one that keeps the log."""

    def __init__(self, log: LogStream, clock: Callable[[], float] = time.time) -> None:
        self._log = log
        self._clock = clock
        self._function_lines = _Lines()
        self._extension_lines = _Lines()
        self._early = _Early()
        self._readers: list[Reader] = [self._early]

    # What happens -----------------------------------------------------------------------------------------------------

    def emit(self, event: PlatformEvent) -> None:
        if self._readers and (rest := self._function_lines.finish()):
            self._pass_on(FUNCTION, rest)
        self._log.emit(event)
        for reader in self._readers:
            reader.heed(event)

    def log(self, event: PlatformEvent) -> None:
        """For the log alone: a subscriber that has lost something hears of it in its own stream."""
        self._log.emit(event)

    def write(self, chunk: bytes) -> None:
        self._log.write(chunk)
        if self._readers and (lines := self._function_lines.feed(chunk)):
            self._pass_on(FUNCTION, lines)

    def write_lines(self, lines: bytes) -> None:
        self._log.write_lines(lines)
        self._pass_on(EXTENSION, lines)

    def write_extension(self, chunk: bytes) -> None:
        """As `write`, for what extensions print."""
        if lines := self._extension_lines.feed(chunk):
            self.write_lines(lines)

    def _pass_on(self, kind: str, lines: bytes) -> None:
        now = self._clock()
        for reader in self._readers:
            reader.heed_lines(kind, now, lines)

    # Who reads --------------------------------------------------------------------------------------------------------

    def subscribe(self, reader: Reader) -> None:
        """Tell it what it has missed of this generation, and from now on everything."""
        self._early.replay(reader)
        self._readers.append(reader)

    def unsubscribe(self, reader: Reader) -> None:
        self._readers.remove(reader)

    def close_subscription(self) -> None:
        """Init is over: nobody can subscribe any more, and nothing need be kept for them."""
        self._readers = [reader for reader in self._readers if reader is not self._early]
        self._early = _Early()

    def begin_generation(self) -> None:
        """Whoever has read is gone; new ones can come."""
        self._function_lines, self._extension_lines = _Lines(), _Lines()
        self._early = _Early()
        self._readers = [self._early]

    # The log ----------------------------------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        return self._log.is_full

    async def drained(self) -> None:
        await self._log.drained()

    def take_tail(self) -> bytes:
        return self._log.take_tail()

    def forget_tail(self) -> None:
        self._log.forget_tail()

    def close(self) -> None:
        if rest := self._extension_lines.finish():
            self.write_lines(rest)
        self._log.close()


class _Lines:
    """Makes whole lines of pieces."""

    __slots__ = ("_unfinished",)

    def __init__(self) -> None:
        self._unfinished = b""

    def feed(self, chunk: bytes) -> bytes:
        """All lines that are complete now; an overlong one is cut."""
        text = self._unfinished + chunk
        end = text.rfind(b"\n") + 1
        self._unfinished = text[end:]
        if len(self._unfinished) < LINE_BYTES:
            return text[:end]
        return text[:end] + self.finish()

    def finish(self) -> bytes:
        """The line that was not complete, if there is one, as a line."""
        rest, self._unfinished = self._unfinished, b""
        return rest + b"\n" if rest else b""


class _Early:
    """Keeps what happens for those who will subscribe later."""

    def __init__(self) -> None:
        self._kept: list[PlatformEvent | tuple[str, float, bytes]] = []
        self._kept_bytes = 0
        self._lost_records = self._lost_bytes = 0

    def heed(self, event: PlatformEvent) -> None:
        self._kept.append(event)

    def heed_lines(self, kind: str, time_s: float, lines: bytes) -> None:
        size = len(lines) + _OVERHEAD_BYTES
        if self._kept_bytes + size > EARLY_BYTES:
            self.heed_loss(lines.count(b"\n"), len(lines))
        else:
            self._kept.append((kind, time_s, lines))
            self._kept_bytes += size

    def heed_loss(self, records: int, size: int) -> None:
        self._lost_records += records
        self._lost_bytes += size

    def replay(self, reader: Reader) -> None:
        for one in self._kept:
            if isinstance(one, tuple):
                reader.heed_lines(*one)
            else:
                reader.heed(one)
        if self._lost_records:
            reader.heed_loss(self._lost_records, self._lost_bytes)
