"""Provisioned concurrency and the age of environments, in the manager over a worker that only takes notes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from test_manager import TARGET, VERSION, Clock, NotedWorker, make_manager, run, until

from lambent.manager.counter import ConcurrencyCounter
from lambent.manager.keep_alive import Idle, worn_out
from lambent.manager.manager import LocalManager
from lambent.model.arn import FunctionArn
from lambent.model.errors import PlatformError, TooManyRequests
from lambent.model.invocation import EnvironmentId, InvokeResult, Target
from lambent.model.provisioned import Allocation, ProvisionedStatus

FUNCTION = VERSION.arn
LIVE = FUNCTION.qualified("live")
OTHER = Target(version=replace(VERSION, version="2"), pool_key="f2")


def provision(manager: LocalManager, count: int, target: Target = TARGET) -> None:
    manager.provision(FUNCTION, {"live": [(target, count)]}, set_aside=count)


def ready(worker: NotedWorker, *numbers: int) -> None:
    for number in numbers:
        worker.settle(number)


async def invoking(manager: LocalManager, worker: NotedWorker, count: int = 1) -> list[asyncio.Task[InvokeResult]]:
    """Invokes that are being worked on, or wait for an environment."""
    tasks = [asyncio.create_task(run(manager)) for _ in range(count)]
    for _ in range(10):
        await asyncio.sleep(0)
    return tasks


async def given_up(tasks: Sequence[asyncio.Task[InvokeResult]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_environments_are_made_ahead_and_told_of() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    provision(manager, 3)

    assert worker.provisioned == ["e0", "e1", "e2"]
    assert manager.allocation(LIVE) == Allocation(allocated=3, available=0)
    ready(worker, 0, 1)
    assert manager.allocation(LIVE) == Allocation(allocated=3, available=2)
    assert manager.allocation(LIVE).status(3) is ProvisionedStatus.IN_PROGRESS
    ready(worker, 2)
    assert manager.allocation(LIVE).status(3) is ProvisionedStatus.READY
    assert manager.allocation(FUNCTION.qualified("other")) == Allocation()


async def test_invokes_take_provisioned_environments_first_and_spill_over() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    provision(manager, 2)
    ready(worker, 0, 1)

    tasks = await invoking(manager, worker, 3)

    assert set(worker.answers) == {"e0", "e1"}
    assert worker.started[2:] == ["e2"]
    assert worker.provisioned == ["e0", "e1"]
    worker.settle(2)
    await until(lambda: len(worker.answers) == 3)
    told = manager.statistics()
    assert (told.provisioned, told.provisioned_invocations, told.spillover_invocations) == (2, 2, 1)
    await given_up(tasks)


async def test_invokes_in_provisioned_environments_use_no_other_concurrency() -> None:
    worker = NotedWorker()
    manager = make_manager(worker, concurrency=3)
    provision(manager, 2)
    ready(worker, 0, 1)

    tasks = await invoking(manager, worker, 4)

    assert [task.done() for task in tasks] == [False, False, False, True]
    with pytest.raises(TooManyRequests):
        tasks[3].result()
    await given_up(tasks)


async def test_an_invoke_that_spilled_over_gives_its_concurrency_back_when_a_provisioned_one_serves_it() -> None:
    worker = NotedWorker()
    manager = make_manager(worker, concurrency=2)
    provision(manager, 1)
    ready(worker, 0)
    first, second = await invoking(manager, worker, 2)  # the second one waits for e1
    worker.answer(0)
    await first
    ready(worker, 0)
    await until(lambda: not worker.answers[worker.started[0]].done())  # e0 serves it

    third, fourth = await invoking(manager, worker, 2)

    assert not third.done()
    with pytest.raises(TooManyRequests):
        fourth.result()
    await given_up([second, third])


async def test_an_alias_that_moves_has_its_concurrency_once_and_its_environments_twice() -> None:
    worker = NotedWorker()
    manager = make_manager(worker, concurrency=3)
    manager.provision(FUNCTION, {"live": [(TARGET, 2)], "2": [(OTHER, 2)]}, set_aside=2)

    assert worker.provisioned == ["e0", "e1", "e2", "e3"]
    ready(worker, 0, 1)
    tasks = await invoking(manager, worker, 4)
    assert [task.done() for task in tasks] == [False, False, False, True]
    with pytest.raises(TooManyRequests):
        tasks[3].result()
    await given_up(tasks[:3])


async def test_with_all_of_a_reservation_provisioned_what_goes_beyond_is_throttled() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    manager.reserve(FUNCTION, 1)
    provision(manager, 1)
    ready(worker, 0)

    first, second = await invoking(manager, worker, 2)

    assert not first.done()
    with pytest.raises(TooManyRequests) as refusal:
        second.result()
    assert refusal.value.fields["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    latest = replace(TARGET, pool_key="latest")
    with pytest.raises(TooManyRequests):
        await run(manager, latest)
    await given_up([first])


async def test_a_failed_init_is_told_and_tried_again_later() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    provision(manager, 2)
    ready(worker, 0)

    worker.settle(1, is_warm=False)

    assert worker.stopped == ["e1"]
    assert manager.allocation(LIVE) == Allocation(allocated=1, available=1, failure="FUNCTION_ERROR_INIT_FAILURE")
    assert manager.allocation(LIVE).status(2) is ProvisionedStatus.FAILED
    assert len(worker.started) == 2
    worker.lose(1)


async def test_an_environment_that_could_not_be_made_is_told_and_disturbs_no_invoke() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    provision(manager, 1)
    (waiting,) = await invoking(manager, worker)

    worker.lose(0, PlatformError("no namespace"))

    assert manager.allocation(LIVE).failure == "no namespace"
    await asyncio.sleep(0)
    assert not waiting.done()
    await given_up([waiting])


async def test_no_memory_is_a_failure_that_says_so() -> None:
    worker = NotedWorker(memory_mib=0)
    manager = make_manager(worker)
    provision(manager, 1)

    assert "no memory" in str(manager.allocation(LIVE).failure)


async def test_a_provisioned_environment_that_was_reset_is_replaced_at_once() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    provision(manager, 1)
    ready(worker, 0)
    (task,) = await invoking(manager, worker)
    worker.answer(0)
    await task

    worker.settle(0, is_warm=False)

    assert worker.stopped == ["e0"]
    assert worker.provisioned == ["e0", "e1"]
    assert manager.allocation(LIVE) == Allocation(allocated=1, available=0)


async def test_provisioned_environments_are_neither_evicted_nor_let_go_when_idle() -> None:
    worker = NotedWorker()
    manager = make_manager(worker, idle_timeout_s=0.0, clock=(clock := Clock()))
    provision(manager, 1)
    ready(worker, 0)
    worker.memory_mib = 0
    for _ in range(2):
        clock.now_s += 1
        manager.look_after_all()
    with pytest.raises(TooManyRequests):
        await run(manager, OTHER)

    assert worker.stopped == []


async def test_an_alias_that_moves_takes_its_provisioned_concurrency_along() -> None:
    worker = NotedWorker()
    manager = make_manager(worker)
    provision(manager, 1)
    ready(worker, 0)

    provision(manager, 1, OTHER)

    assert worker.stopped == ["e0"]
    assert worker.provisioned == ["e0", "e1"]
    ready(worker, 1)
    assert manager.allocation(LIVE) == Allocation(allocated=1, available=1)


async def test_what_is_no_longer_provisioned_goes_when_it_is_done_and_its_concurrency_is_free() -> None:
    worker = NotedWorker()
    manager = make_manager(worker, concurrency=2)
    provision(manager, 2)
    ready(worker, 0, 1)
    (task,) = await invoking(manager, worker)

    manager.provision(FUNCTION, {}, set_aside=0)

    assert worker.stopped == ["e0"]
    worker.answer(1)
    await task
    ready(worker, 1)
    assert worker.stopped == ["e0", "e1"]
    assert manager.allocation(LIVE) == Allocation()
    tasks = await invoking(manager, worker, 2)
    assert worker.started[2:] == ["e2", "e3"]
    await given_up(tasks)


async def test_what_the_server_stops_when_it_ends_is_not_replaced() -> None:
    worker = NotedWorker()
    async with make_manager(worker) as manager:
        provision(manager, 1)
        ready(worker, 0)
    worker.lose(0)

    assert worker.started == ["e0"]


async def test_no_more_than_a_hundred_are_made_ahead_at_once() -> None:
    worker = NotedWorker()
    manager = make_manager(worker, concurrency=1_000)

    provision(manager, 150)

    assert len(worker.provisioned) == 100


# The age of environments ------------------------------------------------------------------------------------------


def aging_manager(worker: NotedWorker) -> LocalManager:
    return LocalManager(worker, account_concurrency=10, idle_timeout_s=600.0, maximum_age_s=0.0)


async def test_an_environment_that_is_too_old_serves_no_other_invoke() -> None:
    worker = NotedWorker()
    manager = aging_manager(worker)
    first, second = await invoking(manager, worker, 2)
    worker.lose(1)
    worker.settle(0)  # too old already: another one is started for those who wait

    assert worker.stopped == ["e0"]
    await given_up([first, second])
    assert len(worker.started) > 2


async def test_a_provisioned_environment_that_is_too_old_is_replaced_before_it_goes() -> None:
    worker = NotedWorker()
    manager = LocalManager(worker, account_concurrency=10, idle_timeout_s=0.2, maximum_age_s=0.01)
    async with manager:
        provision(manager, 1)
        ready(worker, 0)
        async with asyncio.timeout(5):
            await worker.second_start.wait()
        assert worker.stopped == []
        assert manager.allocation(LIVE).available == 1
        ready(worker, 1)
        assert worker.stopped == ["e0"]


def test_those_that_are_too_old_are_chosen_by_their_birth() -> None:
    old, young = Idle(EnvironmentId("old"), 9.0), Idle(EnvironmentId("young"), 1.0)
    born_s = {old.environment_id: 0.0, young.environment_id: 1.0}

    assert worn_out([old, young], born_s, now_s=10.0, maximum_age_s=9.5) == [old]


# Counting ----------------------------------------------------------------------------------------------------------


def test_provisioned_concurrency_is_set_aside_once_within_a_reservation_or_else_from_the_account() -> None:
    counter = ConcurrencyCounter(10)
    function, other = FunctionArn("r", "a", "f"), FunctionArn("r", "a", "g")
    counter.provision(function, 4)
    assert left_for(counter, other) == 6
    counter.reserve(function, 5)
    assert left_for(counter, other) == 5
    assert left_for(counter, function) == 1
    counter.provision(function, 2)
    assert left_for(counter, other) == 5
    assert left_for(counter, function) == 3
    counter.reserve(function, None)
    assert left_for(counter, other) == 8
    counter.provision(function, 0)
    assert left_for(counter, other) == 10


def left_for(counter: ConcurrencyCounter, function: FunctionArn) -> int:
    """How many more invokes would be let in; none stays counted."""
    taken = 0
    try:
        while taken < 100:
            counter.acquire(function)
            taken += 1
    except TooManyRequests:
        pass
    for _ in range(taken):
        counter.release(function)
    return taken


async def test_each_provisioned_environment_is_used_ten_times_a_second_and_the_rest_spills_over() -> None:
    worker, clock = NotedWorker(), Clock()
    manager = make_manager(worker, clock=clock)
    provision(manager, 1)
    ready(worker, 0)

    for _ in range(10):
        [task] = await invoking(manager, worker)
        worker.answer(0)
        await task
        worker.settle(0)
    [spilt] = await invoking(manager, worker)
    assert manager.statistics().spillover_invocations == 0, "it waits for an environment of its own"
    assert len(worker.started) == 2
    worker.settle(1)
    await until(lambda: manager.statistics().spillover_invocations == 1)
    clock.now_s += 0.1
    [served] = await invoking(manager, worker)

    assert manager.statistics().provisioned_invocations == 11
    await given_up([spilt, served])


async def test_one_that_becomes_free_serves_those_who_have_spilled_over_within_its_rate_only() -> None:
    worker, clock = NotedWorker(), Clock()
    manager = make_manager(worker, clock=clock)
    provision(manager, 1)
    ready(worker, 0)
    for _ in range(9):
        [task] = await invoking(manager, worker)
        worker.answer(0)
        await task
        worker.settle(0)

    tenth, *spilt = await invoking(manager, worker, 3)
    worker.answer(0)
    await tenth
    worker.settle(0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert manager.statistics().provisioned_invocations == 10
    worker.settle(1)
    worker.settle(2)
    await until(lambda: manager.statistics().spillover_invocations == 2)

    await given_up(spilt)
