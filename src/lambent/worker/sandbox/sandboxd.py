"""sandboxd: the one privileged process. Performs plans for the server at the other end of its socket, and dies with it.

One thread, one loop, and nothing in it waits for another process: zygotes, midwives and first processes tell when they
have done what they were asked for.
"""

from __future__ import annotations

import gc
import os
import resource
import selectors
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import ExitStack, suppress

from lambent.model.errors import PlatformError
from lambent.worker.sandbox import affinity, userns, wire
from lambent.worker.sandbox.births import Births
from lambent.worker.sandbox.generations import Generations
from lambent.worker.sandbox.held import Held, step_and_error
from lambent.worker.sandbox.host import Host, prepare_host
from lambent.worker.sandbox.network import SANDBOXES_MAXIMUM
from lambent.worker.sandbox.plan import Level, SandboxPlan
from lambent.worker.sandbox.restores import Restores, RestoringTemplate
from lambent.worker.sandbox.shelf import Shelf
from lambent.worker.sandbox.slot import Shape
from lambent.worker.sandbox.spares import FEWEST, Demand
from lambent.worker.sandbox.stock import Stock
from lambent.worker.sandbox.walls import StepFailed, step
from lambent.worker.sandbox.wanted import Wanted
from lambent.worker.sandbox.zygotes import Zygote, Zygotes

_LOOK_AROUND_S = 1.0
"""How often, in quiet times, it is seen whether too many sandboxes stand ready; and tried again what has failed."""
_INDEXES_KEPT = 256
"""Places that are never taken by sandboxes that nobody wants yet."""
_BLANKS_FOR_A_SPARE = 8
_BLANKS_MAXIMUM = 128
_DESCRIPTORS_FOR_A_SLOT = 64
"""A slot holds fifteen open, or a few more; most of all are for sandboxes that somebody wants."""
_PREWARMED_WEIGHS = 12
"""An interpreter that waits takes 35 MiB; a child of a zygote, 3."""
_QUIET_S = 0.1
"""So long after a start, another of the same crowd is unlikely."""
_RESPITE_S = 0.006
"""About as long as a function takes from being given a sandbox to its answer."""
_FEW_SPARES = 2
_RESERVE_SHARE = 2 / 3
"""Of all that may stand ready this part does, however few were wanted: nothing announces a crowd."""
_RESERVE_PACE_S = 0.05
"""One takes 8 ms of CPU, and letting go of one 2. Who is called meanwhile shall hardly notice."""
_DONE = object()
_CHORES_PER_STEP = 64
"""For each that many, one step of what can wait comes before what cannot."""


