"""sandboxd: the one privileged process. Performs plans for the server at the other end of its socket, and dies with it.

One thread, one loop. What takes long (building a sandbox's walls) happens in each sandbox's own first process.
"""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import resource
import selectors
import shutil
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from lambent.model.errors import PlatformError
from lambent.model.limits import EPHEMERAL_STORAGE_MIB_MINIMUM
from lambent.worker.sandbox import kernel, userns, wire
from lambent.worker.sandbox.cgroups import Cgroups, hold_joins_quick
from lambent.worker.sandbox.inner_wire import Ground
from lambent.worker.sandbox.network import SANDBOXES_MAXIMUM, Egress, Network
from lambent.worker.sandbox.plan import Level, ProcessPlan, SandboxPlan
from lambent.worker.sandbox.resolver import resolver_config
from lambent.worker.sandbox.restores import Restores, RestoringTemplate
from lambent.worker.sandbox.root import build_root
from lambent.worker.sandbox.scratch import ScratchMaker
from lambent.worker.sandbox.seccomp import compile_filter
from lambent.worker.sandbox.slot import Host, Isolation, Shape, Slot, WalledSlot
from lambent.worker.sandbox.spares import Demand
from lambent.worker.sandbox.stock import Stock
from lambent.worker.sandbox.walls import StepFailed, step
from lambent.worker.sandbox.zygotes import Zygote, Zygotes

log = logging.getLogger(__name__)

_BOOTS_MAXIMUM = 3
_LOOK_AROUND_S = 1.0
"""How often, in quiet times, it is seen whether too many sandboxes stand ready."""
_INDEXES_KEPT = 256
"""Places that are never taken by sandboxes that nobody wants yet."""
_BLANKS_FOR_A_SPARE = 4
_DESCRIPTORS_FOR_A_BLANK = 64
_QUIET_S = 0.5
_RESPITE_S = 0.006
"""About as long as a function takes from being given a sandbox to its answer."""
_FEW_SPARES = 2
_DONE = object()
_CHORES_PER_STEP = 64
"""For each that many, one step of what can wait comes before what cannot."""


