"""One connection of the server: bytes become exchanges, one of which at a time is being answered.

Requests that are sent ahead wait parsed, and their handlers are called in turn: answers need no reordering, and a
request sees the effects of the one before it. Backlog, unread bodies and unread answers stop the reading.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import httptools

from lambent.http import wire
from lambent.http.body import BodyReader
from lambent.http.exchange import Exchange, Handler, Peer
from lambent.http.limits import Limits
from lambent.http.wire import Header

log = logging.getLogger(__name__)

READ_BYTES = 256 * 1024
"""More than an event loop reads at once."""
SLICE_BYTES = 8 * 1024
"""What arrives is read in slices of this size, or of a body as much as is left of it. Otherwise the smallest requests,
thousands in what an event loop reads at once, would all be held, and answered before anybody else is."""
TURN_REQUESTS = 64
"""With more requests than this read at a time, the next slice waits until everybody else has had a turn."""
SMALL_BODY_BYTES = 64 * 1024
"""Bodies up to this size are bounded by the number of connections, and not counted."""
UNSENT_BYTES = 64 * 1024
"""So much is not kept until the end of a turn."""
BACKLOG = 32
"""With this many requests waiting, reading stops."""
PROGRESS_BYTES = 16 * 1024
"""What must arrive of a body within `body_timeout_s`, unless it ends before."""
LINGER_S = 5.0
"""How long a refused peer may go on sending: closing at once could destroy the answer (RFC 9112 §9.6)."""

_METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")}
_READ_BY_THE_ENGINE = frozenset((b"host", b"connection", b"content-length", b"expect"))


class Refused(Exception):
    """The request cannot be served; the engine answers it itself and hangs up."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Room:
    """What larger bodies hold, those of all connections of a server together."""

    def __init__(self, size_bytes: int | None) -> None:
        self._size_bytes = size_bytes
        self._taken_bytes = 0

    def take(self, size: int) -> bool:
        """Take some, perhaps the last: whether there was enough left."""
        self._taken_bytes += size
        return self._size_bytes is None or self._taken_bytes <= self._size_bytes

    def give_back(self, size: int) -> None:
        self._taken_bytes -= size


class _Deaf:
    """Takes the parser's place when nothing that arrives is of interest any more."""

    def feed_data(self, data: bytes) -> None:
        pass


