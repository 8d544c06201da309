"""sandboxd's part in SnapStart: templates and their midwives, and the sandboxes that are forked from them.

None of it waits: what a template does between two forks takes as long as it takes, and meanwhile its midwife has it.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass

from lambent.model.errors import PlatformError
from lambent.model.limits import EPHEMERAL_STORAGE_MIB_MINIMUM, PROCESSES
from lambent.worker.sandbox import midwife, templates, wire
from lambent.worker.sandbox.held import step_and_error
from lambent.worker.sandbox.host import Host
from lambent.worker.sandbox.midwife import Home
from lambent.worker.sandbox.plan import SandboxPlan
from lambent.worker.sandbox.restored import RestoredSlot
from lambent.worker.sandbox.slot import Shape, Slot
from lambent.worker.sandbox.spares import Demand
from lambent.worker.sandbox.templates import Born, Failed, Resting, Template, Watching
from lambent.worker.sandbox.walls import StepFailed

log = logging.getLogger(__name__)

_SHAPE = Shape(zygote=None, ephemeral_storage_mib=EPHEMERAL_STORAGE_MIB_MINIMUM, pids_maximum=PROCESSES)
"""The only one: versions with SnapStart cannot have a larger /tmp."""
_INDEXES_KEPT = 256
"""Places that are never taken by sandboxes that nobody wants yet."""
_RUNTIME = "runtime"


@dataclass(slots=True, eq=False)
class Restored:
    """A sandbox made from a template, or being made."""

    slot: RestoredSlot
    template: RestoringTemplate
    plan: SandboxPlan | None = None
    """None: nobody wants it yet."""
    is_ending: bool = False

    @property
    def sandbox_id(self) -> str:
        assert self.plan is not None
        return self.plan.sandbox_id

    @property
    def name(self) -> str:
        """What PID 1 of its template's sandbox, which waits for its end, calls it."""
        return f"restored:{self.slot.index}"


@dataclass(slots=True)
class RestoringTemplate:
    """A template with the slot it lives in, and what it was made of."""

    slot: Slot
    plan: SandboxPlan
    midwife: Template[Restored]


