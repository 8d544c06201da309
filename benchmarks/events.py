"""Asynchronous invokes: durable accepts, end-to-end deliveries, and a million events that wait."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import psutil

from benchmarks import lambent
from benchmarks.bench import Row
from benchmarks.load import Measured
from lambent.adapters.sqlite.event_queue import SqliteEventQueue
from lambent.iam.sigv4 import sign
from lambent.model.arn import FunctionArn
from lambent.model.event import EventHead
from lambent.model.invocation import RequestId
from lambent.ports.event_queue import Item

CLIENTS = 32
_PATIENCE_S = 120


def deliveries(server: lambent.Target, scale: float) -> list[Row]:
    """Events to a function that answers at once: how fast they are accepted, and how fast all of them are delivered."""
    count = int(20_000 * scale)
    server.deploy("echo", lambent.HELLO, MemorySize=1769)
    _accept(server, "echo", 1_000)
    _wait_until_delivered(server)
    before, started, cpu_s = statistics(server)["counts"]["succeeded"], time.perf_counter(), server.cpu_s()
    measured = _accept(server, "echo", count)
    _wait_until_delivered(server)
    elapsed_s = time.perf_counter() - started
    delivered = statistics(server)["counts"]["succeeded"] - before
    return [
        {
            "what": f"events to a fast function, {CLIENTS} clients",
            "accepted per second": round(measured.per_second),
            "accept p50 ms": round(measured.percentile(0.5) * 1000, 2),
            "accept p99 ms": round(measured.percentile(0.99) * 1000, 2),
            "delivered end to end per second": round(delivered / elapsed_s),
            "server CPU s per 1,000": round((server.cpu_s() - cpu_s) / count * 1000, 3),
            "failures": measured.failures + count - delivered,
        }
    ]


def waiting(scale: float) -> list[Row]:
    """Accepts that nothing is delivered beside, with none and with a million events waiting."""
    count, million = int(10_000 * scale), int(1_000_000 * scale)
    with tempfile.TemporaryDirectory(prefix="lambent-benchmark-") as folder:
        data_dir = Path(folder, "data")
        with lambent.target(data_dir) as server:
            server.deploy("held", lambent.SLEEPER.replace("sleep(1)", "sleep(800)"), Timeout=900)
            server.client.put_function_concurrency(FunctionName="held", ReservedConcurrentExecutions=1)
            empty, empty_mib, empty_cpu_s = _accept_beside(server, count)
            server.service.kill()
        asyncio.run(_fill(data_dir / "events.db", million))
        with lambent.target(data_dir) as server:
            full, full_mib, full_cpu_s = _accept_beside(server, count)
            server.service.kill()
    return [
        {
            "what": f"accepts, {CLIENTS} clients, nothing waiting",
            "per second": round(empty.per_second),
            "server CPU s per 1,000": round(empty_cpu_s, 3),
            "RSS MiB": round(empty_mib),
            "failures": empty.failures,
        },
        {
            "what": f"accepts, {CLIENTS} clients, {million:,} events waiting",
            "per second": round(full.per_second),
            "of the empty queue's": round(full.per_second / empty.per_second, 2),
            "server CPU s per 1,000": round(full_cpu_s, 3),
            "RSS MiB": round(full_mib),
            "more MiB": round(full_mib - empty_mib),
            "failures": full.failures,
        },
    ]


def statistics(server: lambent.Target) -> Any:
    """What the server says of its events."""
    path, host = "/_lambent/events/statistics", urllib.parse.urlsplit(server.service.endpoint_url).netloc
    signed = sign(
        server.credential,
        method="GET",
        raw_path=path,
        query="",
        headers={"host": host},
        body=b"",
        region="us-east-1",
        service="lambda",
        now=time.time(),
    )
    with urllib.request.urlopen(urllib.request.Request(f"http://{host}{path}", headers=signed)) as answer:
        return json.load(answer)


def _accept(server: lambent.Target, function: str, count: int) -> Measured:
    return server.load(function, connections=CLIENTS, count=count, warmup=0, is_event=True)


def _accept_beside(server: lambent.Target, count: int) -> tuple[Measured, float, float]:
    """Measured after a first tenth, so that neither is cold; with the server's memory, and its CPU time per 1,000."""
    _accept(server, "held", count // 10)
    cpu_s = server.cpu_s()
    measured = _accept(server, "held", count)
    per_thousand_s = (server.cpu_s() - cpu_s) / count * 1_000
    return measured, psutil.Process(server.service.process.pid).memory_info().rss / 2**20, per_thousand_s


def _wait_until_delivered(server: lambent.Target) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while statistics(server)["waiting_events"] and time.monotonic() < deadline:
        time.sleep(0.02)


async def _fill(path: Path, count: int) -> None:
    function = FunctionArn(region="us-east-1", account="000000000000", name="held")
    head = EventHead(
        request_id=RequestId("0" * 36),
        function=function,
        trace_id="Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0",
        accepted_s=time.time(),
    )
    item = Item(head.lane, msgspec.json.encode(head), b'{"key":"value"}')
    async with SqliteEventQueue(path) as queue:
        for _ in range(0, count, 5_000):
            await asyncio.gather(*(queue.put(item) for _ in range(5_000)))
