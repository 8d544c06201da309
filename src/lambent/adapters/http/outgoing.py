"""Connections to other servers, opened with the first request.

Many a server never sends one, and importing aiohttp takes a tenth of a second: its start need not wait for that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

import yarl

if TYPE_CHECKING:
    import aiohttp


class Unanswered(Exception):
    """No server answered, or it ended in the middle."""


class Outgoing:
    """`total_s` bounds a whole request and `read_s` the wait for its next bytes; None is for ever."""

    def __init__(self, *, total_s: float | None = None, read_s: float | None = None) -> None:
        self._total_s = total_s
        self._read_s = read_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a request, its body still to be read; `url` is sent as it is, and redirections are answers.

        Raises:
            Unanswered: here, or while the body is read.
        """
        import aiohttp

        try:
            async with self._opened().request(
                method, yarl.URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
            ) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unanswered(str(error) or type(error).__name__) from error

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._total_s, sock_connect=5, sock_read=self._read_s)
            # As many connections as there are pollers: each keeps one while it waits for messages.
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=connector, auto_decompress=False)
        return self._session
