"""Whether a new environment fits on this worker, and what would have to go for it. Pure: looks and times come in.

What counts is the memory that environments take, not what they are configured with. The host says what is available;
off that goes what those that start or work are expected to take still. A look costs, so between two of them the room is
reckoned forward: a thousand environments that are wanted at once are a few looks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lambent.manager.keep_alive import Idle

LEAST_MIB = 8
_UNKNOWN_SHARE = 8
"""A version nobody has measured is expected to take an eighth of what it is configured with."""
_FORGET = 32

LOOK_AGAIN_S = 0.25
LOOK_SOON_S = 0.05
"""When there was no room: others may have gone since."""


class Footprint:
    """What an environment of one version is expected to take at its most, learned from those before it."""

    __slots__ = ("_limit_mib", "expected_mib")

    def __init__(self, limit_mib: int) -> None:
        self._limit_mib = limit_mib
        self.expected_mib = max(LEAST_MIB, limit_mib / _UNKNOWN_SHARE)

    def learn(self, peak_mib: float) -> None:
        """After an invoke: a peak beyond what is expected counts at once, one below it little by little.

        So one invoke in a hundred that needs ten times as much is reckoned with, and one in ten thousand is forgotten.
        """
        if peak_mib > self.expected_mib:
            self.expected_mib = min(peak_mib, self._limit_mib)
        elif peak_mib:  # zero where nobody counts
            self.expected_mib -= (self.expected_mib - max(peak_mib, LEAST_MIB)) / _FORGET

    def growth_mib(self, held_mib: float) -> float:
        """What one that holds so much is expected to take still; if it holds more than that, so may the others."""
        if held_mib > self.expected_mib:
            self.expected_mib = min(held_mib, self._limit_mib)
        return max(0.0, self.expected_mib - held_mib)


@dataclass(frozen=True, slots=True)
class Holding:
    """An idle environment and what would be free without it."""

    idle: Idle
    held_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the host and its environments showed at one moment."""

    available_mib: float
    growth_mib: float = 0.0
    """What those that start or work are expected to take still."""
    leaving_mib: float = 0.0
    """What those hold that are being stopped."""


class Room:
    """What can still be given to new environments."""

    def __init__(self, *, look: Callable[[], Look], idle: Callable[[], Iterable[Holding]]) -> None:
        """`idle` tells the longest idle first; it is asked when room is short, once after each look."""
        self._look = look
        self._ask_idle = idle
        self._free_mib = 0.0
        self._looked_s: float | None = None
        self._idle: deque[Holding] | None = None
        self._idle_mib = 0.0

    def take(self, needed_mib: float, *, now_s: float, is_idle: Callable[[Idle], bool]) -> Sequence[Idle] | None:
        """Give that much; who must go for it, or None where all who could go would not be enough.

        `is_idle` tells of one that was idle at the last look whether it still is.
        """
        self._look_again(now_s, needed_mib)
        evicted = self._evict(needed_mib - self._free_mib, is_idle, at_any_rate=False)
        if evicted is not None:
            self._free_mib -= needed_mib
        return evicted

    def take_free(self, needed_mib: float, *, now_s: float) -> bool:
        """Give that much, if nobody must go for it."""
        self._look_again(now_s, needed_mib)
        if needed_mib > self._free_mib:
            return False
        self._free_mib -= needed_mib
        return True

    def relieve(self, *, now_s: float, is_idle: Callable[[Idle], bool]) -> Sequence[Idle]:
        """Who must go because those at work need more than there is."""
        self._look_again(now_s, 0.0)
        return self._evict(-self._free_mib, is_idle, at_any_rate=True) or ()

    def _look_again(self, now_s: float, needed_mib: float) -> None:
        after_s = LOOK_SOON_S if needed_mib > self._free_mib else LOOK_AGAIN_S
        if self._looked_s is not None and now_s - self._looked_s < after_s:
            return
        look = self._look()
        self._free_mib = look.available_mib + look.leaving_mib - look.growth_mib
        self._looked_s, self._idle = now_s, None

    def _evict(
        self, missing_mib: float, is_idle: Callable[[Idle], bool], *, at_any_rate: bool
    ) -> Sequence[Idle] | None:
        if missing_mib <= 0:
            return ()
        if self._idle is None:
            self._idle = deque(self._ask_idle())
            self._idle_mib = sum(one.held_mib for one in self._idle)
        chosen: list[Holding] = []
        while missing_mib > 0 and self._idle and (at_any_rate or missing_mib <= self._idle_mib):
            one = self._idle.popleft()
            self._idle_mib -= one.held_mib
            if is_idle(one.idle):
                chosen.append(one)
                missing_mib -= one.held_mib
        if missing_mib > 0 and not at_any_rate:
            self._idle.extendleft(reversed(chosen))
            self._idle_mib += sum(one.held_mib for one in chosen)
            return None
        self._free_mib += sum(one.held_mib for one in chosen)
        return [one.idle for one in chosen]
