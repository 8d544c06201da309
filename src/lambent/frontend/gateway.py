"""The gateway: one request in, its service and operation found, its caller known, one answer out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol  # Any: parameters are of whatever type the service model gives them

from lambent.frontend.errors import as_api_error
from lambent.frontend.ids import new_request_id
from lambent.frontend.invoke_api import Answer, InvokeApi, StreamedAnswer
from lambent.frontend.local_api import LocalApi
from lambent.frontend.services import find_service
from lambent.frontend.stream_answers import send_pieces
from lambent.http.server import Exchange
from lambent.iam.authenticator import Caller
from lambent.model.caller import CallerContext
from lambent.model.errors import InvalidSignature, NotImplementedByLambent, RequestEntityTooLarge
from lambent.model.limits import REQUEST_BYTES
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """One request, read off its exchange once."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, exchange: Exchange) -> _Request:
        headers: dict[str, str] = {}
        for raw_name, raw_value in exchange.headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        return cls(
            method=exchange.method,
            path=exchange.path.decode("latin-1"),
            query=exchange.query.decode("latin-1"),
            headers=headers,
            body=exchange.body,
        )


class Gateway:
    """Serves the AWS APIs and Lambent's own few paths. `handlers` holds what is built, by service and operation."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        services: Mapping[str, Service],
        handlers: Mapping[str, Mapping[str, Handler]],
        invoke_api: InvokeApi,
        local_api: LocalApi,
    ) -> None:
        self._authenticator = authenticator
        self._services = services
        self._handlers = handlers
        self._invoking = invoke_api.operations
        self._local_api = local_api
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, exchange: Exchange) -> None:
        """The HTTP server's handler: one task per request."""
        is_local = exchange.path.startswith(b"/_lambent/")
        task = asyncio.get_running_loop().create_task(
            self._local_api.serve(exchange) if is_local else self._serve(exchange)
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, exchange: Exchange) -> None:
        request_id = new_request_id()
        request = _Request.of(exchange)
        service = self._services[find_service(request.path, request.headers, request.body)]
        answer: Answer | StreamedAnswer
        try:
            answer = await self._answer(service, request, request_id)
        except Exception as exc:  # noqa: BLE001 - the outermost loop of a request
            answer = service.serialize_error(as_api_error(exc, request_id), request_id)
        status, headers, body = answer
        headers.append((b"x-amzn-requestid", request_id.encode()))
        if not isinstance(body, bytes):
            await send_pieces(exchange, status, headers, body)
        elif not exchange.closed:
            exchange.respond(status, headers, body)

    async def _answer(self, service: Service, request: _Request, request_id: str) -> Answer | StreamedAnswer:
        caller = self._authenticator.authenticate(
            request.method, request.path, request.query, request.headers, request.body, time.time()
        )
        if caller.service not in (None, service.name):
            raise InvalidSignature(f"Credential should be scoped to correct service: '{service.name}'.")
        operation, labels = service.route(request.method, request.path, request.query, request.headers, request.body)
        if len(request.body) > REQUEST_BYTES:
            raise RequestEntityTooLarge(
                f"Request must be smaller than {REQUEST_BYTES} bytes for the {operation.name} operation"
            )
        self._authenticator.authorize(caller, service.name, operation.name)
        parameters = operation.parse(labels, request.query, request.headers, request.body)
        invoking = self._invoking.get(operation.name)
        if invoking is not None:
            return await invoking(
                parameters, request.headers, account=caller.account, region=caller.region, request_id=request_id
            )
        handler = self._handlers[service.name].get(operation.name)
        if handler is None:
            raise NotImplementedByLambent(
                f"Lambent does not support {service.name}:{operation.name} yet (see docs/compatibility.md)"
            )
        output = dict(await handler(_context(caller, request.headers), parameters))
        warning = output.pop(WARNING, None)
        status, headers, body = operation.serialize(output, request_id)
        if warning is not None:
            log.warning("request.warned", extra={"request_id": request_id, "warning": warning})
            headers.append((b"x-lambent-warning", str(warning).encode("ascii", "replace")))
        return status, headers, body


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
