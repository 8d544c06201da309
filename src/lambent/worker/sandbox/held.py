"""A slot in sandboxd's loop, and whose it is.

    blank ──► unborn ──► born ──► booted ──► the function's
                │  ▲       │        │           │
                │  └───────┴────────┴───────────┴── ended, and booted again
                └──► gone, for its PID 1 was never born

Unborn: a PID 1 is asked for, in `births`. Born: it runs, and `generations` hears it. What follows from either is its
owner's to say: `shelf` while it is nobody's, then `wanted`.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lambent.model.errors import PlatformError
from lambent.worker.sandbox.plan import ProcessPlan, SandboxPlan
from lambent.worker.sandbox.slot import Slot
from lambent.worker.sandbox.walls import StepFailed
from lambent.worker.sandbox.wire import ExitStatus


class Owner(Protocol):
    """Who is told what becomes of a slot."""

    def unborn(self, held: Held, failure: StepFailed) -> None:
        """There is no PID 1, and will be none."""

    def booted(self, held: Held) -> None:
        """The generation stands."""

    def failed(self, held: Held, failure: StepFailed) -> None:
        """It does not, and is about to end."""

    def bereft(self, held: Held) -> None:
        """The child that waited to be a runtime has ended before it was one."""

    def exited(self, held: Held, name: str, status: ExitStatus) -> None:
        """A process inside has ended."""

    def ended(self, held: Held) -> None:
        """The generation is gone, or was no longer wanted when it was to be born."""


@dataclass(slots=True, eq=False)
class Unborn:
    """A PID 1 that is wanted."""

    control: socket.socket | None = None
    """Our end of its wire, once a zygote was asked."""
    zygotes_lost: int = 0
    """How many plain zygotes ended when it was its turn."""
    is_unwanted: bool = False

    def forget_control(self) -> None:
        if self.control is not None:
            self.control.close()
            self.control = None


@dataclass(slots=True, eq=False)
class Held:
    """A slot in the loop: what is wanted of it next."""

    slot: Slot
    owner: Owner
    plan: SandboxPlan | None = None
    """Whose it is; None while it is nobody's yet."""
    unborn: Unborn | None = None
    is_ending: bool = False
    processes: Sequence[ProcessPlan] = ()
    boots_left: int = 0
    """How often a boot that is killed from outside is tried again; 0 once booted."""

    @property
    def sandbox_id(self) -> str:
        return self.plan.sandbox_id if self.plan is not None else ""

    @property
    def is_running(self) -> bool:
        """Its owner will be told of an end."""
        return self.unborn is not None or self.slot.generation is not None

    def kill(self) -> None:
        """Its owner is told when it has ended, unless nothing runs and nothing will."""
        if self.unborn is not None:
            self.unborn.is_unwanted = True
        elif self.slot.generation is not None:
            self.slot.generation.is_killed = True
            self.slot.kill()


def step_and_error(exc: StepFailed | PlatformError | OSError) -> tuple[str, str]:
    """What to tell the server."""
    return (exc.step, str(exc.error)) if isinstance(exc, StepFailed) else ("make sandbox", str(exc))
