"""The HTTP engine at its edges: peers that are odd, early, slow or hostile, with aiohttp as the oracle."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp.web
import pytest

from lambent.http.server import Exchange, Handler, Limits, Server

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
HOST = b"host: x\r\n"
CLOSE = b"GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def describe(exchange: Exchange) -> None:
    exchange.respond(200, ((b"x-path", exchange.path),), exchange.body)


class Parking:
    """A handler that keeps the exchanges of /park for the test to answer."""

    def __init__(self) -> None:
        self.exchanges: asyncio.Queue[Exchange] = asyncio.Queue()

    def __call__(self, exchange: Exchange) -> None:
        if exchange.path == b"/park":
            self.exchanges.put_nowait(exchange)
        else:
            describe(exchange)


@asynccontextmanager
async def serving(
    handler: Handler = describe, limits: Limits | None = None, streams: Callable[[Exchange], bool] | None = None
) -> AsyncIterator[int]:
    async with Server(handler, limits=limits, streams=streams) as server:
        yield (await server.listen("127.0.0.1", 0)).port


async def talk(port: int, *pieces: bytes) -> bytes:
    """Send the pieces and read to the end: the last one makes the server hang up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await reader.read()
    finally:
        writer.close()


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in STATUS.findall(answer)]


async def test_a_wish_for_another_protocol_is_ignored_and_the_body_is_read() -> None:
    wish = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"
    post = b"POST /a HTTP/1.1\r\n" + HOST + wish + b"content-length: 3\r\n\r\nabc"

    async with serving() as port:
        answer = await talk(port, post + CLOSE)

    assert statuses(answer) == [200, 200]
    assert b"\r\n\r\nabcHTTP/1.1" in answer


async def test_garbage_behind_a_parked_request_does_not_cost_its_answer() -> None:
    parking = Parking()
    async with serving(parking) as port:
        talking = asyncio.create_task(talk(port, b"GET /park HTTP/1.1\r\n" + HOST + b"\r\n\0"))
        (await parking.exchanges.get()).respond(200, (), b"late")
        answer = await talking

    assert statuses(answer) == [200, 400]
    assert answer.index(b"late") < answer.index(b" 400 ")


async def test_a_peer_that_goes_on_sending_too_much_still_reads_why_it_was_refused() -> None:
    post = b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 50000000\r\n\r\n"
    async with serving(limits=Limits(body_bytes=1000)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in (post, *[b"z" * 1_000_000] * 10):
            writer.write(piece)
            await writer.drain()
        answer = await reader.read()
        writer.close()

    assert statuses(answer) == [413]


async def test_a_body_announced_behind_a_parked_request_is_invited_after_its_answer() -> None:
    parking = Parking()
    post = b"POST / HTTP/1.1\r\n" + HOST + b"expect: 100-continue\r\nconnection: close\r\ncontent-length: 3\r\n\r\n"
    async with serving(parking) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /park HTTP/1.1\r\n" + HOST + b"\r\n" + post)
        (await parking.exchanges.get()).respond(200, (), b"late")
        before = await reader.readuntil(b"100 Continue\r\n\r\n")
        writer.write(b"abc")
        after = await reader.read()
        writer.close()

    assert b"late" in before
    assert after.endswith(b"\r\n\r\nabc")


async def test_a_streamed_body_is_invited_when_its_reader_asks() -> None:
    refused = b"POST /refuse HTTP/1.1\r\n" + HOST + b"expect: 100-continue\r\ncontent-length: 3\r\n\r\n"

    def handler(exchange: Exchange) -> None:
        exchange.respond(403)

    async with serving(handler, streams=lambda exchange: True) as port:
        answer = await talk(port, refused)

    assert statuses(answer) == [403]
    assert b"connection: close" in answer


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST / HTTP/1.1\r\n" + HOST + b"expect: dance\r\ncontent-length: 3\r\n\r\n", 417),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"GET /\r\n\r\n", 505),
        (b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n", 501),
        (b"PROPFIND / HTTP/1.1\r\n" + HOST + b"\r\n", 501),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
    ],
)
async def test_what_is_not_spoken_here_is_refused_by_name(request_bytes: bytes, status: int) -> None:
    async with serving() as port:
        assert statuses(await talk(port, request_bytes)) == [status]


