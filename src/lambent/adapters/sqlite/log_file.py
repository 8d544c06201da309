"""The SQLite file of the log store: its tables, made whole or not at all, and looked at before it is used.

Only the small tables are checked in full when the file is opened: the events may be hundreds of gigabytes, and damage
among them is named when they are read.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from lambent.model.errors import PlatformError

APPLICATION_ID = 0x4C4D4C47  # "LMLG"
SCHEMA_VERSION = 1
PAGE_BYTES = 16 * 1024
_WAL_PAGES = 1024
_WAL_BYTES_KEPT = 64 * 1024 * 1024

_SCHEMA = f"""
PRAGMA page_size = {PAGE_BYTES};
BEGIN;
CREATE TABLE groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
    created_ms INTEGER NOT NULL, retention_days INTEGER, stored_bytes INTEGER NOT NULL DEFAULT 0,
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
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""

GROUP_ID = "SELECT id FROM groups WHERE account = ? AND region = ? AND name = ?"


def open_log_file(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """The writing and the reading connection.

    Raises:
        PlatformError: the file is damaged, or is not one of ours; it is left as it is.
    """
    if not path.exists():
        _create(path)
    try:
        with closing(_connect(path)) as connection:
            _check(connection, path)
        writer, reader = _connect(path), _connect(path)
        writer.execute("PRAGMA journal_mode = WAL")
        # A commit outlives our own death; a power failure may take back the last ones. Logs are worth no fsync each.
        writer.execute("PRAGMA synchronous = NORMAL")
        writer.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        writer.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}")
        reader.execute("PRAGMA query_only = ON")
        return writer, reader
    except sqlite3.Error as error:
        raise unusable(path, str(error)) from error


def unusable(path: Path, finding: str) -> PlatformError:
    return PlatformError(
        f"{path} cannot be used: {finding}. It has been left as it is: restore it from a backup, try "
        f"`sqlite3 {path.name} .recover`, or move it away to begin with no logs"
    )


def _create(path: Path) -> None:
    journal = path.with_name(path.name + "-wal")
    if journal.exists():
        raise unusable(path, f"it is gone, but its journal {journal.name} is still there")
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    try:
        with closing(_connect(unfinished)) as connection:
            connection.executescript(_SCHEMA)
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
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that is damaged, not ours, or from the future."""
    application_id, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    if application_id != APPLICATION_ID:
        raise unusable(path, f"its application id is {application_id:#010x} instead of {APPLICATION_ID:#010x}")
    if version != SCHEMA_VERSION:
        raise PlatformError(
            f"{path} has format {version}; this Lambent reads format {SCHEMA_VERSION}. "
            "Start the Lambent that wrote it, or give another --data-dir"
        )
    for table in ("groups", "streams"):
        (verdict,) = connection.execute(f"PRAGMA quick_check({table})").fetchone()
        if verdict != "ok":
            raise unusable(path, " ".join(verdict.split()))
    connection.execute("SELECT max(last_ms) FROM blocks WHERE group_id = 0").fetchone()


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value
