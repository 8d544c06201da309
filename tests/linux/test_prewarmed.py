"""Interpreters that wait in sandboxes made ahead: told whose they are once, replaced when they die, never shared."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from sandboxing import Watched, cgroups_of, sandbox_plan

from lambent.worker.launch import interpreter_argv
from lambent.worker.runtime_dirs import prepare_node
from lambent.worker.runtimes import Interpreter, discover
from lambent.worker.sandbox.client import Sandboxes
from lambent.worker.sandbox.plan import RUNTIME_API_ADDRESS, Prewarmed, ProcessPlan, SandboxPlan
from lambent.worker.sandbox.sandbox import Sandbox
from lambent.worker.sandbox.sandboxd_start import SandboxOptions
from lambent.worker.sandbox.wire import Expect
from lambent.worker.variables import startup_variables

NODE = next((one for one in discover() if one.language == "nodejs"), None)

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root"),
    pytest.mark.skipif(NODE is None, reason="no Node.js on this host"),
]

SERVER_ID = "prewarmed"
SPARES_MAXIMUM = 3
MEMORY_MIB = 128

CODE = """
const fs = require('fs');
console.log(JSON.stringify({
  pid: process.pid, env: process.env, argv: process.argv, cwd: process.cwd(), tmp: fs.readdirSync('/tmp'),
  task: fs.readdirSync('/var/task'), opt: fs.readdirSync('/opt'), hour: new Date(0).getHours(),
  command: fs.readFileSync('/proc/self/cmdline', 'latin1').split('\\0'),
  score: fs.readFileSync('/proc/self/oom_score_adj', 'latin1').trim(), other: globalThis.other,
}));
globalThis.other = process.env.WHO;
if (process.env.GREEDY) Buffer.alloc(4 * 128 * 2 ** 20, 1);
exports.handler = async () => {};
"""


class Nest:
    """Sandboxes in which Node.js may wait, and plans that it may become."""

    def __init__(self, sandboxes: Sandboxes, node: Interpreter, top: Path) -> None:
        self.sandboxes = sandboxes
        self._node = node
        self._code_dir, self._layer_dir = top / "code", top / "layer"
        self._runtime_dir = prepare_node(top / "runtime", node.runtime)
        for directory, name, text in ((self._code_dir, "app.js", CODE), (self._layer_dir, "from-layer", "")):
            directory.mkdir()
            (directory / name).write_text(text)
        self.argv = interpreter_argv(node, MEMORY_MIB, "")
        self.prewarmed = Prewarmed(
            argv=(*self.argv[:-1], "/var/runtime/spare.cjs"),
            env=(*startup_variables(node.runtime).items(), ("AWS_LAMBDA_RUNTIME_API", RUNTIME_API_ADDRESS)),
            runtime_dir=str(self._runtime_dir),
            language_dir=str(node.language_dir) if node.language_dir else None,
        )

    def expect(self) -> None:
        self.sandboxes.expect(Expect(prewarmed=self.prewarmed, ephemeral_storage_mib=512, pids_maximum=1024))

    def variables(self, **more: str) -> dict[str, str]:
        return {
            **startup_variables(self._node.runtime),
            "AWS_LAMBDA_RUNTIME_API": RUNTIME_API_ADDRESS,
            "LAMBDA_TASK_ROOT": "/var/task",
            "_HANDLER": "app.handler",
            **more,
        }

    def plan(self, variables: dict[str, str]) -> SandboxPlan:
        process = ProcessPlan(name="runtime", argv=self.argv, env=variables, is_prewarmed=True)
        return sandbox_plan(
            self._code_dir.parent,
            process,
            sandbox_id=variables["WHO"],
            code_dir=str(self._code_dir),
            layer_dirs=(str(self._layer_dir),),
            runtime_dir=str(self._runtime_dir),
            language_dir=self.prewarmed.language_dir,
            memory_mib=MEMORY_MIB,
            pids_maximum=1024,
            prewarmed=self.prewarmed,
        )

    async def create(self, variables: dict[str, str]) -> tuple[Sandbox, dict[str, Any]]:
        sandbox = await self.sandboxes.create(self.plan(variables))
        return sandbox, said(await Watched(sandbox).printed())

    async def standing(self, *, others: int = 0) -> list[psutil.Process]:
        """Wait until two sandboxes at least stand ready, each with an interpreter that waits, and `others` run."""
        async with asyncio.timeout(30):
            while True:
                children = psutil.Process(self.sandboxes.pid).children()
                inits = [one for one in children if one.name() != "lambent-plain"]
                ready = [one for one in inits if any(map(_is_node, one.children()))]
                if len(inits) == len(ready) and 2 <= len(ready) - others <= SPARES_MAXIMUM:
                    return ready
                await asyncio.sleep(0.02)


def _is_node(process: psutil.Process) -> bool:
    try:
        return "node" in process.name() and process.num_threads() > 1
    except psutil.NoSuchProcess:
        return False


def said(line: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(line.decode().split("\t", 3)[3])
    return document


def has_waited(facts: dict[str, Any]) -> bool:
    return "/var/runtime/spare.cjs" in facts["command"]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def nest(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nest]:
    assert NODE is not None
    top = tmp_path_factory.mktemp("nest")
    options = SandboxOptions(state_dir=top / "state", server_id=SERVER_ID, level="full", spares_maximum=SPARES_MAXIMUM)
    async with await Sandboxes.launch(options) as sandboxes:
        made = Nest(sandboxes, NODE, top)
        made.expect()
        await made.standing()
        yield made
        below = psutil.Process(sandboxes.pid).children(recursive=True)
    _, alive = psutil.wait_procs(below, timeout=10)
    assert not alive
    assert cgroups_of(SERVER_ID) == []


async def test_what_has_waited_becomes_the_functions_as_if_it_had_been_started_for_it(nest: Nest) -> None:
    ready = await nest.standing()
    variables = nest.variables(WHO="taker", TZ="Pacific/Auckland")

    sandbox, facts = await nest.create(variables)

    assert has_waited(facts)
    assert facts["env"] == variables
    assert (facts["pid"], facts["cwd"], facts["score"]) == (2, "/var/task", "1000")
    assert facts["argv"][1:] == ["/var/runtime/bootstrap.cjs"]
    assert (facts["task"], facts["opt"], facts["tmp"]) == (["app.js"], ["from-layer"], [])
    assert facts["hour"] == 12, "the time zone is the function's"
    await nest.standing(others=1)
    await sandbox.destroy()
    assert [one for one in ready if not one.is_running()], "what ended with it had stood ready"
    await nest.standing()


async def test_it_is_one_functions_only_and_who_finds_none_is_executed(nest: Nest) -> None:
    await nest.standing()

    made = await asyncio.gather(*(nest.create(nest.variables(WHO=f"crowd-{number}")) for number in range(6)))

    assert [facts["env"]["WHO"] for _, facts in made] == [f"crowd-{number}" for number in range(6)]
    assert all("other" not in facts for _, facts in made)
    assert {has_waited(facts) for _, facts in made} == {True, False}
    await asyncio.gather(*(sandbox.destroy() for sandbox, _ in made))
    await nest.standing()


async def test_one_that_is_killed_while_it_waits_is_replaced(nest: Nest) -> None:
    for init in await nest.standing():
        for waiting in init.children():
            waiting.send_signal(signal.SIGKILL)
        init.wait(10)

    sandbox, facts = await nest.create(nest.variables(WHO="bereft"))

    assert facts["env"]["WHO"] == "bereft"
    await sandbox.destroy()
    assert all(map(psutil.Process.is_running, await nest.standing()))


async def test_limits_hold_from_when_it_is_a_functions(nest: Nest) -> None:
    await nest.standing()
    sandbox = await nest.sandboxes.create(nest.plan(nest.variables(WHO="greedy", GREEDY="yes")))
    watched = Watched(sandbox)

    assert has_waited(said(await watched.printed()))
    assert (await watched.exit_of()).signal == signal.SIGKILL
    assert sandbox.oom_kills() == 1
    await sandbox.destroy()


async def test_the_next_generation_is_executed(nest: Nest) -> None:
    await nest.standing()
    plan = nest.plan(nest.variables(WHO="again"))
    sandbox = await nest.sandboxes.create(plan)
    watched = Watched(sandbox)
    first = said(await watched.printed())

    await sandbox.kill()
    await sandbox.reboot(plan.processes)
    second = said(await watched.printed())

    assert (has_waited(first), has_waited(second)) == (True, False)
    assert first["env"] == second["env"]
    assert first["argv"] == second["argv"]
    await sandbox.destroy()
