"""Ownership: one holder of each name at a time."""

from __future__ import annotations

import asyncio

from lambent.adapters.memory.ownership import LocalOwnership


async def test_a_name_that_nobody_holds_is_granted_at_once() -> None:
    ownership = LocalOwnership()
    async with asyncio.timeout(1), ownership.hold("a"), ownership.hold("b"):
        pass
    async with asyncio.timeout(1), ownership.hold("a"):
        pass


async def test_a_name_that_is_held_is_waited_for() -> None:
    ownership = LocalOwnership()
    held: list[int] = []

    async def work(number: int) -> None:
        async with ownership.hold("a"):
            held.append(number)
            assert len(held) == 1
            await asyncio.sleep(0)
            held.remove(number)

    await asyncio.gather(*(work(number) for number in range(10)))


async def test_who_gives_up_waiting_holds_nothing() -> None:
    ownership = LocalOwnership()

    async def hold() -> None:
        async with ownership.hold("a"):
            raise AssertionError("it is held by somebody else")

    async with ownership.hold("a"):
        waiting = asyncio.create_task(hold())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait((waiting,))
    async with asyncio.timeout(1), ownership.hold("a"):
        pass
