"""The life of one execution environment, as a pure state machine.

Events come in, commands go out; `worker.environment` performs them. No clock, no socket, no process here.

Theory. An environment is a sandbox (cgroups, network namespace, /tmp) in which one *generation* of processes runs at a
time. The runtime's requests tell its progress: the first `/next` ends Init, each later one ends an Invoke. What goes
wrong in a generation ends the whole generation (reset): it is killed, and the environment is COLD, to be initialised
again inside the next invoke with the function's own timeout (AWS calls that a suppressed init). Only /tmp survives.
An invoke that meets an idle environment in the middle of such a reset waits for its end (REPLACING).

    STARTING ──next──► READY ◄──next── RESPONDED ◄──response/error── BUSY
        │                 └──────────────invoke─────────────────────►┘ ▲
        └─failure─► RESETTING ──gone──► COLD ──invoke──► RESTARTING ──next──┘

A runtime that streams its response is STREAMING between BUSY and RESPONDED: the caller reads already, and what can go
wrong is the same.

The caller is answered exactly once per accepted invocation: by `Answer`, in BUSY, STREAMING or RESTARTING only, and
after `BeginAnswer` that is the end of the stream. The report of an invocation (`Finish`) comes exactly once as well,
when the runtime has asked for more or its generation has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from lambent.model.events import Phase, Status


class State(Enum):
    STARTING = "Starting"
    READY = "Ready"
    BUSY = "Busy"
    STREAMING = "Streaming"
    RESPONDED = "Responded"
    RESETTING = "Resetting"
    REPLACING = "Replacing"
    COLD = "Cold"
    RESTARTING = "Restarting"
    STOPPING = "Stopping"
    DEAD = "Dead"


# Events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RuntimeAskedNext:
    """GET /runtime/invocation/next."""


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
class InvokeDeadlinePassed:
    """The function's timeout is over."""


@dataclass(frozen=True, slots=True)
class GenerationGone:
    """No process of the generation is left."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Idle too long, replaced by an update, evicted, or the server stops."""


Event = (
    RuntimeAskedNext
    | RuntimeResponded
    | RuntimeBeganStream
    | RuntimeEndedStream
    | RuntimeReportedError
    | RuntimeReportedInitError
    | GenerationFailed
    | InvokeAccepted
    | InitDeadlinePassed
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
class EndInit:
    """Init is over; report it."""

    status: Status
    error_type: str | None = None


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
class Finish:
    """The invocation is over; report it."""

    status: Status
    error_type: str | None = None


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL what is left of the generation; ends in GenerationGone."""


@dataclass(frozen=True, slots=True)
class Destroy:
    """Give the sandbox back."""


Command = Boot | EndInit | Settle | Deliver | BeginAnswer | Answer | Finish | Kill | Destroy

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


def _init_done(_: Event) -> list[Command]:
    return [EndInit(Status.SUCCESS), Settle()]


def _init_failed(event: Event) -> list[Command]:
    match event:
        case InitDeadlinePassed():
            return [EndInit(Status.TIMEOUT), Kill()]
        case GenerationFailed(error_type=error_type) | RuntimeReportedInitError(error_type=error_type):
            return [EndInit(Status.ERROR, error_type), Kill()]
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


def _finished(_: Event) -> list[Command]:
    return [Finish(Status.SUCCESS), Settle()]


def _answer_failure(event: Event) -> list[Command]:
    match event:
        case InvokeDeadlinePassed():
            return [Answer(None, TIMED_OUT), Finish(Status.TIMEOUT, TIMED_OUT), Kill()]
        case GenerationFailed(error_type=error_type, reason=reason):
            return [Answer(None, error_type, reason), Finish(Status.ERROR, error_type), Kill()]
        case RuntimeReportedInitError(payload=payload, error_type=error_type):
            return [Answer(payload, error_type), Finish(Status.ERROR, error_type), Kill()]
        case StopRequested():
            return [Answer(None, SHUT_DOWN, "the server is stopping"), Finish(Status.FAILURE, SHUT_DOWN), Kill()]
        case _:
            raise AssertionError(event)


def _answer_failure_only(event: Event) -> list[Command]:
    """The generation is being killed already."""
    return _answer_failure(event)[:-1]


def _restart_failed(event: Event) -> list[Command]:
    status = Status.TIMEOUT if isinstance(event, InvokeDeadlinePassed) else Status.ERROR
    error_type = event.error_type if isinstance(event, GenerationFailed | RuntimeReportedInitError) else None
    return [EndInit(status, error_type), *_answer_failure(event)]


def _late_failure(event: Event) -> list[Command]:
    match event:
        case InvokeDeadlinePassed():
            return [Finish(Status.TIMEOUT, TIMED_OUT), Kill()]
        case GenerationFailed(error_type=error_type):
            return [Finish(Status.ERROR, error_type), Kill()]
        case StopRequested():
            return [Finish(Status.SUCCESS), Kill()]
        case _:
            raise AssertionError(event)


def _kill(_: Event) -> list[Command]:
    return [Kill()]


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
    (State.STARTING, RuntimeAskedNext): (State.READY, _init_done),
    (State.STARTING, RuntimeReportedInitError): (State.RESETTING, _init_failed),
    (State.STARTING, GenerationFailed): (State.RESETTING, _init_failed),
    (State.STARTING, InitDeadlinePassed): (State.RESETTING, _init_failed),
    (State.STARTING, StopRequested): (State.STOPPING, _kill),
    (State.READY, InvokeAccepted): (State.BUSY, _deliver),
    (State.READY, GenerationFailed): (State.RESETTING, _kill),
    (State.READY, StopRequested): (State.STOPPING, _kill),
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
    (State.RESPONDED, RuntimeAskedNext): (State.READY, _finished),
    (State.RESPONDED, GenerationFailed): (State.RESETTING, _late_failure),
    (State.RESPONDED, InvokeDeadlinePassed): (State.RESETTING, _late_failure),
    (State.RESPONDED, StopRequested): (State.STOPPING, _late_failure),
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
    (State.RESTARTING, RuntimeAskedNext): (State.BUSY, _restarted),
    (State.RESTARTING, RuntimeReportedInitError): (State.RESETTING, _restart_failed),
    (State.RESTARTING, GenerationFailed): (State.RESETTING, _restart_failed),
    (State.RESTARTING, InvokeDeadlinePassed): (State.RESETTING, _restart_failed),
    (State.RESTARTING, StopRequested): (State.STOPPING, _answer_failure),
    (State.STOPPING, GenerationFailed): (State.STOPPING, _nothing),
    (State.STOPPING, StopRequested): (State.STOPPING, _nothing),
    (State.STOPPING, GenerationGone): (State.DEAD, _destroy),
    (State.DEAD, StopRequested): (State.DEAD, _nothing),
}


class Lifecycle:
    """Where one environment stands. Starts in STARTING: its first generation is being booted."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = State.STARTING

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
