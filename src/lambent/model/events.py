"""The one stream of platform events: everything that happens to an environment, typed.

Times are epoch seconds (float), durations milliseconds. Field names and the order of events are AWS's
(reference/extensions-telemetry.md §5). Log lines, the Telemetry API, metrics and the console's timeline read it.
Three are made per invocation: as structs they cost a tenth of what frozen dataclasses do.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Status(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"
    TIMEOUT = "timeout"


class Phase(StrEnum):
    INIT = "init"
    INVOKE = "invoke"
    """A suppressed init: run again inside the first invoke."""


class InitializationType(StrEnum):
    ON_DEMAND = "on-demand"
    PROVISIONED_CONCURRENCY = "provisioned-concurrency"
    SNAP_START = "snap-start"


class ShutdownReason(StrEnum):
    """Why a generation of processes ends, as extensions are told."""

    SPINDOWN = "spindown"
    TIMEOUT = "timeout"
    FAILURE = "failure"


class InitStart(Struct, frozen=True, kw_only=True):
    time: float
    phase: Phase
    initialization_type: InitializationType
    runtime_version: str | None
    """E.g. `python:3.12.v1`; None for OS-only runtimes."""
    runtime_version_arn: str | None
    function_name: str
    function_version: str
    function_arn: str
    instance_id: str
    """The environment's own."""
    instance_memory_bytes: int


class InitRuntimeDone(Struct, frozen=True, kw_only=True):
    time: float
    phase: Phase
    initialization_type: InitializationType
    status: Status
    error_type: str | None = None


class TelemetrySubscription(Struct, frozen=True, kw_only=True):
    """An extension has subscribed to this very stream, by the `api` "Telemetry" or the older "Logs"."""

    time: float
    api: str
    name: str
    state: str
    types: tuple[str, ...]


class LogsDropped(Struct, frozen=True, kw_only=True):
    """A subscriber was slower than its environment, and lost so much."""

    time: float
    name: str
    dropped_records: int
    dropped_bytes: int


class InitReport(Struct, frozen=True, kw_only=True):
    time: float
    phase: Phase
    initialization_type: InitializationType
    status: Status
    duration_ms: float
    error_type: str | None = None


class RestoreStart(Struct, frozen=True, kw_only=True):
    """An environment is about to be made of its version's snapshot (SnapStart)."""

    time: float
    runtime_version: str | None
    runtime_version_arn: str | None
    function_name: str
    function_version: str
    instance_id: str
    instance_memory_bytes: int


class RestoreRuntimeDone(Struct, frozen=True, kw_only=True):
    time: float
    status: Status
    error_type: str | None = None


class RestoreReport(Struct, frozen=True, kw_only=True):
    time: float
    status: Status
    duration_ms: float
    error_type: str | None = None


class ExtensionInit(Struct, frozen=True, kw_only=True):
    """How one extension has come out of Init."""

    time: float
    name: str
    state: str
    events: tuple[str, ...]
    error_type: str | None = None


class Start(Struct, frozen=True, kw_only=True):
    time: float
    request_id: str
    version: str
    trace_id: str | None = None


class RuntimeDone(Struct, frozen=True, kw_only=True):
    time: float
    request_id: str
    status: Status
    duration_ms: float
    produced_bytes: int
    response_latency_ms: float | None = None
    """Until the runtime began its response; None where it made none."""
    response_duration_ms: float = 0.0
    """From there to the end of the response."""
    error_type: str | None = None
    trace_id: str | None = None


class Report(Struct, frozen=True, kw_only=True):
    """Ends an invocation; `init_duration_ms` only on the first one of an environment whose Init ran outside it.

    `restore_duration_ms` and what is billed of it: only on the first one of an environment that was restored.
    """

    time: float
    request_id: str
    status: Status
    duration_ms: float
    billed_duration_ms: int
    memory_size_mib: int
    max_memory_used_mib: int
    init_duration_ms: float | None = None
    restore_duration_ms: float | None = None
    billed_restore_duration_ms: int | None = None
    extension_overhead_ms: float | None = None
    """How long extensions were at work when the runtime was done; part of the duration. None where there are none."""
    error_type: str | None = None
    trace_id: str | None = None


class Fault(Struct, frozen=True, kw_only=True):
    """A line the platform itself adds, e.g. `<ISO>Z <request id> Task timed out after 3.00 seconds`."""

    time: float
    text: str


class ShutdownDone(Struct, frozen=True, kw_only=True):
    """The environment is gone; no log line, read by metrics and the console."""

    time: float
    reason: str
    duration_ms: float


PlatformEvent = (
    InitStart
    | TelemetrySubscription
    | ExtensionInit
    | InitRuntimeDone
    | InitReport
    | RestoreStart
    | RestoreRuntimeDone
    | RestoreReport
    | Start
    | RuntimeDone
    | Report
    | LogsDropped
    | Fault
    | ShutdownDone
)
