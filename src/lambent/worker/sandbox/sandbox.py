"""One sandbox, seen from the server: told to sandboxd what takes it, else worked by the descriptors that came along."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, assert_never

from lambent.model.errors import PlatformError
from lambent.model.limits import INIT_TIMEOUT_S
from lambent.worker.sandbox import process_tree, wire
from lambent.worker.sandbox.plan import CPU_PERIOD_US, RUNTIME_API_HOST, ProcessPlan, SandboxPlan, plan_limits
from lambent.worker.sandbox.wire import ExitStatus


class Send(Protocol):
    def __call__(self, message: wire.Message, descriptors: Sequence[int] = ()) -> None:
        """Pass one message on to sandboxd. Raises PlatformError if it is gone."""


class Sandbox:
    """One sandbox: walls, limits, network, /tmp; inside it one generation of processes at a time."""

    def __init__(self, send: Send, plan: SandboxPlan, files: dict[str, int], runtime_api_address: str) -> None:
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
        self._send = send
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

    def tell_nobody(self) -> None:
        """Let go of who listens."""
        self._on_exit = self.on_death = None

    # Processes --------------------------------------------------------------------------------------------------------

    def spawn(self, process: ProcessPlan, output_fd: int | None = None) -> None:
        """Start a further process in the running generation; failing to is an exit. Its output may go elsewhere."""
        message = wire.Spawn(sandbox_id=self.id, process=process)
        self._send(message, () if output_fd is None else (output_fd,))

    def signal(self, name: str, signum: int) -> None:
        """Send a signal to a process, if it still runs."""
        self._send(wire.Signal(sandbox_id=self.id, name=name, signum=signum))

    async def connect(self, port: int) -> socket.socket:
        """A connection to what listens on a port inside.

        Raises:
            OSError: nothing listens there, or the sandbox is gone.
        """
        opened: asyncio.Future[socket.socket] = self._loop.create_future()
        self._sockets.append(opened)
        self._send(wire.OpenSocket(sandbox_id=self.id))
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
        self._send(wire.Kill(sandbox_id=self.id))
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
        self._send(wire.Reboot(sandbox_id=self.id, processes=tuple(processes)))
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
        self._send(wire.MakeTemplate(sandbox_id=self.id))
        await self._resting

    async def destroy(self) -> None:
        """Kill everything inside and remove every trace. May be called again, and while another call waits."""
        if self._destroyed is None:
            self._destroyed = self._loop.create_future()
            self._is_boosted = False  # nothing to limit any more
            with suppress(PlatformError):  # sandboxd is gone, and all of it with it
                self._send(wire.Destroy(sandbox_id=self.id))
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
                self._boot_ended(failure(report))
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
            self._send(wire.Freeze(sandbox_id=self.id, is_frozen=is_frozen))

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


def failure(report: wire.Failed) -> PlatformError:
    """What sandboxd could not do, as an error."""
    return PlatformError(f"sandbox {report.sandbox_id}: {report.step}: {report.error}")
