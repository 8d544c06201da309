"""Many clients at once: whatever the order, the books agree with what is stored, and only AWS's refusals are seen."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest
from control_world import CALLER, ROLE, World, zip_of

from lambent.model.errors import (
    InvalidParameterValue,
    PlatformError,
    PreconditionFailed,
    ResourceConflict,
    ResourceNotFound,
)
from lambent.model.function import FunctionRecord, State, UpdateStatus, version_key
from lambent.model.records import decode_function, decode_version, encode

EXPECTED = (InvalidParameterValue, PreconditionFailed, ResourceConflict, ResourceNotFound)


async def client(world: World, dice: random.Random) -> None:
    """A while of random changes of a few functions that all clients share."""
    for _ in range(40):
        operation, members = _request(dice.choice("abc"), dice)
        with suppress(*EXPECTED):
            await world.call(operation, **members)
        await asyncio.sleep(0)


def _request(name: str, dice: random.Random) -> tuple[str, dict[str, Any]]:
    code = zip_of(dice.choice("123"))
    number = str(dice.randint(1, 5))
    operation, members = dice.choice(
        [
            (
                "CreateFunction",
                {
                    "Role": ROLE,
                    "Runtime": "python3.12",
                    "Handler": "a.b",
                    "Code": {"ZipFile": code},
                    "Publish": dice.random() < 0.5,
                },
            ),
            ("UpdateFunctionCode", {"ZipFile": code, "Publish": dice.random() < 0.5}),
            (
                "UpdateFunctionConfiguration",
                {"Timeout": dice.randint(1, 9), "RevisionId": dice.choice([None, "stale"])},
            ),
            ("PublishVersion", {}),
            ("CreateAlias", {"Name": "live", "FunctionVersion": number}),
            ("UpdateAlias", {"Name": "live", "FunctionVersion": number}),
            ("DeleteAlias", {"Name": "live"}),
            ("PutFunctionConcurrency", {"ReservedConcurrentExecutions": dice.randint(0, 400)}),
            ("DeleteFunction", {"Qualifier": number} if dice.random() < 0.9 else {}),
        ]
    )
    return operation, {"FunctionName": name, **members}


async def stored_functions(world: World) -> list[FunctionRecord]:
    return [decode_function(entry.value) for entry in await world.store.scan("function/")]


@pytest.mark.parametrize("seed", range(5))
async def test_the_books_agree_with_the_store_after_any_history(seed: int) -> None:
    dice = random.Random(seed)
    world = World()
    async with world.running():
        await asyncio.gather(*(client(world, random.Random(dice.random())) for _ in range(16)))
        await world.settled()
        usage = await world.call("GetAccountSettings")
        named: set[str] = set()
        for record in await stored_functions(world):
            assert record.latest.state is State.ACTIVE
            assert record.latest.last_update_status is UpdateStatus.SUCCESSFUL
            assert record.serving is None
            named.add(record.latest.code_blob)
            for number in record.versions:
                entry = await world.store.get(version_key(CALLER.account, CALLER.region, record.latest.name, number))
                assert entry is not None
                version = decode_version(entry.value)
                assert (version.state, version.version) == (State.ACTIVE, str(number))
                named.add(version.code_blob)
            for alias in record.aliases.values():
                assert int(alias.function_version) in record.versions
        assert set(world.blobs.kept) == named
        reserved = (
            usage["AccountLimit"]["ConcurrentExecutions"] - usage["AccountLimit"]["UnreservedConcurrentExecutions"]
        )
        assert reserved <= 900
    async with world.running():
        assert await world.call("GetAccountSettings") == usage


async def test_a_record_that_cannot_be_read_is_named_at_the_start() -> None:
    world = World()
    async with world.running():
        await world.created()
    (entry,) = await world.store.scan("function/")
    await world.store.put(entry.key, encode(decode_function(entry.value)).replace(b'"Active"', b'"Dreaming"'))
    with pytest.raises(PlatformError, match="A stored function cannot be read: Invalid enum value 'Dreaming'"):
        async with world.running():
            pass
