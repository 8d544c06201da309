"""The sandboxes that the server has asked for, from its request to their end."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress

from lambent.model.errors import PlatformError
from lambent.worker.sandbox import wire
from lambent.worker.sandbox.births import Births
from lambent.worker.sandbox.held import Held, step_and_error
from lambent.worker.sandbox.plan import SandboxPlan
from lambent.worker.sandbox.restores import Restores
from lambent.worker.sandbox.slot import Shape
from lambent.worker.sandbox.stock import Stock
from lambent.worker.sandbox.walls import StepFailed

_BOOTS_MAXIMUM = 3


class Wanted:
    """Those that somebody wants, by their ids; their owner."""

    def __init__(
        self, server: socket.socket, stock: Stock, births: Births, restores: Restores, chores: deque[Generator[None]]
    ) -> None:
        self._server = server
        self._stock = stock
        self._births = births
        self._restores = restores
        self._chores = chores
        self._held: dict[str, Held] = {}

    def __contains__(self, sandbox_id: str) -> bool:
        return sandbox_id in self._held

    def close(self) -> None:
        """Give all back; nothing runs in them any more."""
        for held in self._held.values():
            held.slot.close()

    # Requests ---------------------------------------------------------------------------------------------------------

    def make(self, shape: Shape, plan: SandboxPlan) -> None:
        """Make a sandbox on the spot.

        Raises:
            StepFailed, PlatformError: nothing is left of it.
        """
        held = Held(self._stock.make_now(shape), self, plan, processes=plan.processes, boots_left=_BOOTS_MAXIMUM)
        self._held[plan.sandbox_id] = held
        self._boot(held)

    def take(self, held: Held, plan: SandboxPlan) -> None:
        """Have a sandbox that stands ready become the function's."""
        self._held[plan.sandbox_id] = held
        held.owner, held.plan, held.processes, held.boots_left = self, plan, plan.processes, _BOOTS_MAXIMUM
        self.booted(held)

    def claim(self, held: Held, plan: SandboxPlan) -> None:
        """Have a sandbox that is about to stand ready become the function's once it does."""
        self._held[plan.sandbox_id] = held
        held.owner, held.plan, held.processes, held.boots_left = self, plan, plan.processes, _BOOTS_MAXIMUM - 1
        try:
            held.slot.hasten()
        except StepFailed as failure:
            self._fail(held, failure)
            held.kill()

    def obey(self, request: wire.OfSandbox, descriptors: Sequence[int]) -> None:
        """What can be asked of a sandbox. One that has ended in the meantime is about to be read of."""
        held = self._held.get(request.sandbox_id)
        if held is None:
            if isinstance(request, wire.Destroy):
                self._tell(wire.Destroyed(sandbox_id=request.sandbox_id))
            return
        generation = held.slot.generation
        match request:
            case wire.Destroy():
                self._destroy(held)
            case wire.Reboot():
                self._reboot(held, request)
            case wire.Kill():
                held.boots_left = 0
                held.kill()
            case wire.OpenSocket():
                self._open_socket(held)
            case wire.Spawn() if generation is not None:
                held.slot.start([request.process], descriptors)
            case wire.Signal() | wire.Freeze() if generation is not None:
                with suppress(BrokenPipeError):  # dead, but not yet reaped
                    wire.send(generation.control, request)
            case wire.MakeTemplate() if generation is not None and held.plan is not None:
                self._restores.make_template(held.plan, held.slot)
            case _:
                pass

    def _open_socket(self, held: Held) -> None:
        opened = wire.SocketOpened(sandbox_id=held.sandbox_id)
        try:
            with held.slot.open_socket() as made:
                wire.send(self._server, opened, [made.fileno()])
        except OSError:  # too many descriptors: the subscriber that it is for must do without
            wire.send(self._server, opened)

    def _destroy(self, held: Held) -> None:
        if held.is_ending:
            return
        held.is_ending = True
        if held.is_running:
            held.kill()
        else:
            self._release(held)

    def _reboot(self, held: Held, request: wire.Reboot) -> None:
        held.processes, held.boots_left = request.processes, _BOOTS_MAXIMUM
        self._boot_again(held)

    def _boot_again(self, held: Held) -> None:
        try:
            held.slot.reset()
        except StepFailed as failure:
            self.unborn(held, failure)
        else:
            self._boot(held)

    def _boot(self, held: Held) -> None:
        held.boots_left -= 1
        self._births.ask(held)

    # Their owner ------------------------------------------------------------------------------------------------------

    def unborn(self, held: Held, failure: StepFailed) -> None:
        self._fail(held, failure)
        self._mourn(held)

    def booted(self, held: Held) -> None:
        """It becomes the function's."""
        if held.is_ending:
            return
        assert held.plan is not None
        held.boots_left = 0
        try:
            held.slot.assign(held.plan, held.processes)
        except (StepFailed, PlatformError) as failure:
            self._fail(held, failure)
            held.kill()
            return
        if held.slot.is_handed_over:
            held.slot.tell_booted(self._server, held.sandbox_id)
        else:
            held.slot.hand_over(self._server, held.sandbox_id)

    def failed(self, held: Held, failure: StepFailed) -> None:
        held.boots_left = 0
        self._fail(held, failure)

    def bereft(self, held: Held) -> None:
        """What was to be forked will be, from its PID 1."""

    def exited(self, held: Held, name: str, status: wire.ExitStatus) -> None:
        if not self._restores.told_of_end(held.sandbox_id, name, status):
            self._tell(wire.Exited(sandbox_id=held.sandbox_id, name=name, status=status))

    def ended(self, held: Held) -> None:
        if held.boots_left > 0 and not held.is_ending:  # somebody outside killed it before it was anything
            self._boot_again(held)
            return
        if not held.slot.is_handed_over and not held.is_ending:
            self._fail(held, PlatformError("its first process died"))
        self._mourn(held)
        self._restores.template_died(held.sandbox_id)  # who waits for it is to know why, and has another made

    def _fail(self, held: Held, failure: StepFailed | PlatformError) -> None:
        """Who waits for it hears of the failure. What was never handed over has to go."""
        held.is_ending = held.is_ending or not held.slot.is_handed_over
        at, error = step_and_error(failure)
        self._tell(wire.Failed(sandbox_id=held.sandbox_id, step=at, error=error))

    def _mourn(self, held: Held) -> None:
        self._tell(wire.Died(sandbox_id=held.sandbox_id))
        if held.is_ending:
            self._release(held)

    def _release(self, held: Held) -> None:
        self._chores.append(self._releasing(held))

    def _releasing(self, held: Held) -> Generator[None]:
        try:
            yield from self._stock.taking_back(held.slot)
        finally:
            self._held.pop(held.sandbox_id, None)
        self._tell(wire.Destroyed(sandbox_id=held.sandbox_id))

    def _tell(self, report: wire.Report) -> None:
        wire.send(self._server, report)
