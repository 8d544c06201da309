"""One connection of the server: bytes in, exchanges out one after the other, answers back in the same order.

No task runs per connection or per request: the parser calls, the handler is called, the answer is written. A request
that arrives while its predecessor is unanswered waits in line, and when the line is long the peer waits too.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Protocol, cast

import httptools

from lambent.http.body import BodyReader
from lambent.http.exchange import Exchange
from lambent.http.limits import Limits

log = logging.getLogger(__name__)

Handler = Callable[[Exchange], None]
Streams = Callable[[str, bytes], bool]

_LINE_MAXIMUM = 16
"""Requests that may wait behind an unanswered one."""


class Registry(Protocol):
    """The server, as its connections know it."""

    handler: Handler
    limits: Limits
    streams: Streams | None
    is_draining: bool

    def opened(self, connection: Connection) -> None: ...

    def closed(self, connection: Connection) -> None: ...


class Phase(Enum):
    """What a connection waits for; each has its own timeout."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()


class Connection(asyncio.Protocol):
    def __init__(self, server: Registry) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._current: Exchange | None = None
        self._line: deque[Exchange] = deque()
        self._incoming: Exchange | None = None
        self._chunks: list[bytes] = []
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_size = 0
        self._body_size = 0
        self._refusal: tuple[int, bytes] | None = None
        self._is_paused = False
        self._writable: asyncio.Event | None = None
        self._held = b""
        """An answer that waits for the next one."""
        self._is_over = False
        """Nothing that the peer sends from here on is read."""
        self.phase = Phase.IDLE
        self.since_s = self._loop.time()

    # The transport calls --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        if self.phase is Phase.IDLE:
            self._enter(Phase.HEAD)
        elif self.phase is Phase.BODY:
            self.since_s = self._loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._is_over = True  # we speak nothing else: what follows is not read
        except httptools.HttpParserError as exc:
            self._refuse(*(self._refusal or (400, f"malformed request: {exc}".encode())))
            return
        if self.phase is Phase.HEAD:
            self._head_size += len(data)  # an endless head gives the parser nothing to call back for
            if self._head_size > 2 * self._server.limits.head_bytes:
                self._refuse(431, b"request line and headers are too large")
        self._refuse_if_asked()
        if self._held and self._current is None:  # no request was sent ahead: nothing to wait for
            self.send(b"")

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        lost = [exchange for exchange in (self._current, *self._line, self._incoming) if exchange is not None]
        self._current = self._incoming = None
        self._line.clear()
        if self._writable is not None:
            self._writable.set()
        self._server.closed(self)
        for exchange in dict.fromkeys(lost):
            exchange.lost()

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    # The parser calls -------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._target, self._headers, self._chunks = b"", [], []
        self._head_size = self._body_size = 0

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        incoming = self._incoming
        if incoming is not None and incoming.body_reader is not None:
            incoming.body_reader.trailers.append((name.lower(), value))
            return
        self._headers.append((name.lower(), value))
        self._count_head(len(name) + len(value) + 4)

    def on_headers_complete(self) -> None:
        method = self._parser.get_method().decode("ascii")
        path = self._target.partition(b"?")[0]
        streams = self._server.streams
        reader = None
        if streams is not None and streams(method, path):
            reader = BodyReader(self._pause, self._resume)
        version = self._parser.get_http_version()
        exchange = self._incoming = Exchange(self, method, self._target, self._headers, version, reader)
        if not self._parser.should_keep_alive():
            exchange.keeps_alive = False
        length = exchange.header(b"content-length")
        if length is not None and reader is None and int(length) > self._server.limits.body_bytes:
            self._refusal = (413, b"request body is too large")
            return
        self._enter(Phase.BODY)
        if (
            (exchange.header(b"expect") or b"").lower() == b"100-continue"
            and self._transport is not None
            and self._current is None
        ):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if reader is not None:
            self._queue(exchange)

    def on_body(self, body: bytes) -> None:
        incoming = self._incoming
        if incoming is None or self._refusal is not None:
            return
        if incoming.body_reader is not None:
            incoming.body_reader.feed(body)
            return
        self._body_size += len(body)
        if self._body_size > self._server.limits.body_bytes:
            self._refusal = (413, b"request body is too large")
            return
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        exchange, self._incoming = self._incoming, None
        if exchange is None or self._refusal is not None or self._is_over:
            return
        self._is_over = not exchange.keeps_alive
        self._enter(Phase.IDLE if exchange.is_answered and not self._line else Phase.ANSWER)
        if exchange.body_reader is not None:
            exchange.body_reader.end()
            if exchange.is_answered:
                self._next()
            return
        chunks = self._chunks
        exchange.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks = []
        self._queue(exchange)

    def _count_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > self._server.limits.head_bytes:
            self._refusal = (431, b"request line and headers are too large")

    # One exchange after the other -------------------------------------------------------------------------------------

    def _queue(self, exchange: Exchange) -> None:
        if self._current is None:
            self._begin(exchange)
            return
        self._line.append(exchange)
        if len(self._line) >= _LINE_MAXIMUM:
            self._pause()

    def _begin(self, exchange: Exchange) -> None:
        self._current = exchange
        try:
            self._server.handler(exchange)
        except Exception:
            log.exception("http.handler_failed", extra={"method": exchange.method, "target": exchange.target})
            if exchange.is_answered:
                self.abort()
            else:
                exchange.respond(500, ((b"content-type", b"application/json"),), b'{"message":"internal error"}')

    def answered(self) -> None:
        """The current exchange has its whole answer: on to the next one, or to the end."""
        current = self._current
        is_read = current is None or self._incoming is not current
        is_last = current is not None and not current.keeps_alive
        if is_last or not is_read or (self._server.is_draining and not self._line):
            # An answer before the end of a streamed body: what is left of it could not be told from a request.
            self.close()
            return
        self._next()

    def _next(self) -> None:
        self._current = None
        if self._line:
            exchange = self._line.popleft()
            self._resume()
            self._begin(exchange)
        elif self._incoming is None:
            self._enter(Phase.IDLE)

    def _refuse(self, status: int, message: bytes) -> None:
        """Answer what cannot be understood or accepted, and hang up. Earlier answers still pending are lost with it."""
        self._is_over = True
        if self._transport is None or self._transport.is_closing():
            return
        if self._current is None:
            exchange = self._current = Exchange(self, "GET", b"", [], "1.1")
            exchange.keeps_alive = False
            message = message.replace(b"\\", b"").replace(b'"', b"'")
            exchange.respond(status, ((b"content-type", b"application/json"),), b'{"message":"%s"}' % message)
        else:
            self.close()

    def _refuse_if_asked(self) -> None:
        if self._refusal is not None:
            self._refuse(*self._refusal)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.since_s = self._loop.time()

    # What exchanges and the server call -------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        return self._current is not None or self._incoming is not None

    def send(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        if self._transport is not None:
            self._transport.write(data)

    def send_all(self, parts: Sequence[bytes]) -> None:
        if self._held:
            self.send(b"")
        if self._transport is not None:
            self._transport.writelines(parts)

    def send_later(self, data: bytes) -> None:
        """Hold an answer given while requests are parsed, until the next one goes out or none was sent ahead."""
        self._held += data

    async def can_send(self) -> None:
        """Return when the peer has taken enough; raises ConnectionResetError when it is gone."""
        if self._writable is not None:
            await self._writable.wait()
        if self._transport is None:
            raise ConnectionResetError("the peer went away")

    def end_soon(self) -> None:
        """Hang up now if nothing is in flight, else with the answer to it."""
        if not self.is_busy:
            self.close()
        elif self._current is not None and not self._line:
            self._current.keeps_alive = False

    def time_out(self) -> None:
        """Too slow: a peer in the middle of a request is told so."""
        if self.phase in (Phase.HEAD, Phase.BODY) and self._current is None:
            self._refuse(408, b"the request took too long to arrive")
        else:
            self.abort()

    def close(self) -> None:
        """Hang up once all that was written is sent."""
        if self._held:
            self.send(b"")
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _pause(self) -> None:
        if not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
