"""What a running server holds, in its processes and in the kernel: to be sampled, and to be the same afterwards."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil

Sample = dict[str, float]

_CGROUPS = Path("/sys/fs/cgroup")
_MIB = 2**20
_ZYGOTES = ("lambent-plain", "lambent-zygote")


class Handles:
    """Of one server. Sampled as root."""

    def __init__(self, server_pid: int, data_dir: Path) -> None:
        self._server = psutil.Process(server_pid)
        self._data_dir = str(data_dir)
        self._groups: set[Path] = set()
        """The server's own directory in each tree; known once a sandbox was seen."""

    def sample(self) -> Sample:
        sandboxd = self._server.children()[0]
        children = sandboxd.children()
        zygotes = [child for child in children if _name(child) in _ZYGOTES]
        sandboxes = [child for child in children if _name(child) not in (*_ZYGOTES, None)]
        for sandbox in sandboxes[:1]:
            self._groups.update(_own_groups(sandbox.pid))
        router = _namespaces_held(sandboxd.pid)
        return {
            "sandboxes": len(sandboxes),
            "zygotes": len(zygotes),
            "processes": len(self._server.children(recursive=True)),
            "threads of the server": self._server.num_threads(),
            "MiB of the server": _private_mib([self._server]),
            "MiB of sandboxd": _private_mib([sandboxd]),
            "MiB of the zygotes": _resident_mib(zygotes),
            "descriptors of the server": self._server.num_fds(),
            "descriptors of sandboxd": sandboxd.num_fds(),
            "descriptors of the zygotes": sum(zygote.num_fds() for zygote in zygotes),
            "cgroups": sum(_directories(group) for group in self._groups),
            "mounts": _lines(f"/proc/{self._server.pid}/mountinfo") + _lines(f"/proc/{sandboxd.pid}/mountinfo"),
            "network namespaces held": len(router),
            "interfaces": max((_interfaces(path) for path in router.values()), default=0),
            "nftables elements": max((_elements(path) for path in router.values()), default=0),
            "loop devices": self._loops(),
            "files of sandboxes": sum(1 for _ in Path(self._data_dir, "sandboxes").rglob("*")),
        }

    def _loops(self) -> int:
        found = 0
        for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
            with suppress(OSError):
                found += backing.read_text().startswith(self._data_dir)
        return found


def _name(process: psutil.Process) -> str | None:
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return None


def _private_mib(processes: Iterable[psutil.Process]) -> float:
    return _mib(processes, lambda process: int(process.memory_full_info().uss))


def _resident_mib(processes: Iterable[psutil.Process]) -> float:
    """Of those whose children share it: how many there are makes no difference."""
    return _mib(processes, lambda process: int(process.memory_info().rss))


def _mib(processes: Iterable[psutil.Process], held_bytes: Callable[[psutil.Process], int]) -> float:
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += held_bytes(process)
    return round(total / _MIB, 2)


def _own_groups(pid: int) -> Iterable[Path]:
    """The directories above a sandbox's own."""
    with suppress(OSError):
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            path = Path(line.split(":", 2)[2])
            if not path.parent.name.startswith("lambent-"):
                continue
            for mount in mounts:
                group = Path(mount[4], os.path.relpath(path.parent, mount[3]))
                if mount[4].startswith(str(_CGROUPS)) and group.joinpath(path.name).is_dir():
                    yield group


def _directories(group: Path) -> int:
    return sum(len(below) for _, below, _ in os.walk(group))  # which does not mind one that goes meanwhile


def _lines(path: str) -> int:
    return len(Path(path).read_text().splitlines())


def _namespaces_held(pid: int) -> dict[str, str]:
    """Network namespaces that a process holds open: path by identity."""
    held: dict[str, str] = {}
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            target = descriptor.readlink().name
            if target.startswith("net:["):
                held[target] = str(descriptor)
    return held


def _inside(namespace: str, *command: str) -> str:
    done = subprocess.run(["nsenter", f"--net={namespace}", *command], capture_output=True, text=True, check=False)
    return done.stdout


def _interfaces(namespace: str) -> int:
    return len(_inside(namespace, "ip", "-o", "link").splitlines())


def _elements(namespace: str) -> int:
    """Of all sets in a namespace."""
    listed = json.loads(_inside(namespace, "nft", "-j", "list", "sets") or "{}").get("nftables", ())
    return sum(len(item["set"].get("elem", ())) for item in listed if "set" in item)
