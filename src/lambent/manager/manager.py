"""The worker manager. Implements `ports.manager` over one worker, and listens to it.

Nothing here awaits between reading and changing its state, so no lock is needed: one event loop is the owner.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from lambent.manager.capacity import Capacity
from lambent.manager.counter import ConcurrencyCounter
from lambent.manager.keep_alive import Habits, Idle, Window, expired, worn_out
from lambent.manager.placement import Footprint
from lambent.manager.pool import Pool
from lambent.manager.provision import INIT_FAILED
from lambent.manager.rates import PROVISIONING_PER_S, ProvisionedRates, RequestRates, ScalingRates, throttled
from lambent.model.arn import FunctionArn
from lambent.model.errors import ApiError, PlatformError, TooManyRequests
from lambent.model.events import InitializationType
from lambent.model.invocation import EnvironmentId, InvokeRequest, InvokeResult, Target
from lambent.model.provisioned import Allocation
from lambent.model.response_stream import ResponseStream
from lambent.ports.worker import Answer, Worker

log = logging.getLogger(__name__)

_NO_MEMORY = "This host has no memory left for another environment"
_FOOTPRINTS_MAXIMUM = 10_000
"""Functions whose footprints are remembered after their last environment; started longest ago, forgotten first."""
_RESPONDED_GRACE_S = 0.005
"""How long an invoke waits for an environment that has just answered, before a new one is started for it."""
_WAITS_FOR_A_SECOND = 100
"""Between two looks, about a second apart: see `LocalManager._give_company`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerStatistics:
    idle: int
    busy: int
    starting: int
    waiting: int
    provisioned: int
    """Environments of provisioned concurrency that are initialised, at work or idle; they are among the others too."""
    provisioned_invocations: int
    """Since the server started, as the next one: AWS's ProvisionedConcurrencyInvocations."""
    spillover_invocations: int
    """Of versions with provisioned concurrency, but on demand: ProvisionedConcurrencySpilloverInvocations."""
    made_early: int
    """Environments that were started because their call was expected (`--keep-alive adaptive`)."""


