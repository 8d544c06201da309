"""Code signing configurations, and what they allow to be deployed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from control_world import ARN, CALLER, World, zip_of

from lambent.control.code_signing import UNSIGNED
from lambent.model.errors import (
    CodeSigningConfigNotFound,
    CodeVerificationFailed,
    InvalidParameterValue,
    ResourceConflict,
    ResourceNotFound,
)

PUBLISHERS = {"SigningProfileVersionArns": ["arn:aws:signer:eu-west-1:000000000000:/signing-profiles/p/v"]}
ABSENT = "arn:aws:lambda:eu-west-1:000000000000:code-signing-config:csc-00000000000000000"
NOT_TRUSTED = (
    "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is not "
    "configured to accept. Check the provided signature for unsigned."
)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World().running() as running:
        yield running


async def config(world: World, policy: str | None = None, **members: Any) -> Any:
    policies = {"CodeSigningPolicies": {"UntrustedArtifactOnDeployment": policy}} if policy else {}
    answer = await world.call("CreateCodeSigningConfig", AllowedPublishers=PUBLISHERS, **policies, **members)
    return answer["CodeSigningConfig"]


async def test_a_config_warns_unless_it_is_to_enforce(world: World) -> None:
    created = await config(world, Description="d")
    assert created == {
        "CodeSigningConfigId": created["CodeSigningConfigArn"].rpartition(":")[2],
        "CodeSigningConfigArn": created["CodeSigningConfigArn"],
        "Description": "d",
        "AllowedPublishers": PUBLISHERS,
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Warn"},
        "LastModified": "2024-01-01T00:00:00.000+0000",
    }
    arn = created["CodeSigningConfigArn"]
    assert await world.call("GetCodeSigningConfig", CodeSigningConfigArn=arn) == {"CodeSigningConfig": created}


async def test_an_update_changes_what_it_mentions(world: World) -> None:
    created = await config(world, "Enforce", Description="d")
    arn = created["CodeSigningConfigArn"]
    world.time += 1
    updated = await world.call("UpdateCodeSigningConfig", CodeSigningConfigArn=arn, Description="e")
    assert updated["CodeSigningConfig"] == {
        **created,
        "Description": "e",
        "LastModified": "2024-01-01T00:00:01.000+0000",
    }


@pytest.mark.parametrize(
    "operation",
    ["GetCodeSigningConfig", "UpdateCodeSigningConfig", "DeleteCodeSigningConfig", "ListFunctionsByCodeSigningConfig"],
)
async def test_a_config_that_is_not_there_is_not_found(world: World, operation: str) -> None:
    for arn in (ABSENT, (await config(world))["CodeSigningConfigArn"].replace("eu-west-1", "us-east-1")):
        with pytest.raises(ResourceNotFound) as refused:
            await world.call(operation, CodeSigningConfigArn=arn)
        assert refused.value.message == f"The Lambda code signing configuration {arn} can not be found."


async def test_nothing_is_deployed_where_signatures_are_enforced(world: World) -> None:
    arn = (await config(world, "Enforce"))["CodeSigningConfigArn"]
    with pytest.raises(CodeVerificationFailed) as refused:
        await world.create(CodeSigningConfigArn=arn)
    assert refused.value.message == NOT_TRUSTED
    await world.created()
    await world.call("PutFunctionCodeSigningConfig", FunctionName="f", CodeSigningConfigArn=arn)
    for is_dry_run in (True, False):
        with pytest.raises(CodeVerificationFailed):
            await world.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("2"), DryRun=is_dry_run)
    await world.call("UpdateFunctionConfiguration", FunctionName="f", MemorySize=256)
    await world.settled()
    with pytest.raises(CodeVerificationFailed):
        await world.call(
            "UpdateFunctionConfiguration", FunctionName="f", Layers=[f"{ARN}:1".replace("function", "layer")]
        )


async def test_a_deployment_is_warned_of_where_the_policy_is_to_warn(world: World) -> None:
    arn = (await config(world))["CodeSigningConfigArn"]
    created = await world.create(CodeSigningConfigArn=arn)
    assert created["_Warning"] == UNSIGNED
    await world.settled()
    updated = await world.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("2"))
    assert updated["_Warning"] == UNSIGNED
    found = await world.call("GetFunctionCodeSigningConfig", FunctionName="f")
    assert found == {"CodeSigningConfigArn": arn, "FunctionName": "f"}


async def test_a_function_cannot_be_given_a_config_that_is_not_there(world: World) -> None:
    message = (
        "The code signing configuration cannot be found. Check that the provided configuration is not deleted: "
        f"{ABSENT}."
    )
    with pytest.raises(CodeSigningConfigNotFound) as refused:
        await world.create(CodeSigningConfigArn=ABSENT)
    assert refused.value.message == message
    await world.created()
    with pytest.raises(CodeSigningConfigNotFound) as refused:
        await world.call("PutFunctionCodeSigningConfig", FunctionName="f", CodeSigningConfigArn=ABSENT)
    assert refused.value.message == message


async def test_the_function_must_exist(world: World) -> None:
    arn = (await config(world))["CodeSigningConfigArn"]
    for operation, members in (
        ("PutFunctionCodeSigningConfig", {"CodeSigningConfigArn": arn}),
        ("GetFunctionCodeSigningConfig", {}),
        ("DeleteFunctionCodeSigningConfig", {}),
    ):
        with pytest.raises(ResourceNotFound) as refused:
            await world.call(operation, FunctionName="f", **members)
        assert refused.value.message == f"Function not found: {ARN}"


async def test_a_config_in_use_is_not_deleted(world: World) -> None:
    arn = (await config(world))["CodeSigningConfigArn"]
    await world.created()
    await world.call("PutFunctionCodeSigningConfig", FunctionName="f", CodeSigningConfigArn=arn)
    with pytest.raises(ResourceConflict, match=f"is used by {ARN} and cannot be deleted"):
        await world.call("DeleteCodeSigningConfig", CodeSigningConfigArn=arn)
    assert await world.call("DeleteFunctionCodeSigningConfig", FunctionName="f") == {}
    assert await world.call("GetFunctionCodeSigningConfig", FunctionName="f") == {}
    assert await world.call("DeleteCodeSigningConfig", CodeSigningConfigArn=arn) == {}


async def pages(world: World, operation: str, member: str, **members: Any) -> list[Any]:
    found, marker = [], {}
    while True:
        page = await world.call(operation, MaxItems=2, **members, **marker)
        assert len(page[member]) <= 2
        found += page[member]
        if "NextMarker" not in page:
            return found
        marker = {"Marker": page["NextMarker"]}


async def test_configs_are_listed_in_pages(world: World) -> None:
    arns = sorted([(await config(world))["CodeSigningConfigArn"] for _ in range(5)])
    listed = await pages(world, "ListCodeSigningConfigs", "CodeSigningConfigs")
    assert [one["CodeSigningConfigArn"] for one in listed] == arns
    other = replace(CALLER, account="111111111111")
    assert await world.call("ListCodeSigningConfigs", other) == {"CodeSigningConfigs": []}


async def test_the_functions_of_a_config_are_listed_in_pages(world: World) -> None:
    arn = (await config(world))["CodeSigningConfigArn"]
    for name in ("a", "b", "c", "d"):
        await world.create(name, **({} if name == "b" else {"CodeSigningConfigArn": arn}))
    listed = await pages(world, "ListFunctionsByCodeSigningConfig", "FunctionArns", CodeSigningConfigArn=arn)
    assert listed == [f"{ARN[:-1]}{name}" for name in ("a", "c", "d")]


async def test_a_config_is_tagged(world: World) -> None:
    arn = (await config(world, Tags={"a": "1"}))["CodeSigningConfigArn"]
    await world.call("TagResource", Resource=arn, Tags={"b": "2"})
    await world.call("UntagResource", Resource=arn, TagKeys=["a"])
    assert await world.call("ListTags", Resource=arn) == {"Tags": {"b": "2"}}
    with pytest.raises(InvalidParameterValue):
        await config(world, Tags={"aws:a": "1"})
