"""The execution environment's state machine: every outcome of the reference, then anything hypothesis can think of."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lambent.model.events import Phase, ShutdownReason, Status
from lambent.worker.lifecycle import (
    SHUT_DOWN,
    TIMED_OUT,
    TRANSITIONS,
    AllAskedNext,
    Answer,
    BeginAnswer,
    Boot,
    Command,
    Deliver,
    Destroy,
    EndInit,
    EndRuntime,
    Event,
    ExtensionsRegistered,
    Finish,
    GenerationFailed,
    GenerationGone,
    IllegalTransition,
    InitDeadlinePassed,
    InvokeAccepted,
    InvokeDeadlinePassed,
    Lifecycle,
    RuntimeAskedNext,
    RuntimeBeganStream,
    RuntimeEndedStream,
    RuntimeReportedError,
    RuntimeReportedInitError,
    RuntimeResponded,
    Settle,
    ShutDown,
    StartRuntime,
    State,
    StopRequested,
)

AFTER_FAILURE = ShutDown(ShutdownReason.FAILURE)
AFTER_TIMEOUT = ShutDown(ShutdownReason.TIMEOUT)
SPINDOWN = ShutDown(ShutdownReason.SPINDOWN)

EXITED = GenerationFailed("Runtime.ExitError", "exit status 1")
RESPONDED = RuntimeResponded(b"1")


def after(*events: Event) -> Lifecycle:
    lifecycle = Lifecycle()
    for event in events:
        lifecycle.handle(event)
    return lifecycle


def ready() -> Lifecycle:
    return after(AllAskedNext())


def busy() -> Lifecycle:
    return after(AllAskedNext(), InvokeAccepted())


def streaming() -> Lifecycle:
    return after(AllAskedNext(), InvokeAccepted(), RuntimeBeganStream())


def cold() -> Lifecycle:
    return after(EXITED, GenerationGone())


def test_the_first_next_ends_init() -> None:
    lifecycle = Lifecycle()

    assert lifecycle.handle(AllAskedNext()) == [EndInit(Status.SUCCESS), Settle()]
    assert lifecycle.state is State.READY


def test_an_invocation_is_delivered_answered_and_finished() -> None:
    lifecycle = ready()

    assert lifecycle.handle(InvokeAccepted()) == [Deliver()]
    assert lifecycle.handle(RESPONDED) == [Answer(b"1")]
    assert lifecycle.handle(AllAskedNext()) == [Finish(Status.SUCCESS), Settle()]


def test_a_reported_error_answers_the_caller_and_resets_nothing() -> None:
    lifecycle = busy()

    assert lifecycle.handle(RuntimeReportedError(b"{}", "Runtime.Unknown")) == [Answer(b"{}", "Runtime.Unknown")]
    assert lifecycle.handle(AllAskedNext()) == [Finish(Status.SUCCESS), Settle()]
    assert lifecycle.state is State.READY


def test_a_timeout_answers_reports_and_resets() -> None:
    lifecycle = busy()

    assert lifecycle.handle(InvokeDeadlinePassed()) == [
        Answer(None, TIMED_OUT),
        Finish(Status.TIMEOUT, TIMED_OUT),
        AFTER_TIMEOUT,
    ]
    assert lifecycle.handle(GenerationGone()) == [Settle()]
    assert lifecycle.state is State.COLD


def test_a_late_response_is_refused_after_the_deadline() -> None:
    lifecycle = busy()
    lifecycle.handle(InvokeDeadlinePassed())

    with pytest.raises(IllegalTransition):
        lifecycle.handle(RESPONDED)


def test_an_exit_answers_with_its_reason() -> None:
    assert busy().handle(EXITED) == [
        Answer(None, "Runtime.ExitError", "exit status 1"),
        Finish(Status.ERROR, "Runtime.ExitError"),
        AFTER_FAILURE,
    ]


def test_an_exit_after_the_response_changes_the_report_only() -> None:
    lifecycle = busy()
    lifecycle.handle(RESPONDED)

    assert lifecycle.handle(EXITED) == [Finish(Status.ERROR, "Runtime.ExitError"), AFTER_FAILURE]


def test_a_runtime_that_answers_and_never_asks_again_times_out_without_a_second_answer() -> None:
    lifecycle = busy()
    lifecycle.handle(RESPONDED)

    assert lifecycle.handle(InvokeDeadlinePassed()) == [
        Finish(Status.TIMEOUT, TIMED_OUT),
        AFTER_TIMEOUT,
    ]


def test_a_streamed_response_is_begun_ended_and_finished() -> None:
    lifecycle = busy()

    assert lifecycle.handle(RuntimeBeganStream()) == [BeginAnswer()]
    assert lifecycle.handle(RuntimeEndedStream()) == [Answer(b"", None)]
    assert lifecycle.handle(AllAskedNext()) == [Finish(Status.SUCCESS), Settle()]


def test_a_stream_that_fails_answers_with_its_error_and_resets_nothing() -> None:
    lifecycle = streaming()

    assert lifecycle.handle(RuntimeEndedStream(b"{}", "Runtime.Unknown")) == [Answer(b"{}", "Runtime.Unknown")]
    assert lifecycle.handle(AllAskedNext()) == [Finish(Status.SUCCESS), Settle()]


@pytest.mark.parametrize("event", [EXITED, InvokeDeadlinePassed(), StopRequested()])
def test_what_ends_an_invocation_ends_its_stream_in_the_same_way(event: Event) -> None:
    assert streaming().handle(event) == busy().handle(event)


@pytest.mark.parametrize(
    "event", [AllAskedNext(), RuntimeAskedNext(), RESPONDED, RuntimeReportedError(b"{}", "E"), RuntimeBeganStream()]
)
def test_a_runtime_that_streams_can_say_nothing_else(event: Event) -> None:
    with pytest.raises(IllegalTransition):
        streaming().handle(event)


@pytest.mark.parametrize(
    ("failure", "commands"),
    [
        (InitDeadlinePassed(), [EndInit(Status.TIMEOUT), AFTER_TIMEOUT]),
        (EXITED, [EndInit(Status.ERROR, "Runtime.ExitError"), AFTER_FAILURE]),
        (
            RuntimeReportedInitError(b"{}", "Runtime.Unknown"),
            [EndInit(Status.ERROR, "Runtime.Unknown"), AFTER_FAILURE],
        ),
    ],
)
def test_a_failed_init_leaves_a_cold_environment_that_can_be_leased(failure: Event, commands: list[Command]) -> None:
    lifecycle = Lifecycle()

    assert lifecycle.handle(failure) == commands
    assert lifecycle.handle(GenerationGone()) == [Settle()]
    assert lifecycle.state is State.COLD


def test_a_suppressed_init_runs_inside_the_next_invoke() -> None:
    lifecycle = cold()

    assert lifecycle.handle(InvokeAccepted()) == [Boot(Phase.INVOKE)]
    assert lifecycle.handle(AllAskedNext()) == [EndInit(Status.SUCCESS), Deliver()]
    assert lifecycle.handle(RESPONDED) == [Answer(b"1")]


def test_an_init_that_fails_again_answers_with_its_error() -> None:
    lifecycle = cold()
    lifecycle.handle(InvokeAccepted())

    assert lifecycle.handle(RuntimeReportedInitError(b"{}", "Runtime.Unknown")) == [
        EndInit(Status.ERROR, "Runtime.Unknown"),
        Answer(b"{}", "Runtime.Unknown"),
        Finish(Status.ERROR, "Runtime.Unknown"),
        AFTER_FAILURE,
    ]


def test_a_suppressed_init_is_bounded_by_the_function_timeout() -> None:
    lifecycle = cold()
    lifecycle.handle(InvokeAccepted())

    assert lifecycle.handle(InvokeDeadlinePassed()) == [
        EndInit(Status.TIMEOUT),
        Answer(None, TIMED_OUT),
        Finish(Status.TIMEOUT, TIMED_OUT),
        AFTER_TIMEOUT,
    ]


def test_a_runtime_that_dies_idle_is_started_again_by_the_next_invoke() -> None:
    lifecycle = ready()

    assert lifecycle.handle(EXITED) == [AFTER_FAILURE]
    assert lifecycle.handle(GenerationGone()) == [Settle()]
    assert lifecycle.handle(InvokeAccepted()) == [Boot(Phase.INVOKE)]


def test_an_invoke_that_meets_a_reset_waits_for_its_end() -> None:
    lifecycle = ready()
    lifecycle.handle(EXITED)

    assert lifecycle.handle(InvokeAccepted()) == []
    assert lifecycle.handle(GenerationGone()) == [Boot(Phase.INVOKE)]


def test_an_invoke_that_waits_for_a_reset_can_time_out_too() -> None:
    lifecycle = ready()
    lifecycle.handle(EXITED)
    lifecycle.handle(InvokeAccepted())

    assert lifecycle.handle(InvokeDeadlinePassed()) == [Answer(None, TIMED_OUT), Finish(Status.TIMEOUT, TIMED_OUT)]
    assert lifecycle.handle(GenerationGone()) == [Settle()]


def test_an_idle_environment_shuts_down() -> None:
    lifecycle = ready()

    assert lifecycle.handle(StopRequested()) == [SPINDOWN]
    assert lifecycle.handle(GenerationGone()) == [Destroy()]
    assert lifecycle.state is State.DEAD


def test_a_stop_in_the_middle_of_an_invoke_still_answers_the_caller() -> None:
    lifecycle = busy()

    commands = lifecycle.handle(StopRequested())

    assert [type(command) for command in commands] == [Answer, Finish, ShutDown]
    assert commands[0] == Answer(None, SHUT_DOWN, "the server is stopping")


@pytest.mark.parametrize("lifecycle", [ready(), Lifecycle(), cold()])
def test_an_answer_that_nobody_asked_for_is_refused(lifecycle: Lifecycle) -> None:
    state = lifecycle.state

    with pytest.raises(IllegalTransition):
        lifecycle.handle(RESPONDED)
    assert lifecycle.state is state


def test_a_second_answer_and_an_early_next_are_refused() -> None:
    lifecycle = busy()
    with pytest.raises(IllegalTransition):
        lifecycle.handle(AllAskedNext())
    lifecycle.handle(RESPONDED)
    with pytest.raises(IllegalTransition):
        lifecycle.handle(RESPONDED)


def test_the_runtime_starts_when_the_extensions_have_registered() -> None:
    assert Lifecycle().handle(ExtensionsRegistered()) == [StartRuntime()]


def test_init_lasts_until_the_last_extension_has_asked() -> None:
    lifecycle = after(ExtensionsRegistered())

    assert lifecycle.handle(RuntimeAskedNext()) == []
    assert lifecycle.handle(AllAskedNext()) == [EndInit(Status.SUCCESS), Settle()]


def test_an_extension_at_work_keeps_the_environment_but_not_the_caller() -> None:
    lifecycle = busy()

    assert lifecycle.handle(RESPONDED) == [Answer(b"1")]
    assert lifecycle.handle(RuntimeAskedNext()) == [EndRuntime()]
    assert lifecycle.handle(AllAskedNext()) == [Finish(Status.SUCCESS), Settle()]


def test_an_extension_that_works_past_the_deadline_times_the_invoke_out_after_its_answer() -> None:
    lifecycle = busy()
    lifecycle.handle(RESPONDED)
    lifecycle.handle(RuntimeAskedNext())

    assert lifecycle.handle(InvokeDeadlinePassed()) == [Finish(Status.TIMEOUT, TIMED_OUT), AFTER_TIMEOUT]


def test_a_suppressed_init_waits_for_extensions_too() -> None:
    lifecycle = cold()
    lifecycle.handle(InvokeAccepted())

    assert lifecycle.handle(ExtensionsRegistered()) == [StartRuntime()]
    assert lifecycle.handle(RuntimeAskedNext()) == []
    assert lifecycle.handle(AllAskedNext()) == [EndInit(Status.SUCCESS), Deliver()]


def test_every_state_can_be_stopped_and_every_state_is_reached() -> None:
    assert all((state, StopRequested) in TRANSITIONS for state in State)
    assert {state for state, _ in TRANSITIONS.values()} | {State.STARTING, State.RESTORING} == set(State)


EVENTS: list[Event] = [
    ExtensionsRegistered(),
    RuntimeAskedNext(),
    AllAskedNext(),
    RESPONDED,
    RuntimeBeganStream(),
    RuntimeEndedStream(),
    RuntimeReportedError(b"{}", "Function.Unknown"),
    RuntimeReportedInitError(b"{}", "Runtime.Unknown"),
    EXITED,
    InitDeadlinePassed(),
    InvokeDeadlinePassed(),
    StopRequested(),
]


WAITED_FOR = (State.BUSY, State.STREAMING, State.RESTARTING, State.EXTENSIONS_RESTARTING, State.REPLACING)


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens in whatever order, callers and kernel objects are accounted for."""

    def __init__(self) -> None:
        super().__init__()
        self.lifecycle = Lifecycle()
        self.accepted = self.answered = self.finished = 0
        self.is_shutting_down = False
        self.has_processes = True
        self.destroyed = 0

    def perform(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Answer():
                    self.answered += 1
                case Finish():
                    self.finished += 1
                case ShutDown():
                    assert not self.is_shutting_down
                    self.is_shutting_down = True
                case Boot():
                    assert not self.has_processes
                    self.has_processes = True
                case Deliver() | StartRuntime():
                    assert self.has_processes
                case Destroy():
                    assert not self.has_processes
                    self.destroyed += 1
                case Settle():
                    assert self.accepted == self.finished

    def feed(self, event: Event) -> None:
        before = self.lifecycle.state
        try:
            commands = self.lifecycle.handle(event)
        except IllegalTransition:
            assert self.lifecycle.state is before
        else:
            self.perform(commands)

    @rule(event=st.sampled_from(EVENTS))
    def something_happens(self, event: Event) -> None:
        self.feed(event)

    @precondition(
        lambda self: (
            self.lifecycle.state in (State.READY, State.COLD, State.RESETTING) and self.accepted == self.finished
        )
    )
    @rule()
    def an_invocation_comes(self) -> None:
        self.accepted += 1
        self.feed(InvokeAccepted())

    @precondition(lambda self: self.is_shutting_down)
    @rule()
    def the_generation_is_gone(self) -> None:
        self.is_shutting_down = self.has_processes = False
        self.feed(GenerationGone())

    @invariant()
    def each_caller_is_answered_at_most_once_and_before_the_report(self) -> None:
        assert self.finished <= self.answered <= self.accepted <= self.finished + 1

    @invariant()
    def a_dead_environment_was_destroyed_once(self) -> None:
        assert self.destroyed == (self.lifecycle.state is State.DEAD)

    @invariant()
    def nobody_waits_where_no_answer_can_come(self) -> None:
        waiting = self.accepted - self.answered
        assert waiting == (self.lifecycle.state in WAITED_FOR)


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
