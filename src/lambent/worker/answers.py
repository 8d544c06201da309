"""What the APIs inside an environment answer, in the words they share (reference/runtime-api.md §1)."""

from __future__ import annotations

import json

from lambent.http.server import Exchange

_JSON = b"content-type: application/json\r\n"
_ACCEPTED = b'{"status":"OK"}\n'


def accept(exchange: Exchange, *, may_wait: bool = False) -> None:
    exchange.respond(202, _JSON, _ACCEPTED, may_wait=may_wait)


def refuse(exchange: Exchange, status: int, error_type: str, message: str) -> None:
    body = json.dumps({"errorMessage": message, "errorType": error_type}).encode() + b"\n"
    exchange.respond(status, _JSON, body)


def refuse_too_large(exchange: Exchange, limit_bytes: int) -> None:
    refuse(exchange, 413, "RequestEntityTooLarge", f"Exceeded maximum allowed payload size ({limit_bytes} bytes).")
