"""Events and results as bytes: JSON both ways, with the liberties that AWS's client takes."""

from __future__ import annotations

import json
import sys

from lambent_runtime.fault import Fault

# Since Python 3.12 AWS's runtimes answer in plain UTF-8; before, everything beyond ASCII is escaped.
_ESCAPE = sys.version_info < (3, 12)


class _DecimalFound(Exception):
    pass


def decode_event(body: bytes, content_type: str) -> object:
    """The event a handler gets: the JSON value, or the bytes themselves where the caller says it is not JSON."""
    if content_type and not content_type.startswith("application/json"):
        return body
    try:
        return json.loads(body.decode())  # the platform lets in nothing but UTF-8
    except Exception as exc:
        raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {exc}") from exc


def encode_result(result: object) -> tuple[bytes, str]:
    """What a handler returned, as a body and its content type."""
    if isinstance(result, bytes):
        return result, "application/unknown"
    try:
        return dumps(result), "application/json"
    except Exception as exc:
        raise Fault("Runtime.MarshalError", f"Unable to marshal response: {exc}") from exc


def dumps(value: object) -> bytes:
    """JSON in UTF-8; a lone surrogate, which UTF-8 cannot carry, stays an escape."""
    try:
        text = _encode(value)
    except _DecimalFound:
        text = _encode_decimals(value)
    return text.encode("utf-8", "backslashreplace")


def _is_decimal(value: object) -> bool:
    decimal = sys.modules.get("decimal")  # nobody can return a Decimal without having imported it
    return decimal is not None and isinstance(value, decimal.Decimal)


def _default(value: object) -> object:
    if _is_decimal(value):
        raise _DecimalFound
    if isinstance(value, bytes):
        return value.decode()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_encode = json.JSONEncoder(ensure_ascii=_ESCAPE, default=_default).encode


def _encode_decimals(value: object) -> str:
    """Every digit of a Decimal is kept: each is written as a marked string whose quotes are then taken away."""
    import os
    import re

    mark = os.urandom(8).hex()

    def default(item: object) -> object:
        if not _is_decimal(item):
            return _default(item)
        return float("nan") if item.is_nan() else f"{mark}{item}"  # type: ignore[attr-defined]

    text = json.JSONEncoder(ensure_ascii=_ESCAPE, default=default).encode(value)
    return re.sub(f'"{mark}([^"]*)"', r"\1", text)