class Restores:
    def __init__(
        self,
        server: socket.socket,
        host: Host,
        selector: selectors.BaseSelector,
        free: deque[int],
        chores: deque[Generator[None]],
        spares_maximum: int,
    ) -> None:
        self._server = server
        self._host = host
        self._selector = selector
        self._free = free
        self._chores = chores
        self._templates: dict[str, RestoringTemplate] = {}
        self._demand: Demand[str] = Demand(spares_maximum)
        """By id of the template's sandbox."""
        self._all: set[Restored] = set()
        self._sandboxes: dict[str, Restored] = {}
        """Those that somebody wants."""

    def __contains__(self, sandbox_id: str) -> bool:
        return sandbox_id in self._sandboxes

    def close(self) -> None:
        """End all midwives; the sandboxes end with their templates, and are given back by `give_back_all`."""
        for template in self._templates.values():
            template.midwife.end()
            with suppress(ChildProcessError):
                os.waitpid(template.midwife.midwife_pid, 0)
            template.midwife.control.close()

    def give_back_all(self) -> None:
        """Once nothing of theirs runs any more."""
        for restored in self._all:
            restored.slot.ended()
            restored.slot.close()

    # Templates --------------------------------------------------------------------------------------------------------

    def make_template(self, plan: SandboxPlan, slot: Slot) -> None:
        sandbox_id = plan.sandbox_id
        isolation, generation = self._host.isolation, slot.generation
        assert generation is not None
        if isolation is None or isolation.uid_base is None or sandbox_id in self._templates:
            slot.kill()  # it takes the privilege to suspend the filter of a process that is held
            return
        home = Home(
            pid_namespace=isolation.own_pid_namespace,
            last_capability=isolation.ground.last_capability,
            processors=isolation.ground.processors,
            masks=[mount for mount in isolation.ground.made_inside if mount.kind == "mask"],
        )
        made: Template[Restored] = templates.start(sandbox_id, generation.pid, home)
        self._templates[sandbox_id] = RestoringTemplate(slot, plan, made)
        self._selector.register(made.control, selectors.EVENT_READ, self._templates[sandbox_id])

    def hear(self, template: RestoringTemplate) -> None:
        """One message of a midwife, unless its template has ended in the same moment."""
        if self._templates.get(template.midwife.sandbox_id) is not template:
            return
        heard = template.midwife.hear()
        if heard is None:
            self._selector.unregister(template.midwife.control)
            return
        message, descriptors = heard
        match message:
            case Watching():
                self._tell(wire.TemplateWatched(sandbox_id=template.midwife.sandbox_id))
            case Resting():
                self._rested(template)
            case Born():
                self._born(template, message, descriptors)
            case Failed():
                self._stillborn(template, message)

    def _rested(self, template: RestoringTemplate) -> None:
        template.midwife.is_resting = True
        if not template.midwife.is_announced:
            template.midwife.is_announced = True
            self._tell(wire.TemplateReady(sandbox_id=template.midwife.sandbox_id))
            self._demand.took(template.midwife.sandbox_id, now_s=time.monotonic())
        self._bear_next(template)

    def _bear_next(self, template: RestoringTemplate) -> None:
        mother = template.midwife
        while mother.is_resting and mother.waiting:
            restored = mother.waiting.popleft()
            try:
                restored.slot.limit(template.plan)
                if restored.plan is None:
                    restored.slot.hold_back()
                packet, descriptors = midwife.write_order(restored.slot.order())
                socket.send_fds(mother.control, [packet], descriptors)
            except (StepFailed, OSError) as exc:
                self._fail(restored, *step_and_error(exc))
            else:
                mother.is_resting, mother.bearing = False, restored

    def _born(self, template: RestoringTemplate, born: Born, descriptors: list[int]) -> None:
        restored, template.midwife.bearing = template.midwife.bearing, None
        assert restored is not None
        assert template.slot.generation is not None
        try:
            restored.slot.receive(born.pid, *descriptors)
        except (StepFailed, PlatformError) as exc:
            template.midwife.answer(b"no")
            restored.slot.ended()
            self._fail(restored, *step_and_error(exc))
            return
        if restored.is_ending:
            template.midwife.answer(b"no")
            self._gone(restored)
            return
        template.midwife.children[restored.name] = restored
        with suppress(OSError):  # dead, but not yet reaped: then all its children are
            wire.send(template.slot.generation.control, wire.Adopt(pid=born.pid_beside_template, name=restored.name))
        template.midwife.answer(midwife.GO)
        if restored.plan is not None:
            self._let_on(restored)

    def _let_on(self, restored: Restored) -> None:
        """Somebody wants it: it is held back no more, and handed over where it is born already."""
        try:
            restored.slot.limit(restored.template.plan)
            if restored.slot.is_running:
                restored.slot.let_on()
        except StepFailed as exc:
            self._give_up(restored, exc.step, str(exc.error))
            self._destroy(restored)
        else:
            if restored.slot.is_running:
                restored.slot.hand_over(self._server, restored.sandbox_id)

    def _stillborn(self, template: RestoringTemplate, failed: Failed) -> None:
        restored, template.midwife.bearing = template.midwife.bearing, None
        if restored is None:
            return
        if restored.plan is None:
            log.warning("sandbox.spare_not_made", extra={"reason": f"{failed.step}: {failed.error}"})
            self._demand.forget(template.midwife.sandbox_id)  # or it would be tried again at once
        self._fail(restored, failed.step, failed.error)

    def reaped(self, pid: int) -> bool:
        """Whether a child of sandboxd that has ended was a midwife; then its template ends as well."""
        template = next((one for one in self._templates.values() if one.midwife.midwife_pid == pid), None)
        if template is not None:
            log.info("template.ended", extra={"sandbox_id": template.midwife.sandbox_id})
            template.midwife.is_resting = False
            template.midwife.spares.clear()  # they are about to end with it
            template.slot.kill()
        return template is not None

    def template_died(self, sandbox_id: str) -> None:
        """Its sandbox is gone, and so is everything that was forked from it."""
        template = self._templates.pop(sandbox_id, None)
        if template is None:
            return
        mother = template.midwife
        mother.end()
        if mother.control in self._selector.get_map():
            self._selector.unregister(mother.control)
        mother.control.close()
        self._demand.forget(sandbox_id)
        for child in list(mother.children.values()):
            self._end(child, wire.ExitStatus(signal=9))
        unborn = [*mother.waiting, *([mother.bearing] if mother.bearing is not None else [])]
        for restored in unborn:
            self._fail(restored, "fork from the template", "it has ended")

    # Sandboxes --------------------------------------------------------------------------------------------------------

    def create(self, plan: SandboxPlan) -> None:
        """Make a sandbox of a template, or take one that was made ahead or soon will be.

        Raises:
            StepFailed, PlatformError: nothing is left of it.
        """
        template = self._templates.get(plan.template or "")
        if template is None:
            raise PlatformError("its template has ended")
        mother = template.midwife
        self._demand.took(mother.sandbox_id, now_s=time.monotonic())
        is_there = bool(mother.spares)
        restored = mother.spares.popleft() if is_there else self._make_now(template)
        restored.plan = plan
        self._sandboxes[plan.sandbox_id] = restored
        if is_there:
            self._let_on(restored)
        else:
            self._queue(restored)

    def _make_now(self, template: RestoringTemplate) -> Restored:
        making = self._making(template)
        while True:
            try:
                next(making)
            except StopIteration as made:
                restored: Restored = made.value
                return restored

    def _making(self, template: RestoringTemplate) -> Generator[None, None, Restored]:
        if not self._free:
            raise PlatformError("all sandboxes of this server are in use")
        slot = RestoredSlot(self._host, _SHAPE, self._free.popleft())
        try:
            yield from slot.make(self._host)
            if template.midwife.sandbox_id not in self._templates:
                raise PlatformError("its template has ended")
        except BaseException:
            slot.close()
            self._free.append(slot.index)
            raise
        restored = Restored(slot, template)
        self._all.add(restored)
        return restored

    def _queue(self, restored: Restored) -> None:
        restored.template.midwife.waiting.append(restored)
        self._bear_next(restored.template)

    # Made ahead -------------------------------------------------------------------------------------------------------

    @property
    def has_spares(self) -> bool:
        return any(template.midwife.spares for template in self._templates.values())

    def stocking(self) -> Generator[None]:
        """Make what is wanted and not there, one after the other; let go of what is there and no longer wanted."""
        wanted = self._demand.wanted(now_s=time.monotonic())
        for template in list(self._templates.values()):
            spares = template.midwife.spares
            count = wanted.get(template.midwife.sandbox_id, 0)
            while len(spares) > count:
                self._destroy(spares.popleft())
            while len(spares) < count and not template.midwife.waiting and len(self._free) > _INDEXES_KEPT:
                try:
                    restored = yield from self._making(template)
                except (StepFailed, PlatformError) as exc:
                    log.warning("sandbox.spare_not_made", extra={"reason": str(exc)})
                    break
                spares.append(restored)
                self._queue(restored)

    def obey(self, request: wire.Request) -> None:
        """What can be asked of a sandbox that is ours."""
        match request:
            case wire.Kill(sandbox_id=sandbox_id):
                self._sandboxes[sandbox_id].slot.kill()
            case wire.Destroy(sandbox_id=sandbox_id):
                self._destroy(self._sandboxes[sandbox_id])
            case wire.OpenSocket(sandbox_id=sandbox_id):
                self._open_socket(self._sandboxes[sandbox_id])
            case _:
                pass  # it has no PID 1 of ours to ask

    def _open_socket(self, restored: Restored) -> None:
        opened = wire.SocketOpened(sandbox_id=restored.sandbox_id)
        try:
            with restored.slot.open_socket() as made:
                wire.send(self._server, opened, [made.fileno()])
        except OSError:
            wire.send(self._server, opened)

    def _destroy(self, restored: Restored) -> None:
        mother = restored.template.midwife
        restored.is_ending = True
        if restored in mother.waiting:
            mother.waiting.remove(restored)
            self._gone(restored)
        elif restored.slot.is_running:
            restored.slot.kill()
        elif restored is not mother.bearing:
            self._gone(restored)

    def told_of_end(self, template_id: str, name: str, status: wire.ExitStatus) -> bool:
        """PID 1 of some sandbox tells of an end: whether it was that of a child of this very template."""
        template = self._templates.get(template_id)
        if template is None or name not in template.midwife.children:
            return False
        self._end(template.midwife.children[name], _of_runtime(status))
        return True

    def _end(self, restored: Restored, status: wire.ExitStatus) -> None:
        del restored.template.midwife.children[restored.name]
        restored.slot.ended()
        if restored.plan is None:
            self._gone(restored)
            return
        self._tell(wire.Exited(sandbox_id=restored.sandbox_id, name=_RUNTIME, status=status))
        self._tell(wire.Died(sandbox_id=restored.sandbox_id))
        if restored.is_ending:
            self._gone(restored)

    def _fail(self, restored: Restored, at: str, error: str) -> None:
        if restored.plan is not None and not restored.is_ending:
            self._give_up(restored, at, error)
        self._gone(restored)

    def _give_up(self, restored: Restored, at: str, error: str) -> None:
        """Whoever wanted it may want another one at once, by the same id."""
        self._tell(wire.Failed(sandbox_id=restored.sandbox_id, step=at, error=error))
        del self._sandboxes[restored.sandbox_id]
        restored.plan = None

    def _gone(self, restored: Restored) -> None:
        with suppress(ValueError):
            restored.template.midwife.spares.remove(restored)
        self._chores.append(self._releasing(restored))

    def _releasing(self, restored: Restored) -> Generator[None]:
        try:
            yield from restored.slot.closing()
        finally:
            restored.slot.close()
            self._free.append(restored.slot.index)
            self._all.discard(restored)
            if restored.plan is not None:
                self._sandboxes.pop(restored.sandbox_id, None)
        if restored.plan is not None and restored.is_ending:
            self._tell(wire.Destroyed(sandbox_id=restored.sandbox_id))

    def _tell(self, report: wire.Report) -> None:
        wire.send(self._server, report)


_SIGNALLED = 128
"""A first process that ends with a status above this tells of its runtime's end by a signal, as a shell does."""


def _of_runtime(status: wire.ExitStatus) -> wire.ExitStatus:
    if status.code is not None and _SIGNALLED < status.code < _SIGNALLED + signal.NSIG:
        return wire.ExitStatus(signal=status.code - _SIGNALLED)
    return status
