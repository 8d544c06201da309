"""Sandboxes, seen from the server: starts sandboxd, asks it for them, works them by the descriptors it hands out."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, assert_never
from zlib import crc32

from lambent.model.errors import PlatformError
from lambent.model.limits import INIT_TIMEOUT_S
from lambent.worker.sandbox import process_tree, wire
from lambent.worker.sandbox.plan import (
    CPU_PERIOD_US,
    RUNTIME_API_HOST,
    Level,
    Prewarmed,
    ProcessPlan,
    SandboxPlan,
    ZygotePlan,
    plan_limits,
)
from lambent.worker.sandbox.wire import ExitStatus

log = logging.getLogger(__name__)

_BOOTSTRAP = """\
import sys
sys.path[:0] = sys.argv[3:]
from lambent.worker.sandbox import sandboxd, wire
sandboxd.main(int(sys.argv[1]), wire.read_orders(sys.argv[2]))
"""
_START_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 30.0
_UIDS_PER_SERVER = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """`state_dir` is private to this server; `server_id` stays the same over its restarts."""

    state_dir: Path
    server_id: str
    egress: str = "none"
    level: str = "auto"
    """A `Level`, or `auto`: the best this host gives."""
    uid_base: int | None = None
    """First of 4,096 host uids that nobody else uses. By default they follow from the server id."""
    zygotes: tuple[ZygotePlan, ...] = ()
    """Those that `start_zygote` may start."""
    spares_maximum: int = 0
    """How many sandboxes may stand ready before anybody wants them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationReport:
    """What the sandboxes of this server hold."""

    level: Level
    shortcomings: tuple[str, ...]
    """What does not bite, in words for a person."""


