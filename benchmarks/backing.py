"""Have the host of a virtual machine back the memory that a measurement is about to touch.

Such a host may take free memory back and give a page again when it is next touched, which costs several times the fault
itself: that is the host's figure, of this minute, and neither ours nor a floor's nor a peer's.
"""

from __future__ import annotations

import mmap
import time

_POPULATE_WRITE = 23
"""MADV_POPULATE_WRITE, since Linux 5.14."""


def back(mib: int) -> float:
    """Touch so much memory and free it, for the next to find. Microseconds that a page of it took."""
    size = mib * 2**20
    started = time.perf_counter()
    with mmap.mmap(-1, size) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        try:
            memory.madvise(_POPULATE_WRITE)
        except OSError:
            for at in range(0, size, mmap.PAGESIZE):
                memory[at] = 1
    return (time.perf_counter() - started) * 1e6 / (size / mmap.PAGESIZE)
