"""The HTTP client against the HTTP server."""

from __future__ import annotations

import asyncio

import pytest

from lambent.http.client import Client, ConnectionLost
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
