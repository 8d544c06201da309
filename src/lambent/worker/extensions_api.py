"""The Extensions API of one environment: what extensions ask becomes steps of the roster, and events become answers.

Served on the environment's own listener, beside the Runtime API (reference/extensions-telemetry.md §2).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any  # Any: a JSON document of the function's making
from uuid import UUID, uuid4

import msgspec

from lambent.http.server import Exchange
from lambent.model.events import ShutdownReason
from lambent.model.function import FunctionVersion
from lambent.model.invocation import InvokeRequest
from lambent.worker.answers import accept, refuse
from lambent.worker.extensions import Extension, ExtensionRefused, ExtensionState, Roster, Step

ROOT = b"/2020-01-01/extension"

_JSON = (b"content-type", b"application/json")
_ERROR_TYPE = b"lambda-extension-function-error-type"


class Registration(msgspec.Struct, rename="camel"):
    events: list[str] = []
    configuration_keys: list[str] = []


class ExtensionsApi:
    """Answers the extensions of one environment, one generation after the other."""

    def __init__(self, version: FunctionVersion, external: Iterable[str]) -> None:
        self._version = version
        self._external = tuple(external)
        self._parked: dict[str, Exchange] = {}
        self._undelivered: dict[str, dict[str, Any]] = {}
        self.roster = Roster(self._external)
        self.on_progress: Callable[[], None] = _unheard
        """An extension has registered, or asked for its next event."""
        self.on_failure: Callable[[str, str], None] = _unheard
        """An extension has said that it fails: error type and reason."""

    def tell_nobody(self) -> None:
        """Let go of who listens."""
        self.on_progress = self.on_failure = _unheard

    def begin_generation(self) -> None:
        """Nobody is there yet."""
        self._parked.clear()
        self._undelivered.clear()
        self.roster = Roster(self._external)

    def identify(self, exchange: Exchange) -> Extension:
        """Who asks, by the header that every request but the first one carries.

        Raises:
            ExtensionRefused: it is missing, malformed, or nobody's.
        """
        given = exchange.header(b"lambda-extension-identifier")
        if not given:
            text = "Missing Lambda-Extension-Identifier header"
            raise ExtensionRefused("Extension.MissingExtensionIdentifier", text)
        try:
            identifier = str(UUID(given.decode("latin-1")))
        except ValueError:
            text = "Invalid Lambda-Extension-Identifier"
            raise ExtensionRefused("Extension.InvalidExtensionIdentifier", text) from None
        return self.roster.find(identifier)

    # Requests ---------------------------------------------------------------------------------------------------------

    def handle(self, exchange: Exchange) -> None:
        route = _ROUTES.get(exchange.path[len(ROOT) :])
        if route is None:
            refuse(exchange, 404, "NotFound", f"No such path: {exchange.path.decode('latin-1')}")
            return
        method, answer = route
        if exchange.method != method:
            refuse(exchange, 405, "MethodNotAllowed", f"Use {method}")
            return
        try:
            answer(self, exchange)
        except ExtensionRefused as exc:
            refuse(exchange, 403, exc.error_type, exc.message)

    def _register(self, exchange: Exchange) -> None:
        name = (exchange.header(b"lambda-extension-name") or b"").decode("utf-8", "replace")
        if not name:
            raise ExtensionRefused("Extension.InvalidExtensionName", "Empty extension name")
        extension = self.roster.register(name, _registration(exchange.body).events)
        answer = {
            "functionName": self._version.name,
            "functionVersion": self._version.version,
            "handler": self._version.handler or "",
        }
        if "accountId" in _features(exchange):
            answer["accountId"] = self._version.account
        headers = (_JSON, (b"lambda-extension-identifier", extension.id.encode()))
        exchange.respond(200, headers, json.dumps(answer).encode())
        self.on_progress()

    def _next(self, exchange: Exchange) -> None:
        extension = self.identify(exchange)
        event = self._undelivered.pop(extension.id, None)
        if event is not None:
            _send(exchange, event)
            return
        self.roster.take(extension, Step.ASK_NEXT)
        self._parked[extension.id] = exchange
        exchange.on_close(lambda: self._unpark(extension.id, exchange))
        self.on_progress()

    def _unpark(self, identifier: str, exchange: Exchange) -> None:
        if self._parked.get(identifier) is exchange:
            del self._parked[identifier]

    def _init_error(self, exchange: Exchange) -> None:
        self._error(exchange, Step.REPORT_INIT_ERROR, "Extension.InitError")

    def _exit_error(self, exchange: Exchange) -> None:
        self._error(exchange, Step.REPORT_EXIT_ERROR, "Extension.ExitError")

    def _error(self, exchange: Exchange, step: Step, error_type: str) -> None:
        extension = self.identify(exchange)
        given = exchange.header(_ERROR_TYPE)
        if not given:
            text = "Lambda-Extension-Function-Error-Type not found"
            raise ExtensionRefused("Extension.MissingHeader", text)
        own_type = given.decode("latin-1")
        self.roster.take(extension, step, own_type)
        accept(exchange)
        self.on_failure(error_type, _error_message(exchange.body) or own_type)

    # Events -----------------------------------------------------------------------------------------------------------

    def send_invoke(self, request: InvokeRequest, deadline: float) -> None:
        """To all who want it; each owes a `next` from now on. `deadline` is epoch seconds."""
        event: dict[str, Any] = {
            "eventType": "INVOKE",
            "deadlineMs": int(deadline * 1000),
            "requestId": request.request_id,
            "invokedFunctionArn": str(request.function),
        }
        if request.trace_id:
            event["tracing"] = {"type": "X-Amzn-Trace-Id", "value": request.trace_id}
        for extension in self.roster.invoked():
            self._deliver(extension, event)

    def send_shutdown(self, reason: ShutdownReason, deadline: float) -> list[str]:
        """To all who want it: at once, or when they ask for their next event. Returns their names."""
        event = {"eventType": "SHUTDOWN", "shutdownReason": reason.value, "deadlineMs": int(deadline * 1000)}
        extensions = self.roster.to_shut_down()
        for extension in extensions:
            self._deliver(extension, event)
        return [extension.name for extension in extensions]

    def _deliver(self, extension: Extension, event: dict[str, Any]) -> None:
        exchange = self._parked.pop(extension.id, None)
        if exchange is None:
            self._undelivered[extension.id] = event
        else:
            _send(exchange, event)

    # Processes --------------------------------------------------------------------------------------------------------

    def ended(self, name: str, *, failure: str | None) -> str:
        """The process of an external extension has ended, or never began (`failure`). Returns the error type for it."""
        extension = self.roster.external(name)
        if failure is None:
            self.roster.take(extension, Step.EXIT)
            return _ENDS.get(extension.state, "Extension.Crash")
        error_type = "PermissionDenied" if failure.endswith("permission denied") else "UnknownError"
        self.roster.take(extension, Step.FAIL_LAUNCH, error_type)
        return "Extension.LaunchError"


_ENDS = {ExtensionState.INIT_ERROR: "Extension.InitError", ExtensionState.EXIT_ERROR: "Extension.ExitError"}

_ROUTES: dict[bytes, tuple[str, Callable[[ExtensionsApi, Exchange], None]]] = {
    b"/register": ("POST", ExtensionsApi._register),
    b"/event/next": ("GET", ExtensionsApi._next),
    b"/init/error": ("POST", ExtensionsApi._init_error),
    b"/exit/error": ("POST", ExtensionsApi._exit_error),
}


def _unheard(*_: str) -> None:
    """Nobody listens."""


def _send(exchange: Exchange, event: dict[str, Any]) -> None:
    headers = (_JSON, (b"lambda-extension-event-identifier", str(uuid4()).encode()))
    exchange.respond(200, headers, json.dumps(event).encode())


def _registration(body: bytes) -> Registration:
    try:
        registration = msgspec.json.decode(body, type=Registration)
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise ExtensionRefused("InvalidRequestFormat", str(exc)) from exc
    if registration.configuration_keys:
        text = "configurationKeys are deprecated; use environment variables instead"
        raise ExtensionRefused("InvalidRequestFormat", text)
    return registration


def _features(exchange: Exchange) -> set[str]:
    given = exchange.header(b"lambda-extension-accept-feature") or b""
    return {feature.strip() for feature in given.decode("latin-1").split(",")}


def _error_message(body: bytes) -> str | None:
    """What an extension says of its error, if it says it as JSON."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    message = document.get("errorMessage") if isinstance(document, dict) else None
    return message if isinstance(message, str) else None
