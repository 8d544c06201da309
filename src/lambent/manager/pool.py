"""The environments of one version: who is idle, who waits, and whether a new one is needed. It starts nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from lambent.manager.keep_alive import Habit, Idle
from lambent.manager.placement import Footprint
from lambent.manager.provision import Provision
from lambent.model.arn import FunctionArn
from lambent.model.function import FunctionVersion
from lambent.model.invocation import EnvironmentId


@dataclass(slots=True, eq=False)
class Pool:
    """`idle` is a stack, so that the most recently used environment is used again and the others can grow old."""

    version: FunctionVersion
    footprint: Footprint
    habit: Habit | None = None
    """Its function's; None where all are kept for the same time."""
    idle: dict[EnvironmentId, Idle] = field(default_factory=dict)
    waiters: deque[asyncio.Future[EnvironmentId]] = field(default_factory=deque)
    starting: set[EnvironmentId] = field(default_factory=set)
    responded: set[EnvironmentId] = field(default_factory=set)
    """Environments whose caller has its answer and whose runtime is about to ask for more."""
    waits_for_responded: int = 0
    """How many invokes have waited for one of those, since it was last looked."""
    provision: Provision = field(default_factory=Provision)
    """Environments that are not among the others, unless an invoke that waits gets one."""
    is_retired: bool = False
    function: FunctionArn = field(init=False)
    """Unqualified. The counters want it several times for each invoke."""

    def __post_init__(self) -> None:
        self.function = self.version.arn

    def take_idle(self) -> EnvironmentId | None:
        return self.idle.popitem()[0] if self.idle else None

    def next_waiter(self) -> asyncio.Future[EnvironmentId] | None:
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def forget(self, waiter: asyncio.Future[EnvironmentId]) -> None:
        """The waiter has given up."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)

    def is_starting(self, environment_id: EnvironmentId) -> bool:
        return environment_id in self.starting or environment_id in self.provision.starting

    @property
    def shortage(self) -> int:
        """By how many those who wait outnumber the environments that are starting."""
        return len(self.waiters) - len(self.starting)

    @property
    def is_empty(self) -> bool:
        return not (self.idle or self.waiters or self.starting or self.responded or self.provision.requested)
