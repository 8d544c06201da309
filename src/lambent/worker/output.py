"""The output of an environment: its pipes are read as fast as its log stream can take it, and no faster."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import termios
from contextlib import AsyncExitStack
from typing import Protocol

from lambent.worker.event_stream import EventStream

_CHUNK_BYTES = 256 * 1024
_PIPE_BYTES = 1024 * 1024
_NOTHING = b"\0\0\0\0"
"""A C int."""


class Sink(Protocol):
    """Where output goes; see `lambent.ports.telemetry.LogStream`."""

    def write(self, chunk: bytes) -> None: ...
    @property
    def is_full(self) -> bool: ...
    async def drained(self) -> None: ...


class _ExtensionSink:
    """The sink of what extensions print: the same stream, by another door."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        self.write = stream.write_extension
        self.drained = stream.drained

    @property
    def is_full(self) -> bool:
        return self._stream.is_full


def open_extension_output(stack: AsyncExitStack, stream: EventStream) -> tuple[Output, int]:
    """A pipe for all extensions of an environment, read into its log stream; returns what they are to write to, too."""
    read_end, write_end = os.pipe()
    stack.callback(os.close, read_end)
    stack.callback(os.close, write_end)
    os.set_blocking(read_end, False)
    os.fchmod(write_end, 0o222)  # so that extensions, of another uid, may open /dev/stdout again
    output = Output(read_end, _ExtensionSink(stream))
    stack.callback(output.close)
    return output, write_end


class Output:
    """Moves bytes from a pipe to a log stream; when the stream is full, the function waits in its write()."""

    def __init__(self, fd: int, stream: Sink) -> None:
        self._fd = fd
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Task[None] | None = None
        self._closed = False
        self._loop.add_reader(fd, self._readable)

    def drain_nowait(self) -> None:
        """Take what the pipe holds now, full stream or not, so that it stands before what is logged next.

        Bounded by the pipe's own size, so a function that never stops writing cannot hold us here.
        """
        taken = 0
        while not self._closed and taken < _PIPE_BYTES and (size := _waiting_bytes(self._fd)):
            chunk = os.read(self._fd, min(size, _CHUNK_BYTES))
            self._stream.write(chunk)
            taken += len(chunk)

    def close(self) -> None:
        """Take the rest and stop reading. The descriptor stays its owner's."""
        if self._closed:
            return
        self.drain_nowait()
        self._closed = True
        self._loop.remove_reader(self._fd)
        if self._waiting is not None:
            self._waiting.cancel()

    def _readable(self) -> None:
        try:
            chunk = os.read(self._fd, max(1, min(_waiting_bytes(self._fd), _CHUNK_BYTES)))
        except BlockingIOError:
            return  # what this call was for has been drained since
        if not chunk:  # every writer is gone
            self._loop.remove_reader(self._fd)
            return
        self._stream.write(chunk)
        if self._stream.is_full:
            self._loop.remove_reader(self._fd)
            self._waiting = self._loop.create_task(self._resume())

    async def _resume(self) -> None:
        await self._stream.drained()
        if not self._closed:
            self._loop.add_reader(self._fd, self._readable)


def _waiting_bytes(fd: int) -> int:
    """How much a pipe holds: cheaper than a read that finds nothing, or that makes room for what is not there."""
    size = fcntl.ioctl(fd, termios.FIONREAD, _NOTHING)
    return 0 if size == _NOTHING else int.from_bytes(size, sys.byteorder)
