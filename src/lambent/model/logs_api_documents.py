"""Platform events as the older Logs API tells them: fewer, and saying less (reference/extensions-telemetry.md §4)."""

from __future__ import annotations

from lambent.model.event_documents import Record, envelope, losses, report_metrics, subscription
from lambent.model.events import (
    ExtensionInit,
    Fault,
    LogsDropped,
    PlatformEvent,
    Report,
    RuntimeDone,
    Start,
    Status,
    TelemetrySubscription,
)

FIRST_SCHEMA = "2020-08-15"
"""It knows no runtimeDone."""

_STATUS = {Status.SUCCESS: "success", Status.TIMEOUT: "timeout"}


def documents(event: PlatformEvent, schema_version: str) -> list[Record]:
    """What is told of an event: nothing of most, two things of a report."""
    return [envelope(event.time, f"platform.{name}", record) for name, record in _described(event, schema_version)]


def _described(event: PlatformEvent, schema_version: str) -> list[tuple[str, object]]:
    match event:
        case Start():
            return [("start", {"requestId": event.request_id, "version": event.version})]
        case RuntimeDone() if schema_version != FIRST_SCHEMA:
            status = _STATUS.get(event.status, "failure")
            return [("runtimeDone", {"requestId": event.request_id, "status": status})]
        case Report():
            return [("end", {"requestId": event.request_id}), ("report", _report(event))]
        case Fault():
            return [("fault", event.text.rstrip("\n"))]
        case ExtensionInit():
            return [("extension", {"name": event.name, "state": event.state, "events": list(event.events)})]
        case TelemetrySubscription(api="Logs"):
            return [("logsSubscription", subscription(event))]
        case LogsDropped():
            return [("logsDropped", losses(event))]
        case _:
            return []


def _report(event: Report) -> Record:
    report: Record = {"requestId": event.request_id, "metrics": report_metrics(event)}
    if event.trace_id is not None:
        report["tracing"] = {"type": "X-Amzn-Trace-Id", "value": event.trace_id}
    return report
