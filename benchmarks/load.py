"""The load: a process of its own that sends requests in turn over N connections, each one after the answer before it.

A request is signed once and its bytes are reused: a signature is valid for minutes, and the server checks each.
Run as `python -m benchmarks.load`; the plan comes as JSON on stdin, the latencies go as JSON to stdout.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import httptools
import uvloop


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`count` requests over `connections`, `warmup` of them not measured."""

    host: str
    port: int
    requests: tuple[str, ...]
    """Sent one after the other, then from the first again."""
    connections: int
    count: int
    warmup: int = 0
    status: int = 200
    """What a good answer has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Latencies in seconds, sorted; `started_s` by `time.perf_counter`; `cpu_s` is the client's own."""

    latencies_s: list[float]
    started_s: float
    elapsed_s: float
    cpu_s: float
    failures: int
    server_cpu_s: float = 0.0
    """Where somebody has looked at it."""

    def percentile(self, share: float) -> float:
        return at(self.latencies_s, share)

    @property
    def per_second(self) -> float:
        return len(self.latencies_s) / self.elapsed_s


def at(values: Sequence[float], share: float) -> float:
    """The value below which that share of sorted values lies."""
    return values[min(len(values) - 1, int(len(values) * share))]


def together(parts: Sequence[Measured]) -> Measured:
    """What was measured in turns, as one."""
    return Measured(
        latencies_s=sorted(latency for part in parts for latency in part.latencies_s),
        started_s=min(part.started_s for part in parts),
        elapsed_s=sum(part.elapsed_s for part in parts),
        cpu_s=sum(part.cpu_s for part in parts),
        failures=sum(part.failures for part in parts),
        server_cpu_s=sum(part.server_cpu_s for part in parts),
    )


def run(load: Load) -> Measured:
    """Run a load in its own process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=json.dumps(asdict(load)),
        capture_output=True,
        text=True,
        check=True,
    )
    return Measured(**json.loads(done.stdout))


class _Connection(asyncio.Protocol):
    def __init__(
        self, requests: Iterator[bytes], latencies: list[float], remaining: list[int], done: asyncio.Event, status: int
    ) -> None:
        self._requests = requests
        self._latencies = latencies
        self._remaining = remaining
        self._done = done
        self._status = status
        self._parser = httptools.HttpResponseParser(self)
        self.failures = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self) -> None:
        if self._remaining[0] <= 0:
            self._done.set()
            return
        self._remaining[0] -= 1
        assert self.transport is not None
        request = next(self._requests)
        self._sent = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.failures += 1
        self._done.set()

    def on_message_complete(self) -> None:
        self._latencies.append(time.perf_counter() - self._sent)
        self.failures += self._parser.get_status_code() != self._status
        self.send()


async def _generate(load: Load) -> Measured:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    requests = itertools.cycle([request.encode("latin-1") for request in load.requests])
    remaining, events, connections = [load.warmup], [], []
    for _ in range(load.connections):
        event = asyncio.Event()
        _, connection = await loop.create_connection(
            lambda done=event: _Connection(requests, latencies, remaining, done, load.status),
            load.host,
            load.port,
        )
        events.append(event)
        connections.append(connection)
    if load.warmup:
        await _all(connections, events)
        latencies.clear()
    remaining[0] = load.count
    cpu, started = time.process_time(), time.perf_counter()
    await _all(connections, events)
    elapsed_s = time.perf_counter() - started
    return Measured(
        latencies_s=sorted(latencies),
        started_s=started,
        elapsed_s=elapsed_s,
        cpu_s=time.process_time() - cpu,
        failures=sum(connection.failures for connection in connections),
    )


async def _all(connections: list[_Connection], events: list[asyncio.Event]) -> None:
    for event, connection in zip(events, connections, strict=True):
        event.clear()
        connection.send()
    for event in events:
        await event.wait()


def main() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    load = Load(**json.loads(sys.stdin.read()))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        json.dump(asdict(runner.run(_generate(load))), sys.stdout)


if __name__ == "__main__":
    main()
