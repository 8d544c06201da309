"""The tags of event source mappings, which are part of their records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lambent.control.mapping_catalogue import FoundMapping, MappingCatalogue
from lambent.control.tags import Tagging
from lambent.model.caller import CallerContext
from lambent.model.errors import ResourceConflict, ResourceNotFound


class MappingTags:
    """Implements `lambent.control.tags.Tagged`."""

    def __init__(self, mappings: MappingCatalogue) -> None:
        self._mappings = mappings

    async def tags(self, caller: CallerContext, arn: str) -> Tagging:
        return (await self._find(caller, arn)).mapping.tags

    async def retag(self, caller: CallerContext, arn: str, change: Callable[[Tagging], Tagging]) -> None:
        async with self._mappings.changing:
            try:
                await self._retag(caller, arn, change)
            except ResourceConflict:  # who polls has settled a change at this moment, and the next one only we can make
                await self._retag(caller, arn, change)

    async def _retag(self, caller: CallerContext, arn: str, change: Callable[[Tagging], Tagging]) -> None:
        found = await self._find(caller, arn)
        await self._mappings.put(replace(found.mapping, tags=change(found.mapping.tags)), found.revision)

    async def _find(self, caller: CallerContext, arn: str) -> FoundMapping:
        found = await self._mappings.find(caller.account, caller.region, arn.rpartition(":")[2])
        if found.mapping.arn != arn:
            raise ResourceNotFound("The resource you requested does not exist.")
        return found
