"""A SQLite file of ours: made whole or not at all, looked at before it is used, named when it is damaged."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from lambent.model.errors import PlatformError


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """What makes a file one of ours. `checked_tables` are read in full at each start; none means all of them."""

    application_id: int
    version: int
    schema: str
    upgrades: Mapping[int, str] = field(default_factory=dict)
    """The statements that make the next version of each older one."""
    settings: str = ""
    """Pragmas that must come before the first table."""
    checked_tables: Sequence[str] = ()
    content: str
    """What moving the file away would lose, in a word: `an empty store`, `no logs`."""


def open_file(path: Path, kind: Format, *pragmas: str) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """The writing connection (WAL, with `pragmas`) and the reading one; the file is made if it is absent.

    Raises:
        PlatformError: the file is damaged, or is not one of ours; it is left as it is.
    """
    if not path.exists():
        _create(path, kind)
    try:
        with closing(_connect(path)) as connection:
            _check(connection, path, kind)
            _upgrade(connection, kind)
        writer, reader = _connect(path), _connect(path)
        for pragma in ("journal_mode = WAL", *pragmas):
            writer.execute(f"PRAGMA {pragma}")
        reader.execute("PRAGMA query_only = ON")
        return writer, reader
    except sqlite3.Error as error:
        raise unusable(path, kind, str(error)) from error


def unusable(path: Path, kind: Format, finding: str) -> PlatformError:
    return PlatformError(
        f"{path} cannot be used: {finding}. It has been left as it is: restore it from a backup, try "
        f"`sqlite3 {path.name} .recover`, or move it away to begin with {kind.content}"
    )


def _create(path: Path, kind: Format) -> None:
    """Make the file whole or not at all, so that an empty or half-written one is always damage."""
    journal = path.with_name(path.name + "-wal")
    if journal.exists():
        raise unusable(path, kind, f"it is gone, but its journal {journal.name} is still there")
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    identity = f"PRAGMA application_id = {kind.application_id}; PRAGMA user_version = {kind.version};"
    try:
        with closing(_connect(unfinished)) as connection:
            connection.executescript(f"{kind.settings} BEGIN; {kind.schema} {identity} COMMIT;")
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


def _check(connection: sqlite3.Connection, path: Path, kind: Format) -> None:
    """Refuse a file that is damaged, not ours, or from the future."""
    application_id, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if application_id != kind.application_id:
        raise unusable(
            path, kind, f"its application id is {application_id:#010x} instead of {kind.application_id:#010x}"
        )
    if version != kind.version and version not in kind.upgrades:
        raise PlatformError(
            f"{path} has format {version}; this Lambent reads format {kind.version}. "
            "Start the Lambent that wrote it, or give another --data-dir"
        )
    for subject in kind.checked_tables or ("1",):
        (verdict,) = connection.execute(f"PRAGMA quick_check({subject})").fetchone()
        if verdict != "ok":
            raise unusable(path, kind, " ".join(verdict.split()))


def _upgrade(connection: sqlite3.Connection, kind: Format) -> None:
    """From one version to the next, each whole or not at all."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for older in range(version, kind.version):
        connection.executescript(f"BEGIN; {kind.upgrades[older]}; PRAGMA user_version = {older + 1}; COMMIT;")
