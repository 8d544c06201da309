"""HTTP/1.1 over one keep-alive connection: as much of it as a client of the Runtime API needs.

It stands on `_socket`, since `socket` and `http.client` cost more to import than all the rest of this client.
"""

from __future__ import annotations

import _socket
from functools import lru_cache

_CHUNK_BYTES = 256 * 1024
_HEAD_BYTES = 16 * 1024
"""What is read before anything is known of an answer: a larger buffer would be mapped and unmapped each time."""


class ConnectionLost(Exception):
    """The platform closed the connection: this environment is over."""


class Connection:
    """Answers come back in the order of the requests, so any number of them may be sent ahead."""

    __slots__ = ("_has_read", "_received", "_socket", "_wake_at")

    def __init__(self, connected: _socket.socket) -> None:
        self._socket = connected
        self._received = b""
        self._wake_at = 1
        self._has_read = False

    def send(self, *parts: bytes | memoryview, wake_at: int = 1) -> None:
        """Write all parts, in one system call where the kernel takes them whole.

        The first read after it sleeps until `wake_at` bytes have come, or the connection has ended.
        """
        self._has_read = False
        self._set_wake_at(wake_at)
        try:
            sent = self._socket.sendmsg(parts)
            if sent < sum(map(len, parts)):
                self._socket.sendall(memoryview(b"".join(parts))[sent:])
        except OSError as exc:
            raise ConnectionLost(str(exc)) from exc

    def read_answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer: its status, its headers by lower-case name, its body."""
        status, headers = _parse_head(self._take_until(b"\r\n\r\n"))
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = self._take_chunks()
        else:
            body = self._take(int(headers.get("content-length", 0)))
        return status, headers, body

    def _take_chunks(self) -> bytes:
        chunks = []
        while True:
            size = int(self._take_until(b"\r\n").partition(b";")[0], 16)
            if size == 0:
                break
            chunks.append(self._take(size))
            self._take(2)
        while self._take_until(b"\r\n"):
            pass  # trailers
        return b"".join(chunks)

    def _take_until(self, end: bytes) -> bytes:
        position = self._received.find(end)
        while position < 0:
            self._received += self._receive(_HEAD_BYTES)
            position = self._received.find(end)
        taken, self._received = self._received[:position], self._received[position + len(end) :]
        return taken

    def _take(self, size: int) -> bytes:
        missing = size - len(self._received)
        if missing > 0:
            parts = [self._received]
            while missing > 0:
                parts.append(self._receive(min(missing, _CHUNK_BYTES)))
                missing -= len(parts[-1])
            self._received = b"".join(parts)
        taken, self._received = self._received[:size], self._received[size:]
        return taken

    def _receive(self, size: int) -> bytes:
        if self._has_read:
            self._set_wake_at(1)  # what is still missing may be a single byte
        self._has_read = True
        try:
            data = self._socket.recv(size)
        except OSError as exc:
            raise ConnectionLost(str(exc)) from exc
        if not data:
            raise ConnectionLost("the platform closed the connection")
        return data

    def _set_wake_at(self, size: int) -> None:
        if size != self._wake_at:
            self._socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVLOWAT, size)
            self._wake_at = size


def connect(host: str, port: int) -> Connection:
    """A connection to the Runtime API."""
    connected = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    connected.connect((host, port))
    connected.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    return Connection(connected)


@lru_cache(maxsize=2)  # that an answer was accepted is told in the same words for a second, between two invocations
def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    status_line, *lines = head.decode("utf-8", "replace").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return int(status_line.split(" ", 2)[1]), headers
