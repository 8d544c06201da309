"""The HTTP client against the HTTP server."""

from __future__ import annotations

import asyncio

import pytest

from lambent.http.client import Answer, Client, ConnectionLost
from lambent.http.server import Exchange, Server


async def test_connections_are_kept_and_used_again() -> None:
    peers: set[int] = set()

    def handler(exchange: Exchange) -> None:
        peers.add(id(exchange._connection))
        exchange.respond(200, ((b"X-Name", b"v"),), exchange.method.encode() + exchange.body)

    async with Server(handler) as server:
        port = (await server.listen("127.0.0.1", 0)).address[1]
        async with Client("127.0.0.1", port, connections=2) as client:
            first = await client.request("POST", "/a", (), b"1")
            second = await client.request("PUT", "/b", (), b"2" * 300_000)
            many = await asyncio.gather(*(client.request("GET", "/") for _ in range(20)))

    assert (first.status, first.body, first.header(b"x-name")) == (200, b"POST1", b"v")
    assert second.body == b"PUT" + b"2" * 300_000
    assert {answer.body for answer in many} == {b"GET"}
    assert len(peers) <= 2


async def test_a_server_that_hangs_up_is_an_error_and_not_a_retry() -> None:
    calls = 0

    def handler(exchange: Exchange) -> None:
        nonlocal calls
        calls += 1
        exchange._connection.abort()

    async with Server(handler) as server:
        port = (await server.listen("127.0.0.1", 0)).address[1]
        async with Client("127.0.0.1", port) as client:
            with pytest.raises(ConnectionLost):
                await client.request("GET", "/")
    assert calls == 1


async def test_an_answer_that_came_too_late_never_meets_another_request() -> None:
    waiting: list[Exchange] = []

    def handler(exchange: Exchange) -> None:
        if exchange.path == b"/slow":
            waiting.append(exchange)
        else:
            exchange.respond(200, (), b"right")

    async with Server(handler) as server:
        port = (await server.listen("127.0.0.1", 0)).address[1]
        async with Client("127.0.0.1", port) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.request("GET", "/slow")
            waiting[0].respond(200, (), b"wrong")
            assert (await client.request("GET", "/")).body == b"right"


async def answered(raw: bytes, **options: int) -> Answer:
    """What the client makes of a server that writes these bytes and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, Client("127.0.0.1", server.sockets[0].getsockname()[1], **options) as client:
        return await client.request("GET", "/")


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    answer = await answered(b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nall of it")

    assert (answer.status, answer.body) == (200, b"all of it")
    assert (await answered(b"HTTP/1.0 200 OK\r\n\r\n")).body == b""


async def test_an_answer_that_is_cut_short_is_no_answer() -> None:
    for raw in (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour", b"HTTP/1.1 200 OK\r\nServer: o"):
        with pytest.raises(ConnectionLost):
            await answered(raw)


async def test_an_answer_longer_than_is_wanted_is_no_answer() -> None:
    with pytest.raises(ConnectionLost, match="longer than 1000 bytes"):
        await answered(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1_000, answer_bytes=1_000)
