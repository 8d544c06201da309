"""Answers in pieces: how they are sent, and how InvokeWithResponseStream frames them (reference/invocation.md §3)."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from lambent.http.server import Exchange
from lambent.model.errors import PlatformError
from lambent.model.invocation import InvokeResult
from lambent.model.response_stream import ResponseStream, StreamEnd
from lambent.spec.eventstream import encode_frame

log = logging.getLogger(__name__)

EVENT_STREAM = b"application/vnd.amazon.eventstream"

_CHUNK = {
    ":message-type": "event",
    ":event-type": "PayloadChunk",
    ":content-type": "application/octet-stream",
}
_COMPLETE = {":message-type": "event", ":event-type": "InvokeComplete", ":content-type": "application/json"}


async def send_pieces(
    exchange: Exchange, status: int, headers: Sequence[tuple[bytes, bytes]], pieces: AsyncGenerator[bytes]
) -> None:
    """Send an answer as its pieces come; one that ends before its time cuts the connection."""
    writer = exchange.start(status, headers)
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                await writer.write(piece)
        await writer.close()
    except ConnectionError as exc:
        log.debug("answer.ended_early", extra={"path": exchange.path.decode("latin-1"), "reason": str(exc)})
    except PlatformError as exc:
        log.error("answer.cut_off", exc_info=exc)
    finally:
        writer.abort()  # without effect once it is closed


async def event_stream(response: InvokeResult | ResponseStream) -> AsyncGenerator[bytes]:
    """The frames of one response, the outcome last."""
    if isinstance(response, ResponseStream):
        async with response:
            async for piece in response.pieces:
                yield encode_frame(_CHUNK, piece)
            yield _complete(await response.end)
    elif response.function_error is not None:
        end = StreamEnd(function_error=response.function_error, error=response.payload, log_tail=response.log_tail)
        yield _complete(end)
    else:
        yield encode_frame(_CHUNK, response.payload)
        yield _complete(StreamEnd(log_tail=response.log_tail))


def _complete(end: StreamEnd) -> bytes:
    told: dict[str, str] = {}
    if end.function_error is not None:
        told["ErrorCode"] = end.function_error
        told["ErrorDetails"] = end.error.decode("utf-8", "replace")
    if end.log_tail is not None:
        told["LogResult"] = b64encode(end.log_tail).decode()
    return encode_frame(_COMPLETE, msgspec.json.encode(told))
