"""Provisioned concurrency configs: what is accepted, what is refused in AWS's words, and what is told of them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from control_world import ARN, World

from lambent.control.provisioned import ProvisionedConcurrencyConfigNotFound
from lambent.model.arn import FunctionArn
from lambent.model.errors import InvalidParameterValue, ResourceConflict, ResourceNotFound
from lambent.model.provisioned import Allocation


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A function with the versions 1 and 2 and the alias `live` of 1, in an account of 300."""
    async with World().running(concurrency=300) as world:
        await world.created()
        for number in "12":
            await world.call("UpdateFunctionConfiguration", FunctionName="f", Description=number)
            await world.settled()
            await world.call("PublishVersion", FunctionName="f")
        await world.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
        yield world


async def put(world: World, qualifier: str, count: int, name: str = "f") -> Any:
    return await world.call(
        "PutProvisionedConcurrencyConfig",
        FunctionName=name,
        Qualifier=qualifier,
        ProvisionedConcurrentExecutions=count,
    )


async def get(world: World, qualifier: str) -> Any:
    return await world.call("GetProvisionedConcurrencyConfig", FunctionName="f", Qualifier=qualifier)


async def test_what_was_just_asked_for_is_in_progress(world: World) -> None:
    answer = await put(world, "live", 5)

    assert answer == {
        "RequestedProvisionedConcurrentExecutions": 5,
        "AvailableProvisionedConcurrentExecutions": 0,
        "AllocatedProvisionedConcurrentExecutions": 0,
        "Status": "IN_PROGRESS",
        "LastModified": "2024-01-01T00:00:00+0000",
    }
    assert await get(world, "live") == answer


@pytest.mark.parametrize(
    ("allocation", "told"),
    [
        (Allocation(allocated=5, available=3), (5, 3, "IN_PROGRESS", None)),
        (Allocation(allocated=5, available=5), (5, 5, "READY", None)),
        (Allocation(allocated=7, available=6, failure="earlier"), (5, 5, "READY", None)),
        (Allocation(allocated=4, available=3, failure="no memory"), (4, 3, "FAILED", "no memory")),
    ],
)
async def test_how_far_it_has_come_is_told(allocation: Allocation, told: tuple[object, ...]) -> None:
    asked: list[FunctionArn] = []

    def allocation_of(function: FunctionArn) -> Allocation:
        asked.append(function)
        return allocation

    async with World().running(allocation=allocation_of) as world:
        await world.created()
        await world.call("PublishVersion", FunctionName="f")
        await put(world, "1", 5)
        found = await get(world, "1")

    assert asked == [FunctionArn("eu-west-1", "000000000000", "f", "1")]
    keys = ("AllocatedProvisionedConcurrentExecutions", "AvailableProvisionedConcurrentExecutions")
    assert (*(found[key] for key in keys), found["Status"], found.get("StatusReason")) == told


@pytest.mark.parametrize(
    ("qualifier", "kind", "text"),
    [
        ("$LATEST", InvalidParameterValue, "Provisioned Concurrency Configs cannot be applied to unpublished function"),
        ("latest", InvalidParameterValue, "Provisioned Concurrency Configs cannot be applied to unpublished function"),
        ("9", ResourceNotFound, f"Function not found: {ARN}:9"),
        ("nobody", ResourceNotFound, f"Cannot find alias arn: {ARN}:nobody"),
    ],
)
async def test_only_published_versions_and_their_aliases_can_be_provisioned(
    world: World, qualifier: str, kind: type[Exception], text: str
) -> None:
    await world.call("CreateAlias", FunctionName="f", Name="latest", FunctionVersion="$LATEST")

    with pytest.raises(kind, match=re.escape(text)):
        await put(world, qualifier, 1)


async def test_what_is_not_provisioned_is_not_found(world: World) -> None:
    with pytest.raises(ProvisionedConcurrencyConfigNotFound, match="No Provisioned Concurrency Config found"):
        await get(world, "live")
    with pytest.raises(InvalidParameterValue, match="must be an alias or a published version"):
        await get(world, "$LATEST")
    with pytest.raises(ResourceNotFound, match="Cannot find alias arn"):
        await get(world, "nobody")


