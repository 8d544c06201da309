"""The rest-json protocol (lambda): parameters in path labels, query, headers and a JSON or raw body."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any  # botocore's models carry no types
from urllib.parse import unquote

import msgspec

from lambent.model.errors import AccessDenied, ApiError, PlatformError, UnknownOperation
from lambent.spec.constraints import compile_request_check
from lambent.spec.json_values import Decoders, Encoders, load_object, wire_name
from lambent.spec.operation import Operation, Response, Serialize
from lambent.spec.text_values import parse_query, text_decoder, text_encoder

Model = Any
Shape = Any
Labels = Mapping[str, str]

JSON = (b"Content-Type", b"application/json")
EVENT_STREAM = (b"Content-Type", b"application/vnd.amazon.eventstream")


@dataclass(slots=True)
class _Node:
    """A place in the tree of paths: literal segments, at most one label, and the operations that end here."""

    literals: dict[str, _Node] = field(default_factory=dict)
    label: _Node | None = None
    ends: dict[str, list[_End]] = field(default_factory=lambda: defaultdict(list))


@dataclass(slots=True)
class _End:
    operation: str
    labels: list[str]
    query: list[tuple[str, str]]
    """Parameters that tell this operation from others on the same path, e.g. `?List=ALL`."""


class RestJson:
    def __init__(self, model: Model) -> None:
        self._model = model
        self._root = _Node()
        self._walk = functools.lru_cache(maxsize=4_096)(self._walk_tree)
        self._errors = {shape.name: _ErrorForm.of(shape) for shape in model.error_shapes}
        for name in model.operation_names:
            self._add_route(name, model.operation_model(name).http)

    def _add_route(self, name: str, http: Mapping[str, str]) -> None:
        path, _, query = http["requestUri"].partition("?")
        node, labels = self._root, []
        for segment in path.split("/"):
            if segment.endswith("+}"):
                raise PlatformError(f"{name}: greedy path labels ({segment}) are not supported")
            if segment.startswith("{"):
                labels.append(segment[1:-1])
                node.label = node = node.label or _Node()
            else:
                node = node.literals.setdefault(segment, _Node())
        ends = node.ends[http["method"]]
        ends.append(_End(name, labels, parse_query(query)))
        ends.sort(key=lambda end: -len(end.query))

    def route(
        self, method: str, raw_path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[str, Labels]:
        """The operation's name and the path's labels, percent-decoded once."""
        ends, values = self._walk(method, raw_path.removesuffix("/"))  # older SDKs say `/2015-03-31/functions/`
        for end in ends:
            if not end.query or set(end.query).issubset(parse_query(query)):
                return end.operation, dict(zip(end.labels, values, strict=True))
        raise UnknownOperation(f"No operation of {self._model.service_name} is at {method} {raw_path}")

    def _walk_tree(self, method: str, raw_path: str) -> tuple[Sequence[_End], list[str]]:
        node = self._root
        values = []
        for segment in raw_path.split("/"):
            if (literal := node.literals.get(segment)) is not None:
                node = literal
            elif node.label is not None:
                node = node.label
                values.append(unquote(segment) if "%" in segment else segment)
            else:
                return (), values
        return node.ends.get(method, ()), values

    def compile(self, name: str) -> Operation:
        model = self._model.operation_model(name)
        return Operation(name, _compile_parse(model), _compile_serialize(model), _header_names(model))

    def serialize_error(self, error: ApiError, request_id: str) -> Response:
        form = self._errors.get(_MODELLED_AS.get(error.code, error.code), _FRAMEWORK)
        if isinstance(error, AccessDenied):
            form = _ACCESS_DENIED
        headers = [JSON, (b"x-amzn-ErrorType", error.code.encode())]
        body: dict[str, str | None] = {}
        if form.has_type:
            body["Type"] = "User" if error.status < 500 else "Service"
        if error.message is not None:
            body[form.message] = error.message
        for member, value in error.fields.items():
            header = form.headers.get(member) or (member if "-" in member else None)
            if value is None:
                body.pop(member, None)
            elif header:
                headers.append((header.encode(), value.encode()))
            else:
                body[member] = value
        return error.status, headers, msgspec.json.encode(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ErrorForm:
    """How the service model spells one exception's members."""

    message: str
    has_type: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, shape: Shape) -> _ErrorForm:
        return cls(
            message=next((name for name in shape.members if name.lower() == "message"), "message"),
            has_type="Type" in shape.members,
            headers={name: wire_name(name, member) for name, member in _located(shape, "header")},
        )


