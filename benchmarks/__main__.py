"""`python -m benchmarks`: every figure beside its floor and beside a peer, measured in the same run.

Absolute times of a shared machine mean little; the ratios hold. Results go to benchmarks/results/ as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks import (
    awss_client,
    capacity,
    floor_fork,
    floor_loop,
    floor_node,
    keep_alive,
    lambent,
    peer_rie,
    sandbox_rate,
    snapstart,
    streams,
)
from benchmarks import control as control_plane
from benchmarks import events as events_story
from benchmarks.backing import back
from benchmarks.load import Measured
from benchmarks.polling import polling
from lambent.testing.service import running_service
from lambent.worker.runtimes import discover

Row = dict[str, object]

_RESULTS = Path(__file__).parent / "results"


def warm(server: lambent.Target, scale: float) -> list[Row]:
    """Latency and throughput of warm invokes, the client included; one vCPU each, so that no quota is measured."""
    server.deploy("hello", lambent.HELLO, MemorySize=1769)
    server.settle()
    rows: list[Row] = []
    for connections, count in ((1, 4000), (8, 16000), (32, 16000)):
        count = int(count * scale)
        floor = floor_loop.measure(connections=connections, count=count)
        server.load("hello", connections=connections, count=count // 10)  # and others stand ready for those it starts
        server.settle()
        before = server.cpu_s()
        measured = server.load("hello", connections=connections, count=count, warmup=count // 10)
        cpu_s = server.cpu_s() - before
        peer = _peer(lambda n=connections, c=count: peer_rie.measure_warm(connections=n, count=c), connections)
        rows.append(
            {
                "what": f"warm invoke, {connections} at once",
                **_latency(measured),
                "per second": round(measured.per_second),
                "failures": measured.failures,
                "server CPU s per 1,000": round(cpu_s / (1.1 * count) * 1000, 3),
                "client CPU s per 1,000": round(measured.cpu_s / count * 1000, 3),
                "floor p50 ms": round(floor.percentile(0.5) * 1000, 3),
                "floor per second": round(floor.per_second),
                "p50 / floor": round(measured.percentile(0.5) / floor.percentile(0.5), 2),
                **peer,
            }
        )
    return [*rows, _warm_with_awss_client(server, int(4000 * scale))]


def _warm_with_awss_client(server: lambent.Target, count: int) -> Row:
    what = "warm invoke, AWS's own runtime client"
    try:
        awss_client.deploy(server, "hello-awss-client")
        server.load("hello-awss-client", connections=1, count=1)  # of its kind a part of the reserve is made
        server.settle()
    except peer_rie.Unavailable as exc:
        return {"what": what, "skipped": str(exc)}
    measured = server.load("hello-awss-client", connections=1, count=count, warmup=count // 10)
    return {
        "what": what,
        **_latency(measured),
        "per second": round(measured.per_second),
        "failures": measured.failures,
    }


def cold(server: lambent.Target, scale: float) -> list[Row]:
    """A function never invoked before: sandbox, runtime, handler, answer; and the floor, a bare sandbox forked."""
    count = max(5, int(100 * scale))
    floor = floor_fork.measure(max(20, count))
    rows: list[Row] = []
    for what, code in (("hello", lambent.HELLO), ("boto3 imported", lambent.USES_SDK)):
        latencies = server.cold(f"cold-{what.partition(' ')[0]}", code, count)
        rows.append(
            {
                "what": f"cold {what}",
                "p50 ms": round(_at(latencies, 0.5) * 1000, 2),
                "p99 ms": round(_at(latencies, 0.99) * 1000, 2),
                "least ms": round(latencies[0] * 1000, 2),
                "floor p50 ms": round(_at(floor, 0.5) * 1000, 2),
                "floor least ms": round(floor[0] * 1000, 2),
                "p50 / floor": round(_at(latencies, 0.5) / _at(floor, 0.5), 1),
            }
        )
    try:
        back(count * lambent.TOUCHED_MIB)
        peer_latencies = peer_rie.measure_cold(max(3, count // 10))
        rows[0]["RIE p50 ms"] = round(_at(peer_latencies, 0.5) * 1000, 2)
    except peer_rie.Unavailable as exc:
        rows[0]["RIE"] = str(exc)
    return rows


def node(server: lambent.Target, scale: float) -> list[Row]:
    """Node.js, warm and cold from an interpreter that waits; beside it the start of an interpreter, in no sandbox."""
    found = next((one for one in discover() if one.language == "nodejs"), None)
    if found is None:
        return [{"what": "Node.js", "skipped": "no Node.js on this host"}]
    settings = {"Runtime": found.runtime, "Handler": "index.handler"}
    modules = {
        "CommonJS": {"index.js": "exports.handler = async (event) => event;"},
        "ES module": {"index.mjs": "export const handler = async (event) => event;"},
    }
    count = int(4000 * scale)
    server.deploy("hello-node", modules["CommonJS"], MemorySize=1769, **settings)
    measured = server.load("hello-node", connections=1, count=count, warmup=count // 2)
    rows: list[Row] = [{"what": "warm invoke of Node.js", **_latency(measured), "failures": measured.failures}]
    floor = floor_node.measure(found.executable, max(10, int(40 * scale)))
    for kind, files in modules.items():
        latencies = server.cold(f"cold-node-{kind[0]}", files, max(5, int(60 * scale)), pause_s=0.5, **settings)
        rows.append(
            {
                "what": f"cold hello, Node.js, {kind}",
                "p50 ms": round(_at(latencies, 0.5) * 1000, 2),
                "p99 ms": round(_at(latencies, 0.99) * 1000, 2),
                "least ms": round(latencies[0] * 1000, 2),
                "node -e 0, p50 ms": round(_at(floor, 0.5) * 1000, 2),
            }
        )
    return rows


def snap_start(server: lambent.Target, scale: float) -> list[Row]:
    """numpy imported and 50 MB of numbers made in Init: with SnapStart, and without."""
    count = max(5, int(60 * scale))
    floor = floor_fork.measure(max(20, count))
    try:
        with snapstart.numpy_layer(server) as layer:
            with_it = snapstart.restored(server, layer, count)
            without = snapstart.initialised(server, layer, max(3, count // 6))
    except snapstart.Unavailable as exc:
        return [{"what": "SnapStart", "numpy": str(exc)}]
    return [
        {
            "what": "SnapStart, numpy and 50 MB",
            "p50 ms": round(_at(with_it, 0.5) * 1000, 2),
            "p99 ms": round(_at(with_it, 0.99) * 1000, 2),
            "least ms": round(with_it[0] * 1000, 2),
            "floor p50 ms": round(_at(floor, 0.5) * 1000, 2),
            "p50 / floor": round(_at(with_it, 0.5) / _at(floor, 0.5), 1),
            "without SnapStart p50 ms": round(_at(without, 0.5) * 1000, 2),
            "without, least ms": round(without[0] * 1000, 2),
        }
    ]


def sandboxes(server: lambent.Target, scale: float) -> list[Row]:
    """Sandboxes made a second, default egress, nothing run in them: by sandboxd alone."""
    count = max(20, int(400 * scale))
    back(count * lambent.TOUCHED_MIB)
    per_second, cleared_per_second = sandbox_rate.measure(count)
    return [
        {
            "what": f"{count} sandboxes",
            "made per second": round(per_second),
            "cleared away per second": round(cleared_per_second),
        }
    ]


def memory(server: lambent.Target, scale: float) -> list[Row]:
    """What an idle server and an idle environment hold, and how long a server takes to be ready: one of its own."""
    with tempfile.TemporaryDirectory(prefix="lambent-idle-") as folder:
        first_start_s = lambent.start_s(Path(folder, "data"))
        start_s = lambent.start_s(Path(folder, "data"))
        held = lambent.memory(Path(folder, "data"), max(2, int(20 * scale)))
    return [
        {"what": "idle server", "PSS MiB": round(held.server_mib, 1)},
        {"what": "idle environment", "PSS MiB": round(held.shared_mib, 2), "private MiB": round(held.private_mib, 2)},
        {"what": "serve until ready", "s": round(start_s, 2), "on an empty directory s": round(first_start_s, 2)},
    ]


def burst(server: lambent.Target, scale: float) -> list[Row]:
    """Simultaneous first calls of a function that sleeps for a second, and of one that sleeps for longer.

    On a server of its own: nobody has called so many at once before the first of them, and as many before the second.
    """
    with (
        tempfile.TemporaryDirectory(prefix="lambent-burst-") as folder,
        lambent.target(Path(folder, "data")) as fresh,
    ):
        rows = [
            _burst(fresh, max(10, int(number * scale)), which)
            for number in (200, 1000)
            for which in ("the first", "another, of another function")
        ]
        back(int(1000 * scale) * lambent.TOUCHED_MIB)
        return [*rows, capacity.alive(fresh, max(10, int(1000 * scale)))]


def _burst(server: lambent.Target, count: int, which: str) -> Row:
    name = "sleeper"
    server.deploy(name, lambent.SLEEPER, Timeout=60)
    server.settle()
    back(count * lambent.TOUCHED_MIB)
    standing = server.standing()
    measured = server.load(name, connections=count, count=count)
    alive = server.environments()
    server.remove(name)
    return {
        "what": f"burst of {count} × 1 s, {which}",
        "all answered s": round(measured.elapsed_s, 2),
        "failures": measured.failures,
        "sandboxes that stood ready": standing,
        "environments alive": alive,
        "ideal s": 1.0,
    }


def stream(server: lambent.Target, scale: float) -> list[Row]:
    """The first piece of a stream beside a whole warm invoke, by the same client; then 200 MB of it."""
    server.deploy("hello-stream", lambent.HELLO, MemorySize=1769)
    server.deploy("streamer", streams.STREAMER, MemorySize=1769, Timeout=60)
    count, mib = int(4000 * scale), 199
    invoke = server.request("hello-stream", b'{"key":"first"}').encode()
    first = server.request("streamer", b"{}", operation=lambent.INVOKE_WITH_RESPONSE_STREAM).encode()
    large = server.request("streamer", b'{"mib":%d}' % mib, operation=lambent.INVOKE_WITH_RESPONSE_STREAM)
    large = large.replace("\r\n", "\r\nconnection: close\r\n", 1)
    for request, end in ((invoke, b'"first"}'), (first, b"0\r\n\r\n")):
        streams.first_bytes(server.port, request, end, count // 10)
    whole = streams.first_bytes(server.port, invoke, b'"first"}', count)
    soonest = streams.first_bytes(server.port, first, b"0\r\n\r\n", count)
    process = psutil.Process(server.service.process.pid)
    flows = [streams.flow(server.port, large.encode(), process) for _ in range(max(2, int(5 * scale)))]
    fastest = max(flows, key=lambda one: one.mib_per_second)
    return [
        {
            "what": "first byte of a stream",
            "p50 ms": round(_at(soonest, 0.5) * 1000, 3),
            "p99 ms": round(_at(soonest, 0.99) * 1000, 3),
            "whole warm invoke p50 ms": round(_at(whole, 0.5) * 1000, 3),
            "p50 / whole invoke": round(_at(soonest, 0.5) / _at(whole, 0.5), 2),
        },
        {
            "what": f"stream of {mib} MiB",
            "MiB per second": round(fastest.mib_per_second),
            "slowest MiB per second": round(min(one.mib_per_second for one in flows)),
            "server's memory growth MiB": round(max(one.memory_growth_mib for one in flows), 1),
            "failures": sum(one.received_bytes < mib * 2**20 for one in flows),
        },
    ]


def control(server: lambent.Target, scale: float) -> list[Row]:
    """Creations, pages of a long list, a start over many functions: on servers of its own, whose stores it fills."""
    functions, creations = int(10_000 * scale), int(400 * scale)
    with control_plane.two_stores() as (empty, full):
        control_plane.fill(full, functions)
        starts_s = [_at(sorted(control_plane.start_s(one) for _ in range(3)), 0.5) for one in (empty, full)]
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
                "p50 ms": round(_at(taken, 0.5) * 1000, 2),
                "p99 ms": round(_at(taken, 0.99) * 1000, 2),
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


def events(server: lambent.Target, scale: float) -> list[Row]:
    """Asynchronous invokes, each on disk before it is accepted."""
    return [*events_story.deliveries(server, scale), *events_story.waiting(scale)]


STORIES: dict[str, Callable[[lambent.Target, float], list[Row]]] = {
    "warm": warm,
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
        ):
            rows += [_told(row) for name in stories for row in STORIES[name](server, scale)]
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


def _latency(measured: Measured) -> Row:
    return {
        "p50 ms": round(measured.percentile(0.5) * 1000, 3),
        "p99 ms": round(measured.percentile(0.99) * 1000, 3),
    }


def _peer(measure: Callable[[], Measured], connections: int) -> Row:
    """The emulator serves one invocation at a time and breaks on more."""
    if connections > 1:
        return {}
    try:
        measured = measure()
    except (peer_rie.Unavailable, subprocess.SubprocessError) as exc:
        return {"RIE": str(exc)}
    return {
        "RIE p50 ms": round(measured.percentile(0.5) * 1000, 3),
        "RIE per second": round(measured.per_second),
    }


def _at(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


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
