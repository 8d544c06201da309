"""Control groups, old and new: where they are, what they limit, how a sandbox's group is made, emptied and removed.

Version 1 has one tree per controller, version 2 one for all. Hosts may mix them: controllers on v1, and beside them a
v2 tree without any, which still freezes better than v1 can. A sandbox gets a directory in every tree we use.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lambent.worker.sandbox import kernel
from lambent.worker.sandbox.plan import CPU_PERIOD_US, Limits


class Controller(StrEnum):
    MEMORY = "memory"
    CPU = "cpu"
    PIDS = "pids"
    FREEZER = "freezer"


REMEDY = "start as root, or under `systemd-run --user --scope -p Delegate=yes`"
_LIMITING = (Controller.MEMORY, Controller.CPU, Controller.PIDS)
_GIVE_UP_EMPTYING_S = 5.0
_PREFIX, _ASIDE = "lambent-", "-server"


@dataclass(frozen=True, slots=True)
class Tree:
    """One mounted hierarchy and our own place in it. `controllers` are those it serves for us."""

    version: int
    directory: Path
    controllers: frozenset[Controller]

    def serves(self, controller: Controller) -> bool:
        """Whether a group made here can limit that; every version 2 tree can freeze."""
        if self.version == 1:
            return controller in self.controllers
        if controller is Controller.FREEZER:
            return True
        return controller in (self.directory / "cgroup.controllers").read_text().split()


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """A sandbox's control files: name on the wire → path. Handed out open, read and written in place."""

    readable: dict[str, str]
    writable: dict[str, str]
    """Of these `peak` is read as well: v2 resets it for the very descriptor that writes, and no other."""


def parse_trees(mountinfo: str, membership: str) -> list[Tree]:
    """The trees this process can find itself in, from /proc/self/mountinfo and /proc/self/cgroup."""
    own: dict[frozenset[str], str] = {}
    for line in membership.splitlines():
        _, joined, path = line.split(":", 2)
        own[frozenset(joined.split(",") if joined else ())] = path
    trees = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        root, mount_point = before.split()[3:5]
        kind, _, options = after.split(" ", 2)
        names = frozenset(() if kind == "cgroup2" else options.split(","))
        match = next((known for known in own if known == names or known & names), None)
        if kind not in ("cgroup", "cgroup2") or match is None:
            continue
        inside = _without_our_aside(os.path.relpath(own.pop(match), root))  # popped: a tree may be mounted twice
        controllers = frozenset(controller for controller in Controller if controller in match)
        if kind == "cgroup2" or controllers:
            trees.append(Tree(2 if kind == "cgroup2" else 1, Path(mount_point, inside), controllers))
    return trees


def _without_our_aside(path: str) -> str:
    """Where we stood before a server, maybe one that lent us its shell, was moved aside (`_make_room`)."""
    while (name := os.path.basename(path)).startswith(_PREFIX) and name.endswith(_ASIDE):
        path = os.path.dirname(path)
    return path


def own_trees() -> list[Tree]:
    """The trees of this process."""
    return parse_trees(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())


def hold_joins_quick(name: str) -> int | None:
    """While the descriptor returned is open, a process joins a group at once.

    Otherwise it waits until every CPU has noticed that someone wants to, 10 to 20 ms on a busy host. The option that
    makes the kernel stay prepared belongs to a hierarchy but acts on all: hence one of our own, which nobody joins and
    which goes with its last descriptor. None before Linux 6.0, or without version 1.
    """
    try:
        return kernel.new_filesystem("cgroup", (("none", None), ("name", name), ("favordynmods", None)), 0)
    except OSError:
        return None


