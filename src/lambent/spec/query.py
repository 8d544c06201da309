"""The query protocol (sts, iam): a form with an `Action` in, XML out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any  # botocore's models carry no types
from xml.sax.saxutils import escape

from lambent.model.errors import ApiError, PlatformError, SerializationError, UnknownOperation
from lambent.spec.constraints import compile_request_check
from lambent.spec.json_values import wire_name
from lambent.spec.operation import Operation, Response
from lambent.spec.text_values import parse_query, text_decoder, text_encoder

Model = Any
Shape = Any
Tree = dict[str, "str | Tree"]
Read = Callable[["str | Tree"], Any]
Write = Callable[[str, Any, list[str]], None]

XML = (b"Content-Type", b"text/xml")

CODES: Mapping[str, str] = {
    "ValidationException": "ValidationError",
    "AccessDeniedException": "AccessDenied",
    "UnknownOperationException": "InvalidAction",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "IncompleteSignatureException": "IncompleteSignature",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "ExpiredTokenException": "ExpiredToken",
    "SerializationException": "MalformedInput",
}
"""The older names under which the query protocol answers the errors that are common to all services."""


class Query:
    def __init__(self, model: Model) -> None:
        self._model = model
        self._operations = frozenset(model.operation_names)
        self._namespace = model.metadata["xmlNamespace"]
        self._codes = {shape.name: shape.error_code for shape in model.error_shapes} | dict(CODES)

    def route(
        self, method: str, raw_path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[str, Mapping[str, str]]:
        """The operation's name and, as labels, the whole form."""
        form = dict(parse_query(query) + parse_query(body.decode("utf-8", "replace")))
        name = form.get("Action", "")
        if name not in self._operations:
            version = form.get("Version", self._model.api_version)
            raise UnknownOperation(f"Could not find operation {name} for version {version}")
        return name, form

    def compile(self, name: str) -> Operation:
        model = self._model.operation_model(name)
        return Operation(name, _compile_parse(model), self._compile_serialize(model))

    def _compile_serialize(self, model: Model) -> Callable[..., Response]:
        shape = model.output_shape
        name, namespace = model.name, self._namespace
        wrapper = shape.serialization["resultWrapper"] if shape else ""
        write_members = _Writers().members(shape) if shape else None

        def serialize(output: Mapping[str, Any], request_id: str = "") -> Response:
            out = [f'<{name}Response xmlns="{namespace}">']
            if write_members:
                write_members(wrapper, output, out)
            out.append(f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>")
            return 200, [XML], "".join(out).encode()

        return serialize

    def serialize_error(self, error: ApiError, request_id: str) -> Response:
        at_fault = "Sender" if error.status < 500 else "Receiver"
        body = (
            f'<ErrorResponse xmlns="{self._namespace}"><Error><Type>{at_fault}</Type>'
            f"<Code>{self._codes.get(error.code, error.code)}</Code><Message>{_escape(error.message or '')}</Message>"
            f"</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return error.status, [XML], body.encode()


def _compile_parse(model: Model) -> Callable[..., dict[str, Any]]:
    shape = model.input_shape
    if shape is None:
        return lambda labels, query, headers, body: {}
    read = _Readers().structure(shape)
    check = compile_request_check(model.name, shape)

    def parse(labels: Mapping[str, str], query: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        parameters: dict[str, Any] = read(_tree(labels))
        check(parameters)
        return parameters

    return parse


def _tree(form: Mapping[str, str]) -> Tree:
    """`{"Tags.member.1.Key": "a"}` as `{"Tags": {"member": {"1": {"Key": "a"}}}}`."""
    root: Tree = {}
    for name, text in form.items():
        *parents, leaf = name.split(".")
        node = root
        for parent in parents:
            child = node.setdefault(parent, {})
            if isinstance(child, str):
                raise SerializationError(f"'{name}' holds both a value and further members")
            node = child
        if leaf in node:
            raise SerializationError(f"'{name}' holds both a value and further members")
        node[leaf] = text
    return root


class _Readers:
    """Compiles shapes to functions from a part of the form's tree to a value."""

    def __init__(self) -> None:
        self._structures: dict[str, Read] = {}

    def of(self, shape: Shape) -> Read:
        match shape.type_name:
            case "structure":
                return self._nested_structure(shape)
            case "list":
                read = self.of(shape.member)
                entry = wire_name("member", shape.member)
                return lambda node: [read(element) for element in _entries(node, entry)]
            case "map":
                read_value = self.of(shape.value)
                key, value = wire_name("key", shape.key), wire_name("value", shape.value)
                return lambda node: {
                    _text(pair.get(key, "")): read_value(pair.get(value, ""))
                    for pair in map(_branch, _entries(node, "entry"))
                }
        decode = text_decoder(shape)
        return lambda node: decode(_text(node)) if decode else _text(node)

    def structure(self, shape: Shape) -> Read:
        members = [(wire_name(name, member), name, self.of(member)) for name, member in shape.members.items()]

        def read(node: str | Tree) -> dict[str, Any]:
            tree = _branch(node)
            return {name: read_member(tree[wire]) for wire, name, read_member in members if wire in tree}

        return read

    def _nested_structure(self, shape: Shape) -> Read:
        if shape.name not in self._structures:
            self._structures[shape.name] = lambda node: self._structures[shape.name](node)
            self._structures[shape.name] = self.structure(shape)
        return self._structures[shape.name]


def _text(node: str | Tree) -> str:
    if isinstance(node, str):
        return node
    raise SerializationError("Start of structure or map found where not expected.")


def _branch(node: str | Tree) -> Tree:
    if isinstance(node, dict):
        return node
    raise SerializationError("STRING_VALUE can not be converted to an object")


def _entries(node: str | Tree, name: str) -> list[str | Tree]:
    """The elements below `name.1`, `name.2`, … in order; an empty text stands for an empty list."""
    if node == "":
        return []
    entries = _branch(_branch(node).get(name, {}))
    if not all(index.isdecimal() for index in entries):
        raise SerializationError(f"The entries of '{name}' must be numbered")
    return [entries[index] for index in sorted(entries, key=int)]


class _Writers:
    """Compiles shapes to functions that write a value as an XML element of a given name."""

    def __init__(self) -> None:
        self._structures: dict[str, Write] = {}

    def of(self, shape: Shape) -> Write:
        match shape.type_name:
            case "structure":
                return self._nested_structure(shape)
            case "list":
                return self._list(shape)
            case "map":
                return self._map(shape)
        encode = text_encoder(shape)
        return lambda name, value, out: out.append(f"<{name}>{_escape(encode(value))}</{name}>")

    def members(self, shape: Shape) -> Write:
        writers = {name: (wire_name(name, member), self.of(member)) for name, member in shape.members.items()}

        def write(name: str, value: Mapping[str, Any], out: list[str]) -> None:
            out.append(f"<{name}>")
            for member, content in value.items():
                if member not in writers:
                    raise PlatformError(f"the service model's {shape.name} has no member {member!r}")
                wire, write_member = writers[member]
                if content is not None:
                    write_member(wire, content, out)
            out.append(f"</{name}>")

        return write

    def _list(self, shape: Shape) -> Write:
        write_element = self.of(shape.member)
        entry = wire_name("member", shape.member)

        def write(name: str, value: Any, out: list[str]) -> None:
            out.append(f"<{name}>")
            for element in value:
                write_element(entry, element, out)
            out.append(f"</{name}>")

        return write

    def _map(self, shape: Shape) -> Write:
        write_key, write_value = self.of(shape.key), self.of(shape.value)
        key_name, value_name = wire_name("key", shape.key), wire_name("value", shape.value)

        def write(name: str, value: Any, out: list[str]) -> None:
            out.append(f"<{name}>")
            for key, element in value.items():
                out.append("<entry>")
                write_key(key_name, key, out)
                write_value(value_name, element, out)
                out.append("</entry>")
            out.append(f"</{name}>")

        return write

    def _nested_structure(self, shape: Shape) -> Write:
        if shape.name not in self._structures:
            self._structures[shape.name] = lambda *call: self._structures[shape.name](*call)
            self._structures[shape.name] = self.members(shape)
        return self._structures[shape.name]


def _escape(text: str) -> str:
    # A bare carriage return would be read back as a line feed.
    return escape(text, {"\r": "&#xD;"})
