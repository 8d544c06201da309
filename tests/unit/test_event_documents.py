"""Golden documents: every platform event as AWS writes it in JSON."""

from __future__ import annotations

import pytest

from lambent.model.event_documents import document
from lambent.model.events import (
    ExtensionInit,
    Fault,
    InitializationType,
    InitReport,
    InitRuntimeDone,
    InitStart,
    Phase,
    PlatformEvent,
    Report,
    RuntimeDone,
    ShutdownDone,
    Start,
    Status,
)

ON_DEMAND = InitializationType.ON_DEMAND
TRACE = "Root=1-5e34a614-10bdaf1f1fb44f07bc535a1a;Parent=07f5a3c2d1f6f850;Sampled=1"
TRACING = {"tracing": {"type": "X-Amzn-Trace-Id", "value": TRACE, "spanId": "07f5a3c2d1f6f850"}}
INIT = {"initializationType": "on-demand", "phase": "init"}


@pytest.mark.parametrize(
    ("event", "name", "record"),
    [
        (
            InitStart(
                time=1.5,
                phase=Phase.INIT,
                initialization_type=ON_DEMAND,
                runtime_version="python:3.12.v1",
                runtime_version_arn="arn",
                function_name="f",
                function_version="$LATEST",
                function_arn="arn:f",
                instance_id="i",
                instance_memory_bytes=134217728,
            ),
            "initStart",
            INIT
            | {
                "runtimeVersion": "python:3.12.v1",
                "runtimeVersionArn": "arn",
                "functionName": "f",
                "functionVersion": "$LATEST",
                "functionArn": "arn:f",
                "instanceId": "i",
                "instanceMaxMemory": 134217728,
            },
        ),
        (
            InitRuntimeDone(time=1.5, phase=Phase.INIT, initialization_type=ON_DEMAND, status=Status.SUCCESS),
            "initRuntimeDone",
            INIT | {"status": "success"},
        ),
        (
            InitReport(
                time=1.5,
                phase=Phase.INIT,
                initialization_type=ON_DEMAND,
                status=Status.ERROR,
                duration_ms=12.34567,
                error_type="Runtime.ExitError",
            ),
            "initReport",
            INIT | {"status": "error", "errorType": "Runtime.ExitError", "metrics": {"durationMs": 12.346}},
        ),
        (
            ExtensionInit(time=1.5, name="e", state="Ready", events=("INVOKE",)),
            "extension",
            {"name": "e", "state": "Ready", "events": ["INVOKE"]},
        ),
        (
            Start(time=1.5, request_id="r", version="1", trace_id=TRACE),
            "start",
            {"requestId": "r", "version": "1"} | TRACING,
        ),
        (
            RuntimeDone(time=1.5, request_id="r", status=Status.SUCCESS, duration_ms=2.5, produced_bytes=7),
            "runtimeDone",
            {"requestId": "r", "status": "success", "metrics": {"durationMs": 2.5, "producedBytes": 7}},
        ),
        (
            Report(
                time=1.5,
                request_id="r",
                status=Status.TIMEOUT,
                duration_ms=3000.0,
                billed_duration_ms=3000,
                memory_size_mib=128,
                max_memory_used_mib=36,
                init_duration_ms=80.0001,
                extension_overhead_ms=500.0,
                trace_id=TRACE,
            ),
            "report",
            {
                "requestId": "r",
                "status": "timeout",
                "metrics": {
                    "durationMs": 3000.0,
                    "billedDurationMs": 3000,
                    "memorySizeMB": 128,
                    "maxMemoryUsedMB": 36,
                    "initDurationMs": 80.0,
                },
                "spans": [{"name": "extensionOverhead", "start": "1970-01-01T00:00:01.000Z", "durationMs": 500.0}],
            }
            | TRACING,
        ),
        (Fault(time=1.5, text="r Task timed out\n"), "fault", "r Task timed out"),
    ],
)
def test_each_event_has_the_record_that_aws_gives_it(event: PlatformEvent, name: str, record: object) -> None:
    assert document(event) == {"time": "1970-01-01T00:00:01.500Z", "type": f"platform.{name}", "record": record}


def test_the_end_of_an_environment_is_no_event_of_awss() -> None:
    assert document(ShutdownDone(time=1.5, reason="spindown", duration_ms=1.0)) is None
