"""The HTTP engine over real loopback sockets: what a peer may do, and what it is told."""

from __future__ import annotations

import asyncio
import itertools
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambent.http.server import Exchange, Handler, Limits, Server

DATE = re.compile(rb"date: [^\r]+\r\n")


def echo(exchange: Exchange) -> None:
    exchange.respond(200, ((b"x-method", exchange.method.encode()),), exchange.body)


@asynccontextmanager
async def serving(
    handler: Handler = echo, limits: Limits | None = None, streams: Callable[[Exchange], bool] | None = None
) -> AsyncIterator[tuple[Server, int]]:
    async with Server(handler, limits=limits, streams=streams) as server:
        listener = await server.listen("127.0.0.1", 0)
        yield server, listener.address[1]


async def talk(port: int, *pieces: bytes) -> bytes:
    """Send the pieces one by one, say that this was all by `connection: close` in the last, and read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    return DATE.sub(b"", answer)


LAST = b"GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
LAST_ANSWER = b"HTTP/1.1 200 OK\r\nx-method: GET\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with serving() as (_, port):
        answer = await talk(port, b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc", LAST)

    assert answer == b"HTTP/1.1 200 OK\r\nx-method: POST\r\ncontent-length: 3\r\n\r\nabc" + LAST_ANSWER


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    waiting: list[Exchange] = []

    def handler(exchange: Exchange) -> None:
        if exchange.path == b"/slow":
            waiting.append(exchange)
            asyncio.get_running_loop().call_later(0.01, exchange.respond, 200, (), b"slow")
        else:
            echo(exchange)

    async with serving(handler) as (_, port):
        answer = await talk(
            port, b"GET /slow HTTP/1.1\r\n\r\n" + b"POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\nx" + LAST
        )

    assert answer.index(b"slow") < answer.index(b"x-method: POST") < answer.index(b"x-method: GET")


async def test_a_chunked_request_is_put_together() -> None:
    async with serving() as (_, port):
        answer = await talk(
            port,
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
            b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        )

    assert answer.endswith(b"content-length: 5\r\nconnection: close\r\n\r\nabcde")


async def test_a_streamed_answer_is_chunked_with_trailers() -> None:
    async def stream(exchange: Exchange) -> None:
        writer = exchange.start(200, ((b"content-type", b"text/plain"),))
        await writer.write(b"one")
        await writer.write(b"two")
        await writer.close(((b"x-end", b"yes"),))

    def handler(exchange: Exchange) -> None:
        if exchange.path == b"/last":
            echo(exchange)
        else:
            kept.append(asyncio.get_running_loop().create_task(stream(exchange)))

    kept: list[asyncio.Task[None]] = []
    async with serving(handler) as (_, port):
        answer = await talk(port, b"GET / HTTP/1.1\r\n\r\n", LAST)

    assert b"transfer-encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\nx-end: yes\r\n\r\n" in answer
    assert answer.endswith(LAST_ANSWER)


async def test_a_streamed_request_is_read_with_back_pressure() -> None:
    received = bytearray()

    async def read(exchange: Exchange) -> None:
        assert exchange.body_reader is not None
        async for chunk in exchange.body_reader:
            received.extend(chunk)
            await asyncio.sleep(0)
        exchange.respond(200, (), repr(exchange.body_reader.trailers).encode())

    kept: list[asyncio.Task[None]] = []

    def handler(exchange: Exchange) -> None:
        kept.append(asyncio.get_running_loop().create_task(read(exchange)))

    body = b"x" * 3_000_000
    async with serving(handler, Limits(body_bytes=10), streams=lambda exchange: exchange.path == b"/s") as (_, port):
        answer = await talk(
            port,
            b"POST /s HTTP/1.1\r\ntransfer-encoding: chunked\r\ntrailer: x-a\r\nconnection: close\r\n\r\n",
            b"%x\r\n%s\r\n" % (len(body), body),
            b"0\r\nx-a: b\r\n\r\n",
        )

    assert bytes(received) == body
    assert answer.endswith(b"[(b'x-a', b'b')]")


async def test_expect_continue_is_answered_before_the_body_comes() -> None:
    async with serving() as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
        writer.close()


async def test_head_and_204_have_no_body() -> None:
    def handler(exchange: Exchange) -> None:
        exchange.respond(204 if exchange.path == b"/none" else 200, (), b"body")

    async with serving(handler) as (_, port):
        answer = await talk(port, b"HEAD / HTTP/1.1\r\n\r\n", b"GET /none HTTP/1.1\r\nconnection: close\r\n\r\n")

    assert answer == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nHTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"
    )


async def test_http_1_0_closes_unless_asked_to_keep_alive() -> None:
    async with serving() as (_, port):
        assert b"connection: close" in await talk(port, b"GET / HTTP/1.0\r\n\r\n")
        kept = await talk(port, b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", LAST)
    assert b"connection: keep-alive" in kept
    assert kept.endswith(LAST_ANSWER)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 3000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"y" * 3000 + b" HTTP/1.1\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 900, b"431"),
        (b"POST / HTTP/1.1\r\ncontent-length: 101\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n65\r\n" + b"x" * 101, b"413"),
    ],
)
async def test_what_cannot_be_accepted_is_told_so_and_hung_up_on(request_bytes: bytes, status: bytes) -> None:
    async with serving(limits=Limits(head_bytes=2048, body_bytes=100)) as (_, port):
        answer = await talk(port, request_bytes)

    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in answer


async def test_a_request_that_never_ends_is_timed_out() -> None:
    async with serving(limits=Limits(head_timeout_s=0.01)) as (_, port):
        answer = await talk(port, b"GET / HTTP/1.1\r\n")

    assert answer.startswith(b"HTTP/1.1 408")


async def test_a_handler_that_fails_is_a_500_and_the_connection_lives(caplog: pytest.LogCaptureFixture) -> None:
    def handler(exchange: Exchange) -> None:
        if exchange.path == b"/bad":
            raise KeyError("bad")
        echo(exchange)

    async with serving(handler) as (_, port):
        answer = await talk(port, b"GET /bad HTTP/1.1\r\n\r\n", LAST)

    assert answer.startswith(b"HTTP/1.1 500")
    assert answer.endswith(LAST_ANSWER)
    assert "http.handler_failed" in caplog.text


async def test_a_peer_that_goes_away_is_noticed_and_answered_into_the_void() -> None:
    gone = asyncio.Event()
    seen: list[Exchange] = []

    def handler(exchange: Exchange) -> None:
        seen.append(exchange)
        exchange.on_close(gone.set)

    async with serving(handler) as (_, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await asyncio.wait_for(gone.wait(), 5)

    assert seen[0].closed
    seen[0].respond(200)


async def test_an_answer_that_may_wait_goes_with_the_next_one_if_a_request_was_sent_ahead() -> None:
    parked: list[Exchange] = []

    def handler(exchange: Exchange) -> None:
        if exchange.method == "POST":
            exchange.respond(202, (), b"taken", may_wait=True)
        else:
            parked.append(exchange)

    async with serving(handler) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        post = b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"
        writer.write(post)
        assert (await asyncio.wait_for(reader.readuntil(b"taken"), 5)).startswith(b"HTTP/1.1 202")
        writer.write(post + b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(1), 0.05)
        parked[0].respond(200, (), b"next")
        together = await asyncio.wait_for(reader.readuntil(b"next"), 5)
        assert together.index(b"202 Accepted") < together.index(b"200 OK")
        writer.close()


async def test_a_header_with_a_line_break_is_refused_before_anything_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    def handler(exchange: Exchange) -> None:
        exchange.respond(200, ((b"x-name", b"value\r\nx-forged: yes"),))

    async with serving(handler) as (_, port):
        answer = await talk(port, LAST)

    assert b"x-forged" not in answer
    assert "holds a line break" in caplog.text


async def test_an_exchange_is_answered_only_once() -> None:
    failures: list[Exception] = []

    def handler(exchange: Exchange) -> None:
        exchange.respond(200)
        try:
            exchange.respond(200)
        except RuntimeError as error:
            failures.append(error)

    async with serving(handler) as (_, port):
        await talk(port, LAST)

    assert len(failures) == 1


async def test_a_slow_reader_slows_the_writer_and_not_memory() -> None:
    written = 0

    async def stream(exchange: Exchange) -> None:
        nonlocal written
        writer = exchange.start(200)
        for _ in range(400):
            await writer.write(b"x" * 65536)
            written += 65536
        await writer.close()

    tasks: list[asyncio.Task[None]] = []

    def handler(exchange: Exchange) -> None:
        tasks.append(asyncio.get_running_loop().create_task(stream(exchange)))

    async with serving(handler) as (_, port):
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\n\r\n")
            await asyncio.sleep(0.2)
            assert written < 400 * 65536
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(tasks[0], 5)


async def test_a_drain_lets_exchanges_end_and_hangs_up_on_the_idle() -> None:
    def handler(exchange: Exchange) -> None:
        asyncio.get_running_loop().call_later(0.1, exchange.respond, 200, (), b"late")

    async with serving(handler) as (server, port):
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        busy_reader, busy_writer = await asyncio.open_connection("127.0.0.1", port)
        busy_writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await asyncio.sleep(0.02)
        await server.drain(5)
        assert (await busy_reader.read()).endswith(b"late")
        assert await idle_reader.read() == b""
        for writer in (idle_writer, busy_writer):
            writer.close()
        with pytest.raises(OSError, match="111"):
            await asyncio.open_connection("127.0.0.1", port)


REQUESTS = b"".join(
    [
        b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello",
        b"GET /b?c=d HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n4\r\nwiki\r\n0\r\n\r\n",
        b"PUT /d HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
        LAST,
    ]
)


@given(st.lists(st.integers(0, len(REQUESTS)), max_size=8))
@settings(max_examples=40, deadline=None)
def test_any_split_of_the_bytes_gives_the_same_exchanges(cuts: list[int]) -> None:
    async def run() -> list[tuple[str, bytes, bytes]]:
        seen: list[tuple[str, bytes, bytes]] = []

        def handler(exchange: Exchange) -> None:
            seen.append((exchange.method, exchange.target, exchange.body))
            echo(exchange)

        edges = [0, *sorted(cuts), len(REQUESTS)]
        async with serving(handler) as (_, port):
            await talk(port, *(REQUESTS[a:b] for a, b in itertools.pairwise(edges) if a < b))
        return seen

    assert asyncio.run(run()) == [
        ("POST", b"/a", b"hello"),
        ("GET", b"/b?c=d", b""),
        ("POST", b"/c", b"wiki"),
        ("PUT", b"/d", b""),
        ("GET", b"/last", b""),
    ]


@given(st.binary(min_size=1, max_size=300))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_garbage_never_breaks_the_server(garbage: bytes) -> None:
    async def run() -> None:
        async with serving(limits=Limits(head_timeout_s=5.0, body_timeout_s=5.0, idle_timeout_s=5.0)) as (server, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(garbage)
            await writer.drain()
            writer.close()
            assert (await talk(port, LAST)) == LAST_ANSWER
            assert not server.is_draining

    asyncio.run(run())
