"""What sandboxes are where a host, or its user, gives less; and what `doctor` says about it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sandboxing import Watched, ask, cgroups_of, processes_in, sandbox_plan, shell

import lambent
from lambent.model.errors import PlatformError
from lambent.worker.sandbox.client import Sandboxes
from lambent.worker.sandbox.doctor import probe
from lambent.worker.sandbox.plan import Level, ProcessPlan
from lambent.worker.sandbox.sandboxd_start import SandboxOptions

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")

NOBODY = 65534
SYSTEM_PYTHON = "/usr/bin/python3"

AS_NOBODY = """
import asyncio, json, sys
from pathlib import Path
from sandboxing import Watched, ask, python, sandbox_plan, shell
from lambent.worker.sandbox.client import Sandboxes
from lambent.worker.sandbox.sandboxd_start import SandboxOptions
from lambent.worker.sandbox.doctor import probe

FACTS = '''
import os, socket
def attempt(what):
    try:
        return what()
    except OSError as error:
        return type(error).__name__
def bomb():
    for made in range(200):
        if os.fork() == 0:
            import time; time.sleep(60)
    return "unlimited"
answer({
    "uid": os.getuid(),
    "root": sorted(os.listdir("/")),
    "processes": sorted(int(pid) for pid in os.listdir("/proc") if pid.isdigit()),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith("Cap")],
    "seccomp": [line.split()[1] for line in open("/proc/self/status") if line.startswith("Seccomp:")],
    "write_usr": attempt(lambda: open("/usr/x", "w")),
    "write_tmp": attempt(lambda: open("/tmp/x", "w").write("x")),
    "fill_tmp": attempt(lambda: open("/tmp/big", "wb").write(bytes(5 << 20))),
    "bomb": attempt(bomb),
})
'''

async def merged(sandboxes, directory):
    for number in "12":
        (directory / number).mkdir()
        (directory / number / "both").write_text(number)
        (directory / number / number).write_text(number)
    script = "import os; answer([sorted(os.listdir('/opt')), open('/opt/both').read()])"
    return await ask(sandboxes, directory, script, layer_dirs=(str(directory / "1"), str(directory / "2")))

async def reboots(sandboxes, directory):
    sandbox = await sandboxes.create(sandbox_plan(directory, shell("echo kept > /tmp/kept; echo up; sleep 60")))
    watched = Watched(sandbox)
    await watched.printed()
    sandbox.freeze()
    await sandbox.kill()
    await sandbox.reboot([shell("cat /tmp/kept")])
    return (await watched.printed()).decode()

HOLD = "import time; held = bytearray({mib} << 20); print('held', flush=True); time.sleep({s})"

async def peaks(sandboxes, directory):
    child = HOLD.format(mib=40, s=60)
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {child!r}])"
    sandbox = await sandboxes.create(sandbox_plan(directory, python(parent)))
    await Watched(sandbox).printed()
    peaks = [sandbox.memory_peak_bytes()]
    await sandbox.kill()
    peaks.append(sandbox.memory_peak_bytes())
    await sandbox.reboot([python(HOLD.format(mib=80, s=0))])
    await Watched(sandbox).exit_of()
    peaks.append(sandbox.memory_peak_bytes())
    return [peak >> 20 for peak in peaks]

async def without_isolation(directory):
    options = SandboxOptions(state_dir=directory / "open", server_id="nobody", level="process")
    async with await Sandboxes.launch(options) as sandboxes:
        return await peaks(sandboxes, directory)

