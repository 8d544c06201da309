"""The room on the worker, looked for among the environments that are there; `placement` decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lambent.manager.keep_alive import Idle
from lambent.manager.placement import Holding, Look, Room
from lambent.manager.pool import Pool
from lambent.model.invocation import EnvironmentId
from lambent.ports.worker import Worker


class Capacity:
    def __init__(self, worker: Worker, pool_of: Mapping[EnvironmentId, Pool]) -> None:
        self._worker = worker
        self._pool_of = pool_of
        self._room = Room(look=self._look, idle=self._holdings)
        self.leaving: set[EnvironmentId] = set()
        """Environments that have been told to stop, and are not gone."""

    def take(self, pool: Pool, now_s: float) -> Sequence[Idle] | None:
        """Room for one more: which idle ones must go for it, or None where there is none."""
        return self._room.take(pool.footprint.expected_mib, now_s=now_s, is_idle=self._is_idle)

    def take_free(self, pool: Pool, now_s: float) -> bool:
        """Room for one more that nobody must go for."""
        return self._room.take_free(pool.footprint.expected_mib, now_s=now_s)

    def relieve(self, now_s: float) -> Sequence[Idle]:
        """Which idle ones must go, because those at work are expected to need more than there is."""
        return self._room.relieve(now_s=now_s, is_idle=self._is_idle)

    def _look(self) -> Look:
        growth_mib = leaving_mib = 0.0
        for environment_id, pool in self._pool_of.items():
            if environment_id in pool.idle:
                continue
            held_mib = self._worker.memory_held_mib(environment_id)
            if environment_id in self.leaving:
                leaving_mib += held_mib
            elif held_mib or pool.is_starting(environment_id):  # where nobody counts, what it takes is all there is
                growth_mib += pool.footprint.growth_mib(held_mib)
        return Look(available_mib=self._worker.memory_available_mib(), growth_mib=growth_mib, leaving_mib=leaving_mib)

    def _holdings(self) -> Iterable[Holding]:
        idle = sorted((one for pool in set(self._pool_of.values()) for one in pool.idle.values()), key=_since)
        return (Holding(one, self._worker.memory_held_mib(one.environment_id)) for one in idle)

    def _is_idle(self, idle: Idle) -> bool:
        pool = self._pool_of.get(idle.environment_id)
        return pool is not None and pool.idle.get(idle.environment_id) is idle


def _since(idle: Idle) -> float:
    return idle.since_s
