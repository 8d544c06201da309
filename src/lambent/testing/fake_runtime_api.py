"""A Runtime API with nothing behind it: for tests and measurements of runtime clients.

It keeps the Runtime API's order (a second `next`, an answer to nothing are refused), and answers at once. A streamed
response is answered when it is whole. The Extensions API and deadlines are left to the real one.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import cast

from lambent.model.limits import INVOKE_RESPONSE_BYTES

_ROOT = "/2018-06-01/runtime/"
_REASONS = {200: "OK", 202: "Accepted", 400: "Bad Request", 403: "Forbidden", 404: "Not Found"}
_REASONS[413] = "Request Entity Too Large"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the runtime posted. `kind` is `response`, `error` or `init/error`; header names are lower-case."""

    kind: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    """What the runtime was told: 202, or 413 for a response beyond the limit."""
    trailers: Mapping[str, str]
    """What followed the body of a streamed response; names are lower-case."""

    def json(self) -> object:
        return json.loads(self.body)


@dataclass(slots=True)
class _Invocation:
    headers: Mapping[str, str]
    payload: bytes
    answer: asyncio.Future[Answer]
    request_id: str


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    trailers: Mapping[str, str]


class FakeRuntimeApi:
    """One environment's Runtime API on a free loopback port, from entering to leaving the block.

        async with FakeRuntimeApi() as api:
            start_runtime(env={"AWS_LAMBDA_RUNTIME_API": api.address})
            answer = await api.invoke(b'{"name": "Ada"}')

    `chunked` sends events in chunks, as servers do that do not know a length beforehand.
    """

    def __init__(self, *, response_limit_bytes: int = INVOKE_RESPONSE_BYTES, chunked: bool = False) -> None:
        self.address = ""
        self._response_limit_bytes = response_limit_bytes
        self._chunked = chunked
        self._waiting: deque[_Invocation] = deque()
        self._connections: set[_Connection] = set()
        self._parked: _Connection | None = None
        self._current: _Invocation | None = None

    async def __aenter__(self) -> FakeRuntimeApi:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.init_error: asyncio.Future[Answer] = loop.create_future()
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.disconnect()
        self.init_error.cancel()

    async def invoke(
        self, payload: bytes = b"{}", *, headers: Mapping[str, str] | None = None, timeout_s: float = 3.0
    ) -> Answer:
        """Hand `payload` to the runtime and wait for its answer. `headers` add to those of `next`, or replace them."""
        request_id = str(uuid.uuid4())
        known = {
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + timeout_s) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:000000000000:function:fake",
            "Lambda-Runtime-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0",
            "Content-Type": "application/json",
        }
        sent = {**known, **(headers or {})}
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Invocation(sent, payload, answer, sent["Lambda-Runtime-Aws-Request-Id"]))
        self._hand_out()
        return await answer

    def disconnect(self) -> None:
        """Close every connection, as a platform does that has died."""
        for connection in list(self._connections):
            connection.close()

    def _hand_out(self) -> None:
        if self._parked is None or not self._waiting:
            return
        connection, self._parked = self._parked, None
        self._current = self._waiting.popleft()
        connection.answer(200, self._current.payload, self._current.headers, chunked=self._chunked)

    def _handle(self, connection: _Connection, request: _Request) -> None:
        path = request.path.removeprefix(_ROOT)
        if request.method == "GET" and path == "invocation/next":
            self._park(connection)
        elif request.method == "POST" and path == "init/error":
            self.init_error.set_result(self._accept(connection, path, request, 202))
        elif request.method == "POST" and path.startswith("invocation/"):
            self._finish(connection, request, *path.split("/", 2)[1:])
        else:
            connection.refuse(404, "NotFound", f"no such path: {request.method} {request.path}")

    def _park(self, connection: _Connection) -> None:
        if self._parked is not None or self._current is not None:
            connection.refuse(403, "InvalidStateTransition", "next is asked for before the last one was answered")
            return
        self._parked = connection
        self._hand_out()

    def _finish(self, connection: _Connection, request: _Request, request_id: str, kind: str) -> None:
        current = self._current
        if current is None:
            connection.refuse(403, "InvalidStateTransition", "there is no invocation to answer")
        elif request_id != current.request_id:
            connection.refuse(400, "InvalidRequestID", "Invalid request ID")
        else:
            self._current = None
            is_streamed = request.headers.get("lambda-runtime-function-response-mode") == "streaming"
            too_large = kind == "response" and len(request.body) > self._response_limit_bytes and not is_streamed
            answer = self._accept(connection, kind, request, 413 if too_large else 202)
            if not current.answer.done():
                current.answer.set_result(answer)

    def _accept(self, connection: _Connection, kind: str, request: _Request, status: int) -> Answer:
        if status == 202:
            connection.answer(202, b'{"status":"OK"}\n')
        else:
            connection.refuse(status, "RequestEntityTooLarge", "Exceeded maximum allowed payload size.")
        return Answer(kind=kind, headers=request.headers, body=request.body, status=status, trailers=request.trailers)

    def _lost(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        if self._parked is connection:
            self._parked = None


@dataclass(eq=False)
class _Connection(asyncio.Protocol):
    """Serves requests in the order they come; a client may send its next one before it has read the last answer."""

    api: FakeRuntimeApi
    received: bytearray = field(default_factory=bytearray)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop has a class of its own
        self.api._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.api._lost(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (request := self._next_request()) is not None:
            self.api._handle(self, request)

    def close(self) -> None:
        self._transport.close()

    def answer(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None, *, chunked: bool = False
    ) -> None:
        lines = [f"HTTP/1.1 {status} {_REASONS[status]}"]
        lines += [f"{name}: {value}" for name, value in (headers or {"Content-Type": "application/json"}).items()]
        lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "", ""]).encode()
        self._transport.write(head + (_in_chunks(body) if chunked else body))

    def refuse(self, status: int, error_type: str, message: str) -> None:
        self.answer(status, json.dumps({"errorMessage": message, "errorType": error_type}).encode())

    def _next_request(self) -> _Request | None:
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return None
        first, *lines = self.received[:end].decode().split("\r\n")
        headers = _fields(lines)
        method, path, _ = first.split(" ")
        if "transfer-encoding" in headers:
            found = _whole_chunks(self.received, end + 4)
            if found is None:
                return None
            body, trailers, body_end = found
        else:
            body_end = end + 4 + int(headers.get("content-length", 0))
            if len(self.received) < body_end:
                return None
            body, trailers = bytes(self.received[end + 4 : body_end]), {}
        del self.received[:body_end]
        return _Request(method, path, headers, body, trailers)


def _fields(lines: list[str]) -> dict[str, str]:
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


def _whole_chunks(received: bytearray, position: int) -> tuple[bytes, dict[str, str], int] | None:
    """A chunked body, its trailers and where both end; None while some of it is missing."""
    body = bytearray()
    while (line_end := received.find(b"\r\n", position)) >= 0:
        size = int(received[position:line_end], 16)
        if size == 0:
            end = received.find(b"\r\n\r\n", line_end)
            if end < 0:
                return None
            return bytes(body), _fields(received[line_end + 2 : end].decode().split("\r\n")), end + 4
        if len(received) < line_end + 2 + size + 2:
            return None
        body += received[line_end + 2 : line_end + 2 + size]
        position = line_end + 2 + size + 2
    return None


def _in_chunks(body: bytes, size: int = 1000) -> bytes:
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
