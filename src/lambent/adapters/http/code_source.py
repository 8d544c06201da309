"""Code from an S3-compatible store: one signed, path-style GET per package, read up to the largest a package may be."""

from __future__ import annotations

import html
import re
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode

from lambent.adapters.http.outgoing import Outgoing, Unanswered
from lambent.model.errors import InvalidParameterValue, ServiceError
from lambent.model.limits import UNZIPPED_CODE_BYTES
from lambent.model.package import TOO_LARGE

_READ_TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 18


class S3CodeSource:
    """Implements `lambent.ports.code_source.CodeSource`; without an `endpoint` it refuses, and says how to give one."""

    def __init__(self, endpoint: str | None, *, access_key: str = "", secret_key: str = "") -> None:
        self._endpoint = endpoint.rstrip("/") if endpoint else None
        self._access_key = access_key
        self._secret_key = secret_key
        self._outgoing = Outgoing(read_s=_READ_TIMEOUT_S)

    async def __aenter__(self) -> Self:
        await self._outgoing.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._outgoing.__aexit__(kind, error, traceback)

    async def fetch(self, bucket: str, key: str, *, version: str | None, region: str) -> bytes:
        if self._endpoint is None:
            raise InvalidParameterValue(
                "Lambent has no S3 endpoint to fetch S3Bucket and S3Key from. Start it with --endpoint s3=URL, or send "
                "the code as ZipFile."
            )
        query = "?" + urlencode({"versionId": version}) if version else ""
        url = f"{self._endpoint}/{bucket}/{quote(key, safe='/~')}{query}"
        try:
            return await self._get(url, self._signed(url, region))
        except Unanswered as error:
            raise ServiceError(
                f"The S3 endpoint {self._endpoint} did not answer: {error}. Check --endpoint s3=URL"
            ) from error

    async def _get(self, url: str, headers: dict[str, str]) -> bytes:
        async with self._outgoing.request("GET", url, headers=headers) as response:
            if response.status != 200:
                raise _refused(response.status, await response.content.read(_CHUNK_BYTES))
            body = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > UNZIPPED_CODE_BYTES:
                    raise InvalidParameterValue(TOO_LARGE)
            return bytes(body)

    def _signed(self, url: str, region: str) -> dict[str, str]:
        if not self._access_key:
            return {}
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        request = AWSRequest("GET", url)
        S3SigV4Auth(Credentials(self._access_key, self._secret_key), "s3", region).add_auth(request)
        return dict(request.headers.items())


def _refused(status: int, body: bytes) -> InvalidParameterValue:
    """AWS's sentence about S3's own error code and message."""
    text = body.decode(errors="replace")
    code = _element(text, "Code") or f"HTTP {status}"
    message = _element(text, "Message") or "The store gave no reason"
    return InvalidParameterValue(f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}")


def _element(xml: str, name: str) -> str:
    """The text of the first such element. A parser is not needed for an answer of two known elements."""
    match = re.search(rf"<{name}>([^<]*)</{name}>", xml)
    return html.unescape(match[1]) if match else ""
