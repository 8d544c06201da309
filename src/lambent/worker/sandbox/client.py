"""The sandboxes of a server: has sandboxd started, asks it for them, and tells each what sandboxd reports of it."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import resource
import socket
import subprocess
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from lambent.model.errors import PlatformError
from lambent.worker.sandbox import wire
from lambent.worker.sandbox.plan import Level, SandboxPlan
from lambent.worker.sandbox.sandbox import Sandbox, failure
from lambent.worker.sandbox.sandboxd_start import SandboxOptions, levels_to_try, start

log = logging.getLogger(__name__)

_END_TIMEOUT_S = 30.0
_DESCRIPTORS = 16_384
"""More than a thousand environments take; their table takes 8 bytes for each."""


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
        for level in levels_to_try(options.level):
            try:
                process, server, started = await asyncio.to_thread(start, options, level)
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

    def expect(self, expected: wire.Expect) -> None:
        """Have sandboxes stand ready for functions that may soon be invoked."""
        self.send(expected)

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
                    future.set_exception(failure(report))
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
        sandbox = Sandbox(self.send, plan, files, report.runtime_api_address)
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


def _allow_many_descriptors() -> None:
    """A sandbox costs the server some ten descriptors, and the usual soft limit is for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _have_room_for_descriptors(min(hard, _DESCRIPTORS))


def _have_room_for_descriptors(count: int) -> None:
    """Have the kernel's table of them grow now. Each time that of a process with threads does, it waits for all CPUs.

    That is 10 ms and more, and would be at the 25th environment, the 53rd, the 105th and so on.
    """
    with open(os.devnull, "rb") as null:
        os.close(fcntl.fcntl(null, fcntl.F_DUPFD_CLOEXEC, count - 1))
