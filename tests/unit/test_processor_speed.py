"""How the benchmarks choose among rounds: by how fast the processors were, never by what was measured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from benchmarks import processors
from benchmarks.processors import Processors


@dataclass(frozen=True, slots=True)
class Taken:
    started_s: float
    elapsed_s: float = 0.5


class Known(Processors):
    """Processors whose speed in each round is given."""

    def __init__(self, *speeds: float) -> None:
        self._speeds = speeds

    def speed(self, since_s: float, until_s: float) -> float:
        assert until_s == since_s + 0.5
        return self._speeds[int(since_s)]


def numbered() -> Iterator[Taken]:
    number = 0
    while True:
        yield Taken(float(number))
        number += 1


def test_the_rounds_with_the_fastest_processors_come_first() -> None:
    rounds = Known(0.5, 0.8, 0.6).rounds(numbered().__next__, wanted=1, at_most=3)

    assert [(one.measured.started_s, one.speed) for one in rounds] == [(1.0, 0.8), (2.0, 0.6), (0.0, 0.5)]


def test_it_is_measured_until_enough_rounds_had_fast_processors() -> None:
    rounds = Known(0.99, 0.5, 0.96, 1.0, 1.0).rounds(numbered().__next__, wanted=3, at_most=5)

    assert [one.measured.started_s for one in rounds] == [3.0, 0.0, 2.0, 1.0]


def test_among_rounds_of_the_same_speed_it_is_the_first_that_counts() -> None:
    rounds = Known(1.0, 1.0, 1.0).rounds(numbered().__next__, wanted=3, at_most=9)

    assert [one.measured.started_s for one in rounds] == [0.0, 1.0, 2.0]


def test_every_processor_is_timed_while_something_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "_LEARN_S", 0.2)
    with Processors() as timed:
        started_s = time.perf_counter()
        with timed.meanwhile() as meanwhile:
            sum(range(1_000_000))

        assert 0 < meanwhile.speed <= 1
        assert 0 < timed.speed(started_s - 100.0, started_s - 99.0) <= 1, "nothing was timed then: the last time it was"
