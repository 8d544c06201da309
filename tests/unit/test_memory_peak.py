"""When it is looked at how much memory an environment has used."""

from __future__ import annotations

from lambent.worker.memory_peak import MemoryPeak

MIB = 1024 * 1024


class Environment:
    """Touches a MiB between any two looks."""

    def __init__(self) -> None:
        self.looks = 0

    def read(self) -> int:
        self.looks += 1
        return self.looks * MIB


def test_the_first_invocation_is_looked_at_however_short() -> None:
    assert MemoryPeak(Environment().read).look(0.0, after_s=0.0001) == 1


def test_what_is_seen_is_rounded_up() -> None:
    assert MemoryPeak(lambda: 5 * MIB + 1).look(0.0, after_s=1.0) == 6


def test_a_short_invocation_soon_after_a_look_is_told_what_that_has_shown() -> None:
    peak = MemoryPeak(Environment().read)
    peak.look(7.0, after_s=0.5)

    assert [peak.look(7.0 + after_s, after_s=0.001) for after_s in (0.001, 0.005, 0.01)] == [1, 1, 1]
    assert peak.look(7.0101, after_s=0.001) == 2


def test_an_invocation_that_is_not_short_is_always_looked_at() -> None:
    peak = MemoryPeak(Environment().read)

    assert [peak.look(7.0 + 0.002 * n, after_s=0.002) for n in range(5)] == [1, 2, 3, 4, 5]


def test_a_new_generation_is_looked_at_anew() -> None:
    peak = MemoryPeak(Environment().read)
    peak.look(7.0, after_s=0.5)
    peak.begin_generation()

    assert peak.look(7.001, after_s=0.0001) == 2
