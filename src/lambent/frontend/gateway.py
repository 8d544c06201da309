"""The gateway: one request in, its service and operation found, its caller known, one answer out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol  # Any: parameters are of whatever type the service model gives them

from lambent.frontend.errors import as_api_error
from lambent.frontend.ids import new_request_id
from lambent.frontend.invoke_api import Answer, InvokeApi, InvokeCall, StreamedAnswer, invoke_answer
from lambent.frontend.local_api import LocalApi
from lambent.frontend.plain_invokes import PlainInvokes
from lambent.frontend.services import find_service
from lambent.frontend.stream_answers import send_pieces
from lambent.http.server import Exchange
from lambent.iam.authenticator import Caller
from lambent.model.caller import CallerContext
from lambent.model.errors import InvalidSignature, NotImplementedByLambent, RequestEntityTooLarge
from lambent.model.function_url import URL_PATH
from lambent.model.invocation import InvokeResult
from lambent.model.limits import REQUEST_BYTES
from lambent.model.response_stream import ResponseStream
from lambent.spec.operation import Operation
from lambent.spec.service import Service

log = logging.getLogger(__name__)

Handler = Callable[[CallerContext, dict[str, Any]], Awaitable[Mapping[str, Any]]]


class Authenticator(Protocol):
    def authenticate(
        self, method: str, raw_path: str, query: str, headers: Mapping[str, str], body: bytes, now: float
    ) -> Caller: ...

    def authorize(self, caller: Caller, service: str, operation: str) -> None: ...


WARNING = "_Warning"
"""A private member of an output: shown to the caller as a header, for what AWS has no word for."""


class _Request:
    """One request, read off its exchange once."""

    __slots__ = ("body", "headers", "method", "path", "query")

    def __init__(self, exchange: Exchange) -> None:
        headers: dict[str, str] = {}
        for raw_name, raw_value in exchange.headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        self.method = exchange.method
        self.path = exchange.path.decode("latin-1")
        self.query = exchange.query.decode("latin-1")
        self.headers: Mapping[str, str] = headers
        self.body = exchange.body


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What a request turned out to ask, and who asks."""

    service: Service
    operation: Operation
    parameters: dict[str, Any]
    caller: Caller
    headers: Mapping[str, str]


