"""The two lives that SnapStart adds: a template, which others are forked from, and an environment forked from it."""

from __future__ import annotations

import pytest

from lambent.model.events import ShutdownReason, Status
from lambent.worker.lifecycle import (
    TIMED_OUT,
    AllAskedNext,
    Command,
    Deliver,
    Destroy,
    EndInit,
    EndRestore,
    Event,
    GenerationFailed,
    GenerationGone,
    Hold,
    IllegalTransition,
    InvokeAccepted,
    Lifecycle,
    RestoreDeadlinePassed,
    RuntimeAskedRestore,
    RuntimeReportedInitError,
    RuntimeReportedRestoreError,
    Settle,
    ShutDown,
    State,
    StopRequested,
)

EXITED = GenerationFailed("Runtime.ExitError", "exit status 1")
AFTER_FAILURE = ShutDown(ShutdownReason.FAILURE)


def template() -> Lifecycle:
    lifecycle = Lifecycle()
    lifecycle.handle(RuntimeAskedRestore())
    return lifecycle


def test_a_runtime_that_asks_for_its_restore_has_ended_its_init_and_is_held() -> None:
    lifecycle = Lifecycle()

    assert lifecycle.handle(RuntimeAskedRestore()) == [EndInit(Status.SUCCESS), Hold()]
    assert lifecycle.state is State.TEMPLATE


@pytest.mark.parametrize("event", [InvokeAccepted(), AllAskedNext(), RuntimeAskedRestore()])
def test_no_invoke_comes_to_a_template(event: Event) -> None:
    with pytest.raises(IllegalTransition):
        template().handle(event)


@pytest.mark.parametrize(
    ("event", "reason"), [(EXITED, ShutdownReason.FAILURE), (StopRequested(), ShutdownReason.SPINDOWN)]
)
def test_a_template_that_ends_is_not_begun_again(event: Event, reason: ShutdownReason) -> None:
    lifecycle = template()

    assert lifecycle.handle(event) == [ShutDown(reason)]
    assert lifecycle.handle(GenerationGone()) == [Destroy()]


def test_a_restored_environment_is_ready_once_its_runtime_asks_for_an_event() -> None:
    lifecycle = Lifecycle(State.RESTORING)

    assert lifecycle.handle(AllAskedNext()) == [EndRestore(Status.SUCCESS), Settle()]
    assert lifecycle.handle(InvokeAccepted()) == [Deliver()]


@pytest.mark.parametrize(
    ("event", "commands"),
    [
        (EXITED, [EndRestore(Status.ERROR, "Runtime.ExitError"), AFTER_FAILURE]),
        (
            RuntimeReportedRestoreError(b"{}", "Runtime.AfterRestoreError"),
            [EndRestore(Status.ERROR, "Runtime.AfterRestoreError"), AFTER_FAILURE],
        ),
        (
            RuntimeReportedInitError(b"{}", "Runtime.Unknown"),
            [EndRestore(Status.ERROR, "Runtime.Unknown"), AFTER_FAILURE],
        ),
        (RestoreDeadlinePassed(), [EndRestore(Status.TIMEOUT, TIMED_OUT), ShutDown(ShutdownReason.TIMEOUT)]),
    ],
)
def test_a_failed_restore_leaves_no_environment(event: Event, commands: list[Command]) -> None:
    lifecycle = Lifecycle(State.RESTORING)

    assert lifecycle.handle(event) == commands
    assert lifecycle.handle(GenerationGone()) == [Destroy()]


def test_news_of_the_end_after_a_failed_restore_changes_nothing() -> None:
    lifecycle = Lifecycle(State.RESTORING)
    lifecycle.handle(RuntimeReportedRestoreError(b"{}", "Runtime.AfterRestoreError"))

    assert lifecycle.handle(EXITED) == []


def test_only_an_init_may_end_in_a_template() -> None:
    with pytest.raises(IllegalTransition):
        Lifecycle(State.RESTORING).handle(RuntimeAskedRestore())
