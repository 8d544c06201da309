"""The memory there is for a server and all its sandboxes: the machine's, or less where a control group bounds them.

A service manager or a container bounds whole groups, which /proc/meminfo does not tell. The groups of sandboxes are
made below the server's own place, so what bounds it or one above bounds all of them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lambent.worker.sandbox.cgroups import Tree, own_trees

_MEMINFO = Path("/proc/meminfo")
_KIB = 1024
_RESERVE_BYTES, _RESERVE_SHARE = 512 * 1024 * 1024, 8
"""What is never given to environments, so that the host itself stays well: so much, but of a small one a part."""


@dataclass(frozen=True, slots=True)
class _Names:
    """Of the files in which a version of cgroups tells of memory, and of what in them can be had back at any time."""

    limit: str
    usage: str
    reclaimable: frozenset[str]


_OLD_RECLAIMABLE = frozenset({"total_active_file", "total_inactive_file"})
_RECLAIMABLE = frozenset({"active_file", "inactive_file", "slab_reclaimable"})
_NAMES = {
    1: _Names("memory.limit_in_bytes", "memory.usage_in_bytes", _OLD_RECLAIMABLE),
    2: _Names("memory.max", "memory.current", _RECLAIMABLE),
}
_UNLIMITED = "max"


class HostMemory:
    """What there is, and what may still be given to environments, in bytes."""

    def __init__(self, trees: Iterable[Tree], meminfo: Path = _MEMINFO) -> None:
        self._groups = [group for tree in trees for group in _groups_above(tree)]
        self._meminfo = meminfo

    @classmethod
    def of_this_process(cls) -> HostMemory:
        return cls(own_trees())

    def total_bytes(self) -> int:
        machine = _numbers(self._meminfo)["MemTotal:"] * _KIB
        return min([machine, *(limit for _, limit in self._bounds(machine))])

    def free_bytes(self) -> int:
        """What environments may still take; below zero where too much is taken already."""
        told = _numbers(self._meminfo)
        machine, available = told["MemTotal:"] * _KIB, told["MemAvailable:"] * _KIB
        left = [(machine, available), *((limit, limit - group.held_bytes()) for group, limit in self._bounds(machine))]
        return min(available - min(_RESERVE_BYTES, total // _RESERVE_SHARE) for total, available in left)

    def _bounds(self, machine_bytes: int) -> Sequence[tuple[_Group, int]]:
        """Those groups that may hold less than the machine has. Limits come and go while we run."""
        limits = [(group, group.limit_bytes()) for group in self._groups]
        return [(group, limit) for group, limit in limits if limit is not None and limit < machine_bytes]


@dataclass(frozen=True, slots=True)
class _Group:
    directory: Path
    names: _Names

    def limit_bytes(self) -> int | None:
        with suppress(OSError):  # gone: somebody has moved us out of it
            limit = (self.directory / self.names.limit).read_text().strip()
            return None if limit == _UNLIMITED else int(limit)
        return None

    def held_bytes(self) -> int:
        """What it holds and could not give back at once."""
        usage = int((self.directory / self.names.usage).read_text())
        told = _numbers(self.directory / "memory.stat")
        return usage - sum(held for name, held in told.items() if name in self.names.reclaimable)


def _groups_above(tree: Tree) -> Iterator[_Group]:
    """Our own place in a tree and all above that memory is counted of."""
    names = _NAMES[tree.version]
    for directory in (tree.directory, *tree.directory.parents):
        if not (directory / "cgroup.procs").exists():
            return
        if (directory / names.limit).exists():
            yield _Group(directory, names)


def _numbers(file: Path) -> dict[str, int]:
    """Of a file with a name and a number on each line."""
    return {name: int(number) for name, number, *_ in map(str.split, file.read_text().splitlines())}
