"""The floor of a warm invoke: front door, parked /next, /response and answer in one bare loop, nothing else.

Unsigned, unsandboxed, unlogged; httptools and uvloop; the runtime is an echo client in a second process.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, cast

import httptools
import uvloop

from benchmarks.load import Load, Measured, run

_OK = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s"
_ACCEPTED = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
_EVENT = b'{"key":"value"}'


def request() -> str:
    return f"POST /invoke HTTP/1.1\r\nhost: x\r\ncontent-length: {len(_EVENT)}\r\n\r\n{_EVENT.decode()}"


def measure(*, connections: int, count: int) -> Measured:
    with _serving(runtimes=connections) as port:
        load = Load(
            host="127.0.0.1", port=port, requests=(request(),), connections=connections, count=count, warmup=count // 10
        )
        return run(load)


class _Bare(asyncio.Protocol):
    """All of the server: callers wait in one line, runtimes in the other."""

    callers: ClassVar[deque[tuple[_Bare, bytes]]] = deque()
    parked: ClassVar[deque[_Bare]] = deque()

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self.caller: _Bare | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._url == b"/invoke":
            _Bare.callers.append((self, self._body))
        elif self._url == b"/next":
            _Bare.parked.append(self)
        else:
            assert self.caller is not None
            self.caller.transport.write(_OK % (len(self._body), self._body))
            self.transport.write(_ACCEPTED)
        while _Bare.callers and _Bare.parked:
            caller, event = _Bare.callers.popleft()
            runtime = _Bare.parked.popleft()
            runtime.caller = caller
            runtime.transport.write(_OK % (len(event), event))


def _serve(listener: socket.socket) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(_Bare, sock=listener)
        await server.serve_forever()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def _echo(port: int) -> None:
    """The bare runtime: asks, answers, asks again; response and next in one write."""
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ask = b"GET /next HTTP/1.1\r\nhost: x\r\n\r\n"
        peer.sendall(ask)
        while data := peer.recv(65536):
            if b"200 OK" not in data:
                continue
            body = data.rpartition(b"\r\n\r\n")[2]
            head = b"POST /response HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
            peer.sendall(head + body + ask)


@contextmanager
def _serving(runtimes: int) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    port = listener.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_serve, args=(listener,), daemon=True)]
    processes += [context.Process(target=_echo, args=(port,), daemon=True) for _ in range(runtimes)]
    for process in processes:
        process.start()
    try:
        yield port
    finally:
        for process in processes:
            process.kill()
            process.join()
        listener.close()
