"""What hostile peers can make a server hold, and how long they can make others wait: both are bounded."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lambent.http.connection import SLICE_BYTES, SMALL_BODY_BYTES, TURN_REQUESTS
from lambent.http.server import Exchange, Handler, Limits, Server

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def echo(exchange: Exchange) -> None:
    exchange.respond(200, (), exchange.body)


@asynccontextmanager
async def serving(handler: Handler = echo, limits: Limits | None = None) -> AsyncIterator[int]:
    async with Server(handler, limits=limits) as server:
        yield (await server.listen("127.0.0.1", 0)).port


async def status(reader: asyncio.StreamReader) -> int:
    """Of one answer without a body that matters, read to the end of its head."""
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split()[1])


def post(length: int) -> bytes:
    return b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % length


async def test_a_connection_too_many_is_cut_and_the_others_are_served() -> None:
    async with serving(limits=Limits(connections=2)) as port:
        first, second = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, writer in (first, second):
            writer.write(REQUEST)
            assert await status(reader) == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await status(reader)

        first[1].close()
        await first[1].wait_closed()
        async with asyncio.timeout(5):
            while True:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(REQUEST)
                    assert await status(reader) == 200
                    break
                except (ConnectionError, asyncio.IncompleteReadError):
                    pass  # the server has not noticed yet that there is room again


async def test_large_bodies_share_what_there_is_room_for() -> None:
    size = 2 * SMALL_BODY_BYTES
    arrived = asyncio.Event()
    parked: list[Exchange] = []

    def park(exchange: Exchange) -> None:
        parked.append(exchange)
        arrived.set()

    async with serving(park, Limits(bodies_bytes=size)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(size) + bytes(size))
        await arrived.wait()

        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", port)
        other_writer.write(post(size) + bytes(size))
        assert await status(other_reader) == 503

        parked.pop().respond(200)
        assert await status(reader) == 200
        arrived.clear()
        writer.write(post(size) + bytes(size))
        await arrived.wait()
        parked.pop().respond(200)
        assert await status(reader) == 200, "what was held has been given back, by the one refused as well"


async def test_small_bodies_need_no_room() -> None:
    async with serving(limits=Limits(bodies_bytes=0)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(SMALL_BODY_BYTES) + bytes(SMALL_BODY_BYTES))
        assert await status(reader) == 200


async def test_a_flood_of_requests_takes_turns_with_others() -> None:
    order: list[bytes] = []

    def note(exchange: Exchange) -> None:
        order.append(exchange.path)
        exchange.respond(204)

    flood = b"GET /flood HTTP/1.1\r\n\r\n" * 4_000
    async with serving(note) as port:
        with (
            socket.create_connection(("127.0.0.1", port)) as many,
            socket.create_connection(("127.0.0.1", port)) as one,
        ):
            many.sendall(flood)
            one.sendall(b"GET /one HTTP/1.1\r\n\r\n")
            async with asyncio.timeout(10):
                while len(order) < 4_001:
                    await asyncio.sleep(0.001)
                    many.setblocking(False)
                    try:
                        many.recv(1 << 20)
                    except BlockingIOError:
                        pass

    assert order.index(b"/one") <= 4 * SLICE_BYTES // len(b"GET /flood HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize("pause", [False, True])
async def test_whatever_is_sent_ahead_is_answered_whole_and_in_order(pause: bool) -> None:
    """Requests small and large, of known length and chunked, many more than one turn's, beyond every slice."""

    async def answer_later(exchange: Exchange) -> None:
        await asyncio.sleep(0)
        exchange.respond(200, (), exchange.body)

    tasks: set[asyncio.Task[None]] = set()

    def handler(exchange: Exchange) -> None:
        if pause:
            tasks.add(asyncio.get_running_loop().create_task(answer_later(exchange)))
        else:
            echo(exchange)

    bodies = [b"%d" % number * (1 + number * 37 % 20_000) for number in range(3 * TURN_REQUESTS)]
    chunked = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    sent = b"".join(
        chunked % (len(body), body) if number % 3 == 0 else post(len(body)) + body for number, body in enumerate(bodies)
    )
    async with serving(handler) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        writer.write(sent)
        for body in bodies:
            assert await status(reader) == 200
            assert await reader.readexactly(len(body)) == body
        writer.close()
