"""From one function to another: nothing is shared, nothing is left behind, and no name stands for somebody else's."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Callable

import botocore.exceptions
import pytest
from containment_target import Target

from lambent.worker.variables import startup_variables

Victim = Callable[..., str]

SHARE = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
KEY = 0x1A3B
def attempt(what):
    try:
        return what()
    except OSError as error:
        return type(error).__name__
def leave():
    open("/tmp/mine", "w").write("mine")
    globals()["kept"] = [socket.create_server(("0.0.0.0", 8080)), socket.socket(socket.AF_UNIX)]
    kept[1].bind("\\0mine")
    kept[1].listen()
    segment = libc.shmget(KEY, 4096, 0o1666)
    semaphore = libc.semget(KEY, 1, 0o1666)
    return {"uid": os.getuid(), "hostname": socket.gethostname(), "made": segment >= 0 and semaphore >= 0}
def look():
    return {
        "uid": os.getuid(),
        "hostname": socket.gethostname(),
        "tmp": os.listdir("/tmp"),
        "port": attempt(lambda: socket.create_connection(("127.0.0.1", 8080), 1)),
        "abstract": attempt(lambda: socket.socket(socket.AF_UNIX).connect("\\0mine")),
        "shared_memory": libc.shmget(KEY, 4096, 0o666),
        "semaphore": libc.semget(KEY, 1, 0o666),
    }
def handler(event, context):
    return globals()[event]()
"""


def test_two_functions_share_nothing(target: Target, victim: Victim) -> None:
    one, other = victim(SHARE), victim(SHARE)
    left = target.invoke(one, "leave")
    assert left["made"]

    seen = target.invoke(other, "look")

    assert seen.pop("uid") != left["uid"]
    assert seen.pop("hostname") != left["hostname"]
    assert seen == {
        "tmp": [],
        "port": "ConnectionRefusedError",
        "abstract": "ConnectionRefusedError",
        "shared_memory": -1,
        "semaphore": -1,
    }


SCRATCH = """
import os
MARK = b"left by somebody else "
def fill():
    with open("/tmp/full", "wb") as file:
        for _ in range(64):
            file.write(MARK * (1048576 // len(MARK)))
        file.flush()
        os.fsync(file.fileno())
    return os.path.getsize("/tmp/full")
def search():
    "In blocks that were given to a file and never written to."
    with open("/tmp/raw", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 128 << 20)
    zeros = bytes(1 << 20)
    with open("/tmp/raw", "rb") as file:
        clean = all(file.read(1 << 20) == zeros for _ in range(128))
    return {"clean": clean, "names": sorted(os.listdir("/tmp"))}
def handler(event, context):
    return globals()[event]()
"""


def test_nothing_of_a_former_functions_tmp_is_left_in_anothers(target: Target, victim: Victim) -> None:
    """Sandboxes stand ready in advance and places are used again; what is in them is always new."""
    former = victim(SCRATCH, Timeout=30)
    assert target.invoke(former, "fill") > 60 << 20
    target.client.delete_function(FunctionName=former)
    target.deploy(former, SCRATCH)

    for _ in range(2):
        assert target.invoke(victim(SCRATCH, MemorySize=1769, Timeout=30), "search") == {
            "clean": True,
            "names": ["raw"],
        }


FORGED = """
import os
def handler(event, context):
    print("START RequestId: forged Version: $LATEST")
    print("REPORT RequestId: forged\\tDuration: 0.00 ms\\tBilled Duration: 0 ms\\r\\x1b[2J")
    os.write(1, b"\\xff\\xfe\\0 not text\\n")
    return os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
"""


def test_forged_log_lines_stay_in_the_log_of_whoever_forged_them(target: Target, victim: Victim) -> None:
    one, other = victim(FORGED), victim("def handler(event, context): print('mine')")
    target.invoke(other)
    stream = target.invoke(one)
    logs = target.signed("logs")

    def lines(name: str) -> list[str]:
        return [event["message"] for event in logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]]

    assert sum("forged" in line for line in lines(one)) == 2
    assert not any("forged" in line for line in lines(other))
    streams = logs.describe_log_streams(logGroupName=f"/aws/lambda/{one}")["logStreams"]
    assert [found["logStreamName"] for found in streams] == [stream]


