"""Function URLs served: one HTTP request in, one invocation, its outcome as an HTTP answer (invocation.md §6).

A URL is told by the Host header, `<url-id>.lambda-url.<region>.` of any domain, or by the path
`/_lambent/url/<url-id>/`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from urllib.parse import urlsplit

from lambent.frontend.cors import is_preflight, preflight, with_cors
from lambent.frontend.errors import as_api_error
from lambent.frontend.gateway import Authenticator
from lambent.frontend.ids import new_request_id, new_trace_root
from lambent.frontend.stream_answers import send_pieces
from lambent.frontend.url_answers import HTTP_INTEGRATION, PRELUDE_END, Malformed, UrlAnswer, answer_of, prelude_of
from lambent.frontend.url_events import IamCaller, UrlRequest, event_of
from lambent.http.server import Exchange
from lambent.invoke.events import Events
from lambent.invoke.invoker import Invoker
from lambent.invoke.urls import FunctionUrl, UrlDirectory
from lambent.model.errors import AccessDenied, ApiError, RequestEntityTooLarge
from lambent.model.function_url import URL_PATH, AuthType, InvokeMode, url_id_of_host
from lambent.model.invocation import InvokeRequest, InvokeResult, RequestId
from lambent.model.limits import EVENT_REQUEST_BYTES, INVOKE_REQUEST_BYTES, INVOKE_RESPONSE_BYTES
from lambent.model.policy import allows_anyone
from lambent.model.response_stream import ResponseStream

log = logging.getLogger(__name__)

Pieces = AsyncGenerator[bytes]

FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)
_JSON = (b"content-type", b"application/json")
_FAILED = UrlAnswer(status=502, headers=[_JSON], body=b"Internal Server Error")
_ERROR = UrlAnswer(status=500, headers=[_JSON], body=b"Internal Server Error")


class FunctionUrls:
    def __init__(
        self, *, directory: UrlDirectory, invoker: Invoker, events: Events, authenticator: Authenticator
    ) -> None:
        self._directory = directory
        self._invoker = invoker
        self._events = events
        self._authenticator = authenticator

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request, whatever happens."""
        request = _read(exchange)
        url = await self._directory.find(request.url_id)
        pieces: Pieces | None = None
        if url is None:
            answer = _refusal(AccessDenied(None))
        elif url.config.cors is not None and is_preflight(request.method, request.header("origin")):
            answer = UrlAnswer(status=200, headers=preflight(url.config.cors, request.header("origin")))
        else:
            request = replace(request, region=url.function.region, account=url.function.account)
            answer, pieces = await self._answer(exchange, url, request)
            headers = with_cors(url.config.cors, request.header("origin"), answer.headers)
            answer = replace(answer, headers=headers)
        told = [(b"x-amzn-requestid", request.request_id.encode()), (b"x-amzn-trace-id", request.trace_id.encode())]
        if pieces is not None:
            await send_pieces(exchange, answer.status, answer.headers + told, pieces)
        elif not exchange.closed:
            exchange.respond(answer.status, answer.headers + told, answer.body)

    async def _answer(
        self, exchange: Exchange, url: FunctionUrl, request: UrlRequest
    ) -> tuple[UrlAnswer, Pieces | None]:
        try:
            request = replace(request, caller=self._admit(exchange, url, request))
            if request.header("x-amz-invocation-type") == "Event":
                await self._events.accept(_invocation(url, request, EVENT_REQUEST_BYTES))
                return UrlAnswer(status=202, headers=[]), None
            response = await self._invoker.stream(_invocation(url, request, INVOKE_REQUEST_BYTES))
            if url.config.invoke_mode is InvokeMode.RESPONSE_STREAM:
                return await _streamed(response)
            return await _buffered(response), None
        except Malformed as exc:
            log.info("function_url.malformed_answer", extra={"function": str(url.function), "reason": str(exc)})
            return _FAILED, None
        except ApiError as exc:
            return _refusal(exc), None
        except Exception as exc:  # noqa: BLE001 - the outermost loop of a request
            as_api_error(exc, request.request_id)
            return _ERROR, None

    def _admit(self, exchange: Exchange, url: FunctionUrl, request: UrlRequest) -> IamCaller | None:
        """Who calls, where the URL asks for that. Raises an ApiError for those who may not."""
        if url.config.auth_type is AuthType.NONE:
            _require_public(url)
            return None
        headers: dict[str, str] = {}
        for name, value in request.headers:
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        path, query = exchange.path.decode("latin-1"), request.query
        caller = self._authenticator.authenticate(request.method, path, query, headers, request.body, request.now)
        is_signed_for_this = caller.service == "lambda" and caller.region == url.function.region
        if caller.access_key_id is None or not is_signed_for_this or caller.account != url.function.account:
            raise AccessDenied(FORBIDDEN)
        self._authenticator.authorize(caller, "lambda", "InvokeFunctionUrl")
        return IamCaller(
            access_key=caller.access_key_id, account=caller.account, user_arn=caller.arn, user_id=caller.user_id
        )


