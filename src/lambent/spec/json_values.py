"""JSON to values and back, by shape: the bodies of the rest-json and json protocols."""

from __future__ import annotations

import binascii
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any  # botocore's shapes carry no types; JSON is of any type until decoded

import msgspec

from lambent.model.errors import PlatformError, SerializationError
from lambent.spec.timestamps import parse_timestamp

Shape = Any
Convert = Callable[[Any], Any]


def load_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a request's body; an empty body is an empty object."""
    if not body:
        return {}
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise SerializationError(f"Could not parse request body into json: {exc}") from exc
    except RecursionError as exc:
        raise SerializationError("Could not parse request body into json: nested too deeply") from exc
    if type(value) is not dict:
        raise _misplaced(value, "an object")
    return value


class Decoders:
    """Compiles shapes to functions from parsed JSON to values; members that the model does not know are ignored."""

    def __init__(self) -> None:
        self._structures: dict[str, Convert] = {}

    def of(self, shape: Shape) -> Convert:
        match shape.type_name:
            case "structure":
                return self._nested_structure(shape)
            case "list":
                return _list_decoder(self.of(shape.member))
            case "map":
                return _map_decoder(self.of(shape.value))
        return _SCALARS[shape.type_name]

    def structure(self, members: Mapping[str, Shape]) -> Convert:
        """`members` by their wire names; only these are read."""
        decoders = [(wire_name(name, member), name, self.of(member)) for name, member in members.items()]

        def decode(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise _misplaced(value, "an object")
            get = value.get
            decoded = {}
            for wire, name, decode_member in decoders:
                member = get(wire)
                if member is not None:
                    decoded[name] = decode_member(member)
            return decoded

        return decode

    def _nested_structure(self, shape: Shape) -> Convert:
        if shape.name not in self._structures:
            self._structures[shape.name] = lambda value: self._structures[shape.name](value)
            self._structures[shape.name] = self.structure(shape.members)
        return self._structures[shape.name]


class Encoders:
    """Compiles shapes to functions from values to what `msgspec.json.encode` takes; None stands for "as it is"."""

    def __init__(self) -> None:
        self._structures: dict[str, Convert] = {}

    def of(self, shape: Shape) -> Convert | None:
        match shape.type_name:
            case "structure":
                return self._nested_structure(shape)
            case "list":
                encode = self.of(shape.member)
                return encode and functools.partial(_encode_list, encode)
            case "map":
                encode = self.of(shape.value)
                return encode and functools.partial(_encode_map, encode)
            case "blob":
                return lambda value: binascii.b2a_base64(value, newline=False).decode()
        return None

    def structure(self, owner: str, members: Mapping[str, Shape]) -> Convert:
        encoders = {name: (wire_name(name, member), self.of(member)) for name, member in members.items()}

        def encode(value: Mapping[str, Any]) -> dict[str, Any]:
            encoded = {}
            for name, member in value.items():
                if name not in encoders:
                    raise PlatformError(f"the service model's {owner} has no member {name!r}, yet an answer holds it")
                wire, encode_member = encoders[name]
                if member is not None:
                    encoded[wire] = encode_member(member) if encode_member else member
            return encoded

        return encode

    def _nested_structure(self, shape: Shape) -> Convert:
        if shape.name not in self._structures:
            self._structures[shape.name] = lambda value: self._structures[shape.name](value)
            self._structures[shape.name] = self.structure(shape.name, shape.members)
        return self._structures[shape.name]


def wire_name(name: str, member: Shape) -> str:
    return str(member.serialization.get("name", name))


def _encode_list(encode: Convert, values: Iterable[Any]) -> list[Any]:
    return [encode(value) for value in values]


def _encode_map(encode: Convert, values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: encode(value) for key, value in values.items()}


def _list_decoder(decode: Convert) -> Convert:
    def decode_list(value: Any) -> list[Any]:
        if type(value) is not list:
            raise _misplaced(value, "a list")
        return [None if element is None else decode(element) for element in value]

    return decode_list


def _map_decoder(decode: Convert) -> Convert:
    def decode_map(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise _misplaced(value, "a map")
        return {key: None if element is None else decode(element) for key, element in value.items()}

    return decode_map


def _string(value: Any) -> str:
    if type(value) is str:
        return value
    raise _misplaced(value, "a String")


def _integer(value: Any) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    raise _misplaced(value, "an Integer")


def _double(value: Any) -> float:
    if type(value) in (int, float):
        return float(value)
    raise _misplaced(value, "a Double")


def _boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise _misplaced(value, "a Boolean")


def _blob(value: Any) -> bytes:
    if type(value) is not str:
        raise _misplaced(value, "a Blob")
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except ValueError as exc:
        raise SerializationError(f"STRING_VALUE can not be converted to a Blob: {exc}") from exc


def _timestamp(value: Any) -> float:
    if type(value) in (int, float, str):
        return parse_timestamp(str(value))
    raise _misplaced(value, "a Timestamp")


_SCALARS: Mapping[str, Convert] = {
    "string": _string,
    "integer": _integer,
    "long": _integer,
    "float": _double,
    "double": _double,
    "boolean": _boolean,
    "blob": _blob,
    "timestamp": _timestamp,
}

_FOUND = {str: "STRING_VALUE", int: "NUMBER_VALUE", float: "NUMBER_VALUE", type(None): "NULL_VALUE"}


def _misplaced(value: Any, expected: str) -> SerializationError:
    """The refusal of a JSON value of the wrong kind, in the words of AWS's parser."""
    if type(value) is dict:
        return SerializationError("Start of structure or map found where not expected.")
    if type(value) is list:
        return SerializationError("Start of list found where not expected.")
    found = ("TRUE_VALUE" if value else "FALSE_VALUE") if type(value) is bool else _FOUND[type(value)]
    return SerializationError(f"{found} can not be converted to {expected}")