@pytest.mark.parametrize("target", [b"http://x/p?q", b"HTTP://x:80/p?q"])
async def test_the_absolute_form_names_the_same_path(target: bytes) -> None:
    async with serving() as port:
        answer = await talk(port, b"GET %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" % target)

    assert b"x-path: /p\r\n" in answer


async def test_thousands_of_requests_behind_a_parked_one_are_all_answered() -> None:
    parking = Parking()
    async with serving(parking) as port:
        ahead = (b"GET /park HTTP/1.1\r\n" + HOST + b"\r\n") + (b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n") * 3000
        talking = asyncio.create_task(talk(port, ahead + CLOSE))
        (await parking.exchanges.get()).respond(200)
        answer = await talking

    assert statuses(answer) == [200] * 3002


async def test_a_peer_that_reads_nothing_gets_no_further_answers_made() -> None:
    made = 0

    def handler(exchange: Exchange) -> None:
        nonlocal made
        made += 1
        exchange.respond(200, (), b"z" * 4_000_000)

    async with serving(handler) as port:
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall((b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 100)
        for _ in range(50):
            await asyncio.sleep(0.001)
        sock.close()

    assert 1 <= made < 20


async def test_a_line_break_in_an_answers_header_is_never_sent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)

    def handler(exchange: Exchange) -> None:
        exchange.respond(200, ((b"x", b"a\r\nset-cookie: evil"),))

    async with serving(handler) as port:
        answer = await talk(port, CLOSE)

    assert statuses(answer) == [500]
    assert b"evil" not in answer


async def test_a_dripping_head_is_given_up_and_told_so() -> None:
    async with serving(limits=Limits(head_timeout_s=0.1)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nx: ")
        dripping = asyncio.create_task(_drip(writer))
        told = await reader.read()
        dripping.cancel()
        writer.close()

    assert statuses(told) == [408]


async def _drip(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"y")
        await asyncio.sleep(0.01)


async def test_a_peer_that_does_not_read_its_answer_is_cut_off() -> None:
    cut_off = asyncio.Event()

    async def stream(exchange: Exchange) -> None:
        exchange.on_close(cut_off.set)
        body = exchange.start(200)
        while not cut_off.is_set():
            await body.write(b"z" * 1_000_000)

    tasks: list[asyncio.Task[None]] = []
    limits = Limits(body_timeout_s=0.1)
    async with serving(lambda exchange: tasks.append(asyncio.create_task(stream(exchange))), limits) as port:
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(CLOSE)
        await cut_off.wait()
        with pytest.raises(ConnectionResetError):
            await tasks[0]
        sock.close()


async def test_unix_sockets_are_served_too(tmp_path: Path) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    async with Server(describe) as server:
        await server.serve_socket(sock)
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(CLOSE)
        answer = await reader.read()
        writer.close()

    assert statuses(answer) == [200]


CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"

CORPUS = [
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    b"GET /?a=b HTTP/1.0\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello",
    CHUNKED + b"2;a=b\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
    CHUNKED.replace(b"chunked", b"Chunked") + b"A\r\n0123456789\r\n0\r\nt: x\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHOST:x\r\nCoNNection: Close\r\nContent-Length:0\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nempty:\r\nspaced: \t a b \t\r\nconnection: close\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0x3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"GET / HTTP/1.1\r\nhost : x\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nbad\x00name: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n",
    b"GET / HTTX/1.1\r\nhost: x\r\n\r\n",
    b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", CORPUS)
async def test_aiohttp_gives_the_same_answer(request_bytes: bytes) -> None:
    async def oracle(request: aiohttp.web.BaseRequest) -> aiohttp.web.Response:
        return aiohttp.web.Response(body=await request.read())

    runner = aiohttp.web.ServerRunner(aiohttp.web.Server(oracle))
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    oracle_port = runner.addresses[0][1]
    async with serving(lambda exchange: exchange.respond(200, (), exchange.body)) as port:
        ours, theirs = await talk(port, request_bytes), await talk(oracle_port, request_bytes)
    await runner.cleanup()

    assert statuses(ours)[:1] == [int(theirs.split(b" ", 2)[1])]
    if statuses(ours) == [200]:
        assert ours.partition(b"\r\n\r\n")[2] == theirs.partition(b"\r\n\r\n")[2]
