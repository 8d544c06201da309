"""A timer that is set for every invoke and hardly ever rings.

The event loop's own costs as much as a good part of a warm invoke to set and to cancel. So it is left as it is when the
alarm is cleared or set to later; where it rings too early, it is set anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_ROUNDING_S = 0.0005
"""uvloop's timers and its clock know whole milliseconds."""


class Alarm:
    """Calls `ring` once for each time that it was set to and that came."""

    __slots__ = ("_due_s", "_loop", "_ring", "_timer", "_timer_s")

    def __init__(self, ring: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ring = ring
        self._due_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = 0.0

    def set(self, delay_s: float) -> None:
        """Ring after so many seconds, and not at the time set before."""
        self._due_s = due_s = self._loop.time() + delay_s
        if self._timer is None or due_s < self._timer_s:
            self._arm(due_s)

    def clear(self) -> None:
        """Do not ring."""
        self._due_s = None

    def cancel(self) -> None:
        """Never ring again, and keep nobody alive in order to."""
        self._due_s = None
        self._ring = _silent
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, due_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = due_s
        self._timer = self._loop.call_at(due_s, self._wake)

    def _wake(self) -> None:
        self._timer = None
        if self._due_s is None:
            return
        if self._loop.time() + _ROUNDING_S < self._due_s:
            self._arm(self._due_s)
        else:
            self._due_s = None
            self._ring()


def _silent() -> None:
    """Nobody hears it."""
