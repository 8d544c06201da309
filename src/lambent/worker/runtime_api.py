"""The Runtime API of one environment: requests of the runtime become events of its lifecycle, and the other way round.

Served on the environment's own listener inside its network namespace: which socket it is tells who speaks
(reference/runtime-api.md §1-2).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence

from lambent.http.server import Exchange
from lambent.model.limits import INVOKE_RESPONSE_BYTES
from lambent.worker.environment import Environment
from lambent.worker.lifecycle import (
    IllegalTransition,
    RuntimeReportedError,
    RuntimeReportedInitError,
    RuntimeResponded,
    State,
)
from lambent.worker.outcomes import RESPONSE_TOO_LARGE, normalize_error_type, response_too_large

_ROOT = b"/2018-06-01"
_NEXT = _ROOT + b"/runtime/invocation/next"
_INVOCATION = _ROOT + b"/runtime/invocation/"
_INIT_ERROR = _ROOT + b"/runtime/init/error"

_JSON: Sequence[tuple[bytes, bytes]] = ((b"content-type", b"application/json"),)
_ACCEPTED = b'{"status":"OK"}\n'


class RuntimeApi:
    """Answers the runtime of one environment."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def handle(self, exchange: Exchange) -> None:
        if self._environment.state is State.RESPONDED and exchange.path == _NEXT:
            # Sent together with the response: the caller, who waits for that, comes first and the report second.
            asyncio.get_running_loop().call_soon(self._answer, exchange)
        else:
            self._answer(exchange)

    def _answer(self, exchange: Exchange) -> None:
        path = exchange.path
        try:
            if path == _NEXT:
                self._next(exchange)
            elif path.startswith(_INVOCATION):
                request_id, _, verb = path[len(_INVOCATION) :].partition(b"/")
                self._outcome(exchange, request_id.decode("latin-1"), verb)
            elif path == _INIT_ERROR:
                self._init_error(exchange)
            elif path == _ROOT + b"/ping":
                exchange.respond(200, (), b"pong")
            elif path.startswith(_ROOT + b"/runtime/restore/"):
                _refuse(exchange, 404, "RestoreNotEnabled", "SnapStart is not enabled for this function")
            else:
                _refuse(exchange, 404, "NotFound", f"No such path: {path.decode('latin-1')}")
        except IllegalTransition as exc:
            text = f"State transition from {exc.state.value} failed for runtime. Error: {exc}"
            _refuse(exchange, 403, "InvalidStateTransition", text)

    def _next(self, exchange: Exchange) -> None:
        if _is_method(exchange, "GET"):
            self._environment.runtime_asked_next(exchange)

    def _outcome(self, exchange: Exchange, request_id: str, verb: bytes) -> None:
        outcome = _OUTCOMES.get(verb)
        if outcome is None:
            _refuse(exchange, 404, "NotFound", f"No such path: {exchange.path.decode('latin-1')}")
        elif _is_method(exchange, "POST"):
            if request_id != self._environment.current_request_id:
                _refuse(exchange, 400, "InvalidRequestID", "Invalid request ID")
            else:
                outcome(self._environment, exchange)

    def _init_error(self, exchange: Exchange) -> None:
        if _is_method(exchange, "POST"):
            self._environment.runtime_said(RuntimeReportedInitError(exchange.body, _error_type(exchange)))
            exchange.respond(202, _JSON, _ACCEPTED)


def _respond(environment: Environment, exchange: Exchange) -> None:
    mode = exchange.header(b"lambda-runtime-function-response-mode")
    if mode is not None:
        _refuse(exchange, 400, "InvalidFunctionResponseMode", "Invalid function response mode")
    elif len(exchange.body) > INVOKE_RESPONSE_BYTES:
        environment.runtime_said(RuntimeReportedError(response_too_large(), RESPONSE_TOO_LARGE))
        text = f"Exceeded maximum allowed payload size ({INVOKE_RESPONSE_BYTES} bytes)."
        _refuse(exchange, 413, "RequestEntityTooLarge", text)
    else:
        environment.runtime_said(RuntimeResponded(exchange.body))
        exchange.respond(202, _JSON, _ACCEPTED, may_wait=True)


def _report_error(environment: Environment, exchange: Exchange) -> None:
    environment.runtime_said(RuntimeReportedError(exchange.body, _error_type(exchange)))
    exchange.respond(202, _JSON, _ACCEPTED)


_OUTCOMES: dict[bytes, Callable[[Environment, Exchange], None]] = {b"response": _respond, b"error": _report_error}


def _error_type(exchange: Exchange) -> str:
    given = exchange.header(b"lambda-runtime-function-error-type")
    return normalize_error_type(given.decode("latin-1") if given is not None else None)


def _is_method(exchange: Exchange, method: str) -> bool:
    if exchange.method == method:
        return True
    _refuse(exchange, 405, "MethodNotAllowed", f"Use {method}")
    return False


def _refuse(exchange: Exchange, status: int, error_type: str, message: str) -> None:
    body = json.dumps({"errorMessage": message, "errorType": error_type}).encode() + b"\n"
    exchange.respond(status, _JSON, body)
