"""The worker manager over a worker that only takes notes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from function_versions import function_version
from lambent.manager.counter import ConcurrencyCounter
from lambent.manager.manager import LocalManager
from lambent.model.arn import FunctionArn
from lambent.model.errors import PlatformError, TooManyRequests
from lambent.model.events import InitializationType
from lambent.model.function import FunctionVersion
from lambent.model.invocation import EnvironmentId, InvokeRequest, InvokeResult, RequestId, Target
from lambent.ports.worker import Answer, WorkerListener

VERSION = function_version()
TARGET = Target(version=VERSION, pool_key="f")
REQUEST = InvokeRequest(request_id=RequestId("r"), function=VERSION.arn, payload=b"{}")


class NotedWorker:
    """Environments start and settle when the test says so."""

    def __init__(self, memory_mib: int = 100_000) -> None:
        self.memory_mib = memory_mib
        self.looks = 0
        self.held_mib: dict[EnvironmentId, float] = {}
        self.peak_mib = 0.0
        self.started: list[EnvironmentId] = []
        self.provisioned: list[EnvironmentId] = []
        self.stopped: list[EnvironmentId] = []
        self.answers: dict[EnvironmentId, Answer] = {}
        self.listener: WorkerListener | None = None
        self.first_stop = asyncio.Event()
        self.second_start = asyncio.Event()

    def listen(self, listener: WorkerListener) -> None:
        self.listener = listener

    def start(
        self, version: FunctionVersion, initialization_type: InitializationType = InitializationType.ON_DEMAND
    ) -> EnvironmentId:
        environment_id = EnvironmentId(f"e{len(self.started)}")
        self.started.append(environment_id)
        if len(self.started) == 2:
            self.second_start.set()
        if initialization_type is InitializationType.PROVISIONED_CONCURRENCY:
            self.provisioned.append(environment_id)
        return environment_id

    def invoke(self, environment_id: EnvironmentId, request: InvokeRequest, answer: Answer) -> None:
        self.answers[environment_id] = answer

    def stop(self, environment_id: EnvironmentId) -> None:
        self.stopped.append(environment_id)
        self.first_stop.set()

    def memory_available_mib(self) -> int:
        self.looks += 1
        return self.memory_mib

    def memory_held_mib(self, environment_id: EnvironmentId) -> float:
        return self.held_mib.get(environment_id, 0.0)

    def memory_peak_mib(self, environment_id: EnvironmentId) -> float:
        return self.peak_mib

    def settle(self, number: int, *, is_warm: bool = True) -> None:
        assert self.listener is not None
        self.listener.environment_settled(self.started[number], is_warm=is_warm)

    def lose(self, number: int, error: PlatformError | None = None) -> None:
        assert self.listener is not None
        self.listener.environment_gone(self.started[number], error)

    def answer(self, number: int) -> None:
        assert self.listener is not None
        self.answers[self.started[number]].set_result(InvokeResult(payload=b"1", executed_version="$LATEST"))
        self.listener.environment_responded(self.started[number])


class Clock:
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def make_manager(
    worker: NotedWorker,
    concurrency: int = 10,
    idle_timeout_s: float = 600.0,
    clock: Callable[[], float] = time.monotonic,
) -> LocalManager:
    return LocalManager(worker, account_concurrency=concurrency, idle_timeout_s=idle_timeout_s, clock=clock)


async def run(manager: LocalManager, target: Target = TARGET) -> InvokeResult:
    async with manager.lease(target) as lease:
        return await lease.invoke(REQUEST)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("never came true")


async def invoked_once(manager: LocalManager, worker: NotedWorker) -> None:
    task = asyncio.create_task(run(manager))
    await until(lambda: bool(worker.started))
    worker.settle(0)
    await until(lambda: bool(worker.answers))
    worker.answer(0)
    await task
    worker.settle(0)


async def test_a_warm_environment_is_used_again() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    await invoked_once(manager, worker)
    worker.answers.clear()

    task = asyncio.create_task(run(manager))
    await until(lambda: bool(worker.answers))
    worker.answer(0)
    await task

    assert worker.started == ["e0"]


async def test_each_waiting_invoke_gets_an_environment_of_its_own() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    tasks = [asyncio.create_task(run(manager)) for _ in range(3)]
    await until(lambda: len(worker.started) == 3)

    for number in range(3):
        worker.settle(number)
    await until(lambda: len(worker.answers) == 3)
    for number in range(3):
        worker.answer(number)

    assert len(await asyncio.gather(*tasks)) == 3


async def test_an_environment_started_for_an_invoke_served_elsewhere_is_not_started_twice() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    await invoked_once(manager, worker)
    worker.answers.clear()
    first, second = (asyncio.create_task(run(manager)) for _ in range(2))
    await until(lambda: len(worker.started) == 2)
    worker.answer(0)
    await first
    worker.settle(0)  # serves the second invoke, and e1 goes on starting for nobody
    await until(lambda: not worker.answers[worker.started[0]].done())

    third = asyncio.create_task(run(manager))
    await asyncio.sleep(0)

    assert worker.started == ["e0", "e1"]
    worker.answer(0)
    await second
    worker.settle(0)
    await until(lambda: not worker.answers[worker.started[0]].done())
    worker.answer(0)
    await third


async def invoked_before_it_has_asked_for_more(manager: LocalManager, worker: NotedWorker, times: int) -> None:
    """By one caller, who comes back each time as soon as the only environment has answered."""
    for _ in range(times):
        worker.answers.clear()
        task = asyncio.create_task(run(manager))
        await asyncio.sleep(0)
        if not worker.answers:
            worker.settle(0)
        await until(lambda: bool(worker.answers))
        worker.answer(0)
        await task


async def test_an_environment_that_is_always_waited_for_is_given_company() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    await invoked_once(manager, worker)

    await invoked_before_it_has_asked_for_more(manager, worker, 101)  # the first one does not wait
    manager.look_after_all()
    assert worker.started == ["e0", "e1"]


async def test_two_environments_are_company_enough() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    await invoked_once(manager, worker)
    await invoked_before_it_has_asked_for_more(manager, worker, 101)
    manager.look_after_all()
    worker.settle(1)
    worker.answers.clear()
    other = asyncio.create_task(run(manager))
    await until(lambda: "e1" in worker.answers)

    await invoked_before_it_has_asked_for_more(manager, worker, 101)
    manager.look_after_all()

    other.cancel()
    assert worker.started == ["e0", "e1"]


async def test_an_environment_that_is_waited_for_now_and_then_stays_alone() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    await invoked_once(manager, worker)

    for _ in range(3):
        await invoked_before_it_has_asked_for_more(manager, worker, 60)
        manager.look_after_all()

    assert worker.started == ["e0"]


async def test_company_is_for_memory_that_nobody_needs() -> None:
    worker, clock = NotedWorker(), Clock()
    manager = make_manager(worker, clock=clock)
    await invoked_once(manager, worker)
    await invoked_before_it_has_asked_for_more(manager, worker, 101)

    clock.now_s += 10
    worker.memory_mib = 0
    manager.look_after_all()

    assert worker.started == ["e0"]


async def test_an_environment_that_has_just_answered_is_waited_for() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    first = asyncio.create_task(run(manager))
    await until(lambda: bool(worker.started))
    worker.settle(0)
    await until(lambda: bool(worker.answers))
    worker.answer(0)
    await first  # answered, but the runtime has not asked for more yet

    second = asyncio.create_task(run(manager))
    await asyncio.sleep(0)
    worker.settle(0)
    await until(lambda: not worker.answers[worker.started[0]].done())
    worker.answer(0)
    await second

    assert worker.started == ["e0"]


async def test_an_invoke_whose_environment_ends_before_it_begins_is_told_so_and_counted_no_more() -> None:
    worker = NotedWorker()
    manager = make_manager(worker, concurrency=1)
    task = asyncio.create_task(run(manager))
    await until(lambda: bool(worker.started))
    worker.settle(0)
    worker.lose(0)
    with pytest.raises(PlatformError, match="is gone"):
        await task

    assert manager.statistics().busy == 0
    again = asyncio.create_task(run(manager))
    await until(lambda: len(worker.started) == 2)
    worker.settle(1)
    await until(lambda: "e1" in worker.answers)
    worker.answer(1)
    await again


async def test_the_account_limit_throttles_and_frees_again() -> None:
    worker = NotedWorker()
    manager = make_manager(worker, concurrency=1)
    task = asyncio.create_task(run(manager))
    await until(lambda: bool(worker.started))

    with pytest.raises(TooManyRequests) as refusal:
        await run(manager)
    assert refusal.value.fields["Reason"] == "ConcurrentInvocationLimitExceeded"

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    worker.settle(0)
    again = asyncio.create_task(run(manager))
    await until(lambda: bool(worker.answers))
    worker.answer(0)
    await again


async def test_a_failed_start_reaches_the_invoke_that_waits_for_it() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    task = asyncio.create_task(run(manager))
    await until(lambda: bool(worker.started))

    manager.environment_gone(worker.started[0], PlatformError("no namespace"))

    with pytest.raises(PlatformError, match="no namespace"):
        await task


async def test_retired_environments_are_stopped_when_they_come_back() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    await invoked_once(manager, worker)
    second = asyncio.create_task(run(manager, Target(version=VERSION, pool_key="new")))
    await until(lambda: len(worker.started) == 2)

    manager.retire(VERSION.arn, keep={"new"})

    assert worker.stopped == ["e0"]
    worker.settle(1)
    await until(lambda: "e1" in worker.answers)
    manager.retire(VERSION.arn, keep=set())
    worker.answer(1)
    await second
    worker.settle(1)
    assert worker.stopped == ["e0", "e1"]


async def test_an_invoke_resolved_before_an_update_leaves_no_environment_behind() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    manager.retire(VERSION.arn, keep={"new"})

    await invoked_once(manager, worker)

    assert worker.stopped == ["e0"]


async def test_a_pool_that_is_known_again_is_not_retired_any_more() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    manager.retire(VERSION.arn, keep={"new"})
    task = asyncio.create_task(run(manager))
    await until(lambda: bool(worker.started))
    manager.retire(VERSION.arn, keep={TARGET.pool_key})
    worker.settle(0)
    await until(lambda: bool(worker.answers))
    worker.answer(0)
    await task
    worker.settle(0)

    assert worker.stopped == []


async def test_idle_environments_are_let_go_after_the_idle_timeout() -> None:
    worker = NotedWorker()
    async with make_manager(worker, idle_timeout_s=0.0) as manager:
        await invoked_once(manager, worker)
        async with asyncio.timeout(5):
            await worker.first_stop.wait()
    assert worker.stopped == ["e0"]


async def test_no_room_at_all_is_a_throttle_that_counts_nothing() -> None:
    worker = NotedWorker(memory_mib=0)
    manager = make_manager(worker, concurrency=1)

    for _ in range(2):
        with pytest.raises(TooManyRequests):
            await run(manager)
    assert not worker.started


def test_reserved_concurrency_is_a_cap_and_a_guarantee() -> None:
    counter = ConcurrencyCounter(3)
    reserved, other = FunctionArn("r", "a", "reserved"), FunctionArn("r", "a", "other")
    counter.reserve(reserved, 2)

    counter.acquire(other)
    with pytest.raises(TooManyRequests):
        counter.acquire(other)
    counter.acquire(reserved)
    counter.acquire(reserved)
    with pytest.raises(TooManyRequests) as refusal:
        counter.acquire(reserved)
    assert refusal.value.fields["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_a_reservation_changed_while_invokes_run_counts_them_on_the_right_side() -> None:
    counter = ConcurrencyCounter(2)
    function, other = FunctionArn("r", "a", "f"), FunctionArn("r", "a", "g")
    counter.acquire(function)
    counter.reserve(function, 1)
    counter.acquire(other)
    counter.reserve(function, None)
    with pytest.raises(TooManyRequests):
        counter.acquire(other)
    counter.release(function)
    counter.acquire(other)


def test_zero_reserved_concurrency_disables_a_function() -> None:
    counter = ConcurrencyCounter(10)
    function = FunctionArn("r", "a", "f")
    counter.reserve(function, 0)
    with pytest.raises(TooManyRequests):
        counter.acquire(function)