class LocalManager:
    """Leases environments of one worker."""

    def __init__(
        self,
        worker: Worker,
        *,
        account_concurrency: int,
        idle_timeout_s: float,
        maximum_age_s: float = math.inf,
        is_adaptive: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_adaptive` keeps each function's environments by its habits, `idle_timeout_s` those without any."""
        self._worker = worker
        self._clock = clock
        self._idle_timeout_s = idle_timeout_s
        self._maximum_age_s = maximum_age_s
        self._counter = ConcurrencyCounter(account_concurrency)
        self._requests = RequestRates(account_concurrency)
        self._scaling = ScalingRates()
        self._provisioned = ProvisionedRates()
        self._provisioning = ScalingRates(PROVISIONING_PER_S, PROVISIONING_PER_S)
        self._provisions: dict[FunctionArn, Mapping[str, Sequence[tuple[Target, int]]]] = {}
        self._pools: dict[str, Pool] = {}
        self._pool_of: dict[EnvironmentId, Pool] = {}
        self._capacity = Capacity(worker, self._pool_of)
        self._footprints: dict[FunctionArn, dict[str, Footprint]] = {}
        """Of each function by pool key, and so by all that an environment is made from."""
        self._habits = Habits() if is_adaptive else None
        self._kept: dict[FunctionArn, frozenset[str]] = {}
        """By function: the pools that its record knows."""
        self._born_s: dict[EnvironmentId, float] = {}
        self._busy: set[EnvironmentId] = set()
        self._assigned: set[EnvironmentId] = set()
        """Handed to a waiting invoke that has not come round to using it."""
        self._provisioned_invocations = 0
        self._spillover_invocations = 0
        self._made_early = 0
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
        for pool in self._pools.values():
            pool.provision.requested = 0  # what the worker stops from now on is not to be replaced

    def admit(self, function: FunctionArn) -> None:
        self._requests.admit(function, self._counter.reserved(function), self._clock())

    def lease(self, target: Target) -> _Lease:
        return _Lease(self, target)

    def invoke_nowait(self, target: Target, request: InvokeRequest, answer: Answer) -> bool:
        pool = self._pools.get(target.pool_key)
        if pool is None:
            return False
        is_provisioned = pool.provision.idle > 0 and self._is_within_rate(pool)
        if not (is_provisioned or pool.idle):
            return False
        if not request.is_event:
            self.admit(pool.function)
        environment_id = pool.provision.take_idle() if is_provisioned else None
        if environment_id is None:
            self._counter.acquire(pool.function)
            environment_id = pool.idle.popitem()[0]
        self._occupy(environment_id, pool)
        self._worker.invoke(environment_id, request, answer)
        return True

    def reserve(self, function: FunctionArn, concurrency: int | None) -> None:
        self._counter.reserve(function, concurrency)

    def retire(self, function: FunctionArn, *, keep: Collection[str]) -> None:
        self._kept[function] = frozenset(keep)
        if not keep:
            del self._kept[function]
            if self._habits is not None:
                self._habits.forget(function)
        self._forget_footprints(function, keep=keep)
        for key, pool in list(self._pools.items()):
            if pool.function != function:
                continue
            pool.is_retired = key not in keep
            if pool.is_retired:
                for environment_id in list(pool.idle):
                    del pool.idle[environment_id]
                    self._stop(environment_id)
                self._forget_if_empty(key, pool)

    def provision(
        self, function: FunctionArn, wanted: Mapping[str, Sequence[tuple[Target, int]]], *, set_aside: int
    ) -> None:
        if not wanted and function not in self._provisions:
            return
        self._provisions[function] = wanted
        if not wanted:
            del self._provisions[function]
        counts: Counter[str] = Counter()
        for target, count in (share for shares in wanted.values() for share in shares):
            counts[target.pool_key] += count
            self._pool(target)
        self._counter.provision(function, set_aside)
        for key, pool in list(self._pools.items()):
            if pool.function == function:
                pool.provision.requested = counts[key]
                self._keep_provisioned(pool)
                self._forget_if_empty(key, pool)

    def allocation(self, function: FunctionArn) -> Allocation:
        shares = self._provisions.get(function.unqualified, {}).get(str(function.qualifier), ())
        provisions = [self._pools[target.pool_key].provision for target, _ in shares]
        return Allocation(
            allocated=sum(len(provision) for provision in provisions),
            available=sum(len(provision.ready) for provision in provisions),
            failure=next((provision.failure for provision in provisions if provision.failure), None),
        )

    def statistics(self) -> ManagerStatistics:
        pools = self._pools.values()
        return ManagerStatistics(
            idle=sum(len(pool.idle) + pool.provision.idle for pool in pools),
            busy=len(self._busy),
            starting=sum(len(pool.starting) + len(pool.provision.starting) for pool in pools),
            waiting=sum(len(pool.waiters) for pool in pools),
            provisioned=sum(len(pool.provision.ready) for pool in pools),
            provisioned_invocations=self._provisioned_invocations,
            spillover_invocations=self._spillover_invocations,
            made_early=self._made_early,
        )

    # What the worker tells -----------------------------------------------------------------------------------------

    def environment_settled(self, environment_id: EnvironmentId, *, is_warm: bool = True) -> None:
        if environment_id in self._assigned:
            return  # it was reset while idle: whoever it is assigned to will find it cold
        pool = self._pool_of[environment_id]
        if environment_id in self._busy:
            pool.footprint.learn(self._worker.memory_peak_mib(environment_id))
        self._release(environment_id, pool)
        pool.idle.pop(environment_id, None)
        if not self._may_serve_again(environment_id, pool, is_warm):
            self._stop(environment_id)
            self._start_if_needed(pool)
        elif (waiter := self._waiter_for(environment_id, pool)) is not None:
            self._assigned.add(environment_id)
            waiter.set_result(environment_id)
        elif environment_id in pool.provision:
            pool.provision.rest(environment_id)
        elif pool.is_retired:
            self._stop(environment_id)
        else:
            ended_s = None if pool.habit is None else pool.habit.ended_s  # one made early has not been used since
            pool.idle[environment_id] = Idle(environment_id, self._clock() if ended_s is None else ended_s)

    def _waiter_for(self, environment_id: EnvironmentId, pool: Pool) -> asyncio.Future[EnvironmentId] | None:
        if environment_id in pool.provision and not (pool.waiters and self._is_within_rate(pool)):
            return None
        return pool.next_waiter()

    def _may_serve_again(self, environment_id: EnvironmentId, pool: Pool, is_warm: bool) -> bool:
        provision = pool.provision
        if environment_id not in provision:
            return self._clock() - self._born_s[environment_id] < self._maximum_age_s
        if is_warm:
            provision.add_ready(environment_id)
            if not provision.is_surplus(environment_id):
                if len(provision) > provision.requested:  # it has come to take the place of another one
                    self._stop_surplus(pool)
                return True
        elif environment_id in provision.starting:
            provision.fail(INIT_FAILED, self._clock())
        provision.remove(environment_id)
        self._keep_provisioned(pool)
        return False

    def environment_responded(self, environment_id: EnvironmentId) -> None:
        self._pool_of[environment_id].responded.add(environment_id)

    def environment_gone(self, environment_id: EnvironmentId, error: PlatformError | ApiError | None) -> None:
        pool = self._pool_of.pop(environment_id)
        is_awaited = environment_id in pool.starting
        del self._born_s[environment_id]
        self._capacity.leaving.discard(environment_id)
        self._assigned.discard(environment_id)
        self._release(environment_id, pool)
        pool.idle.pop(environment_id, None)
        if environment_id in pool.provision:
            if error is not None:
                pool.provision.fail(str(error), self._clock())
            pool.provision.remove(environment_id)
            self._keep_provisioned(pool)
        elif error is not None and is_awaited:
            waiter = pool.next_waiter()
            if waiter is not None:
                waiter.set_exception(error)
        self._start_if_needed(pool)

    def _release(self, environment_id: EnvironmentId, pool: Pool) -> None:
        pool.starting.discard(environment_id)
        pool.responded.discard(environment_id)
        if environment_id in self._busy:
            self._busy.discard(environment_id)
            if pool.habit is not None:
                pool.habit.end(self._clock())
            if environment_id not in pool.provision:
                self._counter.release(pool.function)

    # Leasing ---------------------------------------------------------------------------------------------------------

    async def _acquire(self, target: Target) -> EnvironmentId:
        pool = self._pool(target)
        is_provisioned = pool.provision.idle > 0 and self._is_within_rate(pool)
        environment_id = pool.provision.take_idle() if is_provisioned else None
        if environment_id is None:
            environment_id = await self._acquire_on_demand(pool)
        self._occupy(environment_id, pool)
        return environment_id

    def _pool(self, target: Target) -> Pool:
        pool = self._pools.get(target.pool_key)
        if pool is None:
            kept = self._kept.get(target.version.arn)
            # An invoke that was resolved before an update may come here after it: what it starts serves nobody else.
            is_retired = kept is not None and target.pool_key not in kept
            habit = None if self._habits is None else self._habits.of(target)
            pool = Pool(target.version, self._footprint(target), habit, is_retired=is_retired)
            self._pools[target.pool_key] = pool
        return pool

    def _footprint(self, target: Target) -> Footprint:
        known = self._footprints.pop(target.version.arn, {})
        self._footprints[target.version.arn] = known
        if len(self._footprints) > _FOOTPRINTS_MAXIMUM:
            del self._footprints[next(iter(self._footprints))]
        return known.setdefault(target.pool_key, Footprint(target.version.memory_mib))

    def _forget_footprints(self, function: FunctionArn, *, keep: Collection[str]) -> None:
        known = self._footprints.get(function, {})
        for key in [key for key in known if key not in keep]:
            del known[key]
        if not known:
            self._footprints.pop(function, None)

    def _is_within_rate(self, pool: Pool) -> bool:
        """Whether one more invoke may use what is provisioned, as fast as AWS has it used; counts it."""
        return self._provisioned.admits(pool.version.qualified_arn, pool.provision.requested, self._clock())

    async def _acquire_on_demand(self, pool: Pool) -> EnvironmentId:
        function = pool.function
        self._counter.acquire(function)
        try:
            environment_id = pool.take_idle()
            if environment_id is None:
                environment_id = await self._wait(pool)
        except BaseException:
            self._counter.release(function)
            raise
        if environment_id in pool.provision:  # it has become free before one on demand was there
            self._counter.release(function)
        return environment_id

    def _occupy(self, environment_id: EnvironmentId, pool: Pool) -> None:
        self._busy.add(environment_id)
        if pool.habit is not None:
            pool.habit.begin(self._clock())
        if environment_id in pool.provision:
            self._provisioned_invocations += 1
        elif pool.provision.requested:
            self._spillover_invocations += 1

    async def _wait(self, pool: Pool) -> EnvironmentId:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[EnvironmentId] = loop.create_future()
        if pool.shortage >= len(pool.responded):
            self._start(pool)
        elif pool.responded:
            pool.waits_for_responded += 1
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
        if environment_id not in self._pool_of:  # it has ended between being assigned and this
            raise PlatformError(f"environment {environment_id} is gone")
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
        self._scaling.admit(pool.function, self._clock())
        pool.starting.add(self._make(pool, InitializationType.ON_DEMAND))

    def _make(self, pool: Pool, initialization_type: InitializationType) -> EnvironmentId:
        evicted = self._capacity.take(pool, self._clock())
        if evicted is None:
            log.warning("manager.no_room", extra={"expected_mib": round(pool.footprint.expected_mib)})
            raise throttled("ConcurrentInvocationLimitExceeded", retry_after_s=1.0)
        for idle in evicted:
            self._let_go(idle, reason="memory")
        return self._begin(pool, initialization_type)

    def _begin(self, pool: Pool, initialization_type: InitializationType) -> EnvironmentId:
        environment_id = self._worker.start(pool.version, initialization_type)
        self._pool_of[environment_id] = pool
        self._born_s[environment_id] = self._clock()
        return environment_id

    # Keeping provisioned ---------------------------------------------------------------------------------------------

    def _keep_provisioned(self, pool: Pool) -> None:
        """Have as many as are requested, as fast as may be; the rest is for the next time."""
        self._stop_surplus(pool)
        now_s = self._clock()
        for _ in range(pool.provision.missing(now_s)):
            try:
                self._provisioning.admit(pool.function, now_s)
            except TooManyRequests:
                return
            try:
                environment_id = self._make(pool, InitializationType.PROVISIONED_CONCURRENCY)
            except TooManyRequests:
                pool.provision.fail(_NO_MEMORY, now_s)
                return
            pool.provision.add_starting(environment_id)

    def _stop_surplus(self, pool: Pool) -> None:
        for environment_id in pool.provision.take_surplus():
            self._stop(environment_id)

    # Letting go ------------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, max(0.05, self._idle_timeout_s / 4)))
            try:
                self.look_after_all()
            except Exception:
                log.exception("manager.round_failed")

    def look_after_all(self) -> None:
        """Let go who is not worth keeping, and make who is wanted. Done about every second."""
        now_s = self._clock()
        for idle in self._capacity.relieve(now_s):
            self._let_go(idle, reason="memory")
        for key, pool in list(self._pools.items()):
            for idle in worn_out(pool.idle.values(), self._born_s, now_s=now_s, maximum_age_s=self._maximum_age_s):
                self._let_go(idle, reason="age")
            pool.provision.wear_out(self._born_s, born_before_s=now_s - self._maximum_age_s)
            self._keep_provisioned(pool)
            self._let_expired_go(pool, now_s)
            self._give_company(pool, now_s)
            self._forget_if_empty(key, pool)
        self._make_early(now_s)
        for rates in (self._requests, self._scaling, self._provisioning, self._provisioned):
            rates.prune(now_s)

    def _let_expired_go(self, pool: Pool, now_s: float) -> None:
        habit = pool.habit
        window = Window(0.0, self._idle_timeout_s) if habit is None else habit.idle_times.window(self._idle_timeout_s)
        for idle in expired(pool.idle.values(), now_s=now_s, window=window):
            self._let_go(idle, reason="idle")
            if self._habits is not None and habit is not None and now_s < idle.since_s + window.from_s:
                self._habits.expect(habit, idle.since_s + window.from_s)

    def _make_early(self, now_s: float) -> None:
        """Start an environment for each function whose next call is expected from now on, if nobody must go for it."""
        if self._habits is None:
            return
        for habit in self._habits.due(now_s, self._idle_timeout_s):
            pool = self._pool(habit.target)
            is_served = pool.idle or pool.starting or pool.provision.requested
            if not (is_served or pool.is_retired) and self._capacity.take_free(pool, now_s):
                pool.starting.add(self._begin(pool, InitializationType.ON_DEMAND))
                self._made_early += 1
            self._forget_if_empty(habit.target.pool_key, pool)

    def _give_company(self, pool: Pool, now_s: float) -> None:
        """Start a second environment where a caller comes back, time and again, before the only one has asked for more.

        They serve in turns then: most runtimes ask by a request of its own, and nobody waits for it any more.
        """
        waits, pool.waits_for_responded = pool.waits_for_responded, 0
        if waits < _WAITS_FOR_A_SECOND or pool.is_retired or pool.provision.requested:
            return
        is_alone = sum(other is pool for other in self._pool_of.values()) == 1
        if is_alone and self._capacity.take_free(pool, now_s):
            pool.starting.add(self._begin(pool, InitializationType.ON_DEMAND))

    def _let_go(self, idle: Idle, *, reason: str) -> None:
        log.debug("environment.let_go", extra={"environment_id": idle.environment_id, "reason": reason})
        del self._pool_of[idle.environment_id].idle[idle.environment_id]
        self._stop(idle.environment_id)

    def _stop(self, environment_id: EnvironmentId) -> None:
        self._capacity.leaving.add(environment_id)
        self._worker.stop(environment_id)

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
        answer: asyncio.Future[InvokeResult | ResponseStream] = asyncio.get_running_loop().create_future()
        manager._worker.invoke(environment_id, request, answer)
        return await answer

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._is_used and self._environment_id is not None:
            self._manager.environment_settled(self._environment_id)
