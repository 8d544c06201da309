"""Memory that the server no longer uses, given back to the host in quiet times.

The C library keeps what it once had: after large payloads, a quarter of the server. Giving back takes it 1 to 5 ms.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable

_LOOK_S = 10.0
_GROWN_BYTES = 1024 * 1024
_M_ARENA_MAX = -8
"""Of glibc's malloc.h."""


def share_one_heap() -> None:
    """Have all threads of this process allocate from one heap, as long as there is but one thread.

    The C library gives each of them its own, which keeps megabytes; and ours seldom run at the same time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has but one
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


async def keep_trimmed(is_quiet: Callable[[], bool]) -> None:
    """Until cancelled: look now and then whether it is quiet and worthwhile."""
    trimmer = Trimmer(malloc_trim(), resident_bytes)
    while True:
        await asyncio.sleep(_LOOK_S)
        trimmer.look(is_quiet=is_quiet())


class Trimmer:
    """Trims when the process has grown since it was last trimmed, and nobody has to wait for it."""

    def __init__(self, trim: Callable[[], object], resident_bytes: Callable[[], int]) -> None:
        self._trim = trim
        self._resident_bytes = resident_bytes
        self._least_bytes = resident_bytes()

    def look(self, *, is_quiet: bool) -> None:
        held_bytes = self._resident_bytes()
        self._least_bytes = min(self._least_bytes, held_bytes)
        if is_quiet and held_bytes >= self._least_bytes + _GROWN_BYTES:
            self._trim()
            self._least_bytes = self._resident_bytes()


def malloc_trim() -> Callable[[], object]:
    """The C library's, or nothing where it has none: musl keeps little."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return (lambda: trim(0)) if trim is not None else (lambda: None)


def resident_bytes() -> int:
    """Of this process."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
