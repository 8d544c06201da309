"""How many sandboxes stand ready before anybody wants them: as many as were wanted at once of late, for those whose
first call is expected, and a reserve for crowds that nothing has announced. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Kind = TypeVar("Kind")
"""What one sandbox can stand in for another of: their shape, or the template they are forked from."""

_AT_ONCE_S = 2.0
"""What comes within this time is one crowd."""
_REMEMBERED_S = 600.0
"""Who calls many functions at once will do so again, and who deploys one will call it. What nobody has wanted in so
long does not stand ready."""
FEWEST = 2
"""Of each kind that is wanted at all."""


class Demand(Generic[Kind]):
    """The sandboxes taken of late, by kind. Times are seconds of one monotonic clock."""

    def __init__(self, maximum: int, weigh: Callable[[Kind], int] = lambda kind: 1, reserve: int = 0) -> None:
        """At most `maximum` together; of a kind that weighs n, about an n-th of that.

        `reserve`: so many are kept as long as any kind is wanted, all kinds having a like part of them.
        """
        self._maximum = maximum
        self._reserve = reserve
        self._weigh = weigh
        self._history: dict[Kind, _History] = {}

    def took(self, kind: Kind, *, now_s: float) -> None:
        """One was wanted."""
        self._of(kind).took(now_s)

    def expect(self, kind: Kind, *, now_s: float) -> None:
        """Some may be wanted of a kind, of which some may stand ready already."""
        if kind not in self._history:
            self.took(kind, now_s=now_s)

    def expect_one_more(self, kind: Kind, *, now_s: float) -> None:
        """One will be wanted, beside all others that are expected."""
        self._of(kind).expect(now_s)

    def forget(self, kind: Kind) -> None:
        """There will be no more of it."""
        self._history.pop(kind, None)

    def wanted(self, *, now_s: float) -> dict[Kind, int]:
        """How many shall stand ready of each kind, the kind wanted last first; together `maximum` at most."""
        for kind in [kind for kind, history in self._history.items() if now_s - history.last_s >= _REMEMBERED_S]:
            del self._history[kind]
        left = self._maximum
        wanted: dict[Kind, int] = {}
        for kind, history in sorted(self._history.items(), key=lambda item: -item[1].last_s):
            most = min(history.most(now_s), self._maximum // self._weigh(kind))
            wanted[kind] = min(left, max(FEWEST, most))
            left -= wanted[kind]
        return wanted

    def kept(self, *, now_s: float) -> dict[Kind, int]:
        """How many may stand ready of each kind: those wanted, and the reserve; together `maximum` at most."""
        kept = self.wanted(now_s=now_s)
        left = self._maximum - sum(kept.values())
        for kind, count in kept.items():
            part = self._reserve // len(kept) // self._weigh(kind)
            kept[kind] += min(left, max(0, part - count))
            left -= kept[kind] - count
        return kept

    def _of(self, kind: Kind) -> _History:
        return self._history.setdefault(kind, _History(self._maximum))


class _History:
    """Of one kind: the crowds that wanted it, as far as none that came later was as large, and what is expected."""

    def __init__(self, maximum: int) -> None:
        self._crowd: deque[float] = deque(maxlen=max(1, maximum))
        self._largest: deque[tuple[float, int]] = deque()
        self._expected: deque[float] = deque(maxlen=max(1, maximum))
        self.last_s = 0.0

    def took(self, now_s: float) -> None:
        self.last_s = now_s
        if self._expected:
            self._expected.popleft()
        self._crowd.append(now_s)
        while now_s - self._crowd[0] >= _AT_ONCE_S:
            self._crowd.popleft()
        while self._largest and self._largest[-1][1] <= len(self._crowd):
            self._largest.pop()
        self._largest.append((now_s, len(self._crowd)))

    def expect(self, now_s: float) -> None:
        self.last_s = now_s
        self._expected.append(now_s)

    def most(self, now_s: float) -> int:
        """As many as the largest crowd, or as are expected."""
        while self._largest and now_s - self._largest[0][0] >= _REMEMBERED_S:
            self._largest.popleft()
        while self._expected and now_s - self._expected[0] >= _REMEMBERED_S:
            self._expected.popleft()
        return max(self._largest[0][1] if self._largest else 0, len(self._expected))
