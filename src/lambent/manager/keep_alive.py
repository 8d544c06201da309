"""How long an idle environment is kept, and which goes first when memory is short. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lambent.model.invocation import EnvironmentId


@dataclass(frozen=True, slots=True)
class Idle:
    """An environment that waits; `since_s` and every time here are of one monotonic clock."""

    environment_id: EnvironmentId
    since_s: float
    memory_mib: int


def expired(idle: Iterable[Idle], *, now_s: float, timeout_s: float) -> Sequence[Idle]:
    """Those idle for the whole timeout."""
    return [one for one in idle if now_s - one.since_s >= timeout_s]


def worn_out(
    idle: Iterable[Idle], born_s: Mapping[EnvironmentId, float], *, now_s: float, maximum_age_s: float
) -> Sequence[Idle]:
    """Those that have existed for too long, however busy they are."""
    return [one for one in idle if now_s - born_s[one.environment_id] >= maximum_age_s]


def evict(idle: Iterable[Idle], *, needed_mib: int) -> Sequence[Idle]:
    """The longest idle ones whose memory together makes the room, or all of them when it does not."""
    chosen: list[Idle] = []
    for one in sorted(idle, key=lambda one: one.since_s):
        if needed_mib <= 0:
            break
        chosen.append(one)
        needed_mib -= one.memory_mib
    return chosen