def chores_due(waiting: int, *, is_idle: bool) -> int:
    """How many steps to do now. The more wait the more are done, so that ends keep up with any number of starts."""
    return max(int(is_idle), waiting // _CHORES_PER_STEP)


def _blanks_maximum(spares_maximum: int) -> int:
    """A blank holds fifteen descriptors open; most of them are for sandboxes that somebody wants."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(spares_maximum * _BLANKS_FOR_A_SPARE, descriptors // _DESCRIPTORS_FOR_A_BLANK)


@dataclass(slots=True)
class _Held:
    """A slot in the loop: what is wanted of it next."""

    slot: Slot
    plan: SandboxPlan | None = None
    """Whose it is; None while it is nobody's yet."""
    is_ending: bool = False
    processes: Sequence[ProcessPlan] = ()
    boots_left: int = 0
    """How often a boot that is killed from outside is tried again; 0 once booted."""

    @property
    def sandbox_id(self) -> str:
        return self.plan.sandbox_id if self.plan is not None else ""


class Sandboxd:
    def __init__(self, server: socket.socket, host: Host, orders: wire.Orders) -> None:
        self._server = server
        self._host = host
        ground = host.isolation.ground if host.isolation else None
        self._zygotes = Zygotes(orders.zygotes, ground, is_root=orders.level is Level.FULL)
        self._slots: dict[str, _Held] = {}
        self._by_pid: dict[int, _Held] = {}
        self._free = deque(range(SANDBOXES_MAXIMUM))
        self._stock = Stock(host, self._free)
        self._blanks_maximum = _blanks_maximum(orders.spares_maximum) if host.isolation else 0
        self._demand: Demand[Shape] = Demand(orders.spares_maximum if host.isolation else 0)
        self._spares: dict[Shape, list[_Held]] = {}
        """Those that stand ready."""
        self._coming: list[_Held] = []
        """Those that are about to."""
        self._chores: deque[Generator[None]] = deque()
        self._is_restocking = False
        self._last_created_s = 0.0
        self._selector = selectors.DefaultSelector()
        self._restores = Restores(server, host, self._selector, self._free, self._chores, orders.spares_maximum)

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
                for _ in range(chores_due(len(self._chores), is_idle=not ready and not self._respite_s())):
                    self._do_a_chore()
                for key, _ in ready:
                    if key.fileobj is self._server:
                        if not self._obey():
                            return
                    elif isinstance(key.data, _Held):
                        self._hear(key.data)
                    elif isinstance(key.data, Zygote):
                        self._hear_zygote(key.data)
                    elif isinstance(key.data, RestoringTemplate):
                        self._restores.hear(key.data)
                        self._restock()
                    else:
                        os.read(child_ended, 4096)
                        self._reap()

    def _patience_s(self) -> float | None:
        if self._chores:
            return self._respite_s()
        return (
            _LOOK_AROUND_S
            if any(self._spares.values()) or self._restores.has_spares or self._stock.has_blanks
            else None
        )

    def _respite_s(self) -> float:
        """How much longer who was just given a sandbox shall have the CPU for itself, if some still stand ready."""
        if sum(map(len, self._spares.values())) < _FEW_SPARES:
            return 0
        return max(0, _RESPITE_S - (time.monotonic() - self._last_created_s))

    def close(self) -> None:
        """Kill everything and give everything back."""
        for chore in self._chores:
            chore.close()
        self._zygotes.close()
        self._restores.close()
        spares = [held for shelf in self._spares.values() for held in shelf]
        everyone = {held.slot.index: held for held in [*self._slots.values(), *self._by_pid.values(), *spares]}
        for held in everyone.values():
            held.slot.kill()
        for held in everyone.values():
            if held.slot.generation is not None:
                os.waitpid(held.slot.generation.pid, 0)
                held.slot.generation.close()
        self._restores.give_back_all()
        for held in everyone.values():
            held.slot.close()

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
        if isinstance(request, wire.Create):
            self._create(request.plan)
            return
        if isinstance(request, wire.StartZygote):
            self._start_zygote(request.name)
            return
        if isinstance(request, wire.Expect):
            self._expect(request)
            return
        if request.sandbox_id in self._restores:
            self._restores.obey(request)
            return
        held = self._slots.get(request.sandbox_id)
        match request:
            case wire.Destroy():
                self._destroy(request.sandbox_id, held)
            case wire.Reboot() if held is not None:
                self._reboot(held, request)
            case wire.Kill() if held is not None:
                held.boots_left = 0
                held.slot.kill()
            case wire.Spawn() if held is not None and held.slot.generation is not None:
                held.slot.start([request.process], descriptors)
            case wire.Signal() | wire.Freeze() if held is not None and held.slot.generation is not None:
                with suppress(BrokenPipeError):  # dead, but not yet reaped
                    wire.send(held.slot.generation.control, request)
            case wire.OpenSocket() if held is not None:
                self._open_socket(held)
            case wire.MakeTemplate() if held is not None and held.plan is not None and held.slot.generation is not None:
                self._restores.make_template(held.plan, held.slot)
            case _:
                pass  # it has ended in the meantime, and the server is about to read so

    def _open_socket(self, held: _Held) -> None:
        opened = wire.SocketOpened(sandbox_id=held.sandbox_id)
        try:
            with held.slot.open_socket() as made:
                wire.send(self._server, opened, [made.fileno()])
        except OSError:  # too many descriptors: the subscriber that it is for must do without
            wire.send(self._server, opened)

    def _expect(self, request: wire.Expect) -> None:
        shape = Shape(None, request.ephemeral_storage_mib, request.pids_maximum, request.prewarmed)
        self._demand.expect(shape, now_s=time.monotonic())
        self._restock()

    def _create(self, plan: SandboxPlan) -> None:
        if plan.template is not None:
            self._restore(plan)
            return
        shape = Shape.of(plan)
        self._last_created_s = time.monotonic()
        self._demand.took(shape, now_s=self._last_created_s)
        try:
            if plan.sandbox_id in self._slots:
                raise PlatformError("its predecessor of the same id has not ended yet")
            if (held := self._standing(shape)) is not None:
                self._take(held, plan)
            else:
                self._make_now(shape, plan)
        except (StepFailed, PlatformError) as exc:
            self._failed(plan.sandbox_id, exc)
        self._restock()

    def _standing(self, shape: Shape) -> _Held | None:
        """The one that has stood ready longest, for what waits in it has surely started. Not one that has just died."""
        shelf = self._spares.get(shape, [])
        while shelf:
            held = shelf.pop(0)
            if held.slot.generation is not None and not held.slot.generation.has_ended:
                return held
        return None

    def _restore(self, plan: SandboxPlan) -> None:
        try:
            if plan.sandbox_id in self._slots or plan.sandbox_id in self._restores:
                raise PlatformError("its predecessor of the same id has not ended yet")
            self._restores.create(plan)
        except (StepFailed, PlatformError) as exc:
            self._failed(plan.sandbox_id, exc)
        self._restock()

    def _take(self, held: _Held, plan: SandboxPlan) -> None:
        """Have a sandbox that stands ready become the function's."""
        self._slots[plan.sandbox_id] = held
        held.plan, held.processes, held.boots_left = plan, plan.processes, _BOOTS_MAXIMUM
        self._booted(held)

    def _make_now(self, shape: Shape, plan: SandboxPlan) -> None:
        held = _Held(self._stock.make_now(shape), plan, processes=plan.processes)
        self._slots[plan.sandbox_id] = held
        try:
            self._boot(held)
        except BaseException:
            self._give_back(held)
            raise

    def _reboot(self, held: _Held, request: wire.Reboot) -> None:
        try:
            held.processes = request.processes
            held.slot.reset()
            self._boot(held)
        except StepFailed as exc:
            self._failed(request.sandbox_id, exc)

    def _boot(self, held: _Held) -> None:
        held.boots_left = _BOOTS_MAXIMUM
        self._fork(held)

    def _fork(self, held: _Held) -> None:
        held.boots_left -= 1
        generation = held.slot.boot(self._zygotes)
        self._by_pid[generation.pid] = held
        self._selector.register(generation.control, selectors.EVENT_READ, held)

    def _destroy(self, sandbox_id: str, held: _Held | None) -> None:
        if held is None:
            self._tell(wire.Destroyed(sandbox_id=sandbox_id))
        elif held.slot.generation is None:
            self._release(held)
        else:
            held.is_ending = True
            held.slot.kill()

    def _release(self, held: _Held) -> None:
        self._chores.append(self._releasing(held))

    def _give_back(self, held: _Held) -> None:
        self._stock.give_back(held.slot)
        self._slots.pop(held.sandbox_id, None)

    # Reports ----------------------------------------------------------------------------------------------------------

    def _hear(self, held: _Held) -> None:
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
        self._pass_on(held, report)

    def _pass_on(self, held: _Held, report: wire.Report) -> None:
        """Only what a PID 1 may say, and about nobody but itself: it runs beside the function."""
        match report:
            case wire.Booted() if held.slot.generation is not None and not held.slot.generation.is_assigned:
                self._booted(held)
            case wire.Exited(name=name, status=status) if self._restores.told_of_end(held.sandbox_id, name, status):
                pass
            case wire.Exited(name=name) if held.slot.generation is not None and held.slot.generation.bury(name):
                if held.plan is None:
                    self._let_go(held)
            case wire.Exited(name=name, status=status):
                self._tell(wire.Exited(sandbox_id=held.sandbox_id, name=name, status=status))
            case wire.Failed() if held.plan is None:
                pass  # whoever makes one while somebody waits for it will be told
            case wire.Failed(step=at, error=error):
                held.boots_left = 0
                self._fail(held, at, error)
            case _:
                held.slot.kill()

    def _booted(self, held: _Held) -> None:
        """The generation stands; now it becomes the function's, or waits for one."""
        if held.is_ending:
            return
        if held.plan is None:
            self._coming.remove(held)
            self._prewarm(held)
            return
        try:
            held.slot.assign(held.plan, held.processes)
        except (StepFailed, PlatformError) as exc:
            held.boots_left = 0
            self._fail(held, *_step_and_error(exc))
            held.slot.kill()
            return
        held.boots_left = 0
        if held.slot.is_handed_over:
            held.slot.tell_booted(self._server, held.sandbox_id)
        else:
            held.slot.hand_over(self._server, held.sandbox_id)

    def _prewarm(self, held: _Held) -> None:
        assert isinstance(held.slot, WalledSlot), "nothing stands ready where nothing is isolated"
        try:
            held.slot.prewarm()
        except StepFailed as exc:
            log.warning("sandbox.spare_not_made", extra={"reason": str(exc)})
            held.slot.kill()
        else:
            self._spares.setdefault(held.slot.shape, []).append(held)

    def _fail(self, held: _Held, at: str, error: str) -> None:
        held.is_ending = held.is_ending or not held.slot.is_handed_over
        self._tell(wire.Failed(sandbox_id=held.sandbox_id, step=at, error=error))

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            held = self._by_pid.pop(pid, None)
            if held is not None:
                self._died(held)
            elif self._restores.reaped(pid):
                pass
            elif (zygote := self._zygotes.died(pid)) is not None:
                self._start_zygote(zygote.name)

    def _died(self, held: _Held) -> None:
        generation = held.slot.generation
        assert generation is not None
        while generation.control in self._selector.get_map():  # what it said last comes before its end
            self._hear(held)
        generation.close()
        held.slot.generation = None
        if held.plan is None:
            self._forget_spare(held)
        elif held.boots_left > 0 and not held.is_ending:
            self._try_again(held)
        else:
            self._mourn(held)
            self._restores.template_died(held.sandbox_id)  # who waits for it is to know why, and has another made

    def _try_again(self, held: _Held) -> None:
        """Somebody outside killed it before it was anything; nobody need know."""
        try:
            held.slot.reset()
            self._fork(held)
        except StepFailed as exc:
            self._failed(held.sandbox_id, exc)
            self._mourn(held)

    def _mourn(self, held: _Held) -> None:
        if not held.slot.is_handed_over and not held.is_ending:
            held.is_ending = True
            self._failed(held.sandbox_id, PlatformError("its first process died"))
        self._tell(wire.Died(sandbox_id=held.sandbox_id))
        if held.is_ending:
            self._release(held)

    def _failed(self, sandbox_id: str, exc: StepFailed | PlatformError) -> None:
        at, error = _step_and_error(exc)
        self._tell(wire.Failed(sandbox_id=sandbox_id, step=at, error=error))

    def _tell(self, report: wire.Report) -> None:
        wire.send(self._server, report)

    # Chores: what can wait until there is nothing else to do ----------------------------------------------------------

    def _do_a_chore(self) -> None:
        """One step of what has waited longest."""
        if not self._chores:
            self._restock()
            return
        chore = self._chores.popleft()
        if next(chore, _DONE) is not _DONE:
            self._chores.append(chore)

    def _releasing(self, held: _Held) -> Generator[None]:
        try:
            yield from held.slot.closing()
        finally:
            self._give_back(held)
        if held.plan is not None:
            self._tell(wire.Destroyed(sandbox_id=held.sandbox_id))

    def _restock(self) -> None:
        if not self._is_restocking:
            self._is_restocking = True
            self._chores.append(self._restocking())

    def _restocking(self) -> Generator[None]:
        """Make what is wanted and not there, let go of what is there and no longer wanted."""
        wanted = self._demand.wanted(now_s=time.monotonic())
        for shape, shelf in self._spares.items():
            while len(shelf) > wanted.get(shape, 0):
                self._let_go(shelf[0])
        for shape, count in wanted.items():
            there = len(self._spares.get(shape, ())) + sum(held.slot.shape == shape for held in self._coming)
            for _ in range(count - there):
                yield from self._making(shape)
        yield from self._restores.stocking()
        yield from self._stock.stocking(self._blanks_maximum if wanted else 0, _INDEXES_KEPT, self._is_quiet)
        self._is_restocking = False

    def _is_quiet(self) -> bool:
        """Whether who is being started now would not have to share the CPU with what is made for others to come."""
        return time.monotonic() - self._last_created_s > _QUIET_S

    def _making(self, shape: Shape) -> Generator[None]:
        if len(self._free) <= _INDEXES_KEPT:
            return
        held = None
        try:
            held = _Held((yield from self._stock.making(shape)))
            held.slot.hold_back()
            self._fork(held)
            self._coming.append(held)
        except BaseException as exc:
            if held is not None:
                self._give_back(held)
            if not isinstance(exc, (StepFailed, PlatformError)):
                raise
            log.warning("sandbox.spare_not_made", extra={"reason": str(exc)})
        yield

    def _let_go(self, held: _Held) -> None:
        """Of one that is nobody's: from now on nobody shall take it."""
        self._take_off_the_shelf(held)
        held.is_ending = True
        held.slot.kill()

    def _forget_spare(self, held: _Held) -> None:
        """It has ended before anybody wanted it, as asked or not."""
        self._take_off_the_shelf(held)
        self._release(held)

    def _take_off_the_shelf(self, held: _Held) -> None:
        for shelf in (self._coming, self._spares.get(held.slot.shape, [])):
            if held in shelf:
                shelf.remove(held)

    # Zygotes ----------------------------------------------------------------------------------------------------------

    def _start_zygote(self, name: str) -> None:
        zygote = self._zygotes.start(name)
        if zygote is not None:
            self._selector.register(zygote.control, selectors.EVENT_READ, zygote)

    def _hear_zygote(self, zygote: Zygote) -> None:
        """Ready, or gone; from then on it speaks only when it is asked."""
        self._selector.unregister(zygote.control)
        report = self._zygotes.hear(zygote)
        if report is not None:
            self._tell(report)
            self._demand.took(Shape.usual(zygote.name), now_s=time.monotonic())
            self._restock()


def _step_and_error(exc: StepFailed | PlatformError) -> tuple[str, str]:
    return (exc.step, str(exc.error)) if isinstance(exc, StepFailed) else ("make sandbox", str(exc))


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
            host, shortcomings = _prepare(orders, stack)
        except (PlatformError, OSError, StepFailed) as exc:
            traceback.print_exc(file=sys.stderr)
            wire.send(server, wire.Failed(sandbox_id="", step="start sandboxd", error=str(exc)))
            return
        wire.send(server, wire.Started(level=orders.level, shortcomings=tuple(shortcomings)))
        gc.collect()
        gc.freeze()  # children share these pages as long as nobody writes to them
        sandboxd = Sandboxd(server, host, orders)
        stack.callback(sandboxd.close)
        sandboxd.serve()


def _prepare(orders: wire.Orders, stack: ExitStack) -> tuple[Host, list[str]]:
    if orders.level is not Level.FULL and orders.egress != Egress.NONE:
        raise PlatformError(f"egress {orders.egress} takes root: start as root, or serve with --egress none")
    _, files_maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_maximum, files_maximum))
    state = Path(orders.state_dir)
    run = state / "run"
    _await_predecessor(state)
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(mode=0o700, parents=True)
    cgroups = Cgroups.of_this_process(orders.server_id)
    shortcomings = cgroups.prepare()
    stack.callback(cgroups.clean)
    if orders.level is Level.FULL and (quick := hold_joins_quick(f"lambent-{orders.server_id}")) is not None:
        stack.callback(os.close, quick)
    if orders.level is Level.PROCESS:
        shortcomings.append("functions run as this user, with this user's files, network and processes in reach")
        return Host(cgroups=cgroups, run_dir=run, isolation=None), shortcomings
    with step("make a mount namespace"):
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.make_mounts_private()
        kernel.place_mount(kernel.new_filesystem("tmpfs", (("mode", "700"),), 0), str(run))
    isolation, more = _prepare_isolation(orders, state, run, stack)
    return Host(cgroups=cgroups, run_dir=run, isolation=isolation), shortcomings + more


