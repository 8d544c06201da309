"""Concurrency as AWS counts it: per account, and per function where concurrency is reserved. Pure."""

from __future__ import annotations

from collections import Counter

from lambent.manager.rates import throttled
from lambent.model.arn import FunctionArn

_RETRY_AFTER_S = 1.0
"""When an invoke that runs now will end nobody knows."""


class ConcurrencyCounter:
    """Invocations in flight. A reservation is both a guarantee and a cap (reference/concurrency-scaling.md §2)."""

    def __init__(self, account_limit: int) -> None:
        self._account_limit = account_limit
        self._in_flight: Counter[FunctionArn] = Counter()
        self._unreserved: Counter[tuple[str, str]] = Counter()
        self._reserved: dict[FunctionArn, int] = {}
        self._reserved_sum: Counter[tuple[str, str]] = Counter()

    def reserve(self, function: FunctionArn, amount: int | None) -> None:
        """Note a function's reserved concurrency, None for none. What already runs is counted on the right side."""
        account = (function.account, function.region)
        before = self._reserved.pop(function, None)
        if before == amount:
            if before is not None:
                self._reserved[function] = before
            return
        self._reserved_sum[account] -= before or 0
        if amount is not None:
            self._reserved[function] = amount
            self._reserved_sum[account] += amount
        if (before is None) != (amount is None):
            running = self._in_flight[function]
            self._unreserved[account] += running if amount is None else -running

    def acquire(self, function: FunctionArn) -> None:
        """Count one more invocation of the (unqualified) function.

        Raises:
            TooManyRequests: the function's reservation or the account's unreserved concurrency is used up.
        """
        reserved = self._reserved.get(function)
        if reserved is not None:
            if self._in_flight[function] >= reserved:
                raise throttled("ReservedFunctionConcurrentInvocationLimitExceeded", retry_after_s=_RETRY_AFTER_S)
        else:
            account = (function.account, function.region)
            if self._unreserved[account] >= self._account_limit - self._reserved_sum[account]:
                raise throttled("ConcurrentInvocationLimitExceeded", retry_after_s=_RETRY_AFTER_S)
            self._unreserved[account] += 1
        self._in_flight[function] += 1

    def release(self, function: FunctionArn) -> None:
        self._in_flight[function] -= 1
        if function not in self._reserved:
            self._unreserved[(function.account, function.region)] -= 1
        if not self._in_flight[function]:
            del self._in_flight[function]

    def reserved(self, function: FunctionArn) -> int | None:
        return self._reserved.get(function)

    def in_flight(self, function: FunctionArn) -> int:
        return self._in_flight[function]
