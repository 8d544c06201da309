"""How many deliveries of one lane may run at once: found out by trying, as a network's congestion window is. Pure.

It opens while it is full and more waits, fast as long as nothing speaks against it; a refusal keeps what runs.
"""

from __future__ import annotations

from dataclasses import dataclass

_FIRST_SIZE = 8
_FAST_STEP_S = 0.1
_SLOW_STEP_S = 1.0
_CAUTIOUS_S = 10.0
"""How long after a refusal the window opens slowly."""
_PAUSE_S_MINIMUM, _PAUSE_S_MAXIMUM = 0.1, 5.0


@dataclass(slots=True)
class Window:
    maximum: int
    size: int = 0
    _changed_s: float = 0.0
    _refused_s: float = float("-inf")
    _closed_until_s: float = float("-inf")
    _refusals: int = 0

    def __post_init__(self) -> None:
        self.size = min(_FIRST_SIZE, self.maximum)

    def room(self, now_s: float, running: int, share: int) -> int:
        """How many more may start now, where no lane should run more than `share`."""
        return 0 if now_s < self._closed_until_s else min(self.size, share) - running

    def widen(self, now_s: float, *, is_host_busy: bool) -> None:
        """It is full, and more waits: it doubles, or opens by one where little is left to be had."""
        is_slow = is_host_busy or now_s - self._refused_s < _CAUTIOUS_S
        if now_s - self._changed_s >= (_SLOW_STEP_S if is_slow else _FAST_STEP_S):
            self._resize(now_s, self.size + 1 if is_slow else self.size * 2)

    def narrow(self, now_s: float, running: int) -> None:
        """One was refused while so many others ran: that many fit. With none, wait a little, then longer."""
        self._refused_s = now_s
        self._resize(now_s, min(self.size, running))
        if not running:
            pause_s = min(_PAUSE_S_MINIMUM * 2 ** min(self._refusals, 16), _PAUSE_S_MAXIMUM)
            self._closed_until_s = now_s + pause_s
            self._refusals += 1

    def give_way(self, now_s: float) -> None:
        """Another lane finds no room on the host."""
        self._refused_s = now_s
        self._resize(now_s, self.size // 2)

    def succeed(self) -> None:
        self._refusals = 0

    def _resize(self, now_s: float, size: int) -> None:
        self.size = max(1, min(size, self.maximum))
        self._changed_s = now_s
