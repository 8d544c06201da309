"""How long to wait before trying again. Pure: chance comes in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubles from `first_s` to `maximum_s`; AWS tells no figures of its own for these waits."""

    first_s: float
    maximum_s: float

    def wait_s(self, failures: int, draw: float) -> float:
        """After the `failures`th failure in a row; `draw` (0–1) spreads those that failed together."""
        doubled = self.first_s * float(2 ** min(failures - 1, 16))
        return min(self.maximum_s, doubled) * (1 - draw / 4)


SOURCE = Backoff(1.0, 60.0)
"""A source that is down."""
FUNCTION = Backoff(0.25, 10.0)
"""A function that failed on a batch of a stream."""
THROTTLED = Backoff(0.1, 30.0)
"""An invocation that was refused: throttled, or a fault of ours."""
