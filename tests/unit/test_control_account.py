"""Reserved concurrency, account settings, and the ledger they are read from."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from control_world import ARN, CALLER, World, zip_of
from hypothesis import given
from hypothesis import strategies as st

from lambent.control.usage import Holding, Ledger, Usage
from lambent.model.errors import InvalidParameterValue, ResourceNotFound

NAMES = ["PutFunctionConcurrency", "GetFunctionConcurrency", "DeleteFunctionConcurrency"]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World().running() as running:
        yield running


async def test_reserved_concurrency_is_put_read_and_taken_away(world: World) -> None:
    await world.created()
    assert await world.call("GetFunctionConcurrency", FunctionName="f") == {}
    put = await world.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=0)
    assert put == {"ReservedConcurrentExecutions": 0}
    assert await world.call("GetFunctionConcurrency", FunctionName="f") == put
    assert await world.call("DeleteFunctionConcurrency", FunctionName="f") == {}
    assert await world.call("GetFunctionConcurrency", FunctionName="f") == {}


async def test_a_hundred_must_stay_unreserved(world: World) -> None:
    await world.created("f")
    await world.created("g")
    await world.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=600)
    await world.call("PutFunctionConcurrency", FunctionName="g", ReservedConcurrentExecutions=300)
    with pytest.raises(InvalidParameterValue) as refused:
        await world.call("PutFunctionConcurrency", FunctionName="g", ReservedConcurrentExecutions=301)
    assert refused.value.message == (
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
        "its minimum value of [100]."
    )
    limit = (await world.call("GetAccountSettings"))["AccountLimit"]
    assert limit["UnreservedConcurrentExecutions"] == 100
    await world.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=0)
    await world.call("PutFunctionConcurrency", FunctionName="g", ReservedConcurrentExecutions=301)


@pytest.mark.parametrize("operation", NAMES)
async def test_reserved_concurrency_is_of_existing_unqualified_functions(world: World, operation: str) -> None:
    members = {"ReservedConcurrentExecutions": 1} if operation.startswith("Put") else {}
    with pytest.raises(ResourceNotFound) as unknown:
        await world.call(operation, FunctionName="f", **members)
    assert unknown.value.message == f"Function not found: {ARN}"
    with pytest.raises(InvalidParameterValue, match=r"^This operation is permitted on Lambda functions only"):
        await world.call(operation, FunctionName="f:1", **members)


async def test_account_settings_show_limits_and_what_is_used(world: World) -> None:
    await world.created(Publish=True)
    await world.created("g")
    assert await world.call("GetAccountSettings") == {
        "AccountLimit": {
            "TotalCodeSize": 80_530_636_800,
            "CodeSizeUnzipped": 262_144_000,
            "CodeSizeZipped": 52_428_800,
            "ConcurrentExecutions": 1_000,
            "UnreservedConcurrentExecutions": 1_000,
        },
        "AccountUsage": {"TotalCodeSize": 3 * len(zip_of()), "FunctionCount": 2},
    }
    other = await world.call("GetAccountSettings", replace(CALLER, region="us-east-1"))
    assert other["AccountUsage"] == {"TotalCodeSize": 0, "FunctionCount": 0}


HOLDINGS = st.none() | st.builds(
    Holding,
    scope=st.tuples(st.sampled_from("12"), st.just("eu-west-1")),
    functions=st.integers(0, 1),
    code_bytes=st.integers(0, 9),
    reserved_concurrency=st.integers(0, 9),
    packages=st.lists(st.sampled_from("abc"), max_size=2).map(tuple),
)


@given(st.lists(st.tuples(st.sampled_from("xyz"), HOLDINGS), max_size=30))
def test_the_ledger_is_the_sum_of_what_is_held_and_frees_at_the_last_mention(
    notes: list[tuple[str, Holding | None]],
) -> None:
    ledger, held = Ledger(), dict[str, Holding]()
    for key, holding in notes:
        named = {package for value in held.values() for package in value.packages}
        freed = ledger.note(key, holding)
        held.pop(key, None)
        if holding is not None:
            held[key] = holding
        still = Counter(package for value in held.values() for package in value.packages)
        assert freed == named - still.keys()
        assert all(ledger.names(package) == (package in still) for package in "abc")
    for account in "12":
        own = [value for value in held.values() if value.scope[0] == account]
        assert ledger.usage(account, "eu-west-1") == Usage(
            functions=sum(value.functions for value in own),
            code_bytes=sum(value.code_bytes for value in own),
            reserved_concurrency=sum(value.reserved_concurrency for value in own),
        )
