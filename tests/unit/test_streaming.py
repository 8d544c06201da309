"""A streamed response between the runtime that sends it and whoever reads it."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lambent.http.body import HELD_BYTES
from lambent.http.connection import READ_BYTES
from lambent.http.server import Exchange, Server
from lambent.worker import streaming
from lambent.worker.lifecycle import RuntimeEndedStream
from lambent.worker.runtime_api import comes_in_pieces
from lambent.worker.streaming import RuntimeStream, outcome

HEAD = (
    b"POST /2018-06-01/runtime/invocation/r/response HTTP/1.1\r\n"
    b"lambda-runtime-function-response-mode: streaming\r\ntransfer-encoding: chunked\r\n\r\n"
)


class Runtime:
    """A connection that sends a response, and what becomes of it at the other end."""

    def __init__(self) -> None:
        self.ends: list[RuntimeEndedStream] = []
        self.began: asyncio.Future[RuntimeStream] = asyncio.get_running_loop().create_future()
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    def handle(self, exchange: Exchange) -> None:
        assert exchange.body_reader is not None
        self.began.set_result(RuntimeStream(exchange, exchange.body_reader, self.ends.append))

    def send(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    async def status(self) -> bytes:
        return (await self.reader.readline()).split()[1]


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    runtime = Runtime()
    async with connected(runtime):
        yield runtime


@asynccontextmanager
async def connected(runtime: Runtime) -> AsyncIterator[None]:
    async with Server(runtime.handle, streams=comes_in_pieces) as server:
        listener = await server.listen("127.0.0.1", 0)
        runtime.reader, runtime.writer = await asyncio.open_connection("127.0.0.1", listener.port)
        runtime.writer.write(HEAD)
        yield
        runtime.writer.close()


async def test_pieces_are_handed_on_before_the_end_is_known(runtime: Runtime) -> None:
    stream = await runtime.began
    pieces = stream.pieces()

    runtime.send(b"first")
    assert await anext(pieces) == b"first"
    assert runtime.ends == []

    runtime.writer.write(b"0\r\n\r\n")
    assert [piece async for piece in pieces] == []
    assert runtime.ends == [RuntimeEndedStream()]
    assert await runtime.status() == b"202"
    assert stream.received_bytes == 5


async def test_the_end_is_told_before_a_slow_reader_has_read_it(runtime: Runtime) -> None:
    stream = await runtime.began

    runtime.send(b"all")
    runtime.writer.write(b"0\r\n\r\n")

    assert await runtime.status() == b"202"
    assert runtime.ends == [RuntimeEndedStream()]
    assert [piece async for piece in stream.pieces()] == [b"all"]


async def test_no_more_is_taken_from_the_runtime_than_the_reader_is_about_to_read(runtime: Runtime) -> None:
    stream = await runtime.began
    runtime.send(bytes(16 * 1024 * 1024))
    runtime.writer.write(b"0\r\n\r\n")

    read = 0
    async for piece in stream.pieces():
        read += len(piece)
        await asyncio.sleep(0)
        assert stream.received_bytes - read <= HELD_BYTES + READ_BYTES
    assert read == 16 * 1024 * 1024


async def test_a_stream_that_is_let_go_runs_to_its_end(runtime: Runtime) -> None:
    stream = await runtime.began
    runtime.send(bytes(16 * 1024 * 1024))
    runtime.writer.write(b"0\r\n\r\n")
    await anext(aiter(stream.pieces()))

    stream.let_go()

    assert await runtime.status() == b"202"
    assert runtime.ends == [RuntimeEndedStream()]


async def test_trailers_tell_of_an_error(runtime: Runtime) -> None:
    stream = await runtime.began

    error = b'{"errorType":"E"}'
    runtime.send(b"so far")
    runtime.writer.write(
        b"0\r\nlambda-runtime-function-error-type: Runtime.Broken\r\n"
        b"lambda-runtime-function-error-body: %s\r\n\r\n" % b64encode(error)
    )

    assert [piece async for piece in stream.pieces()] == [b"so far"]
    assert runtime.ends == [RuntimeEndedStream(error, "Runtime.Broken")]
    assert await runtime.status() == b"202"


async def test_a_stream_that_is_cut_off_ends_nothing_by_itself(runtime: Runtime) -> None:
    stream = await runtime.began

    runtime.send(b"so far")
    runtime.writer.close()

    assert [piece async for piece in stream.pieces()] == [b"so far"]
    assert stream.is_cut
    assert runtime.ends == []


async def test_a_stream_beyond_the_limit_is_cut_and_refused(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "STREAMED_RESPONSE_BYTES", 10)
    stream = await runtime.began
    pieces = stream.pieces()

    runtime.send(b"0123456789")
    assert await anext(pieces) == b"0123456789"
    runtime.send(b"more")

    assert [piece async for piece in pieces] == []
    assert [end.error_type for end in runtime.ends] == ["Function.ResponseSizeTooLarge"]
    assert await runtime.status() == b"413"
    assert not stream.is_cut


def test_an_error_body_that_is_not_base64_is_taken_as_it_is() -> None:
    assert outcome([(b"lambda-runtime-function-error-body", b"{}")]) == RuntimeEndedStream(b"{}", "Runtime.Unknown")
