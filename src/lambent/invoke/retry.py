"""When an event is tried again and when it is given up (reference/invocation.md §5). Pure: time and chance come in.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

from __future__ import annotations

from dataclasses import dataclass

from lambent.model.event import Condition

FUNCTION_ERROR_WAITS_S = (60.0, 120.0)
REFUSAL_WAIT_S_MINIMUM = 1.0
REFUSAL_WAIT_S_MAXIMUM = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    maximum_retry_attempts: int = 2
    maximum_event_age_s: int = 21_600


@dataclass(frozen=True, slots=True)
class Wait:
    after_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    condition: Condition


def is_expired(policy: RetryPolicy, age_s: float) -> bool:
    return age_s >= policy.maximum_event_age_s


def after_function_error(policy: RetryPolicy, *, attempts: int, age_s: float) -> Wait | GiveUp:
    """The function has run `attempts` times, the last time in vain.

    An event that would be too old by its next attempt is given up at once, while the function's answer is at hand.
    """
    if attempts > policy.maximum_retry_attempts:
        return GiveUp(Condition.RETRIES_EXHAUSTED)
    wait_s = FUNCTION_ERROR_WAITS_S[min(attempts, len(FUNCTION_ERROR_WAITS_S)) - 1]
    if is_expired(policy, age_s + wait_s):
        return GiveUp(Condition.EVENT_AGE_EXCEEDED)
    return Wait(wait_s)


def after_refusal(policy: RetryPolicy, *, refusals: int, age_s: float, draw: float) -> Wait | GiveUp:
    """Throttled, or a fault of ours, for the `refusals`th time in a row; no attempt of the function is used up."""
    if is_expired(policy, age_s):
        return GiveUp(Condition.EVENT_AGE_EXCEEDED)
    return Wait(min(refusal_wait_s(refusals, draw), policy.maximum_event_age_s - age_s))


def refusal_wait_s(refusals: int, draw: float) -> float:
    """Doubles from one second to five minutes; `draw` (0–1) spreads those who were refused together."""
    doubled = REFUSAL_WAIT_S_MINIMUM * 2 ** min(refusals - 1, 16)
    return float(min(doubled * (1 + draw / 2), REFUSAL_WAIT_S_MAXIMUM))
