"""One execution environment: performs what its lifecycle decides, in a sandbox, on a clock, over sockets.

The machine in `lifecycle` says what; this file does it. It is fed by the Runtime API (`runtime_api`), by the sandbox
(processes that end), by timers and by the worker; `reporter` tells the world.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from lambent.http.server import BodyReader, Exchange
from lambent.model.errors import FunctionError, PlatformError
from lambent.model.events import Phase, ShutdownReason, Status
from lambent.model.function import FunctionVersion
from lambent.model.invocation import EnvironmentId, InvokeRequest
from lambent.model.limits import RESTORE_TIMEOUT_S
from lambent.ports.worker import Answer
from lambent.worker import lifecycle as life
from lambent.worker.alarm import Alarm
from lambent.worker.extensions_api import ExtensionsApi
from lambent.worker.invocation import Invocation
from lambent.worker.launch import EXTENSION_PREFIX, RUNTIME, Launch
from lambent.worker.lifecycle import Lifecycle, State
from lambent.worker.outcomes import (
    EXITED_SILENTLY,
    RESPONSE_TRUNCATED,
    error_message,
    exit_reason,
    extension_exit_reason,
    failure_payload,
)
from lambent.worker.processes import Processes
from lambent.worker.reporter import Reporter
from lambent.worker.sandbox.sandbox import Sandbox
from lambent.worker.sandbox.wire import ExitStatus
from lambent.worker.streaming import RuntimeStream
from lambent.worker.telemetry_api import TelemetryApi

log = logging.getLogger(__name__)

FREEZE_AFTER_S = 0.01
"""An environment in steady use is not frozen between invokes that follow each other within this grace."""

_MIB = 1024 * 1024
_KILLED = exit_reason(code=None, signum=9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """What the worker wants to hear of an environment."""

    responded: Callable[[EnvironmentId], None]
    settled: Callable[[EnvironmentId, bool], None]
    """Told whether it is warm."""
    gone: Callable[[EnvironmentId], None]


class Origin(Enum):
    """What an environment comes from, and is for."""

    OWN_INIT = "own Init"
    TEMPLATE = "template"
    """Its own Init as well; from then on it is what others are forked from."""
    RESTORED = "restored"
    """A fork of its version's template."""


