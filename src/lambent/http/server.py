"""The server: listeners, the connections they brought, and one coarse sweep that ends those too slow."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self

from lambent.http.body import BodyReader
from lambent.http.connection import LINGER_S, Connection, Room
from lambent.http.exchange import BodyWriter, Exchange, Handler
from lambent.http.limits import Limits

__all__ = ["BodyReader", "BodyWriter", "Exchange", "Handler", "Limits", "Listener", "Server"]

_BACKLOG = 1024
_SWEEPS_PER_LIMIT = 8
_SHORTEST_SWEEP_S, _LONGEST_SWEEP_S = 0.02, 1.0


class Listener:
    """One listening socket; closing it leaves the connections that it brought."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self.address = server.sockets[0].getsockname()

    @property
    def port(self) -> int:
        return int(self.address[1])

    def close(self) -> None:
        self._server.close()


class Server:
    """Serves any number of listeners with one handler. An async context manager; leaving it cuts what still runs.

    `streams` tells by their heads which requests are handled at once, to be read from `exchange.body_reader`; all
    others are handled when their body is complete.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        limits: Limits | None = None,
        name: str = "lambent",
        streams: Callable[[Exchange], bool] | None = None,
    ) -> None:
        self.name = name
        self._handler = handler
        self._limits = limits or Limits()
        self._streams = streams
        self._room = Room(self._limits.bodies_bytes)
        self._listeners: list[Listener] = []
        self._connections: set[Connection] = set()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self.is_draining = False
        self._sweep: asyncio.TimerHandle | None = None
        self._waits: dict[Connection, tuple[tuple[str, int, int], float]] = {}
        self._sweep_s = _sweep_interval_s(self._limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain(0)

    async def listen(self, host: str, port: int) -> Listener:
        """Listen on an address; port 0 takes a free one."""
        loop = asyncio.get_running_loop()
        return self._add(await loop.create_server(self._make_connection, host, port, backlog=_BACKLOG))

    async def serve_socket(self, sock: socket.socket) -> Listener:
        """Take over a bound stream socket, TCP or Unix, perhaps of another network namespace."""
        loop = asyncio.get_running_loop()
        if sock.family == socket.AF_UNIX:
            return self._add(await loop.create_unix_server(self._make_connection, sock=sock, backlog=_BACKLOG))
        return self._add(await loop.create_server(self._make_connection, sock=sock, backlog=_BACKLOG))

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, end idle connections, let exchanges in flight end; cut what is left after the time."""
        self.is_draining = True
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            connection.drain()
        try:
            async with asyncio.timeout(timeout_s):
                await self._is_empty.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.abort()
            await self._is_empty.wait()

    @property
    def connections(self) -> int:
        return len(self._connections)

    def _add(self, server: asyncio.Server) -> Listener:
        listener = Listener(server)
        self._listeners.append(listener)
        return listener

    def _make_connection(self) -> Connection:
        return Connection(
            self._handler, self._limits, self._room, self._streams, self._connection_made, self._connection_lost
        )

    def _connection_made(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._is_empty.clear()
        if self._limits.connections is not None and len(self._connections) > self._limits.connections:
            connection.abort()
            return
        if self.is_draining:
            connection.drain()
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._sweep_s, self._sweep_connections)

    def _connection_lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._waits.pop(connection, None)
        if not self._connections:
            self._is_empty.set()
            if self._sweep is not None:
                self._sweep.cancel()
                self._sweep = None

    def _sweep_connections(self) -> None:
        """Add up, for each connection, how long it has shown the same mark; end those past their limit."""
        for connection in list(self._connections):
            limit_s, mark = connection.patience()
            last_mark, waited_s = self._waits.get(connection, (None, 0.0))
            waited_s = waited_s + self._sweep_s if mark == last_mark else 0.0
            self._waits[connection] = (mark, waited_s)
            if limit_s is not None and waited_s >= limit_s:
                connection.lose_patience()
        self._sweep = asyncio.get_running_loop().call_later(self._sweep_s, self._sweep_connections)


def _sweep_interval_s(limits: Limits) -> float:
    given = (limits.head_timeout_s, limits.body_timeout_s, limits.idle_timeout_s, LINGER_S)
    shortest_s = min(limit_s for limit_s in given if limit_s is not None)
    return min(_LONGEST_SWEEP_S, max(_SHORTEST_SWEEP_S, shortest_s / _SWEEPS_PER_LIMIT))
