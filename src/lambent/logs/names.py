"""How log groups, streams, events and places between events are called on the wire."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TypeVar

import msgspec

from lambent.logs.errors import InvalidParameter
from lambent.model.caller import CallerContext
from lambent.ports.log_store import END_OF_TIME_MS, Event, GroupKey, Position

T = TypeVar("T")

_ARN = re.compile(r"arn:[\w-]+:logs:([\w-]+):(\d{12}):log-group:([^:]+)")
_EVENT_TOKEN = re.compile(r"([fb])/(\d{20})(\d{20})(\d{16})/s")
_INVALID_TOKEN = "The specified nextToken is invalid."


def group_arn(group: GroupKey) -> str:
    return f"arn:aws:logs:{group.region}:{group.account}:log-group:{group.name}"


def stream_arn(group: GroupKey, stream: str) -> str:
    return f"{group_arn(group)}:log-stream:{stream}"


def parse_group(identifier: str, caller: CallerContext) -> GroupKey:
    """What a caller's log group name or ARN stands for."""
    match = _ARN.fullmatch(identifier)
    if match is None:
        return GroupKey(caller.account, caller.region, identifier)
    region, account, name = match.groups()
    return GroupKey(account, region, name)


def event_id(position: Position) -> str:
    """Of 56 digits like AWS's, sorted like the events themselves."""
    return f"{position.timestamp_ms:020d}{position.block:020d}{position.line:016d}"


def event_token(position: Position, *, is_forward: bool) -> str:
    """A place to read on from, and in which direction."""
    return f"{'f' if is_forward else 'b'}/{event_id(position)}/s"


def parse_event_token(token: str) -> tuple[Position, bool]:
    match = _EVENT_TOKEN.fullmatch(token)
    if match is None:
        raise InvalidParameter(_INVALID_TOKEN)
    direction, *numbers = match.groups()
    position = Position(*map(int, numbers))
    if position.timestamp_ms > END_OF_TIME_MS:
        raise InvalidParameter(_INVALID_TOKEN)
    return position, direction == "f"


def just_behind(event: Event) -> Position:
    return event.position._replace(line=event.position.line + 1)


def list_token(*last: str | int) -> str:
    """A place in a list of groups or streams: what the list was sorted by, of the last one shown."""
    return base64.urlsafe_b64encode(msgspec.json.encode(last)).decode()


def parse_list_token(token: str) -> str:
    """The name in a token of a list sorted by name."""
    return _decode(token, tuple[str])[0]


def parse_timed_list_token(token: str) -> tuple[int, str]:
    """The time and name in a token of a list sorted by time."""
    return _decode(token, tuple[int, str])


def _decode(token: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token), type=kind)
    except (binascii.Error, ValueError) as error:
        raise InvalidParameter(_INVALID_TOKEN) from error
