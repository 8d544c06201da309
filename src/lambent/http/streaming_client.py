"""The client for bodies of any size: one origin, http or https, each body passed on while it arrives.

Connections are kept for a moment between requests, and carry one request at a time.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

import httptools

from lambent.http import wire
from lambent.http.body import BodyReader
from lambent.http.client import ConnectionLost
from lambent.http.wire import Header

IDLE_S = 4.0
"""Less than servers usually keep an idle connection, so that a request seldom meets one that is being closed."""
CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries; without a `length` it goes in chunks."""

    pieces: AsyncIterator[bytes]
    length: int | None


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """Header names are lower-case; those about framing and the connection are among them."""

    status: int
    headers: Sequence[Header]
    body: BodyReader


class StreamingClient:
    """Speaks to the origin of `url`; `path` is the path of that URL, for whoever wants to put it before its targets."""

    def __init__(self, url: str, *, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self.path = parts.path.rstrip("/").encode()
        self._host = parts.hostname or ""
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._idle: list[_Link] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        while self._idle:
            self._idle.pop().abort()

    @asynccontextmanager
    async def stream(
        self, method: str, target: bytes, headers: Sequence[Header], body: Body | None = None
    ) -> AsyncIterator[StreamedAnswer]:
        """One request; entered when the head of its answer is there. `headers` hold everything but the framing.

        A request without a body is sent once more if a kept connection turns out to be closed; others never are.

        Raises:
            ConnectionLost: the server hung up, or speaks no HTTP; also while the answer's body is read.
            OSError: it cannot be reached, or `body` has failed.
        """
        link, answer, sending = await self._send(method, target, headers, body)
        try:
            yield answer
        finally:
            is_sent = sending.done() and not sending.cancelled() and sending.exception() is None
            if is_sent and link.is_reusable:
                self._keep(link)
            else:
                link.abort()
                await _end(sending)

    async def _send(
        self, method: str, target: bytes, headers: Sequence[Header], body: Body | None
    ) -> tuple[_Link, StreamedAnswer, asyncio.Task[None]]:
        link = self._kept()
        if link is not None:
            try:
                return link, *await _exchange(link, method, target, headers, body)
            except ConnectionLost:
                if body is not None:
                    raise
        link = await self._connect()
        return link, *await _exchange(link, method, target, headers, body)

    async def _connect(self) -> _Link:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, link = await loop.create_connection(_Link, self._host, self._port, ssl=self._tls)
        return link

    def _kept(self) -> _Link | None:
        earliest = asyncio.get_running_loop().time() - IDLE_S
        while self._idle:
            link = self._idle.pop()
            if link.is_reusable and link.idle_since > earliest:
                return link
            link.abort()
        return None

    def _keep(self, link: _Link) -> None:
        link.idle_since = asyncio.get_running_loop().time()
        for old in self._idle:
            if old.idle_since <= link.idle_since - IDLE_S:
                old.abort()
        self._idle = [kept for kept in self._idle if kept.is_reusable]
        self._idle.append(link)


async def _exchange(
    link: _Link, method: str, target: bytes, headers: Sequence[Header], body: Body | None
) -> tuple[StreamedAnswer, asyncio.Task[None]]:
    """Send a request until its answer begins; what is left of its body goes on in the task."""
    answered = link.begin(method)
    sending = asyncio.get_running_loop().create_task(_send_request(link, method, target, headers, body))
    try:
        await asyncio.wait((answered, sending), return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            await sending  # raises, if that is why it is over
        return await answered, sending
    except BaseException:
        link.abort()
        await _end(sending)
        raise


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel the task and wait for its end, whatever that is."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()


async def _send_request(link: _Link, method: str, target: bytes, headers: Sequence[Header], body: Body | None) -> None:
    framing = b""
    if body is not None:
        is_chunked = body.length is None
        framing = b"transfer-encoding: chunked\r\n" if is_chunked else b"content-length: %d\r\n" % (body.length or 0)
    link.write((wire.head(b"%b %b HTTP/1.1\r\n" % (method.encode(), target), headers, framing),))
    if body is None:
        return
    async for piece in body.pieces:
        link.write(wire.chunk(piece) if is_chunked else (piece,))
        await link.flushed()
    if is_chunked:
        link.write((wire.LAST_CHUNK, wire.END))


class _Link(asyncio.Protocol):
    """One connection: parses answers, and stops reading while nobody takes what has arrived."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self._transport: asyncio.Transport
        self._parser: httptools.HttpResponseParser | None = None
        self._method = ""
        self._answered: asyncio.Future[StreamedAnswer] | None = None
        self._fields: list[Header] = []
        self._body: BodyReader | None = None
        self._ends_with_connection = False
        self._is_complete = True
        self._is_persistent = True
        self._is_closed = False
        self._is_paused = False
        self._writable: asyncio.Event | None = None

    @property
    def is_reusable(self) -> bool:
        return self._is_complete and self._is_persistent and not self._is_closed and not self._transport.is_closing()

    def begin(self, method: str) -> asyncio.Future[StreamedAnswer]:
        """Expect the answer to one request."""
        self._parser = httptools.HttpResponseParser(self)
        self._method = method
        self._fields, self._body = [], None
        self._is_complete = False
        self._answered = asyncio.get_running_loop().create_future()
        return self._answered

    def write(self, parts: Sequence[bytes]) -> None:
        if self._is_closed:
            raise ConnectionLost("the server hung up")
        self._transport.writelines(parts)

    async def flushed(self) -> None:
        if self._writable is not None:
            await self._writable.wait()

    def abort(self) -> None:
        self._transport.abort()

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self.abort()  # nothing was asked
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(ConnectionLost("the server changed to another protocol"))
        except httptools.HttpParserError as exc:
            self._fail(ConnectionLost(f"the server answered with something that is not HTTP: {exc}"))
        if self._is_complete:
            self._parser = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closed = True
        if self._writable is not None:
            self._writable.set()
        if self._body is not None and self._ends_with_connection and exc is None:
            self._body.end()
        self._fail(ConnectionLost("the server hung up"))
        self._parser = None  # it refers back to us

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    # The parser's side

    def on_message_begin(self) -> None:
        self._fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        status = parser.get_status_code()
        if status < 200 or self._body is not None or self._answered is None:
            return
        headers, self._fields = self._fields, []
        self._body = BodyReader(self._fields, self._resume_reading)
        self._is_persistent = parser.should_keep_alive()
        named = {name for name, _ in headers}
        self._ends_with_connection = not named & {b"content-length", b"transfer-encoding"}
        if not self._answered.done():
            self._answered.set_result(StreamedAnswer(status, headers, self._body))
        if self._method == "HEAD":  # the parser waits for a body that will not come
            self._complete()

    def on_body(self, data: bytes) -> None:
        if self._body is not None and not self._is_complete:
            self._body.feed(data)
            if self._body.is_full and not self._is_paused:
                self._is_paused = True
                self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._body is not None and not self._is_complete:
            self._complete()

    def _complete(self) -> None:
        assert self._body is not None
        self._is_complete = True
        self._body.end()

    def _resume_reading(self) -> None:
        if self._is_paused and not self._is_closed:
            self._is_paused = False
            self._transport.resume_reading()

    def _fail(self, error: ConnectionLost) -> None:
        if self._body is not None:
            self._body.fail(error)
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)
            self._answered.exception()  # whoever still waits is told; nobody has to
        if not self._is_closed:
            self.abort()
