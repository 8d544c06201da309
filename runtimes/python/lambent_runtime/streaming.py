"""Handlers that stream: generators, async generators, and those that write to a `response_stream`.

Nothing is sent before the first piece, so that a handler which fails before it has said anything fails like any other.
Imported only when a handler streams.
"""

from __future__ import annotations

import json
import types

from lambent_runtime import log
from lambent_runtime.fault import Fault
from lambent_runtime.handler import StreamingCall

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Any, Dict, List, Optional, Union

    from lambent_runtime.client import Invocation, RuntimeClient

    Piece = Union[bytes, bytearray, memoryview, str]

_HTTP = "application/vnd.awslambda.http-integration-response"
_PRELUDE_END = bytes(8)
_PRELUDE_KEYS = frozenset(("statusCode", "headers", "cookies"))

_loop: Optional[asyncio.AbstractEventLoop] = None


def respond(client: RuntimeClient, invocation: Invocation, source: Any) -> None:
    """Send what a handler streams, and ask for the next invocation. Raises what the handler raises."""
    stream = ResponseStream(client, invocation)
    if isinstance(source, StreamingCall):
        _call(source, stream)
    elif isinstance(source, types.AsyncGeneratorType):
        _run(_send_all(source, stream))
    else:
        for piece in source:
            stream.send(piece)
    stream.begin()
    log.flush()
    client.end_stream()


class ResponseStream:
    """The writable file that a handler with a parameter of the name `response_stream` gets.

    What is written goes out at once; while the caller is slow to read, writing takes as long. Text is sent as UTF-8.
    """

    def __init__(self, client: RuntimeClient, invocation: Invocation) -> None:
        self._client = client
        self._invocation = invocation
        self._content_type = "application/octet-stream"
        self._is_begun = False
        self.closed = False

    @property
    def content_type(self) -> str:
        """`application/octet-stream` unless set before the first write."""
        return self._content_type

    @content_type.setter
    def content_type(self, value: str) -> None:
        self._refuse_late("the content type is set")
        if not value.isprintable():
            raise ValueError(f"a content type is one line of text, not {value!r}")
        self._content_type = value

    def start_http(
        self,
        status_code: int = 200,
        headers: Optional[Dict[str, str]] = None,
        cookies: Optional[List[str]] = None,
    ) -> None:
        """Say with which status, headers and cookies a function URL shall answer. Before the first write."""
        self._start({"statusCode": status_code, "headers": headers or {}, "cookies": cookies or []})

    def write(self, data: Piece) -> int:
        """Send bytes or text; returns how much of it there was."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        self._write(data.encode() if isinstance(data, str) else memoryview(data).cast("B"))
        return len(data)

    def send(self, piece: Any) -> None:
        """What a generator yields: bytes or text, and as its first value the status, headers and cookies."""
        if isinstance(piece, dict) and not self._is_begun and _PRELUDE_KEYS.issuperset(piece):
            self._start(piece)
        elif isinstance(piece, (bytes, str, bytearray, memoryview)):
            self.write(piece)
        else:
            expected = "bytes or str, or first of all a dict of statusCode, headers and cookies"
            raise Fault("Runtime.MarshalError", f"Unable to stream response: expected {expected}, found {piece!r:.100}")

    def begin(self) -> None:
        """Send the head, if nothing has been sent yet."""
        if not self._is_begun:
            self._write(b"")

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        """Nothing is ever kept back."""

    def close(self) -> None:
        """Nothing may be written any more. The response ends when the handler returns."""
        self.closed = True

    def __enter__(self) -> ResponseStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, prelude: Dict[str, Any]) -> None:
        self._refuse_late("status and headers are set")
        try:
            encoded = json.dumps(prelude).encode()
        except (TypeError, ValueError) as exc:
            raise Fault("Runtime.MarshalError", f"Unable to marshal response: {exc}") from exc
        self._content_type = _HTTP
        self._write(encoded + _PRELUDE_END)

    def _write(self, data: Union[bytes, memoryview]) -> None:
        if self._is_begun:
            self._client.send_piece(data)
        else:
            self._is_begun = True
            self._client.begin_stream(self._invocation, data, self._content_type)

    def _refuse_late(self, what: str) -> None:
        if self._is_begun:
            raise Fault("Runtime.InvalidStreamingOperation", f"Expected that {what} before the first write")


def _call(call: StreamingCall, stream: ResponseStream) -> None:
    result = call.handler(call.event, call.context, response_stream=stream)
    if isinstance(result, types.CoroutineType):
        _run(result)
    elif isinstance(result, types.AsyncGeneratorType):
        _run(_send_all(result, stream))
    elif isinstance(result, types.GeneratorType):
        for piece in result:
            stream.send(piece)


async def _send_all(pieces: Any, stream: ResponseStream) -> None:
    async for piece in pieces:
        stream.send(piece)


def _run(coroutine: Any) -> None:
    """On one event loop for all invocations, so that connections made in one are of use in the next."""
    global _loop
    import asyncio

    if _loop is None:
        _loop = asyncio.new_event_loop()
    _loop.run_until_complete(coroutine)
