"""A service: its model behind the one protocol that it speaks."""

from __future__ import annotations

import functools
import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol  # Any: botocore's models carry no types

import botocore
import msgspec
from botocore.model import ServiceModel

from lambent.model.errors import ApiError
from lambent.spec.aws_json import AwsJson
from lambent.spec.operation import Operation, Response
from lambent.spec.query import Query
from lambent.spec.rest_json import RestJson


class WireProtocol(Protocol):
    def route(
        self, method: str, raw_path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[str, Mapping[str, str]]: ...

    def compile(self, name: str) -> Operation: ...

    def serialize_error(self, error: ApiError, request_id: str) -> Response: ...


PROTOCOLS: Mapping[str, Any] = {"rest-json": RestJson, "json": AwsJson, "query": Query}


@functools.cache
def load(service_name: str) -> Service:
    """The service of that name in the installed botocore: `lambda`, `logs`, `sts`, `iam`."""
    model = load_model(service_name)
    return Service(service_name, PROTOCOLS[model.metadata["protocol"]](model))


@functools.cache
def load_model(service_name: str) -> ServiceModel:
    """The service's newest model, read by its path: botocore's own loader takes several times as long."""
    newest = max((Path(botocore.__file__).parent / "data" / service_name).glob("*/service-2.json*"))
    content = newest.read_bytes()
    model = msgspec.json.decode(gzip.decompress(content) if newest.suffix == ".gz" else content)
    return ServiceModel(model, service_name)


class Service:
    def __init__(self, name: str, protocol: WireProtocol) -> None:
        self.name = name
        self.operations: Mapping[str, Operation] = _Operations(protocol)
        self._protocol = protocol

    def route(
        self, method: str, raw_path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Operation, Mapping[str, str]]:
        """The operation that a request asks for, and the labels to give to its `parse`. Header names are lower-case.

        Raises:
            UnknownOperation: the service has no such operation.
        """
        name, labels = self._protocol.route(method, raw_path, query, headers, body)
        return self.operations[name], labels

    def serialize_error(self, error: ApiError, request_id: str) -> Response:
        """The error as this service's clients expect it."""
        return self._protocol.serialize_error(error, request_id)


class _Operations(dict[str, Operation]):
    """Each compiled when it is first asked for: of some four hundred a server needs few, and none in order to start."""

    def __init__(self, protocol: WireProtocol) -> None:
        super().__init__()
        self._protocol = protocol

    def __missing__(self, name: str) -> Operation:
        operation = self[name] = self._protocol.compile(name)
        return operation
