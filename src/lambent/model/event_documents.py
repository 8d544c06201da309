"""Platform events as AWS writes them in JSON: `{"time", "type", "record"}` (reference/extensions-telemetry.md §5)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import assert_never

from lambent.model.events import (
    ExtensionInit,
    Fault,
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

Record = dict[str, object]

BASE_SCHEMA = "2022-07-01"
"""The first of the Telemetry API's schema versions: it lacks what the later ones added."""
NEWEST_SCHEMA = "2025-01-29"

SLOW_CONSUMER = "Some logs were dropped because the downstream consumer is slower than the logs production rate"


def document(event: PlatformEvent, schema_version: str = NEWEST_SCHEMA) -> Record | None:
    """The event in its envelope; None for what AWS has no event for."""
    described = _described(event, is_base=schema_version == BASE_SCHEMA)
    return None if described is None else envelope(event.time, f"platform.{described[0]}", described[1])


def envelope(time_s: float, name: str, record: object) -> Record:
    return {"time": timestamp(time_s), "type": name, "record": record}


def timestamp(time_s: float) -> str:
    """Epoch seconds as `2022-10-12T00:00:15.064Z`."""
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _described(event: PlatformEvent, is_base: bool) -> tuple[str, Record | str] | None:
    match event:
        case InitStart():
            return "initStart", _init_start(event) if is_base else {**_init_start(event), **_instance(event)}
        case TelemetrySubscription():
            return f"{event.api.lower()}Subscription", subscription(event)
        case ExtensionInit():
            return "extension", _extension(event)
        case InitRuntimeDone():
            return "initRuntimeDone", _init_end(event)
        case InitReport():
            return "initReport", {**_init_end(event), "metrics": {"durationMs": _ms(event.duration_ms)}}
        case RestoreStart():
            return "restoreStart", _restore_start(event)
        case RestoreRuntimeDone():
            return "restoreRuntimeDone", _restore_end(event)
        case RestoreReport():
            return "restoreReport", {**_restore_end(event), "metrics": {"durationMs": _ms(event.duration_ms)}}
        case Start():
            tracing = _tracing(event.trace_id, is_base)
            return "start", {"requestId": event.request_id, "version": event.version, **tracing}
        case RuntimeDone():
            return "runtimeDone", {**_runtime_done(event), **_tracing(event.trace_id, is_base)}
        case Report():
            return "report", {**_report(event), **_tracing(event.trace_id, is_base)}
        case LogsDropped():
            return "logsDropped", losses(event)
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
    })  # fmt: skip


def _instance(event: InitStart) -> Record:
    return {
        "functionName": event.function_name,
        "functionVersion": event.function_version,
        "functionArn": event.function_arn,
        "instanceId": event.instance_id,
        "instanceMaxMemory": event.instance_memory_bytes,
    }


def subscription(event: TelemetrySubscription) -> Record:
    return {"name": event.name, "state": event.state, "types": list(event.types)}


def losses(event: LogsDropped) -> Record:
    return {
        "reason": SLOW_CONSUMER,
        "droppedRecords": event.dropped_records,
        "droppedBytes": event.dropped_bytes,
    }


def _extension(event: ExtensionInit) -> Record:
    return _without_none({
        "name": event.name,
        "state": event.state,
        "events": list(event.events),
        "errorType": event.error_type,
    })  # fmt: skip


def _error_type(event: RuntimeDone | Report | RestoreRuntimeDone | RestoreReport) -> str | None:
    """A timeout is no error and has no type."""
    return None if event.status is Status.TIMEOUT else event.error_type


def _init_end(event: InitRuntimeDone | InitReport) -> Record:
    return _without_none({
        "initializationType": event.initialization_type,
        "phase": event.phase,
        "status": event.status,
        "errorType": event.error_type,
    })  # fmt: skip


def _restore_start(event: RestoreStart) -> Record:
    return _without_none({
        "functionName": event.function_name,
        "functionVersion": event.function_version,
        "instanceId": event.instance_id,
        "instanceMaxMemory": event.instance_memory_bytes,
        "runtimeVersion": event.runtime_version,
        "runtimeVersionArn": event.runtime_version_arn,
    })  # fmt: skip


def _restore_end(event: RestoreRuntimeDone | RestoreReport) -> Record:
    return _without_none({"status": event.status, "errorType": _error_type(event)})


def _runtime_done(event: RuntimeDone) -> Record:
    return _without_none({
        "requestId": event.request_id,
        "status": event.status,
        "errorType": _error_type(event),
        "metrics": {"durationMs": _ms(event.duration_ms), "producedBytes": event.produced_bytes},
        "spans": _runtime_spans(event),
    })  # fmt: skip


def _runtime_spans(event: RuntimeDone) -> list[Record] | None:
    latency_ms, response_ms = event.response_latency_ms, event.response_duration_ms
    if latency_ms is None:
        return None
    started = event.time - event.duration_ms / 1000
    responded = started + latency_ms / 1000
    return [
        _span("responseLatency", started, latency_ms),
        _span("responseDuration", responded, response_ms),
        _span("runtimeOverhead", responded + response_ms / 1000, event.duration_ms - latency_ms - response_ms),
    ]


def report_metrics(event: Report) -> Record:
    return _without_none({
        "durationMs": _ms(event.duration_ms),
        "billedDurationMs": event.billed_duration_ms,
        "memorySizeMB": event.memory_size_mib,
        "maxMemoryUsedMB": event.max_memory_used_mib,
        "initDurationMs": None if event.init_duration_ms is None else _ms(event.init_duration_ms),
        "restoreDurationMs": None if event.restore_duration_ms is None else _ms(event.restore_duration_ms),
        "billedRestoreDurationMs": event.billed_restore_duration_ms,
    })  # fmt: skip


def _report(event: Report) -> Record:
    return _without_none({
        "requestId": event.request_id,
        "status": event.status,
        "errorType": _error_type(event),
        "metrics": report_metrics(event),
        "spans": _report_spans(event),
    })  # fmt: skip


def _report_spans(event: Report) -> list[Record] | None:
    overhead_ms = event.extension_overhead_ms
    if overhead_ms is None:
        return None
    return [_span("extensionOverhead", event.time - overhead_ms / 1000, overhead_ms)]


def _span(name: str, start: float, duration_ms: float) -> Record:
    return {"name": name, "start": timestamp(start), "durationMs": _ms(duration_ms)}


def _tracing(trace_id: str | None, is_base: bool) -> Record:
    if trace_id is None:
        return {}
    parent = re.search(r"Parent=([0-9a-f]{16})", trace_id)
    span = {"spanId": parent[1]} if parent and not is_base else {}
    return {"tracing": {"type": "X-Amzn-Trace-Id", "value": trace_id, **span}}


def _ms(duration_ms: float) -> float:
    return round(duration_ms, 3)


def _without_none(record: Record) -> Record:
    return {key: value for key, value in record.items() if value is not None}
