"""Checkpoints of streams that keep none themselves, in the store: one key per shard."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lambent.model.errors import PlatformError
from lambent.model.event_source_mapping import EventSourceMapping
from lambent.model.source_record import Checkpoint
from lambent.ports.store import Store

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Checkpoint)


class StoreCheckpoints:
    def __init__(self, store: Store, mapping: EventSourceMapping) -> None:
        self._store = store
        self._prefix = f"event-source-checkpoint/{mapping.account}/{mapping.region}/{mapping.uuid}/"

    async def load(self) -> Mapping[str, Checkpoint]:
        """By shard."""
        found: dict[str, Checkpoint] = {}
        last = ""
        while entries := await self._store.scan(self._prefix, after=last):
            for entry in entries:
                found[entry.key.removeprefix(self._prefix)] = _decode(entry.value)
            last = entries[-1].key
        return found

    async def save(self, shard: str, checkpoint: Checkpoint) -> None:
        await self._store.put(self._prefix + shard, _encode(checkpoint))

    async def remove(self, shard: str) -> None:
        await self._store.delete(self._prefix + shard)

    async def clear(self) -> None:
        for shard in await self.load():
            await self.remove(shard)


def _decode(value: bytes) -> Checkpoint:
    try:
        return _decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise PlatformError(f"A stored checkpoint cannot be read: {error}. It begins with {value[:80]!r}") from error
