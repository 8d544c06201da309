"""A body that is read while it arrives: what both ends of a connection hand to whoever wants it in pieces."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from lambent.http.wire import Header

HELD_BYTES = 256 * 1024
"""More than this unread, and the connection stops reading from the peer."""


class BodyReader(AsyncIterator[bytes]):
    """The pieces of one body, in order, as they arrive. For one task; `trailers` is complete after the last piece.

    Iterating raises ConnectionError when the peer goes away, or breaks the protocol, before the body's end.
    """

    __slots__ = (
        "_awaited",
        "_chunks",
        "_ended",
        "_error",
        "_held_bytes",
        "_is_discarding",
        "_on_end",
        "_on_room",
        "received_bytes",
        "trailers",
    )

    def __init__(self, trailers: list[Header], on_room: Callable[[], None]) -> None:
        self.trailers = trailers
        self.received_bytes = 0
        self._on_room = on_room  # called when someone waits for more, so when there is room for it
        self._on_end: Callable[[ConnectionError | None], None] | None = None
        self._chunks: deque[bytes] = deque()
        self._held_bytes = 0
        self._ended = False
        self._error: ConnectionError | None = None
        self._is_discarding = False
        self._awaited: asyncio.Future[None] | None = None

    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._awaited = asyncio.get_running_loop().create_future()
            self._on_room()
            await self._awaited
        data = self._chunks.popleft()
        self._held_bytes -= len(data)
        return data

    @property
    def is_full(self) -> bool:
        return self._held_bytes > HELD_BYTES

    @property
    def is_awaited(self) -> bool:
        return self._awaited is not None

    def on_end(self, callback: Callable[[ConnectionError | None], None]) -> None:
        """Call back when the last byte has arrived, perhaps before it is read; or, with an error, when none will."""
        self._on_end = callback

    def feed(self, data: bytes) -> None:
        self.received_bytes += len(data)
        if not self._is_discarding:
            self._chunks.append(data)
            self._held_bytes += len(data)
            self._wake()

    def end(self) -> None:
        self._ended = True
        self._tell_end(None)
        self._wake()

    def fail(self, error: ConnectionError) -> None:
        """No more will come; what has arrived can still be read."""
        if not self._ended and self._error is None:
            self._error = error
            self._tell_end(error)
            self._wake()

    def discard(self) -> None:
        """Nobody will read the rest: let it pass without keeping it."""
        self._is_discarding = True
        self._chunks.clear()
        self._held_bytes = 0
        self._on_room()

    def _tell_end(self, error: ConnectionError | None) -> None:
        callback, self._on_end = self._on_end, None
        if callback is not None:
            callback(error)

    def _wake(self) -> None:
        awaited, self._awaited = self._awaited, None
        if awaited is not None and not awaited.done():
            awaited.set_result(None)
