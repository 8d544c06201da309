"""Credentials that a runtime asks for when it needs them, as one from a snapshot must, for what it holds may be old."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import msgspec

from lambent.http.server import Exchange
from lambent.ports.roles import RoleCredentials
from lambent.worker.answers import refuse
from lambent.worker.variables import ContainerToken

_VALID = timedelta(hours=12)
"""As `ports.roles` says of a role session."""


class ContainerCredentials:
    """The endpoint of one environment. `issue` makes a new session of the function's role."""

    def __init__(self, token: ContainerToken, issue: Callable[[], Awaitable[RoleCredentials]]) -> None:
        self._token = token.encode()
        self._issue = issue
        self._answering: set[asyncio.Task[None]] = set()

    def answer(self, exchange: Exchange) -> None:
        given = exchange.header(b"authorization") or b""
        if exchange.method != "GET" or not hmac.compare_digest(given, self._token):
            refuse(exchange, 404, "NotFound", "There are no credentials for this token")
            return
        task = asyncio.get_running_loop().create_task(self._give(exchange))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _give(self, exchange: Exchange) -> None:
        expiration = datetime.now(UTC) + _VALID
        credentials = await self._issue()
        document = {
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key,
            "Token": credentials.session_token,
            "Expiration": f"{expiration:%Y-%m-%dT%H:%M:%SZ}",
        }
        exchange.respond(200, ((b"content-type", b"application/json"),), msgspec.json.encode(document))
