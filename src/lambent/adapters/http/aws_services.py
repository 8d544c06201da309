"""Requests to AWS's services at the endpoints that the operator has given, signed with the operator's key."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

import aiohttp
import yarl

_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)
_ANSWER_BYTES = 1 << 18


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRequest:
    path: str = "/"
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAnswer:
    status: int
    body: bytes


class AwsServices:
    """`endpoints` is by service, `*` stands for all others. Without a `sign` requests go out unsigned."""

    def __init__(self, endpoints: Mapping[str, str], sign: Signer | None = None) -> None:
        self._endpoints = endpoints
        self._sign = sign

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    def endpoint(self, service: str) -> str | None:
        return self._endpoints.get(service) or self._endpoints.get("*")

    async def exchange(self, service: str, region: str, request: ServiceRequest) -> ServiceAnswer:
        """The answer of a service that has an endpoint, whatever its status, cut at 256 KiB.

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
        url = yarl.URL(f"{base.scheme}://{base.netloc}{path}", encoded=True)
        try:
            async with self._session.request(
                request.method, url, data=request.body, headers=headers, allow_redirects=False
            ) as response:
                return ServiceAnswer(status=response.status, body=await response.content.read(_ANSWER_BYTES))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(f"{endpoint} did not answer: {error or type(error).__name__}") from error
