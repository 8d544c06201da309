"""Control groups on directories that only look like them: version 1, version 2, both at once, and none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lambent.worker.sandbox.cgroups import Cgroups, Controller, Tree, parse_trees
from lambent.worker.sandbox.plan import Limits

HYBRID_MOUNTS = """\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
37 31 0:32 / /mnt/memory/again rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
HYBRID_MEMBERSHIP = "9:name=systemd:/x\n5:devices:/\n4:memory:/jobs/7\n1:cpu,cpuacct:/\n0::/user\n"

LIMITS = Limits(memory_bytes=128 << 20, cpu_quota_us=1_447, cpu_boost_quota_us=20_000, pids_maximum=1_024)


def test_each_tree_is_found_where_this_process_is() -> None:
    trees = parse_trees(HYBRID_MOUNTS, HYBRID_MEMBERSHIP)

    assert trees == [
        Tree(1, Path("/sys/fs/cgroup/cpu,cpuacct"), frozenset({Controller.CPU})),
        Tree(1, Path("/sys/fs/cgroup/memory/jobs/7"), frozenset({Controller.MEMORY})),
        Tree(2, Path("/sys/fs/cgroup/unified/user"), frozenset()),
    ]


def test_a_container_sees_its_own_group_as_the_root() -> None:
    mounts = "41 31 0:38 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"

    (tree,) = parse_trees(mounts, "0::/docker/1/inner\n")

    assert tree.directory == Path("/sys/fs/cgroup/inner")


def test_a_server_moved_aside_does_not_nest_the_next_one_deeper() -> None:
    mounts = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"

    (tree,) = parse_trees(mounts, "0::/user.slice/session-3.scope/lambent-x-server\n")

    assert tree.directory == Path("/sys/fs/cgroup/user.slice/session-3.scope")


class FakeKernel:
    """Fills new groups with the files a kernel would put there."""

    V1 = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max_usage_in_bytes", "memory.usage_in_bytes")
    V1 += (
        "memory.oom_control",
        "cpu.shares",
        "cpu.cfs_period_us",
        "cpu.cfs_quota_us",
        "pids.max",
        "freezer.state",
        "cgroup.procs",
    )
    V2 = ("memory.max", "memory.swap.max", "memory.peak", "memory.current", "memory.events", "cpu.max", "pids.max")
    V2 += ("cpu.weight", "cgroup.freeze", "cgroup.procs", "cgroup.subtree_control")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...]) -> None:
        mkdir = Path.mkdir

        def make(path: Path, *arguments: object, **options: object) -> None:
            mkdir(path, *arguments, **options)  # type: ignore[arg-type]
            for name in files:
                (path / name).touch()

        monkeypatch.setattr(Path, "mkdir", make)


def test_version_1_limits_are_written_and_files_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cgroups = Cgroups("lambent-x", [Tree(1, tmp_path, frozenset(Controller))])
    FakeKernel(monkeypatch, FakeKernel.V1)
    shortcomings = cgroups.prepare()

    for descriptor in cgroups.create("a"):
        os.close(descriptor)
    cgroups.limit("a", LIMITS)

    group = tmp_path / "lambent-x" / "a"
    written = {path.name: path.read_text() for path in group.iterdir() if path.read_text()}
    assert shortcomings == []
    assert written == {
        "memory.limit_in_bytes": "134217728",
        "memory.memsw.limit_in_bytes": "134217728",
        "cpu.shares": "1024",
        "cpu.cfs_period_us": "20000",
        "cpu.cfs_quota_us": "20000",
        "pids.max": "1024",
    }
    assert set(cgroups.files("a").writable) == {"peak", "cpu_quota", "freezer_state"}


def test_version_2_limits_are_written_and_files_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids")
    (tmp_path / "cgroup.type").write_text("domain")
    (tmp_path / "cgroup.procs").write_text("1\n2\n")
    cgroups = Cgroups("lambent-x", [Tree(2, tmp_path, frozenset())])
    FakeKernel(monkeypatch, FakeKernel.V2)
    shortcomings = cgroups.prepare()

    for descriptor in cgroups.create("a"):
        os.close(descriptor)
    cgroups.limit("a", LIMITS)

    group = tmp_path / "lambent-x" / "a"
    written = {path.name: path.read_text() for path in group.iterdir() if path.read_text()}
    assert shortcomings == []
    assert written == {
        "memory.max": "134217728",
        "memory.swap.max": "0",
        "cpu.weight": "100",
        "cpu.max": "20000 20000",
        "pids.max": "1024",
    }
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"
    assert (tmp_path / "lambent-x-server" / "cgroup.procs").read_text(), "the server has made room"
    assert set(cgroups.files("a").writable) == {"peak", "cpu_max", "freeze"}


def test_beside_version_1_controllers_the_freezer_is_version_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "v2").mkdir()
    (tmp_path / "v2" / "cgroup.controllers").write_text("")
    trees = [Tree(1, tmp_path / "v1", frozenset(Controller)), Tree(2, tmp_path / "v2", frozenset())]
    (tmp_path / "v1").mkdir()
    cgroups = Cgroups("lambent-x", trees)
    FakeKernel(monkeypatch, (*FakeKernel.V1, *FakeKernel.V2))

    assert cgroups.prepare() == []
    for descriptor in cgroups.create("a"):
        os.close(descriptor)
    cgroups.limit("a", LIMITS)
    assert set(cgroups.files("a").writable) == {"peak", "cpu_quota", "freeze"}


def test_limits_that_do_not_bite_are_named(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu")

    (shortcoming,) = Cgroups("lambent-x", []).prepare()

    assert shortcoming.startswith("no cgroup for memory, cpu, pids, freezer")
