"""The life of one execution environment, as a pure state machine.

Events come in, commands go out; `worker.environment` performs them. No clock, no socket, no process here.

Theory. An environment is a sandbox (cgroups, network namespace, /tmp) in which one *generation* of processes runs at a
time: a runtime and perhaps extensions. Their requests tell its progress: when all have asked for their `next` event,
Init is over, and later each Invoke. Who they are `extensions` knows; here counts only whether the runtime was the last
to ask (AllAskedNext) or leaves extensions at work (RuntimeAskedNext, until AllAskedNext), and in Init that the runtime
starts once the extensions have registered. What goes wrong in a generation ends the whole generation (reset): it is
shut down, and the environment is COLD, to be initialised again inside the next invoke with the function's own timeout
(AWS calls that a suppressed init). Only /tmp survives. An invoke that meets an idle environment in the middle of such
a reset waits for its end (REPLACING).

    STARTING ──next──► READY ◄──next── RESPONDED ◄──response/error── BUSY
        │                 └──────────────invoke─────────────────────►┘ ▲
        └─failure─► RESETTING ──gone──► COLD ──invoke──► RESTARTING ──next──┘

A runtime that streams its response is STREAMING between BUSY and RESPONDED: the caller reads already, and what can go
wrong is the same.

A version with SnapStart has one environment more, its template, which no invoke ever comes to: after Init its runtime
waits to be forked from (TEMPLATE). The others begin as such a fork, in RESTORING, and have no Init to repeat: where
they would be COLD they are stopped.

    STARTING ──restore/next──► TEMPLATE        RESTORING ──next──► READY

The caller is answered exactly once per accepted invocation: by `Answer`, in BUSY, STREAMING or RESTARTING only, and
after `BeginAnswer` that is the end of the stream. The report of an invocation (`Finish`) comes exactly once as well,
when all have asked for more or their generation has failed. Between the two, EXTENSIONS_BUSY, the caller is gone and
the environment is not free yet; EXTENSIONS_STARTING and EXTENSIONS_RESTARTING are the same in Init.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from lambent.model.events import Phase, ShutdownReason, Status


class State(Enum):
    STARTING = "Starting"
    EXTENSIONS_STARTING = "ExtensionsStarting"
    READY = "Ready"
    BUSY = "Busy"
    STREAMING = "Streaming"
    RESPONDED = "Responded"
    EXTENSIONS_BUSY = "ExtensionsBusy"
    RESETTING = "Resetting"
    REPLACING = "Replacing"
    COLD = "Cold"
    RESTARTING = "Restarting"
    EXTENSIONS_RESTARTING = "ExtensionsRestarting"
    TEMPLATE = "Template"
    RESTORING = "Restoring"
    STOPPING = "Stopping"
    DEAD = "Dead"

    __hash__ = object.__hash__  # each is the only one of its value; an enum's own hash is a call into Python


# Events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExtensionsRegistered:
    """Every external extension has registered."""


@dataclass(frozen=True, slots=True)
class RuntimeAskedNext:
    """GET /runtime/invocation/next, while extensions are still at work."""


@dataclass(frozen=True, slots=True)
class AllAskedNext:
    """The runtime waits for its next event, and no extension is at work: what most runtimes do alone."""


@dataclass(frozen=True, slots=True)
class RuntimeResponded:
    """POST /runtime/invocation/{id}/response."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class RuntimeBeganStream:
    """The head of a POST /runtime/invocation/{id}/response whose body is streamed."""


@dataclass(frozen=True, slots=True)
class RuntimeEndedStream:
    """The end of that body. With an `error_type` it has failed, and the payload tells of it."""

    payload: bytes = b""
    error_type: str | None = None


@dataclass(frozen=True, slots=True)
class RuntimeReportedError:
    """POST /runtime/invocation/{id}/error; the payload is the caller's, byte for byte."""

    payload: bytes
    error_type: str


@dataclass(frozen=True, slots=True)
class RuntimeReportedInitError:
    """POST /runtime/init/error."""

    payload: bytes
    error_type: str


