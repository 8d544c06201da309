"""What a process inside a sandbox can see and reach; and that floods drown only the sandbox they are in."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sandboxing import Watched, ask, python, sandbox_plan, shell

from lambent.worker.sandbox.client import Sandboxes
from lambent.worker.sandbox.sandboxd_start import SandboxOptions

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root"),
]

ATTEMPT = """
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def attempt(what):
    try:
        return what()
    except OSError as error:
        return errno.errorcode[error.errno]
def call(number, *arguments):
    if libc.syscall(number, *arguments) >= 0:
        return "done"
    return errno.errorcode[ctypes.get_errno()]
def status(*names):
    return [line.split()[1] for line in open("/proc/self/status") if line.startswith(names)]
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def sandboxes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandboxes]:
    options = SandboxOptions(state_dir=tmp_path_factory.mktemp("state"), server_id="walls", level="full")
    async with await Sandboxes.launch(options) as launched:
        yield launched


async def test_the_host_is_out_of_reach(sandboxes: Sandboxes, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as host_server:
        script = f"""{ATTEMPT}
answer({{
    "root": sorted(os.listdir("/")),
    "secret": attempt(lambda: open({str(tmp_path / "secret")!r}).read()),
    "shadow": attempt(lambda: open("/etc/shadow").read()),
    "sys": attempt(lambda: os.listdir("/sys")),
    "processes": sorted(int(pid) for pid in os.listdir("/proc") if pid.isdigit()),
    "first_process": attempt(lambda: os.listdir("/proc/1/fd")),
    "server": attempt(lambda: socket.create_connection(("127.0.0.1", {host_server.getsockname()[1]}), 1)),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "devices": sorted(os.listdir("/dev")),
    "descriptors": sorted(os.listdir("/proc/self/fd")),
    "hostname": socket.gethostname(),
    "command_line": open("/proc/cmdline").read(),
    "signal_host": attempt(lambda: os.kill({os.getpid()}, 0)),
}})"""
        found = await ask(sandboxes, tmp_path, script)

    assert not {"work", "lost+found", "boot", "mnt", "sys", "srv", "media", "old_root"} & set(found["root"])
    assert found["secret"] == found["shadow"] == found["sys"] == found["first_process"] == "ENOENT"
    assert found["processes"] == [2]
    assert found["server"] == "ECONNREFUSED"
    assert found["interfaces"] == ["lo"]
    assert found["devices"] == ["fd", "full", "null", "random", "stderr", "stdin", "stdout", "urandom", "zero"]
    assert found["descriptors"] == ["0", "1", "2", "3"], "its own three, and the listing itself"
    assert found["hostname"] != socket.gethostname()
    assert found["command_line"] == ""
    assert found["signal_host"] == "ESRCH"


async def test_nothing_but_tmp_can_be_written(sandboxes: Sandboxes, tmp_path: Path) -> None:
    found = await ask(
        sandboxes,
        tmp_path,
        f"""{ATTEMPT}
places = ("/", "/etc", "/usr", "/dev", "/var/task", "/var/runtime", "/opt", "/run", "/home", "/tmp")
answer({{place: attempt(lambda: open(place + "/x", "w").write("x")) for place in places}})""",
    )

    assert found.pop("/tmp") == 1
    assert set(found.values()) == {"EROFS"}


async def test_privileges_are_gone_for_good(sandboxes: Sandboxes, tmp_path: Path) -> None:
    found = await ask(
        sandboxes,
        tmp_path,
        f"""{ATTEMPT}
import resource
answer({{
    "uids": [*os.getresuid(), *os.getresgid()],
    "groups": os.getgroups(),
    "capabilities": status("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"),
    "confined": status("NoNewPrivs", "Seccomp:"),
    "setuid": attempt(lambda: os.setuid(0)),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "setuid_files_work": not os.statvfs("/usr/bin").f_flag & os.ST_NOSUID,
    "chmod_s": attempt(lambda: os.chmod(os.open("/tmp/s", os.O_CREAT), 0o4755)),
    "mknod": attempt(lambda: os.mknod("/tmp/null", 0o20666, os.makedev(1, 3))),
    "session": os.getsid(0) == os.getpid(),
}})""",
    )

    assert len(set(found["uids"])) == 1
    assert found["uids"][0] > 1_000_000_000, "a host uid that nobody else has"
    assert found["groups"] == []
    assert found["capabilities"] == ["0" * 16] * 5
    assert found["confined"] == ["1", "2"]
    assert found["setuid"] == found["mknod"] == "EPERM"
    assert found["files"] == [1024, 1024]
    assert found["core"] == [1, 1], "not even for a core handler of the host"
    assert not found["setuid_files_work"]
    assert found["session"]


async def test_system_calls_that_open_the_kernel_are_refused(sandboxes: Sandboxes, tmp_path: Path) -> None:
    found = await ask(
        sandboxes,
        tmp_path,
        f"""{ATTEMPT}
NEWUSER, RAW = 0x10000000, socket.SOCK_RAW
answer({{
    "mount": attempt(lambda: call(165, b"none", b"/tmp", b"tmpfs", 0, 0)),
    "unshare": call(272, NEWUSER),
    "clone": call(56, NEWUSER | 17, 0, 0, 0, 0),
    "clone3": call(435, 0, 0),
    "ptrace": call(101, 0, 0, 0, 0),
    "bpf": call(321, 0, 0, 0),
    "perf": call(298, 0, 0, 0, 0, 0),
    "userfaultfd": call(323, 0),
    "io_uring": call(425, 1, 0),
    "keyctl": call(250, 0, -3, 0),
    "open_by_handle": call(304, 0, 0, 0),
    "personality": call(135, 0x0040000),
    "personality_asked": call(135, 0xFFFFFFFF),
    "newer": call(463, 0, 0, 0, 0, 0, 0),
    "x32": call(0x40000000 | 39),
    "raw": attempt(lambda: socket.socket(socket.AF_INET, RAW, 1) and "done"),
    "packet": attempt(lambda: socket.socket(socket.AF_PACKET, RAW) and "done"),
    "packet_hidden": call(41, ctypes.c_ulong(1 << 32 | socket.AF_PACKET), RAW, 0),
    "vsock": attempt(lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) and "done"),
    "alg": attempt(lambda: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET) and "done"),
    "netlink_audit": attempt(lambda: socket.socket(socket.AF_NETLINK, RAW, 9) and "done"),
    "netlink_route": attempt(lambda: socket.socket(socket.AF_NETLINK, RAW, 0) and "done"),
    "unix": attempt(lambda: socket.socketpair() and "done"),
}})""",
    )

    allowed = {name for name, outcome in found.items() if outcome == "done"}
    assert allowed == {"personality_asked", "netlink_route", "unix"}
    not_there = {name for name, outcome in found.items() if outcome == "ENOSYS"}
    assert not_there == {"clone3", "io_uring", "newer", "x32"}
    assert found["packet"] == found["packet_hidden"] == found["vsock"] == found["alg"] == "EAFNOSUPPORT"


async def test_pid_1_can_be_neither_killed_nor_read(sandboxes: Sandboxes, tmp_path: Path) -> None:
    found = await ask(
        sandboxes,
        tmp_path,
        f"""{ATTEMPT}
import signal
for signum in signal.valid_signals():
    attempt(lambda: os.kill(1, signum))
answer({{
    "memory": attempt(lambda: open("/proc/1/mem", "rb")),
    "alive": attempt(lambda: os.kill(1, 0)),
    "own_pid": os.getpid(),
    "orphan": os.spawnv(os.P_NOWAIT, "/bin/true", ["true"]),
}})""",
    )

    assert found["memory"] in ("ENOENT", "EACCES")
    assert found["alive"] is None
    assert found["own_pid"] == 2


async def test_another_sandbox_is_out_of_reach(sandboxes: Sandboxes, tmp_path: Path) -> None:
    neighbour = await sandboxes.create(sandbox_plan(tmp_path, shell("echo mine > /tmp/mine; echo ready; sleep 60")))
    await Watched(neighbour).printed()
    try:
        found = await ask(
            sandboxes,
            tmp_path,
            f"""{ATTEMPT}
def local(name):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(name)
answer({{
    "tmp": sorted(os.listdir("/tmp")),
    "processes": sorted(int(pid) for pid in os.listdir("/proc") if pid.isdigit()),
    "abstract": attempt(lambda: local("\\0anything")),
    "shared_memory": call(29, 1, 4096, 0o666),
    "runtime_api": attempt(lambda: socket.create_connection(("127.0.0.1", 9001), 1).getsockname()[0]),
}})""",
        )
        with pytest.raises(BlockingIOError):
            neighbour.listener.accept()
    finally:
        await neighbour.destroy()

    assert found["tmp"] == []
    assert found["processes"] == [2]
    assert found["abstract"] == "ECONNREFUSED"
    assert found["shared_memory"] == "ENOENT"
    assert found["runtime_api"] == "127.0.0.1", "its own"


@pytest.mark.parametrize(("port", "listener"), [(9001, "listener"), (9002, "endpoint_listener")])
async def test_the_listeners_are_the_runtime_api_and_aws_seen_from_inside(
    sandboxes: Sandboxes, tmp_path: Path, port: int, listener: str
) -> None:
    script = f"import socket; s = socket.create_connection(('127.0.0.1', {port})); s.sendall(b'hello'); s.recv(1)"
    sandbox = await sandboxes.create(sandbox_plan(tmp_path, python(script)))
    loop = asyncio.get_running_loop()

    connection, _ = await loop.sock_accept(getattr(sandbox, listener))
    with connection:
        assert await loop.sock_recv(connection, 100) == b"hello"
    assert sandbox.runtime_api_address == "127.0.0.1:9001"
    await sandbox.destroy()


async def test_code_layers_and_runtime_lie_where_lambda_puts_them(sandboxes: Sandboxes, tmp_path: Path) -> None:
    layers = []
    for number in (1, 2, 3, 4, 5):
        layer = tmp_path / f"layer:{number}, with odd\\ name and {'very' * 40} long"
        layer.mkdir()
        (layer / f"only-{number}").write_text("x")
        (layer / "both").write_text(f"layer {number}")
        layers.append(str(layer))
    plan = sandbox_plan(tmp_path, layer_dirs=tuple(layers))
    _touch(plan.code_dir, "app.py")
    _touch(plan.runtime_dir, "bootstrap.py")
    script = f"""{ATTEMPT}
answer({{
    "task": os.listdir("/var/task"), "runtime": os.listdir("/var/runtime"), "opt": sorted(os.listdir("/opt")),
    "both": open("/opt/both").read(), "write": attempt(lambda: open("/opt/x", "w")),
    "shm": attempt(lambda: os.listdir("/dev/shm")),
}})"""

    found = await ask(sandboxes, tmp_path, script, layer_dirs=tuple(layers))
    single = await ask(sandboxes, tmp_path, "import os; answer(sorted(os.listdir('/opt')))", layer_dirs=(layers[0],))

    assert found["task"] == ["app.py"]
    assert found["runtime"] == ["bootstrap.py"]
    assert found["opt"] == ["both", *(f"only-{number}" for number in (1, 2, 3, 4, 5))]
    assert found["both"] == "layer 5", "later layers lie over earlier ones"
    assert found["write"] == "EROFS"
    assert found["shm"] == "ENOENT"
    assert single == ["both", "only-1"]


def _touch(directory: str, name: str) -> None:
    Path(directory, name).touch()


async def test_a_fork_bomb_stops_at_the_limit(sandboxes: Sandboxes, tmp_path: Path) -> None:
    found = await ask(
        sandboxes,
        tmp_path,
        f"""{ATTEMPT}
import time
def bomb():
    made = 0
    while True:
        if os.fork() == 0:
            time.sleep(60)
        made += 1
        if made > 200:
            return "unlimited"
answer(attempt(bomb))""",
        pids_maximum=40,
    )

    assert found == "EAGAIN"


async def test_a_memory_hog_is_killed_and_counted(sandboxes: Sandboxes, tmp_path: Path) -> None:
    bystander = await sandboxes.create(sandbox_plan(tmp_path, shell("echo ready; sleep 60")))
    hog = await sandboxes.create(
        sandbox_plan(tmp_path, python("hoard = []\nwhile True: hoard.append(bytearray(b'x') * 1_000_000)"))
    )

    status = await Watched(hog).exit_of()

    assert status.signal == 9
    assert hog.oom_kills() == 1
    assert hog.memory_peak_bytes() > 120 * 2**20
    assert bystander.oom_kills() == 0
    assert await Watched(bystander).printed() == b"ready\n"
    await asyncio.gather(bystander.destroy(), hog.destroy())


async def test_a_full_tmp_is_enospc_and_not_the_functions_memory(sandboxes: Sandboxes, tmp_path: Path) -> None:
    found = await ask(
        sandboxes,
        tmp_path,
        f"""{ATTEMPT}
def fill():
    with open("/tmp/big", "wb", buffering=0) as file:
        chunk = bytes(1 << 20)
        while True:
            file.write(chunk)
outcome = attempt(fill)
answer([outcome, os.path.getsize("/tmp/big") >> 20])""",
    )

    outcome, written_mib = found
    assert outcome == "ENOSPC"
    assert 480 <= written_mib <= 512


async def test_cpu_is_limited_once_init_is_over(sandboxes: Sandboxes, tmp_path: Path) -> None:
    script = """
import time
def work(cpu_s):
    began, until = time.monotonic(), time.process_time() + cpu_s
    while time.process_time() < until: pass
    return time.monotonic() - began
while True:
    print(work(0.05), flush=True)
"""
    sandbox = await sandboxes.create(sandbox_plan(tmp_path, python(script), cpu_share=0.1))
    watched = Watched(sandbox)
    await watched.printed()

    sandbox.limit_cpu()
    await watched.printed()
    await watched.printed()
    limited_s = float(await watched.printed())
    await sandbox.destroy()

    assert limited_s > 0.25, "a tenth of a CPU takes half a second for what a whole one does in 50 ms"
