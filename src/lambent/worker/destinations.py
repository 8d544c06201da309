"""Where batches of telemetry go: an HTTP server or a TCP listener inside the environment."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from lambent.http.client import Client
from lambent.worker.subscription import HttpDestination, TcpDestination

Connect = Callable[[int], Awaitable[socket.socket]]
"""Makes a connection to a port inside the environment."""


ANSWER_BYTES = 64 * 1024
"""A subscriber may say so much to a batch; nobody reads it."""


class Undelivered(Exception):
    """The subscriber has not taken the batch."""


class Destination(Protocol):
    async def send(self, records: Sequence[bytes]) -> None:
        """Deliver a batch of JSON records; returns when the subscriber has taken it.

        Raises:
            Undelivered: it is not known to have.
        """
        ...

    async def close(self) -> None: ...


def open_destination(wanted: HttpDestination | TcpDestination, connect: Connect) -> Destination:
    return _Http(wanted, connect) if isinstance(wanted, HttpDestination) else _Tcp(wanted, connect)


class _Http:
    """One request for each batch, a JSON array. No time limit: between invokes the subscriber is frozen."""

    def __init__(self, wanted: HttpDestination, connect: Connect) -> None:
        self._wanted = wanted
        self._client = Client(
            "sandbox.localdomain",
            wanted.port,
            connections=1,
            connect=lambda: connect(wanted.port),
            answer_bytes=ANSWER_BYTES,
        )

    async def send(self, records: Sequence[bytes]) -> None:
        body = b"[%s]" % b",".join(records)
        headers = ((b"content-type", b"application/json"),)
        try:
            answer = await self._client.request(self._wanted.method, self._wanted.target, headers, body)
        except OSError as exc:
            raise Undelivered(str(exc)) from exc
        if not 200 <= answer.status < 300:
            raise Undelivered(f"the subscriber answered {answer.status}")

    async def close(self) -> None:
        await self._client.__aexit__(None, None, None)


class _Tcp:
    """One connection, one record to a line. What a subscriber that goes away has not read is lost with it."""

    def __init__(self, wanted: TcpDestination, connect: Connect) -> None:
        self._port = wanted.port
        self._connect = connect
        self._connection: socket.socket | None = None

    async def send(self, records: Sequence[bytes]) -> None:
        try:
            if self._connection is None:
                self._connection = await self._connect(self._port)
            await asyncio.get_running_loop().sock_sendall(self._connection, b"\n".join((*records, b"")))
        except OSError as exc:
            await self.close()
            raise Undelivered(str(exc)) from exc

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
