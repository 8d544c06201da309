"""An alias with provisioned concurrency that is moved goes on as before until its next version's environments stand.

As on AWS it shows: meanwhile the alias routes all of its invokes to the version that it had, by a weight of 1.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from types import TracebackType
from typing import Self

from lambent.control.catalogue import Catalogue
from lambent.control.provisioned import AllocationOf, allocation_of, moved
from lambent.control.stamps import Stamps
from lambent.model.arn import FunctionArn
from lambent.model.errors import ApiError, PlatformError
from lambent.model.function import Alias, FunctionRecord
from lambent.model.provisioned import ProvisionedStatus

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 0.1


def moving(before: Alias, after: Alias) -> Alias:
    """The alias as it is while it moves; one that has weights already, or is given some, moves as they say."""
    if before.function_version == after.function_version or after.additional_weights:
        return after
    return replace(after, additional_weights={before.function_version: 1.0}, is_moving=True)


class AliasMoves:
    """Runs one task per alias that is moving; leaving it stops them, and `begin` at the next start resumes."""

    def __init__(self, catalogue: Catalogue, allocation: AllocationOf, stamps: Stamps) -> None:
        self._catalogue = catalogue
        self._allocation = allocation
        self._stamps = stamps
        self._tasks: dict[FunctionArn, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        self._group = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks.values():
            task.cancel()
        await self._group.__aexit__(kind, error, traceback)

    def begin(self, record: FunctionRecord) -> None:
        """See to the end of every move that is under way."""
        for alias in _moving_aliases(record):
            function = record.latest.arn.qualified(alias.name)
            if function not in self._tasks:
                self._tasks[function] = self._group.create_task(self._run(function), name=f"move {function}")

    async def _run(self, function: FunctionArn) -> None:
        while True:
            if await self._is_over(function):
                del self._tasks[function]
                return
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _is_over(self, function: FunctionArn) -> bool:
        try:
            return await self._end(function)
        except (ApiError, PlatformError) as error:  # not stored, or another writer was there first
            log.warning("alias.not_moved", extra={"alias": str(function), "reason": str(error)})
            return False

    async def _end(self, function: FunctionArn) -> bool:
        """Let it move if it is time; returns whether there is nothing more to wait for."""
        async with self._catalogue.changing:
            found = await self._catalogue.get(function.unqualified)
            alias = found.record.aliases.get(str(function.qualifier)) if found else None
            if found is None or alias is None or not alias.is_moving:
                return True
            requested = found.record.provisioned[alias.name].requested
            if allocation_of(self._allocation, found.record, function).status(requested) is not ProvisionedStatus.READY:
                return False
            aliases = {**found.record.aliases, alias.name: moved(alias, self._stamps.new_id())}
            await self._catalogue.put(replace(found.record, aliases=aliases), found.revision)
            return True


def _moving_aliases(record: FunctionRecord) -> Iterable[Alias]:
    return (alias for alias in record.aliases.values() if alias.is_moving)
