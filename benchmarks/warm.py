"""Latency and throughput of warm invokes, the client included, beside the bare loop and AWS's emulator."""

from __future__ import annotations

import subprocess
from dataclasses import replace

from benchmarks import awss_client, floor_loop, lambent, peer_rie
from benchmarks.bench import Bench, Row, milliseconds
from benchmarks.load import Measured

_ROUNDS_OF = {1: 1000, 8: 4000, 32: 4000}
"""By connections: invokes in each."""


def rows(bench: Bench) -> list[Row]:
    bench.server.deploy("hello", lambent.HELLO, MemorySize=1769)  # one vCPU each, so that no quota is measured
    bench.server.settle()
    return [*(_row(bench, connections) for connections in _ROUNDS_OF), _row_of_awss_client(bench)]


def _row(bench: Bench, connections: int) -> Row:
    server, count = bench.server, bench.times(_ROUNDS_OF[connections])
    floor = bench.rounds(lambda: floor_loop.measure(connections=connections, count=count)).measured
    server.load("hello", connections=connections, count=count)  # and others stand ready for those it starts
    server.settle()
    rounds = bench.rounds(lambda: _round(server, "hello", connections, count))
    measured = rounds.measured
    invokes = len(measured.latencies_s)
    return {
        "what": f"warm invoke, {connections} at once",
        **rounds.row,
        "server CPU s per 1,000": round(measured.server_cpu_s / invokes * 1000, 3),
        "client CPU s per 1,000": round(measured.cpu_s / invokes * 1000, 3),
        "floor p50 ms": milliseconds(floor.percentile(0.5)),
        "floor per second": round(floor.per_second),
        "p50 / floor": round(measured.percentile(0.5) / floor.percentile(0.5), 2),
        **(_emulated(bench, count) if connections == 1 else {}),
    }


def _round(server: lambent.Target, function: str, connections: int, count: int) -> Measured:
    """With the CPU time of what was measured alone, for what warms it up is as much for each invoke."""
    warmup = count // 10
    before_s = server.cpu_s()
    measured = server.load(function, connections=connections, count=count, warmup=warmup)
    cpu_s = server.cpu_s() - before_s
    return replace(measured, server_cpu_s=cpu_s * count / (count + warmup))


def _emulated(bench: Bench, count: int) -> Row:
    """One at a time: the emulator breaks on more."""
    try:
        measured = bench.rounds(lambda: peer_rie.measure_warm(count=count)).measured
    except (peer_rie.Unavailable, subprocess.SubprocessError) as exc:
        return {"RIE": str(exc)}
    return {"RIE p50 ms": milliseconds(measured.percentile(0.5)), "RIE per second": round(measured.per_second)}


def _row_of_awss_client(bench: Bench) -> Row:
    what, server, name = "warm invoke, AWS's own runtime client", bench.server, "hello-awss-client"
    try:
        awss_client.deploy(server, name)
    except peer_rie.Unavailable as exc:
        return {"what": what, "skipped": str(exc)}
    server.load(name, connections=1, count=1)  # of its kind a part of the reserve is made
    server.settle()
    count = bench.times(_ROUNDS_OF[1])
    return {"what": what, **bench.rounds(lambda: _round(server, name, 1, count)).row}
