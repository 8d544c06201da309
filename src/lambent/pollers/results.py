"""LastProcessingResult: what polling came to last, written where control reads it, once a second at most."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from lambent.model.event_source_mapping import EventSourceMapping
from lambent.pollers.figures import Figures
from lambent.ports.store import Store, WriteFailed

log = logging.getLogger(__name__)

OK = "OK"
_BETWEEN_WRITES_S = 1.0


class Results:
    """`keep` runs as long as the mapping is polled; `ok` and `problem` only say what it is to write."""

    def __init__(
        self, store: Store, mapping: EventSourceMapping, figures: Figures, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._mapping = mapping
        self._clock = clock
        self.figures = figures
        self._last = ""
        self._news = asyncio.Event()

    def ok(self) -> None:
        self._tell(OK)

    def problem(self, reason: str) -> None:
        self.figures.problem(reason, self._clock())
        if self._tell(f"PROBLEM: {reason}"):
            log.warning("event_source_mapping.problem", extra={"mapping": self._mapping.arn, "reason": reason})

    async def keep(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self.write()
            await asyncio.sleep(_BETWEEN_WRITES_S)

    async def write(self) -> None:
        """Write down what was told last."""
        try:
            if self._last:
                await self._store.put(self._mapping.result_key, self._last.encode())
        except WriteFailed as error:
            log.error(
                "event_source_mapping.result_not_kept", extra={"mapping": self._mapping.arn, "reason": str(error)}
            )

    def _tell(self, result: str) -> bool:
        if result == self._last:
            return False
        self._last = result
        self._news.set()
        return True
