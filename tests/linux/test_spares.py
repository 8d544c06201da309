"""Sandboxes that stand ready: taken, made anew, cleared away; and no state comes with them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from sandboxing import Watched, cgroups_of, processes_in, sandbox_plan

from lambent.worker.runtime_dirs import prepare_python
from lambent.worker.runtimes import Interpreter, discover
from lambent.worker.sandbox.client import Sandboxes
from lambent.worker.sandbox.plan import ProcessPlan, SandboxPlan
from lambent.worker.sandbox.sandbox import Sandbox
from lambent.worker.sandbox.sandboxd_start import SandboxOptions
from lambent.worker.variables import startup_variables
from lambent.worker.zygotes import zygote_plans

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root"),
]

SERVER_ID = "spares"
SPARES_MAXIMUM = 8
RESERVE = 5
INTERPRETER = next((one for one in discover() if one.language == "python"), None)

HELLO = """
import json, os
print(json.dumps([os.getpid(), os.environ["WHO"], sorted(os.listdir("/tmp")), open("/proc/self/oom_score_adj").read()]))
def handler(event, context): pass
"""


class Nest:
    """Sandboxes with one zygote, and plans that are forked from it."""

    def __init__(self, sandboxes: Sandboxes, interpreter: Interpreter, runtime_dir: Path, code_dir: Path) -> None:
        self.sandboxes = sandboxes
        self._interpreter = interpreter
        self._runtime_dir = runtime_dir
        self._code_dir = code_dir

    def plan(self, who: str) -> SandboxPlan:
        variables = {
            **startup_variables(self._interpreter.runtime),
            "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
            "_HANDLER": "app.handler",
            "WHO": who,
        }
        zygote = self._interpreter.runtime
        process = ProcessPlan(name="runtime", argv=self._interpreter.argv_inside, env=variables, zygote=zygote)
        return sandbox_plan(
            self._code_dir.parent,
            process,
            sandbox_id=who,
            code_dir=str(self._code_dir),
            runtime_dir=str(self._runtime_dir),
            language_dir=str(self._interpreter.language_dir) if self._interpreter.language_dir else None,
            pids_maximum=1024,
            zygote=zygote,
        )

    async def create(self, who: str) -> tuple[Sandbox, list[object]]:
        sandbox = await self.sandboxes.create(self.plan(who))
        return sandbox, json.loads(await Watched(sandbox).printed())

    async def standing(self, *, others: int = 0, at_least: int = 2) -> list[psutil.Process]:
        """Wait until so many sandboxes stand ready, each with a child that waits, and `others` run."""
        async with asyncio.timeout(30):
            while True:
                inits = [one for one in psutil.Process(self.sandboxes.pid).children() if one.name() == "init"]
                ready = [one for one in inits if len(one.children()) == 1]
                if len(inits) == len(ready) and at_least <= len(ready) - others <= SPARES_MAXIMUM:
                    return ready
                await asyncio.sleep(0.02)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def nest(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nest]:
    if INTERPRETER is None:
        pytest.skip("no Python that functions could run on")
    top = tmp_path_factory.mktemp("nest")
    code_dir, runtime_dir = top / "code", prepare_python(top / "runtime")
    code_dir.mkdir()
    (code_dir / "app.py").write_text(HELLO)
    options = SandboxOptions(
        state_dir=top / "state",
        server_id=SERVER_ID,
        level="full",
        zygotes=zygote_plans([INTERPRETER], runtime_dir),
        spares_maximum=SPARES_MAXIMUM,
    )
    async with await Sandboxes.launch(options) as sandboxes:
        sandboxes.start_zygote(INTERPRETER.runtime)
        made = Nest(sandboxes, INTERPRETER, runtime_dir, code_dir)
        await made.standing()
        yield made
        sandboxd = psutil.Process(sandboxes.pid)
        below = sandboxd.children(recursive=True)
    _, alive = psutil.wait_procs(below, timeout=10)
    assert not alive
    assert cgroups_of(SERVER_ID) == []


async def test_a_reserve_stands_ready_before_any_crowd_came(nest: Nest) -> None:
    assert len(await nest.standing(at_least=RESERVE)) == RESERVE


async def test_one_that_stands_ready_is_taken_and_another_takes_its_place(nest: Nest) -> None:
    ready = await nest.standing()

    sandbox, (pid, who, tmp, score) = await nest.create("taker")

    assert (pid, who, tmp, score) == (2, "taker", [], "1000\n")
    await nest.standing(others=1)
    await sandbox.destroy()
    assert [one for one in ready if not one.is_running()], "what ended with it had stood ready"
    await nest.standing()


async def test_more_than_stand_ready_are_made_at_once(nest: Nest) -> None:
    await nest.standing()

    made = await asyncio.gather(*(nest.create(f"crowd-{number}") for number in range(8)))

    assert [who for _, (_, who, _, _) in made] == [f"crowd-{number}" for number in range(8)]
    await nest.standing(others=8)
    await asyncio.gather(*(sandbox.destroy() for sandbox, _ in made))
    await nest.standing(at_least=SPARES_MAXIMUM)


async def test_a_crowd_finds_slots_that_were_made_before_it_came(nest: Nest) -> None:
    await nest.standing()
    async with asyncio.timeout(30):
        while True:
            blank = {group.name for group in cgroups_of(SERVER_ID) if not processes_in([group])}
            if len(blank) >= 8:
                break
            await asyncio.sleep(0.02)

    made = await asyncio.gather(*(nest.create(f"found-{number}") for number in range(8)))

    taken = {group.name for group in cgroups_of(SERVER_ID) if group.name in blank and processes_in([group])}
    assert len(taken) >= 8 - SPARES_MAXIMUM
    await asyncio.gather(*(sandbox.destroy() for sandbox, _ in made))


async def test_one_that_is_killed_before_anybody_wanted_it_is_replaced(nest: Nest) -> None:
    ready = await nest.standing()

    ready[0].send_signal(signal.SIGKILL)
    ready[0].wait(10)

    sandbox, (_, who, _, _) = await nest.create("after the kill")
    assert who == "after the kill"
    await sandbox.destroy()
    await nest.standing()


async def test_a_waiting_runtime_that_is_killed_is_made_again(nest: Nest) -> None:
    waiting = [child for init in await nest.standing() for child in init.children()]
    for child in waiting:
        child.send_signal(signal.SIGKILL)
    psutil.wait_procs(waiting, timeout=10)

    sandbox, (_, who, _, _) = await nest.create("bereft")

    assert who == "bereft"
    await sandbox.destroy()
