"""A response that comes in pieces from its runtime: handed on as it comes, or collected for who wants it whole.

Reference: runtime-api.md §3. AWS slows a stream down after its first 6 MB; Lambent does not.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Sequence

from lambent.http.server import BodyReader, Exchange
from lambent.model.limits import INVOKE_RESPONSE_BYTES, STREAMED_RESPONSE_BYTES
from lambent.worker.answers import accept, refuse_too_large
from lambent.worker.lifecycle import RuntimeEndedStream
from lambent.worker.outcomes import RESPONSE_TOO_LARGE, normalize_error_type, response_too_large

RESPONSE_MODE = b"lambda-runtime-function-response-mode"
_DEFAULT_CONTENT_TYPE = b"application/octet-stream"


class RuntimeStream:
    """One streamed response, from the head of its POST to its end.

    `ended` hears of the end when the last byte has come, which is before a slow caller has read it. A stream that was
    cut off ends nothing by itself: its runtime will exit, ask for more, or run out of time, and that tells why.
    """

    def __init__(self, exchange: Exchange, reader: BodyReader, ended: Callable[[RuntimeEndedStream], None]) -> None:
        self._exchange = exchange
        self._reader = reader
        self._ended = ended
        self._is_over = False
        self.is_cut = False
        self.content_type = (exchange.header(b"content-type") or _DEFAULT_CONTENT_TYPE).decode("latin-1")
        reader.on_end(self._body_ended)

    @property
    def received_bytes(self) -> int:
        return self._reader.received_bytes

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._reader:
                if self.received_bytes > STREAMED_RESPONSE_BYTES:
                    self._refuse_too_large()
                    return
                yield piece
        except ConnectionError:
            return

    def let_go(self) -> None:
        """Nobody reads on: what still comes is dropped."""
        self._reader.discard()

    def _body_ended(self, error: ConnectionError | None) -> None:
        if error is not None:
            self.is_cut = not self._is_over
        elif self.received_bytes > STREAMED_RESPONSE_BYTES:
            self._refuse_too_large()
        elif not self._is_over:
            self._is_over = True
            self._ended(outcome(self._reader.trailers))
            accept(self._exchange)

    def _refuse_too_large(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._ended(RuntimeEndedStream(response_too_large(STREAMED_RESPONSE_BYTES), RESPONSE_TOO_LARGE))
            refuse_too_large(self._exchange, STREAMED_RESPONSE_BYTES)


async def collect(reader: BodyReader) -> bytes:
    """The whole body, or as much of it as tells that it is larger than a response may be."""
    body = bytearray()
    async for piece in reader:
        body += piece
        if len(body) > INVOKE_RESPONSE_BYTES:
            break
    return bytes(body)


def outcome(trailers: Sequence[tuple[bytes, bytes]]) -> RuntimeEndedStream:
    """What the trailers of a stream say of its end."""
    said = dict(trailers)
    error_type = said.get(b"lambda-runtime-function-error-type")
    encoded = said.get(b"lambda-runtime-function-error-body", b"")
    if not error_type and not encoded:
        return RuntimeEndedStream()
    try:
        payload = b64decode(encoded, validate=True)
    except binascii.Error:
        payload = encoded
    return RuntimeEndedStream(payload, normalize_error_type(error_type.decode("latin-1") if error_type else None))