def chores_due(waiting: int, *, is_idle: bool) -> int:
    """How many steps to do now. The more wait the more are done, so that ends keep up with any number of starts."""
    return max(int(is_idle), waiting // _CHORES_PER_STEP)


def _slots_made_ahead() -> int:
    """How many may be blank, and how many stand ready, for all the descriptors there are."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return descriptors // _DESCRIPTORS_FOR_A_SLOT


def _weigh(shape: Shape) -> int:
    return 1 if shape.prewarmed is None else _PREWARMED_WEIGHS


class Sandboxd:
    """The loop, and what all that is made in it is made with."""

    def __init__(self, server: socket.socket, host: Host, orders: wire.Orders) -> None:
        self._server = server
        isolation = host.isolation
        self._selector = selectors.DefaultSelector()
        self._chores: deque[Generator[None]] = deque()
        self._generations = Generations(self._selector)
        zygotes = Zygotes(orders.zygotes, isolation.ground, is_root=orders.level is Level.FULL) if isolation else None
        self._births = Births(self._selector, zygotes, self._generations)
        free = deque(range(SANDBOXES_MAXIMUM))
        self._stock = Stock(host, free)
        self._spares_maximum = min(orders.spares_maximum, _slots_made_ahead()) if isolation else 0
        self._restores = Restores(server, host, self._selector, free, self._chores, self._spares_maximum)
        self._shelf = Shelf(self._stock, self._births, self._chores)
        self._wanted = Wanted(server, self._stock, self._births, self._restores, self._chores)
        reserve = int(self._spares_maximum * _RESERVE_SHARE)
        self._demand: Demand[Shape] = Demand(self._spares_maximum, _weigh, reserve)
        self._blanks_maximum = min(self._spares_maximum * _BLANKS_FOR_A_SPARE, _BLANKS_MAXIMUM, _slots_made_ahead())
        self._is_restocking = False
        self._is_settled = True
        self._reserve_due_s = 0.0
        self._last_created_s = 0.0

    def serve(self) -> None:
        """Until the server closes its end, or is gone."""
        child_ended, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)
        self._selector.register(self._server, selectors.EVENT_READ)
        self._selector.register(child_ended, selectors.EVENT_READ)
        with suppress(BrokenPipeError, ConnectionResetError):
            while True:
                ready = self._selector.select(self._patience_s())
                self._births.lose_overdue({key.fileobj for key, _ in ready}, now_s=time.monotonic())
                for _ in range(chores_due(len(self._chores), is_idle=not ready and not self._respite_s())):
                    self._do_a_chore()
                for key, _ in ready:
                    if key.fileobj is self._server:
                        if not self._obey():
                            return
                    elif isinstance(key.data, Held):
                        self._hear_first_process(key.data)
                    elif isinstance(key.data, Zygote):
                        self._hear_zygote(key.data)
                    elif isinstance(key.data, RestoringTemplate):
                        self._restores.hear(key.data)
                        self._restock()
                    else:
                        os.read(child_ended, 4096)
                        self._reap()

    def _patience_s(self) -> float | None:
        own_s = self._respite_s() if self._chores else self._look_around_s()
        zygotes_s = self._births.patience_s(now_s=time.monotonic())
        return min((one_s for one_s in (own_s, zygotes_s) if one_s is not None), default=None)

    def _look_around_s(self) -> float | None:
        has_made_ahead = self._shelf.ready_count > 0 or self._restores.has_spares or self._stock.has_blanks
        often_s = _LOOK_AROUND_S if self._is_settled or self._shelf.has_failed else _RESERVE_PACE_S
        return self._quiet_in_s() or often_s if has_made_ahead else None

    def _respite_s(self) -> float:
        """How much longer who was just given a sandbox shall have the CPU for itself, if some still stand ready."""
        if self._shelf.ready_count < _FEW_SPARES:
            return 0
        return max(0, _RESPITE_S - (time.monotonic() - self._last_created_s))

    def close(self) -> None:
        """Kill everything and give everything back."""
        for chore in self._chores:
            chore.close()
        self._births.close()
        self._restores.close()
        self._generations.close()
        self._restores.give_back_all()
        self._shelf.close()
        self._wanted.close()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._generations.reaped(pid) or self._restores.reaped(pid):
                continue
            if not self._births.reaped(pid, was_killed=os.WIFSIGNALED(status)):
                self._generations.reaped_unknown(pid, may_be_born=self._births.are_pending)

    def _hear_first_process(self, held: Held) -> None:
        self._generations.hear(held)
        if held.owner is self._shelf:  # it stands ready now, and the next can come
            self._restock()

    def _hear_zygote(self, zygote: Zygote) -> None:
        report = self._births.hear(zygote)
        if report is not None:
            wire.send(self._server, report)
            self._demand.expect(Shape.usual(zygote.name), now_s=time.monotonic())
            self._restock()

    # Requests ---------------------------------------------------------------------------------------------------------

    def _obey(self) -> bool:
        received = wire.receive_request(self._server)
        if received is None:
            return False
        request, descriptors = received
        try:
            self._dispatch(request, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _dispatch(self, request: wire.Request, descriptors: Sequence[int]) -> None:
        match request:
            case wire.Create(plan=plan):
                self._create(plan)
            case wire.StartZygote(name=name):
                self._births.start_zygote(name)
            case wire.Expect():
                self._expect(request)
            case _ if request.sandbox_id in self._restores:
                self._restores.obey(request)
            case _:
                self._wanted.obey(request, descriptors)

    def _expect(self, expected: wire.Expect) -> None:
        shape = Shape(expected.zygote, expected.ephemeral_storage_mib, expected.pids_maximum, expected.prewarmed)
        expect = self._demand.expect_one_more if expected.one_more else self._demand.expect
        expect(shape, now_s=time.monotonic())
        self._restock()

    def _create(self, plan: SandboxPlan) -> None:
        try:
            if plan.sandbox_id in self._wanted or plan.sandbox_id in self._restores:
                raise PlatformError("its predecessor of the same id has not ended yet")
            if plan.template is not None:
                self._restores.create(plan)
            else:
                self._take_or_make(plan)
        except (StepFailed, PlatformError) as exc:
            at, error = step_and_error(exc)
            wire.send(self._server, wire.Failed(sandbox_id=plan.sandbox_id, step=at, error=error))
        self._restock()

    def _take_or_make(self, plan: SandboxPlan) -> None:
        shape = Shape.of(plan)
        self._last_created_s = time.monotonic()
        self._demand.took(shape, now_s=self._last_created_s)
        if (held := self._shelf.take(shape)) is not None:
            self._wanted.take(held, plan)
        elif (held := self._shelf.claim(shape)) is not None:
            self._wanted.claim(held, plan)
        else:
            self._wanted.make(shape, plan)

    # Chores: what can wait until there is nothing else to do ----------------------------------------------------------

    def _do_a_chore(self) -> None:
        """One step of what has waited longest."""
        if not self._chores:
            self._restock()
            return
        chore = self._chores.popleft()
        if next(chore, _DONE) is not _DONE:
            self._chores.append(chore)

    def _restock(self) -> None:
        if not self._is_restocking:
            self._is_restocking = True
            self._chores.append(self._restocking())

    def _restocking(self) -> Generator[None]:
        """Make what is wanted and not there, while it is not quiet the fewest; let go of what is no longer kept."""
        now_s = time.monotonic()
        wanted, kept = self._demand.wanted(now_s=now_s), self._demand.kept(now_s=now_s)
        is_quiet = not self._quiet_in_s()
        now = wanted if is_quiet else {shape: min(FEWEST, count) for shape, count in wanted.items()}
        is_due = is_quiet and now_s >= self._reserve_due_s
        too_many = self._shelf.count + len(self._shelf.lacking(now)) - self._spares_maximum
        yield from self._shelf.letting_go(kept, at_most=max(too_many, int(is_due)))
        yield from self._shelf.stocking(now, _INDEXES_KEPT)
        yield from self._restores.stocking()
        if is_due:
            self._reserve_due_s = now_s + (_LOOK_AROUND_S if self._shelf.has_failed else _RESERVE_PACE_S)
            yield from self._shelf.stocking(kept, _INDEXES_KEPT, at_once=1)
        yield from self._stock.stocking(self._blanks_maximum if wanted else 0, _INDEXES_KEPT, self._may_make_blanks)
        self._is_settled = self._shelf.surplus(kept) is None and not self._shelf.lacking(kept)
        self._is_restocking = False

    def _may_make_blanks(self) -> bool:
        """Whether all stands ready, and it is quiet."""
        return not self._shelf.is_making and not self._quiet_in_s()

    def _quiet_in_s(self) -> float:
        """How much longer those who were started of late shall have the CPU."""
        return max(0, _QUIET_S - (time.monotonic() - self._last_created_s))


def main(descriptor: int, orders: wire.Orders) -> None:
    """The whole life of the process."""
    server = socket.socket(fileno=descriptor)
    server.set_inheritable(False)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it ends when the server does, not before
        signal.signal(signum, signal.SIG_IGN)
    with ExitStack() as stack:
        try:
            if orders.level is Level.USERNS:
                with step("make a user namespace"):
                    userns.enter(close_in_parent=[descriptor])
            host, shortcomings = prepare_host(orders, stack)
        except (PlatformError, OSError, StepFailed) as exc:
            traceback.print_exc(file=sys.stderr)
            wire.send(server, wire.Failed(sandbox_id="", step="start sandboxd", error=str(exc)))
            return
        if host.isolation is not None:
            affinity.keep_to_one(host.isolation.ground.processors)
        wire.send(server, wire.Started(level=orders.level, shortcomings=tuple(shortcomings)))
        gc.collect()
        gc.freeze()  # children share these pages as long as nobody writes to them
        sandboxd = Sandboxd(server, host, orders)
        stack.callback(sandboxd.close)
        sandboxd.serve()
