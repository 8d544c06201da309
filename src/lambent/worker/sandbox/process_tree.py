"""All processes below one: their end where no PID namespace holds them, their memory where no cgroup counts it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

_GIVE_UP_S = 2.0


def descendants(pid: int) -> list[int]:
    """Everything below a process, parents first; the dead who wait for their parent left out."""
    found: list[int] = []
    for task in _tasks(pid):
        for child in _read(f"/proc/{pid}/task/{task}/children").split():
            if ") Z " not in _read(f"/proc/{child}/stat"):
                found.append(int(child))
            found.extend(descendants(int(child)))
    return found


def pid_of(pidfd: int) -> int | None:
    """What we call the process that a descriptor stands for, whatever its owner calls it; None once it is gone."""
    _, _, after = _read(f"/proc/self/fdinfo/{pidfd}").partition("Pid:")
    pid = int(after.split(None, 1)[0]) if after else 0
    return pid if pid > 0 else None


def kill(pid: int) -> None:
    """Kill everything below a process that adopts its orphans; some may be born while we look, so look again."""
    deadline = time.monotonic() + _GIVE_UP_S
    while (alive := descendants(pid)) and time.monotonic() < deadline:
        for child in alive:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def peak_resident_bytes(pid: int) -> int:
    """The sum of the most memory that each process below one has had resident. What they share counts for each."""
    return sum(_peak_kib(child) for child in descendants(pid)) * 1024


def _peak_kib(pid: int) -> int:
    _, _, after = _read(f"/proc/{pid}/status").partition("VmHWM:")
    return int(after.split(None, 1)[0]) if after else 0


def _tasks(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return []


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""
