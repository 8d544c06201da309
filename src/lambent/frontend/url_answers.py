"""What a function behind a URL returns, as an HTTP answer (reference/invocation.md §6.4; runtime-api.md §3). Pure."""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from typing import Any  # Any: what a function returns is JSON of any shape

import msgspec

Header = tuple[bytes, bytes]

HTTP_INTEGRATION = "application/vnd.awslambda.http-integration-response"
PRELUDE_END = bytes(8)

_SAID_BY_THE_SERVER = frozenset(("connection", "content-length", "date", "keep-alive", "transfer-encoding"))


class Malformed(Exception):
    """What the function returned is no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlAnswer:
    """Header names are lower-case; each cookie is a `set-cookie` header."""

    status: int
    headers: list[Header]
    body: bytes = b""


def answer_of(payload: bytes) -> UrlAnswer:
    """Infer the answer: an object with a `statusCode` is one, anything else is the body of one.

    Raises:
        Malformed: there is a `statusCode`, and something in the object is not as it must be.
    """
    try:
        result = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return UrlAnswer(status=200, headers=[_JSON], body=payload)
    if isinstance(result, dict) and "statusCode" in result:
        head = _head(result)
        if not any(name == b"content-type" for name, _ in head.headers):
            head.headers.append(_JSON)
        return UrlAnswer(status=head.status, headers=head.headers, body=_body(result))
    if isinstance(result, str):
        return UrlAnswer(status=200, headers=[_JSON], body=result.encode())
    return UrlAnswer(status=200, headers=[_JSON], body=payload)


def prelude_of(document: bytes) -> UrlAnswer:
    """Status, headers and cookies ahead of a streamed body; each may be left out. Raises Malformed."""
    try:
        prelude = msgspec.json.decode(document)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise Malformed(f"the prelude of the stream is not JSON: {exc}") from exc
    if not isinstance(prelude, dict):
        raise Malformed("the prelude of the stream is not an object")
    head = _head({"statusCode": 200, **prelude})
    if not any(name == b"content-type" for name, _ in head.headers):
        head.headers.append((b"content-type", b"application/octet-stream"))
    return head


_JSON: Header = (b"content-type", b"application/json")


def _head(result: dict[str, Any]) -> UrlAnswer:
    status, headers, cookies = result["statusCode"], result.get("headers") or {}, result.get("cookies") or []
    if isinstance(status, str) and status.isdigit():
        status = int(status)
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise Malformed(f"statusCode is {status!r}")
    if not isinstance(headers, dict) or not isinstance(cookies, list):
        raise Malformed("headers is not an object, or cookies not a list")
    named = [(name.lower(), _text(value)) for name, value in headers.items()]
    found = [_header(name, value) for name, value in named if name not in _SAID_BY_THE_SERVER]
    return UrlAnswer(status=status, headers=found + [_header("set-cookie", _text(cookie)) for cookie in cookies])


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise Malformed(f"a header is {type(value).__name__}, not a string")


def _header(name: str, value: str) -> Header:
    if not name or not name.isascii() or not name.isprintable() or any(character in name for character in " :"):
        raise Malformed(f"no header can have the name {name!r}")
    if any(ord(character) < 32 and character != "\t" for character in value):
        raise Malformed(f"the header {name} holds a control character")
    return name.encode(), value.encode("utf-8", "replace")


def _body(result: dict[str, Any]) -> bytes:
    body = result.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise Malformed(f"body is {type(body).__name__}, not a string")
    if not result.get("isBase64Encoded"):
        return body.encode()
    try:
        return b64decode(body)
    except (binascii.Error, ValueError) as exc:
        raise Malformed(f"body is not base64: {exc}") from exc
