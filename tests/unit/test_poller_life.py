"""The life of a mapping: begun by control, settled by its keeper, polled in between, by one owner only."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from poller_world import OK, QUEUE, World, mapping, throttled, until, version

from lambent.model.event_source_mapping import MappingState, SourceKind
from lambent.model.invocation import InvokeResult
from lambent.testing import virtual_time


def changed(state: MappingState, **members: Any) -> Any:
    return replace(mapping(**members), state=state)


@pytest.mark.parametrize(
    ("begun", "is_enabled", "ends"),
    [
        (MappingState.CREATING, True, MappingState.ENABLED),
        (MappingState.CREATING, False, MappingState.DISABLED),
        (MappingState.UPDATING, True, MappingState.ENABLED),
        (MappingState.ENABLING, True, MappingState.ENABLED),
        (MappingState.DISABLING, False, MappingState.DISABLED),
    ],
)
def test_each_change_is_settled(begun: MappingState, is_enabled: bool, ends: MappingState) -> None:
    async def main() -> None:
        world = World()
        world.queue()
        async with world.polling():
            await world.put(changed(begun, is_enabled=is_enabled))
            await asyncio.sleep(1)
            found = await world.mapping()
        assert found is not None
        assert (found.state, found.state_transition_reason) == (ends, "USER_INITIATED")

    virtual_time.run(main())


def test_a_mapping_that_is_deleted_is_polled_no_longer_and_leaves_nothing() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue()
        queue.put("a")
        async with world.polling(mapping()):
            await until(lambda: world.calls)
            await asyncio.sleep(2)
            await world.put(changed(MappingState.DELETING))
            await asyncio.sleep(1)
            assert await world.mapping() is None
            assert await world.result() is None
            assert world.sources.forgotten == ["u"]
            queue.put("b")
            await asyncio.sleep(100)
        assert world.contents == ["a"]

    virtual_time.run(main())


def test_a_change_that_was_under_way_at_a_crash_is_settled_at_the_next_start() -> None:
    async def main() -> None:
        world = World()
        world.queue()
        await world.put(changed(MappingState.UPDATING))
        await world.put(changed(MappingState.DELETING, uuid="v"))
        async with world.polling():
            await asyncio.sleep(1)
            found = await world.mapping()
            assert found is not None
            assert found.state is MappingState.ENABLED
            assert await world.mapping("v") is None

    virtual_time.run(main())


def test_disabling_waits_for_what_is_being_invoked_and_loses_nothing() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue()

        async def function(_: dict[str, Any]) -> InvokeResult:
            await asyncio.sleep(10)
            return OK

        world.function = function
        queue.put("a")
        async with world.polling(mapping()):
            await until(lambda: world.running)
            await world.put(changed(MappingState.DISABLING, is_enabled=False))
            await asyncio.sleep(5)
            found = await world.mapping()
            assert found is not None
            assert found.state is MappingState.DISABLING
            queue.put("b")
            await asyncio.sleep(10)
            found = await world.mapping()
            assert found is not None
            assert found.state is MappingState.DISABLED
            assert queue.deleted == ["1"]
            await world.put(changed(MappingState.ENABLING))
            await until(lambda: not len(queue))
        assert world.contents == ["a", "b"]

    virtual_time.run(main())


def test_an_update_takes_effect() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue()
        async with world.polling(mapping(filters=('{"body": ["a"]}',))):
            await asyncio.sleep(1)
            await world.put(changed(MappingState.UPDATING, filters=('{"body": ["b"]}',)))
            await asyncio.sleep(1)
            queue.put("a")
            queue.put("b")
            await until(lambda: not len(queue))
        assert world.contents == ["b"]

    virtual_time.run(main())


def test_a_change_of_tags_interrupts_no_poll() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue()
        receives = 0
        receive = queue.receive

        async def counting(limit: int, *, wait_s: float, hold_s: float) -> Any:
            nonlocal receives
            receives += 1
            return await receive(limit, wait_s=wait_s, hold_s=hold_s)

        queue.receive = counting  # type: ignore[method-assign]
        async with world.polling(mapping()):
            await asyncio.sleep(1)
            before = receives
            await world.put(replace(mapping(), state=MappingState.ENABLED, tags={"a": "b"}))
            await asyncio.sleep(1)
            assert receives == before

    virtual_time.run(main())


def test_a_function_that_comes_back_is_fed_again() -> None:
    async def main() -> None:
        world = World(version=None)
        queue = world.queue()
        queue.put("a")
        async with world.polling(mapping()):
            await asyncio.sleep(10)
            assert (await world.result() or "").startswith("PROBLEM: Function not found")
            world.version = version()
            await world.store.put("function/000000000000/us-east-1/f", b"")
            await until(lambda: queue.deleted, timeout_s=60)

    virtual_time.run(main())


def test_a_function_that_takes_longer_now_is_polled_for_anew() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue(visibility_s=100)
        attempts: list[float] = []

        async def function(_: dict[str, Any]) -> InvokeResult:
            attempts.append(virtual_time.now())
            raise throttled()

        world.function = function
        async with world.polling(mapping()):
            await asyncio.sleep(1)
            world.version = version(timeout_s=100)
            await world.store.put("function/000000000000/us-east-1/f", b"")
            await asyncio.sleep(1)
            queue.put("a")
            await asyncio.sleep(90)
        assert len(attempts) == 1  # there is no time for a second one of 100 s

    virtual_time.run(main())


def test_a_source_that_is_not_there_yet_is_looked_for_again() -> None:
    async def main() -> None:
        world = World()
        async with world.polling(mapping()):
            await asyncio.sleep(10)
            assert await world.result() == f"PROBLEM: There is no queue {QUEUE}"
            found = await world.mapping()
            assert found is not None
            assert found.state is MappingState.ENABLED
            queue = world.queue()
            queue.put("a")
            await until(lambda: queue.deleted, timeout_s=120)

    virtual_time.run(main())


def test_what_an_earlier_lambent_said_of_every_mapping_is_said_no_longer() -> None:
    async def main() -> None:
        world = World()
        world.queue()
        world.stream()
        reason = "Lambent does not poll event sources yet: the mapping is kept, and no record reaches the function"
        former = [
            replace(mapping(kind, uuid=kind.name), state=MappingState.ENABLED, state_transition_reason=reason)
            for kind in (SourceKind.SQS, SourceKind.KINESIS)
        ]
        async with world.polling(*former):
            await asyncio.sleep(1)
            found = [await world.mapping(one.uuid) for one in former]
        assert [one.state_transition_reason for one in found if one] == ["USER_INITIATED", "User action"]

    virtual_time.run(main())


def test_two_pollers_of_one_store_do_not_read_the_same_mapping_twice() -> None:
    """As in a cluster, where both ask the same port who is the owner."""

    async def main() -> None:
        world = World()
        stream = world.stream()
        for one in "abc":
            stream.put("s", one)
        first = AsyncExitStack()
        await first.enter_async_context(world.polling(mapping(SourceKind.KINESIS)))
        async with world.polling():
            await until(lambda: len(world.contents) >= 3)
            await asyncio.sleep(30)
            assert world.contents == list("abc")
            await first.aclose()
            stream.put("s", "d")
            await until(lambda: "d" in world.contents)
        assert world.contents == list("abcd")

    virtual_time.run(main())