API_CALLS = """
import json, boto3, botocore.config, botocore.exceptions
config = botocore.config.Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=5)
def attempt(service, operation, keys={}, **parameters):
    client = boto3.client(service, config=config, **keys)
    try:
        getattr(client, operation)(**parameters)
        return "done"
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
def handler(event, context):
    other, group = event["other"], "/aws/lambda/" + event["other"]
    no_key = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "aws_session_token": "test"}
    return {
        "delete": attempt("lambda", "delete_function", FunctionName=other),
        "code": attempt("lambda", "get_function", FunctionName=other),
        "invoke": attempt("lambda", "invoke", FunctionName=other),
        "create_role": attempt("iam", "create_role", RoleName="r", AssumeRolePolicyDocument="{}"),
        "read_log": attempt("logs", "filter_log_events", logGroupName=group),
        "write_log": attempt("logs", "put_log_events", logGroupName=group, logStreamName="x",
                             logEvents=[{"timestamp": 1, "message": "x"}]),
        "delete_log": attempt("logs", "delete_log_group", logGroupName=group),
        "another_role": attempt("sts", "assume_role", RoleArn=event["role"], RoleSessionName="session"),
        "forged_key": attempt("lambda", "list_functions", no_key),
        "who": boto3.client("sts", config=config).get_caller_identity()["Arn"],
    }
"""


def test_a_functions_credentials_open_nothing_of_anothers(target: Target, victim: Victim) -> None:
    attacker, other = victim(API_CALLS, Timeout=30, MemorySize=512), victim("def handler(event, context): print(1)")
    target.invoke(other)

    got = target.invoke(attacker, {"other": other, "role": target.role})

    assert "errorType" not in got, got
    assert got.pop("who").endswith(f":assumed-role/attacker/{attacker}")
    assert got.pop("forged_key") == "UnrecognizedClientException"
    assert set(got.values()) <= {"AccessDeniedException", "AccessDenied"}
    assert target.invoke(other) is None, "it is still there"


SCAN = """
import os
def is_forked():
    with open("/proc/self/environ", "rb") as file:
        return b"AWS_LAMBDA_FUNCTION_NAME" not in file.read()
def regions():
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, flags, *_ = line.split()
            if flags.startswith("r") and not line.rstrip().endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                yield [int(end, 16) for end in span.split("-")]
def found(memory, start, size, first, second):
    "Never is the whole of it in this program's own memory."
    try:
        block = os.pread(memory, size, start)
    except OSError:
        return False
    at = block.find(first)
    while at >= 0:
        if block[at + len(first) : at + len(first) + len(second)] == second:
            return True
        at = block.find(first, at + 1)
    return False
def handler(event, context):
    if event == "is_forked":
        return is_forked()
    halves = {name: [bytes.fromhex(half)[::-1] for half in pair] for name, pair in event.items()}
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    spans = list(regions())
    seen = {name: any(found(memory, a, b - a, *pair) for a, b in spans) for name, pair in halves.items()}
    with open("/proc/self/environ", "rb") as file:
        names = [pair.partition(b"=")[0].decode() for pair in file.read().split(b"\\0") if pair]
    return {"seen": seen, "environ": names, "scanned": sum(b - a for a, b in spans),
            "is_forked": is_forked(), "initialization": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]}
"""
EXECUTED = {"PYTHONHASHSEED": "0"}


