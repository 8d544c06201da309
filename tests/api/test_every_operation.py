"""Every operation of the installed service model is built, or answers that it is not, by its name."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from lambda_wire import Wire, lambda_model, operation_names, wire_request

from lambent.frontend.operations import IMPLEMENTED
from lambent.testing.service import RunningService
from shape_values import value_for


@pytest.fixture(scope="module")
def wire(service: RunningService) -> Iterator[Wire]:
    one = Wire(service.endpoint_url)
    yield one
    one.close()


def as_json(value: Any) -> Any:
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {key: as_json(element) for key, element in value.items()}
        case list():
            return [as_json(element) for element in value]
    return value if isinstance(value, str | int | float | bool) else str(value)


@pytest.mark.parametrize("name", operation_names())
def test_an_operation_is_built_or_refused_by_name(wire: Wire, name: str) -> None:
    shape = lambda_model().operation_model(name).input_shape
    members = as_json(value_for(shape, required_only=True)) if shape else {}

    answer = wire.send(wire_request(name, members))

    assert answer.status < 500
    if name in IMPLEMENTED["lambda"]:
        assert answer.code not in ("NotImplementedException", "UnknownOperationException")
    else:
        assert (answer.status, answer.code) == (400, "NotImplementedException")
        assert answer.members == {"message": f"Lambent does not support lambda:{name} yet (see docs/compatibility.md)"}