@dataclass(frozen=True, slots=True)
class RuntimeAskedRestore:
    """GET /runtime/restore/next: Init is over, and the runtime may be forked from."""


@dataclass(frozen=True, slots=True)
class RuntimeReportedRestoreError:
    """POST /runtime/restore/error."""

    payload: bytes
    error_type: str


@dataclass(frozen=True, slots=True)
class GenerationFailed:
    """A process of the generation ended, or never started; `reason` is AWS's text, e.g. `exit status 1`."""

    error_type: str
    reason: str


@dataclass(frozen=True, slots=True)
class InvokeAccepted:
    """A caller waits for an answer."""


@dataclass(frozen=True, slots=True)
class InitDeadlinePassed:
    """Ten seconds of Init are over."""


@dataclass(frozen=True, slots=True)
class RestoreDeadlinePassed:
    """Ten seconds of Restore are over."""


@dataclass(frozen=True, slots=True)
class InvokeDeadlinePassed:
    """The function's timeout is over."""


@dataclass(frozen=True, slots=True)
class GenerationGone:
    """No process of the generation is left."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Idle too long, replaced by an update, evicted, or the server stops."""


Event = (
    ExtensionsRegistered
    | RuntimeAskedNext
    | AllAskedNext
    | RuntimeResponded
    | RuntimeBeganStream
    | RuntimeEndedStream
    | RuntimeReportedError
    | RuntimeReportedInitError
    | RuntimeAskedRestore
    | RuntimeReportedRestoreError
    | GenerationFailed
    | InvokeAccepted
    | InitDeadlinePassed
    | RestoreDeadlinePassed
    | InvokeDeadlinePassed
    | GenerationGone
    | StopRequested
)

# Commands ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Boot:
    """Start a new generation and begin the given phase's Init."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class StartRuntime:
    """Start the runtime beside the extensions: function init begins."""


@dataclass(frozen=True, slots=True)
class EndInit:
    """Init is over; report it."""

    status: Status
    error_type: str | None = None


@dataclass(frozen=True, slots=True)
class EndRestore:
    """Restore is over; report it."""

    status: Status
    error_type: str | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Have environments forked from the runtime."""


@dataclass(frozen=True, slots=True)
class Settle:
    """The environment can be leased: warm after a good Init, cold after a failed one or a reset."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """Give the accepted event to the runtime that asked for it."""


@dataclass(frozen=True, slots=True)
class BeginAnswer:
    """Give the caller the stream to read; `Answer` ends it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the caller. `payload` None: the platform words the error from `error_type` and `reason`."""

    payload: bytes | None
    error_type: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class EndRuntime:
    """The runtime is done with the invocation, its extensions are not: report so much."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The invocation is over; report it."""

    status: Status
    error_type: str | None = None


@dataclass(frozen=True, slots=True)
class ShutDown:
    """End the generation: the runtime, its extensions, then by SIGKILL what is left; ends in GenerationGone."""

    reason: ShutdownReason


@dataclass(frozen=True, slots=True)
class Destroy:
    """Give the sandbox back."""


Command = (
    Boot
    | StartRuntime
    | EndInit
    | EndRestore
    | Hold
    | Settle
    | Deliver
    | BeginAnswer
    | Answer
    | EndRuntime
    | Finish
    | ShutDown
    | Destroy
)

TIMED_OUT = "Sandbox.Timedout"
SHUT_DOWN = "Sandbox.Failure"


