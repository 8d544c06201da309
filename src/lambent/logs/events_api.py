"""The operations on log events: putting, getting and filtering them. What has expired is never shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple  # Any: parameters are of whatever type the service model gives them

from lambent.logs.directory import find_group, find_stream
from lambent.logs.errors import InvalidParameter
from lambent.logs.filter_pattern import Matcher, compile_filter_pattern
from lambent.logs.names import event_id, event_token, just_behind, parse_event_token
from lambent.logs.put_rules import accepted_range, check_batch
from lambent.model.caller import CallerContext
from lambent.ports.log_store import END_OF_TIME_MS, Batch, Event, Group, LogStore, Position, Query, Record, StreamKey

ANSWER_EVENTS = 10_000
ANSWER_BYTES = 1024 * 1024
PAGES_SEARCHED = 20
"""How much one FilterLogEvents looks through before it answers with what it has and a token to go on."""


class EventsApi:
    """`clock_ms` gives the time in epoch milliseconds."""

    def __init__(self, store: LogStore, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._clock_ms = clock_ms

    async def put_log_events(self, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        """Sequence tokens are ignored and never refused, as AWS does since 2023; an `entity` is refused as AWS does."""
        group = await find_group(self._store, caller, parameters)
        stream = await find_stream(self._store, group, parameters["logStreamName"])
        records = [Record(e["timestamp"], e["message"].encode(errors="replace")) for e in parameters["logEvents"]]
        check_batch(records)
        now_ms = self._clock_ms()
        start, end, rejected = accepted_range(records, now_ms=now_ms, oldest_kept_ms=group.oldest_kept_ms(now_ms))
        if start < end:
            await self._store.append([Batch(StreamKey(group.key, stream.name), records[start:end], now_ms)])
        answer: dict[str, Any] = {"nextSequenceToken": event_id(Position(now_ms))}
        if rejected:
            answer["rejectedLogEventsInfo"] = rejected
        if "entity" in parameters:
            answer["rejectedEntityInfo"] = {"errorType": "UnsupportedLogGroupType"}
        return answer

    async def get_log_events(self, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        group = await find_group(self._store, caller, parameters)
        stream = await find_stream(self._store, group, parameters["logStreamName"])
        query = self._query(group, parameters, from_head=False)
        query = replace(query, streams=(stream.name,), limit=parameters.get("limit", ANSWER_EVENTS))
        events = await self._store.read(query)
        if not query.is_forward:
            events = events[::-1]
        nowhere = query.origin or Position(query.start_ms)
        first, behind = (events[0].position, just_behind(events[-1])) if events else (nowhere, nowhere)
        return {
            "events": [_output_event(event) for event in events],
            "nextForwardToken": event_token(behind, is_forward=True),
            "nextBackwardToken": event_token(first, is_forward=False),
        }

    async def filter_log_events(self, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        names, prefix = parameters.get("logStreamNames"), parameters.get("logStreamNamePrefix", "")
        if names and prefix:
            raise InvalidParameter("Specify either logStreamNames or logStreamNamePrefix, but not both.")
        pattern, limit = parameters.get("filterPattern", ""), parameters.get("limit", ANSWER_EVENTS)
        matches = compile_filter_pattern(pattern)
        group = await find_group(self._store, caller, parameters)
        query = replace(self._query(group, parameters, from_head=True), limit=ANSWER_EVENTS if pattern else limit)
        end_ms = query.end_ms + 1  # unlike with GetLogEvents, the end is included
        query = replace(query, streams=tuple(names) if names else None, prefix=prefix, end_ms=end_ms)
        events, origin = await self._search(query, matches, limit)
        answer: dict[str, Any] = {"events": [_filtered_event(event) for event in events], "searchedLogStreams": []}
        if origin is not None:
            answer["nextToken"] = event_token(origin, is_forward=query.is_forward)
        return answer

    def _query(self, group: Group, parameters: dict[str, Any], *, from_head: bool) -> Query:
        """A token knows its own direction; without one `startFromHead` gives it."""
        start_ms = max(parameters.get("startTime", 0), group.oldest_kept_ms(self._clock_ms()))
        end_ms = parameters.get("endTime", END_OF_TIME_MS)
        origin, is_forward = None, parameters.get("startFromHead", from_head)
        if "nextToken" in parameters:
            origin, is_forward = parse_event_token(parameters["nextToken"])
        return Query(
            group=group.key,
            start_ms=min(start_ms, END_OF_TIME_MS),
            end_ms=min(end_ms, END_OF_TIME_MS),
            origin=origin,
            is_forward=is_forward,
        )

    async def _search(self, query: Query, matches: Matcher, limit: int) -> tuple[list[Event], Position | None]:
        """The events that match, and where to go on; None when all has been searched."""
        found: list[Event] = []
        room = ANSWER_BYTES
        for _ in range(PAGES_SEARCHED):
            page = await self._store.read(query)
            if not page:
                return found, None
            chosen = await asyncio.to_thread(_choose, page, matches, limit - len(found), room, query.is_forward)
            found += chosen.events
            room -= chosen.size
            query = replace(query, origin=chosen.origin)
            if chosen.is_full:
                break
        return found, query.origin


class _Chosen(NamedTuple):
    events: list[Event]
    size: int
    origin: Position
    is_full: bool


def _choose(page: Sequence[Event], matches: Matcher, limit: int, room: int, is_forward: bool) -> _Chosen:
    """Those of a page that match, as far as there is room, and where the rest begins."""
    chosen: list[Event] = []
    size = 0
    for event in page:
        if not matches(event.message):
            continue
        if len(chosen) == limit or (size + len(event.message) > room and (chosen or room < ANSWER_BYTES)):
            return _Chosen(chosen, size, event.position if is_forward else just_behind(event), True)
        chosen.append(event)
        size += len(event.message)
    return _Chosen(chosen, size, just_behind(page[-1]) if is_forward else page[-1].position, False)


def _output_event(event: Event) -> dict[str, Any]:
    return {
        "timestamp": event.position.timestamp_ms,
        "message": event.message,
        "ingestionTime": event.ingested_ms,
    }


def _filtered_event(event: Event) -> dict[str, Any]:
    return _output_event(event) | {"logStreamName": event.stream, "eventId": event_id(event.position)}
