"""Streams whose shards are divided among many, as a consumer group's partitions are."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from poller_world import ERROR, OK, STREAM, World, mapping, until

from lambent.adapters.memory.sources import MemoryStream
from lambent.model.event_source_mapping import SourceKind
from lambent.model.invocation import InvokeResult
from lambent.ports.sources import SourceLost
from lambent.testing import virtual_time

KINESIS = SourceKind.KINESIS


def test_a_shard_that_is_taken_away_is_let_go_once_what_runs_is_committed() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream("s", "t", is_shared=True)

        async def function(_: dict[str, Any]) -> InvokeResult:
            await asyncio.sleep(5)
            return OK

        world.function = function
        for one in "abc":
            stream.put("s", one)
        async with world.polling(mapping(KINESIS, batch_size=1)):
            await until(lambda: world.calls)
            stream.move("s")
            await asyncio.sleep(1)
            assert stream.opened == {"s", "t"}  # it runs
            await until(lambda: stream.opened == {"t"})
            assert (world.contents, stream.committed["s"].after) == (["a"], "1")

            stream.put("t", "d")
            stream.move()
            await until(lambda: len(world.contents) == 4)
        assert sorted(world.contents) == ["a", "b", "c", "d"]

    virtual_time.run(main())


def test_a_function_that_fails_on_and_on_does_not_hold_a_shard_that_is_taken_away() -> None:
    async def main() -> None:
        world = World()
        stream = world.stream("s", is_shared=True)

        async def function(_: dict[str, Any]) -> InvokeResult:
            return ERROR

        world.function = function
        stream.put("s", "a")
        async with world.polling(mapping(KINESIS)):
            await until(lambda: len(world.calls) > 5)
            stream.move("s")
            began_s = virtual_time.now()
            await until(lambda: not stream.opened)
            assert virtual_time.now() - began_s < 2
            assert stream.committed["s"].after is None

    virtual_time.run(main())


class BrokenStream(MemoryStream):
    """One that is of no use any more, once it is told so."""

    is_broken = False

    async def shards(self) -> Any:
        if self.is_broken:
            raise SourceLost("it has ended")
        return await super().shards()


def test_a_source_that_is_lost_is_opened_anew() -> None:
    async def main() -> None:
        world = World()
        broken = world.sources.streams[STREAM] = BrokenStream("s", is_shared=True)
        async with world.polling(mapping(KINESIS)):
            broken.put("s", "a")
            await until(lambda: world.contents == ["a"])
            whole = world.stream("s")
            broken.is_broken = True
            broken.move()
            whole.put("s", "b")
            await until(lambda: world.contents == ["a", "b"])
            assert not broken.opened

    virtual_time.run(main())


def test_a_source_that_is_lost_once_in_a_while_is_opened_anew_at_once_each_time() -> None:
    async def main() -> None:
        world = World()
        waited_s = []
        streams = [BrokenStream("s", is_shared=True) for _ in range(9)]
        world.sources.streams[STREAM] = streams[0]
        async with world.polling(mapping(KINESIS)):
            for lost, next_one in itertools.pairwise(streams):
                await asyncio.sleep(3_600)
                world.sources.streams[STREAM] = next_one
                lost.is_broken = True
                lost.move()
                began_s = virtual_time.now()
                next_one.put("s", "a")
                await until(lambda one=next_one: one.committed)  # type: ignore[misc]
                waited_s.append(virtual_time.now() - began_s)
        assert max(waited_s) < 3

    virtual_time.run(main())
