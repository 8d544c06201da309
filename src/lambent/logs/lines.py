"""The text line of each platform event, as AWS Lambda logs it (reference/lifecycle.md §5)."""

from __future__ import annotations

from typing import assert_never

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


def text_line(event: PlatformEvent) -> str | None:
    """The event's line, newline included, or None for an event that the text format does not show."""
    match event:
        case Start():
            return f"START RequestId: {event.request_id} Version: {event.version}\n"
        case RuntimeDone():
            return f"END RequestId: {event.request_id}\n"
        case Report():
            return _report(event)
        case InitStart():
            return _start_of("INIT", event)
        case InitReport():
            return _init_report(event)
        case RestoreStart():
            return _start_of("RESTORE", event)
        case RestoreReport():
            return _restore_report(event)
        case ExtensionInit():
            return _extension(event)
        case TelemetrySubscription():
            types = ", ".join(one.capitalize() for one in event.types)
            return f"{event.api.upper()}\tName: {event.name}\tState: {event.state}\tTypes: [{types}]\n"
        case LogsDropped():
            losses = f"Dropped Records: {event.dropped_records}\tDropped Bytes: {event.dropped_bytes}"
            return f"LOGS_DROPPED\tName: {event.name}\t{losses}\n"
        case Fault():
            return f"{event.text}\n"
        case InitRuntimeDone() | RestoreRuntimeDone() | ShutdownDone():
            return None
        case _:
            assert_never(event)


def _report(event: Report) -> str:
    duration = format(event.duration_ms, ".2f")  # in the next string it would make all of it slow where it is compiled
    line = (
        f"REPORT RequestId: {event.request_id}\tDuration: {duration} ms\t"
        f"Billed Duration: {event.billed_duration_ms} ms\tMemory Size: {event.memory_size_mib} MB\t"
        f"Max Memory Used: {event.max_memory_used_mib} MB\t"
    )
    if event.init_duration_ms is not None:
        line += f"Init Duration: {event.init_duration_ms:.2f} ms\t"
    if event.restore_duration_ms is not None:
        line += f"Restore Duration: {event.restore_duration_ms:.2f} ms\t"
        line += f"Billed Restore Duration: {event.billed_restore_duration_ms} ms\t"
    if event.status is not Status.SUCCESS:
        line += _status(event.status, event.error_type)
    if event.trace_id is None:
        return line + "\n"
    return f"{line}\n{_trace_line(event.trace_id)}"


def _trace_line(trace_id: str) -> str:
    """The XRAY line of a sampled invocation, or nothing; `trace_id` is an X-Amzn-Trace-Id value."""
    if "Sampled=1" not in trace_id:
        return ""
    fields = dict(part.strip().partition("=")[::2] for part in trace_id.split(";"))
    if fields.get("Sampled") != "1" or "Root" not in fields or "Parent" not in fields:
        return ""
    return f"XRAY TraceId: {fields['Root']}\tSegmentId: {fields['Parent']}\tSampled: true\t\n"


def _start_of(phase: str, event: InitStart | RestoreStart) -> str | None:
    if event.runtime_version is None:
        return None
    line = f"{phase}_START Runtime Version: {event.runtime_version}"
    if event.runtime_version_arn is not None:
        line += f"\tRuntime Version ARN: {event.runtime_version_arn}"
    return line + "\n"


def _extension(event: ExtensionInit) -> str:
    line = f"EXTENSION\tName: {event.name}\tState: {event.state}\tEvents: [{', '.join(event.events)}]"
    if event.error_type is not None:
        line += f"\tError Type: {event.error_type}"
    return line + "\n"


def _init_report(event: InitReport) -> str | None:
    """On demand, only an Init that failed is reported: a successful one shows in the first REPORT."""
    if event.status is Status.SUCCESS and event.initialization_type is InitializationType.ON_DEMAND:
        return None
    line = f"INIT_REPORT Init Duration: {event.duration_ms:.2f} ms\tPhase: {event.phase}"
    if event.status is not Status.SUCCESS:
        line += "\t" + _status(event.status, event.error_type)
    return line + "\n"


def _restore_report(event: RestoreReport) -> str:
    line = f"RESTORE_REPORT Restore Duration: {event.duration_ms:.2f} ms"
    if event.status is not Status.SUCCESS:
        line += "\t" + _status(event.status, event.error_type)
    return line + "\n"


def _status(status: Status, error_type: str | None) -> str:
    """How something ended that did not succeed; a timeout is no error and has no type."""
    if error_type is None or status is Status.TIMEOUT:
        return f"Status: {status}"
    return f"Status: {status}\tError Type: {error_type}"
