"""Concurrency as AWS counts it: per account, and per function where concurrency is reserved. Pure."""

from __future__ import annotations

from collections import defaultdict

from lambent.manager.rates import throttled
from lambent.model.arn import FunctionArn

_RETRY_AFTER_S = 1.0
"""When an invoke that runs now will end nobody knows."""


class ConcurrencyCounter:
    """Invocations in flight on demand. A reservation is both a guarantee and a cap (concurrency-scaling.md §2).

    What is provisioned is set aside, within the function's reservation or else from the account's concurrency: invokes
    in provisioned environments are not counted here.
    """

    def __init__(self, account_limit: int) -> None:
        self._account_limit = account_limit
        self._in_flight: defaultdict[FunctionArn, int] = defaultdict(int)
        self._unreserved: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._reserved: dict[FunctionArn, int] = {}
        self._provisioned: dict[FunctionArn, int] = {}
        self._set_aside: defaultdict[tuple[str, str], int] = defaultdict(int)

    def reserve(self, function: FunctionArn, amount: int | None) -> None:
        """Note a function's reserved concurrency, None for none. What already runs is counted on the right side."""
        account = (function.account, function.region)
        before, aside = self._reserved.get(function), self._aside(function)
        if amount is None:
            self._reserved.pop(function, None)
        else:
            self._reserved[function] = amount
        self._set_aside[account] += self._aside(function) - aside
        if (before is None) != (amount is None):
            running = self.in_flight(function)
            self._unreserved[account] += running if amount is None else -running

    def provision(self, function: FunctionArn, amount: int) -> None:
        """Note a function's provisioned concurrency, of all its versions together."""
        aside = self._aside(function)
        if amount:
            self._provisioned[function] = amount
        else:
            self._provisioned.pop(function, None)
        self._set_aside[(function.account, function.region)] += self._aside(function) - aside

    def acquire(self, function: FunctionArn) -> None:
        """Count one more invocation of the (unqualified) function.

        Raises:
            TooManyRequests: the function's reservation or the account's unreserved concurrency is used up.
        """
        reserved = self._reserved.get(function)
        if reserved is not None:
            if self.in_flight(function) >= reserved - self._provisioned.get(function, 0):
                raise throttled("ReservedFunctionConcurrentInvocationLimitExceeded", retry_after_s=_RETRY_AFTER_S)
        else:
            account = (function.account, function.region)
            if self._unreserved[account] >= self._account_limit - self._set_aside[account]:
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
        return self._in_flight.get(function, 0)

    def _aside(self, function: FunctionArn) -> int:
        """What others of the account cannot have because of this function."""
        reserved = self._reserved.get(function)
        return self._provisioned.get(function, 0) if reserved is None else reserved
