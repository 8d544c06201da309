"""Requests to Lambda as bytes, from members of any value: for what no client would send."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from botocore.model import OperationModel, ServiceModel, Shape
from botocore.session import get_session


@cache
def lambda_model() -> ServiceModel:
    return get_session().get_service_model("lambda")


def operation_names() -> list[str]:
    return sorted(lambda_model().operation_names)


@dataclass(frozen=True, slots=True, kw_only=True)
class WireRequest:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WireAnswer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return self.headers.get("x-amzn-errortype", "")

    @property
    def members(self) -> Any:
        return json.loads(self.body) if self.body else {}


def wire_request(operation: str, members: Mapping[str, Any]) -> WireRequest:
    """The request that says `members`, whatever they are; None stands for absent outside of the body."""
    model = lambda_model().operation_model(operation)
    path, _, fixed_query = model.http["requestUri"].partition("?")
    query = [tuple(pair.split("=")) for pair in fixed_query.split("&") if pair]
    headers: dict[str, str] = {}
    body: dict[str, Any] = {}
    payload = model.input_shape.serialization.get("payload") if model.input_shape else None
    raw = b""
    for name, value in members.items():
        shape = model.input_shape.members.get(name)
        location, wire = _place(shape, name)
        if location == "uri":
            path = path.replace(f"{{{wire}}}", quote(_text(value), safe=""))
        elif location == "querystring" and value is not None:
            query += [(wire, _text(one)) for one in (value if isinstance(value, list) else [value])]
        elif location == "header" and value is not None:
            headers[wire] = _text(value).encode("ascii", "replace").decode().translate(_NO_BREAKS)
        elif name == payload:
            raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        elif location is None:
            body[wire] = value
    if payload is None and model.input_shape is not None and model.http["method"] in ("POST", "PUT"):
        raw = json.dumps(body).encode()
    target = path + (f"?{urlencode(query, errors='replace')}" if query else "")
    return WireRequest(method=model.http["method"], target=target, headers=headers, body=raw)


_NO_BREAKS = dict.fromkeys((*range(32), 127), "?")


def _place(shape: Shape | None, name: str) -> tuple[str | None, str]:
    if shape is None:
        return None, name
    return shape.serialization.get("location"), shape.serialization.get("name", name)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return "" if value is None else json.dumps(value)


class Wire:
    """One connection to a server, opened anew whenever the server has closed it."""

    def __init__(self, endpoint_url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(endpoint_url).netloc, timeout=60)

    def send(self, request: WireRequest) -> WireAnswer:
        try:
            self._connection.request(request.method, request.target, request.body, dict(request.headers))
            answer = self._connection.getresponse()
            body = answer.read()
        except (ConnectionError, http.client.RemoteDisconnected):
            self._connection.close()
            raise
        return WireAnswer(status=answer.status, headers=_lower(answer.getheaders()), body=body)

    def close(self) -> None:
        self._connection.close()


def _lower(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers}


def error_codes(model: OperationModel) -> Mapping[str, int]:
    """The status of each error that the model gives an operation."""
    return {shape.name: shape.metadata["error"]["httpStatusCode"] for shape in model.error_shapes}
