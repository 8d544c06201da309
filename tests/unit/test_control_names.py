"""Every operation understands every way of naming a function (reference/api.md §2)."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.session import get_session
from control_world import ARN, CALLER, World

from lambent.model.errors import ApiError
from shape_values import value_for

MODEL = get_session().get_service_model("lambda")
FORMS = ("f", "function:f", "000000000000:function:f", ARN)
QUALIFIED = tuple(f"{form}:7" for form in FORMS)


def operations(member: str) -> list[str]:
    """The operations of the control plane whose request has this member."""
    having = (name for name in MODEL.operation_names if MODEL.operation_model(name).input_shape is not None)
    return sorted(name for name in having if member in MODEL.operation_model(name).input_shape.members)


async def outcome(world: World, operation: str, **members: Any) -> tuple[str, str | None] | None:
    """What an operation says of an absent function; None if it is not built."""
    handler = world.control.operations.get(operation)
    if handler is None:
        return None
    shape = MODEL.operation_model(operation).input_shape
    try:
        await handler(CALLER, {**value_for(shape, required_only=True), **members})
    except ApiError as refused:
        return refused.code, refused.message
    return "", None


@pytest.mark.parametrize("operation", [name for name in operations("FunctionName") if name != "CreateFunction"])
async def test_a_function_is_the_same_by_each_of_its_names(operation: str) -> None:
    async with World().running() as world:
        assert len({await outcome(world, operation, FunctionName=form) for form in FORMS}) == 1
        assert len({await outcome(world, operation, FunctionName=form) for form in QUALIFIED}) == 1


@pytest.mark.parametrize("operation", operations("Qualifier"))
async def test_a_qualifier_is_the_same_in_the_name_and_beside_it(operation: str) -> None:
    async with World().running() as world:
        beside = {await outcome(world, operation, FunctionName=form, Qualifier="7") for form in (*FORMS, *QUALIFIED)}
        assert len(beside) == 1
        assert len({await outcome(world, operation, FunctionName=form, Qualifier="8") for form in QUALIFIED}) == 1
