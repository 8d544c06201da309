"""Bodies that do not fit in one piece: read as they come, written as the peer takes them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, Self

_BUFFERED_BYTES = 256 * 1024
"""Received and not yet read: beyond this the peer is made to wait."""


class Sender(Protocol):
    def send(self, data: bytes) -> None: ...

    def send_all(self, parts: Sequence[bytes]) -> None: ...

    async def can_send(self) -> None: ...

    def answered(self) -> None: ...

    def abort(self) -> None: ...


class BodyReader:
    """A request body as an async iterator of chunks. `trailers` is complete after the end."""

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self.trailers: list[tuple[bytes, bytes]] = []
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._is_ended = False
        self._error: Exception | None = None
        self._arrived = asyncio.Event()
        self._pause = pause
        self._resume = resume

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Raises ConnectionResetError when the peer goes away before the end."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._is_ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        chunk = self._chunks.popleft()
        self._size -= len(chunk)
        if self._size < _BUFFERED_BYTES:
            self._resume()
        return chunk

    def feed(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size >= _BUFFERED_BYTES:
            self._pause()
        self._arrived.set()

    def end(self) -> None:
        self._is_ended = True
        self._arrived.set()

    def fail(self, error: Exception) -> None:
        if not self._is_ended:
            self._error = error
            self._arrived.set()


class BodyWriter:
    """The body of a streamed answer."""

    def __init__(self, sender: Sender, *, is_chunked: bool, is_silent: bool) -> None:
        self._sender = sender
        self._is_chunked = is_chunked
        self._is_silent = is_silent
        self._is_closed = False

    async def write(self, data: bytes) -> None:
        """Send one chunk; returns when the peer keeps up. Raises ConnectionResetError when it is gone."""
        if data and not self._is_silent:
            if self._is_chunked:
                self._sender.send_all((b"%x\r\n" % len(data), data, b"\r\n"))
            else:
                self._sender.send(data)
        await self._sender.can_send()

    async def close(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """End the answer; trailers reach only those who speak HTTP/1.1."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._is_chunked and not self._is_silent:
            lines = b"".join(b"%s: %s\r\n" % trailer for trailer in trailers)
            self._sender.send(b"0\r\n" + lines + b"\r\n")
        self._sender.answered()

    def abort(self) -> None:
        """Break the connection, so that nobody takes the answer for complete."""
        if not self._is_closed:
            self._is_closed = True
            self._sender.abort()
