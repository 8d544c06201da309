"""An alias with provisioned concurrency that is moved: it goes on as before until the next version is ready."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from control_world import World

from lambent.model.arn import FunctionArn
from lambent.model.errors import InvalidParameterValue
from lambent.model.provisioned import Allocation

READY = Allocation(allocated=5, available=5)
FAILED = Allocation(allocated=0, available=0, failure="FUNCTION_ERROR_INIT_FAILURE")
STAYING = {"AdditionalVersionWeights": {"1": 1.0}}
WITH_WEIGHTS = "Alias with weights can not be used with Provisioned Concurrency"


class Allocations:
    """How far each version has come; an alias has what its first one has."""

    def __init__(self) -> None:
        self.by_qualifier = {"live": READY}

    def __call__(self, function: FunctionArn) -> Allocation:
        return self.by_qualifier.get(str(function.qualifier), Allocation())


@pytest.fixture
async def allocations() -> Allocations:
    return Allocations()


@pytest.fixture
async def world(allocations: Allocations) -> AsyncIterator[World]:
    """A function with the versions 1 to 3 and the alias `live` of 1, for which 5 environments are provisioned."""
    async with World().running(allocation=allocations) as world:
        await world.created()
        for number in "123":
            await world.call("UpdateFunctionConfiguration", FunctionName="f", Description=number)
            await world.settled()
            await world.call("PublishVersion", FunctionName="f")
        await world.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
        await world.call(
            "PutProvisionedConcurrencyConfig", FunctionName="f", Qualifier="live", ProvisionedConcurrentExecutions=5
        )
        yield world


async def move(world: World, **members: Any) -> Any:
    return await world.call("UpdateAlias", FunctionName="f", Name="live", **members)


async def alias(world: World) -> Any:
    return await world.call("GetAlias", FunctionName="f", Name="live")


async def status(world: World) -> str:
    config = await world.call("GetProvisionedConcurrencyConfig", FunctionName="f", Qualifier="live")
    listed = await world.call("ListProvisionedConcurrencyConfigs", FunctionName="f")
    assert listed["ProvisionedConcurrencyConfigs"][0]["Status"] == config["Status"]
    return str(config["Status"])


async def moved(world: World) -> Any:
    await asyncio.gather(*world.control._moves._tasks.values())
    found = await alias(world)
    assert "RoutingConfig" not in found
    return found


async def test_all_invokes_stay_by_a_weight_until_the_next_version_is_ready(
    world: World, allocations: Allocations
) -> None:
    answer = await move(world, FunctionVersion="2")

    assert (answer["FunctionVersion"], answer["RoutingConfig"]) == ("2", STAYING)
    assert await alias(world) == answer
    assert await status(world) == "IN_PROGRESS"
    allocations.by_qualifier["2"] = READY
    found = await moved(world)
    assert found["FunctionVersion"] == "2"
    assert found["RevisionId"] != answer["RevisionId"]


async def test_where_the_next_version_fails_the_alias_stays_where_it_was(
    world: World, allocations: Allocations
) -> None:
    allocations.by_qualifier["2"] = FAILED

    await move(world, FunctionVersion="2")

    assert await status(world) == "FAILED"
    await move(world, Description="still there")
    assert (await alias(world))["RoutingConfig"] == STAYING
    with pytest.raises(InvalidParameterValue, match="Function version 1 is already included in routing configuration"):
        await move(world, FunctionVersion="1")
    await move(world, FunctionVersion="3")
    assert (await alias(world))["RoutingConfig"] == STAYING
    allocations.by_qualifier["3"] = READY
    assert (await moved(world))["FunctionVersion"] == "3"


async def test_who_gives_weights_has_the_alias_as_they_say(world: World) -> None:
    await move(world, FunctionVersion="2")

    answer = await move(world, RoutingConfig={"AdditionalVersionWeights": {}})

    assert (answer["FunctionVersion"], answer.get("RoutingConfig")) == ("2", None)
    weighted = await move(world, FunctionVersion="3", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    assert weighted["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.5}}


async def test_an_alias_with_weights_is_given_no_other_amount(world: World) -> None:
    await move(world, FunctionVersion="2")

    with pytest.raises(InvalidParameterValue, match=re.escape(WITH_WEIGHTS)):
        await world.call(
            "PutProvisionedConcurrencyConfig", FunctionName="f", Qualifier="live", ProvisionedConcurrentExecutions=6
        )


async def test_without_provisioned_concurrency_the_move_is_over(world: World) -> None:
    await move(world, FunctionVersion="2")
    await world.call("DeleteProvisionedConcurrencyConfig", FunctionName="f", Qualifier="live")

    assert "RoutingConfig" not in await alias(world)
    assert "RoutingConfig" not in await move(world, FunctionVersion="3")


async def test_a_move_goes_on_after_a_restart(world: World, allocations: Allocations) -> None:
    await move(world, FunctionVersion="2")
    again = World()
    again.store = world.store
    allocations.by_qualifier["2"] = READY

    async with again.running(allocation=allocations):
        assert (await moved(again))["FunctionVersion"] == "2"
