"""AWS services as a function finds them at AWS_ENDPOINT_URL, which needs no network: Lambent's own, and the operator's.

What is signed for a service of Lambent's goes to its gateway; all else is passed on, byte for byte, to the endpoint
that the operator has given for the service. Served on a listener inside each sandbox.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

from lambent.http.exchange import BodyWriter, Exchange, Handler
from lambent.http.streaming_client import Body, StreamedAnswer, StreamingClient
from lambent.http.wire import Header
from lambent.model.limits import REQUEST_BYTES
from lambent.spec.scope import signed_service
from lambent.worker.aws_refusals import refusal

log = logging.getLogger(__name__)

OWN_SERVICES = frozenset(("iam", "lambda", "logs", "sts"))
ANY_SERVICE = "*"
UNKNOWN = "unknown"

_OF_THE_CONNECTION = frozenset((
    b"connection", b"content-length", b"expect", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding",
    b"upgrade",
))  # fmt: skip
"""Headers about one hop only: each connection has its own (RFC 9110 §7.6.1)."""
_SMALL_BYTES = 256 * 1024
"""A request to Lambent up to this size is read like any other."""
_LARGEST_BYTES = 2 * REQUEST_BYTES
_ROOM_BYTES = 2 * _LARGEST_BYTES
"""What larger ones may hold while they arrive, those of all sandboxes together: else one could fill memory."""
_COLLECTING_S = 60
_OWN_PATH, _CODE_PATH = b"/_lambent/", b"/_lambent/code/"


class AwsEndpoint:
    """Serves all sandboxes of a worker. `endpoints` holds URLs by the name that requests for a service are signed with.

    `own` gets the requests for Lambent's services; it is set once there is a gateway.
    """

    def __init__(self, endpoints: Mapping[str, str]) -> None:
        self.own: Handler
        self._clients = {url: StreamingClient(url) for url in set(endpoints.values())}
        self._endpoints = dict(endpoints)
        self._room = _Room(_ROOM_BYTES)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        for client in self._clients.values():
            await self._stack.enter_async_context(client)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def streams(self, exchange: Exchange) -> bool:
        """Whether a request's body is read while it arrives: what is passed on, and what is large."""
        if service_of(exchange) not in OWN_SERVICES or exchange.header(b"transfer-encoding") is not None:
            return True
        return (_length(exchange.headers) or 0) > _SMALL_BYTES

    def handle(self, exchange: Exchange) -> None:
        """The HTTP server's handler."""
        service = service_of(exchange)
        if exchange.path.startswith(_OWN_PATH) and not exchange.path.startswith(_CODE_PATH):
            _refuse(exchange, service, 404, "NotFound", "What Lambent tells of itself is not for functions")
        elif service in OWN_SERVICES and exchange.body_reader is None:
            self.own(exchange)
        elif service in OWN_SERVICES:
            self._begin(exchange, self._collect(exchange, service))
        elif (url := self._endpoints.get(service) or self._endpoints.get(ANY_SERVICE)) is None:
            _refuse(exchange, service, 400, "EndpointNotConfigured", _how_to_configure(service))
        else:
            self._begin(exchange, self._pass_on(exchange, service, url))

    def _begin(self, exchange: Exchange, work: Coroutine[None, None, None]) -> None:
        """Do the work until the function is gone."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        exchange.on_close(lambda: _cancel(task))

    async def _collect(self, exchange: Exchange, service: str) -> None:
        """Give a large request to the gateway, which wants it whole; all that arrive at once share a fixed room."""
        length = _length(exchange.headers)
        if length is None:
            _refuse(exchange, service, 411, "MissingContentLength", "A request to Lambent must tell its length")
            return
        if length > _LARGEST_BYTES:
            text = f"At most {_LARGEST_BYTES} bytes can be sent"
            _refuse(exchange, service, 413, "RequestEntityTooLargeException", text)
            return
        try:
            async with asyncio.timeout(_COLLECTING_S), self._room.taken(length):
                assert exchange.body_reader is not None
                exchange.body = b"".join([piece async for piece in exchange.body_reader])
        except TimeoutError:
            _refuse(exchange, service, 408, "RequestTimeout", f"The request did not arrive within {_COLLECTING_S} s")
        except ConnectionError:
            pass  # the function has gone
        else:
            self.own(exchange)

    async def _pass_on(self, exchange: Exchange, service: str, url: str) -> None:
        client = self._clients[url]
        target = client.path + exchange.path + (b"?" + exchange.query if exchange.query else b"")
        writer: BodyWriter | None = None
        try:
            async with client.stream(exchange.method, target, _end_to_end(exchange.headers), _body(exchange)) as answer:
                writer = exchange.start(answer.status, _answered(answer), length=_length(answer.headers))
                async for piece in answer.body:
                    await writer.write(piece)
                await writer.close(answer.body.trailers)
        except OSError as exc:
            if exchange.closed:
                return
            log.warning("aws_endpoint.failed", extra={"service": service, "url": url, "reason": str(exc)})
            if writer is not None:
                writer.abort()
            else:
                text = f"The endpoint of {service}, {url}, cannot be reached: {exc or type(exc).__name__}"
                _refuse(exchange, service, 503, "ServiceUnavailable", text)


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


class _Room:
    """So many bytes, for whoever takes some of them and gives them back."""

    def __init__(self, size_bytes: int) -> None:
        self._free_bytes = size_bytes
        self._given_back = asyncio.Condition()

    @asynccontextmanager
    async def taken(self, size_bytes: int) -> AsyncIterator[None]:
        async with self._given_back:
            await self._given_back.wait_for(lambda: self._free_bytes >= size_bytes)
            self._free_bytes -= size_bytes
        try:
            yield
        finally:
            async with self._given_back:
                self._free_bytes += size_bytes
                self._given_back.notify_all()


def service_of(exchange: Exchange) -> str:
    """The name that a request is signed with. What nobody signed is S3's, but what shows that it is not."""
    if exchange.path.startswith(_CODE_PATH) or b".lambda-url." in (exchange.header(b"host") or b""):
        return "lambda"
    authorization = (exchange.header(b"authorization") or b"").decode("latin-1")
    service = signed_service(authorization, exchange.query.decode("latin-1"))
    if service is not None:
        return service
    is_form = (exchange.header(b"content-type") or b"").startswith(b"application/x-www-form-urlencoded")
    return UNKNOWN if is_form or exchange.header(b"x-amz-target") is not None else "s3"


def _how_to_configure(service: str) -> str:
    named = f"--endpoint {service}=URL or " if service != UNKNOWN else ""
    return f"Lambent has no endpoint for the service {service}: start it with {named}--endpoint '*'=URL"


def _body(exchange: Exchange) -> Body | None:
    length = _length(exchange.headers)
    is_there = length is not None or exchange.header(b"transfer-encoding") is not None
    return Body(exchange.body_reader, length) if is_there and exchange.body_reader is not None else None


def _length(headers: Sequence[Header]) -> int | None:
    return next((int(value) for name, value in headers if name == b"content-length"), None)


def _end_to_end(headers: Sequence[Header]) -> Sequence[Header]:
    return [header for header in headers if header[0] not in _OF_THE_CONNECTION]


def _answered(answer: StreamedAnswer) -> Sequence[Header]:
    return [header for header in _end_to_end(answer.headers) if header[0] != b"date"]  # our engine gives its own


def _refuse(exchange: Exchange, service: str, status: int, code: str, message: str) -> None:
    exchange.respond(*refusal(exchange, service, status, code, message))
