"""What is told of mappings at work: how far behind they are, what became of their records, what went wrong last."""

from __future__ import annotations

import asyncio
from typing import Any

from poller_world import DEAD, ERROR, FUNCTION, OK, World, mapping, reported, throttled, until

from lambent.model.arn import FunctionArn
from lambent.model.event_source_mapping import MappingState, SourceKind
from lambent.model.invocation import InvokeResult
from lambent.pollers import MappingStatistics, Pollers
from lambent.pollers.figures import MappingCounts
from lambent.testing import virtual_time

KINESIS = SourceKind.KINESIS


def told(pollers: Pollers, function: FunctionArn | None = None) -> MappingStatistics:
    (one,) = pollers.statistics(FUNCTION.region, FUNCTION.account, function)
    return one


def test_messages_are_counted_by_what_became_of_them() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue(visibility_s=30)
        wanted = ('{"body":["a","b"]}',)

        async def function(event: dict[str, Any]) -> InvokeResult:
            if len(world.calls) == 1:
                raise throttled()
            failed = [one["messageId"] for one in event["Records"] if one["body"] == "b"]
            return reported(*failed) if len(world.calls) == 2 else OK

        world.function = function
        for body in "abc":
            queue.put(body)
        async with world.polling(mapping(filters=wanted, reports_batch_item_failures=True)) as pollers:
            await until(lambda: len(queue.deleted) == 3)
            await asyncio.sleep(1)
            statistics = told(pollers)
        # b is read twice; a and b are invoked twice because of the throttle, and b once more
        counts = MappingCounts(polled=4, filtered_out=1, invoked=5, failed=3, processed=2, deleted=3)
        assert (statistics.counts, statistics.iterator_age_s) == (counts, None)
        assert (statistics.uuid, statistics.state) == ("u", MappingState.ENABLED)
        assert statistics.last_problem == "Rate Exceeded."

    virtual_time.run(main())


def test_a_stream_is_as_far_behind_as_the_batch_that_it_is_stuck_at() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()
        is_well = False

        async def function(_: dict[str, Any]) -> InvokeResult:
            return OK if is_well else ERROR

        world.function = function
        async with world.polling(mapping(KINESIS)) as pollers:
            await asyncio.sleep(5)
            assert told(pollers).iterator_age_s == 0
            began_s = virtual_time.now()
            stream.put("s", "a")
            await asyncio.sleep(100)
            behind = told(pollers)
            is_well = True
            await until(lambda: stream.committed["s"].after)
            await asyncio.sleep(2)
            done = told(pollers)
        assert behind.iterator_age_s is not None
        assert 85 < behind.iterator_age_s <= 100
        assert (behind.counts.processed, behind.counts.failed) == (0, behind.counts.invoked)
        assert (done.iterator_age_s, done.counts.processed) == (0, 1)
        assert done.last_problem == "Function call failed"
        assert done.last_problem_ms is not None
        assert began_s * 1000 <= done.last_problem_ms

    virtual_time.run(main())


def test_what_is_given_up_is_dropped_and_what_no_filter_wants_is_not() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()

        async def function(event: dict[str, Any]) -> InvokeResult:
            return ERROR if "b" in [one["kinesis"]["data"] for one in event["Records"]] else OK

        world.function = function
        for key in "abcd":
            stream.put("s", key, key=key)
        settings: dict[str, Any] = {
            "filters": ('{"partitionKey":["a","b","c"]}',),
            "bisects_on_error": True,
            "maximum_retry_attempts": 0,
            "on_failure": DEAD,
        }
        async with world.polling(mapping(KINESIS, **settings)) as pollers:
            await until(lambda: stream.committed.get("s") and stream.committed["s"].after == "4")
            counts = told(pollers).counts
        assert (counts.polled, counts.filtered_out, counts.processed, counts.dropped) == (4, 1, 2, 1)

    virtual_time.run(main())


def test_figures_outlive_a_change_of_the_mapping_and_are_told_of_ones_own_only() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()
        stream.put("s", "a")
        async with world.polling(mapping(KINESIS)) as pollers:
            await until(lambda: world.contents)
            await world.put(mapping(KINESIS, batch_size=1, state=MappingState.UPDATING))
            stream.put("s", "b")
            await until(lambda: len(world.contents) == 2)
            assert told(pollers, FUNCTION).counts.polled == 2
            assert pollers.statistics(FUNCTION.region, "111111111111") == []
            assert pollers.statistics("eu-west-1", FUNCTION.account) == []
            assert pollers.statistics(FUNCTION.region, FUNCTION.account, FunctionArn("us-east-1", "0" * 12, "g")) == []

    virtual_time.run(main())
