"""Keep-alive policies over a synthetic trace: how many calls find no environment, and how much memory waits in vain.

The trace has the shapes that "Serverless in the Wild" (USENIX ATC 2020) finds: most functions are called rarely, few
make most of the calls, many by timers. The policies are the server's own; time is virtual, and the seed fixed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from lambent.manager.keep_alive import IdleTimes, Window

DAYS = 7
_MINUTE_S = 60.0
_END_S = DAYS * 24 * 3600.0
_FIXED_S = 600.0
_LONG_S = 3600.0

Gaps = Iterator[float]
"""Idle times in seconds, without end."""


def periodic(chance: random.Random) -> Gaps:
    """A timer of five minutes to two hours, a few seconds late or early."""
    period_s = chance.choice((5, 10, 15, 20, 30, 60, 120)) * _MINUTE_S
    while True:
        yield max(1.0, chance.gauss(period_s, 5.0))


def bursty(chance: random.Random) -> Gaps:
    """A user who calls every few seconds for a while and comes back after an hour or so."""
    pause_s = chance.uniform(20, 120) * _MINUTE_S
    while True:
        for _ in range(chance.randint(5, 60)):
            yield chance.expovariate(1 / 4.0)
        yield chance.gauss(pause_s, 0.3 * pause_s) if pause_s > 0 else 0.0


def steady(chance: random.Random) -> Gaps:
    """Called every few seconds to minutes, at random."""
    mean_s = chance.uniform(2, 240)
    while True:
        yield chance.expovariate(1 / mean_s)


def rare(chance: random.Random) -> Gaps:
    """A few times a day, at any hour."""
    mean_s = chance.uniform(3, 24) * 3600
    while True:
        yield chance.expovariate(1 / mean_s)


def heavy_tailed(chance: random.Random) -> Gaps:
    """Mostly minutes, now and then hours (Pareto)."""
    shape, least_s = chance.uniform(0.8, 1.6), chance.uniform(20, 300)
    while True:
        yield least_s * chance.paretovariate(shape)


MIXTURE: Mapping[Callable[[random.Random], Gaps], int] = {
    periodic: 30,
    bursty: 20,
    steady: 10,
    rare: 25,
    heavy_tailed: 15,
}
"""Functions of each kind in a hundred."""


@dataclass(slots=True)
class Cost:
    calls: int = 0
    cold: int = 0
    wasted_mib_minutes: float = 0.0
    """Memory times the minutes in which an environment only waits."""
    made_early: int = 0

    def count(self, window: Window, idle_s: float, held_mib: float) -> None:
        """One idle time that ends with a call, while the function has that window."""
        self.calls += 1
        self.cold += not window.is_open(idle_s)
        self.made_early += 0 < window.from_s <= idle_s
        self.wasted_mib_minutes += held_mib * max(0.0, min(idle_s, window.until_s) - window.from_s) / _MINUTE_S

    def add(self, other: Cost) -> None:
        self.calls += other.calls
        self.cold += other.cold
        self.wasted_mib_minutes += other.wasted_mib_minutes
        self.made_early += other.made_early


def replay(gaps: Gaps, held_mib: float) -> Mapping[str, Cost]:
    """One function for the whole time, under each policy."""
    fixed, longer, adaptive = Cost(), Cost(), Cost()
    times = IdleTimes()
    now_s = 0.0
    for idle_s in gaps:
        now_s += idle_s
        if now_s > _END_S:
            break
        fixed.count(Window(0.0, _FIXED_S), idle_s, held_mib)
        longer.count(Window(0.0, _LONG_S), idle_s, held_mib)
        adaptive.count(times.window(_FIXED_S), idle_s, held_mib)
        times.note(idle_s)
    return {"fixed 10 min": fixed, "fixed 60 min": longer, "adaptive": adaptive}


def simulate(functions: int, seed: int = 1) -> Mapping[str, Mapping[str, Cost]]:
    """By kind of function, `all` last: what each policy costs."""
    costs: dict[str, dict[str, Cost]] = {kind.__name__: {} for kind in MIXTURE} | {"all": {}}
    for kind, share in MIXTURE.items():
        for number in range(max(1, functions * share // 100)):
            chance = random.Random(f"{seed} {kind.__name__} {number}")
            held_mib = chance.lognormvariate(4.0, 1.0)  # half of them below 55 MiB, one in a hundred above 560
            for policy, cost in replay(kind(chance), held_mib).items():
                costs[kind.__name__].setdefault(policy, Cost()).add(cost)
                costs["all"].setdefault(policy, Cost()).add(cost)
    return costs


def rows(functions: int) -> list[dict[str, object]]:
    """By kind, each policy against the fixed timeout of ten minutes."""
    return [
        {
            "what": f"keep-alive, {kind.replace('_', ' ')}: {policy}",
            "calls": cost.calls,
            "cold": cost.cold,
            "waiting GiB-hours": round(cost.wasted_mib_minutes / 1024 / 60, 1),
            "made early": cost.made_early,
            "cold / fixed 10 min": round(cost.cold / max(1, costs["fixed 10 min"].cold), 2),
            "waiting / fixed 10 min": round(cost.wasted_mib_minutes / costs["fixed 10 min"].wasted_mib_minutes, 2),
        }
        for kind, costs in simulate(functions).items()
        for policy, cost in costs.items()
    ]
