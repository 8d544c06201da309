"""`python -m benchmarks`: every figure beside its floor and beside a peer, measured in the same run.

Absolute times of a shared machine mean little; the ratios hold. Results go to benchmarks/results/ as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from benchmarks import (
    capacity,
    floor_fork,
    floor_node,
    keep_alive,
    lambent,
    peer_rie,
    sandbox_rate,
    snapstart,
    streams,
    warm,
)
from benchmarks import control as control_plane
from benchmarks import events as events_story
from benchmarks.backing import back
from benchmarks.bench import Bench, Row
from benchmarks.load import at
from benchmarks.polling import polling
from benchmarks.processors import Processors
from lambent.testing.service import running_service
from lambent.worker.runtimes import discover

_RESULTS = Path(__file__).parent / "results"


def cold(bench: Bench) -> list[Row]:
    """A function never invoked before: sandbox, runtime, handler, answer; and the floor, a bare sandbox forked."""
    count = bench.times(100, least=5)
    with bench.telling({}):
        floor = floor_fork.measure(max(20, count))
    rows = [
        _cold(bench, f"cold {what}", count, floor, code)
        for what, code in (("hello", lambent.HELLO), ("boto3 imported", lambent.USES_SDK))
    ]
    try:
        back(count * lambent.TOUCHED_MIB)
        with bench.telling({}):
            peer_latencies = peer_rie.measure_cold(max(3, count // 10))
        rows[0]["RIE p50 ms"] = round(at(peer_latencies, 0.5) * 1000, 2)
    except peer_rie.Unavailable as exc:
        rows[0]["RIE"] = str(exc)
    return rows


def _cold(bench: Bench, what: str, count: int, floor: list[float], code: str) -> Row:
    row: Row = {"what": what}
    latencies = bench.server.cold(what.replace(" ", "-"), code, count, told=bench.telling(row))
    return {
        **row,
        **_slow(latencies),
        "floor p50 ms": round(at(floor, 0.5) * 1000, 2),
        "floor least ms": round(floor[0] * 1000, 2),
        "p50 / floor": round(at(latencies, 0.5) / at(floor, 0.5), 1),
    }


def node(bench: Bench) -> list[Row]:
    """Node.js, warm and cold from an interpreter that waits; beside it the start of an interpreter, in no sandbox."""
    found = next((one for one in discover() if one.language == "nodejs"), None)
    if found is None:
        return [{"what": "Node.js", "skipped": "no Node.js on this host"}]
    settings = {"Runtime": found.runtime, "Handler": "index.handler"}
    modules = {
        "CommonJS": {"index.js": "exports.handler = async (event) => event;"},
        "ES module": {"index.mjs": "export const handler = async (event) => event;"},
    }
    server, count = bench.server, bench.times(1000)
    server.deploy("hello-node", modules["CommonJS"], MemorySize=1769, **settings)
    server.load("hello-node", connections=1, count=2 * count)
    rounds = bench.rounds(lambda: server.load("hello-node", connections=1, count=count))
    rows: list[Row] = [{"what": "warm invoke of Node.js", **rounds.row}]
    with bench.telling({}):
        floor = floor_node.measure(found.executable, bench.times(40, least=10))
    for kind, files in modules.items():
        row: Row = {"what": f"cold hello, Node.js, {kind}"}
        latencies = server.cold(
            f"cold-node-{kind[0]}", files, bench.times(60, least=5), pause_s=0.5, told=bench.telling(row), **settings
        )
        rows.append({**row, **_slow(latencies), "node -e 0, p50 ms": round(at(floor, 0.5) * 1000, 2)})
    return rows


def snap_start(bench: Bench) -> list[Row]:
    """numpy imported and 50 MB of numbers made in Init: with SnapStart, and without."""
    count = bench.times(60, least=5)
    with bench.telling({}):
        floor = floor_fork.measure(max(20, count))
    row: Row = {"what": "SnapStart, numpy and 50 MB"}
    try:
        with snapstart.numpy_layer(bench.server) as layer:
            with_it = snapstart.restored(bench.server, layer, count, bench.telling(row))
            without = snapstart.initialised(bench.server, layer, max(3, count // 6), bench.telling({}))
    except snapstart.Unavailable as exc:
        return [{"what": "SnapStart", "numpy": str(exc)}]
    return [
        {
            **row,
            **_slow(with_it),
            "floor p50 ms": round(at(floor, 0.5) * 1000, 2),
            "p50 / floor": round(at(with_it, 0.5) / at(floor, 0.5), 1),
            "without SnapStart p50 ms": round(at(without, 0.5) * 1000, 2),
            "without, least ms": round(without[0] * 1000, 2),
        }
    ]


def sandboxes(bench: Bench) -> list[Row]:
    """Sandboxes made a second, default egress, nothing run in them: by sandboxd alone."""
    count = bench.times(400, least=20)

    def measure() -> sandbox_rate.Rate:
        back(count * lambent.TOUCHED_MIB)
        return sandbox_rate.measure(count)

    rounds = bench.processors.rounds(measure, wanted=1, at_most=bench.times(8))
    rate = rounds[0].measured
    return [
        {
            "what": f"{count} sandboxes",
            "made per second": round(rate.per_second),
            "cleared away per second": round(rate.cleared_per_second),
            "rounds": f"1 of {len(rounds)}",
            "processors": round(rounds[0].speed, 2),
            "all rounds": [round(one.measured.per_second) for one in rounds],
        }
    ]


def memory(bench: Bench) -> list[Row]:
    """What an idle server and an idle environment hold, and how long a server takes to be ready: one of its own."""
    with tempfile.TemporaryDirectory(prefix="lambent-idle-") as folder:
        first_start_s = lambent.start_s(Path(folder, "data"))
        start_s = lambent.start_s(Path(folder, "data"))
        held = lambent.memory(Path(folder, "data"), bench.times(20, least=2))
    return [
        {"what": "idle server", "PSS MiB": round(held.server_mib, 1)},
        {"what": "idle environment", "PSS MiB": round(held.shared_mib, 2), "private MiB": round(held.private_mib, 2)},
        {"what": "serve until ready", "s": round(start_s, 2), "on an empty directory s": round(first_start_s, 2)},
    ]


def burst(bench: Bench) -> list[Row]:
    """Simultaneous first calls of a function that sleeps for a second, and of one that sleeps for longer.

    On a server of its own: nobody has called so many at once before the first of them, and as many before the second.
    """
    with (
        tempfile.TemporaryDirectory(prefix="lambent-burst-") as folder,
        lambent.target(Path(folder, "data")) as fresh,
    ):
        fresh_bench = replace(bench, server=fresh)
        rows = [
            _burst(fresh_bench, bench.times(number, least=10), which)
            for number in (200, 1000)
            for which in ("the first", "another, of another function")
        ]
        back(bench.times(1000) * lambent.TOUCHED_MIB)
        return [*rows, capacity.alive(fresh, bench.times(1000, least=10))]


def _burst(bench: Bench, count: int, which: str) -> Row:
    server, name = bench.server, "sleeper"
    server.deploy(name, lambent.SLEEPER, Timeout=60)
    server.settle()
    back(count * lambent.TOUCHED_MIB)
    standing = server.standing()
    row: Row = {"what": f"burst of {count} × 1 s, {which}"}
    with bench.telling(row):
        measured = server.load(name, connections=count, count=count)
    alive = server.environments()
    server.remove(name)
    return {
        **row,
        "all answered s": round(measured.elapsed_s, 2),
        "failures": measured.failures,
        "sandboxes that stood ready": standing,
        "environments alive": alive,
        "ideal s": 1.0,
    }


def stream(bench: Bench) -> list[Row]:
    """The first piece of a stream beside a whole warm invoke, by the same client; then 200 MB of it."""
    server = bench.server
    server.deploy("hello-stream", lambent.HELLO, MemorySize=1769)
    server.deploy("streamer", streams.STREAMER, MemorySize=1769, Timeout=60)
    count, mib = bench.times(4000), 199
    invoke = server.request("hello-stream", b'{"key":"first"}').encode()
    first = server.request("streamer", b"{}", operation=lambent.INVOKE_WITH_RESPONSE_STREAM).encode()
    large = server.request("streamer", b'{"mib":%d}' % mib, operation=lambent.INVOKE_WITH_RESPONSE_STREAM)
    large = large.replace("\r\n", "\r\nconnection: close\r\n", 1)
    for request, end in ((invoke, b'"first"}'), (first, b"0\r\n\r\n")):
        streams.first_bytes(server.port, request, end, count // 10)
    whole = streams.first_bytes(server.port, invoke, b'"first"}', count)
    soonest = streams.first_bytes(server.port, first, b"0\r\n\r\n", count)
    process = psutil.Process(server.service.process.pid)
    flows = [streams.flow(server.port, large.encode(), process) for _ in range(bench.times(5, least=2))]
    fastest = max(flows, key=lambda one: one.mib_per_second)
    return [
        {
            "what": "first byte of a stream",
            "p50 ms": round(at(soonest, 0.5) * 1000, 3),
            "p99 ms": round(at(soonest, 0.99) * 1000, 3),
            "whole warm invoke p50 ms": round(at(whole, 0.5) * 1000, 3),
            "p50 / whole invoke": round(at(soonest, 0.5) / at(whole, 0.5), 2),
        },
        {
            "what": f"stream of {mib} MiB",
            "MiB per second": round(fastest.mib_per_second),
            "slowest MiB per second": round(min(one.mib_per_second for one in flows)),
            "server's memory growth MiB": round(max(one.memory_growth_mib for one in flows), 1),
            "failures": sum(one.received_bytes < mib * 2**20 for one in flows),
        },
    ]


def control(bench: Bench) -> list[Row]:
    """Creations, pages of a long list, a start over many functions: on servers of its own, whose stores it fills."""
    functions, creations = bench.times(10_000), bench.times(400)
    with control_plane.two_stores() as (empty, full):
        control_plane.fill(full, functions)
        starts_s = [at(sorted(control_plane.start_s(one) for _ in range(3)), 0.5) for one in (empty, full)]
        with running_service(full, "--egress", "none") as service:
            client = service.client()
            pages = {kind: sorted(control_plane.pages(client, **kind_of)) for kind, kind_of in _LISTS.items()}
            rates = {n: control_plane.creations_per_second(client, count=creations, clients=n) for n in (1, 8)}
        floor = control_plane.synced_writes_per_second(empty)
    return [
        {
            "what": f"start over {functions} functions",
            "s": round(starts_s[1], 2),
            "floor s (no function)": round(starts_s[0], 2),
        },
        *(
            {
                "what": f"a page of {kind}, of {functions}",
                "p50 ms": round(at(taken, 0.5) * 1000, 2),
                "p99 ms": round(at(taken, 0.99) * 1000, 2),
            }
            for kind, taken in pages.items()
        ),
        *(
            {
                "what": f"CreateFunction, {clients} at once",
                "per second": round(rate),
                "floor per second (two synced files each)": round(floor),
            }
            for clients, rate in rates.items()
        ),
    ]


_LISTS: dict[str, dict[str, str]] = {"functions": {}, "all versions": {"FunctionVersion": "ALL"}}


def events(bench: Bench) -> list[Row]:
    """Asynchronous invokes, each on disk before it is accepted."""
    return [*events_story.deliveries(bench.server, bench.scale), *events_story.waiting(bench.scale)]


STORIES: dict[str, Callable[[Bench], list[Row]]] = {
    "warm": warm.rows,
    "cold": cold,
    "node": node,
    "snapstart": snap_start,
    "sandboxes": sandboxes,
    "memory": memory,
    "burst": burst,
    "stream": stream,
    "control": control,
    "events": events,
}


SIMULATIONS: dict[str, Callable[[float], list[Row]]] = {
    "keep-alive": lambda scale: keep_alive.rows(int(300 * scale)),
}
"""Nothing runs but the policy."""


def main() -> int:
    arguments = _parse()
    names = arguments.stories or [*STORIES, *SIMULATIONS]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # unwinds, to put back what was
    with polling(as_it_is=arguments.as_it_is) as idle_processors:
        machine = _told({**_machine(), "idle processors": idle_processors})
        rows = _measure(names, 0.1 if arguments.quick else 1.0)
    path = arguments.json or _RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2))
    print(f"written to {path}")
    return 1 if any(row.get("failures") for row in rows) else 0


def _measure(names: list[str], scale: float) -> list[Row]:
    rows = [_told(row) for name in names if name in SIMULATIONS for row in SIMULATIONS[name](scale)]
    if stories := [name for name in names if name in STORIES]:
        with (
            tempfile.TemporaryDirectory(prefix="lambent-benchmark-") as folder,
            lambent.target(Path(folder, "data")) as server,
            Processors() as processors,
        ):
            bench = Bench(server, processors, scale)
            rows += [_told(row) for name in stories for row in STORIES[name](bench)]
    return rows


def _told(row: Row) -> Row:
    print("  ".join(f"{key}: {value}" for key, value in row.items()), flush=True)
    return row


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("stories", nargs="*", choices=[[], *STORIES, *SIMULATIONS], help="which to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, to see that it runs")
    parser.add_argument(
        "--as-it-is", action="store_true", help="leave a virtual machine's idle processors halting at once, if they do"
    )
    parser.add_argument("--json", type=Path, help="where to write the results")
    return parser.parse_args()


def _slow(latencies: list[float]) -> Row:
    """What takes milliseconds, sorted."""
    return {
        "p50 ms": round(at(latencies, 0.5) * 1000, 2),
        "p99 ms": round(at(latencies, 0.99) * 1000, 2),
        "least ms": round(latencies[0] * 1000, 2),
    }


def _machine() -> Row:
    return {
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "touch of a page us": round(back(1024), 1),
        "touched again us": round(back(1024), 1),
    }


if __name__ == "__main__":
    sys.exit(main())
