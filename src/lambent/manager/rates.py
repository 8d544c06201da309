"""How fast invokes may come and environments may be added (reference/concurrency-scaling.md §1). Pure: time comes in.

A synchronous invoke counts against ten requests a second for each unit of its account's concurrency, and of its
function's where that is reserved; any invoke against ten a second for each unit that is provisioned. A function may add
a thousand environments at once, and a hundred a second from then.
"""

from __future__ import annotations

import math
from typing import Generic, TypeVar

from lambent.model.arn import FunctionArn
from lambent.model.errors import TooManyRequests

REQUESTS_PER_CONCURRENCY = 10
SCALING_CAPACITY = 1_000
SCALING_PER_S = 100.0
PROVISIONING_PER_S = 100.0
"""6,000 environments a minute and function."""

Key = TypeVar("Key")


class TokenBucket:
    """Begins full, and is refilled continuously, never beyond its capacity."""

    __slots__ = ("_at_s", "_left", "capacity", "per_s")

    def __init__(self, *, capacity: float, per_s: float, now_s: float) -> None:
        self.capacity = capacity
        self.per_s = per_s
        self._left = capacity
        self._at_s = now_s

    def take(self, now_s: float) -> float:
        """Take one token: 0.0 where there was one, else how many seconds are missing until there is."""
        self._refill(now_s)
        if self._left >= 1.0:
            self._left -= 1.0
            return 0.0
        return (1.0 - self._left) / self.per_s

    def is_full(self, now_s: float) -> bool:
        self._refill(now_s)
        return self._left >= self.capacity

    def _refill(self, now_s: float) -> None:
        self._left = min(self.capacity, self._left + (now_s - self._at_s) * self.per_s)
        self._at_s = now_s


class RequestRates:
    """Lets synchronous invokes in, or refuses those beyond the rate."""

    def __init__(self, account_concurrency: int) -> None:
        self._account_rate = float(REQUESTS_PER_CONCURRENCY * account_concurrency)
        self._accounts: _Buckets[tuple[str, str]] = _Buckets()
        self._functions: _Buckets[FunctionArn] = _Buckets()

    def admit(self, function: FunctionArn, reserved: int | None, now_s: float) -> None:
        """Count one request to the (unqualified) function. Zero reserved is not a rate: it is refused elsewhere.

        Raises:
            TooManyRequests: the account's rate, or that of the function's reservation, is used up.
        """
        account = (function.account, function.region)
        wait_s = self._accounts.take(account, self._account_rate, self._account_rate, now_s)
        if wait_s:
            raise throttled("CallerRateLimitExceeded", retry_after_s=wait_s)
        if reserved:
            rate = float(REQUESTS_PER_CONCURRENCY * reserved)
            wait_s = self._functions.take(function, rate, rate, now_s)
            if wait_s:
                raise throttled("ReservedFunctionInvocationRateLimitExceeded", retry_after_s=wait_s)

    def prune(self, now_s: float) -> None:
        """Forget those who have not come for a while."""
        self._accounts.prune(now_s)
        self._functions.prune(now_s)


class ProvisionedRates:
    """Lets invokes use what is provisioned, ten a second for each unit of it; the others spill over."""

    def __init__(self) -> None:
        self._versions: _Buckets[FunctionArn] = _Buckets()

    def admits(self, version: FunctionArn, units: int, now_s: float) -> bool:
        """Count one invoke of a version, if it may."""
        rate = float(REQUESTS_PER_CONCURRENCY * units)
        return units > 0 and not self._versions.take(version, rate, rate, now_s)

    def prune(self, now_s: float) -> None:
        self._versions.prune(now_s)


class ScalingRates:
    """Lets functions add environments, or refuses those beyond the rate."""

    def __init__(self, capacity: float = SCALING_CAPACITY, per_s: float = SCALING_PER_S) -> None:
        self._capacity = capacity
        self._per_s = per_s
        self._functions: _Buckets[FunctionArn] = _Buckets()

    def admit(self, function: FunctionArn, now_s: float) -> None:
        """Count one environment more of the (unqualified) function.

        Raises:
            TooManyRequests: it has added too many of late.
        """
        wait_s = self._functions.take(function, self._capacity, self._per_s, now_s)
        if wait_s:
            raise throttled("FunctionInvocationRateLimitExceeded", retry_after_s=wait_s)

    def prune(self, now_s: float) -> None:
        self._functions.prune(now_s)


def throttled(reason: str, *, retry_after_s: float) -> TooManyRequests:
    """A refusal with AWS's reason; whoever is refused may come again after whole seconds."""
    return TooManyRequests(
        "Rate Exceeded.", Reason=reason, Type="User", retryAfterSeconds=str(max(1, math.ceil(retry_after_s)))
    )


class _Buckets(Generic[Key]):
    """One bucket for each key, made when it is first needed, or when its capacity has changed."""

    def __init__(self) -> None:
        self._buckets: dict[Key, TokenBucket] = {}

    def take(self, key: Key, capacity: float, per_s: float, now_s: float) -> float:
        bucket = self._buckets.get(key)
        if bucket is None or bucket.capacity != capacity:
            bucket = self._buckets[key] = TokenBucket(capacity=capacity, per_s=per_s, now_s=now_s)
        return bucket.take(now_s)

    def prune(self, now_s: float) -> None:
        for key in [key for key, bucket in self._buckets.items() if bucket.is_full(now_s)]:
            del self._buckets[key]
