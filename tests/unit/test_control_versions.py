"""Versions and aliases (reference/api.md §4, §5; invocation.md §4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from control_world import ARN, World, zip_of

from lambent.model.errors import (
    ApiError,
    InvalidParameterValue,
    PreconditionFailed,
    ResourceConflict,
    ResourceNotFound,
)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World().running() as running:
        yield running


async def refusal(world: World, kind: type[ApiError], operation: str, **members: Any) -> str:
    with pytest.raises(kind) as refused:
        await world.call(operation, FunctionName="f", **members)
    assert refused.value.message is not None
    return refused.value.message


async def publish(world: World, **members: Any) -> Any:
    return await world.call("PublishVersion", FunctionName="f", **members)


async def change(world: World, **members: Any) -> None:
    await world.call("UpdateFunctionConfiguration", FunctionName="f", **members)
    await world.settled()


async def test_a_plain_publish_is_active_at_once_and_renews_the_revision_of_latest(world: World) -> None:
    before = await world.created(Description="d")
    answer = await publish(world)
    assert (answer["Version"], answer["FunctionArn"], answer["Description"]) == ("1", f"{ARN}:1", "d")
    assert (answer["State"], answer["LastUpdateStatus"]) == ("Active", "Successful")
    after = await world.call("GetFunctionConfiguration", FunctionName="f")
    assert len({before["RevisionId"], after["RevisionId"], answer["RevisionId"]}) == 3


async def test_numbers_grow_and_are_never_used_again(world: World) -> None:
    await world.created()
    assert (await publish(world))["Version"] == "1"
    await change(world, Timeout=4)
    assert (await publish(world, Description="two"))["Version"] == "2"
    await world.call("DeleteFunction", FunctionName="f", Qualifier="2")
    assert (await publish(world))["Version"] == "3"


async def test_publishing_without_a_change_answers_the_version_there_is(world: World) -> None:
    await world.created()
    first = await publish(world, Description="one")
    assert await publish(world, Description="ignored") == first
    await change(world, Timeout=4)
    await change(world, Timeout=3)
    assert await publish(world) == first
    await change(world, Description="another")
    assert (await publish(world))["Version"] == "2"


async def test_new_code_is_a_change_and_the_version_keeps_the_old_one(world: World) -> None:
    await world.created()
    first = await publish(world)
    await world.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("2"))
    await world.settled()
    second = await publish(world)
    assert second["Version"] == "2"
    assert await world.call("GetFunctionConfiguration", FunctionName="f:1") == first
    assert len(world.blobs.kept) == 2


async def test_the_code_that_was_meant_is_checked(world: World) -> None:
    sha256 = (await world.created())["CodeSha256"]
    assert await refusal(world, InvalidParameterValue, "PublishVersion", CodeSha256="other") == (
        f"CodeSHA256 (other) is different from current CodeSHA256 in $LATEST ({sha256}). "
        "Please try again with the CodeSHA256 in $LATEST."
    )
    await publish(world, CodeSha256=sha256)


async def test_versions_are_listed_behind_latest_in_order_and_in_pages(world: World) -> None:
    await world.created()
    for timeout in range(4, 16):
        await change(world, Timeout=timeout)
        await publish(world)
    seen: list[str] = []
    marker: dict[str, str] = {}
    while True:
        page = await world.call("ListVersionsByFunction", FunctionName="f", MaxItems=5, **marker)
        assert len(page["Versions"]) <= 5
        seen += [version["FunctionArn"] for version in page["Versions"]]
        if "NextMarker" not in page:
            break
        marker = {"Marker": page["NextMarker"]}
    assert seen == [f"{ARN}:{name}" for name in ("$LATEST", *range(1, 13))]
    assert "State" not in page["Versions"][0]


@pytest.mark.parametrize("operation", ["PublishVersion", "ListVersionsByFunction", "ListAliases"])
async def test_an_unknown_function_has_no_versions_and_no_aliases(world: World, operation: str) -> None:
    assert await refusal(world, ResourceNotFound, operation) == f"Function not found: {ARN}"


async def two_versions(world: World) -> None:
    await world.created(Publish=True)
    await change(world, Timeout=9)
    await publish(world)


async def test_an_alias_is_created_read_updated_and_deleted(world: World) -> None:
    await two_versions(world)
    created = await world.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1", Description="d")
    assert created == {
        "AliasArn": f"{ARN}:live",
        "Name": "live",
        "FunctionVersion": "1",
        "Description": "d",
        "RevisionId": created["RevisionId"],
    }
    assert await world.call("GetAlias", FunctionName="f", Name="live") == created
    weights = {"AdditionalVersionWeights": {"1": 0.25}}
    updated = await world.call("UpdateAlias", FunctionName="f", Name="live", FunctionVersion="2", RoutingConfig=weights)
    assert (updated["FunctionVersion"], updated["RoutingConfig"], updated["Description"]) == ("2", weights, "d")
    assert updated["RevisionId"] != created["RevisionId"]
    kept = await world.call("UpdateAlias", FunctionName="f", Name="live", Description="")
    assert (kept["RoutingConfig"], kept["Description"]) == (weights, "")
    cleared = await world.call(
        "UpdateAlias", FunctionName="f", Name="live", RoutingConfig={"AdditionalVersionWeights": {}}
    )
    assert "RoutingConfig" not in cleared
    assert await world.call("DeleteAlias", FunctionName="f", Name="live") == {}
    assert await world.call("DeleteAlias", FunctionName="f", Name="live") == {}
    assert await refusal(world, ResourceNotFound, "GetAlias", Name="live") == f"Cannot find alias arn: {ARN}:live"


async def test_aliases_are_listed_by_name_by_version_and_in_pages(world: World) -> None:
    await two_versions(world)
    for name, version in (("c", "1"), ("a", "2"), ("b", "1")):
        await world.call("CreateAlias", FunctionName="f", Name=name, FunctionVersion=version)
    page = await world.call("ListAliases", FunctionName="f", MaxItems=2)
    assert [alias["Name"] for alias in page["Aliases"]] == ["a", "b"]
    rest = await world.call("ListAliases", FunctionName="f", MaxItems=2, Marker=page["NextMarker"])
    assert [alias["Name"] for alias in rest["Aliases"]] == ["c"]
    assert "NextMarker" not in rest
    of_one = await world.call("ListAliases", FunctionName="f", FunctionVersion="1")
    assert [alias["Name"] for alias in of_one["Aliases"]] == ["b", "c"]


async def test_bad_aliases_are_refused_in_awss_words(world: World) -> None:
    await two_versions(world)
    await world.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="$LATEST")

    async def create_refusal(kind: type[ApiError], name: str, version: str, **weights: float) -> str:
        routing = {"AdditionalVersionWeights": {number.strip("v"): weight for number, weight in weights.items()}}
        return await refusal(world, kind, "CreateAlias", Name=name, FunctionVersion=version, RoutingConfig=routing)

    assert await create_refusal(ResourceConflict, "live", "1") == f"Alias already exists: {ARN}:live"
    assert await create_refusal(ResourceNotFound, "a", "3") == f"Function not found: {ARN}:3"
    assert await create_refusal(ResourceNotFound, "a", "1", v3=0.1) == f"Function not found: {ARN}:3"
    assert await create_refusal(InvalidParameterValue, "a", "1", v1=0.1, v2=0.1) == (
        "Number of items in AdditionalVersionWeights cannot be greater than 1"
    )
    assert await create_refusal(InvalidParameterValue, "a", "$LATEST", v1=0.1) == (
        "$LATEST is not supported for an alias pointing to more than 1 version"
    )
    assert await create_refusal(InvalidParameterValue, "a", "1", v1=0.1) == (
        "Invalid function version 1. Function version 1 is already included in routing configuration."
    )
    assert await refusal(world, ResourceNotFound, "UpdateAlias", Name="x") == f"Alias not found: {ARN}:x"
    assert await refusal(world, PreconditionFailed, "UpdateAlias", Name="live", RevisionId="old") == (
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve "
        "the latest Revision Id"
    )


async def test_two_versions_of_different_roles_cannot_share_an_alias(world: World) -> None:
    await world.created(Publish=True)
    await change(world, Role="arn:aws:iam::000000000000:role/other")
    await publish(world)
    message = await refusal(
        world,
        InvalidParameterValue,
        "CreateAlias",
        Name="a",
        FunctionVersion="1",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}},
    )
    assert message == "Function versions 1 and 2 of an alias must have the same Role."


async def test_two_versions_of_different_dead_letter_targets_cannot_share_an_alias(world: World) -> None:
    await world.created(Publish=True)
    await change(world, DeadLetterConfig={"TargetArn": "arn:aws:sqs:eu-west-1:000000000000:q"})
    await publish(world)
    weights = {"AdditionalVersionWeights": {"2": 0.5}}
    message = await refusal(
        world, InvalidParameterValue, "CreateAlias", Name="a", FunctionVersion="1", RoutingConfig=weights
    )
    assert message == "Function versions 1 and 2 of an alias must have the same DeadLetterConfig."
