"""The most memory that an environment has used, as far as anybody has looked. Pure: times come in, of one clock."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

_MIB = 1024 * 1024
_SHORT_S = 0.001
_SEEN_FOR_S = 0.01


class MemoryPeak:
    """To look takes a system call, a twentieth of a warm invoke: one that is short is not worth one each time.

    It can have touched a few MiB. Those are seen by the first look after 10 ms.
    """

    def __init__(self, read_bytes: Callable[[], int]) -> None:
        self._read_bytes = read_bytes
        self._seen_s: float | None = None
        self.mib = 0
        """What the last look has shown."""

    def begin_generation(self) -> None:
        """What was seen is nothing to new processes."""
        self._seen_s = None

    def look(self, now_s: float, *, after_s: float) -> int:
        """The peak in MiB, at the end of an invocation that has taken `after_s`."""
        if self._seen_s is None or after_s > _SHORT_S or now_s > self._seen_s + _SEEN_FOR_S:
            self._seen_s = now_s
            self.mib = ceil(self._read_bytes() / _MIB)
        return self.mib