class Sandboxes:
    """All sandboxes of this server. Used in one event loop; leaving it destroys them."""

    def __init__(self, process: subprocess.Popen[bytes], server: socket.socket, report: IsolationReport) -> None:
        self.report = report
        self._process = process
        self._socket = server
        self._loop = asyncio.get_running_loop()
        self._sandboxes: dict[str, Sandbox] = {}
        self._creating: dict[str, tuple[SandboxPlan, asyncio.Future[Sandbox]]] = {}
        self._unsent: deque[tuple[wire.Message, Sequence[int]]] = deque()
        self._is_lost = False
        self.zygotes: dict[str, frozenset[str]] = {}
        """Those that are ready, or are being replaced: the names of the modules each has loaded."""
        self._loop.add_reader(server.fileno(), self._readable)

    @classmethod
    async def launch(cls, options: SandboxOptions) -> Sandboxes:
        """Start sandboxd, which first removes what a predecessor of the same server id left behind.

        Raises:
            PlatformError: no level, or not the level asked for, can be had on this host; says why.
        """
        _allow_many_descriptors()
        reasons = []
        for level in _levels_to_try(options.level):
            try:
                process, server, started = await asyncio.to_thread(_start, options, level)
            except PlatformError as exc:
                reasons.append(f"no isolation at level {level}: {exc}")
                continue
            server.setblocking(False)
            if level is Level.PROCESS:
                log.warning("sandboxes.no_isolation", extra={"reasons": reasons})
            report = IsolationReport(level=started.level, shortcomings=(*reasons, *started.shortcomings))
            return cls(process, server, report)
        raise PlatformError("; ".join(reasons))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def pid(self) -> int:
        """Of sandboxd."""
        return self._process.pid

    async def create(self, plan: SandboxPlan) -> Sandbox:
        """Make a sandbox; its processes start while this returns, and what becomes of them waits for `on_exit`.

        Raises:
            PlatformError: a step failed, which is named; nothing is left of the sandbox.
        """
        if plan.sandbox_id in self._sandboxes or plan.sandbox_id in self._creating:
            raise PlatformError(f"there is a sandbox {plan.sandbox_id} already")
        future: asyncio.Future[Sandbox] = self._loop.create_future()
        self._creating[plan.sandbox_id] = (plan, future)
        try:
            self.send(wire.Create(plan=plan))
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                await future.result().destroy()
            elif not self._is_lost:
                self.send(wire.Destroy(sandbox_id=plan.sandbox_id))
            raise
        finally:
            self._creating.pop(plan.sandbox_id, None)

    def start_zygote(self, name: str) -> None:
        """Have one of the zygotes of the options start, if it does not run; it is ready once it is in `zygotes`."""
        self.send(wire.StartZygote(name=name))

    def expect(self, prewarmed: Prewarmed, *, ephemeral_storage_mib: int, pids_maximum: int) -> None:
        """Have sandboxes stand ready with an interpreter in them, for functions that may soon be invoked."""
        self.send(
            wire.Expect(prewarmed=prewarmed, ephemeral_storage_mib=ephemeral_storage_mib, pids_maximum=pids_maximum)
        )

    async def close(self) -> None:
        """Destroy all sandboxes and end sandboxd."""
        await asyncio.gather(*(sandbox.destroy() for sandbox in list(self._sandboxes.values())))
        self._forget_socket()
        try:
            await asyncio.to_thread(self._process.wait, _END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            log.error("sandboxd.hangs", extra={"pid": self._process.pid})
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    # The wire ---------------------------------------------------------------------------------------------------------

    def send(self, message: wire.Message, descriptors: Sequence[int] = ()) -> None:
        """Pass one message on; for sandboxes."""
        if self._is_lost:
            raise PlatformError("sandboxd has ended; restart the server")
        self._unsent.append((message, descriptors))
        if len(self._unsent) == 1:
            self._writable()

    def _writable(self) -> None:
        while self._unsent:
            try:
                wire.send(self._socket, *self._unsent[0])
            except BlockingIOError:
                self._loop.add_writer(self._socket.fileno(), self._writable)
                return
            except OSError:
                self._lost()
                return
            self._unsent.popleft()
        self._loop.remove_writer(self._socket.fileno())

    def _readable(self) -> None:
        while not self._is_lost:
            try:
                received = wire.receive_report(self._socket)
            except BlockingIOError:
                return
            if received is None:
                self._lost()
                return
            self._dispatch(*received)

    def _dispatch(self, report: wire.Report, descriptors: list[int]) -> None:
        if isinstance(report, wire.Created):
            self._created(report, descriptors)
            return
        if isinstance(report, wire.SocketOpened):
            self._socket_opened(report, descriptors)
            return
        if isinstance(report, wire.ZygoteReady):
            self.zygotes[report.name] = frozenset(report.modules)
            return
        sandbox = self._sandboxes.get(report.sandbox_id) if not isinstance(report, wire.Started) else None
        match report:
            case wire.Failed() if sandbox is None:
                _, future = self._creating.pop(report.sandbox_id, (None, None))
                if future is not None and not future.done():
                    future.set_exception(_failure(report))
            case wire.Destroyed():
                if (gone := self._sandboxes.pop(report.sandbox_id, None)) is not None:
                    gone.hear(report)
            case wire.Booted():
                if sandbox is not None:
                    sandbox.hear_booted(*descriptors)
            case _:
                if sandbox is not None:
                    sandbox.hear(report)

    def _created(self, report: wire.Created, descriptors: list[int]) -> None:
        plan, future = self._creating.pop(report.sandbox_id, (None, None))
        if plan is None or future is None or future.done():  # cancelled: it is being destroyed
            for descriptor in descriptors:
                os.close(descriptor)
            return
        files = dict(zip(report.names, descriptors, strict=True))
        sandbox = Sandbox(self, plan, files, report.runtime_api_address)
        self._sandboxes[sandbox.id] = sandbox
        future.set_result(sandbox)

    def _socket_opened(self, report: wire.SocketOpened, descriptors: list[int]) -> None:
        made = socket.socket(fileno=descriptors[0]) if descriptors else None
        sandbox = self._sandboxes.get(report.sandbox_id)
        if sandbox is not None:
            sandbox.hear_socket(made)
        elif made is not None:
            made.close()

    def _lost(self) -> None:
        """sandboxd is gone, and the kernel has killed every sandbox with it."""
        if self._is_lost:
            return
        log.error("sandboxd.lost", extra={"pid": self._process.pid})
        self._forget_socket()
        for _, future in self._creating.values():
            if not future.done():
                future.set_exception(PlatformError("sandboxd ended while a sandbox was being made"))
        for sandbox in list(self._sandboxes.values()):
            sandbox.hear(wire.Died(sandbox_id=sandbox.id))
            sandbox.hear(wire.Destroyed(sandbox_id=sandbox.id))
        self._sandboxes.clear()

    def _forget_socket(self) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()


class Sandbox:
    """One sandbox: walls, limits, network, /tmp; inside it one generation of processes at a time."""

    def __init__(
        self, sandboxes: Sandboxes, plan: SandboxPlan, files: dict[str, int], runtime_api_address: str
    ) -> None:
        self.id = plan.sandbox_id
        self.listener = socket.socket(fileno=files.pop("listener"))
        """Where the sandbox's processes find the Runtime API; listening, non-blocking, bound inside."""
        self.endpoint_listener = socket.socket(fileno=files.pop("endpoint"))
        """The same for AWS services."""
        self.output_fd = files.pop("output")
        """Read end of what all processes write to stdout and stderr, over all generations; non-blocking."""
        self.runtime_api_address = runtime_api_address
        self.on_death: Callable[[], None] | None = None
        """The whole generation is gone, whether asked for or not. Set it before `on_exit`, or at once after."""
        self._sandboxes = sandboxes
        self._pid = _first_process(files.pop("process", None))
        self._files = files
        self._limits = plan_limits(plan)
        self._loop = asyncio.get_running_loop()
        self._on_exit: Callable[[str, ExitStatus], None] | None = None
        self._unheard: list[wire.Exited | wire.Died] = []
        self._is_running = True
        self._is_boosted = True
        self._booting: asyncio.Future[None] | None = None
        self._on_watched: Callable[[], None] | None = None
        self._resting: asyncio.Future[None] | None = None
        self._killed: list[asyncio.Future[None]] = []
        self._destroyed: asyncio.Future[None] | None = None
        self._sockets: deque[asyncio.Future[socket.socket]] = deque()
        self._peak_bytes = 0
        self._loop.call_later(INIT_TIMEOUT_S, self.limit_cpu)  # if nobody has said by then that Init is over

    @property
    def on_exit(self) -> Callable[[str, ExitStatus], None] | None:
        """A process has ended, or could not start: its name, and how. What came before this was set is told now."""
        return self._on_exit

    @on_exit.setter
    def on_exit(self, listener: Callable[[str, ExitStatus], None] | None) -> None:
        self._on_exit = listener
        self._loop.call_soon(self._tell)

    # Processes --------------------------------------------------------------------------------------------------------

    def spawn(self, process: ProcessPlan, output_fd: int | None = None) -> None:
        """Start a further process in the running generation; failing to is an exit. Its output may go elsewhere."""
        message = wire.Spawn(sandbox_id=self.id, process=process)
        self._sandboxes.send(message, () if output_fd is None else (output_fd,))

    def signal(self, name: str, signum: int) -> None:
        """Send a signal to a process, if it still runs."""
        self._sandboxes.send(wire.Signal(sandbox_id=self.id, name=name, signum=signum))

    async def connect(self, port: int) -> socket.socket:
        """A connection to what listens on a port inside.

        Raises:
            OSError: nothing listens there, or the sandbox is gone.
        """
        opened: asyncio.Future[socket.socket] = self._loop.create_future()
        self._sockets.append(opened)
        self._sandboxes.send(wire.OpenSocket(sandbox_id=self.id))
        connection = await opened
        connection.setblocking(False)
        try:
            await self._loop.sock_connect(connection, (RUNTIME_API_HOST, port))
        except BaseException:
            connection.close()
            raise
        return connection

    def hear_socket(self, made: socket.socket | None) -> None:
        """Take in a socket that was asked for; for `Sandboxes`."""
        opened = self._sockets.popleft()
        if opened.done():  # who asked has gone
            if made is not None:
                made.close()
        elif made is None:
            opened.set_exception(ConnectionError("no socket could be made in the sandbox"))
        else:
            opened.set_result(made)

    async def kill(self) -> None:
        """Kill everything inside; returns when nothing of the generation runs any more."""
        if not self._is_running:
            return
        died = self._loop.create_future()
        self._killed.append(died)
        self._sandboxes.send(wire.Kill(sandbox_id=self.id))
        await died

    async def reboot(self, processes: Sequence[ProcessPlan]) -> None:
        """Start a new generation after `kill`: same cgroup, network, listener and content of /tmp.

        Raises:
            PlatformError: a step failed, which is named; no generation runs.
        """
        if self._is_running:
            raise PlatformError(f"sandbox {self.id} still runs; kill it before it can be booted again")
        self._reset_peak()
        self._is_boosted = True
        self._loop.call_later(INIT_TIMEOUT_S, self.limit_cpu)
        self._booting = self._loop.create_future()
        self._sandboxes.send(wire.Reboot(sandbox_id=self.id, processes=tuple(processes)))
        self._is_running = True
        await self._booting

    async def become_template(self, fork: Callable[[], None]) -> None:
        """Let sandboxes be made from this one: each gets a fork of its runtime, which `fork` tells to go and do so.

        Returns when that can be asked for.

        Raises:
            PlatformError: it has died instead.
        """
        self._on_watched = fork
        self._resting = self._loop.create_future()
        self._sandboxes.send(wire.MakeTemplate(sandbox_id=self.id))
        await self._resting

    async def destroy(self) -> None:
        """Kill everything inside and remove every trace. May be called again, and while another call waits."""
        if self._destroyed is None:
            self._destroyed = self._loop.create_future()
            self._is_boosted = False  # nothing to limit any more
            with suppress(PlatformError):  # sandboxd is gone, and all of it with it
                self._sandboxes.send(wire.Destroy(sandbox_id=self.id))
        await asyncio.shield(self._destroyed)

    def hear_booted(self, process: int | None = None) -> None:
        """Take in that a further generation stands; for `Sandboxes`."""
        self._pid = _first_process(process)
        self._boot_ended(None)

    def hear(self, report: wire.Report) -> None:
        """Take in what sandboxd reports; for `Sandboxes`."""
        match report:
            case wire.Exited():
                self._unheard.append(report)
                self._tell()
            case wire.TemplateWatched():
                if self._on_watched is not None:
                    self._on_watched()
            case wire.TemplateReady():
                if self._resting is not None and not self._resting.done():
                    self._resting.set_result(None)
            case wire.Failed():
                self._is_running = False
                self._boot_ended(_failure(report))
            case wire.Died():
                self._died()
            case wire.Destroyed():
                self._close()
            case wire.Started() | wire.ZygoteReady() | wire.Created() | wire.Booted() | wire.SocketOpened():
                raise AssertionError(f"{report} is not for a sandbox")
            case _:
                assert_never(report)

    def _died(self) -> None:
        was_running, self._is_running = self._is_running, False
        self._boot_ended(PlatformError(f"sandbox {self.id} died while it booted"))
        if self._resting is not None and not self._resting.done():
            self._resting.set_exception(PlatformError(f"sandbox {self.id} died before it could become a template"))
        if was_running:
            self._unheard.append(wire.Died(sandbox_id=self.id))
            self._tell()
        for waiter in self._killed:
            if not waiter.done():
                waiter.set_result(None)
        self._killed.clear()

    def _tell(self) -> None:
        while self._on_exit is not None and self._unheard:
            report = self._unheard.pop(0)
            if isinstance(report, wire.Exited):
                if "memory" not in self._files:
                    self._peak_bytes = max(self._peak_bytes, report.status.peak_kib * 1024)
                self._on_exit(report.name, report.status)
            elif self.on_death is not None:
                self.on_death()

    def _boot_ended(self, error: PlatformError | None) -> None:
        booting, self._booting = self._booting, None
        if booting is None or booting.done():
            return
        if error is None:
            booting.set_result(None)
        else:
            booting.set_exception(error)

    def _close(self) -> None:
        if self._is_running:
            self._died()
        while self._sockets:
            self.hear_socket(None)
        self.listener.close()
        self.endpoint_listener.close()
        for descriptor in (self.output_fd, *self._files.values()):
            os.close(descriptor)
        self._files.clear()
        if self._destroyed is None:
            self._destroyed = self._loop.create_future()
        self._destroyed.set_result(None)

    # Hot path: single writes and reads --------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Stop every thread inside. Init is over by now, and with it the larger share of the CPU."""
        self.limit_cpu()
        self._set_frozen(True)

    def thaw(self) -> None:
        self._set_frozen(False)

    def _set_frozen(self, is_frozen: bool) -> None:
        if (descriptor := self._files.get("freeze")) is not None:
            os.write(descriptor, b"1" if is_frozen else b"0")
        elif (descriptor := self._files.get("freezer_state")) is not None:
            os.write(descriptor, b"FROZEN" if is_frozen else b"THAWED")
        else:
            self._sandboxes.send(wire.Freeze(sandbox_id=self.id, is_frozen=is_frozen))

    def limit_cpu(self) -> None:
        """Hold the sandbox to its share of the CPU from now on; during Init it has a whole one at least, as on AWS."""
        if not self._is_boosted:
            return
        self._is_boosted = False
        if (descriptor := self._files.get("cpu_max")) is not None:
            os.write(descriptor, b"%d %d" % (self._limits.cpu_quota_us, CPU_PERIOD_US))
        elif (descriptor := self._files.get("cpu_quota")) is not None:
            os.write(descriptor, b"%d" % self._limits.cpu_quota_us)

    def memory_bytes(self) -> int:
        """Memory used now; 0 where no cgroup counts it, and once the sandbox is being removed."""
        try:
            return self._read_number("memory")
        except OSError:  # ENODEV: the descriptor outlives the group
            return 0

    def memory_peak_bytes(self) -> int:
        """The most memory used since the last boot.

        Where no cgroup counts it, the sum of the most that each process has had resident, or what one had that has
        ended; it can be more than the limit, which does not bite there.
        """
        if "peak" in self._files:
            return min(self._read_number("peak"), self._limits.memory_bytes)  # the kernel's own may exceed the limit
        if "memory" in self._files:
            self._peak_bytes = max(self._peak_bytes, self.memory_bytes())
        elif self._is_running and self._pid is not None:
            self._peak_bytes = max(self._peak_bytes, process_tree.peak_resident_bytes(self._pid))
        return self._peak_bytes

    def oom_kills(self) -> int:
        """How many processes inside were killed for want of memory, since the sandbox was made."""
        descriptor = self._files.get("events")
        if descriptor is None:
            return 0
        for line in os.pread(descriptor, 4_096, 0).splitlines():
            name, _, count = line.partition(b" ")
            if name == b"oom_kill":
                return int(count)
        return 0

    def _read_number(self, name: str) -> int:
        descriptor = self._files.get(name)
        return 0 if descriptor is None else int(os.pread(descriptor, 32, 0))

    def _reset_peak(self) -> None:
        self._peak_bytes = 0
        if (descriptor := self._files.get("peak")) is not None:
            with suppress(OSError):  # v2 cannot before Linux 6.12: then the peak is the sandbox's, over all generations
                os.write(descriptor, b"0")


def _first_process(pidfd: int | None) -> int | None:
    if pidfd is None:
        return None
    try:
        return process_tree.pid_of(pidfd)
    finally:
        os.close(pidfd)


def _failure(report: wire.Failed) -> PlatformError:
    return PlatformError(f"sandbox {report.sandbox_id}: {report.step}: {report.error}")


def _allow_many_descriptors() -> None:
    """A sandbox costs the server some ten descriptors, and the usual soft limit is for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _levels_to_try(wanted: str) -> list[Level]:
    if wanted != "auto":
        return [Level(wanted)]
    return [Level.FULL, Level.USERNS, Level.PROCESS] if os.geteuid() == 0 else [Level.USERNS, Level.PROCESS]


def _start(options: SandboxOptions, level: Level) -> tuple[subprocess.Popen[bytes], socket.socket, wire.Started]:
    """Start sandboxd and wait for its first word. Blocks."""
    ours, theirs = wire.socket_pair()
    orders = wire.Orders(
        server_id=options.server_id,
        state_dir=str(options.state_dir.absolute()),
        level=level,
        egress=options.egress,
        uid_base=uid_block(options.server_id)[0] if options.uid_base is None else options.uid_base,
        zygotes=options.zygotes,
        spares_maximum=options.spares_maximum,
    )
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, str(theirs.fileno()), wire.write_orders(orders), *sys.path],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the server, which then ends its sandboxes in order
        )
    try:
        ours.settimeout(_START_TIMEOUT_S)
        received = wire.receive_report(ours)
        if received is not None and isinstance(received[0], wire.Started):
            return process, ours, received[0]
        failed = received[0] if received else None
        raise PlatformError(failed.error if isinstance(failed, wire.Failed) else "sandboxd died while starting")
    except BaseException:
        ours.close()
        process.send_signal(signal.SIGKILL)
        process.wait()
        raise


def uid_block(server_id: str) -> tuple[int, int]:
    """First and last host uid of a server's sandboxes, above what distributions and directory services hand out."""
    first = 1_900_000_000 + crc32(server_id.encode()) % 2_048 * _UIDS_PER_SERVER
    return first, first + _UIDS_PER_SERVER - 1
