"""SnapStart from the API to the processes: environments are forks of their version's template, and share nothing."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lambent.testing.service import RunningService, deploy, running_service
from lambent.worker.sandbox.process_tree import descendants

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root")

Function = Callable[..., str]
ON = {"ApplyOn": "PublishedVersions"}

HOOKS = """
import os
from snapshot_restore_py import register_after_restore, register_before_snapshot
events = ["init"]
register_before_snapshot(events.append, "registered first")
@register_before_snapshot
def before():
    events.append("registered last")
register_after_restore(events.append, "after")
@register_after_restore
def after():
    events.append("after that")
print("in init")
def handler(event, context):
    return [events, os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")]
"""

RANDOM = """
import random, ssl, time, uuid
random.seed(1)
random.random()
made_in_init = uuid.uuid4().hex
def handler(event, context):
    time.sleep(event or 0)
    return [made_in_init, random.random(), ssl.RAND_bytes(8).hex(), uuid.uuid4().hex]
"""

SHARING = """
import asyncio, ctypes, errno, mmap, os, socket, tempfile, time
libc_eventfd = ctypes.CDLL(None).eventfd
shared = mmap.mmap(-1, 4096)
shared[:5] = b"empty"
notes = open("/tmp/notes", "w+")
notes.write("from init")
notes.flush()
os.mkdir("/tmp/kept")
nameless = tempfile.TemporaryFile()
nameless.write(b"init")
nameless.flush()
counter = libc_eventfd(0, 0)
reader, writer = os.pipe()
pair = socket.socketpair()
loop = asyncio.new_event_loop()
libc = ctypes.CDLL(None, use_errno=True)

def attempt(number, *arguments):
    ctypes.set_errno(0)
    libc.syscall(number, *arguments)
    return errno.errorcode.get(ctypes.get_errno())

async def later(value):
    return await loop.run_in_executor(None, lambda: value)

def handler(event, context):
    shared[:5] = event["name"].encode()
    notes.seek(0)
    notes.write(event["name"])
    notes.flush()
    nameless.write(event["name"].encode())
    nameless.flush()
    os.write(counter, (1).to_bytes(8, "little"))
    os.write(writer, event["name"].encode())
    pair[0].send(event["name"].encode())
    time.sleep(1)
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
    return {
        "memory": bytes(shared[:5]).decode(),
        "file": open("/tmp/notes").read(),
        "nameless": os.pread(nameless.fileno(), 100, 0).decode(),
        "tmp": sorted(os.listdir("/tmp")),
        "counter": int.from_bytes(os.read(counter, 8), "little"),
        "pipe": os.read(reader, 100).decode(),
        "pair": pair[1].recv(100).decode(),
        "loop": loop.run_until_complete(later(event["name"])),
        "uid": os.getuid(),
        "host": os.uname().nodename,
        "processes": [name for name in os.listdir("/proc") if name.isdigit()],
        "may be written": os.access("/tmp/notes", os.W_OK),
        "processors": sorted(os.sched_getaffinity(0)),
        "walls": {name: status[name] for name in ("CapPrm", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")},
        "namespaces": {name: os.readlink(f"/proc/self/ns/{name}")
                       for name in ("net", "mnt", "ipc", "uts", "pid", "cgroup", "user")},
        "cgroup": sorted({line.split(":", 2)[2] for line in open("/proc/self/cgroup").read().splitlines()}),
        "unshare": attempt(272, 0x10000000),
        "ptrace": attempt(101, 16, 1, 0, 0),
        "mount": attempt(165, 0, 0, 0, 0, 0),
        "kill": [pid for pid in range(2, 100) if str(pid) not in os.listdir("/proc/self/task") and may_kill(pid)],
    }

def may_kill(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
"""

ENDING = """
import os, signal
def handler(event, context):
    if event == "exit":
        os._exit(3)
    if event == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()
"""

THREADS = """
import threading, time
threading.Thread(target=time.sleep, args=(3600,), daemon=True, name="flusher").start()
def handler(event, context):
    return [thread.name for thread in threading.enumerate()]
"""

CREDENTIALS = """
import boto3, os
def handler(event, context):
    return [boto3.client("sts").get_caller_identity()["Arn"], "AWS_ACCESS_KEY_ID" in os.environ]
"""


def publish(client: Any, name: str, timeout_s: float = 60.0) -> Any:
    """Publish a version and wait until its snapshot is taken, or has failed."""
    published = client.publish_version(FunctionName=name)
    assert published["State"] == "Pending"
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = client.get_function_configuration(FunctionName=name, Qualifier=published["Version"])
        if found["State"] != "Pending":
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def invoke(client: Any, name: str, event: Any = None, qualifier: str = "1") -> tuple[Any, str]:
    """The parsed payload, and the tail of the log."""
    response = client.invoke(FunctionName=name, Qualifier=qualifier, Payload=json.dumps(event).encode(), LogType="Tail")
    return json.load(response["Payload"]), base64.b64decode(response["LogResult"]).decode()


def at_once(client: Any, name: str, events: list[Any]) -> list[Any]:
    with ThreadPoolExecutor(len(events)) as pool:
        return list(pool.map(lambda event: invoke(client, name, event)[0], events))


def logged(logs: Any, name: str, pattern: str) -> list[str]:
    """Messages in the log of a function, once there are any: they are written in the background."""
    found: list[str] = []

    def is_there() -> bool:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern=pattern)["events"]
        found.extend(event["message"] for event in events)
        return bool(found)

    wait_until(is_there)
    return found


def templates(service: RunningService) -> int:
    with urllib.request.urlopen(f"{service.endpoint_url}/_lambent/worker") as answer:
        told: int = json.load(answer)["templates"]
    return told


def midwives(service: RunningService) -> list[int]:
    """The pids of those of this server."""
    sandboxd = _children(service.process.pid)
    processes = [pid for parent in sandboxd for pid in _children(parent)]
    return [pid for pid in processes if _name(pid) == "lambent-midwife"]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except FileNotFoundError:  # it has ended since
        return ""


def held_by(midwife: int) -> list[Path]:
    """Threads of the template that stand still in a midwife's hand."""
    found = []
    for thread in Path("/proc").glob("[0-9]*/task/[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            status = (thread / "status").read_text()
            if f"\nTracerPid:\t{midwife}\n" in status and not is_restored(status):
                found.append(thread)
    return found


def restored_processes(service: RunningService) -> list[int]:
    """Those that are made: nobody holds them any more."""
    found = []
    for pid in descendants(service.process.pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            status = Path(f"/proc/{pid}/status").read_text()
            if is_restored(status) and "\nTracerPid:\t0\n" in status:
                found.append(pid)
    return found


def is_restored(status: str) -> bool:
    """Whether it lives in a PID namespace within its template's, and that in the host's."""
    return len(re.search(r"\nNSpid:(.*)\n", status)[1].split()) > 2  # type: ignore[index]


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def wait_until(is_true: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_init_runs_once_and_hooks_around_the_snapshot(client: Any, logs: Any, function: Function) -> None:
    name = function(HOOKS, SnapStart=ON)
    published = publish(client, name)
    (events, kind, stream), tail = invoke(client, name)

    assert (published["State"], published["SnapStart"]) == ("Active", {**ON, "OptimizationStatus": "On"})
    assert events == ["init", "registered last", "registered first", "after", "after that"]
    assert (kind, stream) == ("snap-start", None)
    restore, report, start, end, total = tail.splitlines()[:5]
    assert re.fullmatch(r"RESTORE_START Runtime Version: python:\S+\tRuntime Version ARN: arn:\S+", restore)
    assert re.fullmatch(r"RESTORE_REPORT Restore Duration: [\d.]+ ms", report)
    assert start.startswith("START RequestId: ")
    assert end.startswith("END RequestId: ")
    told = re.search(
        r"Duration: ([\d.]+) ms\tBilled Duration: (\d+) ms\t.*\tRestore Duration: ([\d.]+) ms\t"
        r"Billed Restore Duration: (\d+) ms\t$",
        total,
    )
    assert told is not None
    assert int(told[2]) >= float(told[1]) + float(told[3])
    messages = [
        event["message"]
        for stream in logs.describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
        for event in logs.get_log_events(
            logGroupName=f"/aws/lambda/{name}", logStreamName=stream["logStreamName"], startFromHead=True
        )["events"]
    ]
    at_publish = messages[messages.index("in init\n") - 1 :][:3]
    assert at_publish[0].startswith("INIT_START Runtime Version: python:")
    assert re.fullmatch(r"INIT_REPORT Init Duration: [\d.]+ ms\tPhase: init\n", at_publish[2])
    assert messages.count("in init\n") == 1


def test_latest_runs_on_demand(client: Any, function: Function) -> None:
    name = function(HOOKS, SnapStart=ON)
    (events, kind, stream), _ = invoke(client, name, qualifier="$LATEST")

    assert (events, kind) == (["init"], "on-demand")
    assert stream is not None


def test_randomness_differs_between_environments_of_one_snapshot(client: Any, function: Function) -> None:
    name = function(RANDOM, SnapStart=ON)
    publish(client, name)
    one, other = at_once(client, name, [0.5, 0.5])

    assert one[0] == other[0], "both come from the same Init"
    assert set(one[1:]).isdisjoint(other[1:])


def test_environments_of_one_snapshot_share_nothing(client: Any, function: Function) -> None:
    name = function(SHARING, SnapStart=ON, Timeout=20)
    publish(client, name)
    one, other = at_once(client, name, [{"name": "first"}, {"name": "other"}])

    for name, found in (("first", one), ("other", other)):
        assert "errorMessage" not in found, found
        assert (found["memory"], found["pipe"], found["pair"], found["loop"]) == (name, name, name, name)
        assert found["file"] == f"{name}init"
        assert (found["nameless"], found["counter"]) == (f"init{name}", 1)
        assert found["tmp"] == ["kept", "notes"]
        assert found["may be written"]
        assert found["processors"] == sorted(os.sched_getaffinity(0))
        assert len(found["processes"]) == 1
        assert found["walls"] == {
            **dict.fromkeys(("CapPrm", "CapEff", "CapBnd"), "0000000000000000"),
            "NoNewPrivs": "1",
            "Seccomp": "2",
        }
        assert found["cgroup"] == ["/"]
        assert (found["unshare"], found["ptrace"], found["mount"], found["kill"]) == ("EPERM", "EPERM", "EPERM", [])
    assert one["uid"] != other["uid"]
    assert one["host"] != other["host"]
    assert not set(one["namespaces"].values()) & set(other["namespaces"].values())


def test_a_runtime_that_ends_is_told_of_and_followed_by_another_fork(client: Any, function: Function) -> None:
    name = function(ENDING, SnapStart=ON)
    publish(client, name)
    exited, _ = invoke(client, name, "exit")
    killed, _ = invoke(client, name, "kill")

    assert exited["errorType"] == killed["errorType"] == "Runtime.ExitError"
    assert exited["errorMessage"].endswith("Error: Runtime exited with error: exit status 3")
    assert killed["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    assert isinstance(invoke(client, name, "pid")[0], int)


def test_threads_of_init_are_told_of_and_are_not_there_after_a_restore(
    client: Any, logs: Any, function: Function
) -> None:
    name = function(THREADS, SnapStart=ON)
    publish(client, name)

    assert invoke(client, name)[0] == ["MainThread"]
    (warning,) = logged(logs, name, "LAMBENT_WARNING")
    assert "1 thread(s)" in warning
    assert "flusher" in warning


CROWD = """
import subprocess, threading, time
threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
subprocess.Popen(["sh", "-c", "sleep 3600 & sleep 3600"])
def handler(event, context): ...
"""


def state_of(thread: Path) -> str:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


def test_nothing_runs_in_a_template(service: RunningService, client: Any, function: Function) -> None:
    before = set(midwives(service))
    publish(client, function(CROWD, SnapStart=ON))
    (mine,) = set(midwives(service)) - before
    held = held_by(mine)

    assert len(held) == 2
    wait_until(lambda: {state_of(thread) for thread in held} == {"t"})  # but for the moment in which a child is made
    (runtime,) = {int(thread.parent.parent.name) for thread in held}
    first = int(Path(f"/proc/{runtime}/stat").read_text().rpartition(")")[2].split()[1])
    inside = [pid for pid in descendants(first) if not is_restored(Path(f"/proc/{pid}/status").read_text())]
    assert inside == [runtime]


WHEN = """
import os, time
from snapshot_restore_py import register_after_restore
restored = []
register_after_restore(lambda: restored.append(time.time()))
def handler(event, context):
    return restored
"""


def test_children_stand_ready_and_run_nothing_of_the_function_until_they_are_wanted(
    service: RunningService, client: Any, function: Function
) -> None:
    before = set(restored_processes(service))
    name = function(WHEN, SnapStart=ON)
    publish(client, name)
    wait_until(lambda: len(set(restored_processes(service)) - before) >= 4)  # two of PID 1 and a runtime each
    wanted_at = time.time()
    one, other = at_once(client, name, [None, None])

    assert len(one) == len(other) == 1
    assert min(one + other) > wanted_at


def test_a_child_that_is_killed_before_it_is_wanted_is_replaced(
    service: RunningService, client: Any, function: Function
) -> None:
    before = set(restored_processes(service))
    name = function(WHEN, SnapStart=ON)
    publish(client, name)
    wait_until(lambda: len(set(restored_processes(service)) - before) >= 4)
    killed = set(restored_processes(service)) - before
    for pid in killed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(restored_processes(service)) - before - killed) >= 4)

    assert len(invoke(client, name)[0]) == 1


def test_credentials_are_asked_for_by_each_environment(client: Any, function: Function) -> None:
    name = function(CREDENTIALS, SnapStart=ON, Timeout=30)
    publish(client, name)
    (arn, has_key), _ = invoke(client, name)

    assert arn == f"arn:aws:sts::000000000000:assumed-role/lambda-role/{name}"
    assert not has_key


@pytest.mark.parametrize(
    ("code", "reason_code", "reason"),
    [
        ("raise ValueError('no table')", "FunctionError.RuntimeInitError", "no table"),
        ("import os; os._exit(4)", "FunctionError", "exit status 4"),
        (
            "import snapshot_restore_py as hooks\n@hooks.register_before_snapshot\ndef no(): raise ValueError('x')",
            "FunctionError.RuntimeInitError",
            "Runtime.BeforeSnapshotError",
        ),
        ("bytearray(300_000_000)", "FunctionError.InitResourceExhausted", "Runtime.OutOfMemory"),
    ],
)
def test_a_version_whose_init_fails_becomes_failed(
    client: Any, function: Function, code: str, reason_code: str, reason: str
) -> None:
    name = function(f"{code}\ndef handler(event, context): ...", SnapStart=ON, MemorySize=128)
    failed = publish(client, name)

    assert (failed["State"], failed["StateReasonCode"]) == ("Failed", reason_code)
    assert reason in failed["StateReason"]
    assert failed["SnapStart"]["OptimizationStatus"] == "Off"
    with pytest.raises(client.exceptions.ResourceConflictException):
        invoke(client, name)


@pytest.mark.parametrize(
    ("hook", "exception", "status"),
    [
        ("raise ValueError('no connection')", "SnapStartException", 400),
        ("import os; os._exit(5)", "SnapStartException", 400),
        ("import time; time.sleep(60)", "SnapStartTimeoutException", 408),
    ],
)
def test_a_restore_that_fails_is_the_callers_error(
    client: Any, logs: Any, function: Function, hook: str, exception: str, status: int
) -> None:
    code = f"""
import snapshot_restore_py
@snapshot_restore_py.register_after_restore
def after():
    {hook}
def handler(event, context): ...
"""
    name = function(code, SnapStart=ON, Timeout=30)
    publish(client, name)
    with pytest.raises(getattr(client.exceptions, exception)) as refused:
        invoke(client, name)

    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    (report,) = logged(logs, name, "RESTORE_REPORT")
    assert re.search(r"\tStatus: (error\tError Type: Runtime\.\w+|timeout)\n", report)


HOSTILE = """
import ctypes, os, signal
libc = ctypes.CDLL(None)
CLONE_NEWUSER = 0x10000000
def fork():
    # As the runtime's own, but with a flag more: let through, it would have a user namespace of its own making.
    pid = libc.syscall(56, CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return 1
os.fork = fork
def handler(event, context): ...
"""


def test_a_template_that_forks_in_a_way_of_its_own_never_comes_to_be_one(
    service: RunningService, client: Any, function: Function
) -> None:
    name = function(HOSTILE, SnapStart=ON)
    failed = publish(client, name)

    assert (failed["State"], failed["StateReasonCode"]) == ("Failed", "FunctionError")


CROWDED = """
import os, resource, threading
from snapshot_restore_py import register_after_restore
def before_fork():
    # What the runtime's next fork fails by; it must not go on with more than it had.
    global crowd
    crowd = [threading.Thread(target=threading.Event().wait, daemon=True) for _ in range(2000)]
    try:
        for thread in crowd:
            thread.start()
    except RuntimeError:
        pass
os.register_at_fork(before=before_fork)
def handler(event, context): ...
"""


def test_a_template_whose_fork_fails_is_given_up(client: Any, function: Function) -> None:
    name = function(CROWDED, SnapStart=ON, MemorySize=512)
    publish(client, name)
    with pytest.raises(client.exceptions.ClientError):
        invoke(client, name)


def test_a_template_is_released_with_its_version(service: RunningService, client: Any, function: Function) -> None:
    wait_until(lambda: templates(service) == 0)  # those of tests before this one
    name = function(ENDING, SnapStart=ON)
    publish(client, name)
    client.update_function_configuration(FunctionName=name, Description="second")
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    publish(client, name)
    assert templates(service) == len(midwives(service)) == 2

    client.delete_function(FunctionName=name, Qualifier="1")
    wait_until(lambda: templates(service) == len(midwives(service)) == 1)
    assert isinstance(invoke(client, name, qualifier="2")[0], int)


def test_a_template_that_dies_is_made_anew(service: RunningService, client: Any, function: Function) -> None:
    name = function(HOOKS, SnapStart=ON)
    before = set(midwives(service))
    publish(client, name)
    (mine,) = set(midwives(service)) - before
    os.kill(mine, signal.SIGKILL)
    wait_until(lambda: set(midwives(service)) <= before)

    assert invoke(client, name)[0][0][0] == "init"
    assert len(set(midwives(service)) - before) == 1


def test_after_a_restart_the_first_invoke_makes_the_template_anew(tmp_path: Path) -> None:
    with running_service(tmp_path / "data", "--egress", "none") as service:
        client = service.client()
        name = deploy(client, "restarted", HOOKS, SnapStart=ON)
        publish(client, name)
        service.kill()
    with running_service(tmp_path / "data", "--egress", "none") as service:
        client = service.client()
        found = client.get_function_configuration(FunctionName=name, Qualifier="1")
        assert (found["State"], found["SnapStart"]["OptimizationStatus"]) == ("Active", "On")
        assert (templates(service), len(midwives(service))) == (0, 0)
        assert invoke(client, name)[0][1] == "snap-start"
        assert (templates(service), len(midwives(service))) == (1, 1)


def test_a_burst_is_served_from_one_template(client: Any, function: Function) -> None:
    name = function(RANDOM, SnapStart=ON, Timeout=30)
    publish(client, name)
    answers = at_once(client, name, [1.0] * 20)

    assert len({answer[0] for answer in answers}) == 1
    assert len({answer[1] for answer in answers}) == 20


HOLDS = """
held = bytearray(40 << 20)
def handler(event, context):
    return len(bytearray(event << 20))
"""


def test_where_no_cgroup_counts_memory_the_memory_used_is_what_the_restored_process_had(tmp_path: Path) -> None:
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    tree = next((place for _, place, kind, options, *_ in mounts if kind == "cgroup" and "memory" in options), None)
    if tree is None:
        pytest.skip("the cgroup that counts memory here is not one that can be done without")
    without = ("unshare", "--mount", "sh", "-c", 'umount "$0" && exec "$@"', tree)
    with running_service(tmp_path / "data", "--egress", "none", within=without) as service:
        client = service.client()
        publish(client, deploy(client, "holds", HOLDS, SnapStart=ON))
        used = [int(re.findall(r"Max Memory Used: (\d+) MB", invoke(client, "holds", mib)[1])[0]) for mib in (0, 30, 0)]

    assert 40 <= used[0] < 70
    assert 70 <= used[1] < 100
    assert used[2] == used[1], "the most since it was made"
