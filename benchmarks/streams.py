"""Streams as a caller sees them: how soon the first piece comes, how fast the rest, what the server holds meanwhile."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

STREAMER = """
PIECE = bytes(256 * 1024)

def handler(event, context):
    yield b"first"
    for _ in range(4 * event.get("mib", 0)):
        yield PIECE
"""

_FIRST = b"first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    received_bytes: int
    elapsed_s: float
    memory_growth_mib: float
    """How much more the server held at its largest than before."""

    @property
    def mib_per_second(self) -> float:
        return self.received_bytes / 2**20 / self.elapsed_s


def first_bytes(port: int, request: bytes, end: bytes, count: int) -> list[float]:
    """Seconds from each request to the first piece of its answer, sorted. `end` is the last of an answer's bytes."""
    latencies = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            started = time.perf_counter()
            connection.sendall(request)
            received = b""
            while _FIRST not in received:
                received += connection.recv(65536)
            latencies.append(time.perf_counter() - started)
            while not received.endswith(end):
                received += connection.recv(65536)
    return sorted(latencies)


def flow(port: int, request: bytes, server: psutil.Process) -> Flow:
    """Read one answer to its end, as fast as it comes; the request must ask for the connection to be closed."""
    before = server.memory_info().rss
    with _peak(server) as peak, socket.create_connection(("127.0.0.1", port)) as connection:
        started = time.perf_counter()
        connection.sendall(request)
        buffer, received = bytearray(1024 * 1024), 0
        while size := connection.recv_into(buffer):
            received += size
        elapsed_s = time.perf_counter() - started
    return Flow(received_bytes=received, elapsed_s=elapsed_s, memory_growth_mib=(peak[0] - before) / 2**20)


@contextmanager
def _peak(server: psutil.Process) -> Iterator[list[int]]:
    """The largest resident memory within the block."""
    largest, is_over = [server.memory_info().rss], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.01):
            largest[0] = max(largest[0], server.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield largest
    finally:
        is_over.set()
        watcher.join()
