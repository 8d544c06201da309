"""The log store in dictionaries: for tests and for servers that are to forget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from lambent.adapters.log_blocks import Block, cut, encode, read_blocks
from lambent.ports.log_store import Batch, Event, Group, GroupKey, Query, Stream, StreamKey


@dataclass(slots=True)
class _Held:
    """One group: its description, its streams by name, its blocks."""

    group: Group
    streams: dict[str, Stream] = field(default_factory=dict)
    blocks: list[tuple[Block, int]] = field(default_factory=list)
    """Each with the bytes of text in it."""

    def keep(self, kept: list[tuple[Block, int]]) -> int:
        removed = sum(size for _, size in self.blocks) - sum(size for _, size in kept)
        self.blocks = kept
        self.group = replace(self.group, stored_bytes=self.group.stored_bytes - removed)
        return removed


class MemoryLogStore:
    """Implements `lambent.ports.log_store.LogStore`; keeps as long as the process."""

    def __init__(self) -> None:
        self._groups: dict[GroupKey, _Held] = {}
        self._last_block = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    async def append(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            await self.create_stream(batch.stream, created_ms=batch.ingested_ms)
            held = self._groups[batch.stream.group]
            for records in cut(batch.records):
                first_ms, last_ms = records[0].timestamp_ms, records[-1].timestamp_ms
                size = sum(len(record.text) for record in records)
                self._last_block += 1
                block = Block(
                    self._last_block, first_ms, last_ms, batch.ingested_ms, batch.stream.name, encode(records)
                )
                held.blocks.append((block, size))
                held.group = replace(held.group, stored_bytes=held.group.stored_bytes + size)
                held.streams[batch.stream.name] = _having_logged(held.streams[batch.stream.name], block)

    async def read(self, query: Query) -> Sequence[Event]:
        held = self._groups.get(query.group)
        if held is None:
            return []
        wanted = held.streams if query.streams is None else set(query.streams)
        blocks = [b for b, _ in held.blocks if b.stream in wanted and b.stream.startswith(query.prefix)]
        if query.is_forward:
            blocks.sort(key=lambda block: (block.first_ms, block.id))
        else:
            blocks.sort(key=lambda block: (block.last_ms, block.id), reverse=True)
        return read_blocks(blocks, query)

    async def groups(
        self, account: str, region: str, *, prefix: str = "", after: str = "", limit: int = 50
    ) -> Sequence[Group]:
        names = sorted(key for key in self._groups if key[:2] == (account, region))
        return [self._groups[key].group for key in names if key.name.startswith(prefix) and key.name > after][:limit]

    async def streams(
        self, group: GroupKey, *, prefix: str = "", after: str | None = None, limit: int = 50, descending: bool = False
    ) -> Sequence[Stream]:
        streams = [stream for stream in self._streams(group) if stream.name.startswith(prefix)]
        streams.sort(key=lambda stream: stream.name, reverse=descending)
        if after is not None:
            streams = [s for s in streams if (s.name < after if descending else s.name > after)]
        return streams[:limit]

    async def streams_by_time(
        self, group: GroupKey, *, after: tuple[int, str] | None = None, limit: int = 50, descending: bool = False
    ) -> Sequence[Stream]:
        rows = sorted(((s.last_event_ms, s.name), s) for s in self._streams(group))
        if descending:
            rows.reverse()
        if after is not None:
            rows = [row for row in rows if (row[0] < after if descending else row[0] > after)]
        return [stream for _, stream in rows[:limit]]

    async def create_group(self, group: GroupKey, *, created_ms: int, tags: Mapping[str, str] | None = None) -> bool:
        if group in self._groups:
            return False
        made = Group(key=group, created_ms=created_ms, retention_days=None, stored_bytes=0, tags=tags or {})
        self._groups[group] = _Held(made)
        return True

    async def create_stream(self, stream: StreamKey, *, created_ms: int) -> bool:
        await self.create_group(stream.group, created_ms=created_ms)
        streams = self._groups[stream.group].streams
        if stream.name in streams:
            return False
        streams[stream.name] = Stream(
            name=stream.name, created_ms=created_ms, first_event_ms=0, last_event_ms=0, last_ingested_ms=0
        )
        return True

    async def set_retention(self, group: GroupKey, days: int | None) -> bool:
        held = self._groups.get(group)
        if held is not None:
            held.group = replace(held.group, retention_days=days)
        return held is not None

    async def retag_group(self, group: GroupKey, change: Callable[[Mapping[str, str]], Mapping[str, str]]) -> bool:
        held = self._groups.get(group)
        if held is not None:
            held.group = replace(held.group, tags=change(held.group.tags))
        return held is not None

    async def delete_group(self, group: GroupKey) -> bool:
        return self._groups.pop(group, None) is not None

    async def delete_stream(self, stream: StreamKey) -> bool:
        held = self._groups.get(stream.group)
        if held is None or held.streams.pop(stream.name, None) is None:
            return False
        held.keep([(block, size) for block, size in held.blocks if block.stream != stream.name])
        return True

    async def trim(self, now_ms: int) -> int:
        return sum(
            held.keep([pair for pair in held.blocks if pair[0].last_ms >= held.group.oldest_kept_ms(now_ms)])
            for held in self._groups.values()
        )

    def _streams(self, group: GroupKey) -> list[Stream]:
        held = self._groups.get(group)
        return list(held.streams.values()) if held else []


def _having_logged(stream: Stream, block: Block) -> Stream:
    return replace(
        stream,
        first_event_ms=min(stream.first_event_ms or block.first_ms, block.first_ms),
        last_event_ms=max(stream.last_event_ms, block.last_ms),
        last_ingested_ms=block.ingested_ms,
    )
