"""What a function can reach, asked by functions: nothing of the host, of Lambent or of other functions."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any

from lambent.testing.service import RunningService

Invoke = Callable[..., tuple[Any, dict[str, Any]]]
Function = Callable[..., str]

PROBE = """
import os, socket, sys

def attempt(what):
    try:
        return repr(what())
    except OSError as error:
        return type(error).__name__

def connect(host, port):
    with socket.create_connection((host, port), timeout=1):
        return "connected"

def status(*names):
    return [line.split()[1] for line in open("/proc/self/status") if line.startswith(names)]

def handler(event, context):
    return {
        "shadow": attempt(lambda: open("/etc/shadow").read()),
        "root": attempt(lambda: sorted(os.listdir("/"))),
        "homes": attempt(lambda: os.listdir("/home") + os.listdir("/root")),
        "data_dir": attempt(lambda: os.listdir(event["data_dir"])),
        "host_file": attempt(lambda: open(event["host_file"]).read()),
        "var_task": attempt(lambda: sorted(os.listdir("/var/task"))),
        "write_task": attempt(lambda: open("/var/task/x", "w")),
        "write_etc": attempt(lambda: open("/etc/x", "w")),
        "write_tmp": attempt(lambda: open("/tmp/x", "w").write("x")),
        "server": attempt(lambda: connect("127.0.0.1", event["port"])),
        "processes": attempt(lambda: sorted(int(p) for p in os.listdir("/proc") if p.isdigit())),
        "parent_signal": attempt(lambda: os.kill(1, 9)),
        "host_signal": attempt(lambda: os.kill(event["pid"], 0)),
        "uid": os.getuid(),
        "capabilities": status("CapEff", "CapBnd", "CapPrm"),
        "confined": status("NoNewPrivs", "Seccomp:"),
        "cwd": os.getcwd(),
        "shm": attempt(lambda: os.listdir("/dev/shm")),
        "raw_socket": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)),
        "hostname": socket.gethostname(),
    }
"""


def test_the_host_and_lambent_are_out_of_reach(service: RunningService, function: Function, invoke: Invoke) -> None:
    import os
    import socket

    name = function(PROBE)
    secret = service.data_dir.parent / "secret"
    secret.write_text("secret")
    port = int(service.endpoint_url.rsplit(":", 1)[1])

    found, _ = invoke(
        name, {"data_dir": str(service.data_dir), "host_file": str(secret), "port": port, "pid": os.getpid()}
    )

    assert found["shadow"] in ("FileNotFoundError", "PermissionError")
    assert found["data_dir"] == found["host_file"] == "FileNotFoundError"
    assert not {"boot", "mnt", "srv", "sys"} & set(eval(found["root"]))
    assert found["homes"] in ("[]", "PermissionError"), "of the host's users, nothing"
    assert found["var_task"] == "['app.py']"
    assert found["write_task"] == found["write_etc"] == "OSError"
    assert found["write_tmp"] == "1"
    assert found["server"] == "ConnectionRefusedError"
    assert max(eval(found["processes"])) < 10, "only this environment's own processes"
    assert found["parent_signal"] in ("None", "PermissionError"), "and PID 1 lived to see this answered"
    assert found["host_signal"] == "ProcessLookupError"
    assert found["uid"] != 0
    assert found["capabilities"] == ["0" * 16] * 3
    assert found["confined"] == ["1", "2"]
    assert found["cwd"] == "/var/task"
    assert found["shm"] == "FileNotFoundError"
    assert found["raw_socket"] == "PermissionError"
    assert found["hostname"] != socket.gethostname()


def test_two_functions_do_not_see_each_other(function: Function, invoke: Invoke) -> None:
    code = """
import os, socket
def handler(event, context):
    if event == "stay":
        open("/tmp/mine", "w").write("mine")
        listener = socket.create_server(("0.0.0.0", 8080)); globals()["kept"] = listener
        return [socket.gethostname(), os.getuid()]
    def reach(port):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            return False
    return {"tmp": os.listdir("/tmp"), "port": reach(8080), "uid": os.getuid()}
"""
    one, other = function(code), function(code)
    first, _ = invoke(one, "stay")

    found, _ = invoke(other, "look")

    assert found["tmp"] == []
    assert not found["port"]
    assert found["uid"] != first[1]


def test_a_fork_bomb_hurts_only_itself(function: Function, invoke: Invoke) -> None:
    bomb = function(
        "import os, time\ndef handler(event, context):\n"
        "    forks = 0\n"
        "    try:\n"
        "        while True:\n"
        "            if os.fork() == 0:\n                time.sleep(60)\n                os._exit(0)\n"
        "            forks += 1\n"
        "    except OSError as error:\n        return forks\n",
        MemorySize=2048,
        Timeout=60,
    )
    bystander = function("def handler(event, context): return 'well'")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        bombing = pool.submit(invoke, bomb)
        assert invoke(bystander)[0] == "well"
        forks, response = bombing.result()

    assert "FunctionError" not in response
    assert 100 < forks <= 1024
    assert invoke(bystander)[0] == "well"


def test_a_memory_hog_hurts_only_itself(function: Function, invoke: Invoke) -> None:
    hog = function(
        "def handler(event, context):\n    kept = []\n    while True: kept.append(bytearray(1 << 20))\n",
        MemorySize=512,
        Timeout=60,
    )
    bystander = function("def handler(event, context): return 'well'")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        hogging = pool.submit(invoke, hog)
        assert invoke(bystander)[0] == "well"
        payload, _ = hogging.result()

    assert payload["errorType"] == "Runtime.OutOfMemory"
    assert invoke(bystander)[0] == "well"


def test_a_full_tmp_is_enospc_and_takes_no_memory(function: Function, invoke: Invoke) -> None:
    name = function(
        "import errno, os\ndef handler(event, context):\n"
        "    written = 200 << 20\n"
        "    try:\n"
        "        with open('/tmp/big', 'wb', buffering=0) as file:\n"
        "            os.posix_fallocate(file.fileno(), 0, written)\n"
        "            file.seek(written)\n"
        "            while True: written += file.write(b'x' * (1 << 20))\n"
        "    except OSError as error:\n        return [error.errno == errno.ENOSPC, written >> 20]\n",
        MemorySize=256,
        Timeout=60,
    )

    (is_full, written_mib), response = invoke(name)

    assert "FunctionError" not in response
    assert is_full
    assert 450 <= written_mib <= 512, "the configured 512 MB, less what the file system itself takes"