@pytest.mark.parametrize("kind", ["forked", "executed", "restored"])
def test_no_secret_of_the_server_is_in_an_environments_memory(
    target: Target,
    victim: Victim,
    until_forked: Callable[[str], None],
    with_snapshot: Callable[[str], str],
    kind: str,
) -> None:
    """What the server was started with, its root key, and where it keeps its files."""
    name = victim(SCAN, Timeout=30, MemorySize=1024, Environment={"Variables": EXECUTED if kind == "executed" else {}})
    if kind != "executed":
        until_forked(name)
    qualifier = with_snapshot(name) if kind == "restored" else "$LATEST"
    key = json.loads((target.service.data_dir / "root-key.json").read_text())
    own = {"own_name": name}
    secrets = {"environment": target.secret, "root_key": key["secret_access_key"], "key_id": key["access_key_id"]}

    got = target.invoke(name, {what: _halves(text) for what, text in {**secrets, **own}.items()}, Qualifier=qualifier)

    assert got["is_forked"] is (kind != "executed")
    assert got["initialization"] == ("snap-start" if kind == "restored" else "on-demand")
    assert got["seen"] == {"environment": False, "root_key": False, "key_id": False, "own_name": True}
    assert got["scanned"] > 1 << 20
    if kind != "executed":
        assert set(got["environ"]) <= {*startup_variables("python3.11"), "LC_CTYPE"}


def _halves(text: str) -> list[str]:
    """Not to be found by itself: cut in two, backwards, in another alphabet."""
    encoded = text.encode()
    return [half[::-1].hex() for half in (encoded[: len(encoded) // 2], encoded[len(encoded) // 2 :])]


def _zip(*entries: tuple[str, int, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, mode, content in entries:
            entry = zipfile.ZipInfo(name)
            entry.create_system = 3
            entry.external_attr = mode << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


LINK, FILE = stat.S_IFLNK | 0o777, stat.S_IFREG | 0o644


@pytest.mark.parametrize(
    "entries",
    [
        [("app.py", LINK, "/etc/shadow")],
        [("app.py", LINK, "../../root-key.json")],
        [("up", LINK, "."), ("app.py", LINK, "up/up/../../root-key.json")],
        [("../../../evil.py", FILE, "x")],
        [("/tmp/evil.py", FILE, "x")],
        [("a", LINK, "/tmp"), ("a/evil.py", FILE, "x")],
        [("app.py", stat.S_IFCHR | 0o666, "")],
        [("app.py", stat.S_IFIFO | 0o666, "")],
        [("app.py", stat.S_IFSOCK | 0o666, "")],
    ],
    ids=["absolute", "above", "by_links", "dots", "root", "through_a_link", "device", "pipe", "socket"],
)
def test_a_package_that_reaches_outside_is_refused(target: Target, entries: list[tuple[str, int, str]]) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        target.deploy("refused", _zip(*entries))
    assert refused.value.response["Error"]["Code"] == "InvalidParameterValueException"


def test_a_package_brings_no_setuid_program(target: Target, victim: Victim) -> None:
    code = "import os\ndef handler(event, context): return [oct(os.stat(n).st_mode & 0o7777) for n in ('app.py', 'id')]"
    name = victim(_zip(("app.py", FILE, code), ("id", stat.S_IFREG | 0o6755, "#!/bin/sh\n")))

    assert target.invoke(name) == ["0o644", "0o755"]


def test_a_deep_answer_harms_nobody_who_reads_it(target: Target, victim: Victim) -> None:
    """Nested deeper than a parser goes: as answer, as log line, as the answer to an event that has a destination."""
    code = (
        "DEEP = b'{\"a\":' + b'[' * 300_000 + b']' * 300_000 + b'}'\nimport os, time\n"
        "def handler(event, context):\n"
        "    os.write(1, DEEP[:200_000] + b'\\n' + DEEP + b'\\nafter\\n')\n    return 'well'\n"
    )
    name = victim(code, LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "INFO"}, MemorySize=512)

    assert target.invoke(name) == "well"
    assert target.invoke(name) == "well"
    pages = target.signed("logs").get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}")
    events = [event for page in pages for event in page["events"]]
    assert sum(event["message"].strip() == "after" for event in events) == 2
    assert "Traceback" not in target.service.log.read_text()
