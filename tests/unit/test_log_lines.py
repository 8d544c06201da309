"""Golden lines: every platform event as AWS Lambda would log it."""

from __future__ import annotations

import pytest

from lambent.logs.lines import text_line
from lambent.model.events import (
    ExtensionInit,
    Fault,
    InitializationType,
    InitReport,
    InitRuntimeDone,
    InitStart,
    LogsDropped,
    Phase,
    PlatformEvent,
    Report,
    RuntimeDone,
    ShutdownDone,
    Start,
    Status,
    TelemetrySubscription,
)

ID = "8f507cfc-example-4697-b07a-ac58fc914c95"
ON_DEMAND = InitializationType.ON_DEMAND
TRACE = "Root=1-5e34a614-10bdaf1f1fb44f07bc535a1a;Parent=07f5a3c2d1f6f850;Sampled=1"


def report(
    status: Status = Status.SUCCESS,
    error_type: str | None = None,
    init_duration_ms: float | None = None,
    trace_id: str | None = None,
) -> Report:
    return Report(
        time=1.0,
        request_id=ID,
        status=status,
        duration_ms=3.006,
        billed_duration_ms=4,
        memory_size_mib=128,
        max_memory_used_mib=36,
        init_duration_ms=init_duration_ms,
        error_type=error_type,
        trace_id=trace_id,
    )


def init_start(runtime_version: str | None, arn: str | None) -> InitStart:
    return InitStart(
        time=1.0,
        phase=Phase.INIT,
        initialization_type=ON_DEMAND,
        runtime_version=runtime_version,
        runtime_version_arn=arn,
        function_name="f",
        function_version="$LATEST",
        function_arn="arn:f",
        instance_id="i",
        instance_memory_bytes=134217728,
    )


def init_report(
    status: Status,
    error_type: str | None = None,
    phase: Phase = Phase.INIT,
    initialization_type: InitializationType = ON_DEMAND,
) -> InitReport:
    return InitReport(
        time=1.0,
        phase=phase,
        initialization_type=initialization_type,
        status=status,
        duration_ms=1236.04,
        error_type=error_type,
    )


BASE = (
    f"REPORT RequestId: {ID}\tDuration: 3.01 ms\tBilled Duration: 4 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\t"
)
ARN = "arn:aws:lambda:eu-central-1::runtime:" + "ab" * 32


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            init_start("python:3.13.v68", ARN),
            f"INIT_START Runtime Version: python:3.13.v68\tRuntime Version ARN: {ARN}\n",
        ),
        (init_start("python:3.13.v68", None), "INIT_START Runtime Version: python:3.13.v68\n"),
        (init_start(None, None), None),
        (
            InitRuntimeDone(time=1.0, phase=Phase.INIT, initialization_type=ON_DEMAND, status=Status.SUCCESS),
            None,
        ),
        (init_report(Status.SUCCESS), None),
        (
            init_report(Status.SUCCESS, initialization_type=InitializationType.PROVISIONED_CONCURRENCY),
            "INIT_REPORT Init Duration: 1236.04 ms\tPhase: init\n",
        ),
        (init_report(Status.TIMEOUT), "INIT_REPORT Init Duration: 1236.04 ms\tPhase: init\tStatus: timeout\n"),
        (
            init_report(Status.ERROR, "Extension.Crash", Phase.INVOKE),
            "INIT_REPORT Init Duration: 1236.04 ms\tPhase: invoke\tStatus: error\tError Type: Extension.Crash\n",
        ),
        (Start(time=1.0, request_id=ID, version="$LATEST"), f"START RequestId: {ID} Version: $LATEST\n"),
        (
            RuntimeDone(time=1.0, request_id=ID, status=Status.SUCCESS, duration_ms=3.0, produced_bytes=2),
            f"END RequestId: {ID}\n",
        ),
        (report(), f"{BASE}\n"),
        (report(init_duration_ms=110.1), f"{BASE}Init Duration: 110.10 ms\t\n"),
        (report(Status.TIMEOUT, "Sandbox.Timedout"), f"{BASE}Status: timeout\n"),
        (
            report(Status.ERROR, "Runtime.ExitError", 110.1),
            f"{BASE}Init Duration: 110.10 ms\tStatus: error\tError Type: Runtime.ExitError\n",
        ),
        (report(Status.FAILURE), f"{BASE}Status: failure\n"),
        (
            report(trace_id=TRACE),
            f"{BASE}\nXRAY TraceId: 1-5e34a614-10bdaf1f1fb44f07bc535a1a\tSegmentId: 07f5a3c2d1f6f850\t"
            "Sampled: true\t\n",
        ),
        (report(trace_id=TRACE.replace("Sampled=1", "Sampled=0")), f"{BASE}\n"),
        (report(trace_id="Root=1-5e34a614-10bdaf1f1fb44f07bc535a1a;Sampled=1"), f"{BASE}\n"),
        (report(trace_id="nonsense"), f"{BASE}\n"),
        (
            ExtensionInit(time=1.0, name="e", state="Ready", events=("INVOKE", "SHUTDOWN")),
            "EXTENSION\tName: e\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n",
        ),
        (
            ExtensionInit(time=1.0, name="e", state="LaunchError", events=(), error_type="PermissionDenied"),
            "EXTENSION\tName: e\tState: LaunchError\tEvents: []\tError Type: PermissionDenied\n",
        ),
        (
            TelemetrySubscription(
                time=1.0, api="Telemetry", name="e", state="Subscribed", types=("platform", "function")
            ),
            "TELEMETRY\tName: e\tState: Subscribed\tTypes: [Platform, Function]\n",
        ),
        (
            TelemetrySubscription(time=1.0, api="Logs", name="e", state="Subscribed", types=("extension",)),
            "LOGS\tName: e\tState: Subscribed\tTypes: [Extension]\n",
        ),
        (
            LogsDropped(time=1.0, name="e", dropped_records=3, dropped_bytes=400),
            "LOGS_DROPPED\tName: e\tDropped Records: 3\tDropped Bytes: 400\n",
        ),
        (Fault(time=1.0, text=f"{ID} Task timed out after 3.00 seconds"), f"{ID} Task timed out after 3.00 seconds\n"),
        (ShutdownDone(time=1.0, reason="spindown", duration_ms=1.0), None),
    ],
)
def test_each_event_has_the_line_that_aws_gives_it(event: PlatformEvent, line: str | None) -> None:
    assert text_line(event) == line
