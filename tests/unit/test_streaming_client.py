"""The streaming client against servers that behave, and against some that do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from lambent.http.client import ConnectionLost
from lambent.http.server import Exchange, Server
from lambent.http.streaming_client import Body, StreamedAnswer, StreamingClient

MIB = 1024 * 1024
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def engine(handler: Callable[[Exchange], None]) -> AsyncIterator[StreamingClient]:
    """A client of our own server."""
    async with Server(handler, streams=lambda exchange: True) as server:
        listener = await server.listen("127.0.0.1", 0)
        async with StreamingClient(f"http://127.0.0.1:{listener.port}/base/") as client:
            yield client


@asynccontextmanager
async def raw(serve: Serve) -> AsyncIterator[StreamingClient]:
    """A client of a server that writes what it likes."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server, StreamingClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        yield client


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


async def read(answer: StreamedAnswer) -> bytes:
    return b"".join([piece async for piece in answer.body])


async def get(client: StreamingClient, target: bytes = b"/", method: str = "GET") -> tuple[int, bytes]:
    async with client.stream(method, target, [(b"host", b"h")]) as answer:
        return answer.status, await read(answer)


@pytest.fixture
def tasks() -> set[asyncio.Task[None]]:
    return set()


@pytest.fixture
def echoing(tasks: set[asyncio.Task[None]]) -> Callable[[Exchange], None]:
    async def answer(exchange: Exchange) -> None:
        length = exchange.header(b"content-length")
        writer = exchange.start(200, [(b"x-host", exchange.header(b"host") or b"")], length=length and int(length))
        assert exchange.body_reader is not None
        async for piece in exchange.body_reader:
            await writer.write(piece)
        await writer.close()

    def handle(exchange: Exchange) -> None:
        tasks.add(asyncio.get_running_loop().create_task(answer(exchange)))

    return handle


@pytest.mark.parametrize("length", [3, None])
async def test_a_body_goes_and_comes_with_its_length_or_in_chunks(
    echoing: Callable[[Exchange], None], length: int | None
) -> None:
    async with engine(echoing) as client:
        headers = [(b"host", b"somewhere.else:1")]
        async with client.stream("PUT", b"/a%20b?c", headers, Body(pieces(b"a", b"bc"), length)) as answer:
            named = dict(answer.headers)
            assert (answer.status, await read(answer)) == (200, b"abc")
    assert named[b"x-host"] == b"somewhere.else:1"
    assert (named.get(b"content-length"), named.get(b"transfer-encoding")) == (
        (b"3", None) if length else (None, b"chunked")
    )


async def test_much_more_than_fits_goes_both_ways_at_once_and_little_is_held(
    echoing: Callable[[Exchange], None],
) -> None:
    produced = consumed = most_held = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal produced, most_held
        for _ in range(64):
            produced += MIB
            most_held = max(most_held, produced - consumed)
            yield bytes(MIB)

    async with (
        engine(echoing) as client,
        client.stream("PUT", b"/", [(b"host", b"h")], Body(body(), 64 * MIB)) as answer,
    ):
        async for piece in answer.body:
            consumed += len(piece)
    assert consumed == 64 * MIB
    assert most_held < 24 * MIB, "what the kernel's and our own buffers hold, and no more"


async def test_an_answer_that_nobody_reads_is_not_taken_in(tasks: set[asyncio.Task[None]]) -> None:
    written = 0

    async def flood(exchange: Exchange) -> None:
        nonlocal written
        writer = exchange.start(200, length=256 * MIB)
        for _ in range(256):
            await writer.write(bytes(MIB))
            written += MIB

    def handle(exchange: Exchange) -> None:
        tasks.add(asyncio.get_running_loop().create_task(flood(exchange)))

    async with engine(handle) as client:
        async with client.stream("GET", b"/", [(b"host", b"h")]) as answer:
            await anext(answer.body)
            before = -1
            while before != written:
                before = written
                await asyncio.sleep(0.05)
        assert written < 32 * MIB
    for task in tasks:
        with pytest.raises(ConnectionError):
            await task


async def test_connections_are_kept_between_requests() -> None:
    peers = []

    def handle(exchange: Exchange) -> None:
        peers.append(exchange.peer)
        exchange.respond(200, (), b"x" if exchange.method == "GET" else b"")

    async with engine(handle) as client:
        for method in ("GET", "HEAD", "DELETE", "GET"):
            assert (await get(client, method=method))[0] == 200
    assert len(set(peers)) == 1


async def test_the_head_tells_the_length_and_no_body_comes() -> None:
    def handle(exchange: Exchange) -> None:
        exchange.start(200, length=100 * MIB)

    async with engine(handle) as client, client.stream("HEAD", b"/", [(b"host", b"h")]) as answer:
        assert dict(answer.headers)[b"content-length"] == b"%d" % (100 * MIB)
        assert await read(answer) == b""


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")

    async with raw(serve) as client:
        assert await get(client) == (200, b"until the end")


async def test_answers_before_the_answer_are_passed_over() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with raw(serve) as client:
        assert await get(client) == (200, b"ok")


async def test_an_answer_that_comes_before_the_request_is_over_ends_it() -> None:
    endless = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal endless
        while True:
            endless += 1
            yield bytes(64 * 1024)
            await asyncio.sleep(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 No\r\ncontent-length: 3\r\n\r\nfar")
        await writer.drain()
        await reader.read()

    async with raw(serve) as client:
        async with client.stream("PUT", b"/", [(b"host", b"h")], Body(body(), None)) as answer:
            assert (answer.status, await read(answer)) == (413, b"far")
        stopped = endless
        await asyncio.sleep(0.01)
        assert endless == stopped


async def test_an_answer_that_breaks_off_is_told() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")

    async with raw(serve) as client:
        with pytest.raises(ConnectionLost, match="hung up"):
            await get(client)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 101 Other\r\nupgrade: x\r\n\r\n"])
async def test_what_is_no_http_answer_is_told(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with raw(serve) as client:
        with pytest.raises(ConnectionLost):
            await get(client)


async def test_a_request_without_a_body_survives_a_kept_connection_that_was_closed_others_are_not_repeated() -> None:
    requests = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request per connection, and closes it when the second one has come."""
        for number in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            requests.append(head.split()[0])
            if number == 0:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with raw(serve) as client:
        assert await get(client) == (200, b"")
        assert await get(client) == (200, b"")
        with pytest.raises(ConnectionLost):
            async with client.stream("PUT", b"/", [(b"host", b"h")], Body(pieces(b"x"), 1)):
                pass
    assert requests == [b"GET", b"GET", b"GET", b"PUT"]


async def test_nobody_there_is_an_os_error() -> None:
    async with StreamingClient("http://127.0.0.1:1") as client:
        with pytest.raises(OSError, match=r"refused|Connect"):
            await get(client)


def test_an_origin_is_read_from_its_url() -> None:
    assert StreamingClient("http://h:1/a/b/").path == b"/a/b"
    assert StreamingClient("https://h").path == b""
