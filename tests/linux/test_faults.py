"""Many invokes while everything breaks at random: each caller hears exactly once, and nothing is left behind.

`LAMBENT_FAULT_INVOKES` sets how many (the default keeps the suite short).
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from sandboxing import children_of

from lambent.testing.service import RunningService, deploy, running_service
from lambent.worker.sandbox.cgroups import own_trees

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root")

INVOKES = int(os.environ.get("LAMBENT_FAULT_INVOKES", "600"))

CODE = """
import os, time
def handler(event, context):
    match event["do"]:
        case "answer": return event["n"]
        case "raise": raise KeyError(event["n"])
        case "exit": os._exit(3)
        case "sleep": time.sleep(30)
        case "hog": bytearray(1 << 30)
        case "linger": time.sleep(0.3); return event["n"]
"""

EXPECTED = {
    "answer": {"ok"},
    "raise": {"KeyError"},
    "exit": {"Runtime.ExitError"},
    "sleep": {"Sandbox.Timedout"},
    "hog": {"Runtime.OutOfMemory"},
    "linger": {"ok"},
}
HOG = "faulty-hog"
KILLED_FROM_OUTSIDE = {"Runtime.ExitError", "Runtime.OutOfMemory"}


def kernel_objects(service: RunningService) -> dict[str, int]:
    """What the server and its sandboxes hold of the kernel."""
    pid = service.process.pid
    processes = [psutil.Process(pid), *children_of(pid)]
    groups = [tree.directory / f"lambent-{server_id(service.data_dir)}" for tree in own_trees()]
    images = [read(path) for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    return {
        "processes": len(processes),
        "descriptors": sum(process.num_fds() for process in processes[:2]),
        "cgroups": sum(entry.is_dir() for group in groups if group.is_dir() for entry in group.iterdir()),
        "namespaces": len({os.readlink(f"/proc/{p.pid}/ns/net") for p in processes}),
        "mounts": len(Path(f"/proc/{processes[-1].pid}/mountinfo").read_text().splitlines()),
        "loops": sum(str(service.data_dir) in image for image in images),
    }


def server_id(data_dir: Path) -> str:
    return hashlib.sha256(str(data_dir).encode()).hexdigest()[:8]


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the loop device went just now
        return ""


def one_invoke(client: Any, name: str, number: int, do: str) -> str:
    response = client.invoke(FunctionName=name, Payload=json.dumps({"n": number, "do": do}))
    answer = json.loads(response["Payload"].read())
    if "FunctionError" not in response:
        assert answer == number, "an answer that belongs to another caller"
        return "ok"
    return str(answer["errorType"])


def kill_some(service: RunningService, chance: random.Random, stop: threading.Event, killed: list[int]) -> None:
    while not stop.wait(0.25):
        sandboxd = psutil.Process(service.process.pid).children()[0]
        victims = sandboxd.children(recursive=True)
        if victims:
            victim = chance.choice(victims)
            try:
                victim.kill()
                killed.append(victim.pid)
            except psutil.NoSuchProcess:
                continue


def under_fire(service: RunningService, names: list[str], kinds: list[str], killed: list[int]) -> list[str]:
    """Run one invoke per kind, eight at a time, while environments are killed; returns how each ended."""
    client, chance, stop = service.client(), random.Random(5), threading.Event()
    killer = threading.Thread(target=kill_some, args=(service, random.Random(11), stop, killed))
    killer.start()
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            chosen = [HOG if kind == "hog" else chance.choice(names) for kind in kinds]
            return list(
                pool.map(lambda one: one_invoke(client, *one), zip(chosen, range(len(kinds)), kinds, strict=True))
            )
    finally:
        stop.set()
        killer.join()
        client.close()


@pytest.mark.timeout(1800)
def test_every_caller_is_answered_once_and_nothing_leaks(tmp_path: Path) -> None:
    killed: list[int] = []
    kinds = random.Random(7).choices(list(EXPECTED), weights=[82, 6, 4, 1, 2, 5], k=INVOKES)
    with running_service(tmp_path / "data", "--egress", "none", "--idle-timeout", "1", spare_sandboxes=0) as service:
        client = service.client()
        names = [deploy(client, f"faulty-{n}", CODE, Timeout=4, MemorySize=512) for n in range(3)]
        # The first touch of a page can be slow on a virtual machine: a hog needs time to run out of memory.
        deploy(client, HOG, CODE, Timeout=60, MemorySize=512)
        client.invoke(FunctionName=names[0], Payload='{"do": "answer", "n": 0}')
        wait_until_only_the_server_is_left(service)
        before = kernel_objects(service)
        outcomes = under_fire(service, names, kinds, killed)
        wait_until_only_the_server_is_left(service)
        deadline = time.monotonic() + 30
        while (after := kernel_objects(service)) != before and time.monotonic() < deadline:
            time.sleep(0.1)

    wrong = Counter((do, got) for do, got in zip(kinds, outcomes, strict=True) if got not in EXPECTED[do])
    assert all(got in KILLED_FROM_OUTSIDE for _, got in wrong), wrong
    assert wrong.total() <= len(killed), "more failed than was killed"
    assert after == before


def wait_until_only_the_server_is_left(service: RunningService) -> None:
    deadline = time.monotonic() + 30
    while len(children_of(service.process.pid)) > 1:
        assert time.monotonic() < deadline, children_of(service.process.pid)
        time.sleep(0.1)
    time.sleep(0.5)
