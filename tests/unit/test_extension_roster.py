"""The roster of extensions: every refusal of the reference, then any order of steps hypothesis can think of."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lambent.worker.extensions import (
    EXTENSIONS_MAXIMUM,
    TRANSITIONS,
    Extension,
    ExtensionRefused,
    ExtensionState,
    Roster,
    Step,
)


def ready(roster: Roster, name: str, *events: str) -> Extension:
    extension = roster.register(name, events)
    roster.take(extension, Step.ASK_NEXT)
    return extension


def refusal(roster: Roster, name: str, *events: str) -> tuple[str, str]:
    with pytest.raises(ExtensionRefused) as refused:
        roster.register(name, events)
    return refused.value.error_type, refused.value.message


def test_an_extension_is_external_by_its_files_name_and_internal_by_any_other() -> None:
    roster = Roster(["file"])

    assert roster.register("file", ["INVOKE"]).is_external
    assert not roster.register("thread", ["INVOKE"]).is_external


def test_the_runtime_waits_for_every_external_extension() -> None:
    roster = Roster(["a", "b"])

    roster.register("a", [])
    assert not roster.is_registered
    roster.register("b", [])
    assert roster.is_registered


def test_who_has_registered_owes_a_next() -> None:
    roster = Roster(["a"])
    extension = roster.register("a", ["INVOKE"])

    assert roster.working == {extension.id}
    roster.take(extension, Step.ASK_NEXT)
    assert not roster.working


def test_an_invoke_is_for_subscribers_and_each_owes_a_next_for_it() -> None:
    roster = Roster(["a", "b"])
    subscriber = ready(roster, "a", "INVOKE")
    ready(roster, "b", "SHUTDOWN")

    assert roster.invoked() == [subscriber]
    assert roster.working == {subscriber.id}


def test_a_shutdown_is_for_subscribers_that_live() -> None:
    roster = Roster(["a", "b", "c"])
    subscriber = ready(roster, "a", "SHUTDOWN")
    ready(roster, "b", "INVOKE")
    roster.take(ready(roster, "c", "SHUTDOWN"), Step.EXIT)

    assert roster.to_shut_down() == [subscriber]


def test_unknown_events_and_a_shutdown_for_internal_extensions_are_refused() -> None:
    roster = Roster(["a"])

    assert refusal(roster, "a", "BOGUS") == ("Extension.InvalidEventType", "BOGUS: Unknown event type")
    assert refusal(roster, "internal", "SHUTDOWN") == (
        "Extension.InvalidEventType",
        "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension",
    )


def test_names_are_taken_once() -> None:
    roster = Roster(["a"])
    roster.register("a", [])
    roster.register("internal", [])

    assert refusal(roster, "a")[1] == (
        "State transition from Registered to Registered failed for extension a. Error: State transition is not allowed"
    )
    assert refusal(roster, "internal") == (
        "Extension.InvalidExtensionState",
        "Extension with this name already registered",
    )


def test_there_are_ten_at_most() -> None:
    roster = Roster(["a"])
    for number in range(EXTENSIONS_MAXIMUM - 1):
        roster.register(f"internal-{number}", [])

    assert refusal(roster, "one more") == ("Extension.TooManyExtensions", "Extension limit (10) reached")


def test_registration_closes_with_the_runtimes_first_next() -> None:
    roster = Roster([])
    roster.close_registration()

    assert refusal(roster, "late") == ("Extension.RegistrationClosed", "Extension registration closed already")


def test_a_stranger_is_told_so() -> None:
    with pytest.raises(ExtensionRefused, match="Unknown extension 00000000-0000-0000-0000-000000000000"):
        Roster([]).find("00000000-0000-0000-0000-000000000000")


@pytest.mark.parametrize(
    ("external", "internal", "window_s"), [([], [], 0.0), ([], ["i"], 0.5), (["e"], [], 2.0), (["e"], ["i"], 2.0)]
)
def test_the_end_takes_as_long_as_those_who_registered_may_need(
    external: list[str], internal: list[str], window_s: float
) -> None:
    roster = Roster(external)
    assert roster.shutdown_s == 0.0
    for name in [*external, *internal]:
        roster.register(name, [])

    assert roster.shutdown_s == window_s


def test_every_state_is_left_or_left_alone_by_an_exit() -> None:
    assert all((state, Step.EXIT) in TRANSITIONS for state in ExtensionState)


class AnySteps(RuleBasedStateMachine):
    """Whatever extensions do, the phase waits for exactly those that were given something to do."""

    def __init__(self) -> None:
        super().__init__()
        self.roster = Roster(["a", "b"])
        self.extensions = list(self.roster)

    @rule(index=st.integers(0, 1), step=st.sampled_from(Step), error_type=st.sampled_from([None, "Extension.X"]))
    def something_happens(self, index: int, step: Step, error_type: str | None) -> None:
        extension = self.extensions[index]
        before = extension.state
        try:
            self.roster.take(extension, step, error_type)
        except ExtensionRefused:
            assert extension.state is before

    @rule(index=st.integers(0, 1), events=st.lists(st.sampled_from(["INVOKE", "SHUTDOWN"])))
    def one_registers(self, index: int, events: list[str]) -> None:
        extension = self.extensions[index]
        if extension.state is ExtensionState.STARTED:
            assert self.roster.register(extension.name, events) is extension
        else:
            assert refusal(self.roster, extension.name, *events)[0] == "Extension.InvalidExtensionState"

    @rule()
    def an_invoke_comes(self) -> None:
        assert all("INVOKE" in extension.events for extension in self.roster.invoked())

    @invariant()
    def the_phase_waits_for_those_at_work(self) -> None:
        at_work = (ExtensionState.REGISTERED, ExtensionState.RUNNING)
        assert self.roster.working == {one.id for one in self.extensions if one.state in at_work}


TestAnySteps = AnySteps.TestCase
TestAnySteps.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