async def main():
    directory = Path(sys.argv[1])
    options = SandboxOptions(state_dir=directory / "state", server_id="nobody")
    async with await Sandboxes.launch(options) as sandboxes:
        facts = await ask(sandboxes, directory, FACTS, pids_maximum=40, ephemeral_storage_mib=4)
        facts["reboot"] = await reboots(sandboxes, directory)
        facts["layers"] = await merged(sandboxes, directory)
        facts["peaks"] = await peaks(sandboxes, directory)
        facts["level"] = sandboxes.report.level
        facts["shortcomings"] = sandboxes.report.shortcomings
    facts["peaks_without_isolation"] = await without_isolation(directory)
    facts["doctor"] = probe().level
    print(json.dumps(facts))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def as_nobody(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What sandboxes of an ordinary user are, found out in them."""
    directory = tmp_path_factory.mktemp("nobody")
    for path in (directory, *directory.parents[:2]):
        path.chmod(0o755)
    home = directory / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    source = Path(lambent.__file__).parent.parent
    site_packages = [path for path in sys.path if path.endswith("site-packages")]
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": ":".join([str(Path(__file__).parent), str(source), *site_packages]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    ended = subprocess.run(
        [SYSTEM_PYTHON, "-c", AS_NOBODY, str(home)],
        user=NOBODY,
        group=NOBODY,
        extra_groups=(),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "No module named" in ended.stderr:
        pytest.skip(f"{SYSTEM_PYTHON} cannot use the packages of the interpreter that runs this")
    assert ended.returncode == 0, ended.stderr
    facts: dict[str, Any] = json.loads(ended.stdout)
    return facts


def test_an_ordinary_user_gets_the_same_walls_in_a_user_namespace(as_nobody: dict[str, Any]) -> None:
    assert as_nobody["level"] == as_nobody["doctor"] == "userns"
    assert as_nobody["uid"] == 993
    assert not {"work", "boot", "mnt", "sys"} & set(as_nobody["root"])
    assert as_nobody["processes"] == [2]
    assert as_nobody["interfaces"] == ["lo"]
    assert as_nobody["capabilities"] == ["0" * 16] * 5
    assert as_nobody["seccomp"] == ["2"]
    assert as_nobody["write_usr"] == "OSError"
    assert as_nobody["write_tmp"] == 1
    assert as_nobody["fill_tmp"] == "OSError"
    assert as_nobody["bomb"] == "BlockingIOError"
    assert as_nobody["reboot"] == "kept\n"
    assert as_nobody["layers"] == [["1", "2", "both"], "2"]
    assert any("no cgroup for memory" in shortcoming for shortcoming in as_nobody["shortcomings"])


@pytest.mark.parametrize("level", ["peaks", "peaks_without_isolation"])
def test_where_no_cgroup_counts_memory_the_peak_is_what_processes_had_resident(
    level: str, as_nobody: dict[str, Any]
) -> None:
    with_a_child, once_killed, after_its_exit = as_nobody[level]

    assert 40 <= with_a_child < 120
    assert once_killed == with_a_child
    assert 80 <= after_its_exit < 160


def test_root_reaches_the_full_level_and_doctor_says_so() -> None:
    report = probe()

    assert report.level is Level.FULL
    missing = [finding for finding in report.findings if not finding.is_there]
    assert all(finding.remedy for finding in missing)
    assert not any(finding.remedy for finding in report.findings if finding.is_there)


async def test_a_level_that_cannot_be_had_is_refused_with_the_reason(tmp_path: Path) -> None:
    options = SandboxOptions(state_dir=tmp_path, server_id="refused", level="userns", egress="open")

    with pytest.raises(PlatformError, match="egress open takes root"):
        await Sandboxes.launch(options)


async def test_with_egress_each_sandbox_has_one_way_out_and_none_to_its_neighbour(tmp_path: Path) -> None:
    options = SandboxOptions(state_dir=tmp_path / "state", server_id="egress", level="full", egress="open")
    script = """
import socket
def address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("203.0.113.1", 9))
        return probe.getsockname()[0]
answer({"interfaces": [name for _, name in socket.if_nameindex()], "address": address()})"""
    try:
        sandboxes = await Sandboxes.launch(options)
    except PlatformError as exc:
        pytest.skip(str(exc))
    async with sandboxes:
        both = await asyncio.gather(*(ask(sandboxes, tmp_path, script, egress="open") for _ in range(2)))
        resolver = await sandboxes.create(
            sandbox_plan(tmp_path, shell("cat /etc/resolv.conf; echo end"), egress="open")
        )
        assert (await Watched(resolver).printed(b"end\n")).endswith(b"end\n")

    assert [facts["interfaces"] for facts in both] == [["lo", "eth0"]] * 2
    assert both[0]["address"] != both[1]["address"]


async def test_without_isolation_processes_still_live_the_same_life(tmp_path: Path) -> None:
    options = SandboxOptions(state_dir=tmp_path / "state", server_id="open", level="process")
    script = "echo kept > $TMPDIR/kept; echo $0 $AWS_LAMBDA_RUNTIME_API; (setsid sleep 600 &) ; sleep 600"
    process = ProcessPlan(name="runtime", argv=("/bin/sh", "-c", script, "/var/task"), env={"PATH": "/bin:/usr/bin"})
    async with await Sandboxes.launch(options) as sandboxes:
        assert any("in reach" in shortcoming for shortcoming in sandboxes.report.shortcomings)
        plan = sandbox_plan(tmp_path, process)
        sandbox = await sandboxes.create(plan)
        watched = Watched(sandbox)

        assert await watched.printed() == f"{plan.code_dir} {sandbox.runtime_api_address}\n".encode()
        sandbox.freeze()
        await sandbox.kill()
        assert processes_in(cgroups_of("open")) == []

        await sandbox.reboot([shell("cat $TMPDIR/kept; exit 4")])
        assert await watched.printed() == b"kept\n"
        assert (await watched.exit_of()).code == 4
        await sandbox.destroy()
        assert not list((tmp_path / "state" / "run").iterdir())


async def test_without_isolation_the_lack_of_a_layer_merger_is_told(tmp_path: Path) -> None:
    options = SandboxOptions(state_dir=tmp_path / "state", server_id="open", level="process")
    async with await Sandboxes.launch(options) as sandboxes:
        with pytest.raises(PlatformError, match="one layer at most"):
            await sandboxes.create(sandbox_plan(tmp_path, layer_dirs=("/a", "/b")))