class Environment:
    """Serves one invocation at a time of one function version, in a sandbox that is already there."""

    def __init__(
        self,
        *,
        environment_id: EnvironmentId,
        version: FunctionVersion,
        sandbox: Sandbox,
        launch: Launch,
        extensions: ExtensionsApi,
        telemetry: TelemetryApi,
        processes: Processes,
        reporter: Reporter,
        notices: Notices,
        origin: Origin = Origin.OWN_INIT,
    ) -> None:
        self.id = environment_id
        self.version = version
        self._sandbox = sandbox
        self.extensions = extensions
        self.telemetry = telemetry
        self._launch = launch
        self._processes = processes
        self._reporter = reporter
        self._notices = notices
        self._loop = asyncio.get_running_loop()
        self._lifecycle = Lifecycle(State.RESTORING if origin is Origin.RESTORED else State.STARTING)
        self.origin = origin
        self.failure: FunctionError | None = None
        """Why its Init, or its Restore, has failed."""
        self._invocation: Invocation | None = None
        self._parked: Exchange | None = None
        self._is_undelivered = False
        self._is_frozen = False
        self._deadline = Alarm(self._deadline_passed)
        self._at_deadline: life.Event | None = None
        self._freezer = Alarm(self._freeze)
        self._stop_started = 0.0
        self._oom_kills = 0
        self._chores: set[asyncio.Task[None]] = set()
        self._one_chore = asyncio.Lock()
        sandbox.on_exit = self._process_exited
        sandbox.on_death = self._generation_died
        extensions.on_progress = self._extensions_progressed
        extensions.on_failure = self._extension_failed

    @property
    def state(self) -> State:
        return self._lifecycle.state

    @property
    def current_request_id(self) -> str | None:
        """The invocation the runtime may answer now; None while there is none."""
        return self._invocation.request.request_id if self._invocation else None

    @property
    def streams_to_caller(self) -> bool:
        """Whether the caller of the current invocation wants to read while the runtime sends."""
        return self._invocation is not None and self._invocation.request.wants_stream

    @property
    def memory_held_mib(self) -> float:
        return self._sandbox.memory_bytes() / _MIB

    @property
    def memory_peak_mib(self) -> float:
        """As of the last report."""
        return self._reporter.memory_peak_mib

    # What happens to it -----------------------------------------------------------------------------------------

    def begin(self, *, started: float) -> None:
        """Enter Init or Restore: what the first generation is started with was started with the sandbox."""
        if self.origin is Origin.RESTORED:
            self._reporter.restore_started(started=started)
            left_s = max(0.0, started + RESTORE_TIMEOUT_S - time.perf_counter())
            self._set_timer(left_s, life.RestoreDeadlinePassed())
            self._start_generation()
            return
        self._reporter.init_started(Phase.INIT, started=started)
        self._set_timer(self._reporter.init_timeout_s, life.InitDeadlinePassed())
        self._start_generation()

    def invoke(self, request: InvokeRequest, answer: Answer) -> None:
        """Accept one invocation in a settled environment; the answer is given as soon as the caller can have it."""
        self._thaw()
        timeout_s = self.version.timeout_s
        self._invocation = Invocation(request, answer, time.time() + timeout_s)
        self._set_timer(timeout_s, life.InvokeDeadlinePassed())
        self._handle(life.InvokeAccepted())
        self._reporter.invoke_started(request)  # the event is on its way; its output is read later than this

    def stop(self) -> None:
        """Begin Shutdown; an invocation still running is answered with a failure."""
        self._stop_started = time.perf_counter()
        self._thaw()
        self._handle(life.StopRequested())

    def runtime_asked_next(self, exchange: Exchange) -> None:
        """Park the runtime's long poll until there is an event.

        Raises:
            IllegalTransition: the runtime may not ask now.
        """
        if self.state is State.STREAMING:
            self._give_up_cut_stream()
        is_reconnect = self._parked is None and (self.state in life.RUNTIME_WAITS or self._is_undelivered)
        roster = self.extensions.roster
        event = life.RuntimeAskedNext() if roster.working else life.AllAskedNext()
        commands = [] if is_reconnect else self._lifecycle.handle(event)
        roster.close_registration()
        self._parked = exchange
        exchange.on_close(self._unpark)
        for command in commands:
            self._perform(command)
        if self._is_undelivered:
            self._deliver()

    def runtime_asked_restore(self, exchange: Exchange) -> None:
        """Park the runtime of a template until it is watched, which its forks wait for.

        Raises:
            IllegalTransition: the runtime may not ask now.
        """
        self._parked = exchange
        self._handle(life.RuntimeAskedRestore())

    def runtime_said(
        self,
        event: life.RuntimeResponded
        | life.RuntimeReportedError
        | life.RuntimeReportedInitError
        | life.RuntimeReportedRestoreError,
    ) -> None:
        """Take the runtime's word. Raises IllegalTransition where it may not say that now."""
        self._handle(event)

    def runtime_began_stream(self, exchange: Exchange, reader: BodyReader) -> None:
        """Hand the caller what the runtime sends from now on. Raises IllegalTransition where it may not."""
        commands = self._lifecycle.handle(life.RuntimeBeganStream())
        assert self._invocation is not None
        self._invocation.stream = RuntimeStream(exchange, reader, self._handle_late)
        for command in commands:
            self._perform(command)

    def _give_up_cut_stream(self) -> None:
        """The runtime goes on without having ended its response."""
        stream = self._invocation.stream if self._invocation is not None else None
        if stream is not None and stream.is_cut:
            message = f"RequestId: {self.current_request_id} Error: The response was cut off before its end"
            payload = failure_payload(RESPONSE_TRUNCATED, message)
            self._handle(life.RuntimeEndedStream(payload, RESPONSE_TRUNCATED))

    def _unpark(self) -> None:
        self._parked = None

    def _extensions_progressed(self) -> None:
        roster = self.extensions.roster
        if self.state in life.EXTENSIONS_AT_WORK:
            if not roster.working:
                self._handle(life.AllAskedNext())
        elif self.state in life.STARTING_UP and roster.is_registered and not self._processes.has_runtime:
            self._handle(life.ExtensionsRegistered())

    def _extension_failed(self, error_type: str, reason: str) -> None:
        self._handle_late(life.GenerationFailed(error_type, reason))

    def _process_exited(self, name: str, status: ExitStatus) -> None:
        self._processes.ended(name)
        self._thaw()
        if name == RUNTIME:
            self._handle_late(self._exit_of_runtime(status))
        elif name.startswith(EXTENSION_PREFIX):
            self._handle_late(self._exit_of_extension(name.removeprefix(EXTENSION_PREFIX), status))

    def _exit_of_extension(self, name: str, status: ExitStatus) -> life.GenerationFailed:
        reason = status.failure or extension_exit_reason(code=status.code, signum=status.signal)
        return life.GenerationFailed(self.extensions.ended(name, failure=status.failure), reason)

    def _exit_of_runtime(self, status: ExitStatus) -> life.GenerationFailed:
        kills = self._sandbox.oom_kills()
        is_out_of_memory, self._oom_kills = kills > self._oom_kills, kills
        if is_out_of_memory:
            return life.GenerationFailed("Runtime.OutOfMemory", _KILLED)
        if status.failure is not None:
            return life.GenerationFailed("Runtime.InvalidEntrypoint", status.failure)
        return life.GenerationFailed("Runtime.ExitError", exit_reason(code=status.code, signum=status.signal))

    def _generation_died(self) -> None:
        """PID 1 is gone, and all with it; if nobody here asked for that, it was killed from outside."""
        self._processes.all_ended()
        self._process_exited(RUNTIME, ExitStatus(signal=9))

    # Decide, then act -------------------------------------------------------------------------------------------

    def _handle(self, event: life.Event) -> None:
        if self.state in life.COMING_TO_LIFE:
            self._note_failure(event)
        for command in self._lifecycle.handle(event):
            self._perform(command)

    def _note_failure(self, event: life.Event) -> None:
        match event:
            case life.GenerationFailed(error_type=error_type, reason=reason):
                self.failure = FunctionError(error_type, f"Error: {reason}")
            case (
                life.RuntimeReportedInitError(error_type=error_type, payload=payload)
                | life.RuntimeReportedRestoreError(error_type=error_type, payload=payload)
            ):
                self.failure = FunctionError(error_type, error_message(payload))
            case life.InitDeadlinePassed() | life.RestoreDeadlinePassed():
                self.failure = FunctionError(life.TIMED_OUT, "It has taken longer than it may")
            case _:
                pass

    def _handle_late(self, event: life.Event) -> None:
        """For news that may come when it matters no more."""
        try:
            self._handle(event)
        except life.IllegalTransition as exc:
            log.debug("environment.late_news", extra={"environment_id": self.id, "event_and_state": str(exc)})

    def _perform(self, command: life.Command) -> None:
        match command:
            case life.Deliver():
                self._deliver()
            case life.Answer():
                self._answer(command)
            case life.BeginAnswer():
                assert self._invocation is not None
                self._invocation.begin_stream(self.version.version)
            case life.Finish():
                self._finish(command)
            case life.Settle():
                self._settle()
            case life.StartRuntime():
                assert not isinstance(self._launch.runtime, FunctionError)
                self._processes.start_runtime(self._launch.runtime)
            case life.EndInit():
                self._reporter.init_ended(command, self.extensions.roster)
                if command.status is Status.SUCCESS:
                    self.telemetry.close_subscription()
                if self.origin is not Origin.TEMPLATE:  # others must not wait for its forks
                    self._sandbox.limit_cpu()
                if self._invocation is None:
                    self._deadline.clear()
            case life.EndRestore():
                self._reporter.restore_ended(command)
                self._sandbox.limit_cpu()
                self._deadline.clear()
            case life.Hold():
                self._chore(self._hold())
            case life.EndRuntime():
                assert self._invocation is not None
                self._reporter.runtime_ended(self._invocation)
            case life.Boot():
                self._chore(self._boot(command.phase))
            case life.ShutDown():
                self._deadline.clear()
                self._chore(self._shut_down(command.reason))
            case life.Destroy():
                self._chore(self._destroy())
            case _:
                assert_never(command)

    def _deliver(self) -> None:
        exchange, invocation = self._parked, self._invocation
        assert invocation is not None
        if self.extensions.roster and not self._is_undelivered:
            self.extensions.send_invoke(invocation.request, invocation.deadline)
        self._is_undelivered = exchange is None
        if exchange is None:  # the long poll's connection broke: the runtime's next one takes the event
            return
        self._parked = None
        request = invocation.request
        lines = (
            f"content-type: application/json\r\n"
            f"lambda-runtime-aws-request-id: {request.request_id}\r\n"
            f"lambda-runtime-deadline-ms: {int(invocation.deadline * 1000)}\r\n"
            f"lambda-runtime-invoked-function-arn: {request.function}\r\n"
        )
        if request.trace_id:
            lines += f"lambda-runtime-trace-id: {_one_line(request.trace_id)}\r\n"
        if request.client_context:
            lines += f"lambda-runtime-client-context: {_one_line(request.client_context)}\r\n"
        exchange.respond(200, lines.encode(), request.payload)

    def _answer(self, command: life.Answer) -> None:
        invocation = self._invocation
        assert invocation is not None
        payload = command.payload
        if payload is None:
            assert command.error_type is not None
            payload = self._reporter.failed(command.error_type, command.reason, invocation.request.request_id)
        else:
            invocation.response_ended = time.perf_counter()
        self._notices.responded(self.id)  # first: the answer may bring the caller's next invoke with it
        invocation.respond(payload, self.version.version, command.error_type)

    def _finish(self, command: life.Finish) -> None:
        invocation = self._invocation
        assert invocation is not None
        self._deadline.clear()
        self._reporter.invoke_ended(invocation, command, has_extensions=bool(self.extensions.roster))
        if invocation.request.wants_log_tail:
            invocation.finish(self._reporter.take_tail())
        else:
            self._reporter.forget_tail()
        self._invocation = None

    def _settle(self) -> None:
        if self.state is State.COLD and self.origin is not Origin.OWN_INIT:
            self.stop()
            return
        if self.state is State.READY:
            self._freezer.set(FREEZE_AFTER_S)
        self._notices.settled(self.id, self.state is State.READY)

    # Chores: what takes time, one after the other ------------------------------------------------------------------

    def _chore(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(self._in_turn(work))
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _in_turn(self, work: Coroutine[None, None, None]) -> None:
        async with self._one_chore:
            try:
                await work
            except PlatformError as exc:
                log.error("environment.chore_failed", exc_info=exc, extra={"environment_id": self.id})
                if self._invocation is not None:
                    self._invocation.fail(exc)
                self._handle_late(life.GenerationFailed("Sandbox.Failure", str(exc)))

    async def _hold(self) -> None:
        try:
            await self._sandbox.become_template(self._let_fork)
        except PlatformError:
            self.failure = FunctionError("Runtime.ExitError", "Error: The runtime ended, or did not come to be held")
            raise
        self._notices.settled(self.id, True)

    def _let_fork(self) -> None:
        exchange, self._parked = self._parked, None
        if exchange is not None:
            exchange.respond(200, (), b"")

    async def _boot(self, phase: Phase) -> None:
        if self.origin is Origin.RESTORED:  # an invoke has come between its end and the news of it
            self._handle_late(life.GenerationFailed("Runtime.ExitError", EXITED_SILENTLY))
            return
        self._reporter.init_started(phase, started=time.perf_counter())
        if self.state is State.RESTARTING and not isinstance(self._launch.runtime, FunctionError):
            await self._sandbox.reboot(self._launch.at_boot)
        self._start_generation()

    def _start_generation(self) -> None:
        """Start what the sandbox has not started itself."""
        runtime = self._launch.runtime
        if isinstance(runtime, FunctionError):
            self._handle_late(life.GenerationFailed(runtime.error_type, runtime.message))
            return
        self._processes.are_started(self._launch.at_boot)
        for extension in self._launch.extensions:
            self._processes.start_extension(extension)

    async def _shut_down(self, reason: ShutdownReason) -> None:
        self._parked = None
        self._is_undelivered = False
        await self._processes.shut_down(reason, self.telemetry.flush)
        await self._sandbox.kill()
        self._oom_kills = self._sandbox.oom_kills()
        await self.telemetry.end_generation()
        self.extensions.begin_generation()
        self._handle_late(life.GenerationGone())

    async def _destroy(self) -> None:
        try:
            self._reporter.shut_down("spindown", started=self._stop_started)
            await self._sandbox.destroy()
        finally:
            self._let_go()
            self._notices.gone(self.id)

    def _let_go(self) -> None:
        """Hear of nothing more: what refers to itself would stay until Python looks for circles, which is seldom."""
        self._deadline.cancel()
        self._freezer.cancel()
        self._sandbox.tell_nobody()
        self.extensions.tell_nobody()

    # Clocks and frost -----------------------------------------------------------------------------------------------

    def _set_timer(self, delay_s: float, event: life.Event) -> None:
        self._at_deadline = event
        self._deadline.set(delay_s)

    def _deadline_passed(self) -> None:
        if self._at_deadline is not None:
            self._handle_late(self._at_deadline)

    def _freeze(self) -> None:
        if self.state is State.READY:
            self._sandbox.freeze()
            self._is_frozen = True

    def _thaw(self) -> None:
        self._freezer.clear()
        if self._is_frozen:
            self._sandbox.thaw()
            self._is_frozen = False


def _one_line(value: str) -> str:
    """A caller's words as they fit into a header."""
    return value.replace("\r", " ").replace("\n", " ")
