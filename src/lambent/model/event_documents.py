"""Platform events as AWS writes them in JSON: `{"time", "type", "record"}` (reference/extensions-telemetry.md §5)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import assert_never

from lambent.model.events import (
    ExtensionInit,
    Fault,
    InitReport,
    InitRuntimeDone,
    InitStart,
    PlatformEvent,
    Report,
    RuntimeDone,
    ShutdownDone,
    Start,
)

Record = dict[str, object]


def document(event: PlatformEvent) -> Record | None:
    """The event in its envelope; None for what AWS has no event for."""
    described = _described(event)
    if described is None:
        return None
    name, record = described
    return {"time": timestamp(event.time), "type": f"platform.{name}", "record": record}


def timestamp(time_s: float) -> str:
    """Epoch seconds as `2022-10-12T00:00:15.064Z`."""
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _described(event: PlatformEvent) -> tuple[str, Record | str] | None:
    match event:
        case InitStart():
            return "initStart", _init_start(event)
        case ExtensionInit():
            return "extension", _extension(event)
        case InitRuntimeDone():
            return "initRuntimeDone", _init_end(event)
        case InitReport():
            return "initReport", {**_init_end(event), "metrics": {"durationMs": _ms(event.duration_ms)}}
        case Start():
            return "start", {"requestId": event.request_id, "version": event.version, **_tracing(event.trace_id)}
        case RuntimeDone():
            return "runtimeDone", _runtime_done(event)
        case Report():
            return "report", _report(event)
        case Fault():
            return "fault", event.text.rstrip("\n")
        case ShutdownDone():
            return None
        case _:
            assert_never(event)


def _init_start(event: InitStart) -> Record:
    return _without_none({
        "initializationType": event.initialization_type,
        "phase": event.phase,
        "runtimeVersion": event.runtime_version,
        "runtimeVersionArn": event.runtime_version_arn,
        "functionName": event.function_name,
        "functionVersion": event.function_version,
    })  # fmt: skip


def _extension(event: ExtensionInit) -> Record:
    return _without_none({
        "name": event.name,
        "state": event.state,
        "events": list(event.events),
        "errorType": event.error_type,
    })  # fmt: skip


def _init_end(event: InitRuntimeDone | InitReport) -> Record:
    return _without_none({
        "initializationType": event.initialization_type,
        "phase": event.phase,
        "status": event.status,
        "errorType": event.error_type,
    })  # fmt: skip


def _runtime_done(event: RuntimeDone) -> Record:
    return _without_none({
        "requestId": event.request_id,
        "status": event.status,
        "errorType": event.error_type,
        "metrics": {"durationMs": _ms(event.duration_ms), "producedBytes": event.produced_bytes},
        **_tracing(event.trace_id),
    })  # fmt: skip


def _report(event: Report) -> Record:
    metrics = _without_none({
        "durationMs": _ms(event.duration_ms),
        "billedDurationMs": event.billed_duration_ms,
        "memorySizeMB": event.memory_size_mib,
        "maxMemoryUsedMB": event.max_memory_used_mib,
        "initDurationMs": None if event.init_duration_ms is None else _ms(event.init_duration_ms),
    })  # fmt: skip
    return _without_none({
        "requestId": event.request_id,
        "status": event.status,
        "errorType": event.error_type,
        "metrics": metrics,
        "spans": _spans(event),
        **_tracing(event.trace_id),
    })  # fmt: skip


def _spans(event: Report) -> list[Record] | None:
    overhead_ms = event.extension_overhead_ms
    if overhead_ms is None:
        return None
    start = timestamp(event.time - overhead_ms / 1000)
    return [{"name": "extensionOverhead", "start": start, "durationMs": _ms(overhead_ms)}]


def _tracing(trace_id: str | None) -> Record:
    return {} if trace_id is None else {"tracing": {"type": "X-Amzn-Trace-Id", "value": trace_id}}


def _ms(duration_ms: float) -> float:
    return round(duration_ms, 3)


def _without_none(record: Record) -> Record:
    return {key: value for key, value in record.items() if value is not None}
