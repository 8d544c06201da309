"""Scalars as text, by shape: path labels, query parameters, headers, form fields and XML."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any  # botocore's shapes carry no types
from urllib.parse import unquote_plus

from lambent.model.errors import SerializationError
from lambent.spec.timestamps import format_iso, parse_timestamp

Shape = Any

_INTEGER = re.compile(r"-?[0-9]{1,19}")


def parse_query(query: str) -> list[tuple[str, str]]:
    """The decoded parameters of a query string or form, in order; `a` alone is an empty `a`."""
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    if "%" not in query and "+" not in query:
        return [(name, value) for name, _, value in pairs]
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs]


def text_decoder(shape: Shape) -> Callable[[str], Any] | None:
    """A function from text to a value; None for strings, which are what they are."""
    return _DECODERS[shape.type_name]


def text_encoder(shape: Shape) -> Callable[[Any], str]:
    return _ENCODERS.get(shape.type_name, str)


def _integer(text: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise SerializationError("STRING_VALUE can not be converted to an Integer")
    return int(text)


def _boolean(text: str) -> bool:
    match text.lower():
        case "true":
            return True
        case "false":
            return False
    raise SerializationError("STRING_VALUE can not be converted to a Boolean")


def _blob(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as exc:
        raise SerializationError(f"STRING_VALUE can not be converted to a Blob: {exc}") from exc


_DECODERS: Mapping[str, Callable[[str], Any] | None] = {
    "string": None,
    "integer": _integer,
    "long": _integer,
    "boolean": _boolean,
    "blob": _blob,
    "timestamp": parse_timestamp,
}

_ENCODERS: Mapping[str, Callable[[Any], str]] = {
    "boolean": lambda value: "true" if value else "false",
    "blob": lambda value: binascii.b2a_base64(value, newline=False).decode(),
    "timestamp": format_iso,
}
