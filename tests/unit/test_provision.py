"""Which environments a version keeps initialised, at times that the test chooses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lambent.manager.provision import INIT_FAILED, Provision
from lambent.model.invocation import EnvironmentId


def ids(*numbers: int) -> list[EnvironmentId]:
    return [EnvironmentId(f"e{number}") for number in numbers]


def provision(requested: int, *ready: int) -> Provision:
    made = Provision()
    made.requested = requested
    for one in ids(*ready):
        become_ready(made, one)
    return made


def become_ready(made: Provision, one: EnvironmentId) -> None:
    made.add_starting(one)
    made.add_ready(one)
    made.rest(one)


def test_what_is_missing_is_what_was_requested_without_those_there_and_on_their_way() -> None:
    made = provision(3, 1)
    made.add_starting(*ids(2))

    assert made.missing(0.0) == 1
    assert len(made) == 2


def test_the_environment_used_last_is_used_again() -> None:
    made = provision(2, 1, 2)

    assert [made.take_idle(), made.take_idle(), made.take_idle()] == [*ids(2, 1), None]
    made.rest(*ids(1))
    assert made.take_idle() == "e1"


def test_with_less_requested_those_starting_and_idle_go_at_once_and_those_at_work_when_they_are_done() -> None:
    made = provision(4, 1, 2, 3)
    made.add_starting(*ids(4))
    assert made.take_idle() == "e3"
    made.requested = 1

    assert made.take_surplus() == ids(4, 1, 2)
    assert made.take_surplus() == []
    assert not made.is_surplus(*ids(3)), "it is the one that is left"
    made.requested = 0
    assert made.is_surplus(*ids(3))


def test_after_a_failure_it_waits_longer_each_time_and_tries_a_single_one() -> None:
    made = provision(5)
    for one in ids(1, 2, 3):
        made.add_starting(one)
    for one in ids(1, 2, 3):
        made.fail(INIT_FAILED, 0.0)
        made.remove(one)

    assert [made.missing(0.0), made.missing(0.9), made.missing(1.0)] == [0, 0, 1]
    made.add_starting(*ids(4))
    assert made.missing(1.0) == 0, "one attempt at a time"
    made.fail(INIT_FAILED, 1.5)
    made.remove(*ids(4))
    assert [made.missing(3.4), made.missing(3.5)] == [0, 1]
    assert made.failure == INIT_FAILED


def test_a_success_ends_the_failure() -> None:
    made = provision(5)
    made.fail(INIT_FAILED, 0.0)
    become_ready(made, *ids(1))

    assert made.failure is None
    assert made.missing(0.0) == 4


def test_the_wait_after_failures_has_an_end() -> None:
    made, now_s = provision(1), 0.0
    for _ in range(20):
        made.fail(INIT_FAILED, now_s)
        now_s += 100.0

    assert made.missing(now_s - 40.0) == 1


def test_a_worn_environment_goes_when_another_one_is_ready_in_its_place() -> None:
    made = provision(2, 1, 2)
    made.wear_out({one: float(born) for one, born in zip(ids(1, 2), (0, 50), strict=True)}, born_before_s=10.0)

    assert made.missing(0.0) == 1
    made.add_starting(*ids(3))
    assert made.take_surplus() == [], "until then it serves"
    made.add_ready(*ids(3))
    assert not made.is_surplus(*ids(3))
    assert made.take_surplus() == ids(1)
    made.rest(*ids(3))
    assert (made.missing(0.0), len(made)) == (0, 2)


def test_a_worn_environment_at_work_goes_when_it_is_done_and_no_other_one_for_it() -> None:
    made = provision(1, 1)
    assert made.take_idle() == "e1"
    made.wear_out({EnvironmentId("e1"): 0.0}, born_before_s=10.0)
    become_ready(made, *ids(2))

    assert made.take_surplus() == []
    assert not made.is_surplus(*ids(2))
    assert made.is_surplus(*ids(1))


@given(
    st.lists(st.tuples(st.sampled_from(["want", "start", "ready", "take", "done", "lose", "wear"]), st.integers(0, 9)))
)
def test_whatever_happens_it_comes_to_what_was_requested(steps: list[tuple[str, int]]) -> None:
    """As the manager would: it starts what is missing, stops what is surplus, and in the end all is as requested."""
    made, at_work, numbers = Provision(), set[EnvironmentId](), iter(range(10_000))
    for step, number in [*steps, ("settle", 0)]:
        chosen = sorted(made.starting)[number : number + 1]
        if step == "want":
            made.requested = number
        elif step == "start" and made.missing(0.0):
            made.add_starting(*ids(next(numbers)))
        elif step == "ready" and chosen:
            finish(made, chosen[0])
        elif step == "take" and (taken := made.take_idle()):
            at_work.add(taken)
        elif step == "done" and at_work:
            finish(made, at_work.pop())
        elif step == "lose" and chosen:
            made.remove(chosen[0])
        elif step == "wear":
            made.wear_out(dict.fromkeys(made.ready, 0.0), born_before_s=0.0)
        made.take_surplus()
        assert len(made.ready - at_work) == made.idle
    for one in at_work:
        finish(made, one)
    while made.starting or made.missing(0.0):
        if not made.starting:
            made.add_starting(*ids(next(numbers)))
        finish(made, sorted(made.starting)[0])
        made.take_surplus()

    assert len(made.ready) == made.idle == made.requested


def finish(made: Provision, one: EnvironmentId) -> None:
    made.add_ready(one)
    if made.is_surplus(one):
        made.remove(one)
    else:
        made.rest(one)
