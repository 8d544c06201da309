"""What every story of the benchmarks is given, and how rows are made of what it measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.lambent import Target
from benchmarks.load import Measured, together
from benchmarks.processors import Processors, Round

Row = dict[str, object]

_WANTED = 5
_AT_MOST = 20
_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Bench:
    """`scale` is the share of the work that is done: 0.1 to see that it runs."""

    server: Target
    processors: Processors
    scale: float

    def times(self, count: int, *, least: int = 1) -> int:
        return max(least, int(count * self.scale))

    def rounds(self, measure: Callable[[], Measured]) -> Rounds:
        """Five with the fastest processors, of twenty at most."""
        wanted = self.times(_WANTED, least=2)
        taken = self.processors.rounds(measure, wanted=wanted, at_most=self.times(_AT_MOST, least=2))
        return Rounds(taken, taken[:wanted])

    @contextmanager
    def telling(self, row: Row) -> Iterator[None]:
        """For what takes longer than a short round: waits a while for fast processors, and tells how fast they were."""
        with self.processors.meanwhile(patience_s=_PATIENCE_S * self.scale) as meanwhile:
            yield
        row["processors"] = round(meanwhile.speed, 2)


@dataclass(frozen=True, slots=True)
class Rounds:
    taken: Sequence[Round[Measured]]
    chosen: Sequence[Round[Measured]]

    @property
    def measured(self) -> Measured:
        return together([one.measured for one in self.chosen])

    @property
    def row(self) -> Row:
        """Latencies and rate of the chosen, how they were chosen, and what all of them had; no failure is left out."""
        measured, every = self.measured, together([one.measured for one in self.taken])
        return {
            "p50 ms": milliseconds(measured.percentile(0.5)),
            "p99 ms": milliseconds(measured.percentile(0.99)),
            "per second": round(measured.per_second),
            "failures": every.failures,
            "rounds": f"{len(self.chosen)} of {len(self.taken)}",
            "processors": round(sum(one.speed for one in self.chosen) / len(self.chosen), 2),
            "all rounds": {"p50 ms": milliseconds(every.percentile(0.5)), "per second": round(every.per_second)},
        }


def milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