async def test_a_version_is_provisioned_under_one_name(world: World) -> None:
    await put(world, "1", 1)
    with pytest.raises(ResourceConflict, match=r"Alias can't be used for .* on an already Provisioned version"):
        await put(world, "live", 1)
    await world.call("DeleteProvisionedConcurrencyConfig", FunctionName="f", Qualifier="1")
    await put(world, "live", 1)
    with pytest.raises(ResourceConflict, match="Version is pointed by a Provisioned Concurrency alias"):
        await put(world, "1", 1)
    await put(world, "2", 1)
    with pytest.raises(ResourceConflict, match="already Provisioned version"):
        await world.call("UpdateAlias", FunctionName="f", Name="live", FunctionVersion="2")
    with pytest.raises(InvalidParameterValue, match="unpublished function versions"):
        await world.call("UpdateAlias", FunctionName="f", Name="live", FunctionVersion="$LATEST")


async def test_it_fits_into_the_functions_reservation(world: World) -> None:
    await world.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=10)
    await put(world, "live", 6)
    text = "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    with pytest.raises(InvalidParameterValue, match=text):
        await put(world, "2", 5)
    await put(world, "2", 4)
    await put(world, "live", 5)

    with pytest.raises(InvalidParameterValue) as refusal:
        await world.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=8)

    assert refusal.value.message == (
        " ReservedConcurrentExecutions  8 should not be lower than function's total provisioned concurrency [9]."
    )
    await world.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=9)


async def test_it_leaves_the_account_what_nobody_may_take(world: World) -> None:
    with pytest.raises(InvalidParameterValue, match=r"is greater than account's unreserved concurrency \[300\]"):
        await put(world, "live", 301)
    with pytest.raises(InvalidParameterValue, match=r"below its minimum value of \[100\]"):
        await put(world, "live", 201)
    await put(world, "live", 150)
    with pytest.raises(InvalidParameterValue, match=r"unreserved concurrency \[150\]"):
        await put(world, "2", 151)
    with pytest.raises(InvalidParameterValue, match=r"below its minimum value of \[100\]"):
        await put(world, "2", 51)
    await put(world, "2", 50)
    await put(world, "live", 140)

    await world.created("g")
    with pytest.raises(InvalidParameterValue, match=r"below its minimum value of \[100\]"):
        await world.call("PutFunctionConcurrency", FunctionName="g", ReservedConcurrentExecutions=11)
    await world.call("PutFunctionConcurrency", FunctionName="g", ReservedConcurrentExecutions=10)
    await world.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=190)


async def test_configs_are_listed_page_by_page(world: World) -> None:
    await put(world, "2", 1)
    await put(world, "live", 2)

    first = await world.call("ListProvisionedConcurrencyConfigs", FunctionName="f", MaxItems=1)
    second = await world.call(
        "ListProvisionedConcurrencyConfigs", FunctionName="f", MaxItems=1, Marker=first["NextMarker"]
    )

    listed = first["ProvisionedConcurrencyConfigs"] + second["ProvisionedConcurrencyConfigs"]
    assert [(one["FunctionArn"], one["RequestedProvisionedConcurrentExecutions"]) for one in listed] == [
        (f"{ARN}:2", 1),
        (f"{ARN}:live", 2),
    ]
    assert "NextMarker" not in second


async def test_what_it_was_for_takes_it_along(world: World) -> None:
    await put(world, "2", 1)
    await put(world, "live", 2)
    await world.call("DeleteAlias", FunctionName="f", Name="live")
    await world.call("DeleteFunction", FunctionName="f", Qualifier="2")

    listed = await world.call("ListProvisionedConcurrencyConfigs", FunctionName="f")
    assert listed["ProvisionedConcurrencyConfigs"] == []
    await world.call("DeleteProvisionedConcurrencyConfig", FunctionName="f", Qualifier="1")
