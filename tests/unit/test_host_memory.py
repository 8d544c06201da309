"""How much memory a server may reckon with: the machine's, or what control groups leave of it."""

from __future__ import annotations

from pathlib import Path

from lambent.worker.host_memory import HostMemory
from lambent.worker.sandbox.cgroups import Controller, Tree

MIB = 1024 * 1024


def machine(folder: Path, *, total_mib: int, available_mib: int) -> Path:
    meminfo = folder / "meminfo"
    meminfo.write_text(
        f"MemTotal: {total_mib * 1024} kB\nMemFree: 1 kB\nMemAvailable: {available_mib * 1024} kB\nHugePages_Total: 0\n"
    )
    return meminfo


def group(directory: Path, **files: str) -> Path:
    directory.mkdir()
    for name, text in {"cgroup.procs": "", **files}.items():
        (directory / name.replace("__", ".")).write_text(text)
    return directory


def limited(directory: Path, *, maximum: str, current_mib: int = 0, stat: str = "anon 1\n") -> Path:
    return group(directory, memory__max=f"{maximum}\n", memory__current=f"{current_mib * MIB}\n", memory__stat=stat)


def unified(directory: Path) -> list[Tree]:
    return [Tree(2, directory, frozenset())]


def test_without_groups_it_is_the_machines_without_a_reserve(tmp_path: Path) -> None:
    memory = HostMemory([], machine(tmp_path, total_mib=8_192, available_mib=6_000))

    assert memory.total_bytes() == 8_192 * MIB
    assert memory.free_bytes() == (6_000 - 512) * MIB


def test_of_a_small_machine_the_reserve_is_an_eighth(tmp_path: Path) -> None:
    memory = HostMemory([], machine(tmp_path, total_mib=1_024, available_mib=700))

    assert memory.free_bytes() == (700 - 128) * MIB


def test_the_tightest_group_above_bounds_it(tmp_path: Path) -> None:
    root = group(tmp_path / "cgroup")
    service = limited(root / "system.slice", maximum=f"{1_024 * MIB}", current_mib=400)
    own = limited(service / "lambent.service", maximum="max", current_mib=100)

    memory = HostMemory(unified(own), machine(tmp_path, total_mib=8_192, available_mib=6_000))

    assert memory.total_bytes() == 1_024 * MIB
    assert memory.free_bytes() == (1_024 - 400 - 128) * MIB


def test_what_a_group_could_give_back_is_free(tmp_path: Path) -> None:
    cache = f"active_file {30 * MIB}\ninactive_file {50 * MIB}\nslab_reclaimable {20 * MIB}\nanon {300 * MIB}\n"
    own = limited(tmp_path / "own", maximum=f"{1_024 * MIB}", current_mib=400, stat=cache)

    memory = HostMemory(unified(own), machine(tmp_path, total_mib=8_192, available_mib=6_000))

    assert memory.free_bytes() == (1_024 - 400 + 100 - 128) * MIB


def test_a_bounded_group_has_no_more_than_the_machine(tmp_path: Path) -> None:
    own = limited(tmp_path / "own", maximum=f"{4_096 * MIB}", current_mib=400)

    memory = HostMemory(unified(own), machine(tmp_path, total_mib=8_192, available_mib=1_000))

    assert memory.free_bytes() == (1_000 - 512) * MIB


def test_version_one_is_read_by_its_own_names(tmp_path: Path) -> None:
    own = group(
        tmp_path / "own",
        memory__limit_in_bytes=f"{2_048 * MIB}\n",
        memory__usage_in_bytes=f"{500 * MIB}\n",
        memory__stat=f"inactive_file 1\ntotal_active_file {10 * MIB}\ntotal_inactive_file {40 * MIB}\n",
    )

    memory = HostMemory(
        [Tree(1, own, frozenset({Controller.MEMORY}))], machine(tmp_path, total_mib=8_192, available_mib=6_000)
    )

    assert memory.total_bytes() == 2_048 * MIB
    assert memory.free_bytes() == (2_048 - 500 + 50 - 256) * MIB


def test_limits_count_as_they_are_now(tmp_path: Path) -> None:
    own = limited(tmp_path / "own", maximum="max", current_mib=100)
    memory = HostMemory(unified(own), machine(tmp_path, total_mib=8_192, available_mib=6_000))
    assert memory.total_bytes() == 8_192 * MIB

    (own / "memory.max").write_text(f"{800 * MIB}\n")
    assert memory.free_bytes() == (800 - 100 - 100) * MIB

    (own / "memory.max").unlink()
    assert memory.total_bytes() == 8_192 * MIB
