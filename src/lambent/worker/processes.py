"""The named processes of one generation, from their start to their end: the runtime first, then its extensions.

Who is promised how much time at the end: reference/extensions-telemetry.md §3.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterable

from lambent.model.events import ShutdownReason
from lambent.worker.extensions_api import ExtensionsApi
from lambent.worker.launch import RUNTIME, extension_process_name
from lambent.worker.sandbox.plan import ProcessPlan
from lambent.worker.sandbox.sandbox import Sandbox

RUNTIME_SHUTDOWN_S = 0.3
"""The runtime's share at the end, where external extensions are to have the rest."""


class Processes:
    """What runs in a sandbox, by name."""

    def __init__(self, sandbox: Sandbox, extensions: ExtensionsApi, extension_output_fd: int | None) -> None:
        self._sandbox = sandbox
        self._extensions = extensions
        self._extension_output_fd = extension_output_fd
        self._running: set[str] = set()
        self._news = asyncio.Event()

    def are_started(self, at_boot: Iterable[ProcessPlan]) -> None:
        """The sandbox starts these itself."""
        self._running = {process.name for process in at_boot}

    def start_extension(self, process: ProcessPlan) -> None:
        self._running.add(process.name)
        self._sandbox.spawn(process, self._extension_output_fd)

    def start_runtime(self, process: ProcessPlan) -> None:
        self._running.add(process.name)
        self._sandbox.spawn(process)

    @property
    def has_runtime(self) -> bool:
        return RUNTIME in self._running

    def ended(self, name: str) -> None:
        self._running.discard(name)
        self._news.set()

    def all_ended(self) -> None:
        self._running.clear()
        self._news.set()

    async def shut_down(self, reason: ShutdownReason, flush: Callable[[], Awaitable[None]]) -> None:
        """Let the generation end by itself, as far as its extensions have a right to; the rest may be killed then.

        `flush` brings extensions what they have not been told yet, before they are told to end.
        """
        roster = self._extensions.roster
        roster.close_registration()
        window_s = roster.shutdown_s
        if not window_s:
            return
        started, deadline = asyncio.get_running_loop().time(), time.time() + window_s
        await self._stop_runtime(started + min(window_s, RUNTIME_SHUTDOWN_S if roster.has_external else window_s))
        await flush()
        told = {extension_process_name(name) for name in self._extensions.send_shutdown(reason, deadline)}
        for name in self._running - told:
            self._sandbox.signal(name, signal.SIGKILL)
        await self._wait_ended(told, started + window_s)

    async def _stop_runtime(self, deadline: float) -> None:
        if self.has_runtime:
            self._sandbox.signal(RUNTIME, signal.SIGTERM)
            await self._wait_ended({RUNTIME}, deadline)

    async def _wait_ended(self, names: set[str], deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                while not self._running.isdisjoint(names):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass
