"""The life of a sandbox: boot, freeze, kill, boot again, end; and that nothing outlives it, or its keeper."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from sandboxing import ENVIRONMENT, Watched, cgroups_of, processes_in, python, sandbox_plan, shell

from lambent.model.errors import PlatformError
from lambent.worker.sandbox.client import Sandboxes
from lambent.worker.sandbox.plan import ProcessPlan
from lambent.worker.sandbox.sandboxd_start import SandboxOptions

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root"),
]

SERVER_ID = "life"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def sandboxes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandboxes]:
    options = SandboxOptions(state_dir=tmp_path_factory.mktemp("state-of-life"), server_id=SERVER_ID, level="full")
    async with await Sandboxes.launch(options) as launched:
        yield launched
    assert cgroups_of(SERVER_ID) == []


COUNTER = "import time\ncount = 0\nwhile True:\n    count += 1\n    print(count, flush=True)\n    time.sleep(0.001)"


async def test_a_frozen_sandbox_makes_no_progress_and_then_goes_on(sandboxes: Sandboxes, tmp_path: Path) -> None:
    sandbox = await sandboxes.create(sandbox_plan(tmp_path, python(COUNTER)))
    watched = Watched(sandbox)
    await watched.printed()

    sandbox.freeze()
    await asyncio.sleep(0.05)  # the kernel freezes each thread at its next chance
    _drain(sandbox.output_fd)
    await asyncio.sleep(0.1)
    with pytest.raises(BlockingIOError):
        os.read(sandbox.output_fd, 1)
    sandbox.thaw()

    assert int(await watched.printed()) > 1
    await sandbox.destroy()


def _drain(descriptor: int) -> None:
    while True:
        try:
            os.read(descriptor, 1 << 20)
        except BlockingIOError:
            return


async def test_a_frozen_sandbox_can_be_killed(sandboxes: Sandboxes, tmp_path: Path) -> None:
    sandbox = await sandboxes.create(sandbox_plan(tmp_path, shell("echo up; sleep 60")))
    watched = Watched(sandbox)
    await watched.printed()

    sandbox.freeze()
    await sandbox.kill()

    assert watched.deaths == 1
    await sandbox.destroy()


async def test_each_end_of_a_process_is_told(sandboxes: Sandboxes, tmp_path: Path) -> None:
    sandbox = await sandboxes.create(
        sandbox_plan(
            tmp_path,
            shell("exit 7", "exits"),
            shell("kill -SEGV $$", "crashes"),
            ProcessPlan(name="missing", argv=("/var/task/missing",), env=ENVIRONMENT),
            ProcessPlan(name="garbage", argv=("/etc/hosts",), env=ENVIRONMENT),
        )
    )
    watched = Watched(sandbox)

    assert (await watched.exit_of("exits")).code == 7
    assert (await watched.exit_of("crashes")).signal == signal.SIGSEGV
    assert (await watched.exit_of("missing")).failure == "fork/exec /var/task/missing: no such file or directory"
    assert (await watched.exit_of("garbage")).failure == "fork/exec /etc/hosts: permission denied"
    await sandbox.destroy()


async def test_further_processes_join_and_are_signalled(sandboxes: Sandboxes, tmp_path: Path) -> None:
    sandbox = await sandboxes.create(sandbox_plan(tmp_path))
    watched = Watched(sandbox)
    readable, writable = os.pipe()

    sandbox.spawn(shell("trap 'echo caught; exit 3' TERM; echo up; while :; do sleep 0.01; done", "extension"))
    sandbox.spawn(shell("echo elsewhere", "other"), output_fd=writable)

    assert await watched.printed() == b"up\n"
    sandbox.signal("extension", signal.SIGTERM)
    assert (await watched.exit_of("extension")).code == 3
    assert await watched.printed() == b"caught\n"
    await watched.exit_of("other")
    assert os.read(readable, 100) == b"elsewhere\n"
    os.close(readable)
    os.close(writable)
    await sandbox.destroy()


async def test_a_reboot_keeps_tmp_and_nothing_else(sandboxes: Sandboxes, tmp_path: Path) -> None:
    first = shell("echo kept > /tmp/kept; (sleep 60; echo survivor) & echo done; sleep 60")
    sandbox = await sandboxes.create(sandbox_plan(tmp_path, first))
    watched = Watched(sandbox)
    await watched.printed()
    listener = sandbox.listener.fileno()

    await sandbox.kill()
    for _ in range(3):
        await sandbox.reboot([shell("cat /tmp/kept; ls /proc > /tmp/proc; grep -c '^[0-9]' /tmp/proc")])
        assert await watched.printed() == b"kept\n"
        assert await watched.printed() == b"2\n", "the shell and its command"
        await watched.exit_of()
        await sandbox.kill()

    assert sandbox.listener.fileno() == listener
    assert watched.deaths == 4
    await sandbox.destroy()


async def test_the_memory_peak_is_of_the_running_generation(sandboxes: Sandboxes, tmp_path: Path) -> None:
    sandbox = await sandboxes.create(sandbox_plan(tmp_path, python("x = bytearray(80_000_000); print('big')")))
    watched = Watched(sandbox)
    await watched.exit_of()
    big = sandbox.memory_peak_bytes()

    await sandbox.kill()
    await sandbox.reboot([shell("echo small")])
    await watched.exit_of()

    assert big > 80_000_000
    assert sandbox.memory_peak_bytes() < 40_000_000
    await sandbox.destroy()


async def test_pid_1_killed_from_outside_is_the_death_of_the_generation(sandboxes: Sandboxes, tmp_path: Path) -> None:
    sandbox = await sandboxes.create(sandbox_plan(tmp_path, shell("echo up; sleep 60")))
    watched = Watched(sandbox)
    await watched.printed()
    (group,) = [group for group in cgroups_of(SERVER_ID) if "memory" in str(group)]

    os.kill(min(processes_in([group])), signal.SIGKILL)
    await watched.death()

    await sandbox.reboot([shell("echo again")])
    assert await watched.printed(b"again\n")
    await sandbox.destroy()


async def test_a_kill_from_outside_while_it_boots_does_not_fail_the_create(
    sandboxes: Sandboxes, tmp_path: Path
) -> None:
    before = _children_of(sandboxes.pid)
    creating = asyncio.ensure_future(sandboxes.create(sandbox_plan(tmp_path, shell("echo up; sleep 60"))))
    while not (born := _children_of(sandboxes.pid) - before):  # noqa: ASYNC110 - a matter of microseconds
        await asyncio.sleep(0)
    with suppress(ProcessLookupError):
        os.kill(born.pop(), signal.SIGKILL)

    sandbox = await creating
    await sandbox.destroy()


def _children_of(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


async def test_a_step_that_fails_is_named_and_leaves_nothing(sandboxes: Sandboxes, tmp_path: Path) -> None:
    before = _kernel_objects(sandboxes)

    with pytest.raises(PlatformError, match=r"open bind /nowhere for /var/task.*No such file"):
        await sandboxes.create(sandbox_plan(tmp_path, code_dir="/nowhere"))
    with pytest.raises(PlatformError, match=r"make cgroups.*"):
        await sandboxes.create(sandbox_plan(tmp_path, pids_maximum=-7))

    await _wait_for(lambda: _kernel_objects(sandboxes) == before)


async def test_a_create_that_is_cancelled_leaves_nothing(sandboxes: Sandboxes, tmp_path: Path) -> None:
    before = _kernel_objects(sandboxes)

    for delay_s in (0, 0.002, 0.01):
        task = asyncio.ensure_future(sandboxes.create(sandbox_plan(tmp_path, shell("sleep 60"))))
        await asyncio.sleep(delay_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            await task.result().destroy()

    await _wait_for(lambda: _kernel_objects(sandboxes) == before)


async def test_two_hundred_sandboxes_leave_nothing(sandboxes: Sandboxes, tmp_path: Path) -> None:
    async def one() -> None:
        sandbox = await sandboxes.create(sandbox_plan(tmp_path, shell("echo x > /tmp/x; (sleep 60) & sleep 60")))
        sandbox.freeze()
        await sandbox.destroy()
        await sandbox.destroy()

    await one()
    before = _kernel_objects(sandboxes)

    for _ in range(20):
        await asyncio.gather(*(one() for _ in range(10)))

    await _wait_for(lambda: _kernel_objects(sandboxes) == before)


def _kernel_objects(sandboxes: Sandboxes) -> dict[str, int]:
    """What could leak, counted: here, in sandboxd, and in the kernel."""
    pid = sandboxes.pid
    images = [_read(path) for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    return {
        "cgroups": len(cgroups_of(SERVER_ID)),
        "children": len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()),
        "descriptors here": len(os.listdir("/proc/self/fd")),
        "descriptors of sandboxd": len(os.listdir(f"/proc/{pid}/fd")),
        "mounts of sandboxd": len(Path(f"/proc/{pid}/mountinfo").read_text().splitlines()),
        "loop devices": sum("state-of-life" in image for image in images),
    }


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the loop device went just now
        return ""


async def _wait_for(condition: Callable[[], bool]) -> None:
    """Some of it goes a moment after the answer: a loop device, a cancelled create."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nobody tells us when the kernel is done
            await asyncio.sleep(0.02)


def _alive(pids: Sequence[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


SERVER = """
import asyncio, sys
from pathlib import Path
from sandboxing import Watched, sandbox_plan, shell
from lambent.worker.sandbox.client import Sandboxes
from lambent.worker.sandbox.sandboxd_start import SandboxOptions

async def main():
    directory = Path(sys.argv[1])
    options = SandboxOptions(state_dir=directory / "state", server_id=sys.argv[2], level="full")
    sandboxes = await Sandboxes.launch(options)
    for _ in range(3):
        sandbox = await sandboxes.create(sandbox_plan(directory, shell("echo up; sleep 600")))
        await Watched(sandbox).printed()
        sandbox.freeze()
    print(sandboxes.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def _start_server(directory: Path, server_id: str) -> tuple[subprocess.Popen[str], int]:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(directory), server_id],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    return server, int(json.loads(server.stdout.readline()))


def _end(server: subprocess.Popen[str]) -> None:
    server.kill()
    server.wait()
    assert server.stdout is not None
    server.stdout.close()


async def test_sandboxd_ends_with_its_server_and_cleans_up(tmp_path: Path) -> None:
    server, sandboxd = _start_server(tmp_path, "orphan")
    assert len({group.name for group in cgroups_of("orphan")}) == 3
    pids = processes_in(cgroups_of("orphan"))

    _end(server)

    await _wait_for(lambda: not _alive([sandboxd]))
    assert cgroups_of("orphan") == []
    assert not _alive(pids)


async def test_a_successor_removes_what_a_killed_predecessor_left(tmp_path: Path) -> None:
    server, sandboxd = _start_server(tmp_path, "heir")
    os.kill(server.pid, signal.SIGSTOP)  # so that nobody can clean up before both are dead
    os.kill(sandboxd, signal.SIGKILL)
    _end(server)
    assert cgroups_of("heir") != []

    async with await Sandboxes.launch(SandboxOptions(state_dir=tmp_path / "state", server_id="heir", level="full")):
        assert cgroups_of("heir") == []


async def test_a_dead_sandboxd_is_the_death_of_every_sandbox(tmp_path: Path) -> None:
    options = SandboxOptions(state_dir=tmp_path / "state", server_id="lost", level="full")
    async with await Sandboxes.launch(options) as sandboxes:
        sandbox = await sandboxes.create(sandbox_plan(tmp_path, shell("echo up; sleep 60")))
        watched = Watched(sandbox)
        await watched.printed()
        pids = processes_in(cgroups_of("lost"))

        os.kill(sandboxes.pid, signal.SIGKILL)
        await watched.death()

        with pytest.raises(PlatformError, match="sandboxd has ended"):
            await sandboxes.create(sandbox_plan(tmp_path))
        await sandbox.destroy()
        await _wait_for(lambda: not _alive(pids))
    async with await Sandboxes.launch(options):
        pass
    assert cgroups_of("lost") == []
