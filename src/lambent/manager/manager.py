"""The worker manager. Implements `ports.manager` over one worker, and listens to it.

Nothing here awaits between reading and changing its state, so no lock is needed: one event loop is the owner.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from lambent.manager.counter import ConcurrencyCounter
from lambent.manager.keep_alive import Idle, expired
from lambent.manager.placement import place
from lambent.manager.pool import Pool
from lambent.manager.rates import RequestRates, ScalingRates, throttled
from lambent.model.arn import FunctionArn
from lambent.model.errors import PlatformError, TooManyRequests
from lambent.model.invocation import EnvironmentId, InvokeRequest, InvokeResult, Target
from lambent.model.response_stream import ResponseStream
from lambent.ports.worker import Worker

log = logging.getLogger(__name__)

_RESPONDED_GRACE_S = 0.005
"""How long an invoke waits for an environment that has just answered, before a new one is started for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerStatistics:
    idle: int
    busy: int
    starting: int
    waiting: int


class LocalManager:
    """Leases environments of one worker."""

    def __init__(self, worker: Worker, *, account_concurrency: int, idle_timeout_s: float) -> None:
        self._worker = worker
        self._idle_timeout_s = idle_timeout_s
        self._counter = ConcurrencyCounter(account_concurrency)
        self._requests = RequestRates(account_concurrency)
        self._scaling = ScalingRates()
        self._pools: dict[str, Pool] = {}
        self._pool_of: dict[EnvironmentId, Pool] = {}
        self._busy: set[EnvironmentId] = set()
        self._assigned: set[EnvironmentId] = set()
        """Handed to a waiting invoke that has not come round to using it."""
        self._keeper: asyncio.Task[None] | None = None
        worker.listen(self)

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.get_running_loop().create_task(self._keep())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            self._keeper.cancel()

    def admit(self, function: FunctionArn) -> None:
        self._requests.admit(function, self._counter.reserved(function), time.monotonic())

    def lease(self, target: Target) -> _Lease:
        return _Lease(self, target)

    def invoke_nowait(
        self, target: Target, request: InvokeRequest
    ) -> asyncio.Future[InvokeResult | ResponseStream] | None:
        pool = self._pools.get(target.pool_key)
        if pool is None or not pool.idle:
            return None
        self._counter.acquire(target.version.arn)
        environment_id = pool.idle.popitem()[0]
        self._busy.add(environment_id)
        return self._worker.invoke(environment_id, request)

    def reserve(self, function: FunctionArn, concurrency: int | None) -> None:
        self._counter.reserve(function, concurrency)

    def retire(self, function: FunctionArn, *, keep: Collection[str]) -> None:
        for key, pool in list(self._pools.items()):
            if pool.version.arn == function and key not in keep:
                pool.is_retired = True
                for environment_id in list(pool.idle):
                    del pool.idle[environment_id]
                    self._worker.stop(environment_id)
                self._forget_if_empty(key, pool)

    def statistics(self) -> ManagerStatistics:
        pools = self._pools.values()
        return ManagerStatistics(
            idle=sum(len(pool.idle) for pool in pools),
            busy=len(self._busy),
            starting=sum(len(pool.starting) for pool in pools),
            waiting=sum(len(pool.waiters) for pool in pools),
        )

    # What the worker tells -----------------------------------------------------------------------------------------

    def environment_settled(self, environment_id: EnvironmentId) -> None:
        if environment_id in self._assigned:
            return  # it was reset while idle: whoever it is assigned to will find it cold
        pool = self._pool_of[environment_id]
        self._release(environment_id, pool)
        waiter = pool.next_waiter()
        if waiter is not None:
            pool.idle.pop(environment_id, None)
            self._assigned.add(environment_id)
            waiter.set_result(environment_id)
        elif pool.is_retired:
            self._worker.stop(environment_id)
        else:
            pool.idle[environment_id] = Idle(environment_id, time.monotonic(), pool.version.memory_mib)

    def environment_responded(self, environment_id: EnvironmentId) -> None:
        self._pool_of[environment_id].responded.add(environment_id)

    def environment_gone(self, environment_id: EnvironmentId, error: PlatformError | None) -> None:
        pool = self._pool_of.pop(environment_id)
        self._assigned.discard(environment_id)
        self._release(environment_id, pool)
        pool.idle.pop(environment_id, None)
        if error is not None:
            waiter = pool.next_waiter()
            if waiter is not None:
                waiter.set_exception(error)
        self._start_if_needed(pool)

    def _release(self, environment_id: EnvironmentId, pool: Pool) -> None:
        pool.starting.discard(environment_id)
        pool.responded.discard(environment_id)
        if environment_id in self._busy:
            self._busy.discard(environment_id)
            self._counter.release(pool.version.arn)

    # Leasing ---------------------------------------------------------------------------------------------------------

    async def _acquire(self, target: Target) -> EnvironmentId:
        function = target.version.arn
        self._counter.acquire(function)
        try:
            environment_id = await self._assign(target)
        except BaseException:
            self._counter.release(function)
            raise
        self._busy.add(environment_id)
        return environment_id

    async def _assign(self, target: Target) -> EnvironmentId:
        pool = self._pools.get(target.pool_key)
        if pool is None:
            pool = self._pools[target.pool_key] = Pool(target.version)
        environment_id = pool.take_idle()
        if environment_id is not None:
            return environment_id
        return await self._wait(pool)

    async def _wait(self, pool: Pool) -> EnvironmentId:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[EnvironmentId] = loop.create_future()
        if pool.shortage >= len(pool.responded):
            self._start(pool)
        elif pool.responded:
            loop.call_later(_RESPONDED_GRACE_S, self._start_if_needed, pool)
        pool.waiters.append(waiter)
        try:
            environment_id = await waiter
        except asyncio.CancelledError:
            pool.forget(waiter)
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._assigned.discard(waiter.result())
                self.environment_settled(waiter.result())
            raise
        self._assigned.discard(environment_id)
        return environment_id

    def _start_if_needed(self, pool: Pool) -> None:
        if pool.shortage <= 0:
            return
        try:
            self._start(pool)
        except TooManyRequests as exc:
            waiter = pool.next_waiter()
            if waiter is not None:
                waiter.set_exception(exc)

    def _start(self, pool: Pool) -> None:
        self._scaling.admit(pool.version.arn, time.monotonic())
        placement = place(
            available_mib=self._worker.memory_available_mib(),
            starting=sum(len(one.starting) for one in self._pools.values()),
            memory_mib=pool.version.memory_mib,
            idle=(idle for one in self._pools.values() for idle in one.idle.values()),
        )
        for idle in placement.evicted:
            self._let_go(idle, reason="memory")
        if not placement.is_admitted:
            log.warning("manager.no_room", extra={"memory_mib": pool.version.memory_mib})
            raise throttled("ConcurrentInvocationLimitExceeded", retry_after_s=1.0)
        environment_id = self._worker.start(pool.version)
        pool.starting.add(environment_id)
        self._pool_of[environment_id] = pool

    # Letting go ------------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, max(0.05, self._idle_timeout_s / 4)))
            now_s = time.monotonic()
            for key, pool in list(self._pools.items()):
                for idle in expired(pool.idle.values(), now_s=now_s, timeout_s=self._idle_timeout_s):
                    self._let_go(idle, reason="idle")
                self._forget_if_empty(key, pool)
            self._requests.prune(now_s)
            self._scaling.prune(now_s)

    def _let_go(self, idle: Idle, *, reason: str) -> None:
        log.debug("environment.let_go", extra={"environment_id": idle.environment_id, "reason": reason})
        del self._pool_of[idle.environment_id].idle[idle.environment_id]
        self._worker.stop(idle.environment_id)

    def _forget_if_empty(self, key: str, pool: Pool) -> None:
        if pool.is_empty and not any(other is pool for other in self._pool_of.values()):
            self._pools.pop(key, None)


class _Lease:
    """One environment for one invocation. Once invoked it comes back when the worker says so, not when this ends."""

    __slots__ = ("_environment_id", "_is_used", "_manager", "_target")

    def __init__(self, manager: LocalManager, target: Target) -> None:
        self._manager = manager
        self._target = target
        self._environment_id: EnvironmentId | None = None
        self._is_used = False

    async def __aenter__(self) -> Self:
        self._environment_id = await self._manager._acquire(self._target)
        return self

    async def invoke(self, request: InvokeRequest) -> InvokeResult | ResponseStream:
        assert self._environment_id is not None
        manager, environment_id = self._manager, self._environment_id
        self._is_used = True
        return await manager._worker.invoke(environment_id, request)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._is_used and self._environment_id is not None:
            self._manager.environment_settled(self._environment_id)