def _await_predecessor(state: Path) -> None:
    """One whose server was killed may still clear away what is now ours. The lock is held until we have ended."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)


def _prepare_isolation(orders: wire.Orders, state: Path, run: Path, stack: ExitStack) -> tuple[Isolation, list[str]]:
    images, mounts, root = state / "images", run / "tmp", run / "root"
    for directory in (images, mounts, root):
        directory.mkdir(mode=0o700, exist_ok=True)
    network = Network(orders.server_id, Egress(orders.egress))
    network.start()
    stack.callback(network.stop)
    scratch = ScratchMaker(images, mounts)
    shortcomings = scratch.prepare(EPHEMERAL_STORAGE_MIB_MINIMUM)
    is_full = orders.level is Level.FULL
    resolv_conf = "" if orders.egress == Egress.NONE else resolver_config()
    isolation = Isolation(
        network=network,
        scratch=scratch,
        ground=Ground(
            host_namespace=os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC),
            root_namespace=build_root(root, resolv_conf, can_make_devices=is_full),
            seccomp_program=compile_filter(os.uname().machine),
            last_capability=int(Path("/proc/sys/kernel/cap_last_cap").read_text()),
        ),
        own_pid_namespace=os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC),
        uid_base=orders.uid_base if is_full else None,
    )
    return isolation, shortcomings
