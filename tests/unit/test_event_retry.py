"""Each row of AWS's table of retries, without a clock (reference/invocation.md §5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.invoke.retry import (
    GiveUp,
    RetryPolicy,
    Wait,
    after_function_error,
    after_refusal,
    is_expired,
    refusal_wait_s,
)
from lambent.model.event import Condition

DEFAULT = RetryPolicy()


def test_a_failed_function_is_tried_again_after_one_minute_and_after_two_more() -> None:
    assert after_function_error(DEFAULT, attempts=1, age_s=0) == Wait(60)
    assert after_function_error(DEFAULT, attempts=2, age_s=61) == Wait(120)
    assert after_function_error(DEFAULT, attempts=3, age_s=182) == GiveUp(Condition.RETRIES_EXHAUSTED)


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (2, 3)])
def test_maximum_retry_attempts_counts_the_attempts_after_the_first(retries: int, attempts: int) -> None:
    policy = RetryPolicy(maximum_retry_attempts=retries)

    for attempt in range(1, attempts):
        assert isinstance(after_function_error(policy, attempts=attempt, age_s=0), Wait)
    assert after_function_error(policy, attempts=attempts, age_s=0) == GiveUp(Condition.RETRIES_EXHAUSTED)


def test_a_retry_that_would_come_too_late_is_given_up_at_once() -> None:
    policy = RetryPolicy(maximum_event_age_s=100)

    assert after_function_error(policy, attempts=1, age_s=39) == Wait(60)
    assert after_function_error(policy, attempts=1, age_s=40) == GiveUp(Condition.EVENT_AGE_EXCEEDED)


def test_an_event_is_kept_for_six_hours_by_default() -> None:
    assert not is_expired(DEFAULT, 6 * 3600 - 1)
    assert is_expired(DEFAULT, 6 * 3600)


def test_a_throttled_event_waits_from_one_second_to_five_minutes_doubling() -> None:
    waits = [refusal_wait_s(refusals, 0) for refusals in range(1, 12)]

    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_a_refusal_is_waited_out_until_the_event_is_too_old_and_not_longer() -> None:
    policy = RetryPolicy(maximum_event_age_s=60)

    assert after_refusal(policy, refusals=1, age_s=0, draw=0) == Wait(1)
    assert after_refusal(policy, refusals=7, age_s=50, draw=0) == Wait(10)
    assert after_refusal(policy, refusals=8, age_s=60, draw=0) == GiveUp(Condition.EVENT_AGE_EXCEEDED)


@given(refusals=st.integers(1, 10_000), draw=st.floats(0, 1))
def test_every_wait_is_between_a_second_and_five_minutes_and_chance_only_lengthens_it(
    refusals: int, draw: float
) -> None:
    wait_s = refusal_wait_s(refusals, draw)

    assert 1 <= refusal_wait_s(refusals, 0) <= wait_s <= min(300, 1.5 * refusal_wait_s(refusals, 0))