_FRAMEWORK = _ErrorForm(message="message")
_ACCESS_DENIED = _ErrorForm(message="Message")
_MODELLED_AS = {"RequestEntityTooLargeException": "RequestTooLargeException"}


def _located(shape: Shape, location: str | None) -> Iterable[tuple[str, Shape]]:
    """The members of a shape that travel in one place; None is the body."""
    return [
        (name, member) for name, member in shape.members.items() if member.serialization.get("location") == location
    ]


def _header_names(model: Model) -> frozenset[str]:
    members = _located(model.input_shape, "header") if model.input_shape else ()
    return frozenset(wire_name(name, member).lower() for name, member in members)


Read = Callable[[Labels, str, Mapping[str, str], bytes, dict[str, Any]], None]


def _compile_parse(model: Model) -> Callable[[Labels, str, Mapping[str, str], bytes], dict[str, Any]]:
    shape = model.input_shape
    if shape is None:
        return lambda labels, query, headers, body: {}
    read_query = _query_reader(shape)
    read_body = _body_reader(shape)
    label_members = [(wire_name(name, member), name, text_decoder(member)) for name, member in _located(shape, "uri")]
    header_members = [
        (wire_name(name, member).lower(), name, text_decoder(member)) for name, member in _located(shape, "header")
    ]
    check = compile_request_check(model.name, shape)

    def parse(labels: Labels, query: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        parameters: dict[str, Any] = {}
        for label, name, decode in label_members:
            text = labels[label]
            parameters[name] = decode(text) if decode else text
        for header, name, decode in header_members:
            if (value := headers.get(header)) is not None:
                parameters[name] = decode(value) if decode else value
        if query:
            read_query(query, parameters)
        read_body(body, parameters)
        check(parameters)
        return parameters

    return parse


def _query_reader(shape: Shape) -> Callable[[str, dict[str, Any]], None]:
    members = {
        wire_name(name, member): (
            name,
            member.type_name == "list",
            text_decoder(member.member if member.type_name == "list" else member) or str,
        )
        for name, member in _located(shape, "querystring")
    }

    def read(query: str, parameters: dict[str, Any]) -> None:
        for key, text in parse_query(query):
            if (member := members.get(key)) is None:
                continue
            name, is_list, decode = member
            if is_list:
                parameters.setdefault(name, []).append(decode(text))
            else:
                parameters[name] = decode(text)

    return read


def _body_reader(shape: Shape) -> Callable[[bytes, dict[str, Any]], None]:
    payload = shape.serialization.get("payload")
    if payload is None:
        members = dict(_located(shape, None))
        decode = Decoders().structure(members)
        return lambda body, parameters: parameters.update(decode(load_object(body))) if members else None
    if shape.members[payload].type_name == "blob":
        return lambda body, parameters: parameters.__setitem__(payload, body)
    decode_payload = Decoders().of(shape.members[payload])
    return lambda body, parameters: parameters.update({payload: decode_payload(load_object(body))} if body else {})


def _compile_serialize(model: Model) -> Serialize:
    shape = model.output_shape
    modelled_status = int(model.http.get("responseCode", 200))
    if shape is None:
        return lambda output, request_id="": (modelled_status, [], b"")
    status_member = next((name for name, _ in _located(shape, "statusCode")), "")
    header_members = [
        (name, wire_name(name, member).encode(), text_encoder(member)) for name, member in _located(shape, "header")
    ]
    write_body = _body_writer(shape)
    content_type = EVENT_STREAM if model.has_event_stream_output else JSON

    def serialize(output: Mapping[str, Any], request_id: str = "") -> Response:
        body = write_body(output)
        headers = []
        for name, header, encode in header_members:
            if (value := output.get(name)) is not None:
                headers.append((header, encode(value).encode()))
        if (body or content_type is EVENT_STREAM) and not any(name == b"Content-Type" for name, _ in headers):
            headers.append(content_type)
        return output.get(status_member) or modelled_status, headers, body

    return serialize


def _body_writer(shape: Shape) -> Callable[[Mapping[str, Any]], bytes]:
    payload = shape.serialization.get("payload")
    if payload is not None:
        return lambda output: output.get(payload) or b""
    members = dict(_located(shape, None))
    if not members:
        return lambda output: b""
    encode = Encoders().structure(shape.name, members)
    elsewhere = [name for name in shape.members if name not in members]

    def write(output: Mapping[str, Any]) -> bytes:
        if elsewhere:
            output = {name: value for name, value in output.items() if name not in elsewhere}
        return msgspec.json.encode(encode(output))

    return write
