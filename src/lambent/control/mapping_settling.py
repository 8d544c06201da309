"""As long as nothing polls: a change of a mapping takes effect at once, and an enabled one says that nothing polls.

Whoever polls takes the place of this: it follows the mappings in the store and settles a change once it acts on it.
"""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Self

from lambent.control.mapping_catalogue import MappingCatalogue
from lambent.model.errors import ResourceNotFound
from lambent.model.event_source_mapping import EventSourceMapping, settled

log = logging.getLogger(__name__)

NOTHING_POLLS = "Lambent does not poll event sources yet: the mapping is kept, and no record reaches the function"


class MappingSettling:
    """One task per change under way; leaving it stops them, and `begin` at the next start resumes them."""

    def __init__(self, mappings: MappingCatalogue) -> None:
        self._mappings = mappings
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._group = await asyncio.TaskGroup().__aenter__()
        async for mapping in self._mappings.all():
            if not mapping.is_settled:
                self.begin(mapping)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(kind, error, traceback)

    def begin(self, mapping: EventSourceMapping) -> None:
        task = self._group.create_task(self._run(mapping), name=f"settle {mapping.arn}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, mapping: EventSourceMapping) -> None:
        try:
            await self._settle(mapping)
        except Exception:  # the task's outermost loop: the change is settled at the next start instead
            log.exception("event_source_mapping.not_settled", extra={"mapping": mapping.arn})

    async def _settle(self, mapping: EventSourceMapping) -> None:
        async with self._mappings.changing:
            try:
                found = await self._mappings.find(mapping.account, mapping.region, mapping.uuid)
            except ResourceNotFound:
                return
            after = settled(found.mapping, NOTHING_POLLS if found.mapping.is_enabled else None)
            if after is None:
                await self._mappings.remove(found)
            else:
                await self._mappings.put(after, found.revision)
