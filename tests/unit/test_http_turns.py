"""When answers are sent: together, at the end of the turn of the event loop in which they were made."""

from __future__ import annotations

import asyncio
import socket

from lambent.http.connection import UNSENT_BYTES, Connection, Room
from lambent.http.server import Exchange, Limits, Server

GET = b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n"


class Wire(asyncio.Transport):
    """Notes what is written to it, and when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def writelines(self, list_of_data: object) -> None:
        self.written += list_of_data  # type: ignore[operator]

    def close(self) -> None:
        self.written.append(b"closed")

    def is_closing(self) -> bool:
        return b"closed" in self.written


def connected(body: bytes = b"") -> tuple[Connection, Wire]:
    def handle(exchange: Exchange) -> None:
        exchange.respond(200, ((b"x-path", exchange.path),), body)

    connection, wire = Connection(handle, Limits(), Room(None), None, lambda _: None, lambda _: None), Wire()
    connection.connection_made(wire)
    return connection, wire


async def test_what_is_answered_in_one_turn_is_sent_at_its_end_in_one_piece() -> None:
    first, first_wire = connected()
    second, second_wire = connected()

    for number in range(3):
        first.data_received(GET % number)
    second.data_received(GET % 9)
    assert first_wire.written == second_wire.written == []
    await asyncio.sleep(0)

    assert [piece.count(b"x-path: /") for piece in first_wire.written] == [3]
    assert [piece.count(b"x-path: /9") for piece in second_wire.written] == [1]


async def test_much_of_it_does_not_wait_for_the_end() -> None:
    connection, wire = connected(b"x" * (UNSENT_BYTES // 8))
    for number in range(9):
        connection.data_received(GET % number)
    assert wire.written
    assert len(b"".join(wire.written)) > UNSENT_BYTES


async def test_a_large_answer_comes_behind_those_that_wait() -> None:
    connection, wire = connected()
    connection.data_received(GET % 1)
    connection._handler = lambda exchange: exchange.respond(200, ((b"x-path", exchange.path),), b"y" * UNSENT_BYTES)
    connection.data_received(GET % 2)
    await asyncio.sleep(0)

    sent = b"".join(wire.written)
    assert sent.index(b"x-path: /1") < sent.index(b"x-path: /2") < sent.index(b"y" * UNSENT_BYTES)


async def test_the_last_answer_is_sent_before_the_connection_is_closed() -> None:
    connection, wire = connected()
    connection.data_received(b"GET /1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    await asyncio.sleep(0)
    assert wire.written[0].startswith(b"HTTP/1.1 200")
    assert wire.written[1:] == [b"closed"]


async def test_nothing_is_sent_to_a_peer_that_has_gone_meanwhile() -> None:
    connection, wire = connected()
    connection.data_received(GET % 1)
    connection.connection_lost(None)
    await asyncio.sleep(0)
    assert wire.written == []


async def test_a_peer_that_ends_its_side_with_its_request_still_gets_its_answer() -> None:
    async with Server(lambda exchange: exchange.respond(200, (), b"here")) as server:
        listener = await server.listen("127.0.0.1", 0)
        with socket.create_connection(("127.0.0.1", listener.port)) as peer:  # the server has not read anything yet
            peer.sendall(GET % 1)
            peer.shutdown(socket.SHUT_WR)
            reader, writer = await asyncio.open_connection(sock=peer)
            assert (await reader.read()).endswith(b"here")
            writer.close()
