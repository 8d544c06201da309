"""Lambent's own few paths, below /_lambent/: is it alive, what can it run, and a package by its presigned URL."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import parse_qs

import msgspec

from lambent.http.server import Exchange
from lambent.model.errors import ApiError
from lambent.ports.blobs import Blobs

log = logging.getLogger(__name__)

CODE_URL_S = 600
"""How long a package's URL works, as on AWS."""

_JSON = ((b"content-type", b"application/json"),)


class LocalApi:
    """`describe` holds the JSON documents to serve by name (`runtimes`, `health` …), made anew for each request."""

    def __init__(self, *, blobs: Blobs, secret: bytes, describe: Mapping[str, Callable[[], object]]) -> None:
        self._blobs = blobs
        self._secret = secret
        self._describe = describe
        self._signed: dict[str, Callable[[Exchange], Awaitable[bytes]]] = {}

    def serve_signed(self, name: str, answer: Callable[[Exchange], Awaitable[bytes]]) -> None:
        """Whatever lies at or below /_lambent/NAME is answered by `answer`, in JSON; it checks who calls."""
        self._signed[name] = answer

    def presign(self, path: str) -> str:
        """Add to a path below /_lambent/code/ the proof that whoever has it was allowed to read it, for ten minutes."""
        expires = int(time.time()) + CODE_URL_S
        return f"{path}?Expires={expires}&Signature={self._signature(path, expires)}"

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request, whatever happens."""
        try:
            await self._serve(exchange)
        except ApiError as error:
            _refuse(exchange, error.status, str(error))
        except Exception:
            log.exception("local_api.failed", extra={"target": exchange.target})
            _refuse(exchange, 500, "An internal error occurred; Lambent's log has the details")

    async def _serve(self, exchange: Exchange) -> None:
        path = exchange.path.decode("latin-1")
        parts: Sequence[str] = path.split("/")
        document = self._describe.get(parts[2]) if len(parts) == 3 else None
        if parts[2] in self._signed:
            exchange.respond(200, _JSON, await self._signed[parts[2]](exchange))
            return
        if exchange.method not in ("GET", "HEAD"):
            _refuse(exchange, 405, "Use GET")
        elif document is not None:
            exchange.respond(200, _JSON, msgspec.json.encode(document()))
        elif parts[2] == "code" and len(parts) == 5:
            await self._serve_code(exchange, path, parts[4])
        else:
            _refuse(exchange, 404, f"No such path: {path}")

    async def _serve_code(self, exchange: Exchange, path: str, blob: str) -> None:
        query = parse_qs(exchange.query.decode("latin-1"))
        expires, signature = query.get("Expires", ["0"])[0], query.get("Signature", [""])[0]
        is_signed = expires.isdigit() and hmac.compare_digest(signature, self._signature(path, int(expires)))
        if not is_signed or int(expires) < time.time():
            _refuse(exchange, 403, "Request has expired or is not signed; call GetFunction for a new URL")
            return
        try:
            file = await self._blobs.path(blob)
        except KeyError:
            _refuse(exchange, 404, "The package is gone")
            return
        data = await asyncio.to_thread(file.read_bytes)
        exchange.respond(200, ((b"content-type", b"application/zip"),), data)

    def _signature(self, path: str, expires: int) -> str:
        return hmac.new(self._secret, f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()


def _refuse(exchange: Exchange, status: int, message: str) -> None:
    exchange.respond(status, _JSON, msgspec.json.encode({"message": message}))
