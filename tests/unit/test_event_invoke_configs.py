"""EventInvokeConfigs and the recursion setting: what is kept, merged, refused and forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from control_world import ARN, World

from lambent.model.arn import FunctionArn
from lambent.model.errors import InvalidParameterValue, ResourceNotFound
from lambent.model.function import function_key
from lambent.model.records import decode_function

QUEUE = "arn:aws:sqs:eu-west-1:000000000000:q"
TOPIC = "arn:aws:sns:eu-west-1:000000000000:t"
NO_DESTINATION: dict[str, Any] = {"OnSuccess": {}, "OnFailure": {}}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World().running() as running:
        await running.created()
        yield running


async def put(world: World, **members: Any) -> Any:
    return await world.call("PutFunctionEventInvokeConfig", FunctionName="f", **members)


async def put_failure_destination(world: World, arn: str) -> Any:
    return await put(world, DestinationConfig={"OnFailure": {"Destination": arn}})


async def test_a_config_is_of_latest_where_no_qualifier_is_said(world: World) -> None:
    answer = await put(world, MaximumRetryAttempts=1, MaximumEventAgeInSeconds=60)
    assert answer == {
        "LastModified": world.time,
        "FunctionArn": f"{ARN}:$LATEST",
        "MaximumRetryAttempts": 1,
        "MaximumEventAgeInSeconds": 60,
        "DestinationConfig": NO_DESTINATION,
    }
    assert await world.call("GetFunctionEventInvokeConfig", FunctionName="f", Qualifier="$LATEST") == answer


async def test_a_put_replaces_and_an_update_merges(world: World) -> None:
    await put(world, MaximumRetryAttempts=0, DestinationConfig={"OnSuccess": {"Destination": QUEUE}})
    world.time += 1
    updated = await world.call("UpdateFunctionEventInvokeConfig", FunctionName="f", MaximumEventAgeInSeconds=99)
    assert updated == {
        "LastModified": world.time,
        "FunctionArn": f"{ARN}:$LATEST",
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": 99,
        "DestinationConfig": {"OnSuccess": {"Destination": QUEUE}, "OnFailure": {}},
    }
    emptied = await world.call(
        "UpdateFunctionEventInvokeConfig", FunctionName="f", DestinationConfig={"OnSuccess": {"Destination": ""}}
    )
    assert emptied["DestinationConfig"] == NO_DESTINATION
    replaced = await put(world, MaximumRetryAttempts=2)
    assert "MaximumEventAgeInSeconds" not in replaced


async def test_what_an_invoke_reads_lies_in_the_function_record(world: World) -> None:
    await put(world, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": TOPIC}})
    entry = await world.store.get(function_key("000000000000", "eu-west-1", "f"))
    assert entry is not None
    config = decode_function(entry.value).event_invoke_configs["$LATEST"]
    assert (config.maximum_retry_attempts, config.maximum_event_age_s, config.on_failure) == (0, None, TOPIC)


@pytest.mark.parametrize("operation", ["PutFunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig"])
async def test_something_must_be_said(world: World, operation: str) -> None:
    with pytest.raises(InvalidParameterValue) as refused:
        await world.call(operation, FunctionName="f")
    assert refused.value.message == "You must specify at least one of error handling or destination setting."


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("PutFunctionEventInvokeConfig", {"MaximumRetryAttempts": 1}),
        ("UpdateFunctionEventInvokeConfig", {"MaximumRetryAttempts": 1}),
        ("DeleteFunctionEventInvokeConfig", {}),
        ("ListFunctionEventInvokeConfigs", {}),
    ],
)
async def test_the_function_must_exist(world: World, operation: str, members: dict[str, Any]) -> None:
    with pytest.raises(ResourceNotFound) as refused:
        await world.call(operation, FunctionName="g", **members)
    assert refused.value.message == "The function doesn't exist."


async def test_the_version_or_alias_must_exist(world: World) -> None:
    for qualifier in ("1", "live"):
        with pytest.raises(ResourceNotFound, match=r"^The function doesn't exist\.$"):
            await put(world, Qualifier=qualifier, MaximumRetryAttempts=1)


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("GetFunctionEventInvokeConfig", {}),
        ("DeleteFunctionEventInvokeConfig", {}),
        ("UpdateFunctionEventInvokeConfig", {"MaximumRetryAttempts": 1}),
    ],
)
async def test_a_config_that_is_not_there_is_not_found(world: World, operation: str, members: dict[str, Any]) -> None:
    with pytest.raises(ResourceNotFound) as refused:
        await world.call(operation, FunctionName="f", **members)
    assert refused.value.message == f"The function {ARN}:$LATEST doesn't have an EventInvokeConfig"


async def test_get_says_the_same_of_a_function_that_is_not_there(world: World) -> None:
    with pytest.raises(ResourceNotFound, match=r":g:\$LATEST doesn't have an EventInvokeConfig"):
        await world.call("GetFunctionEventInvokeConfig", FunctionName="g")


@pytest.mark.parametrize(
    "arn",
    [
        QUEUE,
        TOPIC,
        "arn:aws:events:eu-west-1:000000000000:event-bus/default",
        "arn:aws:s3:::bucket",
        "arn:aws:lambda:eu-west-1:000000000000:function:other",
        "arn:aws:lambda:eu-west-1:000000000000:function:other:live",
    ],
)
async def test_destinations_are_queues_topics_buses_buckets_and_functions(world: World, arn: str) -> None:
    await world.created("other", Publish=True)
    await world.call("CreateAlias", FunctionName="other", Name="live", FunctionVersion="1")
    answer = await put_failure_destination(world, arn)
    assert answer["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": arn}}


async def test_a_function_is_no_destination_of_itself(world: World) -> None:
    with pytest.raises(InvalidParameterValue) as refused:
        await put_failure_destination(world, ARN)
    assert refused.value.message == "You can't specify the function as a destination for itself."


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:lambda:eu-west-1:000000000000:function:absent",
        "arn:aws:lambda:eu-west-1:000000000000:function:other:7",
        "arn:aws:lambda:eu-west-1:000000000000:layer:f",
        f"{QUEUE}.fifo",
        f"{TOPIC}.fifo",
    ],
)
async def test_a_destination_that_cannot_be_reached_is_refused(world: World, arn: str) -> None:
    await world.created("other")
    with pytest.raises(InvalidParameterValue) as refused:
        await put_failure_destination(world, arn)
    assert refused.value.message == f"The destination ARN {arn} is invalid."


async def test_other_services_are_no_destinations_and_s3_only_takes_failures(world: World) -> None:
    table = "arn:aws:dynamodb:eu-west-1:000000000000:table/t"
    with pytest.raises(InvalidParameterValue) as refused:
        await put_failure_destination(world, table)
    assert refused.value.message == (
        f"The provided destination config DestinationConfig(onSuccess=null, onFailure=OnFailure(destination={table})) "
        "is invalid."
    )
    with pytest.raises(InvalidParameterValue) as refused:
        await put(world, DestinationConfig={"OnSuccess": {"Destination": "arn:aws:s3:::bucket"}})
    assert refused.value.message == (
        "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination=arn:aws:s3:::bucket), "
        "onFailure=null) is invalid."
    )
    with pytest.raises(InvalidParameterValue, match=r"is invalid\.$"):
        await put_failure_destination(world, "kafka://topic")


async def test_configs_are_listed_in_pages(world: World) -> None:
    await world.call("PublishVersion", FunctionName="f")
    await world.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    for qualifier in ("live", "1", "$LATEST"):
        await put(world, Qualifier=qualifier, MaximumRetryAttempts=1)
    seen, marker = [], {}
    while True:
        page = await world.call("ListFunctionEventInvokeConfigs", FunctionName="f", MaxItems=2, **marker)
        seen += [config["FunctionArn"] for config in page["FunctionEventInvokeConfigs"]]
        if "NextMarker" not in page:
            break
        marker = {"Marker": page["NextMarker"]}
    assert seen == [f"{ARN}:$LATEST", f"{ARN}:1", f"{ARN}:live"]


async def test_a_config_goes_with_its_alias_its_version_and_its_function(world: World) -> None:
    await world.call("PublishVersion", FunctionName="f")
    await world.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    for qualifier in ("live", "1", "$LATEST"):
        await put(world, Qualifier=qualifier, MaximumRetryAttempts=1)
    await world.call("DeleteAlias", FunctionName="f", Name="live")
    await world.call("DeleteFunction", FunctionName="f", Qualifier="1")
    listed = await world.call("ListFunctionEventInvokeConfigs", FunctionName="f")
    assert [config["FunctionArn"] for config in listed["FunctionEventInvokeConfigs"]] == [f"{ARN}:$LATEST"]
    await world.call("DeleteFunction", FunctionName="f")
    await world.created()
    assert await world.call("ListFunctionEventInvokeConfigs", FunctionName="f") == {"FunctionEventInvokeConfigs": []}


async def test_a_deleted_config_is_gone(world: World) -> None:
    await put(world, MaximumRetryAttempts=1)
    assert await world.call("DeleteFunctionEventInvokeConfig", FunctionName="f") == {}
    assert await world.call("ListFunctionEventInvokeConfigs", FunctionName="f") == {"FunctionEventInvokeConfigs": []}


async def test_a_loop_is_terminated_unless_it_is_allowed(world: World) -> None:
    assert await world.call("GetFunctionRecursionConfig", FunctionName="f") == {"RecursiveLoop": "Terminate"}
    put = await world.call("PutFunctionRecursionConfig", FunctionName="f", RecursiveLoop="Allow")
    assert put == {"RecursiveLoop": "Allow"}
    assert (
        await world.call("GetFunctionRecursionConfig", FunctionName=str(FunctionArn("eu-west-1", "0" * 12, "f"))) == put
    )
    with pytest.raises(ResourceNotFound, match=r"^Function not found: "):
        await world.call("GetFunctionRecursionConfig", FunctionName="g")
