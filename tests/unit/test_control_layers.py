"""Layers: published, listed, shared, deleted, and held by the functions that use them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from control_world import CALLER, World, zip_of

from lambent.control import function_layers
from lambent.model.errors import (
    AccessDenied,
    CodeStorageExceeded,
    InvalidParameterValue,
    PreconditionFailed,
    ResourceConflict,
    ResourceNotFound,
)

LAYER = "arn:aws:lambda:eu-west-1:000000000000:layer:tools"
STRANGER = replace(CALLER, account="111111111111", arn="arn:aws:iam::111111111111:root")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World().running() as world:
        yield world


async def publish(world: World, name: str = "tools", content: str = "", **members: Any) -> Any:
    return await world.call(
        "PublishLayerVersion", LayerName=name, Content={"ZipFile": zip_of(content or name)}, **members
    )


async def add_permission(world: World, principal: str, **members: Any) -> Any:
    given = {"StatementId": "share", "Action": "lambda:GetLayerVersion", "Principal": principal, **members}
    return await world.call("AddLayerVersionPermission", LayerName="tools", VersionNumber=1, **given)


async def test_a_published_version_says_what_it_is(world: World) -> None:
    answer = await publish(
        world,
        Description="tools of the trade",
        CompatibleRuntimes=("python3.12",),
        CompatibleArchitectures=("arm64",),
        LicenseInfo="MIT",
    )

    content = answer.pop("Content")
    assert content["CodeSize"] == len(zip_of("tools"))
    assert content["Location"].startswith("http://127.0.0.1:9400/_lambent/code/000000000000/")
    assert answer == {
        "LayerArn": LAYER,
        "LayerVersionArn": f"{LAYER}:1",
        "Version": 1,
        "Description": "tools of the trade",
        "CreatedDate": "2024-01-01T00:00:00.000+0000",
        "CompatibleRuntimes": ["python3.12"],
        "CompatibleArchitectures": ["arm64"],
        "LicenseInfo": "MIT",
    }
    assert await world.call("GetLayerVersion", LayerName="tools", VersionNumber=1) == {**answer, "Content": content}
    assert await world.call("GetLayerVersionByArn", Arn=f"{LAYER}:1") == {**answer, "Content": content}


async def test_a_layer_may_be_named_by_its_arn(world: World) -> None:
    await publish(world)

    assert (await publish(world, LAYER))["Version"] == 2
    assert (await world.call("GetLayerVersion", LayerName=LAYER, VersionNumber=2))["Version"] == 2


async def test_numbers_are_never_reused(world: World) -> None:
    for _ in range(2):
        await publish(world)
    for number in (1, 2, 2):
        await world.call("DeleteLayerVersion", LayerName="tools", VersionNumber=number)

    assert (await publish(world))["Version"] == 3


async def test_what_is_not_there_is_said_not_to_be(world: World) -> None:
    with pytest.raises(ResourceNotFound, match=r"The resource you requested does not exist\."):
        await world.call("GetLayerVersion", LayerName="tools", VersionNumber=1)
    with pytest.raises(InvalidParameterValue, match="Layer Version Cannot be less than 1"):
        await world.call("GetLayerVersion", LayerName="tools", VersionNumber=0)
    assert await world.call("ListLayers") == {"Layers": []}
    assert await world.call("ListLayerVersions", LayerName="tools") == {"LayerVersions": []}


async def test_lists_show_what_matches_page_by_page(world: World) -> None:
    await publish(world, "a", CompatibleRuntimes=("python3.12",))
    await publish(world, "a", CompatibleRuntimes=("nodejs22.x",))
    await publish(world, "b", CompatibleRuntimes=("python3.12",), CompatibleArchitectures=("arm64",))
    await publish(world, "c")

    everything = await world.call("ListLayers")
    assert [(one["LayerName"], one["LatestMatchingVersion"]["Version"]) for one in everything["Layers"]] == [
        ("a", 2),
        ("b", 1),
        ("c", 1),
    ]
    python = await world.call("ListLayers", CompatibleRuntime="python3.12")
    assert [(one["LayerName"], one["LatestMatchingVersion"]["Version"]) for one in python["Layers"]] == [
        ("a", 1),
        ("b", 1),
    ]
    x86 = await world.call("ListLayers", CompatibleArchitecture="x86_64")
    assert [one["LayerName"] for one in x86["Layers"]] == ["a", "c"]
    first = await world.call("ListLayers", MaxItems=2)
    second = await world.call("ListLayers", MaxItems=2, Marker=first["NextMarker"])
    assert [one["LayerName"] for one in first["Layers"] + second["Layers"]] == ["a", "b", "c"]
    assert "NextMarker" not in second


async def test_versions_are_listed_newest_first(world: World) -> None:
    for number in range(5):
        await publish(world, content=str(number))
    await world.call("DeleteLayerVersion", LayerName="tools", VersionNumber=3)

    first = await world.call("ListLayerVersions", LayerName="tools", MaxItems=2)
    await publish(world)
    second = await world.call("ListLayerVersions", LayerName="tools", MaxItems=2, Marker=first["NextMarker"])

    assert [one["Version"] for one in first["LayerVersions"]] == [5, 4]
    assert [one["Version"] for one in second["LayerVersions"]] == [2, 1]


async def test_layers_count_as_code_storage_and_survive_a_restart() -> None:
    world = World()
    async with world.running():
        await publish(world)
    async with world.running():
        usage = (await world.call("GetAccountSettings"))["AccountUsage"]
        assert usage["TotalCodeSize"] == len(zip_of("tools"))
        assert (await publish(world))["Version"] == 2
    async with world.running(code_storage_bytes=10):
        with pytest.raises(CodeStorageExceeded):
            await publish(world, content="more")


# Policies -----------------------------------------------------------------------------------------------------------


async def test_a_policy_is_written_read_and_taken_away(world: World) -> None:
    await publish(world)

    added = await add_permission(world, "arn:aws:iam::111111111111:root")
    policy = await world.call("GetLayerVersionPolicy", LayerName="tools", VersionNumber=1)

    statement = {
        "Sid": "share",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
        "Action": "lambda:GetLayerVersion",
        "Resource": f"{LAYER}:1",
    }
    assert json.loads(added["Statement"]) == statement
    assert json.loads(policy["Policy"]) == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}
    assert policy["RevisionId"] == added["RevisionId"]
    with pytest.raises(ResourceConflict, match=r"The statement id \(share\) provided already exists"):
        await add_permission(world, "*")
    with pytest.raises(PreconditionFailed, match="GetLayerPolicy API"):
        await add_permission(world, "*", StatementId="all", RevisionId="other")
    target = {"LayerName": "tools", "VersionNumber": 1}
    with pytest.raises(ResourceNotFound, match=r"Statement other is not found in resource policy\."):
        await world.call("RemoveLayerVersionPermission", **target, StatementId="other")
    await world.call("RemoveLayerVersionPermission", **target, StatementId="share")
    with pytest.raises(ResourceNotFound, match=r"No policy is associated with the given resource\."):
        await world.call("GetLayerVersionPolicy", **target)
    with pytest.raises(ResourceNotFound, match=r"Layer version arn:.*:tools:2 does not exist\."):
        await world.call("GetLayerVersionPolicy", LayerName="tools", VersionNumber=2)


@pytest.mark.parametrize("principal", ["111111111111", "arn:aws:iam::111111111111:root", "*"])
async def test_another_account_reads_and_uses_what_the_policy_allows(world: World, principal: str) -> None:
    await publish(world)
    with pytest.raises(AccessDenied, match=r"lambda:GetLayerVersion on resource: arn:.*:tools:1"):
        await world.call("GetLayerVersionByArn", STRANGER, Arn=f"{LAYER}:1")
    await add_permission(world, principal)

    assert (await world.call("GetLayerVersionByArn", STRANGER, Arn=f"{LAYER}:1"))["Version"] == 1
    with pytest.raises(AccessDenied):
        await world.call("DeleteLayerVersion", STRANGER, LayerName=LAYER, VersionNumber=1)


async def test_another_accounts_layer_is_used_only_where_its_policy_allows(world: World) -> None:
    await publish(world)
    request = {
        "FunctionName": "f",
        "Role": "arn:aws:iam::111111111111:role/any",
        "Runtime": "python3.12",
        "Handler": "app.handler",
        "Code": {"ZipFile": zip_of()},
        "Layers": (f"{LAYER}:1",),
    }
    with pytest.raises(AccessDenied):
        await world.call("CreateFunction", STRANGER, **request)
    await add_permission(world, "111111111111")

    assert (await world.call("CreateFunction", STRANGER, **request))["Layers"][0]["Arn"] == f"{LAYER}:1"


async def test_an_organization_is_refused_by_name_for_there_are_none(world: World) -> None:
    await publish(world)

    with pytest.raises(InvalidParameterValue, match="OrganizationId"):
        await add_permission(world, "*", OrganizationId="o-1234567890")


# Functions ----------------------------------------------------------------------------------------------------------


async def test_a_function_shows_its_layers_and_keeps_them_until_told_otherwise(world: World) -> None:
    for name in ("tools", "more"):
        await publish(world, name)
    more = LAYER.replace("tools", "more")
    expected = [
        {"Arn": f"{LAYER}:1", "CodeSize": len(zip_of("tools"))},
        {"Arn": f"{more}:1", "CodeSize": len(zip_of("more"))},
    ]

    assert (await world.created(Layers=(f"{LAYER}:1", f"{more}:1")))["Layers"] == expected
    updated = await world.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=9)
    assert updated["Layers"] == expected
    await world.settled()
    published = await world.call("PublishVersion", FunctionName="f")
    assert published["Layers"] == expected
    cleared = await world.call("UpdateFunctionConfiguration", FunctionName="f", Layers=())
    assert "Layers" not in cleared


async def test_a_function_keeps_a_layer_whose_version_was_deleted(world: World) -> None:
    blob = (await publish(world))["Content"]["Location"].split("/")[-1].split("?")[0]
    await world.created(Layers=(f"{LAYER}:1",))

    await world.call("DeleteLayerVersion", LayerName="tools", VersionNumber=1)

    assert blob in world.blobs.kept
    configuration = await world.call("GetFunctionConfiguration", FunctionName="f")
    assert configuration["Layers"][0]["Arn"] == f"{LAYER}:1"
    with pytest.raises(InvalidParameterValue, match=r"Layer version .*:tools:1 does not exist\."):
        await world.create("g", Layers=(f"{LAYER}:1",))
    await world.call("DeleteFunction", FunctionName="f")
    assert blob not in world.blobs.kept


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ([f"{LAYER}:{number}" for number in range(1, 7)], r"Cannot reference more than 5 layers\."),
        ([f"{LAYER}:1", f"{LAYER}:2"], f"{LAYER}:1 and {LAYER}:2 are versions of the same layer"),
        ([f"{LAYER}:9"], f"Layer version {LAYER}:9 does not exist"),
        ([f"{LAYER}:0"], "Layer Version Cannot be less than 1"),
        ([f"{LAYER}:1".replace("eu-west-1", "us-east-1")], "expected to be in region eu-west-1"),
        (["arn:aws:lambda:::awslayer:AmazonLinux"], "does not exist"),
    ],
)
async def test_layers_that_cannot_be_used_are_refused(world: World, layers: list[str], text: str) -> None:
    for _ in range(2):
        await publish(world)

    with pytest.raises(InvalidParameterValue, match=text):
        await world.create(Layers=tuple(layers))


async def test_code_and_layers_together_have_one_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await publish(world, content="x" * 600)
    monkeypatch.setattr(function_layers.limits, "UNZIPPED_CODE_BYTES", 1_000)
    await world.created(Layers=(f"{LAYER}:1",), Code={"ZipFile": zip_of("y" * 400)})

    text = r"Function code combined with layers exceeds .* of 1000 bytes\. The actual size is 1001 bytes\."
    with pytest.raises(InvalidParameterValue, match=text):
        await world.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("y" * 401))
    with pytest.raises(InvalidParameterValue, match=text):
        await world.create("g", Layers=(f"{LAYER}:1",), Code={"ZipFile": zip_of("y" * 401)})
