"""Writing the file of the log store. Everything here runs in the writing thread, inside one transaction each."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lambent.adapters.log_blocks import cut, encode
from lambent.adapters.sqlite.log_file import GROUP_ID
from lambent.ports.log_store import Batch, GroupKey, Record, StreamKey
from lambent.ports.store import WriteFailed

_BLOCKS_PER_SLICE = 64
_IDS_KEPT_MS = 60_000
_IDS_KEPT = 5_000
"""A stream is written to as long as its environment lives. Then nobody asks for its ids again."""

_INSERT_GROUP = "INSERT OR IGNORE INTO groups (account, region, name, created_ms, tags) VALUES (?, ?, ?, ?, ?)"
_INSERT_STREAM = f"INSERT OR IGNORE INTO streams (group_id, name, created_ms) VALUES (({GROUP_ID}), ?, ?)"
_STREAM_IDS = f"SELECT group_id, id FROM streams WHERE group_id = ({GROUP_ID}) AND name = ?"
_INSERT_BLOCK = """
INSERT INTO blocks (group_id, stream_id, first_ms, last_ms, ingested_ms, text_bytes, payload)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_STREAM_HAS_LOGGED = """
UPDATE streams SET first_event_ms = iif(first_event_ms = 0, :first, min(first_event_ms, :first)),
last_event_ms = max(last_event_ms, :last), last_ingested_ms = :ingested WHERE id = :stream
"""
_GROUP_HAS_GROWN = "UPDATE groups SET stored_bytes = stored_bytes + ? WHERE id = ?"


class LogWriter:
    """The writing connection, and what is done with it."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._ids: dict[StreamKey, tuple[int, int]] = {}
        """Group and stream id of the streams written to lately."""
        self._older_ids: dict[StreamKey, tuple[int, int]] = {}
        """Of those that have not been since these were the late ones."""
        self._ids_since_ms = 0

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is done within happens, or nothing of it.

        Raises:
            WriteFailed: the disk is full or failing.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise WriteFailed(
                f"{self._path} could not be written: {error}. Nothing was changed; free space or check the disk"
            ) from error
        except BaseException:
            self._roll_back()
            raise

    def append(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            group_id, stream_id = self._ids_of(batch.stream, batch.ingested_ms)
            for records in cut(batch.records):
                self._append_block(group_id, stream_id, records, batch.ingested_ms)

    def create_group(self, group: GroupKey, created_ms: int, tags: Mapping[str, str] | None = None) -> bool:
        values = (*group, created_ms, json.dumps(tags or {}))
        return self._connection.execute(_INSERT_GROUP, values).rowcount > 0

    def create_stream(self, stream: StreamKey, created_ms: int) -> bool:
        self.create_group(stream.group, created_ms)
        return self._connection.execute(_INSERT_STREAM, (*stream.group, stream.name, created_ms)).rowcount > 0

    def set_retention(self, group: GroupKey, days: int | None) -> bool:
        update = "UPDATE groups SET retention_days = ? WHERE account = ? AND region = ? AND name = ?"
        return self._connection.execute(update, (days, *group)).rowcount > 0

    def retag_group(self, group: GroupKey, change: Callable[[Mapping[str, str]], Mapping[str, str]]) -> bool:
        row = self._connection.execute(f"SELECT id, tags FROM groups WHERE id = ({GROUP_ID})", group).fetchone()
        if row is not None:
            tags = json.dumps(change(json.loads(row[1])))
            self._connection.execute("UPDATE groups SET tags = ? WHERE id = ?", (tags, row[0]))
        return row is not None

    def drop_group(self, group: GroupKey) -> int | None:
        """Take the group and its streams away; its blocks, which nobody can see any more, are left to be deleted."""
        self._forget_ids()
        row = self._connection.execute(GROUP_ID, group).fetchone()
        if row is None:
            return None
        self._connection.execute("DELETE FROM groups WHERE id = ?", row)
        self._connection.execute("DELETE FROM streams WHERE group_id = ?", row)
        return int(row[0])

    def drop_stream(self, stream: StreamKey) -> int | None:
        """Like `drop_group`, for one stream."""
        self._forget_ids()
        row = self._connection.execute(_STREAM_IDS, (*stream.group, stream.name)).fetchone()
        if row is None:
            return None
        self._connection.execute("DELETE FROM streams WHERE id = ?", (row[1],))
        return int(row[1])

    def delete_slice(self, where: str, *parameters: str | int) -> tuple[int, int]:
        """Delete some of the blocks that match; return how many, and their bytes."""
        chosen = f"SELECT id, group_id, text_bytes FROM blocks WHERE {where} LIMIT {_BLOCKS_PER_SLICE}"
        rows = self._connection.execute(chosen, parameters).fetchall()
        self._connection.executemany("DELETE FROM blocks WHERE id = ?", [(block,) for block, _, _ in rows])
        self._connection.executemany(_GROUP_HAS_GROWN, [(-size, group) for _, group, size in rows])
        return len(rows), sum(size for _, _, size in rows)

    def _roll_back(self) -> None:
        self._forget_ids()  # some may have been given in this transaction
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _ids_of(self, stream: StreamKey, now_ms: int) -> tuple[int, int]:
        ids = self._ids.get(stream)
        if ids is not None:
            return ids
        if now_ms >= self._ids_since_ms + _IDS_KEPT_MS or len(self._ids) >= _IDS_KEPT:
            self._older_ids, self._ids, self._ids_since_ms = self._ids, {}, now_ms
        ids = self._older_ids.pop(stream, None)
        if ids is None:
            self.create_stream(stream, now_ms)
            group_id, stream_id = self._connection.execute(_STREAM_IDS, (*stream.group, stream.name)).fetchone()
            ids = (group_id, stream_id)
        self._ids[stream] = ids
        return ids

    def _forget_ids(self) -> None:
        self._ids.clear()
        self._older_ids.clear()

    def _append_block(self, group_id: int, stream_id: int, records: Sequence[Record], ingested_ms: int) -> None:
        first_ms, last_ms = records[0].timestamp_ms, records[-1].timestamp_ms
        size = sum(len(record.text) for record in records)
        self._connection.execute(
            _INSERT_BLOCK, (group_id, stream_id, first_ms, last_ms, ingested_ms, size, encode(records))
        )
        logged = {"first": first_ms, "last": last_ms, "ingested": ingested_ms, "stream": stream_id}
        self._connection.execute(_STREAM_HAS_LOGGED, logged)
        self._connection.execute(_GROUP_HAS_GROWN, (size, group_id))
