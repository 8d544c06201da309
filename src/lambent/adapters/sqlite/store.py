"""The store in one SQLite file: WAL, every commit synced, reads in the event loop, one writing thread.

Writes that arrive while a commit runs share the next one, so a burst of them costs a few syncs and not one each.
A revision is the row's AUTOINCREMENT id: SQLite keeps the highest one ever given in the same transaction.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from lambent.adapters.sqlite.file import Format, open_file, unusable
from lambent.adapters.watchers import Watchers
from lambent.model.errors import PlatformError
from lambent.ports.store import ABSENT, Entry, Revision, RevisionMismatch, WriteFailed

FORMAT = Format(
    application_id=0x4C4D4254,  # "LMBT"
    version=1,
    schema="CREATE TABLE entries "
    "(revision INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, value BLOB NOT NULL);",
    content="an empty store",
)


@dataclass(frozen=True, slots=True)
class _Write:
    """One put, or (value None) one delete, and whoever waits for its revision (ABSENT: there was nothing to delete)."""

    key: str
    value: bytes | None
    expected: Revision | None
    done: asyncio.Future[Revision]


class SqliteStore(Watchers):
    """Implements `lambent.ports.store.Store` on the file `path`, which is made if it is absent.

    Raises (on entering):
        PlatformError: the file is damaged, or is not one of ours; it is left as it is.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._pending: list[_Write] = []
        self._before: dict[str, Entry | None] = {}
        """What the keys of the batch under way held. It may be in the file before this loop hears of it, and nobody
        shall read what the watchers have not been told."""
        self._wake = asyncio.Event()
        self._is_closing = False

    async def __aenter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        try:
            opening = asyncio.get_running_loop().run_in_executor(
                self._thread, open_file, self._path, FORMAT, "synchronous = FULL"
            )
            self._writer, self._reader = await opening
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        self._writing = asyncio.create_task(self._write_batches(), name=f"store {self._path.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_closing = True
        self._wake.set()
        try:
            await self._writing
        finally:
            self._thread.submit(self._writer.close).result()
            self._thread.shutdown()
            self._reader.close()

    async def get(self, key: str) -> Entry | None:
        return self._before[key] if key in self._before else self._find(key)

    async def put(self, key: str, value: bytes, *, expected: Revision | None = None) -> Revision:
        return await self._write(key, value, expected)

    async def delete(self, key: str, *, expected: Revision | None = None) -> None:
        await self._write(key, None, expected)

    async def scan(self, prefix: str, *, after: str = "", limit: int = 1_000) -> Sequence[Entry]:
        statement = "SELECT key, value, revision FROM entries WHERE key >= ? AND key > ? ORDER BY key LIMIT ?"
        entries = self._read(statement, prefix, after, limit + len(self._before))
        found = {entry.key: entry for entry in entries if entry.key not in self._before}
        found |= {key: entry for key, entry in self._before.items() if entry is not None and key > after}
        return [found[key] for key in sorted(found) if key.startswith(prefix)][:limit]

    def _find(self, key: str) -> Entry | None:
        rows = self._read("SELECT key, value, revision FROM entries WHERE key = ?", key)
        return rows[0] if rows else None

    def _read(self, statement: str, *parameters: str | int) -> list[Entry]:
        try:
            rows = self._reader.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise unusable(self._path, FORMAT, str(error)) from error
        return [Entry(key, value, Revision(revision)) for key, value, revision in rows]

    async def _write(self, key: str, value: bytes | None, expected: Revision | None) -> Revision:
        if self._is_closing:
            raise WriteFailed(f"{self._path} is closed: the server is stopping")
        done: asyncio.Future[Revision] = asyncio.get_running_loop().create_future()
        self._pending.append(_Write(key, value, expected, done))
        self._wake.set()
        return await done

    async def _write_batches(self) -> None:
        while self._pending or not self._is_closing:
            await self._wake.wait()
            self._wake.clear()
            batch, self._pending = self._pending, []
            outcomes = await self._committed(batch)
            for write, outcome in zip(batch, outcomes, strict=True):
                self._settle(write, outcome)

    async def _committed(self, batch: list[_Write]) -> Sequence[Revision | Exception]:
        try:
            self._before = {write.key: self._find(write.key) for write in batch}
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, batch)
        except PlatformError as error:
            return [error] * len(batch)
        finally:
            self._before = {}

    def _settle(self, write: _Write, outcome: Revision | Exception) -> None:
        if isinstance(outcome, int) and outcome != ABSENT:
            self._tell(write.key)
        if write.done.done():  # whoever waited was cancelled; the write stands
            return
        if isinstance(outcome, Exception):
            write.done.set_exception(outcome)
        else:
            write.done.set_result(outcome)

    def _commit(self, batch: list[_Write]) -> Sequence[Revision | Exception]:
        """In the writing thread: all of the batch in one transaction; a mismatch only fails its own write."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            outcomes = [self._apply(write) for write in batch]
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            return [_failed(self._path, error)] * len(batch)
        return outcomes

    def _apply(self, write: _Write) -> Revision | Exception:
        row = self._writer.execute("SELECT revision FROM entries WHERE key = ?", (write.key,)).fetchone()
        current: Revision = row[0] if row else ABSENT
        if write.expected is not None and write.expected != current:
            return RevisionMismatch(write.key)
        if write.value is None:
            self._writer.execute("DELETE FROM entries WHERE revision = ?", (current,))
            return current
        put = "INSERT OR REPLACE INTO entries (key, value) VALUES (?, ?)"
        row_id = self._writer.execute(put, (write.key, write.value)).lastrowid
        assert row_id is not None
        return Revision(row_id)


def _failed(path: Path, error: sqlite3.Error) -> WriteFailed:
    return WriteFailed(f"{path} could not be written: {error}. Nothing was changed; free space or check the disk")