class Connection(asyncio.Protocol):
    """`on_lost` is called once, when the connection is gone."""

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        room: Room,
        streams: Callable[[Exchange], bool] | None,
        on_made: Callable[[Connection], None],
        on_lost: Callable[[Connection], None],
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._room = room
        self._streams = streams
        self._on_made = on_made
        self._on_lost = on_lost
        self.peer: Peer = None
        self._transport: asyncio.Transport
        self._parser: httptools.HttpRequestParser | _Deaf = httptools.HttpRequestParser(self)
        # The request being parsed: its head, then the exchange whose body arrives.
        self._in_head = False
        self._target = b""
        self._fields: list[Header] = []
        self._head_bytes = 0
        self._reading: Exchange | None = None
        self._chunks: list[bytes] = []
        self._body_bytes = 0
        self._body_length = 0
        self._counted_bytes = 0
        self._awaits_continue = False
        # What has arrived and waits for its turn to be parsed; meanwhile nothing more is read.
        self._unread = b""
        self._is_to_read_on = False
        # Those parsed: one being answered, others behind it, perhaps a refusal of what came last.
        self._active: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._is_advancing = False
        self._is_in_handler = False
        self._unsent = b""  # answers of this turn, or one that waits for the next answer
        self._is_to_send = False
        self._refusal: Refused | None = None
        # The connection as a whole.
        self._requests = 0
        self._is_draining = False
        self._is_closing = False
        self._is_paused = False
        self._writable: asyncio.Event | None = None

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self.peer = transport.get_extra_info("peername")
        self._on_made(self)

    def data_received(self, data: bytes) -> None:
        if not self._unread and (len(data) <= SLICE_BYTES or len(data) <= self._left_of_body()):
            self._feed(data)
        else:
            self._unread += data
            self._transport.pause_reading()
            self._read_slices()

    def _read_slices(self) -> None:
        requests = self._requests
        while self._unread and not self._is_paused and not self._is_to_read_on:
            size = max(SLICE_BYTES, self._left_of_body())
            piece, self._unread = self._unread[:size], self._unread[size:]
            self._feed(piece)
            if self._requests - requests > TURN_REQUESTS:
                self._read_on_later()
        if not self._unread and not self._is_paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def _left_of_body(self) -> int:
        return self._body_length - self._body_bytes if self._reading is not None else 0

    def _read_on_later(self) -> None:
        if not self._is_to_read_on:
            self._is_to_read_on = True
            self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        self._is_to_read_on = False
        self._read_slices()

    def _feed(self, data: bytes) -> None:
        requests = self._requests
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._read_on_without_upgrade(data[exc.args[0] :])
        except httptools.HttpParserCallbackError as exc:
            if not isinstance(exc.__context__, Refused):
                raise
            self._refuse(exc.__context__)
        except httptools.HttpParserError as exc:
            self._refuse(Refused(400, f"Malformed HTTP request: {exc}"))
        if self._unsent and self._active is None:
            self._write(b"")  # no request was sent ahead: nothing to wait for
        if self._in_head:
            is_continued = requests == self._requests
            self._head_bytes += len(data) if is_continued else _head_size(self._target, self._fields)
            if self._head_bytes > self._limits.head_bytes:
                self._refuse(_head_too_large(self._limits))

    def eof_received(self) -> None:
        """Half-closed is closed: otherwise nothing would tell a parked answer that its reader is gone."""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closing = True
        self._parser = _Deaf()  # the parser and its callbacks refer to each other
        self._unread = self._unsent = b""
        self._give_back(self._counted_bytes)
        self._waiting.clear()
        if self._writable is not None:
            self._writable.set()
        reading, self._reading = self._reading, None
        if reading is not None and reading.body_reader is not None:
            reading.body_reader.fail(ConnectionResetError("the peer went away before the end of its request"))
        active, self._active = self._active, None
        if active is not None:
            active.abandon()
        self._on_lost(self)

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
            self._writable = None
        self._advance()

    # The parser's side

    def on_url(self, url: bytes) -> None:
        if self._in_head:
            self._target += url
        else:
            self._in_head = True
            self._requests += 1
            self._target = url
            self._fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value.strip()))

    def on_headers_complete(self) -> None:
        parser, limits, fields = cast(httptools.HttpRequestParser, self._parser), self._limits, self._fields
        self._in_head = False
        if self._head_bytes + READ_BYTES > limits.head_bytes and _head_size(self._target, fields) > limits.head_bytes:
            raise _head_too_large(limits)
        self._head_bytes = 0
        method = _METHODS.get(parser.get_method())
        if method is None:
            raise Refused(501, "Method not implemented")
        if parser.should_upgrade():
            return  # the parser now takes this request for its last one: see _read_on_without_upgrade
        exchange = Exchange(self, method, self._target, fields)
        self._fields = exchange.trailers
        self._body_bytes = self._body_length = 0
        if self._streams is not None and self._streams(exchange):
            exchange.body_reader = BodyReader(exchange.trailers, self._make_room)
        self._obey_headers(exchange, parser)
        self._reading = exchange
        if exchange.body_reader is not None:
            self._enqueue(exchange)
        elif self._awaits_continue:
            self._invite_body()

    def on_body(self, data: bytes) -> None:
        self._awaits_continue = False
        self._body_bytes += len(data)
        exchange = self._reading
        if exchange is not None and exchange.body_reader is not None:
            exchange.body_reader.feed(data)
            if exchange.body_reader.is_full:
                self._pause_reading()
        elif self._body_bytes > self._limits.body_bytes:
            raise _body_too_large(self._limits)
        else:
            if self._body_bytes > SMALL_BODY_BYTES:
                was_small = self._body_bytes - len(data) <= SMALL_BODY_BYTES
                self._count(self._body_bytes if was_small else len(data))
            self._chunks.append(data)

    def _count(self, size: int) -> None:
        self._counted_bytes += size
        if not self._room.take(size):
            raise Refused(503, "No more can be held than is held already; try again later")

    def _give_back(self, size: int) -> None:
        self._counted_bytes -= size
        self._room.give_back(size)

    def on_message_complete(self) -> None:
        exchange = self._reading
        if exchange is None:
            return
        self._reading = None
        self._awaits_continue = False
        if exchange.body_reader is not None:
            exchange.body_reader.end()
        else:
            if self._chunks:
                exchange.body = b"".join(self._chunks)  # of one chunk, the chunk itself
                self._chunks = []
            self._enqueue(exchange)

    def _obey_headers(self, exchange: Exchange, parser: httptools.HttpRequestParser) -> None:
        hosts = 0
        is_persistent = exchange.is_persistent = parser.should_keep_alive()
        names_connection = False
        for name, value in exchange.headers:
            if name in _READ_BY_THE_ENGINE:
                if name == b"host":
                    hosts += 1
                elif name == b"connection":
                    names_connection = True
                elif name == b"content-length":
                    self._body_length = int(value)
                    if self._body_length > self._limits.body_bytes and exchange.body_reader is None:
                        raise _body_too_large(self._limits)
                elif value.lower() == b"100-continue":
                    self._awaits_continue = True
                else:
                    raise Refused(417, "The only expectation that is met is 100-continue")
        if hosts > 1:
            raise Refused(400, "A request has one Host header")
        if names_connection or not is_persistent:  # persistent without saying so is HTTP/1.1: no need to ask
            version = parser.get_http_version()
            if version == "1.0":
                exchange.is_version_1_0 = True
                self._awaits_continue = False
            elif version != "1.1":
                raise Refused(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here")

    def _read_on_without_upgrade(self, rest: bytes) -> None:
        """Replay the head without its wish for another protocol.

        A server may ignore that wish, but the parser cannot: it skips the body and stops. Java's HttpClient asks for
        h2c on every first request, with or without a body.
        """
        parser = cast(httptools.HttpRequestParser, self._parser)
        first_line = b"%b %b HTTP/%b\r\n" % (parser.get_method(), self._target, parser.get_http_version().encode())
        fields = [field for field in self._fields if field[0] != b"upgrade"]
        self._parser = httptools.HttpRequestParser(self)
        self._feed(wire.head(first_line, fields, b"") + rest)

    # Taking turns

    def _enqueue(self, exchange: Exchange) -> None:
        if self._active is None and not self._waiting and self._writable is None and not self._is_closing:
            self._begin(exchange)
        elif not self._is_closing:
            self._waiting.append(exchange)
            if self._backlog_is_full():
                self._pause_reading()

    def _begin(self, exchange: Exchange) -> None:
        self._active = exchange
        self._is_in_handler = True
        try:
            self._handler(exchange)
        except Exception:
            log.exception("http.handler_failed", extra={"path": exchange.path.decode("latin-1")})
            self._answer_for_failed_handler(exchange)
        self._is_in_handler = False

    def _advance(self) -> None:
        """Call the handlers of those waiting, as long as each answers at once; then whatever had to wait for that."""
        if self._is_advancing:
            return
        self._is_advancing = True
        while self._waiting and self._active is None and self._writable is None and not self._is_closing:
            self._begin(self._waiting.popleft())
        self._is_advancing = False
        if self._active is None and not self._waiting and not self._is_closing:
            if self._unsent:
                self._write(b"")
            if self._refusal is not None:
                self._send_refusal(self._refusal)
            elif self._awaits_continue:
                self._invite_body()
        if self._is_paused:
            self._resume_reading()

    def _answer_for_failed_handler(self, exchange: Exchange) -> None:
        if exchange.is_started and not exchange.is_answered:
            self.abort()
        elif not exchange.is_answered:
            exchange.respond(500, _JSON, _message("Internal server error"))

    def _backlog_is_full(self) -> bool:
        waiting = self._waiting
        return len(waiting) >= BACKLOG or (bool(waiting) and sum(len(each.body) for each in waiting) > READ_BYTES)

    def _pause_reading(self) -> None:
        if not self._is_paused and not self._is_closing:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        reader = self._reading.body_reader if self._reading is not None else None
        if self._is_paused and not self._backlog_is_full() and not (reader is not None and reader.is_full):
            self._is_paused = False
            if self._unread:
                self._read_on_later()
            else:
                self._transport.resume_reading()

    def _make_room(self) -> None:
        """Someone has read all there is of a body and waits for more."""
        self._resume_reading()
        exchange = self._reading
        if self._awaits_continue and exchange is self._active and exchange is not None and not exchange.is_started:
            self._awaits_continue = False
            self._write(wire.CONTINUE)

    def _invite_body(self) -> None:
        """Say 100 Continue, unless the answers before it are still to be written, or a reader will say when."""
        if self._active is None and not self._waiting and self._reading is not None and not self._reading.body_reader:
            self._awaits_continue = False
            self._write(wire.CONTINUE)

    # Answering

    def send_answer(
        self, exchange: Exchange, status: int, headers: Sequence[Header] | bytes, body: bytes, may_wait: bool
    ) -> None:
        carries_body = wire.has_body(status)
        framing = b"content-length: %d\r\n" % len(body) if carries_body else b""
        head = wire.head(wire.status_line(status), headers, framing + self._last_lines(exchange))
        exchange.is_answered = True
        if not carries_body or exchange.method == "HEAD":
            self._write(head)
        elif len(body) > wire.JOINED_BYTES:
            self._write_all((head, body))
        elif may_wait and self._is_in_handler and exchange.is_persistent:
            self._unsent += head + body
        else:
            self._write(head + body)
        self._settle(exchange)

    def send_head(self, exchange: Exchange, status: int, headers: Sequence[Header], length: int | None) -> None:
        carries_body = wire.has_body(status)
        exchange.has_length = length is not None
        framing = b""
        if carries_body and length is not None:
            framing = b"content-length: %d\r\n" % length
        elif carries_body and exchange.is_version_1_0:
            exchange.is_persistent = False  # without chunks, the end of the connection is the end of the body
        elif carries_body:
            framing = b"transfer-encoding: chunked\r\n"
        head = wire.head(wire.status_line(status), headers, framing + self._last_lines(exchange))
        exchange.is_started = True
        exchange.sends_body = carries_body and exchange.method != "HEAD"
        self._write(head)

    def send_chunk(self, exchange: Exchange, data: bytes) -> None:
        if exchange.sends_body:
            self._write_all(wire.chunk(data) if _is_chunked(exchange) else (data,))

    def send_end(self, exchange: Exchange, trailers: Sequence[Header]) -> None:
        end = wire.trailers(trailers)
        exchange.is_answered = True
        if exchange.sends_body and _is_chunked(exchange):
            self._write(end)
        self._settle(exchange)

    async def flushed(self) -> None:
        if self._writable is not None:
            await self._writable.wait()

    def _last_lines(self, exchange: Exchange) -> bytes:
        """What the answer says about the connection's future, which is decided here; and the date."""
        if self._is_draining and not self._waiting:
            exchange.is_persistent = False
        if self._awaits_continue and exchange is self._reading:
            exchange.is_persistent = False  # nobody can tell whether the body that was not invited will come
        if not exchange.is_persistent:
            return b"connection: close\r\n" + wire.date_line()
        if exchange.is_version_1_0:
            return b"connection: keep-alive\r\n" + wire.date_line()
        return wire.date_line()

    def _write(self, data: bytes) -> None:
        """Send it at the end of this turn, when all that has arrived is read.

        Whoever is woken by an answer takes the CPU, and what its caches hold, from the requests that still wait here.
        """
        self._unsent += data
        if len(self._unsent) > UNSENT_BYTES:
            self._send()
        elif not self._is_to_send and not self._is_closing:
            self._is_to_send = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._is_to_send = False
        if self._unsent and not self._is_closing:
            unsent, self._unsent = self._unsent, b""
            self._transport.write(unsent)

    def _write_all(self, parts: Sequence[bytes]) -> None:
        self._send()
        if not self._is_closing:
            self._transport.writelines(parts)

    def _settle(self, exchange: Exchange) -> None:
        """The answer is written: on with the next, or with the end."""
        self._active = None
        if self._counted_bytes:
            self._give_back(_counted(exchange))
        if exchange is self._reading and exchange.body_reader is not None:
            exchange.body_reader.discard()
        if not exchange.is_persistent:
            self._hang_up()
        elif self._waiting or self._refusal is not None or self._awaits_continue or self._is_paused:
            self._advance()

    def _refuse(self, refused: Refused) -> None:
        """Hear no more of this peer; tell it why once all before is answered."""
        if self._is_closing:
            return
        self._parser = _Deaf()
        self._unread = b""
        self._in_head = self._awaits_continue = False
        self._chunks = []
        self._give_back(self._counted_bytes - sum(map(_counted, (self._active, *self._waiting))))
        reading, self._reading = self._reading, None
        last = self._waiting[-1] if self._waiting else self._active
        if reading is None and last is not None and not last.is_persistent:
            return  # it had said that this was its last request: what follows is nothing
        if reading is not None and reading.body_reader is not None:
            reading.body_reader.fail(ConnectionAbortedError(refused.message))
            if reading is not last:
                pass  # answered before its body ended
            elif reading is not self._active:
                self._waiting.pop()
            elif reading.is_started:
                self.abort()
                return
            else:
                self._active = None
                reading.abandon()
        self._refusal = refused
        self._advance()

    def _send_refusal(self, refused: Refused) -> None:
        body = _message(refused.message)
        framing = b"content-length: %d\r\nconnection: close\r\n" % len(body) + wire.date_line()
        self._write(wire.head(wire.status_line(refused.status), _JSON, framing) + body)
        self._linger()

    # The end

    def _hang_up(self) -> None:
        if self._is_closing:
            return
        if self._reading is not None:
            self._linger()
        else:
            self._send()
            self._is_closing = True
            self._transport.close()

    def _linger(self) -> None:
        self._send()
        self._is_closing = True
        self._parser = _Deaf()
        self._unread = b""
        self._reading = None
        self._waiting.clear()
        self._is_paused = False
        self._transport.resume_reading()
        self._transport.write_eof()

    def abort(self) -> None:
        self._is_closing = True
        self._transport.abort()

    def drain(self) -> None:
        """Close once everything received is answered: at once where that is nothing."""
        self._is_draining = True
        if self._active is None and not self._waiting and self._reading is None and not self._in_head:
            self._hang_up()

    # Time: the server's sweep asks now and then, so that no request pays for a timer

    def patience(self) -> tuple[float | None, tuple[str, int, int]]:
        """How long this peer may let us wait for what is due now, and a mark that changes when it comes."""
        limits, requests = self._limits, self._requests
        unsent = self._transport.get_write_buffer_size()
        if unsent:
            return limits.body_timeout_s, ("reading its answer", requests, unsent)
        if self._is_closing:
            return LINGER_S, ("going away", requests, 0)
        if self._reading is not None:
            is_our_turn = self._is_paused or self._awaits_continue
            return None if is_our_turn else limits.body_timeout_s, (
                "body",
                requests,
                self._body_bytes // PROGRESS_BYTES,
            )
        if self._active is not None or self._waiting:
            return None, ("answer", requests, 0)
        if self._in_head or requests == 0:
            return limits.head_timeout_s, ("head", requests, 0)
        return limits.idle_timeout_s, ("next request", requests, 0)

    def lose_patience(self) -> None:
        if self._is_closing or self._transport.get_write_buffer_size():
            self.abort()
        elif self._in_head or self._reading is not None:
            self._refuse(Refused(408, "The request did not arrive in time"))
        else:
            self._hang_up()


def _counted(exchange: Exchange | None) -> int:
    """What an exchange that was read to its end holds of the server's room."""
    if exchange is None or exchange.body_reader is not None or len(exchange.body) <= SMALL_BODY_BYTES:
        return 0
    return len(exchange.body)


def _is_chunked(exchange: Exchange) -> bool:
    return not exchange.is_version_1_0 and not exchange.has_length


_JSON: Sequence[Header] = ((b"content-type", b"application/json"),)


def _message(text: str) -> bytes:
    return json.dumps({"message": text}).encode()


def _head_size(target: bytes, fields: Sequence[Header]) -> int:
    return len(target) + sum(len(name) + len(value) + 4 for name, value in fields)


def _head_too_large(limits: Limits) -> Refused:
    return Refused(431, f"Request line and headers exceed {limits.head_bytes} bytes")


def _body_too_large(limits: Limits) -> Refused:
    return Refused(413, f"Request body exceeds {limits.body_bytes} bytes")
