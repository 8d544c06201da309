"""The server: listeners, their connections, and an end that lets what runs come to its own."""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType
from typing import Self

from lambent.http.connection import Connection, Handler, Phase, Streams
from lambent.http.exchange import Exchange
from lambent.http.limits import Limits

__all__ = ["Exchange", "Handler", "Limits", "Listener", "Server", "Streams"]

_SWEEP_S = 1.0
"""Timeouts are looked at this often, so that they cost nothing per request."""


class Listener:
    """One listening socket of a server."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server

    @property
    def address(self) -> tuple[str, int]:
        host, port, *_ = self._server.sockets[0].getsockname()
        return str(host), int(port)

    def close(self) -> None:
        self._server.close()


class Server:
    """Calls `handler` in the event loop once per request; leaving it closes every connection.

    `streams` tells for a method and path whether the body is to be streamed: the handler is then called at the end of
    the head and reads `exchange.body_reader`.
    """

    def __init__(
        self, handler: Handler, *, limits: Limits | None = None, name: str = "lambent", streams: Streams | None = None
    ) -> None:
        self.handler = handler
        self.limits = limits or Limits()
        self.name = name
        self.streams = streams
        self.is_draining = False
        self._listeners: list[Listener] = []
        self._connections: set[Connection] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._one_closed = asyncio.Event()
        self._timeouts = {
            Phase.IDLE: self.limits.idle_timeout_s,
            Phase.HEAD: self.limits.head_timeout_s,
            Phase.BODY: self.limits.body_timeout_s,
            Phase.ANSWER: None,
        }

    async def __aenter__(self) -> Self:
        if any(timeout is not None for timeout in self._timeouts.values()):
            self._sweeper = asyncio.create_task(self._sweep(), name=f"http sweep {self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            connection.close()

    async def listen(self, host: str, port: int) -> Listener:
        """Listen on an address of our own. Raises OSError as `bind` does."""
        return self._keep(await asyncio.get_running_loop().create_server(self._connect, host, port, backlog=1024))

    async def serve_socket(self, sock: socket.socket) -> Listener:
        """Serve a socket that listens already, perhaps in another network namespace."""
        return self._keep(await asyncio.get_running_loop().create_server(self._connect, sock=sock))

    async def drain(self, timeout_s: float) -> None:
        """Accept nothing more, let the exchanges in flight end (at most `timeout_s`), hang up on all."""
        self.is_draining = True
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            connection.end_soon()
        try:
            async with asyncio.timeout(timeout_s):
                while self._connections:
                    self._one_closed = asyncio.Event()
                    await self._one_closed.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.abort()

    def opened(self, connection: Connection) -> None:
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._one_closed.set()

    def _connect(self) -> Connection:
        return Connection(self)

    def _keep(self, server: asyncio.Server) -> Listener:
        listener = Listener(server)
        self._listeners.append(listener)
        return listener

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_S)
            now_s = loop.time()
            for connection in list(self._connections):
                timeout_s = self._timeouts[connection.phase]
                if timeout_s is not None and now_s - connection.since_s > timeout_s:
                    connection.time_out()
