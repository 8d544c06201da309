"""Requests to AWS's services at the endpoints that the operator has given, signed with the operator's key."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeVar
from urllib.parse import urlsplit

import msgspec

from lambent.adapters.http.outgoing import Outgoing, Unanswered

if TYPE_CHECKING:
    import aiohttp

Answer = TypeVar("Answer", bound=msgspec.Struct)

_TIMEOUT_S = 30.0
_ANSWER_BYTES = 1 << 18
_CHUNK_BYTES = 1 << 16


class Signer(Protocol):
    """Signature Version 4 with the operator's key; `headers` are those to sign, lower-case, `host` among them."""

    def __call__(
        self,
        *,
        method: str,
        raw_path: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
        region: str,
        service: str,
        now: float,
    ) -> Mapping[str, str]: ...


class Unreachable(Exception):
    """The endpoint gave no answer; whether it took the request is not known."""


class Refused(Exception):
    """A service answered with an error; `code` is its own, without namespace."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRequest:
    path: str = "/"
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"
    answer_bytes: int = _ANSWER_BYTES
    """What is more of the answer is cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAnswer:
    status: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonProtocol:
    """How one API of AWS's JSON protocol is spoken: `prefix` is that of its targets."""

    version: str
    prefix: str
    answer_bytes: int = _ANSWER_BYTES


_RECORDS_BYTES = 64 << 20
"""Ten messages of 1 MB, or a page of 10 MB in base64, however they are escaped."""

SQS = JsonProtocol(version="1.0", prefix="AmazonSQS", answer_bytes=_RECORDS_BYTES)
KINESIS = JsonProtocol(version="1.1", prefix="Kinesis_20131202", answer_bytes=_RECORDS_BYTES)
DYNAMODB_STREAMS = JsonProtocol(version="1.0", prefix="DynamoDBStreams_20120810", answer_bytes=_RECORDS_BYTES)


class _Error(msgspec.Struct):
    type: str = msgspec.field(name="__type", default="")
    message: str = ""
    Message: str = ""


class AwsServices:
    """`endpoints` is by service, `*` stands for all others. Without a `sign` requests go out unsigned."""

    def __init__(self, endpoints: Mapping[str, str], sign: Signer | None = None) -> None:
        self._endpoints = endpoints
        self._sign = sign
        self._outgoing = Outgoing(total_s=_TIMEOUT_S)

    async def __aenter__(self) -> Self:
        await self._outgoing.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._outgoing.__aexit__(kind, error, traceback)

    def endpoint(self, service: str) -> str | None:
        return self._endpoints.get(service) or self._endpoints.get("*")

    async def ask(
        self, arn: str, protocol: JsonProtocol, action: str, members: Mapping[str, object], kind: type[Answer]
    ) -> Answer:
        """What the service of `arn` answers to an action of an API of AWS's JSON protocol.

        Raises:
            Refused: it answered with an error.
            Unreachable: it did not answer, or nothing that such a service would.
        """
        service, region = arn.split(":")[2:4]
        request = ServiceRequest(
            body=msgspec.json.encode(members),
            headers={
                "content-type": f"application/x-amz-json-{protocol.version}",
                "x-amz-target": f"{protocol.prefix}.{action}",
            },
            answer_bytes=protocol.answer_bytes,
        )
        answer = await self.exchange(service, region, request)
        try:
            if answer.status >= 300:
                error = msgspec.json.decode(answer.body, type=_Error)
                raise Refused(error.type.rpartition("#")[2], error.message or error.Message)
            return msgspec.json.decode(answer.body or b"{}", type=kind)
        except msgspec.DecodeError as unreadable:
            endpoint = self.endpoint(service)
            raise Unreachable(f"{endpoint} did not answer as {service}, but HTTP {answer.status}") from unreadable

    async def exchange(self, service: str, region: str, request: ServiceRequest) -> ServiceAnswer:
        """The answer of a service that has an endpoint, whatever its status.

        Raises:
            Unreachable: there was none.
        """
        endpoint = self.endpoint(service) or ""
        base = urlsplit(endpoint)
        path = base.path.rstrip("/") + request.path
        headers = {"host": base.netloc, **request.headers}
        if self._sign is not None:
            headers |= self._sign(
                method=request.method,
                raw_path=path,
                query="",
                headers=headers,
                body=request.body,
                region=region,
                service=service,
                now=time.time(),
            )
        url = f"{base.scheme}://{base.netloc}{path}"
        try:
            async with self._outgoing.request(request.method, url, headers=headers, body=request.body) as response:
                return ServiceAnswer(status=response.status, body=await _read(response, request.answer_bytes))
        except Unanswered as error:
            raise Unreachable(f"{endpoint} did not answer: {error}") from error


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, or its first `limit` bytes."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) >= limit:
            break
    return bytes(body[:limit])