class IllegalTransition(Exception):
    """The event cannot happen in this state; nothing has changed."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"{type(event).__name__} cannot happen in state {state.value}")
        self.state = state
        self.event = event


# What each transition asks for ------------------------------------------------------------------------------------


def _nothing(_: Event) -> list[Command]:
    return []


def _shut_down_for(event: Event) -> ShutDown:
    match event:
        case InitDeadlinePassed() | RestoreDeadlinePassed() | InvokeDeadlinePassed():
            return ShutDown(ShutdownReason.TIMEOUT)
        case StopRequested():
            return ShutDown(ShutdownReason.SPINDOWN)
        case _:
            return ShutDown(ShutdownReason.FAILURE)


def _start_runtime(_: Event) -> list[Command]:
    return [StartRuntime()]


def _init_done(_: Event) -> list[Command]:
    return [EndInit(Status.SUCCESS), Settle()]


def _init_failed(event: Event) -> list[Command]:
    match event:
        case InitDeadlinePassed():
            return [EndInit(Status.TIMEOUT), _shut_down_for(event)]
        case GenerationFailed(error_type=error_type) | RuntimeReportedInitError(error_type=error_type):
            return [EndInit(Status.ERROR, error_type), _shut_down_for(event)]
        case _:
            raise AssertionError(event)


def _become_template(_: Event) -> list[Command]:
    return [EndInit(Status.SUCCESS), Hold()]


def _restored(_: Event) -> list[Command]:
    return [EndRestore(Status.SUCCESS), Settle()]


def _restore_failed(event: Event) -> list[Command]:
    match event:
        case RestoreDeadlinePassed():
            return [EndRestore(Status.TIMEOUT, TIMED_OUT), _shut_down_for(event)]
        case (
            GenerationFailed(error_type=error_type)
            | RuntimeReportedRestoreError(error_type=error_type)
            | RuntimeReportedInitError(error_type=error_type)
        ):
            return [EndRestore(Status.ERROR, error_type), _shut_down_for(event)]
        case _:
            raise AssertionError(event)


def _deliver(_: Event) -> list[Command]:
    return [Deliver()]


def _begin_answer(_: Event) -> list[Command]:
    return [BeginAnswer()]


def _answer(event: Event) -> list[Command]:
    match event:
        case RuntimeResponded(payload=payload):
            return [Answer(payload)]
        case (
            RuntimeReportedError(payload=payload, error_type=error_type)
            | RuntimeEndedStream(payload=payload, error_type=error_type)
        ):
            return [Answer(payload, error_type)]
        case _:
            raise AssertionError(event)


def _runtime_done(_: Event) -> list[Command]:
    return [EndRuntime()]


def _finished(_: Event) -> list[Command]:
    return [Finish(Status.SUCCESS), Settle()]


def _answer_failure(event: Event) -> list[Command]:
    match event:
        case InvokeDeadlinePassed():
            return [Answer(None, TIMED_OUT), Finish(Status.TIMEOUT, TIMED_OUT), _shut_down_for(event)]
        case GenerationFailed(error_type=error_type, reason=reason):
            return [Answer(None, error_type, reason), Finish(Status.ERROR, error_type), _shut_down_for(event)]
        case RuntimeReportedInitError(payload=payload, error_type=error_type):
            return [Answer(payload, error_type), Finish(Status.ERROR, error_type), _shut_down_for(event)]
        case StopRequested():
            return [
                Answer(None, SHUT_DOWN, "the server is stopping"),
                Finish(Status.FAILURE, SHUT_DOWN),
                _shut_down_for(event),
            ]
        case _:
            raise AssertionError(event)


def _answer_failure_only(event: Event) -> list[Command]:
    """The generation is being shut down already."""
    return _answer_failure(event)[:-1]


def _restart_failed(event: Event) -> list[Command]:
    status = Status.TIMEOUT if isinstance(event, InvokeDeadlinePassed) else Status.ERROR
    error_type = event.error_type if isinstance(event, GenerationFailed | RuntimeReportedInitError) else None
    return [EndInit(status, error_type), *_answer_failure(event)]


def _late_failure(event: Event) -> list[Command]:
    match event:
        case InvokeDeadlinePassed():
            return [Finish(Status.TIMEOUT, TIMED_OUT), _shut_down_for(event)]
        case GenerationFailed(error_type=error_type):
            return [Finish(Status.ERROR, error_type), _shut_down_for(event)]
        case StopRequested():
            return [Finish(Status.SUCCESS), _shut_down_for(event)]
        case _:
            raise AssertionError(event)


def _shut_down(event: Event) -> list[Command]:
    return [_shut_down_for(event)]


def _restart(_: Event) -> list[Command]:
    return [Boot(Phase.INVOKE)]


def _restarted(_: Event) -> list[Command]:
    return [EndInit(Status.SUCCESS), Deliver()]


def _settle(_: Event) -> list[Command]:
    return [Settle()]


def _destroy(_: Event) -> list[Command]:
    return [Destroy()]


_Action = Callable[[Event], list[Command]]

TRANSITIONS: Mapping[tuple[State, type[Event]], tuple[State, _Action]] = {
    (State.STARTING, ExtensionsRegistered): (State.STARTING, _start_runtime),
    (State.STARTING, RuntimeAskedNext): (State.EXTENSIONS_STARTING, _nothing),
    (State.STARTING, AllAskedNext): (State.READY, _init_done),
    (State.STARTING, RuntimeReportedInitError): (State.RESETTING, _init_failed),
    (State.STARTING, GenerationFailed): (State.RESETTING, _init_failed),
    (State.STARTING, InitDeadlinePassed): (State.RESETTING, _init_failed),
    (State.STARTING, RuntimeAskedRestore): (State.TEMPLATE, _become_template),
    (State.STARTING, StopRequested): (State.STOPPING, _shut_down),
    (State.TEMPLATE, GenerationFailed): (State.STOPPING, _shut_down),
    (State.TEMPLATE, StopRequested): (State.STOPPING, _shut_down),
    (State.RESTORING, AllAskedNext): (State.READY, _restored),
    (State.RESTORING, RuntimeReportedRestoreError): (State.STOPPING, _restore_failed),
    (State.RESTORING, RuntimeReportedInitError): (State.STOPPING, _restore_failed),
    (State.RESTORING, GenerationFailed): (State.STOPPING, _restore_failed),
    (State.RESTORING, RestoreDeadlinePassed): (State.STOPPING, _restore_failed),
    (State.RESTORING, StopRequested): (State.STOPPING, _shut_down),
    (State.EXTENSIONS_STARTING, AllAskedNext): (State.READY, _init_done),
    (State.EXTENSIONS_STARTING, GenerationFailed): (State.RESETTING, _init_failed),
    (State.EXTENSIONS_STARTING, InitDeadlinePassed): (State.RESETTING, _init_failed),
    (State.EXTENSIONS_STARTING, StopRequested): (State.STOPPING, _shut_down),
    (State.READY, InvokeAccepted): (State.BUSY, _deliver),
    (State.READY, GenerationFailed): (State.RESETTING, _shut_down),
    (State.READY, StopRequested): (State.STOPPING, _shut_down),
    (State.BUSY, RuntimeResponded): (State.RESPONDED, _answer),
    (State.BUSY, RuntimeReportedError): (State.RESPONDED, _answer),
    (State.BUSY, RuntimeBeganStream): (State.STREAMING, _begin_answer),
    (State.BUSY, GenerationFailed): (State.RESETTING, _answer_failure),
    (State.BUSY, InvokeDeadlinePassed): (State.RESETTING, _answer_failure),
    (State.BUSY, StopRequested): (State.STOPPING, _answer_failure),
    (State.STREAMING, RuntimeEndedStream): (State.RESPONDED, _answer),
    (State.STREAMING, GenerationFailed): (State.RESETTING, _answer_failure),
    (State.STREAMING, InvokeDeadlinePassed): (State.RESETTING, _answer_failure),
    (State.STREAMING, StopRequested): (State.STOPPING, _answer_failure),
    (State.RESPONDED, RuntimeAskedNext): (State.EXTENSIONS_BUSY, _runtime_done),
    (State.RESPONDED, AllAskedNext): (State.READY, _finished),
    (State.RESPONDED, GenerationFailed): (State.RESETTING, _late_failure),
    (State.RESPONDED, InvokeDeadlinePassed): (State.RESETTING, _late_failure),
    (State.RESPONDED, StopRequested): (State.STOPPING, _late_failure),
    (State.EXTENSIONS_BUSY, AllAskedNext): (State.READY, _finished),
    (State.EXTENSIONS_BUSY, GenerationFailed): (State.RESETTING, _late_failure),
    (State.EXTENSIONS_BUSY, InvokeDeadlinePassed): (State.RESETTING, _late_failure),
    (State.EXTENSIONS_BUSY, StopRequested): (State.STOPPING, _late_failure),
    (State.RESETTING, GenerationFailed): (State.RESETTING, _nothing),
    (State.RESETTING, GenerationGone): (State.COLD, _settle),
    (State.RESETTING, StopRequested): (State.STOPPING, _nothing),
    (State.RESETTING, InvokeAccepted): (State.REPLACING, _nothing),
    (State.REPLACING, GenerationFailed): (State.REPLACING, _nothing),
    (State.REPLACING, GenerationGone): (State.RESTARTING, _restart),
    (State.REPLACING, InvokeDeadlinePassed): (State.RESETTING, _answer_failure_only),
    (State.REPLACING, StopRequested): (State.STOPPING, _answer_failure_only),
    (State.COLD, InvokeAccepted): (State.RESTARTING, _restart),
    (State.COLD, StopRequested): (State.DEAD, _destroy),
    (State.RESTARTING, ExtensionsRegistered): (State.RESTARTING, _start_runtime),
    (State.RESTARTING, RuntimeAskedNext): (State.EXTENSIONS_RESTARTING, _nothing),
    (State.RESTARTING, AllAskedNext): (State.BUSY, _restarted),
    (State.RESTARTING, RuntimeReportedInitError): (State.RESETTING, _restart_failed),
    (State.RESTARTING, GenerationFailed): (State.RESETTING, _restart_failed),
    (State.RESTARTING, InvokeDeadlinePassed): (State.RESETTING, _restart_failed),
    (State.RESTARTING, StopRequested): (State.STOPPING, _answer_failure),
    (State.EXTENSIONS_RESTARTING, AllAskedNext): (State.BUSY, _restarted),
    (State.EXTENSIONS_RESTARTING, GenerationFailed): (State.RESETTING, _restart_failed),
    (State.EXTENSIONS_RESTARTING, InvokeDeadlinePassed): (State.RESETTING, _restart_failed),
    (State.EXTENSIONS_RESTARTING, StopRequested): (State.STOPPING, _answer_failure),
    (State.STOPPING, GenerationFailed): (State.STOPPING, _nothing),
    (State.STOPPING, StopRequested): (State.STOPPING, _nothing),
    (State.STOPPING, GenerationGone): (State.DEAD, _destroy),
    (State.DEAD, StopRequested): (State.DEAD, _nothing),
}


COMING_TO_LIFE = frozenset({State.STARTING, State.EXTENSIONS_STARTING, State.RESTORING})
"""What goes wrong now is why there is no such environment."""
STARTING_UP = frozenset({State.STARTING, State.RESTARTING})
"""The runtime has yet to ask for its first event, or even to start."""
EXTENSIONS_AT_WORK = frozenset({State.EXTENSIONS_STARTING, State.EXTENSIONS_BUSY, State.EXTENSIONS_RESTARTING})
"""The runtime has asked; what ends the phase is the last extension that does."""
RUNTIME_WAITS = EXTENSIONS_AT_WORK | {State.READY}
"""The runtime has asked for an event that is not there yet."""


class Lifecycle:
    """Where one environment stands. Starts in STARTING: its first generation is being booted; or in RESTORING."""

    __slots__ = ("state",)

    def __init__(self, state: State = State.STARTING) -> None:
        self.state = state

    def handle(self, event: Event) -> list[Command]:
        """Apply one event and return what must now be done, in order.

        Raises:
            IllegalTransition: the event cannot happen in this state; nothing has changed.
        """
        transition = TRANSITIONS.get((self.state, type(event)))
        if transition is None:
            raise IllegalTransition(self.state, event)
        self.state, action = transition
        return action(event)
