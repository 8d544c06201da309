"""One request and the means to answer it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

from lambent.http.body import BodyReader, BodyWriter

Headers = Sequence[tuple[bytes, bytes]]

_ONE_WRITE_BYTES = 64 * 1024
"""A body up to this size is copied behind its head: one buffer is cheaper to send than two."""

STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode("ascii")) for status in HTTPStatus
}
_BODILESS = frozenset((204, 304))


class Peer(Protocol):
    """The connection below an exchange."""

    def send(self, data: bytes) -> None: ...

    def send_later(self, data: bytes) -> None: ...

    def send_all(self, parts: Sequence[bytes]) -> None: ...

    async def can_send(self) -> None: ...

    def answered(self) -> None: ...

    def abort(self) -> None: ...


class Exchange:
    """Header names are lower-case bytes. `body` is whole, unless the server was told to stream it to `body_reader`.

    Exactly one of `respond` and `start` answers it, at once or at any time later.
    """

    __slots__ = (
        "_is_answered",
        "_listeners",
        "_peer",
        "body",
        "body_reader",
        "closed",
        "headers",
        "http_version",
        "keeps_alive",
        "method",
        "path",
        "query",
        "target",
    )

    def __init__(
        self,
        peer: Peer,
        method: str,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        http_version: str,
        body_reader: BodyReader | None = None,
    ) -> None:
        self._peer = peer
        self._is_answered = False
        self._listeners: list[Callable[[], None]] | None = None
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition(b"?")
        self.headers = headers
        self.http_version = http_version
        self.body = b""
        self.body_reader = body_reader
        self.closed = False
        self.keeps_alive = True

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, by its lower-case name."""
        for found, value in self.headers:
            if found == name:
                return value
        return None

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call back if the peer goes away before it was answered."""
        if self._listeners is None:
            self._listeners = []
        self._listeners.append(callback)

    def respond(self, status: int, headers: Headers = (), body: bytes = b"", *, may_wait: bool = False) -> None:
        """Send the whole answer. A peer that has gone away is answered into the void.

        With `may_wait` it travels together with the next answer, if the peer has sent its next request ahead.

        Raises:
            RuntimeError: it was answered already.
            ValueError: a header holds a line break, which would let its author write the rest of the answer.
        """
        self._answer_once()
        if self.closed:
            return
        head = self._head(status, headers, None if status in _BODILESS else len(body))
        if self.method == "HEAD" or not body or status in _BODILESS:
            self._peer.send(head)
        elif may_wait and len(body) <= _ONE_WRITE_BYTES:
            self._peer.send_later(head + body)
        elif len(body) <= _ONE_WRITE_BYTES:
            self._peer.send(head + body)
        else:
            self._peer.send_all((head, body))
        self._peer.answered()

    def start(self, status: int, headers: Headers = ()) -> BodyWriter:
        """Send the head of a streamed answer; its body goes through the writer, which must be closed or aborted."""
        self._answer_once()
        is_chunked = self.http_version != "1.0"
        if not is_chunked:
            self.keeps_alive = False  # the end of the connection is the end of the body
        if not self.closed:
            coding = ((b"transfer-encoding", b"chunked"),) if is_chunked else ()
            self._peer.send(self._head(status, (*headers, *coding), None))
        return BodyWriter(self._peer, is_chunked=is_chunked, is_silent=self.method == "HEAD")

    def lost(self) -> None:
        """The peer went away; called by the connection."""
        self.closed = True
        if self.body_reader is not None:
            self.body_reader.fail(ConnectionResetError("the peer went away"))
        if not self._is_answered:
            for callback in self._listeners or ():
                callback()

    @property
    def is_answered(self) -> bool:
        return self._is_answered

    def _answer_once(self) -> None:
        if self._is_answered:
            raise RuntimeError(f"{self.method} {self.target!r} was answered already")
        self._is_answered = True

    def _head(self, status: int, headers: Headers, length: int | None) -> bytes:
        parts = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        for name, value in headers:
            if b"\n" in value or b"\r" in value:
                raise ValueError(f"the value of {name!r} holds a line break: {value!r}")
            parts.append(b"%s: %s\r\n" % (name, value))
        if length is not None:
            parts.append(b"content-length: %d\r\n" % length)
        if not self.keeps_alive:
            parts.append(b"connection: close\r\n")
        elif self.http_version == "1.0":
            parts.append(b"connection: keep-alive\r\n")
        parts.append(_date_line())
        return b"".join(parts)


_date: tuple[int, bytes] = (0, b"")


def _date_line() -> bytes:
    """The Date header and the end of the head, made once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, b"date: %s\r\n\r\n" % formatdate(now, usegmt=True).encode("ascii"))
    return _date[1]
