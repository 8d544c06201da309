"""Ownership where there is one process: granted to whoever asks first, within it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class LocalOwnership:
    """Implements `lambent.ports.ownership.Ownership`; it is never lost."""

    def __init__(self) -> None:
        self._held: dict[str, asyncio.Lock] = {}
        self._askers: dict[str, int] = {}

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        lock = self._held.setdefault(name, asyncio.Lock())
        self._askers[name] = self._askers.get(name, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._askers[name] -= 1
            if not self._askers[name]:
                del self._askers[name], self._held[name]
