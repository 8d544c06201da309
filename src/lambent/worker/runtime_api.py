"""The Runtime API of one environment: requests of the runtime become events of its lifecycle, and the other way round.

The Extensions and the Telemetry API have roots of their own on the same listener: the environment's own, inside its
network namespace. Which socket it is tells who speaks (reference/runtime-api.md §1-2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lambent.http.server import BodyReader, Exchange
from lambent.model.limits import INVOKE_RESPONSE_BYTES
from lambent.worker import extensions_api, telemetry_api
from lambent.worker.answers import accept, refuse, refuse_too_large
from lambent.worker.container_credentials import ContainerCredentials
from lambent.worker.environment import Environment, Origin
from lambent.worker.lifecycle import (
    IllegalTransition,
    RuntimeReportedError,
    RuntimeReportedInitError,
    RuntimeReportedRestoreError,
    RuntimeResponded,
)
from lambent.worker.outcomes import (
    INVALID_RESPONSE_MODE,
    RESPONSE_TOO_LARGE,
    failure_payload,
    normalize_error_type,
    response_too_large,
)
from lambent.worker.streaming import RESPONSE_MODE, collect, outcome

_ROOT = b"/2018-06-01"
_NEXT = _ROOT + b"/runtime/invocation/next"
_INVOCATION = _ROOT + b"/runtime/invocation/"
_INIT_ERROR = _ROOT + b"/runtime/init/error"
_RESTORE = _ROOT + b"/runtime/restore/"
_CREDENTIALS = b"/2021-04-23/credentials"


def comes_in_pieces(exchange: Exchange) -> bool:
    """Whether a request is read while it arrives: it says so, or is of a length that is unknown or not allowed."""
    if not exchange.path.endswith(b"/response"):
        return False
    for name, value in exchange.headers:
        if name == b"content-length":
            if int(value) > INVOKE_RESPONSE_BYTES:
                return True
        elif name == RESPONSE_MODE or name == b"transfer-encoding":
            return True
    return False


class RuntimeApi:
    """Answers the runtime of one environment."""

    def __init__(self, environment: Environment, credentials: ContainerCredentials | None = None) -> None:
        self._environment = environment
        self._credentials = credentials
        self._collecting: dict[str, asyncio.Task[None]] = {}
        """What is being read for whom: at most one, for each holds as much as a response may."""

    def handle(self, exchange: Exchange) -> None:
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
            elif path.startswith(extensions_api.ROOT):
                self._environment.extensions.handle(exchange)
            elif path in telemetry_api.PATHS:
                self._environment.telemetry.handle(exchange)
            elif path.startswith(_RESTORE):
                self._restore(exchange, path[len(_RESTORE) :])
            elif path == _CREDENTIALS and self._credentials is not None:
                self._credentials.answer(exchange)
            else:
                refuse(exchange, 404, "NotFound", f"No such path: {path.decode('latin-1')}")
        except IllegalTransition as exc:
            _refuse_transition(exchange, exc)

    def _next(self, exchange: Exchange) -> None:
        if _is_method(exchange, "GET"):
            self._environment.runtime_asked_next(exchange)

    def _outcome(self, exchange: Exchange, request_id: str, verb: bytes) -> None:
        tell = _OUTCOMES.get(verb)
        if tell is None:
            refuse(exchange, 404, "NotFound", f"No such path: {exchange.path.decode('latin-1')}")
        elif _is_method(exchange, "POST"):
            if request_id != self._environment.current_request_id:
                refuse(exchange, 400, "InvalidRequestID", "Invalid request ID")
            elif exchange.body_reader is not None:
                self._respond_in_pieces(exchange, exchange.body_reader, request_id)
            else:
                tell(self._environment, exchange)

    def _respond_in_pieces(self, exchange: Exchange, reader: BodyReader, request_id: str) -> None:
        mode = (exchange.header(RESPONSE_MODE) or b"buffered").lower()
        if mode == b"streaming" and self._environment.streams_to_caller:
            self._environment.runtime_began_stream(exchange, reader)
        elif request_id in self._collecting:
            refuse(exchange, 403, "InvalidStateTransition", "Another response to this invocation is being sent")
        elif mode in (b"streaming", b"buffered"):
            for stale in self._collecting.values():
                stale.cancel()
            task = asyncio.get_running_loop().create_task(self._collect(exchange, reader, request_id))
            self._collecting = {request_id: task}
            task.add_done_callback(lambda _: self._collecting.pop(request_id, None))
        else:
            text = f"RequestId: {request_id} Error: Invalid function response mode"
            payload = failure_payload(INVALID_RESPONSE_MODE, text)
            self._environment.runtime_said(RuntimeReportedError(payload, INVALID_RESPONSE_MODE))
            refuse(exchange, 400, "InvalidFunctionResponseMode", "Invalid function response mode")

    async def _collect(self, exchange: Exchange, reader: BodyReader, request_id: str) -> None:
        """Answer a caller that wants the whole response at once."""
        try:
            exchange.body = await collect(reader)
        except ConnectionError:
            return  # what becomes of the runtime tells what becomes of the invocation
        if request_id != self._environment.current_request_id:
            refuse(exchange, 400, "InvalidRequestID", "Invalid request ID")
            return
        try:
            _respond(self._environment, exchange)
        except IllegalTransition as exc:
            _refuse_transition(exchange, exc)

    def _restore(self, exchange: Exchange, verb: bytes) -> None:
        origin = self._environment.origin
        if verb == b"next" and origin is Origin.TEMPLATE:
            if _is_method(exchange, "GET"):
                self._environment.runtime_asked_restore(exchange)
        elif verb == b"error" and origin is not Origin.OWN_INIT:
            if _is_method(exchange, "POST"):
                event = RuntimeReportedRestoreError(exchange.body, _error_type(exchange))
                self._environment.runtime_said(event)
                accept(exchange)
        else:
            refuse(exchange, 404, "RestoreNotEnabled", "SnapStart is not enabled for this function")

    def _init_error(self, exchange: Exchange) -> None:
        if _is_method(exchange, "POST"):
            self._environment.runtime_said(RuntimeReportedInitError(exchange.body, _error_type(exchange)))
            accept(exchange)


def _respond(environment: Environment, exchange: Exchange) -> None:
    if len(exchange.body) > INVOKE_RESPONSE_BYTES:
        environment.runtime_said(RuntimeReportedError(response_too_large(), RESPONSE_TOO_LARGE))
        refuse_too_large(exchange, INVOKE_RESPONSE_BYTES)
        return
    end = outcome(exchange.trailers) if exchange.trailers else None
    if end is not None and end.error_type is not None:
        environment.runtime_said(RuntimeReportedError(end.payload, end.error_type))
    else:
        environment.runtime_said(RuntimeResponded(exchange.body))
    accept(exchange, may_wait=True)


def _report_error(environment: Environment, exchange: Exchange) -> None:
    environment.runtime_said(RuntimeReportedError(exchange.body, _error_type(exchange)))
    accept(exchange)


_OUTCOMES: dict[bytes, Callable[[Environment, Exchange], None]] = {b"response": _respond, b"error": _report_error}


def _error_type(exchange: Exchange) -> str:
    given = exchange.header(b"lambda-runtime-function-error-type")
    return normalize_error_type(given.decode("latin-1") if given is not None else None)


def _is_method(exchange: Exchange, method: str) -> bool:
    if exchange.method == method:
        return True
    refuse(exchange, 405, "MethodNotAllowed", f"Use {method}")
    return False


def _refuse_transition(exchange: Exchange, error: IllegalTransition) -> None:
    text = f"State transition from {error.state.value} failed for runtime. Error: {error}"
    refuse(exchange, 403, "InvalidStateTransition", text)
