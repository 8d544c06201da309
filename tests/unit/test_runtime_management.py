"""Runtime management: per version, and no other runtime version than the host's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from control_world import ARN, World

from lambent.model.errors import InvalidParameterValue, ResourceNotFound


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World().running() as running:
        await running.created(Publish=True)
        yield running


async def test_a_runtime_is_updated_automatically_unless_something_else_is_said(world: World) -> None:
    found = await world.call("GetRuntimeManagementConfig", FunctionName="f")
    assert found == {"UpdateRuntimeOn": "Auto", "FunctionArn": f"{ARN}:$LATEST"}


async def test_a_config_is_of_one_version(world: World) -> None:
    put = await world.call(
        "PutRuntimeManagementConfig", FunctionName="f", Qualifier="1", UpdateRuntimeOn="FunctionUpdate"
    )
    assert put == {"UpdateRuntimeOn": "FunctionUpdate", "FunctionArn": f"{ARN}:1"}
    assert await world.call("GetRuntimeManagementConfig", FunctionName="f:1") == put
    assert (await world.call("GetRuntimeManagementConfig", FunctionName="f"))["UpdateRuntimeOn"] == "Auto"
    await world.call("DeleteFunction", FunctionName="f", Qualifier="1")
    with pytest.raises(ResourceNotFound, match=f"^Function not found: {ARN}:1$"):
        await world.call("GetRuntimeManagementConfig", FunctionName="f", Qualifier="1")


async def test_manual_holds_on_to_the_runtime_version_that_the_host_has(world: World) -> None:
    configuration = await world.call("GetFunctionConfiguration", FunctionName="f")
    arn = configuration["RuntimeVersionConfig"]["RuntimeVersionArn"]
    put = await world.call(
        "PutRuntimeManagementConfig", FunctionName="f", UpdateRuntimeOn="Manual", RuntimeVersionArn=arn
    )
    assert put == {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": arn, "FunctionArn": f"{ARN}:$LATEST"}
    with pytest.raises(InvalidParameterValue, match="is not on this host"):
        await world.call(
            "PutRuntimeManagementConfig", FunctionName="f", UpdateRuntimeOn="Manual", RuntimeVersionArn=f"{arn}0"
        )


async def test_manual_needs_a_runtime_version_and_nothing_else_takes_one(world: World) -> None:
    with pytest.raises(InvalidParameterValue, match="needs a RuntimeVersionArn"):
        await world.call("PutRuntimeManagementConfig", FunctionName="f", UpdateRuntimeOn="Manual")
    with pytest.raises(InvalidParameterValue, match="goes with UpdateRuntimeOn Manual only"):
        await world.call(
            "PutRuntimeManagementConfig", FunctionName="f", UpdateRuntimeOn="Auto", RuntimeVersionArn="arn:a"
        )


async def test_the_function_and_its_version_must_exist(world: World) -> None:
    for name in ("g", "f:7"):
        with pytest.raises(ResourceNotFound, match=r"^Function not found: "):
            await world.call("PutRuntimeManagementConfig", FunctionName=name, UpdateRuntimeOn="Auto")
