"""Which lines of a function with JSON logs are kept."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.logs.levels import event_level, json_lines, kept_lines
from lambent.model.events import (
    ExtensionInit,
    InitializationType,
    InitReport,
    InitRuntimeDone,
    InitStart,
    Phase,
    PlatformEvent,
    Report,
    RuntimeDone,
    Start,
    Status,
)

STAMP = "2024-11-02T16:51:31.587199Z"


def init_start(runtime_version: str | None) -> InitStart:
    return InitStart(
        time=1.0,
        phase=Phase.INIT,
        initialization_type=InitializationType.ON_DEMAND,
        runtime_version=runtime_version,
        runtime_version_arn=None,
        function_name="f",
        function_version="1",
        function_arn="arn:f",
        instance_id="i",
        instance_memory_bytes=134217728,
    )


def init_report(kind: InitializationType, status: Status) -> InitReport:
    return InitReport(time=1.0, phase=Phase.INIT, initialization_type=kind, status=status, duration_ms=1.0)


def report(status: Status) -> Report:
    return Report(
        time=1.0,
        request_id="r",
        status=status,
        duration_ms=1.0,
        billed_duration_ms=1,
        memory_size_mib=128,
        max_memory_used_mib=1,
    )


ON_DEMAND, PROVISIONED = InitializationType.ON_DEMAND, InitializationType.PROVISIONED_CONCURRENCY


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (init_start("python:3.12.v1"), "INFO"),
        (init_start(None), "DEBUG"),
        (
            InitRuntimeDone(time=1.0, phase=Phase.INIT, initialization_type=ON_DEMAND, status=Status.SUCCESS),
            "DEBUG",
        ),
        (InitRuntimeDone(time=1.0, phase=Phase.INIT, initialization_type=ON_DEMAND, status=Status.ERROR), "WARN"),
        (init_report(ON_DEMAND, Status.SUCCESS), "DEBUG"),
        (init_report(PROVISIONED, Status.SUCCESS), "INFO"),
        (init_report(PROVISIONED, Status.TIMEOUT), "WARN"),
        (ExtensionInit(time=1.0, name="e", state="Ready", events=()), "INFO"),
        (ExtensionInit(time=1.0, name="e", state="LaunchError", events=(), error_type="Extension.Crash"), "WARN"),
        (Start(time=1.0, request_id="r", version="1"), "INFO"),
        (RuntimeDone(time=1.0, request_id="r", status=Status.SUCCESS, duration_ms=1.0, produced_bytes=1), "DEBUG"),
        (RuntimeDone(time=1.0, request_id="r", status=Status.ERROR, duration_ms=1.0, produced_bytes=1), "WARN"),
        (report(Status.SUCCESS), "INFO"),
        (report(Status.TIMEOUT), "WARN"),
    ],
)
def test_each_event_has_awss_level_and_is_logged_from_there_on(event: PlatformEvent, level: str) -> None:
    assert event_level(event) == level
    levels = ["DEBUG", "INFO", "WARN"]
    shown = [json_lines(threshold)(event) is not None for threshold in levels]
    assert shown == [levels.index(threshold) <= levels.index(level) for threshold in levels]


def test_an_event_is_one_line_of_json() -> None:
    line = json_lines("INFO")(Start(time=1.0, request_id="r", version="1"))

    assert line is not None
    assert line.endswith("}\n")
    assert json.loads(line)["type"] == "platform.start"


@pytest.mark.parametrize(
    ("line", "is_kept"),
    [
        ({"level": "DEBUG", "timestamp": STAMP}, False),
        ({"level": "info", "timestamp": STAMP}, False),
        ({"level": "WARN", "timestamp": STAMP}, True),
        ({"level": "WARNING", "timestamp": "2024-11-02T16:51:31Z"}, True),
        ({"level": "CRITICAL", "time": "2024-11-02T16:51:31+01:00"}, True),
        ({"level": "ERROR", "timestamp": "yesterday"}, False),
        ({"level": "ERROR"}, False),
        ({"level": 50, "timestamp": STAMP}, False),
        ({"level": "loud", "timestamp": STAMP}, False),
        ({"message": "no level"}, False),
        ("{ no json", True),
        ("plain print", True),
        ('[ERROR] one event\r{"level": "INFO"}', True),
        ("", True),
    ],
)
def test_with_level_warn_an_object_without_a_valid_level_and_time_counts_as_info(line: object, is_kept: bool) -> None:
    text = (line if isinstance(line, str) else json.dumps(line)).encode() + b"\n"

    assert kept_lines("WARN")(b"before\n" + text + b"after\n") == b"before\n" + (text if is_kept else b"") + b"after\n"


@given(st.lists(st.binary().filter(lambda line: b"\n" not in line)))
def test_at_the_level_trace_nothing_is_lost(lines: list[bytes]) -> None:
    text = b"".join(line + b"\n" for line in lines)

    assert kept_lines("TRACE")(text) == text
