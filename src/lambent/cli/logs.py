"""`lambent logs`: what a function's environments have written, and what they go on writing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any  # Any: what botocore parsed

from cyclopts import Parameter

from lambent.cli.connection import ANY_SERVER, Server
from lambent.cli.output import lines_of
from lambent.config import parse_duration_s

_POLL_S = 0.5
_LATE_MS = 10_000
"""Environments write side by side: how much older than the newest event a new one may be and still be shown."""


def logs(
    name: str,
    /,
    *,
    follow: Annotated[bool, Parameter(alias="-f", negative=())] = False,
    since: str = "10m",
    filter: str = "",
    server: Server = ANY_SERVER,
) -> None:
    """Print a function's log, oldest first.

    Parameters
    ----------
    name:
        The function.
    follow:
        Go on with what is written from now on, until Ctrl-C.
    since:
        How far to look back, e.g. 30s, 10m, 2h.
    filter:
        A CloudWatch Logs filter pattern, e.g. ERROR or '{ $.level = "error" }'.
    """
    group = _log_group(server, name)
    since_ms = int((time.time() - parse_duration_s(since)) * 1000)
    for event in _events(server.client("logs"), group, since_ms, pattern=filter, is_following=follow):
        _show(event, as_json=server.as_json)


def _log_group(server: Server, name: str) -> str:
    configuration = server.client().get_function_configuration(FunctionName=name)
    default = f"/aws/lambda/{configuration['FunctionName']}"
    return str(configuration.get("LoggingConfig", {}).get("LogGroup", default))


def _events(client: Any, group: str, since_ms: int, *, pattern: str, is_following: bool) -> Iterator[dict[str, Any]]:
    """Each event once; follows by asking again for a little more than what is new."""
    seen: dict[str, int] = {}
    while True:
        for event in _stored_events(client, group, since_ms, pattern):
            if event["eventId"] not in seen:
                seen[event["eventId"]] = event["timestamp"]
                yield event
        if not is_following:
            return
        since_ms = max(since_ms, max(seen.values(), default=0) - _LATE_MS)
        seen = {event_id: timestamp for event_id, timestamp in seen.items() if timestamp >= since_ms}
        time.sleep(_POLL_S)


def _stored_events(client: Any, group: str, since_ms: int, pattern: str) -> Iterator[dict[str, Any]]:
    parameters = {"logGroupName": group, "startTime": since_ms, **({"filterPattern": pattern} if pattern else {})}
    try:
        for page in client.get_paginator("filter_log_events").paginate(**parameters):
            yield from page["events"]
    except client.exceptions.ResourceNotFoundException:
        return  # the group comes into being with the first invoke


def _show(event: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        members = ("timestamp", "logStreamName", "message")
        print(json.dumps({member: event[member] for member in members}, ensure_ascii=False), flush=True)
        return
    written = datetime.fromtimestamp(event["timestamp"] / 1000, UTC).isoformat(timespec="milliseconds")
    print(f"{written.removesuffix('+00:00')}Z  {lines_of(event['message']).rstrip()}", flush=True)
