"""Retention that bites: what has expired is removed, again and again, for as long as the server runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from lambent.ports.log_store import LogStore

log = logging.getLogger(__name__)

INTERVAL_S = 3600.0


async def keep_trimming(
    store: LogStore,
    *,
    interval_s: float = INTERVAL_S,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Trim the store at once and then every `interval_s`, until cancelled. Expired events are hidden in between."""
    while True:
        try:
            removed_bytes = await store.trim(int(clock() * 1000))
        except Exception:
            log.exception("logs.trim_failed")
        else:
            if removed_bytes:
                log.info("logs.trimmed", extra={"removed_bytes": removed_bytes})
        await sleep(interval_s)
