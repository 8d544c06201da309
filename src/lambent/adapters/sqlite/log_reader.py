"""Reading the file of the log store. Everything here runs in the reading thread."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

from lambent.adapters.log_blocks import BLOCK_SPAN_MS, Block, read_blocks
from lambent.adapters.sqlite.log_file import GROUP_ID
from lambent.ports.log_store import Event, Group, GroupKey, Query, Stream

_LAST_CHARACTER = "\U0010ffff"  # sorts behind every character that a name can hold
_LAST_MS = 2**62

_GROUP = "SELECT account, region, name, created_ms, retention_days, stored_bytes, tags FROM groups"
_STREAM = "SELECT name, created_ms, first_event_ms, last_event_ms, last_ingested_ms FROM streams"
_BLOCKS = """
SELECT b.id, b.first_ms, b.last_ms, b.ingested_ms, s.name, b.payload
FROM blocks AS b INDEXED BY {index} CROSS JOIN streams AS s ON s.id = b.stream_id
WHERE b.{owner} = :owner AND b.first_ms BETWEEN :start - :span AND :end AND b.last_ms BETWEEN :start AND :end + :span
AND s.name >= :prefix AND s.name < :prefix_end AND (:names IS NULL OR s.name IN (SELECT value FROM json_each(:names)))
ORDER BY {order}
"""
_FORWARD = "b.first_ms, b.id"
_BACKWARD = "b.last_ms DESC, b.id DESC"


class LogReader:
    """The reading connection, and what is asked of it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def close(self) -> None:
        self._connection.close()

    def page(self, query: Query) -> list[Event]:
        """Blocks are fetched while the page wants more, and no further."""
        owner, owner_id = self._owner(query)
        if owner_id is None:
            return []
        direction, order = ("forward", _FORWARD) if query.is_forward else ("backward", _BACKWARD)
        statement = _BLOCKS.format(index=f"blocks_by_{owner}_{direction}", owner=f"{owner}_id", order=order)
        with closing(self._connection.execute(statement, _bounds(query) | {"owner": owner_id})) as rows:
            return read_blocks((Block(*row) for row in rows), query)

    def groups(self, account: str, region: str, prefix: str, after: str, limit: int) -> list[Group]:
        where = "account = ? AND region = ? AND name > ? AND name >= ? AND name < ? ORDER BY name LIMIT ?"
        return self._groups(where, account, region, after, prefix, prefix + _LAST_CHARACTER, limit)

    def groups_with_retention(self) -> list[Group]:
        return self._groups("retention_days > 0")

    def streams(self, group: GroupKey, prefix: str, after: str | None, limit: int, descending: bool) -> list[Stream]:
        order, beyond, start = ("DESC", "<", _LAST_CHARACTER) if descending else ("ASC", ">", "")
        where = f"name >= ? AND name < ? AND name {beyond} ? ORDER BY name {order} LIMIT ?"
        origin = start if after is None else after
        return self._streams(group, where, prefix, prefix + _LAST_CHARACTER, origin, limit)

    def streams_by_time(
        self, group: GroupKey, after: tuple[int, str] | None, limit: int, descending: bool
    ) -> list[Stream]:
        order, beyond, start = ("DESC", "<", (_LAST_MS, "")) if descending else ("ASC", ">", (-1, ""))
        where = f"(last_event_ms, name) {beyond} (?, ?) ORDER BY last_event_ms {order}, name {order} LIMIT ?"
        return self._streams(group, where, *(after or start), limit)

    def _owner(self, query: Query) -> tuple[str, int | None]:
        """Whose index to walk: that of the only stream asked for, else the group's; None if there is no such thing."""
        row = self._connection.execute(GROUP_ID, query.group).fetchone()
        if row is None or query.streams is None or len(query.streams) != 1:
            return "group", row and row[0]
        select = "SELECT id FROM streams WHERE group_id = ? AND name = ?"
        row = self._connection.execute(select, (row[0], query.streams[0])).fetchone()
        return "stream", row and row[0]

    def _groups(self, where: str, *parameters: str | int) -> list[Group]:
        rows = self._connection.execute(f"{_GROUP} WHERE {where}", parameters).fetchall()
        return [
            Group(
                key=GroupKey(account, region, name),
                created_ms=created,
                retention_days=days,
                stored_bytes=stored,
                tags=json.loads(tags),
            )
            for account, region, name, created, days, stored, tags in rows
        ]

    def _streams(self, group: GroupKey, where: str, *parameters: str | int) -> list[Stream]:
        statement = f"{_STREAM} WHERE group_id = ({GROUP_ID}) AND {where}"
        rows = self._connection.execute(statement, (*group, *parameters)).fetchall()
        return [
            Stream(name=name, created_ms=created, first_event_ms=first, last_event_ms=last, last_ingested_ms=ingested)
            for name, created, first, last, ingested in rows
        ]


def _bounds(query: Query) -> dict[str, int | str | None]:
    """Which blocks may hold events of the query; `read_blocks` cuts precisely."""
    start_ms, end_ms = query.start_ms, query.end_ms
    if query.origin is not None and query.is_forward:
        start_ms = max(start_ms, query.origin.timestamp_ms)
    elif query.origin is not None:
        end_ms = min(end_ms, query.origin.timestamp_ms)
    return {
        "start": start_ms,
        "end": end_ms,
        "span": BLOCK_SPAN_MS,
        "prefix": query.prefix,
        "prefix_end": query.prefix + _LAST_CHARACTER,
        "names": None if query.streams is None else json.dumps(query.streams),
    }
