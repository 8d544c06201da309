"""How many sandboxes stand ready, decided from how many were wanted of late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lambent.worker.sandbox.slot import Shape
from lambent.worker.sandbox.spares import Demand

HELLO, SDK = Shape.usual("python3.12"), Shape.usual("python3.12+sdk")


def demand(maximum: int, *taken: tuple[Shape, float], reserve: int = 0) -> Demand[Shape]:
    made: Demand[Shape] = Demand(maximum, reserve=reserve)
    for shape, now_s in taken:
        made.took(shape, now_s=now_s)
    return made


def test_nothing_stands_ready_before_anything_was_wanted() -> None:
    assert demand(16).wanted(now_s=0.0) == {}


def test_what_was_wanted_once_stands_ready_twice() -> None:
    assert demand(16, (HELLO, 0.0)).wanted(now_s=60.0) == {HELLO: 2}


def test_the_reserve_stands_ready_once_anything_was_wanted() -> None:
    wanted = demand(16, (HELLO, 0.0), reserve=8)

    assert wanted.kept(now_s=599.0) == {HELLO: 8}
    assert wanted.kept(now_s=600.0) == {}


def test_what_is_expected_again_and_again_stands_ready_twice() -> None:
    expecting = demand(16)
    for number in range(10):
        expecting.expect(HELLO, now_s=0.1 * number)

    assert expecting.wanted(now_s=1.0) == {HELLO: 2}


def test_all_kinds_have_a_like_part_of_the_reserve() -> None:
    wanted = demand(16, *[(HELLO, 0.1 * number) for number in range(10)], (SDK, 1.0), reserve=8)

    assert wanted.kept(now_s=1.5) == {SDK: 4, HELLO: 10}


def test_at_least_two_stand_ready_of_each_kind() -> None:
    assert demand(4, (HELLO, 0.0), (SDK, 1.0), reserve=2).kept(now_s=1.5) == {SDK: 2, HELLO: 2}


def test_as_many_stand_ready_as_were_wanted_at_once_in_the_last_ten_minutes() -> None:
    wanted = demand(16, *[(HELLO, 0.1 * number) for number in range(10)])

    assert wanted.wanted(now_s=1.0) == {HELLO: 10}
    assert wanted.wanted(now_s=600.0) == {HELLO: 10}
    assert wanted.wanted(now_s=601.0) == {}


def test_those_who_come_one_after_the_other_are_no_crowd() -> None:
    wanted = demand(16, *[(HELLO, 2.0 * number) for number in range(10)])

    assert wanted.wanted(now_s=19.0) == {HELLO: 2}


def test_the_largest_crowd_is_forgotten_before_a_smaller_one_that_came_later() -> None:
    wanted = demand(16, *[(HELLO, 0.0)] * 13, *[(HELLO, 100.0)] * 9, *[(HELLO, 200.0)] * 11)

    assert [wanted.wanted(now_s=now_s) for now_s in (201.0, 601.0, 799.0, 801.0)] == [
        {HELLO: 13},
        {HELLO: 11},
        {HELLO: 11},
        {},
    ]


def test_one_stands_ready_for_each_first_call_that_is_expected() -> None:
    expecting = demand(16, (HELLO, 0.0))
    for number in range(14):
        expecting.expect_one_more(HELLO, now_s=10.0 * number)

    assert expecting.wanted(now_s=131.0) == {HELLO: 14}
    for number in range(4):
        expecting.took(HELLO, now_s=140.0 + 3.0 * number)
    assert expecting.wanted(now_s=150.0) == {HELLO: 10}, "those that were called are no longer expected"
    assert expecting.wanted(now_s=641.0) == {HELLO: 9}
    assert expecting.wanted(now_s=749.0) == {}, "they were not called in ten minutes"


def test_of_what_weighs_more_fewer_stand_ready_but_never_fewer_than_two() -> None:
    weighed: Demand[Shape] = Demand(16, lambda shape: 4 if shape == SDK else 16)
    for _ in range(10):
        weighed.took(HELLO, now_s=0.0)
        weighed.took(SDK, now_s=0.0)

    assert weighed.wanted(now_s=1.0) == {HELLO: 2, SDK: 4}


def test_what_nobody_wants_any_more_does_not_stand_ready() -> None:
    wanted = demand(16, (HELLO, 0.0), (SDK, 500.0))

    assert wanted.wanted(now_s=601.0) == {SDK: 2}


def test_what_was_wanted_last_comes_first_when_there_cannot_be_all() -> None:
    wanted = demand(3, (HELLO, 0.0), (HELLO, 0.1), (SDK, 1.0))

    assert wanted.wanted(now_s=1.5) == {SDK: 2, HELLO: 1}


def test_the_reserve_of_what_weighs_more_is_smaller() -> None:
    weighed: Demand[Shape] = Demand(48, lambda shape: 4, reserve=24)
    weighed.took(HELLO, now_s=0.0)

    assert weighed.kept(now_s=1.0) == {HELLO: 6}


def test_without_spares_nothing_ever_stands_ready() -> None:
    assert demand(0, (HELLO, 0.0)).wanted(now_s=0.1) == {HELLO: 0}


@given(
    st.integers(0, 8),
    st.lists(st.tuples(st.sampled_from([HELLO, SDK]), st.floats(0, 1000), st.booleans()), max_size=40),
    st.floats(0, 2000),
)
def test_there_are_never_more_than_the_maximum(
    maximum: int, events: list[tuple[Shape, float, bool]], now_s: float
) -> None:
    history = demand(maximum, reserve=maximum // 2)
    for shape, at_s, is_expected in sorted(events, key=lambda one: one[1]):
        (history.expect_one_more if is_expected else history.took)(shape, now_s=at_s)

    wanted, kept = history.wanted(now_s=now_s), history.kept(now_s=now_s)
    assert sum(kept.values()) <= maximum
    assert all(kept[shape] >= count for shape, count in wanted.items())
