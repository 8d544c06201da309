"""Which function a function URL leads to, by its url id.

Kept in memory and read anew, when the next request comes, for what the store says has changed.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from lambent.model.arn import FunctionArn
from lambent.model.errors import PlatformError
from lambent.model.function import FunctionRecord, function_key
from lambent.model.function_url import FunctionUrlConfig
from lambent.model.policy import policy_of
from lambent.model.records import decode_function
from lambent.ports.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionUrl:
    """`function` is qualified where the URL is an alias's; `policy` is the document that guards it."""

    function: FunctionArn
    config: FunctionUrlConfig
    policy: str | None


class UrlDirectory:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._urls: dict[str, FunctionUrl] = {}
        self._ids: dict[str, tuple[str, ...]] = {}
        """The url ids of each function, by its key."""
        self._stale: set[str] = set()
        self._reading = asyncio.Lock()

    def begin(self, record: FunctionRecord) -> None:
        """Note a function that was there before."""
        latest = record.latest
        self._note(function_key(latest.account, latest.region, latest.name), record)

    def forget(self, key: str) -> None:
        """Called for each change below `function/`."""
        self._stale.add(key)

    async def find(self, url_id: str) -> FunctionUrl | None:
        if self._stale or self._reading.locked():
            await self._refresh()
        return self._urls.get(url_id)

    async def _refresh(self) -> None:
        async with self._reading:
            while self._stale:
                key = self._stale.pop()
                entry = await self._store.get(key)
                try:
                    record = decode_function(entry.value) if entry else None
                except PlatformError:  # one unreadable record must not close every other function's URL
                    log.exception("function_urls.unreadable", extra={"key": key})
                    record = None
                self._note(key, record)

    def _note(self, key: str, record: FunctionRecord | None) -> None:
        for url_id in self._ids.pop(key, ()):
            del self._urls[url_id]
        if record is None or not record.url_configs:
            return
        function = record.latest.arn
        for qualifier, config in record.url_configs.items():
            self._urls[config.url_id] = FunctionUrl(
                function=function.qualified(qualifier) if qualifier else function,
                config=config,
                policy=policy_of(record, qualifier),
            )
        self._ids[key] = tuple(config.url_id for config in record.url_configs.values())
