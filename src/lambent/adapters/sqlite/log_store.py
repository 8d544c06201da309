"""The log store in one SQLite file: a writing and a reading thread, and events in blocks.

Whatever is appended together is committed together. A deletion hides what it deletes at once and removes the blocks in
slices, so that appends go on between them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from lambent.adapters.log_blocks import DamagedBlock
from lambent.adapters.sqlite.log_file import GROUP_ID, open_log_file, unusable_logs
from lambent.adapters.sqlite.log_reader import LogReader
from lambent.adapters.sqlite.log_writer import LogWriter
from lambent.ports.log_store import Batch, Event, Group, GroupKey, Query, Stream, StreamKey

T = TypeVar("T")


class SqliteLogStore:
    """Implements `lambent.ports.log_store.LogStore` on the file `path`, which is made if it is absent.

    Raises (on entering, and on reading what is damaged):
        PlatformError: the file is damaged, or is not one of ours; it is left as it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __aenter__(self) -> Self:
        writer, reader = await asyncio.to_thread(open_log_file, self._path)
        self._writer, self._reader = LogWriter(writer, self._path), LogReader(reader)
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="logs-write")
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="logs-read")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._reading, self._reader.close)
        await loop.run_in_executor(self._writing, self._writer.close)
        self._reading.shutdown()
        self._writing.shutdown()

    async def append(self, batches: Sequence[Batch]) -> None:
        await self._write(lambda writer: writer.append(batches))

    async def read(self, query: Query) -> Sequence[Event]:
        return await self._read(lambda reader: reader.page(query))

    async def groups(
        self, account: str, region: str, *, prefix: str = "", after: str = "", limit: int = 50
    ) -> Sequence[Group]:
        return await self._read(lambda reader: reader.groups(account, region, prefix, after, limit))

    async def streams(
        self, group: GroupKey, *, prefix: str = "", after: str | None = None, limit: int = 50, descending: bool = False
    ) -> Sequence[Stream]:
        return await self._read(lambda reader: reader.streams(group, prefix, after, limit, descending))

    async def streams_by_time(
        self, group: GroupKey, *, after: tuple[int, str] | None = None, limit: int = 50, descending: bool = False
    ) -> Sequence[Stream]:
        return await self._read(lambda reader: reader.streams_by_time(group, after, limit, descending))

    async def create_group(self, group: GroupKey, *, created_ms: int, tags: Mapping[str, str] | None = None) -> bool:
        return await self._write(lambda writer: writer.create_group(group, created_ms, tags))

    async def create_stream(self, stream: StreamKey, *, created_ms: int) -> bool:
        return await self._write(lambda writer: writer.create_stream(stream, created_ms))

    async def set_retention(self, group: GroupKey, days: int | None) -> bool:
        return await self._write(lambda writer: writer.set_retention(group, days))

    async def retag_group(self, group: GroupKey, change: Callable[[Mapping[str, str]], Mapping[str, str]]) -> bool:
        return await self._write(lambda writer: writer.retag_group(group, change))

    async def delete_group(self, group: GroupKey) -> bool:
        group_id = await self._write(lambda writer: writer.drop_group(group))
        if group_id is not None:
            await self._delete_blocks("group_id = ?", group_id)
        return group_id is not None

    async def delete_stream(self, stream: StreamKey) -> bool:
        stream_id = await self._write(lambda writer: writer.drop_stream(stream))
        if stream_id is not None:
            await self._delete_blocks("stream_id = ?", stream_id)
        return stream_id is not None

    async def trim(self, now_ms: int) -> int:
        orphans = "stream_id IN (SELECT stream_id FROM blocks EXCEPT SELECT id FROM streams)"
        removed = await self._delete_blocks(orphans)  # left where a deletion was cut short
        for group in await self._read(lambda reader: reader.groups_with_retention()):
            expired = f"group_id = ({GROUP_ID}) AND last_ms < ?"
            removed += await self._delete_blocks(expired, *group.key, group.oldest_kept_ms(now_ms))
        return removed

    async def _delete_blocks(self, where: str, *parameters: str | int) -> int:
        removed = 0
        while True:
            blocks, size = await self._write(lambda writer: writer.delete_slice(where, *parameters))
            removed += size
            if not blocks:
                return removed

    async def _read(self, ask: Callable[[LogReader], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reading, ask, self._reader)
        except (sqlite3.Error, DamagedBlock) as error:
            raise unusable_logs(self._path, str(error)) from error

    async def _write(self, change: Callable[[LogWriter], T]) -> T:
        def write() -> T:
            with self._writer.transaction():
                return change(self._writer)

        return await asyncio.get_running_loop().run_in_executor(self._writing, write)
