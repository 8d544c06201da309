"""How long an idle environment is kept, and when one is made before it is called. Pure: times come in, of one clock.

Fixed: for a timeout, the same for all. Adaptive, after Shahrad et al., "Serverless in the Wild" (USENIX ATC 2020): a
histogram of minutes counts how long a function is idle between its invokes. Hardly any comes before the head (the 5th
percentile): until then nothing is kept. Hardly any comes after the tail (the 99th): from then on nothing is kept. While
the histogram says nothing yet, or nothing at all, the function has the fixed timeout.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from msgspec import Struct

from lambent.model.arn import FunctionArn
from lambent.model.invocation import EnvironmentId, Target

_BIN_S = 60.0
_BINS = 240
_HEAD, _TAIL = 0.05, 0.99
_MARGIN = 0.1
"""As much earlier than the head, and later than the tail."""
_TOO_FEW = 10
_TOO_SPREAD = 2.0
"""The least coefficient of variation of the bins: below it, idle times are anywhere."""
_AGED = 1_024
"""So many idle times, and half of each bin is forgotten: habits change."""
_TRUST_MAXIMUM = 3
"""What has missed so often in a row is trusted no more, however often it hit before."""

HABITS_MAXIMUM = 10_000
"""Functions whose habits are known, about 1 KiB each; who was not called for longest is forgotten."""


class Idle(Struct, frozen=True):
    """An environment that waits, since its function was used last."""

    environment_id: EnvironmentId
    since_s: float


@dataclass(frozen=True, slots=True)
class Window:
    """When a function's environment is worth its memory, in seconds since its last use."""

    from_s: float
    until_s: float

    def is_open(self, idle_s: float) -> bool:
        return self.from_s <= idle_s < self.until_s


def expired(idle: Iterable[Idle], *, now_s: float, window: Window) -> Sequence[Idle]:
    """Those that are not worth their memory: no longer, or not yet."""
    return [one for one in idle if not window.is_open(now_s - one.since_s)]


def worn_out(
    idle: Iterable[Idle], born_s: Mapping[EnvironmentId, float], *, now_s: float, maximum_age_s: float
) -> Sequence[Idle]:
    """Those that have existed for too long, however busy they are."""
    return [one for one in idle if now_s - born_s[one.environment_id] >= maximum_age_s]


class IdleTimes:
    """A function's idle times, and the window that follows from them."""

    __slots__ = ("_beyond", "_bins", "_early", "_squares", "_total", "_trust", "_window")

    def __init__(self) -> None:
        self._bins = array("H", bytes(2 * _BINS))
        self._total = 0
        self._squares = 0
        """The sum of the squares of all bins."""
        self._beyond = 0
        """Idle times longer than the histogram is wide."""
        self._window: Window | None = None
        self._early: Window | None = None
        """The window in which an environment made before its call would be kept, whether or not that is done."""
        self._trust = 1
        """Falls with each call that misses that window; without trust, an environment is kept from the first moment."""

    def note(self, idle_s: float) -> None:
        if self._early is not None:
            step = 1 if self._early.is_open(idle_s) else -1
            self._trust = min(max(self._trust + step, 0), _TRUST_MAXIMUM)
        number = int(idle_s / _BIN_S)
        if number < _BINS:
            self._squares += 2 * self._bins[number] + 1
            self._bins[number] += 1
            self._total += 1
        else:
            self._beyond += 1
        self._window = None
        if self._total + self._beyond >= _AGED:
            self._age()

    def window(self, timeout_s: float) -> Window:
        """`timeout_s` is the fixed timeout, for as long as nothing better is known."""
        if self._window is None:
            self._window, self._early = Window(0.0, timeout_s), None
            if self._is_representative:
                self._learn()
        return self._window

    @property
    def _is_representative(self) -> bool:
        if self._total < _TOO_FEW or self._beyond > self._total:
            return False
        # How often two of them are in the same bin: unlike the bins' own spread, it does not take few for concentrated.
        pairs, same = self._total * (self._total - 1), self._squares - self._total
        return _BINS * same / pairs - 1 >= _TOO_SPREAD**2

    def _learn(self) -> None:
        sums = list(accumulate(self._bins))
        head = bisect_left(sums, _HEAD * self._total)
        tail = bisect_left(sums, _TAIL * self._total) + 1
        from_s, until_s = head * _BIN_S * (1 - _MARGIN), tail * _BIN_S * (1 + _MARGIN)
        self._window = Window(0.0, until_s)
        if from_s >= until_s - from_s:  # to make one anew saves at least as much as it will cost
            self._early = Window(from_s, until_s)
            if self._trust:
                self._window = self._early

    def _age(self) -> None:
        self._bins = array("H", (count // 2 for count in self._bins))
        self._total = sum(self._bins)
        self._squares = sum(count * count for count in self._bins)
        self._beyond //= 2


@dataclass(slots=True)
class Habit:
    """One function's, over all its versions and updates."""

    target: Target
    """What was started last on demand."""
    idle_times: IdleTimes = field(default_factory=IdleTimes)
    running: int = 0
    ended_s: float | None = None
    """When its last invoke ended."""

    def begin(self, now_s: float) -> None:
        if not self.running and self.ended_s is not None:
            self.idle_times.note(now_s - self.ended_s)
        self.running += 1

    def end(self, now_s: float) -> None:
        self.running -= 1
        self.ended_s = now_s


class Habits:
    """Of the functions that were called of late."""

    def __init__(self, maximum: int = HABITS_MAXIMUM) -> None:
        self._maximum = maximum
        self._habits: dict[FunctionArn, Habit] = {}
        self._expected: dict[FunctionArn, float] = {}
        """When environments are to be made, for functions that may have been called since."""

    def of(self, target: Target) -> Habit:
        """The habit of the target's function, who is called now."""
        function = target.version.arn
        habit = self._habits.pop(function, None) or Habit(target)
        habit.target = target
        self._habits[function] = habit
        if len(self._habits) > self._maximum:
            del self._habits[next(iter(self._habits))]
        return habit

    def forget(self, function: FunctionArn) -> None:
        self._habits.pop(function, None)
        self._expected.pop(function, None)

    def expect(self, habit: Habit, at_s: float) -> None:
        """An environment is let go now and wanted again then."""
        self._expected[habit.target.version.arn] = at_s

    def due(self, now_s: float, timeout_s: float) -> Sequence[Habit]:
        """Whose calls are expected from now on: those that nobody has called meanwhile."""
        due: list[Habit] = []
        for function in [function for function, at_s in self._expected.items() if at_s <= now_s]:
            del self._expected[function]
            habit = self._habits.get(function)
            if habit is None or habit.running or habit.ended_s is None:
                continue
            window = habit.idle_times.window(timeout_s)
            if window.from_s and window.is_open(now_s - habit.ended_s):
                due.append(habit)
        return due
