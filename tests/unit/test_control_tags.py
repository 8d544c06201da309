"""Tags of functions (reference/api.md §7)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from control_world import ARN, CALLER, World

from lambent.model.errors import AccessDenied, ApiError, InvalidParameterValue, ResourceNotFound


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World().running() as running:
        await running.created(Tags={"team": "a"})
        yield running


async def refusal(world: World, kind: type[ApiError], operation: str, **members: Any) -> str:
    with pytest.raises(kind) as refused:
        await world.call(operation, **members)
    assert refused.value.message is not None
    return refused.value.message


async def tags(world: World) -> Any:
    return (await world.call("ListTags", Resource=ARN))["Tags"]


async def test_tags_are_added_replaced_and_taken_away(world: World) -> None:
    assert await tags(world) == {"team": "a"}
    assert await world.call("TagResource", Resource=ARN, Tags={"team": "b", "stage": ""}) == {}
    assert await tags(world) == {"team": "b", "stage": ""}
    assert (await world.call("GetFunction", FunctionName="f"))["Tags"] == {"team": "b", "stage": ""}
    assert await world.call("UntagResource", Resource=ARN, TagKeys=["team", "stage", "unknown"]) == {}
    assert await tags(world) == {}


async def test_tags_do_not_renew_the_revision(world: World) -> None:
    before = await world.call("GetFunctionConfiguration", FunctionName="f")
    await world.call("TagResource", Resource=ARN, Tags={"a": "b"})
    assert await world.call("GetFunctionConfiguration", FunctionName="f") == before


async def test_a_function_has_fifty_tags_at_most(world: World) -> None:
    await world.call("TagResource", Resource=ARN, Tags={str(number): "" for number in range(49)})
    assert await refusal(world, InvalidParameterValue, "TagResource", Resource=ARN, Tags={"one": "more"}) == (
        "Number of tags exceeds resource tag limit."
    )
    await world.call("TagResource", Resource=ARN, Tags={"team": "replaced"})
    assert len(await tags(world)) == 50


@pytest.mark.parametrize(
    ("operation", "members"),
    [("TagResource", {"Tags": {"a": "b"}}), ("UntagResource", {"TagKeys": ["a"]}), ("ListTags", {})],
)
async def test_only_whole_functions_of_the_caller_have_tags(
    world: World, operation: str, members: dict[str, Any]
) -> None:
    assert await refusal(world, InvalidParameterValue, operation, Resource=f"{ARN}:1", **members) == (
        "Tags on function aliases and versions are not supported. Please specify a function ARN."
    )
    assert await refusal(world, ResourceNotFound, operation, Resource=f"{ARN}x", **members) == (
        f"Function not found: {ARN}x"
    )
    provider = ARN.replace("function:f", "capacity-provider:p")
    assert await refusal(world, ResourceNotFound, operation, Resource=provider, **members) == (
        "The resource you requested does not exist."
    )
    with pytest.raises(AccessDenied):
        await world.call(operation, replace(CALLER, account="1" * 12), Resource=ARN, **members)
