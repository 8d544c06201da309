"""The event source mappings that exist, in the store; which source feeds which function is remembered beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from lambent.model.errors import ResourceConflict, ResourceNotFound
from lambent.model.event_source_mapping import EventSourceMapping, mapping_prefix, result_key
from lambent.model.records import decode_mapping, encode
from lambent.ports.store import ABSENT, Revision, RevisionMismatch, Store

_SCAN = 500


@dataclass(frozen=True, slots=True)
class FoundMapping:
    """A mapping with the revision that its next write must expect."""

    mapping: EventSourceMapping
    revision: Revision


class MappingCatalogue:
    def __init__(self, store: Store) -> None:
        self._store = store
        self.changing = asyncio.Lock()
        """Held from looking for a mapping to writing it: no two of the same source and function may come to be."""
        self._uuids: dict[tuple[object, ...], str] = {}
        """By what there may be one mapping of. A mapping may have changed or gone since: it is read to be sure."""

    async def load(self) -> None:
        async for mapping in self.all():
            self._uuids[_identity(mapping)] = mapping.uuid

    async def find(self, account: str, region: str, uuid: str) -> FoundMapping:
        entry = await self._store.get(mapping_prefix(account, region) + uuid)
        if entry is None:
            raise ResourceNotFound("The resource you requested does not exist.")
        return FoundMapping(decode_mapping(entry.value), entry.revision)

    async def twin(self, mapping: EventSourceMapping) -> EventSourceMapping | None:
        """Another mapping of the same source and function."""
        uuid = self._uuids.get(_identity(mapping))
        if uuid in (None, mapping.uuid):
            return None
        entry = await self._store.get(mapping_prefix(mapping.account, mapping.region) + str(uuid))
        other = decode_mapping(entry.value) if entry else None
        return other if other is not None and _identity(other) == _identity(mapping) else None

    async def all(self, account: str = "", region: str = "", *, after: str = "") -> AsyncIterator[EventSourceMapping]:
        """Every mapping, or those of an account and region behind the UUID `after`, in order of UUID."""
        prefix = mapping_prefix(account, region)
        last = prefix + after if after else ""
        while entries := await self._store.scan(prefix, after=last, limit=_SCAN):
            for entry in entries:
                yield decode_mapping(entry.value)
            last = entries[-1].key

    async def put(self, mapping: EventSourceMapping, expected: Revision = ABSENT) -> None:
        """Write a mapping that was read at `expected`, or a new one.

        Raises:
            ResourceConflict: somebody else was there first.
        """
        self._uuids[_identity(mapping)] = mapping.uuid  # before: a write stands even if its caller has gone
        try:
            await self._store.put(mapping.key, encode(mapping), expected=expected)
        except RevisionMismatch as error:
            raise ResourceConflict(
                f"The operation cannot be performed at this time. {mapping.arn} was changed by another request."
            ) from error

    async def last_result(self, mapping: EventSourceMapping) -> str | None:
        """What polling came to last, as whoever polls has put it."""
        entry = await self._store.get(result_key(mapping.account, mapping.region, mapping.uuid))
        return entry.value.decode() if entry else None


def _identity(mapping: EventSourceMapping) -> tuple[object, ...]:
    return mapping.source_arn, mapping.bootstrap_servers, mapping.topics, mapping.queues, mapping.function
