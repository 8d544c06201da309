"""Where an environment reports what happens to it: one stream of platform events and function output."""

from __future__ import annotations

from typing import Protocol

from lambent.model.events import PlatformEvent
from lambent.model.function import FunctionVersion


class LogStream(Protocol):
    """The log stream of one environment. All methods are called in the event loop and return at once."""

    def emit(self, event: PlatformEvent) -> None:
        """One platform event; becomes its text or JSON line, if it has one."""
        ...

    def write(self, chunk: bytes) -> None:
        """Output of the function as read from its pipe: any framing, split into one record per line here.

        An unfinished last line is held back until its newline, the next event, or `close`.
        """
        ...

    def write_lines(self, lines: bytes) -> None:
        """Whole lines of somebody else (an extension): they stand beside an unfinished line, not in it."""
        ...

    @property
    def is_full(self) -> bool:
        """More waits to be stored than should be held in memory: stop reading the pipe until `drained`."""
        ...

    async def drained(self) -> None:
        """Return once `is_full` is no longer true."""
        ...

    def take_tail(self) -> bytes:
        """The last 4,096 bytes of text logged since the previous tail (or the start of the stream)."""
        ...

    def forget_tail(self) -> None:
        """As `take_tail`, where nobody wants it."""
        ...

    def close(self) -> None: ...


class Telemetry(Protocol):
    def open(self, version: FunctionVersion, stream_name: str) -> LogStream:
        """Start the log stream of a new environment; group and stream come into being with its first record."""
        ...
