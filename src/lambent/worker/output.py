"""The output of an environment: its pipe is read as fast as its log stream can take it, and no faster."""

from __future__ import annotations

import asyncio
import os

from lambent.ports.telemetry import LogStream

_CHUNK_BYTES = 256 * 1024
_PIPE_BYTES = 1024 * 1024


class Output:
    """Moves bytes from a pipe to a log stream; when the stream is full, the function waits in its write()."""

    def __init__(self, fd: int, stream: LogStream) -> None:
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
        while not self._closed and taken < _PIPE_BYTES:
            chunk = self._read()
            if not chunk:
                return
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

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, _CHUNK_BYTES)
        except BlockingIOError:
            return b""

    def _readable(self) -> None:
        chunk = self._read()
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
