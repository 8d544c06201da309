"""An event loop whose clock jumps to the next timer as soon as nothing else is left to do: hours pass in milliseconds.

For code that knows time only from its loop. It has no sockets or threads to wait for: waiting for them would be waiting
for nothing, and is told as a deadlock.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")

START_S = 1_700_000_000.0
"""The epoch time at which every virtual clock begins."""

_RESOLUTION_S = 1e-6
"""Epoch seconds have no finer digits: a timer that is so near is due."""


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of sleeping it tells how long it would have slept."""

    slept_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("deadlock: every task waits, and no timer will ever wake one")
        self.slept_s += max(0.0, timeout)
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time()` is epoch seconds, so that it serves as both clocks."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._clock_resolution = _RESOLUTION_S

    def time(self) -> float:
        return START_S + self._jumping.slept_s


def run(main: Coroutine[object, object, T]) -> T:
    """Run `main` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def now() -> float:
    """The running loop's epoch time."""
    return asyncio.get_running_loop().time()
