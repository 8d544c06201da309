"""Sandboxes for the tests of the sandbox itself: no service, no functions, only processes and their walls."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from lambent.worker.sandbox.client import Sandboxes
from lambent.worker.sandbox.plan import ProcessPlan, SandboxPlan
from lambent.worker.sandbox.sandbox import Sandbox
from lambent.worker.sandbox.wire import ExitStatus

PYTHON = "/usr/bin/python3"
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}

_numbers = itertools.count()


def python(script: str, name: str = "runtime", **env: str) -> ProcessPlan:
    return ProcessPlan(name=name, argv=(PYTHON, "-S", "-c", script), env={**ENVIRONMENT, **env}, cwd="/")


def shell(script: str, name: str = "runtime") -> ProcessPlan:
    return ProcessPlan(name=name, argv=("/bin/sh", "-c", script), env=ENVIRONMENT, cwd="/")


def sandbox_plan(directory: Path, *processes: ProcessPlan, **changes: Any) -> SandboxPlan:
    for name in ("code", "runtime"):
        (directory / name).mkdir(exist_ok=True)
    plan = SandboxPlan(
        sandbox_id=f"sandbox-{next(_numbers)}",
        code_dir=str(directory / "code"),
        runtime_dir=str(directory / "runtime"),
        memory_mib=128,
        cpu_share=1.0,
        pids_maximum=64,
        ephemeral_storage_mib=512,
        egress="none",
        processes=processes,
    )
    return replace(plan, **changes)


class Watched:
    """A sandbox whose reports are kept, to be waited for."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.output = b""
        self.deaths = 0
        self._exits: dict[str, list[ExitStatus]] = {}
        self._news = asyncio.Event()
        sandbox.on_death = self._died
        sandbox.on_exit = self._exited

    def _exited(self, name: str, status: ExitStatus) -> None:
        self._exits.setdefault(name, []).append(status)
        self._news.set()

    def _died(self) -> None:
        self.deaths += 1
        self._news.set()

    async def exit_of(self, name: str = "runtime") -> ExitStatus:
        async with asyncio.timeout(20):
            while not self._exits.get(name):
                self._news.clear()
                await self._news.wait()
        return self._exits[name].pop(0)

    async def death(self) -> None:
        async with asyncio.timeout(20):
            while not self.deaths:
                self._news.clear()
                await self._news.wait()

    async def printed(self, end: bytes = b"\n") -> bytes:
        """What was printed up to and including `end`."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            while end not in self.output:
                readable = asyncio.Event()
                loop.add_reader(self.sandbox.output_fd, readable.set)
                try:
                    await readable.wait()
                finally:
                    loop.remove_reader(self.sandbox.output_fd)
                self.output += os.read(self.sandbox.output_fd, 1 << 20)
        found, _, self.output = self.output.partition(end)
        return found + end


async def ask(sandboxes: Sandboxes, directory: Path, script: str, **changes: Any) -> Any:
    """Run a Python script in a sandbox of its own; what it passes to `answer` comes back."""
    preamble = "import json\ndef answer(value): print(json.dumps(value), flush=True)\n"
    sandbox = await sandboxes.create(sandbox_plan(directory, python(preamble + script), **changes))
    try:
        return json.loads(await Watched(sandbox).printed())
    finally:
        await sandbox.destroy()


def children_of(pid: int) -> list[psutil.Process]:
    """Everything below a server but its zygotes: sandboxd, and all that runs in sandboxes."""
    return [child for child in psutil.Process(pid).children(recursive=True) if name_of(child) not in _NO_SANDBOXES]


_NO_SANDBOXES = ("lambent-plain", "lambent-zygote")


def name_of(process: psutil.Process) -> str:
    """Nothing, of one that has ended meanwhile."""
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return ""


def cgroups_of(server_id: str) -> list[Path]:
    tree = os.walk("/sys/fs/cgroup")  # unlike a glob it passes over what others remove meanwhile
    return sorted(
        Path(group, child)
        for group, children, _ in tree
        if group.endswith(f"/lambent-{server_id}")
        for child in children
    )


def processes_in(groups: Sequence[Path]) -> list[int]:
    return [int(pid) for group in groups for pid in (group / "cgroup.procs").read_text().split()]
