"""Restore as its readers see it: log lines, documents, levels."""

from __future__ import annotations

import pytest

from lambent.logs.levels import event_level
from lambent.logs.lines import text_line
from lambent.model.event_documents import document
from lambent.model.events import Report, RestoreReport, RestoreRuntimeDone, RestoreStart, Status

ARN = "arn:aws:lambda:us-east-1::runtime:0"
STARTED = RestoreStart(
    time=1.5,
    runtime_version="python:3.12.v1",
    runtime_version_arn=ARN,
    function_name="f",
    function_version="1",
    instance_id="i",
    instance_memory_bytes=1024,
)
FAILED = RestoreReport(time=1.5, status=Status.ERROR, duration_ms=12.34567, error_type="Runtime.AfterRestoreError")
TOO_LATE = RestoreReport(time=1.5, status=Status.TIMEOUT, duration_ms=10_000.0, error_type="Sandbox.Timedout")
DONE = RestoreRuntimeDone(time=1.5, status=Status.SUCCESS)
RESTORED = RestoreReport(time=1.5, status=Status.SUCCESS, duration_ms=4.0)
REPORT = Report(
    time=1.5,
    request_id="r",
    status=Status.SUCCESS,
    duration_ms=3.0,
    billed_duration_ms=7,
    memory_size_mib=128,
    max_memory_used_mib=36,
    restore_duration_ms=3.5,
    billed_restore_duration_ms=4,
)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (STARTED, f"RESTORE_START Runtime Version: python:3.12.v1\tRuntime Version ARN: {ARN}\n"),
        (DONE, None),
        (RESTORED, "RESTORE_REPORT Restore Duration: 4.00 ms\n"),
        (
            FAILED,
            "RESTORE_REPORT Restore Duration: 12.35 ms\tStatus: error\tError Type: Runtime.AfterRestoreError\n",
        ),
        (TOO_LATE, "RESTORE_REPORT Restore Duration: 10000.00 ms\tStatus: timeout\n"),
        (
            REPORT,
            "REPORT RequestId: r\tDuration: 3.00 ms\tBilled Duration: 7 ms\tMemory Size: 128 MB\t"
            "Max Memory Used: 36 MB\tRestore Duration: 3.50 ms\tBilled Restore Duration: 4 ms\t\n",
        ),
    ],
)
def test_lines_of_a_restore_are_as_awss(event: RestoreStart | RestoreReport | Report, line: str | None) -> None:
    assert text_line(event) == line


@pytest.mark.parametrize(
    ("event", "name", "record"),
    [
        (
            STARTED,
            "restoreStart",
            {
                "functionName": "f",
                "functionVersion": "1",
                "instanceId": "i",
                "instanceMaxMemory": 1024,
                "runtimeVersion": "python:3.12.v1",
                "runtimeVersionArn": ARN,
            },
        ),
        (DONE, "restoreRuntimeDone", {"status": "success"}),
        (RESTORED, "restoreReport", {"status": "success", "metrics": {"durationMs": 4.0}}),
        (
            FAILED,
            "restoreReport",
            {"status": "error", "errorType": "Runtime.AfterRestoreError", "metrics": {"durationMs": 12.346}},
        ),
        (TOO_LATE, "restoreReport", {"status": "timeout", "metrics": {"durationMs": 10_000.0}}),
    ],
)
def test_documents_of_a_restore_are_as_awss(
    event: RestoreStart | RestoreRuntimeDone | RestoreReport, name: str, record: dict[str, object]
) -> None:
    assert document(event) == {"time": "1970-01-01T00:00:01.500Z", "type": f"platform.{name}", "record": record}


def test_a_report_tells_of_the_restore_before_it() -> None:
    metrics = document(REPORT)["record"]["metrics"]

    assert (metrics["restoreDurationMs"], metrics["billedRestoreDurationMs"]) == (3.5, 4)


def test_a_restore_that_fails_is_a_warning() -> None:
    assert [event_level(event) for event in (STARTED, DONE, RESTORED)] == ["INFO", "DEBUG", "INFO"]
    assert [event_level(event) for event in (FAILED, TOO_LATE)] == ["WARN", "WARN"]
