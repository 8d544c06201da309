"""How fast the processors are while something is measured.

Whoever shares a core with a virtual machine slows it down unseen: no time is stolen, and yet all takes up to twice as
long, for a second or for an hour. So a fixed piece of work is timed on every processor meanwhile, and figures say how
fast that was. What can be measured in short rounds is, and those count in which the processors were fastest: ours, the
floors' and the peers' alike. What a round measured has no part in that choice.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Generic, Protocol, Self, TypeVar

AS_FAST = 0.95
"""Of the fastest: nobody else was there to speak of."""
_STEPS = 15_000
"""A fifth of a millisecond: what is measured never waits for longer."""
_EVERY_S = 0.04
_LEARN_S = 3.0
"""In so long a processor is likely to have had its core for itself once."""
_FASTEST = 0.02
"""Of all times the shortest so many are what the work takes. The very shortest may be an accident."""
_JUST_NOW_S = 0.5


class Timed(Protocol):
    """When something was measured, by `time.perf_counter`, which all processes of a host share."""

    @property
    def started_s(self) -> float: ...

    @property
    def elapsed_s(self) -> float: ...


T = TypeVar("T", bound=Timed)


@dataclass(frozen=True, slots=True)
class Round(Generic[T]):
    """`speed` is the processors' meanwhile: 1.0 is the fastest that they are."""

    speed: float
    measured: T


@dataclass(slots=True)
class Meanwhile:
    speed: float = 0.0
    """Known at the end."""


class Processors:
    """Times a fixed piece of work on each of them, 25 times a second, while this is entered."""

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        self._timers: list[tuple[BaseProcess, Connection]] = []
        for processor in sorted(os.sched_getaffinity(0)):
            ours, theirs = context.Pipe()
            timer = context.Process(target=_time_work, args=(processor, theirs), daemon=True)
            timer.start()
            self._timers.append((timer, ours))
        time.sleep(_LEARN_S)
        return self

    def __exit__(self, *_: object) -> None:
        for timer, connection in self._timers:
            timer.terminate()
            timer.join()
            connection.close()

    def speed(self, since_s: float, until_s: float) -> float:
        """The mean of all processors over that time; 1.0 is the fastest that they were so far."""
        speeds = []
        for _timer, connection in self._timers:
            connection.send((since_s - _EVERY_S, until_s + _EVERY_S))
            fastest_s, taken_s = connection.recv()
            speeds.append(min(1.0, fastest_s / taken_s))
        return sum(speeds) / len(speeds)

    @contextmanager
    def meanwhile(self, *, patience_s: float = 0.0) -> Iterator[Meanwhile]:
        """The speed while this is entered, which may wait a while for them to be fast."""
        given_up_s = time.perf_counter() + patience_s
        while (now_s := time.perf_counter()) < given_up_s and self.speed(now_s - _JUST_NOW_S, now_s) < AS_FAST:
            time.sleep(_EVERY_S)
        meanwhile, started_s = Meanwhile(), time.perf_counter()
        yield meanwhile
        meanwhile.speed = self.speed(started_s, time.perf_counter())

    def rounds(self, measure: Callable[[], T], *, wanted: int, at_most: int) -> list[Round[T]]:
        """Measure until so many rounds had fast processors, or often enough; those with the fastest come first."""
        taken: list[Round[T]] = []
        while len(taken) < at_most and sum(one.speed >= AS_FAST for one in taken) < wanted:
            measured = measure()
            taken.append(Round(self.speed(measured.started_s, measured.started_s + measured.elapsed_s), measured))
        return sorted(taken, key=lambda one: one.speed, reverse=True)


def _time_work(processor: int, connection: Connection) -> None:
    """By the CPU time that it takes: who waits for a processor is none the slower on it."""
    os.sched_setaffinity(0, {processor})
    ended_s: list[float] = []
    took_s: list[float] = []
    while True:
        started_s = time.thread_time()
        for _ in range(_STEPS):
            pass
        took_s.append(time.thread_time() - started_s)
        ended_s.append(time.perf_counter())
        if connection.poll(_EVERY_S):
            since_s, until_s = connection.recv()
            within = took_s[bisect_left(ended_s, since_s) : bisect_left(ended_s, until_s)] or took_s[-1:]
            connection.send((sorted(took_s)[int(len(took_s) * _FASTEST)], sum(within) / len(within)))
