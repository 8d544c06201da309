"""Streams at work: order, lanes, retries, bisect, partial failures, windows, checkpoints and resharding."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from poller_world import DEAD, ERROR, OK, STREAM, World, mapping, reported, said, throttled, until

from lambent.adapters.memory.sources import MemoryStream
from lambent.adapters.sources.dynamodb_streams import DynamoDbStream
from lambent.adapters.sources.kinesis import KinesisStream
from lambent.model.event_source_mapping import SourceKind
from lambent.model.invocation import InvokeResult
from lambent.model.source_record import Page
from lambent.testing import virtual_time

KINESIS = SourceKind.KINESIS


def data(event: dict[str, Any]) -> list[str]:
    return [record["kinesis"]["data"] for record in event["Records"]]


def poisoned(*poison: str) -> Any:
    """A function that fails on every batch with one of these in it."""

    async def function(event: dict[str, Any]) -> InvokeResult:
        return ERROR if set(poison) & set(data(event)) else OK

    return function


def fill(stream: MemoryStream, contents: str, shard: str = "s") -> None:
    for one in contents:
        stream.put(shard, one, key=one)


def test_a_shard_is_read_in_order_batch_by_batch() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()
        fill(stream, "abcdefg")
        async with world.polling(mapping(KINESIS, batch_size=3)):
            await until(lambda: len(world.contents) == 7)
            await asyncio.sleep(2)
        assert world.batches == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
        assert world.most_running == 1
        assert stream.committed["s"].after == "7"

    virtual_time.run(main())


def test_shards_are_read_at_the_same_time() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream("s", "t")

        async def function(_: dict[str, Any]) -> InvokeResult:
            await asyncio.sleep(1)
            return OK

        world.function = function
        fill(stream, "ab", "s")
        fill(stream, "cd", "t")
        async with world.polling(mapping(KINESIS)):
            await until(lambda: len(world.contents) == 4)
        assert world.most_running == 2

    virtual_time.run(main())


class ReadTimes(MemoryStream):
    """Notes when it was read."""

    def __init__(self) -> None:
        super().__init__("s")
        self.page_limit = 1
        self.times_s: list[float] = []

    async def fetch(self, shard: str, cursor: str, limit: int) -> Page:
        self.times_s.append(virtual_time.now())
        return await super().fetch(shard, cursor, limit)


def test_a_shard_is_read_once_an_interval_and_five_times_while_there_is_more() -> None:
    async def main() -> None:
        world = World()
        stream = world.sources.streams[STREAM] = ReadTimes()
        async with world.polling(mapping(KINESIS)):
            await asyncio.sleep(3.5)
            fill(stream, "abcd")
            await until(lambda: len(world.contents) == 4)
            await asyncio.sleep(2.1)
        waits_s = [round(later - earlier, 3) for earlier, later in itertools.pairwise(stream.times_s)]
        assert waits_s == [1, 1, 1, 1, 0.2, 0.2, 0.2, 1, 1]

    virtual_time.run(main())


def test_kinesis_is_read_once_a_second_and_dynamodb_four_times() -> None:
    assert (KinesisStream.poll_interval_s, DynamoDbStream.poll_interval_s) == (1, 0.25)


def test_a_window_collects_records_of_several_reads() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()
        async with world.polling(mapping(KINESIS, batching_window_s=10)):
            began_s = virtual_time.now()
            for one in "abcde":
                stream.put("s", one)
                await asyncio.sleep(1.5)
            await until(lambda: world.calls)
            assert world.batches == [["a", "b", "c", "d", "e"]]
            assert world.calls[0][0] - began_s == pytest.approx(10, abs=1.1)

    virtual_time.run(main())


def test_a_failed_batch_blocks_its_shard_until_it_succeeds() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()

        async def function(_: dict[str, Any]) -> InvokeResult:
            return ERROR if len(world.calls) < 5 else OK

        world.function = function
        fill(stream, "ab")
        async with world.polling(mapping(KINESIS, batch_size=1)):
            await until(lambda: len(world.calls) == 6)
        assert world.batches == [["a"]] * 5 + [["b"]]

    virtual_time.run(main())


@pytest.mark.parametrize("attempts", [0, 1, 3])
def test_a_batch_is_given_up_after_its_retries(attempts: int) -> None:
    async def main() -> None:
        world = World(function=poisoned("b"))
        stream = world.stream()
        fill(stream, "abcd")
        async with world.polling(mapping(KINESIS, batch_size=2, maximum_retry_attempts=attempts, on_failure=DEAD)):
            await until(lambda: "d" in world.contents)
            await asyncio.sleep(1)
            ((head, body),) = await world.told()
        assert world.batches == [["a", "b"]] * (attempts + 1) + [["c", "d"]]
        assert head["message"]["target"] == DEAD
        assert body["requestContext"]["condition"] == "RetryAttemptsExhausted"
        assert body["requestContext"]["approximateInvokeCount"] == attempts + 1
        assert stream.committed["s"].after == "4"

    virtual_time.run(main())


def test_bisecting_finds_the_one_record_that_is_to_blame_without_using_up_retries() -> None:
    async def main() -> None:
        world = World(function=poisoned("f"))
        stream = world.stream()
        fill(stream, "abcdefgh")
        bisecting = mapping(KINESIS, bisects_on_error=True, maximum_retry_attempts=0, on_failure=DEAD)
        async with world.polling(bisecting):
            await until(lambda: stream.committed.get("s") and stream.committed["s"].after == "8")
            ((_, body),) = await world.told()
        assert body["KinesisBatchInfo"]["batchSize"] == 1
        assert body["KinesisBatchInfo"]["startSequenceNumber"] == body["KinesisBatchInfo"]["endSequenceNumber"] == "6"
        succeeded = [one for batch in world.batches if "f" not in batch for one in batch]
        assert succeeded == list("abcdegh")

    virtual_time.run(main())


def test_a_partial_failure_is_retried_from_the_lowest_record_reported() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()

        async def function(_: dict[str, Any]) -> InvokeResult:
            return reported("4", "3") if len(world.calls) == 1 else OK

        world.function = function
        fill(stream, "abcde")
        async with world.polling(mapping(KINESIS, reports_batch_item_failures=True)):
            await until(lambda: len(world.calls) == 2)
        assert world.batches == [list("abcde"), list("cde")]

    virtual_time.run(main())


def test_with_bisect_a_partial_failure_splits_at_the_record_reported_and_isolates_it() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()

        async def function(event: dict[str, Any]) -> InvokeResult:
            ids = [record["kinesis"]["sequenceNumber"] for record in event["Records"]]
            return reported("3") if "3" in ids else OK

        world.function = function
        fill(stream, "abcdef")
        options = {"reports_batch_item_failures": True, "bisects_on_error": True, "maximum_retry_attempts": 0}
        async with world.polling(mapping(KINESIS, on_failure=DEAD, **options)):
            await until(lambda: stream.committed.get("s") and stream.committed["s"].after == "6")
            ((_, body),) = await world.told()
        assert world.batches == [list("abcdef"), list("cdef"), list("cd"), ["c"], ["d"], list("ef")]
        assert (body["KinesisBatchInfo"]["startSequenceNumber"], body["KinesisBatchInfo"]["batchSize"]) == ("3", 1)

    virtual_time.run(main())


def test_records_that_are_too_old_are_given_up_and_the_shard_goes_on() -> None:
    async def main() -> None:
        world = World(function=poisoned("a"))
        stream = world.stream()
        stream.put("s", "a")
        async with world.polling(mapping(KINESIS, batch_size=1, maximum_record_age_s=60, on_failure=DEAD)):
            await asyncio.sleep(50)
            stream.put("s", "b")
            await until(lambda: "b" in world.contents)
            ((_, body),) = await world.told()
        assert body["requestContext"]["condition"] == "RecordAgeExceeded"
        assert world.calls[-1][0] - world.calls[0][0] == pytest.approx(60, abs=1.5)

    virtual_time.run(main())


def test_a_record_that_its_stream_has_forgotten_is_retried_no_longer() -> None:
    async def main() -> None:
        world = World(function=poisoned("a"))
        stream = world.stream(retention_s=600)
        fill(stream, "ab")
        async with world.polling(mapping(KINESIS, batch_size=1)):
            await until(lambda: stream.committed.get("s") and stream.committed["s"].after == "2", timeout_s=700)

    virtual_time.run(main())


def test_throttles_use_up_no_attempt() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()

        async def function(_: dict[str, Any]) -> InvokeResult:
            if len(world.calls) < 10:
                raise throttled()
            return OK

        world.function = function
        fill(stream, "a")
        async with world.polling(mapping(KINESIS, maximum_retry_attempts=0, on_failure=DEAD)):
            await until(lambda: len(world.calls) == 10)
            await asyncio.sleep(1)
            assert await world.told() == []

    virtual_time.run(main())


def test_a_record_that_no_event_can_hold_is_given_up_alone() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()
        for one in ("a", "x" * 6_300_000, "b"):
            stream.put("s", one)
        async with world.polling(mapping(KINESIS, on_failure=DEAD)):
            await until(lambda: len(world.contents) == 2)
            ((_, body),) = await world.told()
        assert body["requestContext"]["condition"] == "MaximumPayloadSizeExceeded"
        assert body["requestContext"]["approximateInvokeCount"] == 0
        assert "responseContext" not in body

    virtual_time.run(main())


def test_what_no_filter_wants_is_skipped_and_the_checkpoint_goes_on() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()
        for one in ('{"a": 1}', '{"a": 2}', '{"a": 1}', "plain"):
            stream.put("s", one, key=one)
        wanted = '{"partitionKey": [{"prefix": "{\\"a\\": 1"}]}'
        async with world.polling(mapping(KINESIS, filters=(wanted,))):
            await until(lambda: stream.committed.get("s") and stream.committed["s"].after == "4")
        assert world.contents == ['{"a": 1}', '{"a": 1}']

    virtual_time.run(main())


@pytest.mark.parametrize("factor", [1, 4, 10])
def test_lanes_run_at_once_and_keep_the_order_of_each_partition_key(factor: int) -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()
        done: list[str] = []

        async def function(event: dict[str, Any]) -> InvokeResult:
            await asyncio.sleep(len(event["Records"]) / 10)
            done.extend(data(event))
            return OK

        world.function = function
        for number in range(200):
            stream.put("s", f"{number % 20:02}-{number:03}", key=str(number % 20))
        async with world.polling(mapping(KINESIS, batch_size=3, parallelization_factor=factor)):
            await until(lambda: len(done) == 200)
            await asyncio.sleep(2)
        for key in range(20):
            mine = [one for one in done if one.startswith(f"{key:02}-")]
            assert mine == sorted(mine)
        assert 1 <= world.most_running <= factor
        assert factor == 1 or world.most_running > 1
        assert stream.committed["s"].after == "200"

    virtual_time.run(main())


def test_a_checkpoint_never_passes_a_record_that_is_not_done() -> None:
    async def main() -> None:
        world = World(function=poisoned("a"))
        stream = world.stream()
        fill(stream, "abcdefghijklmnop")
        async with world.polling(mapping(KINESIS, batch_size=1, parallelization_factor=10)):
            await until(lambda: len(set(world.contents)) > 8)
            assert stream.committed["s"].after is None
        seen = set(world.contents)
        world.calls.clear()
        world.function = poisoned()
        async with world.polling(mapping(KINESIS, batch_size=1, parallelization_factor=10)):
            await until(lambda: stream.committed["s"].after == "16")
        again = set(world.contents) & (seen - {"a"})
        assert not again  # each lane knows for itself how far it was

    virtual_time.run(main())


def test_reading_goes_on_behind_the_checkpoint_after_a_restart() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()
        fill(stream, "abc")
        async with world.polling(mapping(KINESIS)):
            await until(lambda: len(world.contents) == 3)
            await asyncio.sleep(1)
        fill(stream, "de")
        async with world.polling():
            await until(lambda: len(world.contents) == 5)
            await asyncio.sleep(5)
        assert world.contents == list("abcde")

    virtual_time.run(main())


def test_latest_is_the_moment_of_the_start_after_a_restart_too() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()
        fill(stream, "abc")
        await asyncio.sleep(1)
        async with world.polling(mapping(KINESIS, starting_position="LATEST")):
            await asyncio.sleep(5)
        fill(stream, "d")  # while nobody reads
        async with world.polling():
            fill(stream, "e")
            await until(lambda: len(world.contents) == 2)
        assert world.contents == ["d", "e"]

    virtual_time.run(main())


def test_at_timestamp_begins_with_the_first_record_of_that_time() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()
        for one in "abcd":
            stream.put("s", one)
            await asyncio.sleep(10)
        since_s = virtual_time.START_S + 15
        async with world.polling(mapping(KINESIS, starting_position="AT_TIMESTAMP", starting_timestamp_s=since_s)):
            await until(lambda: len(world.contents) == 2)
        assert world.contents == ["c", "d"]

    virtual_time.run(main())


@pytest.mark.parametrize("position", ["TRIM_HORIZON", "LATEST"])
def test_children_are_read_once_their_parents_are_done(position: str) -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()

        async def function(_: dict[str, Any]) -> InvokeResult:
            await asyncio.sleep(30)
            return OK

        world.function = function
        async with world.polling(mapping(KINESIS, batch_size=2, starting_position=position)):
            await asyncio.sleep(1)
            fill(stream, "abcd")
            stream.split("s", "t", "u")
            fill(stream, "ef", "t")
            fill(stream, "gh", "u")
            await until(lambda: len(world.contents) == 8)
            await until(lambda: not world.running)
            assert world.batches[:2] == [["a", "b"], ["c", "d"]]
            assert sorted(map(tuple, world.batches[2:])) == [("e", "f"), ("g", "h")]
            assert world.calls[2][0] >= world.calls[1][0] + 30
            assert stream.committed["s"].is_finished

    virtual_time.run(main())


def test_latest_does_not_read_what_was_closed_before() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()
        fill(stream, "ab")
        stream.split("s", "t")
        fill(stream, "cd", "t")
        async with world.polling(mapping(KINESIS, starting_position="LATEST")):
            await asyncio.sleep(5)
            fill(stream, "e", "t")
            await until(lambda: world.contents)
        assert world.contents == ["e"]

    virtual_time.run(main())


def test_the_checkpoint_of_a_shard_that_is_no_more_is_removed() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()
        fill(stream, "a")
        stream.split("s", "t")
        async with world.polling(mapping(KINESIS)):
            await until(lambda: stream.committed.get("s") and stream.committed["s"].is_finished)
            stream.split("t", "u")
            await until(lambda: stream.committed.get("t") and stream.committed["t"].is_finished)
            stream.trim("s")
            await until(lambda: "s" not in stream.committed, timeout_s=200)

    virtual_time.run(main())


def test_a_stream_that_is_down_is_asked_again_and_said_so() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()
        fill(stream, "ab")
        stream.problem = "nobody is there"
        async with world.polling(mapping(KINESIS)):
            await asyncio.sleep(10)
            assert await world.result() == "PROBLEM: nobody is there"
            stream.problem = None
            await until(lambda: len(world.contents) == 2, timeout_s=120)
            await asyncio.sleep(2)
            assert await world.result() == "OK"
            stream.problem = "again"
            await asyncio.sleep(10)
            assert await world.result() == "PROBLEM: again"

    virtual_time.run(main())


def aggregating(world: World) -> Any:
    async def function(event: dict[str, Any]) -> InvokeResult:
        return said({"state": {"seen": event["state"].get("seen", []) + data(event)}})

    return function


def test_a_tumbling_window_carries_its_state_and_ends_with_a_last_invocation() -> None:
    async def main() -> None:
        world = World()
        world.function = aggregating(world)
        stream = world.stream()
        async with world.polling(mapping(KINESIS, batch_size=2, tumbling_window_s=60)):
            await asyncio.sleep(60 - virtual_time.now() % 60)
            start_s = virtual_time.now()
            fill(stream, "abc")
            await asyncio.sleep(61)
            fill(stream, "d")
            await until(lambda: "d" in world.contents)
        events = [event for _, event in world.calls]
        assert [(data(one), one["state"], one["isFinalInvokeForWindow"]) for one in events] == [
            (["a", "b"], {}, False),
            (["c"], {"seen": ["a", "b"]}, False),
            ([], {"seen": ["a", "b", "c"]}, True),
            (["d"], {}, False),
        ]
        assert list(events[0]) == [
            "Records",
            "window",
            "state",
            "shardId",
            "eventSourceARN",
            "isFinalInvokeForWindow",
            "isWindowTerminatedEarly",
        ]
        assert world.calls[2][0] == pytest.approx(start_s + 60, abs=1.5)

    virtual_time.run(main())


def test_the_state_of_a_window_outlives_a_restart() -> None:
    async def main() -> None:
        world = World()
        world.function = aggregating(world)
        stream = world.stream()
        await asyncio.sleep(60 - virtual_time.now() % 60)
        fill(stream, "ab")
        async with world.polling(mapping(KINESIS, tumbling_window_s=60)):
            await until(lambda: world.contents)
            await asyncio.sleep(1)
        fill(stream, "c")
        async with world.polling():
            await until(lambda: world.calls[-1][1]["isFinalInvokeForWindow"])
        assert world.calls[-1][1]["state"] == {"seen": ["a", "b", "c"]}

    virtual_time.run(main())


def test_a_window_without_a_state_in_the_answer_has_failed() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()

        async def function(_: dict[str, Any]) -> InvokeResult:
            return OK if len(world.calls) < 3 else said({"state": {}})

        world.function = function
        fill(stream, "a")
        async with world.polling(mapping(KINESIS, tumbling_window_s=900)):
            await until(lambda: stream.committed.get("s") and stream.committed["s"].after == "1")
        assert len(world.calls) == 3

    virtual_time.run(main())


def test_a_window_whose_state_is_too_large_ends_early() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()

        async def function(_: dict[str, Any]) -> InvokeResult:
            return said({"state": {"x": "x" * 1_100_000}})

        world.function = function
        await asyncio.sleep(900 - virtual_time.now() % 900)
        fill(stream, "a")
        async with world.polling(mapping(KINESIS, tumbling_window_s=900)):
            await until(lambda: len(world.calls) == 2)
            fill(stream, "b")
            await until(lambda: len(world.calls) >= 3)
        final, following = world.calls[1][1], world.calls[2][1]
        assert (final["isFinalInvokeForWindow"], final["isWindowTerminatedEarly"]) == (True, True)
        assert following["state"] == {}

    virtual_time.run(main())


def test_a_partial_failure_in_a_window_keeps_the_state_of_what_was_done() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()

        async def function(event: dict[str, Any]) -> InvokeResult:
            seen = event["state"].get("seen", [])
            if len(world.calls) == 1:
                return said({"state": {"seen": ["a"]}, "batchItemFailures": [{"itemIdentifier": "2"}]})
            return said({"state": {"seen": seen + data(event)}})

        world.function = function
        await asyncio.sleep(900 - virtual_time.now() % 900)
        fill(stream, "abc")
        async with world.polling(mapping(KINESIS, tumbling_window_s=900, reports_batch_item_failures=True)):
            await until(lambda: world.calls and world.calls[-1][1]["isFinalInvokeForWindow"])
        assert world.batches == [["a", "b", "c"], ["b", "c"], []]
        assert world.calls[-1][1]["state"] == {"seen": ["a", "b", "c"]}

    virtual_time.run(main())


def test_a_shard_that_ends_ends_its_window_early() -> None:
    async def main() -> None:
        world = World()
        world.function = aggregating(world)
        stream = world.stream()
        await asyncio.sleep(900 - virtual_time.now() % 900)
        fill(stream, "a")
        stream.split("s", "t")
        async with world.polling(mapping(KINESIS, tumbling_window_s=900)):
            await until(lambda: len(world.calls) == 2)
        assert world.calls[1][1]["isWindowTerminatedEarly"]

    virtual_time.run(main())


def test_what_is_being_invoked_when_polling_stops_is_checkpointed() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream()

        async def function(_: dict[str, Any]) -> InvokeResult:
            await asyncio.sleep(10)
            return OK

        world.function = function
        fill(stream, "abcd")
        async with world.polling(mapping(KINESIS, batch_size=2)) as pollers:
            await until(lambda: world.running)
            await pollers.drain(60)
        assert (world.contents, stream.committed["s"].after) == (["a", "b"], "2")

    virtual_time.run(main())
