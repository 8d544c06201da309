"""All processes below one, and their end where no PID namespace holds them together, as at the level `process`."""

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


def kill(pid: int) -> None:
    """Kill everything below a process that adopts its orphans; some may be born while we look, so look again."""
    deadline = time.monotonic() + _GIVE_UP_S
    while (alive := descendants(pid)) and time.monotonic() < deadline:
        for child in alive:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


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
