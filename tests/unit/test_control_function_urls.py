"""Function URL configs: what is kept, answered and refused (reference/invocation.md §6.1)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from control_world import ARN, CALLER, World

from lambent.invoke.every_function import every_function
from lambent.invoke.urls import UrlDirectory
from lambent.model.errors import ApiError, InvalidParameterValue, ResourceConflict, ResourceNotFound


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World().running() as running:
        await running.created()
        yield running


@pytest.fixture
async def aliased(world: World) -> World:
    await world.call("PublishVersion", FunctionName="f")
    await world.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    return world


async def create(world: World, **members: Any) -> Any:
    return await world.call("CreateFunctionUrlConfig", FunctionName="f", **{"AuthType": "NONE", **members})


async def refusal(world: World, kind: type[ApiError], operation: str, **members: Any) -> str:
    with pytest.raises(kind) as refused:
        await world.call(operation, **{"FunctionName": "f", **members})
    assert refused.value.message is not None
    return refused.value.message


async def test_a_new_url_says_what_was_said_and_no_more(world: World) -> None:
    answer = await create(world)

    assert re.fullmatch(r"http://[a-z0-9]{32}\.lambda-url\.eu-west-1\.localhost:9400/", answer.pop("FunctionUrl"))
    assert answer == {"FunctionArn": ARN, "AuthType": "NONE", "CreationTime": "2024-01-01T00:00:00.000+0000"}
    assert (await world.call("GetFunctionUrlConfig", FunctionName="f"))["InvokeMode"] == "BUFFERED"


async def test_everything_said_is_shown(world: World) -> None:
    cors = {
        "AllowCredentials": True,
        "AllowHeaders": ("x-a", "x-b"),
        "AllowMethods": ("GET", "POST"),
        "AllowOrigins": ("https://example.com",),
        "ExposeHeaders": ("x-c",),
        "MaxAge": 60,
    }
    created = await create(world, AuthType="AWS_IAM", InvokeMode="RESPONSE_STREAM", Cors=cors)
    found = await world.call("GetFunctionUrlConfig", FunctionName="f")

    assert created["InvokeMode"] == "RESPONSE_STREAM"
    assert created["Cors"] == cors
    assert found == {**created, "LastModifiedTime": created["CreationTime"]}


async def test_an_update_keeps_what_it_does_not_mention(world: World) -> None:
    created = await create(world, Cors={"MaxAge": 5}, InvokeMode="RESPONSE_STREAM")
    world.time += 1

    updated = await world.call("UpdateFunctionUrlConfig", FunctionName="f", AuthType="AWS_IAM")
    assert updated["FunctionUrl"] == created["FunctionUrl"]
    assert (updated["AuthType"], updated["Cors"], updated["InvokeMode"]) == (
        "AWS_IAM",
        {"MaxAge": 5},
        "RESPONSE_STREAM",
    )
    assert updated["LastModifiedTime"] > updated["CreationTime"] == created["CreationTime"]

    assert "Cors" not in await world.call("UpdateFunctionUrlConfig", FunctionName="f", Cors={})


async def test_a_url_that_is_deleted_does_not_come_back(world: World) -> None:
    first = await create(world)
    assert await world.call("DeleteFunctionUrlConfig", FunctionName="f") == {}
    second = await create(world)

    assert first["FunctionUrl"] != second["FunctionUrl"]


async def test_a_function_and_its_aliases_have_a_url_each(aliased: World) -> None:
    own = await create(aliased)
    of_alias = await create(aliased, Qualifier="live")

    assert of_alias["FunctionArn"] == f"{ARN}:live"
    listed = await aliased.call("ListFunctionUrlConfigs", FunctionName="f")
    assert [one["FunctionUrl"] for one in listed["FunctionUrlConfigs"]] == [own["FunctionUrl"], of_alias["FunctionUrl"]]
    first = await aliased.call("ListFunctionUrlConfigs", FunctionName="f", MaxItems=1)
    rest = await aliased.call("ListFunctionUrlConfigs", FunctionName="f", Marker=first["NextMarker"])
    assert [one["FunctionArn"] for one in rest["FunctionUrlConfigs"]] == [f"{ARN}:live"]

    await aliased.call("DeleteFunctionUrlConfig", FunctionName="f")
    assert await aliased.call("GetFunctionUrlConfig", FunctionName="f:live") == {
        **of_alias,
        "InvokeMode": "BUFFERED",
        "LastModifiedTime": of_alias["CreationTime"],
    }


async def test_the_url_of_an_alias_goes_with_it(aliased: World) -> None:
    await create(aliased, Qualifier="live")
    await aliased.call("DeleteAlias", FunctionName="f", Name="live")

    assert await aliased.call("ListFunctionUrlConfigs", FunctionName="f") == {"FunctionUrlConfigs": []}


async def test_what_aws_refuses_is_refused_in_its_words(world: World) -> None:
    missing = "The resource you requested does not exist."

    assert await refusal(world, ResourceNotFound, "GetFunctionUrlConfig") == missing
    assert await refusal(world, ResourceNotFound, "UpdateFunctionUrlConfig", AuthType="NONE") == missing
    assert await refusal(world, ResourceNotFound, "DeleteFunctionUrlConfig") == missing
    assert await refusal(world, ResourceNotFound, "GetFunctionUrlConfig", FunctionName="g") == missing
    nobody = {"FunctionName": "g", "AuthType": "NONE"}
    assert await refusal(world, ResourceNotFound, "CreateFunctionUrlConfig", **nobody) == "Function does not exist"
    assert await refusal(world, ResourceNotFound, "ListFunctionUrlConfigs", FunctionName="g") == (
        "Function does not exist"
    )
    absent = {"AuthType": "NONE", "Qualifier": "nobody"}
    assert await refusal(world, ResourceNotFound, "CreateFunctionUrlConfig", **absent) == (
        f"Cannot find alias arn: {ARN}:nobody"
    )
    await create(world)
    assert await refusal(world, ResourceConflict, "CreateFunctionUrlConfig", AuthType="NONE") == (
        f"Failed to create function url config for [functionArn = {ARN}]. Error message:  FunctionUrlConfig exists "
        "for this Lambda function"
    )
    assert "FETCH" in await refusal(
        world, InvalidParameterValue, "UpdateFunctionUrlConfig", Cors={"AllowMethods": ("FETCH",)}
    )


async def test_a_url_leads_to_where_the_caller_found_the_server(world: World) -> None:
    created = await create(world)
    url_id = created["FunctionUrl"].removeprefix("http://").partition(".")[0]
    elsewhere = replace(CALLER, base_url="http://lambda.example.com:9400")

    found = await world.call("GetFunctionUrlConfig", elsewhere, FunctionName="f")
    assert found["FunctionUrl"] == f"http://lambda.example.com:9400/_lambent/url/{url_id}/"


async def test_the_directory_knows_of_every_change_at_once(aliased: World) -> None:
    directory = UrlDirectory(aliased.store)
    aliased.store.watch("function/", directory.forget)
    created = await create(aliased, Qualifier="live")
    url_id = created["FunctionUrl"].removeprefix("http://").partition(".")[0]

    found = await directory.find(url_id)
    assert found is not None
    assert (str(found.function), found.policy) == (f"{ARN}:live", None)

    statement = {"StatementId": "s", "Action": "lambda:InvokeFunctionUrl", "Principal": "*"}
    await aliased.call("AddPermission", FunctionName="f", Qualifier="live", **statement)
    found = await directory.find(url_id)
    assert found is not None
    assert "lambda:InvokeFunctionUrl" in str(found.policy)

    restarted = UrlDirectory(aliased.store)
    async for record in every_function(aliased.store):
        restarted.begin(record)
    assert await restarted.find(url_id) == found

    await aliased.call("DeleteFunctionUrlConfig", FunctionName="f", Qualifier="live")
    assert await directory.find(url_id) is None
