"""Generations of processes, from birth to death: what each PID 1 says, and when it is reaped.

What it says is an attacker's word, for it runs beside the function: it counts only where it is about itself.
"""

from __future__ import annotations

import os
import selectors
from contextlib import suppress

from lambent.worker.sandbox import wire
from lambent.worker.sandbox.held import Held
from lambent.worker.sandbox.walls import StepFailed


class Generations:
    """Those that run."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._by_pid: dict[int, Held] = {}
        self._ended_early: set[int] = set()
        """Reaped before their zygotes have told that they were born."""

    def born(self, held: Held) -> None:
        """A slot's generation has begun."""
        generation = held.slot.generation
        assert generation is not None
        self._by_pid[generation.pid] = held
        self._selector.register(generation.control, selectors.EVENT_READ, held)
        if generation.pid in self._ended_early:
            self._ended_early.discard(generation.pid)
            self.reaped(generation.pid)

    def hear(self, held: Held) -> None:
        """One message of a PID 1; its end is noticed when it is reaped."""
        generation = held.slot.generation
        if generation is None:
            return
        try:
            received = wire.receive_report(generation.control)
        except wire.Garbled:  # whoever sends this is no longer ours
            received = None
            held.slot.kill()
        if received is None:
            self._selector.unregister(generation.control)
            return
        report, descriptors = received
        for descriptor in descriptors:
            os.close(descriptor)
        self._tell_owner(held, report)

    def _tell_owner(self, held: Held, report: wire.Report) -> None:
        generation = held.slot.generation
        assert generation is not None
        match report:
            case wire.Booted() if generation.is_killed:
                pass
            case wire.Booted() if not generation.is_assigned:
                held.owner.booted(held)
            case wire.Exited(name=name) if generation.bury(name):
                held.owner.bereft(held)
            case wire.Exited(name=name, status=status):
                held.owner.exited(held, name, status)
            case wire.Failed(step=at, error=error):
                held.owner.failed(held, StepFailed(at, OSError(error)))
            case _:
                held.slot.kill()

    def reaped(self, pid: int) -> bool:
        """Whether a child of ours that has ended was somebody's PID 1."""
        held = self._by_pid.pop(pid, None)
        if held is None:
            return False
        generation = held.slot.generation
        assert generation is not None
        while generation.control in self._selector.get_map():  # what it said last comes before its end
            self.hear(held)
        generation.close()
        held.slot.generation = None
        held.owner.ended(held)
        return True

    def reaped_unknown(self, pid: int, *, may_be_born: bool) -> None:
        """A child of ours has ended whom nobody knows; if any are about to be told of, it may be one of those."""
        if may_be_born:
            self._ended_early.add(pid)
        else:
            self._ended_early.clear()

    def close(self) -> None:
        """Kill all, and wait until we have no child left."""
        for held in self._by_pid.values():
            held.slot.kill()
        with suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        for held in self._by_pid.values():
            if held.slot.generation is not None:
                held.slot.generation.close()
