"""The floor of cold starts of Node.js: the interpreter alone, started and ended, in no sandbox."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path


def measure(node: Path, count: int) -> list[float]:
    """Seconds of each, sorted."""
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        subprocess.run([node, "-e", "0"], check=True)
        taken.append(time.perf_counter() - started)
    return sorted(taken)
