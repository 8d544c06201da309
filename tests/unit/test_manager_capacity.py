"""Memory and habits in the manager, over a worker that only takes notes, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from test_manager import REQUEST, TARGET, VERSION, Clock, NotedWorker, run, until

from lambent.manager.manager import LocalManager
from lambent.model.errors import TooManyRequests
from lambent.model.invocation import InvokeResult, Target
from lambent.model.response_stream import ResponseStream

OTHER = Target(version=replace(VERSION, name="g"), pool_key="g")
GIB = 1_024


def make_manager(worker: NotedWorker, clock: Clock, *, is_adaptive: bool = False) -> LocalManager:
    return LocalManager(worker, account_concurrency=2_000, idle_timeout_s=600.0, is_adaptive=is_adaptive, clock=clock)


async def invoke(manager: LocalManager, worker: NotedWorker, target: Target = TARGET) -> None:
    """One whole invoke, cold or warm."""
    started = len(worker.started)
    answer: asyncio.Future[InvokeResult | ResponseStream] = asyncio.get_running_loop().create_future()
    if manager.invoke_nowait(target, REQUEST, answer):
        number = worker.started.index(next(reversed(worker.answers)))
        worker.answer(number)
        await answer
        worker.settle(number)
        return
    task = asyncio.create_task(run(manager, target))
    await until(lambda: len(worker.started) > started)
    worker.settle(started)
    await until(lambda: worker.started[started] in worker.answers)
    worker.answer(started)
    await task
    worker.settle(started)


async def given_up(tasks: Sequence[asyncio.Task[InvokeResult]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_thousand_first_calls_at_once_fit_on_24_gib_and_are_one_look() -> None:
    worker = NotedWorker(memory_mib=22 * GIB)
    manager = make_manager(worker, Clock())

    tasks = [asyncio.create_task(run(manager)) for _ in range(1_000)]
    await until(lambda: len(worker.started) == 1_000)

    assert worker.looks == 1
    await given_up(tasks)


async def test_no_more_are_started_than_the_known_footprint_allows() -> None:
    worker = NotedWorker()
    manager = make_manager(worker, clock := Clock())
    worker.peak_mib = 96.0
    await invoke(manager, worker)
    clock.now_s += 1
    worker.memory_mib = 1_000

    tasks = [asyncio.create_task(run(manager)) for _ in range(20)]
    await until(lambda: sum(task.done() for task in tasks) == 9)

    assert len(worker.started) == 11  # ten of 96 MiB each beside the idle one, which serves an invoke again
    await given_up(tasks)


async def test_the_footprint_of_a_deleted_function_is_forgotten() -> None:
    worker = NotedWorker()
    manager = make_manager(worker, clock := Clock())
    worker.peak_mib = 96.0
    await invoke(manager, worker)
    manager.retire(TARGET.version.arn, keep=())
    worker.lose(0)
    manager.look_after_all()
    clock.now_s += 1
    worker.memory_mib = 1_000

    tasks = [asyncio.create_task(run(manager)) for _ in range(20)]
    await until(lambda: len(worker.started) == 21)

    await given_up(tasks)


async def test_the_longest_idle_is_evicted_for_what_it_holds() -> None:
    worker = NotedWorker()
    manager = make_manager(worker, clock := Clock())
    await invoke(manager, worker)
    clock.now_s += 1
    worker.held_mib["e0"] = 60.0
    worker.memory_mib = 10

    task = asyncio.create_task(run(manager, OTHER))
    await until(lambda: len(worker.started) == 2)

    assert worker.stopped == ["e0"]
    await given_up([task])


async def test_what_is_being_stopped_is_not_evicted_for_again() -> None:
    worker = NotedWorker()
    manager = make_manager(worker, clock := Clock())
    tasks = [asyncio.create_task(run(manager)) for _ in range(2)]
    await until(lambda: len(worker.started) == 2)
    for number in (0, 1):
        worker.held_mib[worker.started[number]] = 60.0
        worker.settle(number)
    await until(lambda: len(worker.answers) == 2)
    for number in (0, 1):
        worker.answer(number)
        worker.settle(number)
    await asyncio.gather(*tasks)
    worker.memory_mib = 0

    for _ in range(2):  # the second finds the memory of the first one still held by e0, who is on its way
        clock.now_s += 1
        tasks.append(asyncio.create_task(run(manager, OTHER)))
        await until(lambda: len(worker.started) == len(tasks))

    assert worker.stopped == ["e0"]
    await given_up(tasks)


async def test_a_host_without_memory_refuses_and_evicts_nobody_in_vain() -> None:
    worker = NotedWorker()
    manager = make_manager(worker, clock := Clock())
    await invoke(manager, worker)
    clock.now_s += 1
    worker.memory_mib, worker.held_mib["e0"] = 0, 6.0

    with pytest.raises(TooManyRequests):
        await run(manager, OTHER)

    assert worker.stopped == []


async def test_idle_ones_go_when_those_at_work_need_the_memory() -> None:
    worker = NotedWorker()
    manager = make_manager(worker, clock := Clock())
    await invoke(manager, worker)
    worker.held_mib["e0"] = 6.0
    clock.now_s += 1
    manager.look_after_all()
    assert worker.stopped == []

    worker.memory_mib = -1
    clock.now_s += 1
    manager.look_after_all()

    assert worker.stopped == ["e0"]


async def habitual(manager: LocalManager, worker: NotedWorker, clock: Clock) -> None:
    """Called every half hour, for long enough; the last environment is idle."""
    for _ in range(12):
        await invoke(manager, worker)
        clock.now_s += 1_830
    await invoke(manager, worker)


async def test_a_function_with_a_habit_has_no_environment_until_shortly_before_its_call() -> None:
    worker = NotedWorker()
    manager = make_manager(worker, clock := Clock(), is_adaptive=True)
    await habitual(manager, worker, clock)

    manager.look_after_all()
    assert worker.stopped == ["e0"]
    worker.lose(0)
    clock.now_s += 1_600
    manager.look_after_all()
    assert worker.started == ["e0"]
    clock.now_s += 100
    manager.look_after_all()
    assert worker.started == ["e0", "e1"]
    worker.settle(1)
    clock.now_s += 130
    await invoke(manager, worker)

    assert worker.started == ["e0", "e1"]
    assert manager.statistics().made_early == 1


async def test_an_environment_that_was_made_early_goes_when_its_call_does_not_come() -> None:
    worker = NotedWorker()
    manager = make_manager(worker, clock := Clock(), is_adaptive=True)
    await habitual(manager, worker, clock)
    manager.look_after_all()
    worker.lose(0)
    clock.now_s += 1_700
    manager.look_after_all()
    worker.settle(1)

    clock.now_s += 300
    manager.look_after_all()
    assert worker.stopped == ["e0"]
    clock.now_s += 100
    manager.look_after_all()
    assert worker.stopped == ["e0", "e1"]
    worker.lose(1)
    clock.now_s += 10_000
    manager.look_after_all()
    assert worker.started == ["e0", "e1"]


@pytest.mark.parametrize("keep", [{"new"}, set()])
async def test_nothing_is_made_early_of_what_was_updated_or_deleted(keep: set[str]) -> None:
    worker = NotedWorker()
    manager = make_manager(worker, clock := Clock(), is_adaptive=True)
    await habitual(manager, worker, clock)
    manager.look_after_all()
    worker.lose(0)

    manager.retire(VERSION.arn, keep=keep)
    clock.now_s += 1_700
    manager.look_after_all()

    assert worker.started == ["e0"]


async def test_nothing_is_made_early_where_somebody_would_have_to_go_for_it() -> None:
    worker = NotedWorker()
    manager = make_manager(worker, clock := Clock(), is_adaptive=True)
    await habitual(manager, worker, clock)
    manager.look_after_all()
    worker.lose(0)

    worker.memory_mib = 10
    clock.now_s += 1_700
    manager.look_after_all()

    assert worker.started == ["e0"]
