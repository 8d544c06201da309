"""The worker manager as the invoker sees it: environments are leased."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from lambent.model.arn import FunctionArn
from lambent.model.invocation import InvokeRequest, InvokeResult, Target
from lambent.model.provisioned import Allocation
from lambent.model.response_stream import ResponseStream
from lambent.ports.worker import Answer


class Lease(Protocol):
    async def invoke(self, request: InvokeRequest) -> InvokeResult | ResponseStream:
        """Run one invocation in the leased environment. Raises PlatformError when it is lost.

        The environment stays taken until the invocation has ended, however soon the lease is left.
        """
        ...


class Manager(Protocol):
    def admit(self, function: FunctionArn) -> None:
        """Count one synchronous request to an unqualified function.

        Raises:
            TooManyRequests: they come faster than its account's or its own reserved concurrency allows.
        """
        ...

    def lease(self, target: Target) -> AbstractAsyncContextManager[Lease]:
        """An environment of the target for one invocation: a warm one, or a new one once its Init is over.

        Raises (on entering):
            TooManyRequests: no concurrency is left, or no room on any worker.
            PlatformError: an environment could not be made.
        """
        ...

    def invoke_nowait(self, target: Target, request: InvokeRequest, answer: Answer) -> bool:
        """Begin an invocation in an idle environment; False when there is none, and one must be leased.

        Raises:
            TooManyRequests: no concurrency is left.
            PlatformError: the environment is lost.
        """
        ...

    def reserve(self, function: FunctionArn, concurrency: int | None) -> None:
        """Note the reserved concurrency of an unqualified function; None for none."""
        ...

    def provision(
        self, function: FunctionArn, wanted: Mapping[str, Sequence[tuple[Target, int]]], *, set_aside: int
    ) -> None:
        """Note what an unqualified function is to have initialised ahead: by qualifier, how many of which targets.

        `set_aside` is how much concurrency they have: less than there are environments while an alias moves.
        """
        ...

    def allocation(self, function: FunctionArn) -> Allocation:
        """How far that has come for a qualified function."""
        ...

    def retire(self, function: FunctionArn, *, keep: Collection[str]) -> None:
        """Let go of a function's environments but those of the pools in `keep`: idle ones now, busy ones when done."""
        ...
