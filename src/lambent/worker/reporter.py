"""What an environment tells of its phases: platform events with their times, in AWS's order, between its own output."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from math import ceil

from lambent.model.events import (
    ExtensionInit,
    Fault,
    InitializationType,
    InitReport,
    InitRuntimeDone,
    InitStart,
    Phase,
    Report,
    RestoreReport,
    RestoreRuntimeDone,
    RestoreStart,
    RuntimeDone,
    ShutdownDone,
    Start,
    Status,
)
from lambent.model.function import FunctionVersion
from lambent.model.invocation import InvokeRequest
from lambent.model.limits import INIT_TIMEOUT_S, PROVISIONED_INIT_TIMEOUT_S
from lambent.ports.telemetry import LogStream
from lambent.worker.extensions import Extension
from lambent.worker.invocation import Invocation
from lambent.worker.lifecycle import EndInit, EndRestore, Finish
from lambent.worker.memory_peak import MemoryPeak
from lambent.worker.outcomes import failure_line, failure_message, failure_payload
from lambent.worker.output import Output

_MIB = 1024 * 1024


class Reporter:
    """Keeps the clocks of Init and Invoke. What the function has written is always logged before what is told of it."""

    def __init__(
        self,
        *,
        instance_id: str,
        version: FunctionVersion,
        initialization_type: InitializationType,
        runtime_version: tuple[str, str] | None,
        stream: LogStream,
        outputs: Sequence[Output],
        memory_peak_bytes: Callable[[], int],
    ) -> None:
        self._instance_id = instance_id
        self._version = version
        self._initialization_type = initialization_type
        self._is_on_demand = initialization_type is InitializationType.ON_DEMAND
        self._runtime_version = runtime_version
        self._stream = stream
        self._outputs = outputs
        self._memory_peak = MemoryPeak(memory_peak_bytes)
        self._init_started = 0.0
        self._init_duration_ms: float | None = None
        self._restore_duration_ms: float | None = None
        self._phase = Phase.INIT

    @property
    def memory_peak_mib(self) -> int:
        """What the last report told."""
        return self._memory_peak.mib

    @property
    def init_timeout_s(self) -> float:
        """How long the first Init may take; nobody waits for one that is made ahead."""
        return INIT_TIMEOUT_S if self._is_on_demand else max(PROVISIONED_INIT_TIMEOUT_S, self._version.timeout_s)

    def init_started(self, phase: Phase, *, started: float) -> None:
        """`started` is of the performance clock: the cold start may have begun before this environment existed."""
        self._phase, self._init_started = phase, started
        self._memory_peak.begin_generation()
        name, arn = self._runtime_version or (None, None)
        self._stream.emit(
            InitStart(
                time=time.time(),
                phase=phase,
                initialization_type=self._initialization_type,
                runtime_version=name,
                runtime_version_arn=arn,
                function_name=self._version.name,
                function_version=self._version.version,
                function_arn=str(self._version.qualified_arn),
                instance_id=self._instance_id,
                instance_memory_bytes=self._version.memory_mib * _MIB,
            )
        )

    def init_ended(self, end: EndInit, extensions: Iterable[Extension]) -> None:
        phase, status, error_type = self._phase, end.status, end.error_type
        duration_ms = (time.perf_counter() - self._init_started) * 1000
        if phase is Phase.INIT and status is Status.TIMEOUT:
            duration_ms = self.init_timeout_s * 1000
        if phase is Phase.INIT and status is Status.SUCCESS and self._is_on_demand:
            self._init_duration_ms = duration_ms
        self._drain_outputs()
        now = time.time()
        for one in extensions:
            self._stream.emit(
                ExtensionInit(time=now, name=one.name, state=one.state, events=one.events, error_type=one.error_type)
            )
        self._stream.emit(
            InitRuntimeDone(
                time=now,
                phase=phase,
                initialization_type=self._initialization_type,
                status=status,
                error_type=error_type,
            )
        )
        self._stream.emit(
            InitReport(
                time=now,
                phase=phase,
                initialization_type=self._initialization_type,
                status=status,
                duration_ms=duration_ms,
                error_type=error_type,
            )
        )

    def restore_started(self, *, started: float) -> None:
        """`started` as of `init_started`."""
        self._init_started = started
        name, arn = self._runtime_version or (None, None)
        self._stream.emit(
            RestoreStart(
                time=time.time(),
                runtime_version=name,
                runtime_version_arn=arn,
                function_name=self._version.name,
                function_version=self._version.version,
                instance_id=self._instance_id,
                instance_memory_bytes=self._version.memory_mib * _MIB,
            )
        )

    def restore_ended(self, end: EndRestore) -> None:
        duration_ms = (time.perf_counter() - self._init_started) * 1000
        if end.status is Status.SUCCESS:
            self._restore_duration_ms = duration_ms
        self._drain_outputs()
        now = time.time()
        self._stream.emit(RestoreRuntimeDone(time=now, status=end.status, error_type=end.error_type))
        self._stream.emit(
            RestoreReport(time=now, status=end.status, duration_ms=duration_ms, error_type=end.error_type)
        )

    def invoke_started(self, request: InvokeRequest) -> None:
        self._stream.emit(
            Start(
                time=time.time(),
                request_id=request.request_id,
                version=self._version.version,
                trace_id=request.trace_id,
            )
        )

    def failed(self, error_type: str, reason: str | None, request_id: str) -> bytes:
        """Log a failure the runtime could not report itself; return the caller's payload."""
        timeout_s = self._version.timeout_s
        message = failure_message(error_type, reason, request_id=request_id, timeout_s=timeout_s)
        self._drain_outputs()
        now = time.time()
        line = failure_line(error_type, message, now=now, request_id=request_id, timeout_s=timeout_s)
        self._stream.emit(Fault(time=now, text=line))
        return failure_payload(error_type, message)

    def runtime_ended(self, invocation: Invocation) -> None:
        """The runtime has done its part; extensions are still at work."""
        invocation.runtime_ended = now = time.perf_counter()
        self._drain_outputs()
        self._runtime_done(invocation, Status.SUCCESS, None, (now - invocation.started) * 1000)

    def invoke_ended(self, invocation: Invocation, end: Finish, *, has_extensions: bool) -> None:
        """Report an invocation. An error that the runtime told of shows in telemetry, not in the REPORT line."""
        self._drain_outputs()
        now = time.perf_counter()
        duration_ms = (now - invocation.started) * 1000
        if end.status is Status.TIMEOUT:
            duration_ms = self._version.timeout_s * 1000.0
        init_duration_ms, self._init_duration_ms = self._init_duration_ms, None
        restore_duration_ms, self._restore_duration_ms = self._restore_duration_ms, None
        billed_restore_ms = None if restore_duration_ms is None else ceil(restore_duration_ms)
        if invocation.runtime_ended is None:
            self._runtime_done(invocation, end.status, end.error_type, duration_ms)
        overhead_ms = None
        if has_extensions and (end.status is Status.SUCCESS or invocation.runtime_ended is not None):
            overhead_ms = (now - (invocation.runtime_ended or now)) * 1000
        request = invocation.request
        max_memory_used_mib = self._memory_peak.look(now, after_s=now - invocation.started)
        self._stream.emit(
            Report(
                time=time.time(),
                request_id=request.request_id,
                status=end.status,
                duration_ms=duration_ms,
                billed_duration_ms=max(1, ceil(duration_ms + (init_duration_ms or 0.0))) + (billed_restore_ms or 0),
                memory_size_mib=self._version.memory_mib,
                max_memory_used_mib=max_memory_used_mib,
                init_duration_ms=init_duration_ms,
                restore_duration_ms=restore_duration_ms,
                billed_restore_duration_ms=billed_restore_ms,
                extension_overhead_ms=overhead_ms,
                error_type=end.error_type,
                trace_id=request.trace_id,
            )
        )

    def _runtime_done(self, invocation: Invocation, status: Status, error_type: str | None, duration_ms: float) -> None:
        self._stream.emit(
            RuntimeDone(
                time=time.time(),
                request_id=invocation.request.request_id,
                status=Status.ERROR if invocation.error_type and status is Status.SUCCESS else status,
                duration_ms=duration_ms,
                produced_bytes=invocation.produced_bytes,
                response_latency_ms=invocation.response_latency_ms,
                response_duration_ms=invocation.response_duration_ms,
                error_type=error_type or invocation.error_type,
                trace_id=invocation.request.trace_id,
            )
        )

    def _drain_outputs(self) -> None:
        for output in self._outputs:
            output.drain_nowait()

    def take_tail(self) -> bytes:
        return self._stream.take_tail()

    def forget_tail(self) -> None:
        self._stream.forget_tail()

    def shut_down(self, reason: str, *, started: float) -> None:
        """The environment is gone: last words, then the stream ends."""
        for output in self._outputs:
            output.close()
        duration_ms = (time.perf_counter() - started) * 1000
        self._stream.emit(ShutdownDone(time=time.time(), reason=reason, duration_ms=duration_ms))
        self._stream.close()
