"""Whether a new environment fits on this worker, and what would have to go for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lambent.manager.keep_alive import Idle, evict

RESERVE_MIB = 512
"""Memory that is never given to environments, so that the host itself stays well."""

STARTING_MIB = 12
"""What an environment that is starting will have taken of the memory still shown as available, kernel's part included:
a forked one some 6 MiB, an executed one twice that."""


@dataclass(frozen=True, slots=True)
class Placement:
    is_admitted: bool
    evicted: Sequence[Idle] = ()


def place(*, available_mib: int, starting: int, memory_mib: int, idle: Iterable[Idle]) -> Placement:
    """Admit while the host has the memory the function may use; else make room by evicting the longest idle ones.

    Memory is what the host shows as available, not the sum of what is configured: most functions use little of it.
    """
    missing_mib = RESERVE_MIB + memory_mib + starting * STARTING_MIB - available_mib
    if missing_mib <= 0:
        return Placement(True)
    evicted = evict(idle, needed_mib=missing_mib)
    return Placement(sum(one.memory_mib for one in evicted) >= missing_mib, evicted)
