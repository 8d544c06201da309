"""Every operation of every service against botocore's own serializer and parser."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from io import BytesIO
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from botocore.awsrequest import HeadersDict, prepare_request_dict
from botocore.model import OperationModel, ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from botocore.session import get_session

from lambent import spec
from shape_values import value_for

SERVICES = ("lambda", "logs", "sts", "iam")


@cache
def model_of(service: str) -> ServiceModel:
    return get_session().get_service_model(service)


def operations() -> list[OperationModel]:
    models = map(model_of, SERVICES)
    return [model.operation_model(name) for model in models for name in model.operation_names]


def named(model: OperationModel) -> str:
    return f"{model.service_model.service_name}-{model.name}"


def answering() -> list[OperationModel]:
    return [model for model in operations() if model.output_shape and not model.has_event_stream_output]


def epochs(value: Any) -> Any:
    match value:
        case datetime():
            return value.timestamp()
        case dict():
            return {key: epochs(element) for key, element in value.items()}
        case list():
            return [epochs(element) for element in value]
    return value


def parsed_by_us(model: OperationModel, parameters: dict[str, Any]) -> dict[str, Any]:
    service = model.service_model
    request = create_serializer(service.protocol, include_validation=False).serialize_to_request(parameters, model)
    prepare_request_dict(request, endpoint_url="http://127.0.0.1:9400")
    url = urlsplit(request["url"])
    headers = {name.lower(): str(value) for name, value in request["headers"].items()}
    body = request["body"]
    if isinstance(body, dict):
        body = urlencode(body)
    raw = body.encode() if isinstance(body, str) else bytes(body)
    operation, labels = spec.load(service.service_name).route(request["method"], url.path, url.query, headers, raw)
    assert operation.name == model.name
    return operation.parse(labels, url.query, headers, raw)


def expected(model: OperationModel, parameters: dict[str, Any]) -> Any:
    payload = model.input_shape.serialization.get("payload") if model.input_shape else None
    if payload:  # an absent payload is an empty body, or with botocore an empty object
        parameters = {payload: b"" if model.input_shape.members[payload].type_name == "blob" else {}} | parameters
    return epochs(parameters)


@pytest.mark.parametrize("model", operations(), ids=named)
def test_a_full_request_is_parsed_to_what_the_client_meant(model: OperationModel) -> None:
    parameters = value_for(model.input_shape) if model.input_shape else {}

    assert parsed_by_us(model, parameters) == expected(model, parameters)


@pytest.mark.parametrize("model", operations(), ids=named)
def test_a_minimal_request_is_parsed_to_what_the_client_meant(model: OperationModel) -> None:
    parameters = value_for(model.input_shape, required_only=True) if model.input_shape else {}

    assert parsed_by_us(model, parameters) == expected(model, parameters)


def read_by_botocore(model: OperationModel, output: dict[str, Any]) -> Any:
    service = model.service_model
    status, headers, body = spec.load(service.service_name).operations[model.name].serialize(output, "request-1")
    answer: dict[str, Any] = {
        "status_code": status,
        "headers": HeadersDict({name.decode(): value.decode() for name, value in headers}),
        "body": BytesIO(body) if model.has_streaming_output else body,
    }
    parsed = create_parser(service.protocol).parse(answer, model.output_shape)
    parsed.pop("ResponseMetadata")
    return {name: value.read() if isinstance(value, BytesIO) else value for name, value in parsed.items()}


@pytest.mark.parametrize("model", answering(), ids=named)
def test_a_full_answer_is_read_back_by_the_client(model: OperationModel) -> None:
    output = value_for(model.output_shape)
    for name, member in model.output_shape.members.items():
        if member.serialization.get("location") == "statusCode":
            output[name] = 202

    assert read_by_botocore(model, epochs(output)) == output


@pytest.mark.parametrize("model", answering(), ids=named)
def test_an_empty_answer_leaves_every_member_out(model: OperationModel) -> None:
    output = dict.fromkeys(model.output_shape.members)

    answer = read_by_botocore(model, output)

    assert all(value in (200, 202, b"", [], {}) for value in answer.values()), answer
