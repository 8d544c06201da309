"""The json protocol (logs): the operation in `X-Amz-Target`, everything else in one JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any  # botocore's models carry no types

import msgspec

from lambent.model.errors import AccessDenied, ApiError, UnknownOperation, ValidationError
from lambent.spec.constraints import compile_request_check
from lambent.spec.json_values import Decoders, Encoders, load_object
from lambent.spec.operation import Operation, Response

Model = Any


class AwsJson:
    def __init__(self, model: Model) -> None:
        self._model = model
        self._target_prefix = model.metadata["targetPrefix"] + "."
        self._content_type = (b"Content-Type", f"application/x-amz-json-{model.metadata['jsonVersion']}".encode())
        self._operations = frozenset(model.operation_names)
        self._modelled_errors = frozenset(shape.name for shape in model.error_shapes)

    def route(
        self, method: str, raw_path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[str, Mapping[str, str]]:
        target = headers.get("x-amz-target", "")
        name = target.removeprefix(self._target_prefix)
        if name == target or name not in self._operations:
            raise UnknownOperation(f"No operation of {self._model.service_name} is called '{target}'")
        return name, {}

    def compile(self, name: str) -> Operation:
        model = self._model.operation_model(name)
        content_type = self._content_type
        decode = Decoders().structure(model.input_shape.members)
        check = compile_request_check(name, model.input_shape)
        shape = model.output_shape
        members = shape.members if shape else {}
        encode = Encoders().structure(shape.name if shape else name, members)

        def parse(labels: Mapping[str, str], query: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
            parameters: dict[str, Any] = decode(load_object(body))
            check(parameters)
            return parameters

        def serialize(output: Mapping[str, Any], request_id: str = "") -> Response:
            return 200, [content_type], msgspec.json.encode(encode(output)) if shape else b""

        return Operation(name, parse, serialize)

    def serialize_error(self, error: ApiError, request_id: str) -> Response:
        code, status = error.code, error.status
        if isinstance(error, ValidationError):
            code = "InvalidParameterException"  # what CloudWatch Logs calls a broken constraint
        if code in self._modelled_errors and status < 500:
            status = 400  # the protocol has one status for every modelled refusal
        body = {"__type": code, **error.fields}
        if error.message is not None:
            body["Message" if isinstance(error, AccessDenied) else "message"] = error.message
        return status, [self._content_type], msgspec.json.encode(body)
