"""One request and the means to answer it, now or any time later. The wire and the order of answers: `connection`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from lambent.http.body import BodyReader
from lambent.http.wire import Header, origin_form

log = logging.getLogger(__name__)

Peer = tuple[str, int] | str | None
"""Address and port, a Unix socket's path (often empty), or None where the kernel tells neither."""

Handler = Callable[["Exchange"], None]
"""Called in the event loop, once per request."""


class Answering(Protocol):
    """What an exchange needs of its connection."""

    peer: Peer

    def send_answer(
        self, exchange: Exchange, status: int, headers: Sequence[Header] | bytes, body: bytes, may_wait: bool
    ) -> None: ...
    def send_head(self, exchange: Exchange, status: int, headers: Sequence[Header], length: int | None) -> None: ...
    def send_chunk(self, exchange: Exchange, data: bytes) -> None: ...
    def send_end(self, exchange: Exchange, trailers: Sequence[Header]) -> None: ...
    async def flushed(self) -> None: ...
    def abort(self) -> None: ...


class Exchange:
    """`headers` have lower-case names; `body` is whole, unless the route streams: then it comes by `body_reader`.

    The engine writes `content-length`, `transfer-encoding` and `connection` itself: handlers leave them out.
    """

    __slots__ = (
        "_callbacks",
        "_connection",
        "body",
        "body_reader",
        "closed",
        "has_length",
        "headers",
        "is_answered",
        "is_persistent",
        "is_started",
        "is_version_1_0",
        "method",
        "path",
        "query",
        "sends_body",
        "target",
        "trailers",
    )

    def __init__(self, connection: Answering, method: str, target: bytes, headers: list[Header]) -> None:
        self._connection = connection
        self.method = method
        self.target = target
        self.path, _, self.query = origin_form(target).partition(b"?")
        self.headers = headers
        self.body = b""
        self.trailers: list[Header] = []
        self.body_reader: BodyReader | None = None
        self.closed = False
        """The peer went away before the answer was complete; answering still is harmless."""
        self.is_answered = False
        self.is_started = False
        self.sends_body = False
        self.has_length = False
        self.is_persistent = True
        self.is_version_1_0 = False
        self._callbacks: list[Callable[[], None]] | None = None

    @property
    def peer(self) -> Peer:
        return self._connection.peer

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; `name` in lower case."""
        for found, value in self.headers:
            if found == name:
                return value
        return None

    def respond(
        self, status: int, headers: Sequence[Header] | bytes = (), body: bytes = b"", *, may_wait: bool = False
    ) -> None:
        """Answer, exactly once; without effect when the peer has gone. Headers may be whole lines: see `wire.head`.

        With `may_wait` it travels together with the next answer, if the peer has sent its next request ahead.

        Raises:
            RuntimeError: there is an answer already.
            ValueError: the status has not three digits, or a header holds a line break; nothing was sent.
        """
        self._refuse_second_answer()
        if self.closed:
            self.is_answered = True
        else:
            self._connection.send_answer(self, status, headers, body, may_wait)

    def start(self, status: int, headers: Sequence[Header] = (), *, length: int | None = None) -> BodyWriter:
        """Begin an answer whose body follows in pieces. Raises like `respond`.

        With a `length` exactly that many bytes must follow, unless the answer is to HEAD; without, it goes in chunks.
        """
        self._refuse_second_answer()
        if self.closed:
            self.is_started = True
        else:
            self._connection.send_head(self, status, headers, length)
        return BodyWriter(self, self._connection)

    def _refuse_second_answer(self) -> None:
        if self.is_answered or self.is_started:
            raise RuntimeError(f"{self.method} {self.path.decode('latin-1')} has been answered already")

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call back when the peer goes away before the answer is complete; at once if it has."""
        if self.closed:
            callback()
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    def abandon(self) -> None:
        """The connection's word that no answer can reach the peer any more."""
        self.closed = True
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            try:
                callback()
            except Exception:
                log.exception("http.close_callback_failed", extra={"path": self.path.decode("latin-1")})


class BodyWriter:
    """The body of an answer, sent piece by piece; to be ended by `close` or `abort`. For one task."""

    __slots__ = ("_connection", "_exchange")

    def __init__(self, exchange: Exchange, connection: Answering) -> None:
        self._exchange = exchange
        self._connection = connection

    async def write(self, data: bytes) -> None:
        """Send one piece and return once the peer has taken enough of what came before.

        Raises:
            ConnectionError: the peer has gone.
            RuntimeError: the body has ended.
        """
        self._check_open()
        if data:
            self._connection.send_chunk(self._exchange, data)
        await self._connection.flushed()
        self._check_open()

    async def close(self, trailers: Sequence[Header] = ()) -> None:
        """End the body; no error if the peer has gone. Trailers reach only those who speak HTTP/1.1."""
        if self._exchange.closed:
            self._exchange.is_answered = True
        elif not self._exchange.is_answered:
            self._connection.send_end(self._exchange, trailers)
        await self._connection.flushed()

    def abort(self) -> None:
        """Cut the connection, so that the peer does not take what it got for the whole."""
        if not self._exchange.is_answered:
            self._exchange.is_answered = True
            self._connection.abort()

    def _check_open(self) -> None:
        if self._exchange.closed:
            raise ConnectionResetError("the peer went away before the end of its answer")
        if self._exchange.is_answered:
            raise RuntimeError("the body has been ended")