class Cgroups:
    """The groups of one server: below its own place in every tree, a directory of its name, then one per sandbox."""

    def __init__(self, name: str, trees: Sequence[Tree]) -> None:
        self._name = name
        self._all = list(trees)
        self._trees: list[Tree] = []

    @classmethod
    def of_this_process(cls, server_id: str) -> Cgroups:
        return cls(f"{_PREFIX}{server_id}", own_trees())

    @property
    def controllers(self) -> frozenset[Controller]:
        """What can be limited and frozen here; known once prepared."""
        found = frozenset[Controller]().union(*(tree.controllers for tree in self._trees))
        return found | {Controller.FREEZER} if self._unified is not None else found

    def prepare(self) -> list[str]:
        """Remove a predecessor's groups, make ours. Returns why some limits will not bite, in words for a person."""
        reason = ""
        self.clean()
        for tree in self._all:
            try:
                self._trees.append(self._prepare_v2(tree) if tree.version == 2 else self._prepare_v1(tree))
            except OSError as exc:
                reason = f" ({exc.filename}: {exc.strerror})"
        if self._unified is not None:  # which freezes better
            self._trees = [tree for tree in self._trees if tree.controllers != {Controller.FREEZER}]
        missing = [controller for controller in Controller if controller not in self.controllers]
        if not missing:
            return []
        return [f"no cgroup for {', '.join(missing)}{reason}: {REMEDY}"]

    def _prepare_v1(self, tree: Tree) -> Tree:
        (tree.directory / self._name).mkdir(exist_ok=True)
        return tree

    def _prepare_v2(self, tree: Tree) -> Tree:
        wanted = [controller for controller in _LIMITING if tree.serves(controller)]
        group = tree.directory / self._name
        group.mkdir(exist_ok=True)
        if wanted:
            self._make_room(tree.directory)
            for directory in (tree.directory, group):
                (directory / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))
        return Tree(2, tree.directory, frozenset(wanted))

    def _make_room(self, directory: Path) -> None:
        """A v2 group that passes controllers on may hold no process, unless it is the root: move the server's aside."""
        if not (directory / "cgroup.type").exists():
            return
        server = directory / f"{self._name}{_ASIDE}"
        server.mkdir(exist_ok=True)
        for pid in (directory / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                (server / "cgroup.procs").write_text(pid)

    # One sandbox ------------------------------------------------------------------------------------------------------

    def create(self, name: str) -> list[int]:
        """Make a sandbox's groups. Returns descriptors of their `cgroup.procs`; writing 0 there moves the writer in."""
        for group in self._groups(name):
            Path(group).mkdir()
        for tree in self._trees:
            if tree.version == 1 and Controller.MEMORY in tree.controllers:
                _write(f"{self._group(tree, name)}/memory.kmem.tcp.limit_in_bytes?", _TCP_BYTES)
        return [os.open(f"{group}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for group in self._groups(name)]

    def hold_back(self, name: str) -> None:
        """Let a sandbox that nobody waits for yet have only what CPU nobody else wants, until it is limited."""
        for tree, (setting, least, _) in self._cpu_weights():
            _write(f"{self._group(tree, name)}/{setting}", least)

    def hasten(self, name: str) -> None:
        """The opposite."""
        for tree, (setting, _, usual) in self._cpu_weights():
            _write(f"{self._group(tree, name)}/{setting}", usual)

    def limit(self, name: str, limits: Limits) -> None:
        """Hold a sandbox to its function's limits; the CPU to the larger share that Init has."""
        for tree in self._trees:
            group = self._group(tree, name)
            for setting, value in self._settings(tree, limits):
                _write(f"{group}/{setting}", value)

    def files(self, name: str) -> Files:
        """The control files the server itself works with."""
        readable: dict[str, str] = {}
        writable: dict[str, str] = {}
        for tree in self._trees:
            group = self._group(tree, name)
            if Controller.MEMORY in tree.controllers:
                peak, usage, events = _MEMORY_FILES[tree.version]
                readable |= {"memory": f"{group}/{usage}", "events": f"{group}/{events}"}
                if tree.version == 1 or os.path.exists(f"{group}/{peak}"):  # v2 has had it since Linux 5.19
                    writable["peak"] = f"{group}/{peak}"
            if Controller.CPU in tree.controllers:
                if tree.version == 2:
                    writable["cpu_max"] = f"{group}/cpu.max"
                else:
                    writable["cpu_quota"] = f"{group}/cpu.cfs_quota_us"
            if tree.version == 2:
                writable["freeze"] = f"{group}/cgroup.freeze"
            elif Controller.FREEZER in tree.controllers and self._unified is None:
                writable["freezer_state"] = f"{group}/freezer.state"
        return Files(readable=readable, writable=writable)

    def thaw(self, name: str) -> None:
        """Needed before a v1 group can die: SIGKILL waits for the frozen there."""
        for tree in self._trees:
            if tree.version == 2:
                _write(f"{self._group(tree, name)}/cgroup.freeze", "0")
            elif Controller.FREEZER in tree.controllers:
                _write(f"{self._group(tree, name)}/freezer.state", "THAWED")

    def remove(self, name: str) -> None:
        """Remove a sandbox's groups, and whatever might still be in them."""
        for group in self._groups(name):
            _empty(Path(group))

    def clean(self) -> None:
        """Kill and remove everything under our name, whoever made it."""
        for tree in self._all:
            top = tree.directory / self._name
            if not top.is_dir():
                continue
            for group in [entry for entry in top.iterdir() if entry.is_dir()]:
                _empty(group)
            _remove(top)

    @property
    def _unified(self) -> Tree | None:
        return next((tree for tree in self._trees if tree.version == 2), None)

    def _group(self, tree: Tree, name: str) -> str:
        return f"{tree.directory}/{self._name}/{name}"

    def _groups(self, name: str) -> Iterator[str]:
        return (self._group(tree, name) for tree in self._trees)

    def _cpu_weights(self) -> Iterator[tuple[Tree, tuple[str, str, str]]]:
        return ((tree, _CPU_WEIGHT[tree.version]) for tree in self._trees if Controller.CPU in tree.controllers)

    def _settings(self, tree: Tree, limits: Limits) -> Iterator[tuple[str, str]]:
        """What is written into a new group, in order."""
        if Controller.MEMORY in tree.controllers:
            yield from _memory_settings(tree.version, limits)
        if Controller.CPU in tree.controllers:
            setting, _, usual = _CPU_WEIGHT[tree.version]
            yield setting, usual
            if tree.version == 1:
                yield "cpu.cfs_period_us", str(CPU_PERIOD_US)
            yield _cpu_setting(tree.version, limits)
        if Controller.PIDS in tree.controllers:
            yield "pids.max", str(limits.pids_maximum)


_TCP_BYTES = str(64 * 1024 * 1024)
"""What a sandbox's connections may hold unread. Version 1 does not count it as memory, and all of the host's
connections share one limit; version 2 counts it."""

_MEMORY_FILES = {
    1: ("memory.max_usage_in_bytes", "memory.usage_in_bytes", "memory.oom_control"),
    2: ("memory.peak", "memory.current", "memory.events"),
}
"""Peak, usage, events by cgroup version. Both versions' events have a line `oom_kill N`."""


_CPU_WEIGHT = {1: ("cpu.shares", "2", "1024"), 2: ("cpu.weight", "1", "100")}
"""The file, the least and the usual, by cgroup version."""


def _cpu_setting(version: int, limits: Limits) -> tuple[str, str]:
    if version == 1:
        return "cpu.cfs_quota_us", str(limits.cpu_boost_quota_us)
    return "cpu.max", f"{limits.cpu_boost_quota_us} {CPU_PERIOD_US}"


def _memory_settings(version: int, limits: Limits) -> Iterator[tuple[str, str]]:
    limit = str(limits.memory_bytes)
    if version == 1:
        yield "memory.limit_in_bytes", limit
        yield "memory.memsw.limit_in_bytes?", limit
    else:
        yield "memory.max", limit
        yield "memory.swap.max?", "0"


def _write(name: str, value: str) -> None:
    """Write a setting. One that ends in `?` may be missing: a kernel without swap accounting has nothing to limit."""
    try:
        descriptor = os.open(name.removesuffix("?"), os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        if name.endswith("?"):
            return
        raise
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _remove(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError as exc:
        if exc.errno != errno.EBUSY:
            raise
        return False
    return True


def _empty(group: Path) -> None:
    """Kill whatever is left in a group, and remove it."""
    deadline = time.monotonic() + _GIVE_UP_EMPTYING_S
    while not _remove(group):
        if time.monotonic() > deadline:
            raise TimeoutError(errno.ETIMEDOUT, "processes of a predecessor do not die", str(group))
        for pid in (group / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        for name, value in (("cgroup.freeze", "0"), ("freezer.state", "THAWED")):
            with suppress(FileNotFoundError):
                _write(f"{group}/{name}", value)
        time.sleep(0.005)