class Gateway:
    """Serves the AWS APIs, function URLs (by `serve_url`) and Lambent's own few paths.

    `handlers` holds what is built, by service and operation.
    """

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        services: Mapping[str, Service],
        handlers: Mapping[str, Mapping[str, Handler]],
        invoke_api: InvokeApi,
        local_api: LocalApi,
        serve_url: Callable[[Exchange], Coroutine[None, None, None]],
    ) -> None:
        self._authenticator = authenticator
        self._services = services
        self._handlers = handlers
        self._invoke_api = invoke_api
        self._invoking = invoke_api.operations
        self._plain_invokes = PlainInvokes(services["lambda"])
        self._local_api = local_api
        self._serve_url = serve_url
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, exchange: Exchange) -> None:
        """The HTTP server's handler: what has to wait for something gets a task of its own."""
        request = _Request(exchange)
        if ".lambda-url." in request.headers.get("host", "") or request.path.startswith(URL_PATH):
            self._spawn(self._serve_url(exchange))
            return
        if request.path.startswith("/_lambent/"):
            self._spawn(self._local_api.serve(exchange))
            return
        service = self._services[find_service(request.path, request.headers, request.body)]
        reply = _Reply(exchange, service)
        try:
            caller = self._authenticate(service, request)
            if self._invokes_plainly(service, request, caller, reply):
                return
            call = self._read(service, request, caller)
            if call.operation.name == "Invoke" and self._invoke_api.invoke_nowait(
                _invoke_call(call, reply.request_id), reply
            ):
                return  # a warm one, which has nothing to wait for, costs no task
        except Exception as exc:  # noqa: BLE001 - the outermost loop of a request
            reply.fail(exc)
        else:
            self._spawn(self._serve(call, reply))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _authenticate(self, service: Service, request: _Request) -> Caller:
        caller = self._authenticator.authenticate(
            request.method, request.path, request.query, request.headers, request.body, time.time()
        )
        if caller.service not in (None, service.name):
            raise InvalidSignature(f"Credential should be scoped to correct service: '{service.name}'.")
        return caller

    def _invokes_plainly(self, service: Service, request: _Request, caller: Caller, reply: _Reply) -> bool:
        """Whether it was an invoke that says nothing but whom and with what, and one that has begun."""
        if service.name != "lambda" or len(request.body) > REQUEST_BYTES:
            return False
        function = self._plain_invokes.function(
            request.method, request.path, request.query, request.headers, account=caller.account, region=caller.region
        )
        if function is None:
            return False
        self._authenticator.authorize(caller, service.name, "Invoke")
        return self._invoke_api.invoke_plainly_nowait(
            function,
            request.body,
            trace_id=request.headers.get("x-amzn-trace-id"),
            request_id=reply.request_id,
            answer=reply,
        )

    def _read(self, service: Service, request: _Request, caller: Caller) -> _Call:
        operation, labels = service.route(request.method, request.path, request.query, request.headers, request.body)
        if len(request.body) > REQUEST_BYTES:
            raise RequestEntityTooLarge(
                f"Request must be smaller than {REQUEST_BYTES} bytes for the {operation.name} operation"
            )
        self._authenticator.authorize(caller, service.name, operation.name)
        parameters = operation.parse(labels, request.query, request.headers, request.body)
        return _Call(
            service=service, operation=operation, parameters=parameters, caller=caller, headers=request.headers
        )

    async def _serve(self, call: _Call, reply: _Reply) -> None:
        try:
            status, headers, body = await self._answer(call, reply.request_id)
        except Exception as exc:  # noqa: BLE001 - the outermost loop of a request
            reply.fail(exc)
            return
        if isinstance(body, bytes):
            reply.send((status, headers, body))
        else:
            assert isinstance(headers, list)
            await reply.send_pieces((status, headers, body))

    async def _answer(self, call: _Call, request_id: str) -> Answer | StreamedAnswer:
        operation = call.operation
        invoking = self._invoking.get(operation.name)
        if invoking is not None:
            return await invoking(_invoke_call(call, request_id))
        handler = self._handlers[call.service.name].get(operation.name)
        if handler is None:
            raise NotImplementedByLambent(
                f"Lambent does not support {call.service.name}:{operation.name} yet (see docs/compatibility.md)"
            )
        output = dict(await handler(_context(call.caller, call.headers), call.parameters))
        warning = output.pop(WARNING, None)
        status, headers, body = operation.serialize(output, request_id)
        if warning is not None:
            log.warning("request.warned", extra={"request_id": request_id, "warning": warning})
            headers.append((b"x-lambent-warning", str(warning).encode("ascii", "replace")))
        return status, headers, body


class _Reply:
    """The one answer that a request gets, in the words of its service."""

    __slots__ = ("_exchange", "_service", "request_id")

    def __init__(self, exchange: Exchange, service: Service) -> None:
        self._exchange = exchange
        self._service = service
        self.request_id = new_request_id()

    def send(self, answer: Answer) -> None:
        status, headers, body = answer
        name = self.request_id.encode()
        if not self._exchange.closed:
            if isinstance(headers, bytes):
                self._exchange.respond(status, b"%bx-amzn-requestid: %b\r\n" % (headers, name), body)
            else:
                self._exchange.respond(status, [*headers, (b"x-amzn-requestid", name)], body)

    def fail(self, error: Exception) -> None:
        self.send(self._service.serialize_error(as_api_error(error, self.request_id), self.request_id))

    # As `lambent.ports.worker.Answer`: where the outcome of an invocation goes

    def done(self) -> bool:
        return self._exchange.closed

    def set_result(self, result: InvokeResult | ResponseStream, /) -> None:
        assert isinstance(result, InvokeResult)  # streams go to those who want one
        self.send(invoke_answer(result))

    def set_exception(self, error: Exception, /) -> None:
        self.fail(error)

    async def send_pieces(self, answer: StreamedAnswer) -> None:
        status, headers, pieces = answer
        named = [*headers, (b"x-amzn-requestid", self.request_id.encode())]
        await send_pieces(self._exchange, status, named, pieces)


def _invoke_call(call: _Call, request_id: str) -> InvokeCall:
    return InvokeCall(
        parameters=call.parameters,
        headers=call.headers,
        account=call.caller.account,
        region=call.caller.region,
        request_id=request_id,
    )


def _context(caller: Caller, headers: Mapping[str, str]) -> CallerContext:
    host = headers.get("host", "localhost")
    return CallerContext(
        account=caller.account,
        region=caller.region,
        base_url=f"http://{host}",
        arn=caller.arn,
        user_id=caller.user_id,
        access_key_id=caller.access_key_id or "",
    )
