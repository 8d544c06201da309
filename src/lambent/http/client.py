"""The client for hot hops: keep-alive connections to one server, each carrying one request at a time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, cast

import httptools

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """Header names are lower-case."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        return next((value for found, value in self.headers if found == name), None)


class ConnectionLost(ConnectionError):
    """The server hung up before its answer was whole; whether it has acted is unknown."""


@dataclass(slots=True)
class _Wire(asyncio.Protocol):
    """One connection: parses answers for whoever waits."""

    limit_bytes: int | None = None
    waiter: asyncio.Future[Answer] | None = None
    transport: asyncio.Transport | None = None
    is_reusable: bool = True
    _parser: httptools.HttpResponseParser = field(init=False)
    _headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    _chunks: list[bytes] = field(default_factory=list)
    _received_bytes: int = 0
    _ends_with_connection: bool = False
    """The answer being read says no length: it is whole when the server hangs up."""

    def __post_init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received_bytes += len(data)
        if self.limit_bytes is not None and self._received_bytes > self.limit_bytes:
            self._fail(ConnectionLost(f"the server's answer is longer than {self.limit_bytes} bytes"))
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._fail(ConnectionLost(f"the server answered with something that is not HTTP: {exc}"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._ends_with_connection and exc is None:
            self.on_message_complete()
        self.is_reusable = False
        self._fail(ConnectionLost("the server hung up"))

    def on_message_begin(self) -> None:
        self._headers, self._chunks = [], []
        self._ends_with_connection = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        told = (b"content-length", b"transfer-encoding")
        self._ends_with_connection = not any(name in told for name, _ in self._headers)

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        self._received_bytes, self._ends_with_connection = 0, False
        status = self._parser.get_status_code()
        if status == 100:
            return
        self.is_reusable = self._parser.should_keep_alive()
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            chunks = self._chunks
            waiter.set_result(Answer(status, self._headers, chunks[0] if len(chunks) == 1 else b"".join(chunks)))

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _fail(self, error: ConnectionLost) -> None:
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)


class Client:
    """Speaks to one server, by TCP or by a Unix socket `path`; at most `connections` requests are under way at once.

    `connect` makes its connections in its place, where the server cannot be reached from here by an address. An answer
    longer than `answer_bytes`, head included, is a lost connection: for servers that are not to be trusted.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 80,
        *,
        path: str | None = None,
        connections: int = 64,
        connect: Callable[[], Awaitable[socket.socket]] | None = None,
        answer_bytes: int | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._path = path
        self._connect = connect
        self._answer_bytes = answer_bytes
        self._idle: list[_Wire] = []
        self._slots = asyncio.Semaphore(connections)
        self._authority = f"{host}:{port}".encode("ascii")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        while self._idle:
            self._idle.pop().close()

    async def request(self, method: str, target: str, headers: Headers = (), body: bytes = b"") -> Answer:
        """One request, one answer; the deadline is the caller's (`asyncio.timeout`). Never retries.

        Raises:
            ConnectionLost: the server hung up.
            OSError: it cannot be reached.
        """
        async with self._slots:
            wire = await self._wire()
            try:
                answer = await self._exchange(wire, method, target, headers, body)
            except BaseException:
                wire.close()  # an answer that nobody waits for must not meet the next request
                raise
            if wire.is_reusable and wire.transport is not None:
                self._idle.append(wire)
            return answer

    async def _wire(self) -> _Wire:
        while self._idle:
            wire = self._idle.pop()
            if wire.transport is not None and not wire.transport.is_closing():
                return wire
        loop = asyncio.get_running_loop()
        if self._connect is not None:
            return (await loop.create_connection(self._make_wire, sock=await self._connect()))[1]
        if self._path is not None:
            return (await loop.create_unix_connection(self._make_wire, self._path))[1]
        return (await loop.create_connection(self._make_wire, self._host, self._port))[1]

    def _make_wire(self) -> _Wire:
        return _Wire(self._answer_bytes)

    async def _exchange(self, wire: _Wire, method: str, target: str, headers: Headers, body: bytes) -> Answer:
        assert wire.transport is not None
        wire.waiter = asyncio.get_running_loop().create_future()
        parts = [f"{method} {target} HTTP/1.1\r\n".encode("ascii")]
        if not any(name == b"host" for name, _ in headers):
            parts.append(b"host: %s\r\n" % self._authority)
        parts.extend(b"%s: %s\r\n" % header for header in headers)
        parts.append(b"content-length: %d\r\n\r\n" % len(body))
        wire.transport.write(b"".join((*parts, body)))
        return await wire.waiter
