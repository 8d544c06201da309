"""Which lines a function with JSON logs wants kept: the platform's by their event, its own by what they say.

reference/lifecycle.md §6. A line that is no JSON object (a plain print) is always kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import assert_never

import msgspec

from lambent.model.event_documents import document
from lambent.model.events import (
    ExtensionInit,
    Fault,
    InitializationType,
    InitReport,
    InitRuntimeDone,
    InitStart,
    LogsDropped,
    PlatformEvent,
    Report,
    RestoreReport,
    RestoreRuntimeDone,
    RestoreStart,
    RuntimeDone,
    ShutdownDone,
    Start,
    Status,
    TelemetrySubscription,
)

_SEVERITY = {"TRACE": 0, "DEBUG": 1, "INFO": 2, "WARN": 3, "WARNING": 3, "ERROR": 4, "FATAL": 5, "CRITICAL": 5}
"""AWS's levels, and Python's names for two of them."""

_INFO = _SEVERITY["INFO"]
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


class _Line(msgspec.Struct):
    """What is read of a line. Loggers name the time in two ways; values may be of any type."""

    level: object = None
    timestamp: object = None
    time: object = None


_lines = msgspec.json.Decoder(_Line)


def json_lines(system_level: str) -> Callable[[PlatformEvent], str | None]:
    """What makes an event's line, None for those below the level."""
    threshold = _SEVERITY[system_level]

    def json_line(event: PlatformEvent) -> str | None:
        if _SEVERITY[event_level(event)] < threshold:
            return None
        described = document(event)
        return None if described is None else msgspec.json.encode(described).decode() + "\n"

    return json_line


def kept_lines(application_level: str) -> Callable[[bytes], bytes]:
    """What leaves out of some whole lines those below the level."""
    threshold = _SEVERITY[application_level]

    def kept(lines: bytes) -> bytes:
        if b"{" not in lines:
            return lines
        return b"\n".join(line for line in lines.split(b"\n") if _severity(line) >= threshold)

    return kept


def event_level(event: PlatformEvent) -> str:
    match event:
        case InitStart() | RestoreStart():
            return "INFO" if event.runtime_version is not None else "DEBUG"
        case InitRuntimeDone() | RestoreRuntimeDone() | RuntimeDone():
            return "DEBUG" if event.status is Status.SUCCESS else "WARN"
        case InitReport():
            on_success = "DEBUG" if event.initialization_type is InitializationType.ON_DEMAND else "INFO"
            return on_success if event.status is Status.SUCCESS else "WARN"
        case Report() | RestoreReport():
            return "INFO" if event.status is Status.SUCCESS else "WARN"
        case ExtensionInit():
            return "INFO" if event.error_type is None else "WARN"
        case Start() | TelemetrySubscription():
            return "INFO"
        case Fault() | LogsDropped():
            return "WARN"
        case ShutdownDone():
            return "DEBUG"
        case _:
            assert_never(event)


def _severity(line: bytes) -> int:
    """How severe a line says it is; an object that says so in no way we know counts as INFO."""
    if not line.startswith(b"{"):
        return _SEVERITY["FATAL"]
    try:
        found = _lines.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return _SEVERITY["FATAL"]
    stamp = found.time if found.timestamp is None else found.timestamp
    if not isinstance(found.level, str) or not isinstance(stamp, str) or not _RFC_3339.fullmatch(stamp):
        return _INFO
    return _SEVERITY.get(found.level.upper(), _INFO)
