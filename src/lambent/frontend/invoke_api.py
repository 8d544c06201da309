"""Invoke and InvokeWithResponseStream: from headers and body to an invocation, and back (invocation.md §1, §3)."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any  # Any: parameters are of whatever type the service model gives them

import msgspec

from lambent.frontend.stream_answers import EVENT_STREAM, event_stream
from lambent.invoke.events import Events
from lambent.invoke.invoker import Invoker
from lambent.model.arn import FunctionArn, parse_function_name
from lambent.model.errors import (
    AccessDenied,
    InvalidParameterValue,
    InvalidRequestContent,
    NotImplementedByLambent,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)
from lambent.model.invocation import InvokeRequest, InvokeResult, RequestId
from lambent.model.limits import (
    CLIENT_CONTEXT_BYTES,
    EVENT_REQUEST_BYTES,
    INVOKE_ASYNC_REQUEST_BYTES,
    INVOKE_REQUEST_BYTES,
)
from lambent.model.response_stream import ResponseStream
from lambent.ports.worker import Answer as InvokeAnswer

Answer = tuple[int, list[tuple[bytes, bytes]] | bytes, bytes]
StreamedAnswer = tuple[int, list[tuple[bytes, bytes]], AsyncGenerator[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeCall:
    """A request that invokes, authenticated and parsed by the service model."""

    parameters: Mapping[str, Any]
    headers: Mapping[str, str]
    account: str
    region: str
    request_id: str

    def function(self) -> FunctionArn:
        """Whom it invokes. Raises what AWS answers to a name, or to a type of content, that cannot be."""
        media_type = self.headers.get("content-type", "").lower()
        function = parse_function_name(
            self.parameters["FunctionName"],
            region=self.region,
            account=self.account,
            qualifier=self.parameters.get("Qualifier"),
        )
        if function.account != self.account:
            raise AccessDenied(
                f"User: arn:aws:iam::{self.account}:root is not authorized to perform: lambda:InvokeFunction on "
                f"resource: {function} because no resource-based policy allows the lambda:InvokeFunction action"
            )
        if media_type.startswith(OTHER_MEDIA):
            raise UnsupportedMediaType(f"Unsupported content type: {media_type}; the payload must be JSON")
        return function

    @property
    def trace_id(self) -> str | None:
        return self.headers.get("x-amzn-trace-id")

    def request(self, *, wants_stream: bool = False) -> InvokeRequest:
        """What the invoker is asked for."""
        function, parameters = self.function(), self.parameters
        _refuse_unsupported(parameters)
        return InvokeRequest(
            request_id=RequestId(self.request_id),
            function=function,
            payload=_payload(parameters.get("Payload", b"")),
            client_context=_client_context(parameters.get("ClientContext")),
            trace_id=self.trace_id,
            wants_log_tail=parameters.get("LogType") == "Tail",
            wants_stream=wants_stream,
        )


Operation = Callable[[InvokeCall], Awaitable[Answer | StreamedAnswer]]

OTHER_MEDIA = ("text/", "image/", "audio/", "video/", "multipart/", "application/xml")
_json = msgspec.json.Decoder(msgspec.Raw)
_SURROGATE = re.compile(rb"(?<!\\)((?:\\\\)*)\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


class InvokeApi:
    """Answers what invokes. Its caller has authenticated the request and parsed it by the service model."""

    def __init__(self, invoker: Invoker, events: Events) -> None:
        self._invoker = invoker
        self._events = events
        self.operations: Mapping[str, Operation] = {
            "Invoke": self.invoke,
            "InvokeAsync": self.invoke_async,
            "InvokeWithResponseStream": self.stream,
        }

    def invoke_nowait(self, call: InvokeCall, answer: InvokeAnswer) -> bool:
        """Begin an invocation whose caller waits, if it need not wait for anything else; False: use `invoke`."""
        if call.parameters.get("InvocationType", "RequestResponse") != "RequestResponse":
            return False
        return self._invoker.invoke_nowait(call.request(), answer)

    def invoke_plainly_nowait(
        self, function: FunctionArn, payload: bytes, *, trace_id: str | None, request_id: str, answer: InvokeAnswer
    ) -> bool:
        """As `invoke_nowait`, of a call that says no more than this."""
        return self._invoker.invoke_nowait(
            InvokeRequest(
                request_id=RequestId(request_id), function=function, payload=_payload(payload), trace_id=trace_id
            ),
            answer,
        )

    async def invoke(self, call: InvokeCall) -> Answer:
        """Run, queue or dry-run one invocation."""
        match call.parameters.get("InvocationType", "RequestResponse"):
            case "DryRun":
                await self._invoker.resolve(call.function())
                return 204, [], b""
            case "Event":
                function = call.function()
                _refuse_unsupported(call.parameters)
                payload = call.parameters.get("Payload", b"")
                return await self._accept(call, function, payload, EVENT_REQUEST_BYTES, call.trace_id)
        return invoke_answer(await self._invoker.invoke(call.request()))

    async def stream(self, call: InvokeCall) -> Answer | StreamedAnswer:
        """Run one invocation and answer as soon as its response begins, or dry-run it."""
        if call.parameters.get("InvocationType") == "DryRun":
            await self._invoker.resolve(call.function())
            return 204, [], b""
        response = await self._invoker.stream(call.request(wants_stream=True))
        answered = [
            (b"content-type", EVENT_STREAM),
            (b"x-amz-executed-version", response.executed_version.encode()),
            *_trace_header(response),
        ]
        return 200, answered, event_stream(response)

    async def invoke_async(self, call: InvokeCall) -> Answer:
        """The operation that there was before InvocationType: a smaller payload, and the caller's trace ends here."""
        payload = call.parameters.get("InvokeArgs", b"")
        return await self._accept(call, call.function(), payload, INVOKE_ASYNC_REQUEST_BYTES, None)

    async def _accept(
        self, call: InvokeCall, function: FunctionArn, payload: bytes, limit_bytes: int, trace_id: str | None
    ) -> Answer:
        if len(payload) > limit_bytes:
            raise RequestEntityTooLarge(
                f"{len(payload)} byte payload is too large for the Event invocation type (limit {limit_bytes} bytes)"
            )
        request = InvokeRequest(
            request_id=RequestId(call.request_id), function=function, payload=_payload(payload), trace_id=trace_id
        )
        accepted_under = await self._events.accept(request)
        return 202, [(b"x-amzn-trace-id", accepted_under.encode())], b""


