"""How many sandboxes stand ready before anybody wants them: by how many were wanted of late. Pure."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Kind = TypeVar("Kind")
"""What one sandbox can stand in for another of: their shape, or the template they are forked from."""

_REMEMBERED_S = 5.0
"""A burst is answered by what stands ready; what comes within this time after it finds as many again."""
_FORGOTTEN_S = 600.0
"""Nothing stands ready any more for functions that nobody has wanted a new sandbox for in so long."""
_FEWEST = 2


class Demand(Generic[Kind]):
    """The sandboxes taken of late, by kind. Times are seconds of one monotonic clock."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._taken: dict[Kind, deque[float]] = {}

    def took(self, kind: Kind, *, now_s: float) -> None:
        """One was wanted, or will be soon."""
        self._taken.setdefault(kind, deque(maxlen=max(1, self._maximum))).append(now_s)

    def expect(self, kind: Kind, *, now_s: float) -> None:
        """Some may be wanted of a kind, of which some may stand ready already."""
        if kind not in self._taken:
            self.took(kind, now_s=now_s)

    def forget(self, kind: Kind) -> None:
        """There will be no more of it."""
        self._taken.pop(kind, None)

    def wanted(self, *, now_s: float) -> dict[Kind, int]:
        """How many shall stand ready of each kind, the kind wanted last first; together `maximum` at most."""
        left = self._maximum
        wanted: dict[Kind, int] = {}
        for kind, times in sorted(self._taken.items(), key=lambda item: -item[1][-1]):
            if now_s - times[-1] >= _FORGOTTEN_S:
                del self._taken[kind]
                continue
            recent = sum(1 for time_s in times if now_s - time_s < _REMEMBERED_S)
            wanted[kind] = min(left, max(_FEWEST, recent))
            left -= wanted[kind]
        return wanted
