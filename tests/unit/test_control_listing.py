"""Pages of functions stay right while functions come and go (reference/api.md §9)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from control_world import CALLER, World
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.model.errors import InvalidParameterValue

NAMES = st.sampled_from([f"{letter}{number}" for letter in "aB_-" for number in range(6)])


async def plant(world: World, names: Sequence[str]) -> None:
    for name in names:
        await world.create(name)
    await world.settled()


async def page(world: World, **members: Any) -> tuple[list[str], str | None]:
    answer = await world.call("ListFunctions", **members)
    return [one["FunctionName"] for one in answer["Functions"]], answer.get("NextMarker")


@given(
    first=st.sets(NAMES, min_size=1),
    changes=st.lists(st.tuples(st.booleans(), NAMES), max_size=12),
    size=st.integers(1, 5),
    function_version=st.sampled_from([None, "ALL"]),
)
@settings(max_examples=60, deadline=None)
def test_what_is_there_all_along_is_listed_once(
    first: set[str], changes: list[tuple[bool, str]], size: int, function_version: str | None
) -> None:
    async def story() -> None:
        async with World().running() as world:
            await plant(world, sorted(first))
            lasting, there, seen = set(first), set(first), []
            members: dict[str, Any] = {"MaxItems": size}
            if function_version:
                members["FunctionVersion"] = function_version
            waiting = list(changes)
            while True:
                names, marker = await page(world, **members)
                assert len(names) <= size
                seen += names
                if marker is None:
                    break
                members["Marker"] = marker
                for is_added, name in waiting[:2]:
                    if is_added and name not in there:
                        await plant(world, [name])
                        there.add(name)
                    elif not is_added and name in there:
                        await world.call("DeleteFunction", FunctionName=name)
                        there.discard(name)
                        lasting.discard(name)
                del waiting[:2]
            assert len(seen) == len(set(seen)) == len(lasting & set(seen)) + len(set(seen) - lasting)
            assert lasting <= set(seen) <= first | {name for is_added, name in changes if is_added}
            assert seen == sorted(seen)

    asyncio.run(story())


async def test_all_versions_are_listed_behind_their_functions_latest() -> None:
    async with World().running() as world:
        for name in "ba":
            await world.created(name, Publish=True)
            await world.call("UpdateFunctionConfiguration", FunctionName=name, Timeout=9)
            await world.settled()
            await world.call("PublishVersion", FunctionName=name)
        seen: list[str] = []
        members: dict[str, Any] = {"FunctionVersion": "ALL", "MaxItems": 1}
        while True:
            answer = await world.call("ListFunctions", **members)
            (one,) = answer["Functions"]
            seen.append(one["FunctionArn"].partition(":function:")[2])
            if "NextMarker" not in answer:
                break
            members["Marker"] = answer["NextMarker"]
        assert seen == [f"{name}:{version}" for name in "ab" for version in ("$LATEST", "1", "2")]


async def test_a_page_holds_fifty_whatever_is_asked_for() -> None:
    async with World().running() as world:
        await plant(world, [f"f{number:02}" for number in range(51)])
        names, marker = await page(world, MaxItems=10_000)
        assert (len(names), marker is not None) == (50, True)
        assert (await page(world, Marker=marker))[0] == ["f50"]


async def test_replicas_at_the_edge_are_asked_for_with_all_versions_and_there_are_none() -> None:
    async with World().running() as world:
        await plant(world, ["f"])
        assert await page(world, MasterRegion="ALL", FunctionVersion="ALL") == ([], None)
        with pytest.raises(InvalidParameterValue, match="FunctionVersion"):
            await page(world, MasterRegion="us-east-1")


@pytest.mark.parametrize("marker", ["ä", "!", "a", "/w=="])
async def test_a_marker_of_ones_own_making_is_refused(marker: str) -> None:
    async with World().running() as world:
        with pytest.raises(InvalidParameterValue, match=r"^The Marker is not one"):
            await world.call("ListFunctions", CALLER, Marker=marker)
