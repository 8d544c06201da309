"""Sandboxes alone: how many sandboxd makes and clears away a second, with the default egress and nothing run inside.

Who asks for them is a process like the server: compiled, on its event loop.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from lambent.worker.runtime_dirs import prepare_empty
from lambent.worker.sandbox.client import Sandboxes
from lambent.worker.sandbox.network import probe_egress
from lambent.worker.sandbox.plan import SandboxPlan
from lambent.worker.sandbox.sandbox import Sandbox
from lambent.worker.sandbox.sandboxd_start import SandboxOptions

_AT_ONCE = 16
_PROGRAM = "from lambent import compiled; compiled.use(); from benchmarks import sandbox_rate; sandbox_rate.main()"


@dataclass(frozen=True, slots=True)
class Rate:
    """When the first was asked for, by `time.perf_counter`, and how long all took; seconds."""

    count: int
    started_s: float
    elapsed_s: float
    cleared_after_s: float

    @property
    def per_second(self) -> float:
        return self.count / self.elapsed_s

    @property
    def cleared_per_second(self) -> float:
        return self.count / self.cleared_after_s


def measure(count: int) -> Rate:
    command = [sys.executable, "-c", _PROGRAM, str(count)]
    return Rate(**json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))


async def _measure(folder: Path, count: int) -> Rate:
    code = folder / "code"
    code.mkdir()
    egress = "open" if probe_egress()[0] else "none"
    options = SandboxOptions(state_dir=folder / "state", server_id="benchmark", egress=egress)
    async with await Sandboxes.launch(options) as sandboxes:
        runtime_dir = prepare_empty(folder / "runtime")
        plans = iter([_plan(str(number), code, runtime_dir, egress) for number in range(count)])
        made: list[Sandbox] = []

        async def make() -> None:
            for plan in plans:
                made.append(await sandboxes.create(plan))

        started = time.perf_counter()
        await asyncio.gather(*(make() for _ in range(_AT_ONCE)))
        stood = time.perf_counter()
        await asyncio.gather(*(sandbox.destroy() for sandbox in made))
        return Rate(count, started, stood - started, time.perf_counter() - stood)


def _plan(name: str, code: Path, runtime_dir: Path, egress: str) -> SandboxPlan:
    return SandboxPlan(
        sandbox_id=f"benchmark-{name}",
        code_dir=str(code),
        runtime_dir=str(runtime_dir),
        memory_mib=128,
        cpu_share=128 / 1769,
        pids_maximum=1024,
        ephemeral_storage_mib=512,
        egress=egress,
    )


def main() -> None:
    """Print what `measure` returns."""
    with tempfile.TemporaryDirectory(prefix="lambent-sandboxes-") as folder:
        print(json.dumps(asdict(uvloop.run(_measure(Path(folder), int(sys.argv[1]))))))
