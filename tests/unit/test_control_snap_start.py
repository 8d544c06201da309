"""SnapStart in the control plane: who may have it, and what a version goes through while its snapshot is taken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from control_world import World

from lambent.model.errors import FunctionError, InvalidParameterValue, PlatformError
from lambent.model.function import FunctionVersion

ON = {"ApplyOn": "PublishedVersions"}


class Snapshots:
    """Takes snapshots of Python versions, when it may."""

    def __init__(self) -> None:
        self.may_take = asyncio.Event()
        self.may_take.set()
        self.failure: Exception | None = None
        self.taken: list[str] = []

    def snap_start_obstacle(self, runtime: str) -> str | None:
        return None if runtime.startswith("python") else f"{runtime} is not supported for SnapStart enabled functions."

    async def snapshot(self, version: FunctionVersion) -> None:
        await self.may_take.wait()
        self.taken.append(str(version.qualified_arn))
        if self.failure is not None:
            raise self.failure


async def version(world: World, number: str = "1") -> Any:
    return await world.call("GetFunctionConfiguration", FunctionName="f", Qualifier=number)


async def test_a_published_version_is_pending_until_its_snapshot_is_taken() -> None:
    snapshots = Snapshots()
    async with World().running(snapshots=snapshots) as world:
        latest = await world.created(SnapStart=ON)
        snapshots.may_take.clear()
        published = await world.call("PublishVersion", FunctionName="f")
        assert (published["State"], published["StateReasonCode"]) == ("Pending", "Creating")
        assert published["SnapStart"] == {**ON, "OptimizationStatus": "Off"}
        snapshots.may_take.set()
        await world.settled()
        settled = await version(world)

    assert latest["SnapStart"] == {**ON, "OptimizationStatus": "Off"}
    assert latest["State"] == "Active"
    assert (settled["State"], settled["SnapStart"]["OptimizationStatus"]) == ("Active", "On")
    assert "StateReasonCode" not in settled
    assert snapshots.taken == ["arn:aws:lambda:eu-west-1:000000000000:function:f:1"]


@pytest.mark.parametrize(
    ("failure", "code", "reason"),
    [
        (FunctionError("Sandbox.Timedout", "too long"), "FunctionError.InitTimeout", "Sandbox.Timedout: too long"),
        (FunctionError("Runtime.OutOfMemory", "x"), "FunctionError.InitResourceExhausted", "Runtime.OutOfMemory: x"),
        (FunctionError("Runtime.InvalidEntrypoint", "x"), "FunctionError.InvalidEntryPoint", None),
        (FunctionError("Runtime.ImportModuleError", "x"), "FunctionError.RuntimeInitError", None),
        (FunctionError("Runtime.ExitError", "x"), "FunctionError", None),
        (FunctionError("Extension.LaunchError", "x"), "FunctionError.ExtensionInitError", None),
        (PlatformError("no room"), "InternalError", "no room"),
    ],
)
async def test_a_version_whose_snapshot_fails_says_why(failure: Exception, code: str, reason: str | None) -> None:
    snapshots = Snapshots()
    snapshots.failure = failure
    async with World().running(snapshots=snapshots) as world:
        await world.created(SnapStart=ON)
        await world.call("PublishVersion", FunctionName="f")
        await world.settled()
        failed = await version(world)

    assert (failed["State"], failed["StateReasonCode"]) == ("Failed", code)
    assert failed["StateReason"] == (reason or str(failure))
    assert failed["SnapStart"]["OptimizationStatus"] == "Off"


async def test_a_version_that_has_failed_can_be_published_again_unchanged() -> None:
    snapshots = Snapshots()
    snapshots.failure = FunctionError("Runtime.ExitError", "x")
    async with World().running(snapshots=snapshots) as world:
        await world.created(SnapStart=ON)
        await world.call("PublishVersion", FunctionName="f")
        await world.settled()
        snapshots.failure = None
        again = await world.call("PublishVersion", FunctionName="f")
        await world.settled()
        third = await world.call("PublishVersion", FunctionName="f")

    assert (again["Version"], again["State"]) == ("2", "Pending")
    assert (third["Version"], third["State"]) == ("2", "Active")


async def test_create_and_update_that_publish_take_the_snapshot_once_the_code_is_ready() -> None:
    snapshots = Snapshots()
    async with World().running(snapshots=snapshots) as world:
        created = await world.create(SnapStart=ON, Publish=True)
        await world.settled()
        assert (created["Version"], created["State"]) == ("1", "Pending")
        assert (await version(world))["State"] == "Active"
        await world.call("UpdateFunctionConfiguration", FunctionName="f", Description="new")
        await world.settled()
        await world.call("PublishVersion", FunctionName="f")
        await world.settled()
        assert (await version(world, "2"))["State"] == "Active"

    assert [name[-1] for name in snapshots.taken] == ["1", "2"]


async def test_a_version_that_was_pending_when_the_server_ended_is_taken_up_again() -> None:
    snapshots, world = Snapshots(), World()
    async with world.running(snapshots=snapshots):
        await world.created(SnapStart=ON)
        snapshots.may_take.clear()
        await world.call("PublishVersion", FunctionName="f")
    assert snapshots.taken == []

    snapshots.may_take.set()
    async with world.running(snapshots=snapshots):
        await world.settled()
        settled = await version(world)

    assert settled["State"] == "Active"


async def test_a_version_that_is_deleted_while_its_snapshot_is_taken_stays_deleted() -> None:
    snapshots = Snapshots()
    async with World().running(snapshots=snapshots) as world:
        await world.created(SnapStart=ON)
        snapshots.may_take.clear()
        await world.call("PublishVersion", FunctionName="f")
        await world.call("DeleteFunction", FunctionName="f", Qualifier="1")
        snapshots.may_take.set()
        await world.settled()
        listed = await world.call("ListVersionsByFunction", FunctionName="f")

    assert [one["Version"] for one in listed["Versions"]] == ["$LATEST"]


async def test_a_runtime_that_cannot_is_refused_in_words_of_aws() -> None:
    async with World().running(snapshots=Snapshots()) as world:
        with pytest.raises(InvalidParameterValue, match="is not supported for SnapStart enabled functions"):
            await world.create(Runtime="nodejs22.x", SnapStart=ON)
        await world.created(SnapStart=ON)
        with pytest.raises(InvalidParameterValue, match="is not supported for SnapStart"):
            await world.call("UpdateFunctionConfiguration", FunctionName="f", Runtime="nodejs22.x")


async def test_a_larger_tmp_and_snap_start_do_not_go_together() -> None:
    async with World().running(snapshots=Snapshots()) as world:
        with pytest.raises(InvalidParameterValue, match="EphemeralStorage greater than 512 MB is not"):
            await world.create(SnapStart=ON, EphemeralStorage={"Size": 1024})
        await world.created(SnapStart=ON)
        with pytest.raises(InvalidParameterValue, match="is not supported for SnapStart enabled functions"):
            await world.call("UpdateFunctionConfiguration", FunctionName="f", EphemeralStorage={"Size": 1024})


async def test_provisioned_concurrency_and_snap_start_do_not_go_together() -> None:
    refused = pytest.raises(InvalidParameterValue, match="ProvisionedConcurrency is not supported for Snap")
    provisioned = {"FunctionName": "f", "ProvisionedConcurrentExecutions": 1}
    async with World().running(snapshots=Snapshots()) as world:
        await world.created()
        await world.call("PublishVersion", FunctionName="f")
        await world.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
        await world.call("PutProvisionedConcurrencyConfig", Qualifier="live", **provisioned)
        await world.call("UpdateFunctionConfiguration", FunctionName="f", SnapStart=ON)
        await world.settled()
        await world.call("PublishVersion", FunctionName="f")
        await world.call("CreateAlias", FunctionName="f", Name="next", FunctionVersion="2")
        with refused:
            await world.call("PutProvisionedConcurrencyConfig", Qualifier="2", **provisioned)
        with refused:
            await world.call("PutProvisionedConcurrencyConfig", Qualifier="next", **provisioned)
        with refused:
            await world.call("UpdateAlias", FunctionName="f", Name="live", FunctionVersion="2")
        with refused:
            await world.call(
                "UpdateAlias", FunctionName="f", Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}}
            )


async def test_snap_start_can_be_switched_off_again() -> None:
    snapshots = Snapshots()
    async with World().running(snapshots=snapshots) as world:
        await world.created(SnapStart=ON)
        await world.call("UpdateFunctionConfiguration", FunctionName="f", SnapStart={"ApplyOn": "None"})
        await world.settled()
        published = await world.call("PublishVersion", FunctionName="f")

    assert (published["State"], published["SnapStart"]["ApplyOn"]) == ("Active", "None")
    assert snapshots.taken == []