def _read(exchange: Exchange) -> UrlRequest:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in exchange.headers]
    host = next((value for name, value in headers if name == "host"), "")
    path, prefix, url_id = exchange.path.decode("latin-1"), "", url_id_of_host(host)
    if url_id is None:
        url_id, _, rest = path.removeprefix(URL_PATH).partition("/")
        prefix, path = f"{URL_PATH}{url_id}", f"/{rest}"
    return UrlRequest(
        url_id=url_id,
        region="",
        account="",
        request_id=new_request_id(),
        trace_id=next((value for name, value in headers if name == "x-amzn-trace-id"), None) or new_trace_root(),
        method=exchange.method,
        path=path,
        prefix=prefix,
        query=exchange.query.decode("latin-1"),
        headers=headers,
        body=exchange.body,
        source_ip=exchange.peer[0] if isinstance(exchange.peer, tuple) else "127.0.0.1",
        port=_port(host),
        now=time.time(),
    )


def _port(host: str) -> int:
    try:
        return urlsplit(f"//{host}").port or 80
    except ValueError:
        return 80


def _require_public(url: FunctionUrl) -> None:
    """Without a signature, the resource policy decides: it must let anyone use the URL, and invoke by way of it."""
    facts = {"lambda:FunctionUrlAuthType": "NONE", "lambda:InvokedViaFunctionUrl": "true"}
    for action in ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction"):
        if not allows_anyone(url.policy, action=action, resource=url.function, facts=facts):
            raise AccessDenied(FORBIDDEN)


def _invocation(url: FunctionUrl, request: UrlRequest, limit_bytes: int) -> InvokeRequest:
    event = event_of(request) if len(request.body) <= limit_bytes else None
    if event is None or len(event) > limit_bytes:
        raise RequestEntityTooLarge(
            f"Request must be smaller than {limit_bytes} bytes for the InvokeFunction operation"
        )
    return InvokeRequest(
        request_id=RequestId(request.request_id),
        function=url.function,
        payload=event,
        trace_id=request.trace_id,
        wants_stream=True,
    )


async def _buffered(response: InvokeResult | ResponseStream) -> UrlAnswer:
    """The answer of a URL that waits for the whole response."""
    if isinstance(response, InvokeResult):
        return _FAILED if response.function_error is not None else answer_of(response.payload)
    body = bytearray()
    async with response:
        async for piece in response.pieces:
            body += piece
            if len(body) > INVOKE_RESPONSE_BYTES:
                raise Malformed("the response is larger than a function URL without RESPONSE_STREAM allows")
        if (await response.end).function_error is not None:
            return _FAILED
    if response.content_type != HTTP_INTEGRATION:
        return UrlAnswer(status=200, headers=[(b"content-type", response.content_type.encode())], body=bytes(body))
    document, _, rest = bytes(body).partition(PRELUDE_END)
    return replace(prelude_of(document), body=rest)


async def _streamed(response: InvokeResult | ResponseStream) -> tuple[UrlAnswer, Pieces | None]:
    """The answer of a URL that hands on what comes; what a function returns whole is not looked into."""
    if isinstance(response, InvokeResult):
        failed = response.function_error is not None
        return _FAILED if failed else UrlAnswer(status=200, headers=[_JSON], body=response.payload), None
    if response.content_type != HTTP_INTEGRATION:
        head = UrlAnswer(status=200, headers=[(b"content-type", response.content_type.encode())])
        return head, _rest(response, b"")
    try:
        document, first = await _split_prelude(response.pieces)
        return prelude_of(document), _rest(response, first)
    except Malformed:
        response.let_go()
        raise


async def _split_prelude(pieces: AsyncIterator[bytes]) -> tuple[bytes, bytes]:
    """The JSON ahead of the NUL bytes, and what has come of the body behind them."""
    received = b""
    async for piece in pieces:
        received += piece
        document, found, rest = received.partition(PRELUDE_END)
        if found:
            return document, rest
        if len(received) > INVOKE_RESPONSE_BYTES:
            break
    raise Malformed("the stream has no prelude")


async def _rest(response: ResponseStream, first: bytes) -> Pieces:
    async with response:
        if first:
            yield first
        async for piece in response.pieces:
            yield piece
        if (await response.end).function_error is not None:
            raise ConnectionAbortedError("the function failed before the end of its response")


def _refusal(error: ApiError) -> UrlAnswer:
    headers = [_JSON, (b"x-amzn-errortype", error.code.encode())]
    return UrlAnswer(status=error.status, headers=headers, body=json.dumps({"Message": error.message}).encode())
