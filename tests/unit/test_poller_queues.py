"""Queues at work: what is deleted and when, batches, windows, partial failures, groups, filters, how many at once."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from poller_world import ERROR, OK, World, mapping, reported, throttled, until, version

from lambent.adapters.memory.sources import MemoryQueue
from lambent.model.event_source_mapping import SourceKind
from lambent.model.invocation import InvokeResult
from lambent.pollers.scaling import Scaling, ScalingLimits, scaling_limits
from lambent.testing import virtual_time


def test_a_message_is_deleted_once_the_function_has_done_with_it() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue()
        deleted_during: list[list[str]] = []

        async def function(_: dict[str, Any]) -> InvokeResult:
            await asyncio.sleep(1)
            deleted_during.append(list(queue.deleted))
            return OK

        world.function = function
        async with world.polling(mapping()):
            id = queue.put("a")
            await until(lambda: queue.deleted)
        assert (queue.deleted, deleted_during, world.contents) == ([id], [[]], ["a"])

    virtual_time.run(main())


@pytest.mark.parametrize("failure", [ERROR, OSError])
def test_what_the_function_failed_on_comes_again_after_its_visibility_timeout(failure: Any) -> None:
    async def main() -> None:
        world = World()
        queue = world.queue(visibility_s=30)

        async def function(_: dict[str, Any]) -> InvokeResult:
            return ERROR if len(world.calls) == 1 else OK

        world.function = function
        async with world.polling(mapping()):
            queue.put("a")
            await until(lambda: queue.deleted)
        (first_s, _), (second_s, _) = world.calls
        assert second_s - first_s == pytest.approx(30, abs=0.1)

    virtual_time.run(main())


def test_redriving_is_the_queues_own_matter() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue(receives_maximum=3)

        async def function(_: dict[str, Any]) -> InvokeResult:
            return ERROR

        world.function = function
        async with world.polling(mapping()):
            id = queue.put("a")
            await until(lambda: queue.dead)
        assert (queue.dead, queue.deleted, len(world.calls)) == ([id], [], 3)

    virtual_time.run(main())


def test_only_what_is_not_reported_is_deleted_of_a_partial_failure() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue()

        async def function(event: dict[str, Any]) -> InvokeResult:
            odd = [one["messageId"] for one in event["Records"] if int(one["messageId"]) % 2]
            return reported(*odd) if len(world.calls) == 1 else OK

        world.function = function
        for number in range(4):
            queue.put(str(number))
        async with world.polling(mapping(reports_batch_item_failures=True)):
            await until(lambda: not len(queue))
        assert world.batches == [["0", "1", "2", "3"], ["0", "2"]]

    virtual_time.run(main())


def test_a_report_that_is_not_asked_for_is_a_success() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue()

        async def function(_: dict[str, Any]) -> InvokeResult:
            return reported("1")

        world.function = function
        queue.put("a")
        async with world.polling(mapping()):
            await until(lambda: queue.deleted)

    virtual_time.run(main())


def test_a_throttled_batch_is_tried_again_as_long_as_its_messages_are_ours() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue(visibility_s=30, receives_maximum=2)
        attempts: list[float] = []

        async def function(_: dict[str, Any]) -> InvokeResult:
            attempts.append(virtual_time.now())
            raise throttled()

        world.function = function
        async with world.polling(mapping()):
            queue.put("a")
            await until(lambda: queue.dead)
        first = [at for at in attempts if at < attempts[0] + 29]
        assert len(first) > 3
        assert first[-1] - first[0] <= 27  # with the function's timeout of 3 s that is the visibility timeout
        assert [one for one in attempts if attempts[0] + 29 < one < attempts[0] + 31]

    virtual_time.run(main())


def test_a_batch_is_as_large_as_its_window_allows() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue()
        async with world.polling(mapping(batch_size=1_000, batching_window_s=5, maximum_concurrency=2)):
            began_s = virtual_time.now()
            for number in range(30):
                queue.put(str(number))
            await until(lambda: not len(queue))
            assert virtual_time.now() - began_s == pytest.approx(5, abs=0.5)
            assert sorted(map(len, world.batches)) in ([30], [10, 20])

    virtual_time.run(main())


def test_a_batch_that_is_full_waits_for_no_window() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue()
        for number in range(25):
            queue.put(str(number))
        async with world.polling(mapping(batch_size=20, batching_window_s=300)):
            began_s = virtual_time.now()
            await until(lambda: not len(queue))
            assert len(world.batches) == 2
            assert virtual_time.now() - began_s == pytest.approx(300, abs=1)

    virtual_time.run(main())


def test_a_window_extends_the_visibility_of_messages() -> None:
    async def main() -> None:
        world = World(version=version(timeout_s=60))
        queue = world.queue(visibility_s=60)
        held: list[float] = []
        receive = queue.receive

        async def listening(limit: int, *, wait_s: float, hold_s: float) -> Any:
            held.append(hold_s)
            return await receive(limit, wait_s=wait_s, hold_s=hold_s)

        queue.receive = listening  # type: ignore[method-assign]
        queue.put("a")
        async with world.polling(mapping(batch_size=20, batching_window_s=100)):
            await until(lambda: not len(queue))
        assert set(held) == {190.0}

    virtual_time.run(main())


def test_no_event_is_larger_than_six_megabytes() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue()
        for letter in "abcdefgh":
            queue.put(letter * 1_000_000)
        sizes: list[int] = []

        async def function(event: dict[str, Any]) -> InvokeResult:
            sizes.append(len(json.dumps(event, separators=(",", ":"))))
            return OK

        world.function = function
        async with world.polling(mapping(batch_size=100, batching_window_s=1)):
            await until(lambda: not len(queue))
        assert max(sizes) <= 6_291_456
        assert sorted(content[0] for content in world.contents) == list("abcdefgh")

    virtual_time.run(main())


def test_what_no_filter_wants_is_deleted_and_does_not_reach_the_function() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue()
        for body in ('{"a": 1}', '{"a": 2}', "plain"):
            queue.put(body)
        async with world.polling(mapping(filters=('{"body": {"a": [1]}}',))):
            await until(lambda: not len(queue))
        assert world.contents == ['{"a": 1}']
        assert sorted(queue.deleted) == ["1", "2", "3"]

    virtual_time.run(main())


def test_a_group_is_in_order_and_never_twice_in_flight() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue(visibility_s=60)
        under_way: set[str] = set()
        done: list[str] = []

        async def function(event: dict[str, Any]) -> InvokeResult:
            groups = {one["attributes"]["MessageGroupId"] for one in event["Records"]}
            assert not groups & under_way
            under_way.update(groups)
            await asyncio.sleep(0.5)
            under_way.difference_update(groups)
            done.extend(one["body"] for one in event["Records"])
            return OK

        world.function = function
        for number in range(40):
            queue.put(f"{'abcd'[number % 4]}{number:02}", group="abcd"[number % 4])
        async with world.polling(mapping(SourceKind.SQS_FIFO, batch_size=2)):
            await until(lambda: not len(queue))
        for group in "abcd":
            mine = [body for body in done if body[0] == group]
            assert (mine, len(mine)) == (sorted(mine), 10)
        assert world.most_running > 1

    virtual_time.run(main())


def test_a_group_stays_in_order_while_parts_of_batches_fail() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue(visibility_s=5)
        chance = random.Random(5)
        done: list[tuple[str, str]] = []

        async def function(event: dict[str, Any]) -> InvokeResult:
            broken: set[str] = set()
            failed = []
            for one in event["Records"]:
                group = one["attributes"]["MessageGroupId"]
                if group in broken or chance.random() < 0.1:
                    broken.add(group)
                    failed.append(one["messageId"])
                else:
                    done.append((group, one["body"]))
            return reported(*failed)

        world.function = function
        for number in range(400):
            queue.put(f"{number:03}", group=f"g{number % 20}")
        async with world.polling(mapping(SourceKind.SQS_FIFO, reports_batch_item_failures=True)):
            await until(lambda: not len(queue))
        for group in range(20):
            mine = [body for one, body in done if one == f"g{group}"]
            assert mine == [f"{number:03}" for number in range(group, 400, 20)]

    virtual_time.run(main())


def test_no_more_run_at_once_than_the_maximum_concurrency() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue()

        async def function(_: dict[str, Any]) -> InvokeResult:
            await asyncio.sleep(1)
            return OK

        world.function = function
        for number in range(500):
            queue.put(str(number))
        async with world.polling(mapping(maximum_concurrency=3)):
            await until(lambda: not len(queue))
        assert world.most_running == 3

    virtual_time.run(main())


def test_a_queue_that_stays_full_is_read_by_five_and_then_by_three_hundred_more_a_minute() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue(visibility_s=600)

        async def function(_: dict[str, Any]) -> InvokeResult:
            await asyncio.sleep(1)
            return OK

        world.function = function
        for number in range(1_000):
            queue.put(str(number))
        async with world.polling(mapping(batch_size=1)):
            await asyncio.sleep(0.5)
            assert world.running == 5
            await asyncio.sleep(10)
            assert 45 <= world.running <= 60

    virtual_time.run(main())


def test_scaling_is_awss() -> None:
    scaling = Scaling(ScalingLimits())
    assert scaling.size == 5
    for second in range(600):
        for _ in range(scaling.size):
            scaling.found(float(second))
    assert scaling.size == 1_250
    for _ in range(2_000):
        scaling.failed()
    assert scaling.size == 2
    scaling.found(601.0)
    assert scaling.size == 2
    scaling.found_nothing()
    scaling.found(602.0)
    assert scaling.size == 5
    scaling.found_nothing()
    assert scaling.size == 4


def test_scaling_is_by_the_kind_of_source() -> None:
    assert scaling_limits(mapping(SourceKind.MQ)).maximum == 1
    assert scaling_limits(mapping()) == ScalingLimits()
    few, many = (scaling_limits(mapping(maximum_concurrency=number)) for number in (2, 1_000))
    assert (few.initial, few.minimum, few.maximum) == (2, 2, 2)
    assert (many.initial, many.minimum, many.maximum) == (5, 5, 1_000)


@pytest.mark.parametrize(("reports", "size"), [(False, 2), (True, 5)])
def test_errors_slow_polling_down_unless_failures_are_reported(reports: bool, size: int) -> None:
    async def main() -> None:
        world = World()
        queue = world.queue(visibility_s=5)

        async def function(_: dict[str, Any]) -> InvokeResult:
            await asyncio.sleep(1)
            return ERROR

        world.function = function
        for number in range(200):
            queue.put(str(number))
        async with world.polling(mapping(batch_size=1, reports_batch_item_failures=reports)):
            await asyncio.sleep(20)
            assert (world.running <= size) is not reports

    virtual_time.run(main())


def test_a_queue_that_is_down_is_asked_again_and_said_so() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue()
        queue.problem = "nobody is there"
        async with world.polling(mapping()):
            await asyncio.sleep(10)
            assert await world.result() == "PROBLEM: nobody is there"
            queue.problem = None
            queue.put("a")
            await until(lambda: queue.deleted, timeout_s=120)
            await asyncio.sleep(2)
            assert await world.result() == "OK"

    virtual_time.run(main())


def test_messages_that_were_gathered_when_polling_stops_are_given_back_at_once() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue(visibility_s=3_000)
        queue.put("a")
        async with world.polling(mapping(batch_size=100, batching_window_s=300)) as pollers:
            await asyncio.sleep(10)
            await pollers.drain(60)
        received = await queue.receive(10, wait_s=0, hold_s=0)
        assert [record.document["body"] for record in received.records] == ["a"]
        assert world.calls == []

    virtual_time.run(main())


def test_what_is_being_invoked_when_polling_stops_ends_and_is_deleted() -> None:
    async def main() -> None:
        world = World()
        queue: MemoryQueue = world.queue()

        async def function(_: dict[str, Any]) -> InvokeResult:
            await asyncio.sleep(10)
            return OK

        world.function = function
        queue.put("a")
        async with world.polling(mapping()) as pollers:
            await until(lambda: world.running)
            await pollers.drain(60)
            queue.put("b")
            await asyncio.sleep(100)
        assert (queue.deleted, world.contents) == (["1"], ["a"])

    virtual_time.run(main())