def invoke_answer(result: InvokeResult) -> Answer:
    lines = (
        "content-type: application/json\r\n"
        f"x-amz-executed-version: {result.executed_version}\r\n"
        "x-amzn-remapped-content-length: 0\r\n"
    )
    if result.trace_id is not None:
        lines += f"x-amzn-trace-id: {result.trace_id}\r\n"
    if result.function_error is not None:
        lines += f"x-amz-function-error: {result.function_error}\r\n"
    if result.log_tail is not None:
        lines += f"x-amz-log-result: {b64encode(result.log_tail).decode()}\r\n"
    return 200, lines.encode("latin-1", "replace"), result.payload


def _trace_header(result: InvokeResult | ResponseStream) -> list[tuple[bytes, bytes]]:
    return [] if result.trace_id is None else [(b"x-amzn-trace-id", result.trace_id.encode())]


def _payload(payload: bytes) -> bytes:
    """The event as the function will see it: checked to be JSON, never parsed further; nothing becomes `{}`."""
    if not payload:
        return b"{}"
    if len(payload) > INVOKE_REQUEST_BYTES:
        raise RequestEntityTooLarge(
            f"Request must be smaller than {INVOKE_REQUEST_BYTES} bytes for the InvokeFunction operation"
        )
    try:
        _scan(payload)
        if not payload.isascii():
            payload.decode()  # the scan above does not look into strings
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidRequestContent(
            f"Could not parse request body into json: Could not parse payload into json: {exc}"
        ) from exc
    return payload


def _scan(payload: bytes) -> None:
    try:
        _json.decode(payload)
    except msgspec.DecodeError:
        if not _SURROGATE.search(payload):
            raise
        _json.decode(_SURROGATE.sub(rb"\1\\u0020", payload))  # one without its other half is JSON all the same


def _client_context(encoded: str | None) -> str | None:
    if encoded is None:
        return None
    if len(encoded) > CLIENT_CONTEXT_BYTES:
        raise InvalidRequestContent(
            f"Client context must be smaller than {CLIENT_CONTEXT_BYTES} bytes, found {len(encoded)}"
        )
    try:
        decoded = b64decode(encoded, validate=True)
        _json.decode(decoded)
        return decoded.decode().replace("\r", " ").replace("\n", " ")
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidRequestContent("Client context must be a valid Base64-encoded JSON object.") from exc


def _refuse_unsupported(parameters: Mapping[str, Any]) -> None:
    if parameters.get("DurableExecutionName") is not None:
        raise NotImplementedByLambent("Lambent does not support durable executions yet (DurableExecutionName)")
    if parameters.get("TenantId") is not None:
        raise InvalidParameterValue(
            "The invoked function is not enabled with tenancy configuration. Remove the tenant ID from your request "
            "and try again."
        )
