"""Rates of requests and of new environments, at times that the test chooses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.manager.rates import RequestRates, ScalingRates, TokenBucket, throttled
from lambent.model.arn import FunctionArn
from lambent.model.errors import TooManyRequests

FUNCTION = FunctionArn("us-east-1", "000000000000", "f")
OTHER = FunctionArn("us-east-1", "000000000000", "g")
STRANGER = FunctionArn("us-east-1", "111111111111", "f")


def reason(refusal: pytest.ExceptionInfo[TooManyRequests]) -> str:
    return refusal.value.fields["Reason"]


def admitted(rates: ScalingRates, function: FunctionArn, now_s: float, *, at_most: int = 2_000) -> int:
    for count in range(at_most):
        try:
            rates.admit(function, now_s)
        except TooManyRequests:
            return count
    return at_most


def test_a_function_adds_a_thousand_environments_at_once_and_a_hundred_a_second_from_then() -> None:
    rates = ScalingRates()

    assert admitted(rates, FUNCTION, 0.0) == 1_000
    assert admitted(rates, FUNCTION, 1.0) == 100
    assert admitted(rates, FUNCTION, 11.0) == 1_000
    assert admitted(rates, OTHER, 11.0) == 1_000, "each function has a rate of its own"


def test_credit_that_is_not_used_does_not_accumulate() -> None:
    rates = ScalingRates()
    admitted(rates, FUNCTION, 0.0)

    assert admitted(rates, FUNCTION, 3_600.0) == 1_000


def test_a_function_that_scales_too_fast_is_told_so_and_when_to_come_again() -> None:
    rates = ScalingRates()
    admitted(rates, FUNCTION, 0.0)

    with pytest.raises(TooManyRequests) as refusal:
        rates.admit(FUNCTION, 0.0)

    assert reason(refusal) == "FunctionInvocationRateLimitExceeded"
    assert refusal.value.fields["retryAfterSeconds"] == "1"


def test_a_reservation_allows_ten_requests_a_second_for_each_of_its_units() -> None:
    rates = RequestRates(account_concurrency=1_000)
    for _ in range(20):
        rates.admit(FUNCTION, 2, 0.0)

    with pytest.raises(TooManyRequests) as refusal:
        rates.admit(FUNCTION, 2, 0.0)

    assert reason(refusal) == "ReservedFunctionInvocationRateLimitExceeded"
    rates.admit(OTHER, None, 0.0)
    rates.admit(FUNCTION, 2, 0.05)


def test_a_changed_reservation_counts_at_once() -> None:
    rates = RequestRates(account_concurrency=1_000)
    for _ in range(10):
        rates.admit(FUNCTION, 1, 0.0)

    rates.admit(FUNCTION, 3, 0.0)
    rates.admit(FUNCTION, None, 0.0)


def test_zero_reserved_is_left_to_the_concurrency_to_refuse() -> None:
    RequestRates(account_concurrency=1).admit(FUNCTION, 0, 0.0)


def test_an_account_has_ten_requests_a_second_for_each_unit_of_its_concurrency() -> None:
    rates = RequestRates(account_concurrency=1)
    for function in [FUNCTION, OTHER] * 5:
        rates.admit(function, None, 0.0)

    with pytest.raises(TooManyRequests) as refusal:
        rates.admit(FUNCTION, None, 0.0)

    assert reason(refusal) == "CallerRateLimitExceeded"
    rates.admit(STRANGER, None, 0.0)


def test_who_has_not_come_for_a_while_is_forgotten_without_a_change_of_its_rate() -> None:
    rates = ScalingRates()
    rates.admit(FUNCTION, 0.0)
    admitted(rates, OTHER, 0.0)
    rates.prune(1.0)

    assert admitted(rates, FUNCTION, 1.0) == 1_000
    assert admitted(rates, OTHER, 1.0) == 100


def test_a_refusal_says_whole_seconds_and_never_none() -> None:
    assert throttled("r", retry_after_s=0.01).fields["retryAfterSeconds"] == "1"
    assert throttled("r", retry_after_s=2.5).fields["retryAfterSeconds"] == "3"


@given(st.lists(st.floats(0.0, 5.0), max_size=200))
def test_a_bucket_never_gives_more_than_its_capacity_and_what_came_since(pauses: list[float]) -> None:
    bucket, now_s, given_out = TokenBucket(capacity=5.0, per_s=2.0, now_s=0.0), 0.0, 0
    for pause in pauses:
        now_s += pause
        given_out += bucket.take(now_s) == 0.0

    assert given_out <= 5.0 + 2.0 * now_s + 1e-6


@given(st.floats(0.0, 10.0))
def test_after_the_time_told_there_is_a_token(emptied_s: float) -> None:
    bucket = TokenBucket(capacity=1.0, per_s=0.5, now_s=0.0)
    bucket.take(emptied_s)

    wait_s = bucket.take(emptied_s)
    assert wait_s > 0.0
    assert bucket.take(emptied_s + wait_s + 1e-9) == 0.0
