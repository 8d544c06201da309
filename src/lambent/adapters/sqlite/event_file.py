"""The SQLite file of the event queue: its tables, and the changes made to them in the writing thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lambent.adapters.sqlite.file import Format
from lambent.ports.store import WriteFailed

PARKED_MS = 1 << 62
"""As `due_ms`: never by itself."""

PRAGMAS = ("synchronous = FULL", "wal_autocheckpoint = 4096", f"journal_size_limit = {64 * 1024 * 1024}")

# Ids are never given twice, so that what a person was shown stays what it was.
FORMAT = Format(
    application_id=0x4C4D4556,  # "LMEV"
    version=1,
    schema="""
CREATE TABLE lanes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    lane_id INTEGER NOT NULL, put_ms INTEGER NOT NULL, due_ms INTEGER NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL
);
CREATE INDEX by_due ON items (lane_id, due_ms);
""",
    checked_tables=("lanes",),  # the items may be gigabytes; damage among them is named when they are read
    content="no waiting events",
)

_INSERT_LANE = "INSERT OR IGNORE INTO lanes (id, name) VALUES (?, ?)"
_INSERT = "INSERT INTO items (id, lane_id, put_ms, due_ms, head, body) VALUES (?, ?, ?, ?, ?, ?)"
_DELETE = "DELETE FROM items WHERE id = ?"
_RETRY = "UPDATE items SET head = ?, due_ms = ? WHERE id = ?"
_HASTEN = "UPDATE items SET due_ms = ? WHERE id = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Rows as the statements above take them."""

    lanes: Sequence[tuple[int, str]] = ()
    inserts: Sequence[tuple[int, int, int, int, bytes, bytes]] = ()
    deletes: Sequence[tuple[int]] = ()
    retries: Sequence[tuple[bytes, int, int]] = ()
    hastens: Sequence[tuple[int, int]] = ()


class EventWriter:
    """The writing connection."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def commit(self, changes: Sequence[Change]) -> None:
        """All of the changes in one transaction.

        Raises:
            WriteFailed: the disk is full or failing; nothing was changed.
        """
        execute = self._connection.executemany
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            execute(_INSERT_LANE, _rows(change.lanes for change in changes))
            execute(_INSERT, _rows(change.inserts for change in changes))
            execute(_RETRY, _rows(change.retries for change in changes))
            execute(_HASTEN, _rows(change.hastens for change in changes))
            execute(_DELETE, _rows(change.deletes for change in changes))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise WriteFailed(
                f"{self._path} could not be written: {error}. Nothing was changed; free space or check the disk"
            ) from error

    def close(self) -> None:
        self._connection.close()


def _rows(groups: Iterable[Sequence[tuple[object, ...]]]) -> list[tuple[object, ...]]:
    return [row for group in groups for row in group]
