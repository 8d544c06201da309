"""All processes below one, where no PID namespace holds them together. For the level `process` only."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

_GIVE_UP_S = 2.0


def descendants(pid: int) -> list[int]:
    """Everything below a process, parents first; the dead who wait for their parent left out."""
    found: list[int] = []
    for task in _tasks(pid):
        for child in _read(task / "children").split():
            if ") Z " not in _read(Path(f"/proc/{child}/stat")):
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


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
