"""How long idle environments are kept, and when they are made before their call."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_manager import TARGET

from lambent.manager.keep_alive import Habit, Habits, Idle, IdleTimes, Window, expired
from lambent.model.invocation import EnvironmentId, Target

FIXED_S = 600.0
FIXED = Window(0.0, FIXED_S)
MINUTE = 60.0


def learned(*idle_minutes: float) -> IdleTimes:
    """As noted by someone who looks at the window after each."""
    times = IdleTimes()
    for minutes in idle_minutes:
        times.note(minutes * MINUTE)
        times.window(FIXED_S)
    return times


def habit_of(name: str) -> Target:
    return Target(version=replace(TARGET.version, name=name), pool_key=name)


def test_an_environment_expires_outside_its_window() -> None:
    old, young = Idle(EnvironmentId("old"), 0.0), Idle(EnvironmentId("young"), 9.0)

    assert expired([old, young], now_s=10.0, window=Window(0.0, 5.0)) == [old]
    assert expired([old, young], now_s=10.0, window=Window(2.0, 50.0)) == [young]


def test_few_idle_times_say_nothing() -> None:
    assert learned(*[30.5] * 9).window(FIXED_S) == FIXED
    assert learned(*[30.5] * 10).window(FIXED_S) != FIXED


def test_idle_times_that_are_anywhere_say_nothing() -> None:
    assert learned(*range(1, 240, 2)).window(FIXED_S) == FIXED
    assert learned(*range(1, 240, 20)).window(FIXED_S) == FIXED


def test_idle_times_mostly_beyond_the_histogram_say_nothing() -> None:
    assert learned(*[300.0] * 11, *[30.5] * 10).window(FIXED_S) == FIXED


def test_a_function_called_every_half_hour_is_made_anew_a_little_before() -> None:
    assert learned(*[30.5] * 20).window(FIXED_S) == Window(pytest.approx(27 * MINUTE), pytest.approx(34.1 * MINUTE))


def test_a_function_called_again_at_once_is_kept_for_little_more_than_that() -> None:
    assert learned(*[0.1] * 20).window(FIXED_S) == Window(0.0, pytest.approx(66.0))


def test_what_saves_less_than_it_costs_is_kept_throughout() -> None:
    assert learned(*[1.5] * 20).window(FIXED_S) == Window(0.0, pytest.approx(132.0))


def test_the_rare_early_call_does_not_move_the_head_and_the_rare_late_one_not_the_tail() -> None:
    times = learned(*[30.5] * 480, *[1.0] * 12, *[200.0] * 2)
    times.note(30.5 * MINUTE)

    assert times.window(FIXED_S).until_s == pytest.approx(34.1 * MINUTE)


def test_a_window_that_keeps_missing_is_trusted_no_more_until_it_would_hit_again() -> None:
    times = learned(*[30.5] * 60)
    assert times.window(FIXED_S).from_s

    for _ in range(3):
        times.note(1.0)
        times.window(FIXED_S)
    assert times.window(FIXED_S).from_s == 0.0

    times.note(30.5 * MINUTE)
    assert times.window(FIXED_S).from_s


def test_old_habits_are_forgotten() -> None:
    times = learned(*[30.5] * 1_000)

    for _ in range(6_000):
        times.note(5.5 * MINUTE)

    assert times.window(FIXED_S).until_s == pytest.approx(6.6 * MINUTE)


@given(st.lists(st.floats(0.0, 100_000.0), max_size=80))
def test_every_window_has_a_beginning_and_a_later_end(idle_s: list[float]) -> None:
    times = IdleTimes()
    for one in idle_s:
        times.note(one)
        window = times.window(FIXED_S)
        assert 0.0 <= window.from_s < window.until_s <= 240 * 60 * 1.1 + 1


def test_only_the_time_in_which_nothing_runs_is_idle() -> None:
    habit = Habit(TARGET)
    for start_s in (0.0, 1_830.0):
        habit.begin(start_s)
        habit.begin(start_s + 1)
        habit.end(start_s + 2)
        habit.begin(start_s + 3)
        habit.end(start_s + 20)
        habit.end(start_s + 30)

    noted = IdleTimes()
    noted.note(1_800.0)
    assert habit.idle_times._bins == noted._bins


def expecting(habits: Habits) -> Habit:
    habit = habits.of(TARGET)
    habit.idle_times = learned(*[30.5] * 20)
    habit.begin(0.0)
    habit.end(0.0)
    habits.expect(habit, 27 * MINUTE)
    return habit


def test_a_call_is_expected_once_and_not_before_its_time() -> None:
    habits = Habits()
    habit = expecting(habits)

    assert habits.due(26 * MINUTE, FIXED_S) == []
    assert habits.due(27.1 * MINUTE, FIXED_S) == [habit]
    assert habits.due(27.2 * MINUTE, FIXED_S) == []


def test_a_function_that_was_called_meanwhile_or_deleted_is_not_expected() -> None:
    called, deleted = Habits(), Habits()
    expecting(called).begin(MINUTE)
    expecting(deleted)
    deleted.forget(TARGET.version.arn)

    assert called.due(28 * MINUTE, FIXED_S) == deleted.due(28 * MINUTE, FIXED_S) == []


def test_the_habits_of_those_not_called_for_longest_are_forgotten() -> None:
    habits = Habits(maximum=2)
    first, _ = habits.of(habit_of("a")), habits.of(habit_of("b"))
    habits.of(habit_of("a"))
    habits.of(habit_of("c"))

    assert habits.of(habit_of("a")) is first
    second = habits.of(habit_of("b"))
    assert second.ended_s is None


def test_habits_survive_an_update() -> None:
    habits = Habits()
    habit = habits.of(TARGET)
    updated = replace(TARGET, pool_key="updated")

    assert habits.of(updated) is habit
    assert habit.target is updated
