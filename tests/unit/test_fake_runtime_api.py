"""The fake Runtime API keeps the real one's order, so that a client that passes against it has learnt something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lambent.testing.fake_runtime_api import FakeRuntimeApi

NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\n"


class Client:
    """Writes requests as bytes and reads the status of each answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, request: bytes) -> int:
        self.writer.write(request)
        return await self.status()

    async def status(self) -> int:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
        await self.reader.readexactly(length)
        return int(head.split(b" ")[1])


@asynccontextmanager
async def client_of(api: FakeRuntimeApi) -> AsyncIterator[Client]:
    host, port = api.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


def post(path: str, body: bytes = b"1") -> bytes:
    return b"POST /2018-06-01/runtime/%s HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(body), body)


async def test_an_answer_to_nothing_is_refused() -> None:
    async with FakeRuntimeApi() as api, client_of(api) as client:
        assert await client.ask(post("invocation/a/response")) == 403


async def test_an_answer_to_another_request_is_refused_and_the_right_one_accepted() -> None:
    async with FakeRuntimeApi() as api, client_of(api) as client:
        invoking = asyncio.ensure_future(api.invoke(headers={"Lambda-Runtime-Aws-Request-Id": "a"}))

        assert await client.ask(NEXT) == 200
        assert await client.ask(post("invocation/b/response")) == 400
        assert await client.ask(NEXT) == 403
        assert await client.ask(post("invocation/a/response")) == 202
        assert (await invoking).body == b"1"


async def test_a_second_question_for_the_next_is_refused() -> None:
    async with FakeRuntimeApi() as api, client_of(api) as client:
        assert await client.ask(NEXT + NEXT) == 403


async def test_a_response_beyond_the_limit_is_told_and_kept() -> None:
    async with FakeRuntimeApi(response_limit_bytes=3) as api, client_of(api) as client:
        invoking = asyncio.ensure_future(api.invoke(headers={"Lambda-Runtime-Aws-Request-Id": "a"}))

        assert await client.ask(NEXT) == 200
        assert await client.ask(post("invocation/a/response", b"1234")) == 413
        assert (await invoking).status == 413


async def test_unknown_paths_are_not_found() -> None:
    async with FakeRuntimeApi() as api, client_of(api) as client:
        assert await client.ask(b"GET /nonsense HTTP/1.1\r\n\r\n") == 404
