"""The store in one SQLite file: WAL, every commit synced, reads in the event loop, one writing thread.

Writes that arrive while a commit runs share the next one, so a burst of them costs a few syncs and not one each.
A revision is the row's AUTOINCREMENT id: SQLite keeps the highest one ever given in the same transaction.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from lambent.adapters.watchers import Watchers
from lambent.model.errors import PlatformError
from lambent.ports.store import ABSENT, Entry, Revision, RevisionMismatch, WriteFailed

APPLICATION_ID = 0x4C4D4254  # "LMBT"
SCHEMA_VERSION = 1

_SCHEMA = f"""
CREATE TABLE entries (revision INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, value BLOB NOT NULL);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""


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
        self._wake = asyncio.Event()
        self._is_closing = False

    async def __aenter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        try:
            opening = asyncio.get_running_loop().run_in_executor(self._thread, _open, self._path)
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
        rows = self._read("SELECT key, value, revision FROM entries WHERE key = ?", key)
        return rows[0] if rows else None

    async def put(self, key: str, value: bytes, *, expected: Revision | None = None) -> Revision:
        return await self._write(key, value, expected)

    async def delete(self, key: str, *, expected: Revision | None = None) -> None:
        await self._write(key, None, expected)

    async def scan(self, prefix: str, *, after: str = "", limit: int = 1_000) -> Sequence[Entry]:
        statement = "SELECT key, value, revision FROM entries WHERE key >= ? AND key > ? ORDER BY key LIMIT ?"
        return [entry for entry in self._read(statement, prefix, after, limit) if entry.key.startswith(prefix)]

    def _read(self, statement: str, *parameters: str | int) -> list[Entry]:
        try:
            rows = self._reader.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise _unusable(self._path, str(error)) from error
        return [Entry(key, value, Revision(revision)) for key, value, revision in rows]

    async def _write(self, key: str, value: bytes | None, expected: Revision | None) -> Revision:
        if self._is_closing:
            raise WriteFailed(f"{self._path} is closed: the server is stopping")
        done: asyncio.Future[Revision] = asyncio.get_running_loop().create_future()
        self._pending.append(_Write(key, value, expected, done))
        self._wake.set()
        return await done

    async def _write_batches(self) -> None:
        loop = asyncio.get_running_loop()
        while self._pending or not self._is_closing:
            await self._wake.wait()
            self._wake.clear()
            batch, self._pending = self._pending, []
            outcomes = await loop.run_in_executor(self._thread, self._commit, batch)
            for write, outcome in zip(batch, outcomes, strict=True):
                self._settle(write, outcome)

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


def _open(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """The writing and the reading connection, after a look at the whole file."""
    if not path.exists():
        _create(path)
    try:
        writer = _connect(path)
        _check(writer, path)
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA synchronous = FULL")
        reader = _connect(path)
        reader.execute("PRAGMA query_only = ON")
        return writer, reader
    except sqlite3.Error as error:
        raise _unusable(path, str(error)) from error


def _create(path: Path) -> None:
    """Make the file whole or not at all, so that an empty or half-written one is always damage."""
    journal = path.with_name(path.name + "-wal")
    if journal.exists():
        raise _unusable(path, f"it is gone, but its journal {journal.name} is still there")
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    try:
        with closing(_connect(unfinished)) as connection:
            connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        unfinished.chmod(0o600)
        unfinished.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except (sqlite3.Error, OSError) as error:
        raise PlatformError(f"{path} could not be made: {error}. Check the directory and its space") from error


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=32)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that is damaged, not ours, or from the future."""
    application_id, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if application_id != APPLICATION_ID:
        raise _unusable(path, f"its application id is {application_id:#010x} instead of {APPLICATION_ID:#010x}")
    if version != SCHEMA_VERSION:
        raise PlatformError(
            f"{path} has format {version}; this Lambent reads format {SCHEMA_VERSION}. "
            "Start the Lambent that wrote it, or give another --data-dir"
        )
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _unusable(path, " ".join(verdict.split()))


def _unusable(path: Path, finding: str) -> PlatformError:
    return PlatformError(
        f"{path} cannot be used: {finding}. It has been left as it is: restore it from a backup, try "
        f"`sqlite3 {path.name} .recover`, or move it away to begin with an empty store"
    )
