"""How many sandboxes stand ready before anybody wants them: by how many were wanted of late. Pure."""

from __future__ import annotations

from collections import deque

from lambent.worker.sandbox.slot import Shape

_REMEMBERED_S = 5.0
"""A burst is answered by what stands ready; what comes within this time after it finds as many again."""
_FORGOTTEN_S = 600.0
"""Nothing stands ready any more for functions that nobody has wanted a new sandbox for in so long."""
_FEWEST = 2


class Demand:
    """The sandboxes taken of late, by shape. Times are seconds of one monotonic clock."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._taken: dict[Shape, deque[float]] = {}

    def took(self, shape: Shape, *, now_s: float) -> None:
        """One was wanted, or will be soon."""
        self._taken.setdefault(shape, deque(maxlen=max(1, self._maximum))).append(now_s)

    def expect(self, shape: Shape, *, now_s: float) -> None:
        """Some may be wanted of a shape, of which some may stand ready already."""
        if shape not in self._taken:
            self.took(shape, now_s=now_s)

    def wanted(self, *, now_s: float) -> dict[Shape, int]:
        """How many shall stand ready of each shape, the shape wanted last first; together `maximum` at most."""
        left = self._maximum
        wanted: dict[Shape, int] = {}
        for shape, times in sorted(self._taken.items(), key=lambda item: -item[1][-1]):
            if now_s - times[-1] >= _FORGOTTEN_S:
                del self._taken[shape]
                continue
            recent = sum(1 for time_s in times if now_s - time_s < _REMEMBERED_S)
            wanted[shape] = min(left, max(_FEWEST, recent))
            left -= wanted[shape]
        return wanted
