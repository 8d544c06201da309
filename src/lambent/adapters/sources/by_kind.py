"""The sources of mappings, by their kind: AWS's services at their endpoints, or brokers."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from lambent.model.event_source_mapping import EventSourceMapping, SourceKind
from lambent.model.function import FunctionVersion
from lambent.ports.sources import QueueSource, Sources, StreamSource

_BROKERS = frozenset((SourceKind.MSK, SourceKind.SELF_MANAGED_KAFKA, SourceKind.MQ))


class SourcesByKind:
    """Implements `lambent.ports.sources.Sources`."""

    def __init__(self, services: Sources, brokers: Sources) -> None:
        self._services = services
        self._brokers = brokers

    def queue(self, mapping: EventSourceMapping, version: FunctionVersion) -> AbstractAsyncContextManager[QueueSource]:
        return self._of(mapping).queue(mapping, version)

    def stream(
        self, mapping: EventSourceMapping, version: FunctionVersion
    ) -> AbstractAsyncContextManager[StreamSource]:
        return self._of(mapping).stream(mapping, version)

    async def forget(self, mapping: EventSourceMapping) -> None:
        await self._of(mapping).forget(mapping)

    def _of(self, mapping: EventSourceMapping) -> Sources:
        return self._brokers if mapping.kind in _BROKERS else self._services
