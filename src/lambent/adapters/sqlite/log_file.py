"""The SQLite file of the log store: its tables, made whole or not at all, and looked at before it is used.

Only the small tables are checked in full when the file is opened: the events may be hundreds of gigabytes, and damage
among them is named when they are read.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from lambent.adapters.sqlite.file import Format, open_file, unusable
from lambent.model.errors import PlatformError

PAGE_BYTES = 16 * 1024
_WAL_PAGES = 1024
_WAL_BYTES_KEPT = 64 * 1024 * 1024

_SCHEMA = """
CREATE TABLE groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
    created_ms INTEGER NOT NULL, retention_days INTEGER, stored_bytes INTEGER NOT NULL DEFAULT 0,
    tags TEXT NOT NULL DEFAULT '{}',
    UNIQUE (account, region, name)
);
CREATE TABLE streams (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id INTEGER NOT NULL, name TEXT NOT NULL, created_ms INTEGER NOT NULL,
    first_event_ms INTEGER NOT NULL DEFAULT 0, last_event_ms INTEGER NOT NULL DEFAULT 0,
    last_ingested_ms INTEGER NOT NULL DEFAULT 0,
    UNIQUE (group_id, name)
);
CREATE INDEX streams_by_time ON streams (group_id, last_event_ms, name);
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id INTEGER NOT NULL, stream_id INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
    ingested_ms INTEGER NOT NULL, text_bytes INTEGER NOT NULL, payload BLOB NOT NULL
);
CREATE INDEX blocks_by_group_forward ON blocks (group_id, first_ms);
CREATE INDEX blocks_by_group_backward ON blocks (group_id, last_ms);
CREATE INDEX blocks_by_stream_forward ON blocks (stream_id, first_ms);
CREATE INDEX blocks_by_stream_backward ON blocks (stream_id, last_ms);
"""

GROUP_ID = "SELECT id FROM groups WHERE account = ? AND region = ? AND name = ?"


FORMAT = Format(
    application_id=0x4C4D4C47,  # "LMLG"
    version=2,
    settings=f"PRAGMA page_size = {PAGE_BYTES};",
    schema=_SCHEMA,
    upgrades={1: "ALTER TABLE groups ADD COLUMN tags TEXT NOT NULL DEFAULT '{}'"},
    checked_tables=("groups", "streams"),
    content="no logs",
)


def open_log_file(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """The writing and the reading connection.

    Raises:
        PlatformError: the file is damaged, or is not one of ours; it is left as it is.
    """
    # A commit outlives our own death; a power failure may take back the last ones. Logs are worth no fsync each.
    pragmas = (
        "synchronous = NORMAL",
        f"wal_autocheckpoint = {_WAL_PAGES}",
        f"journal_size_limit = {_WAL_BYTES_KEPT}",
    )
    writer, reader = open_file(path, FORMAT, *pragmas)
    try:
        reader.execute("SELECT max(last_ms) FROM blocks WHERE group_id = 0").fetchone()
    except sqlite3.Error as error:
        raise unusable_logs(path, str(error)) from error
    return writer, reader


def unusable_logs(path: Path, finding: str) -> PlatformError:
    return unusable(path, FORMAT, finding)
