"""Sandboxes whose zygote is stopped, or killed, with several of them yet to be born."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from sandboxing import Watched, cgroups_of, sandbox_plan, shell

from lambent.model.errors import PlatformError
from lambent.worker.sandbox.client import Sandboxes
from lambent.worker.sandbox.sandbox import Sandbox
from lambent.worker.sandbox.sandboxd_start import SandboxOptions

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root"),
]

SERVER_ID = "births"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def sandboxes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandboxes]:
    options = SandboxOptions(state_dir=tmp_path_factory.mktemp("state-of-births"), server_id=SERVER_ID, level="full")
    async with await Sandboxes.launch(options) as launched:
        yield launched
    assert cgroups_of(SERVER_ID) == []


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while True:
            if is_so():
                return
            await asyncio.sleep(0.01)


async def plain_zygote(sandboxes: Sandboxes) -> psutil.Process:
    found: list[psutil.Process] = []

    def is_there() -> bool:
        found[:] = [one for one in psutil.Process(sandboxes.pid).children() if one.name() == "lambent-plain"]
        return len(found) == 1

    await until(is_there)
    return found[0]


async def create(sandboxes: Sandboxes, tmp_path: Path, word: str) -> tuple[Sandbox, bytes]:
    sandbox = await sandboxes.create(sandbox_plan(tmp_path, shell(f"echo {word}; sleep 60")))
    return sandbox, await Watched(sandbox).printed()


Making = asyncio.Task[tuple[Sandbox, bytes]]


async def pending(sandboxes: Sandboxes, tmp_path: Path, *words: str) -> dict[str, Making]:
    """Sandboxes that are being made, each with a slot already."""
    made = {word: asyncio.create_task(create(sandboxes, tmp_path, word)) for word in words}
    await until(lambda: len({group.name for group in cgroups_of(SERVER_ID)}) == len(words))
    return made


async def assert_made(made: dict[str, Making]) -> None:
    for word, making in made.items():
        sandbox, printed = await making
        assert printed == word.encode() + b"\n"
        await sandbox.destroy()


WORDS = ("one", "two", "three", "four", "five", "six", "seven")


async def test_a_plain_zygote_knows_no_variable_of_the_servers(sandboxes: Sandboxes) -> None:
    assert "PATH" in os.environ

    assert "PATH" not in (await plain_zygote(sandboxes)).environ()


async def test_all_are_made_though_their_zygote_is_killed(sandboxes: Sandboxes, tmp_path: Path) -> None:
    zygote = await plain_zygote(sandboxes)
    zygote.suspend()
    made = await pending(sandboxes, tmp_path, *WORDS)

    zygote.kill()

    await assert_made(made)
    assert (await plain_zygote(sandboxes)).pid != zygote.pid


async def test_all_are_made_though_their_zygote_hangs(sandboxes: Sandboxes, tmp_path: Path) -> None:
    zygote = await plain_zygote(sandboxes)
    zygote.suspend()

    await assert_made(await pending(sandboxes, tmp_path, *WORDS))

    assert (await plain_zygote(sandboxes)).pid != zygote.pid


@pytest.mark.parametrize("end", ["resume", "kill"])
async def test_one_that_is_destroyed_before_it_is_born_leaves_nothing(
    sandboxes: Sandboxes, tmp_path: Path, end: str
) -> None:
    zygote = await plain_zygote(sandboxes)
    zygote.suspend()
    made = await pending(sandboxes, tmp_path, *WORDS)
    unwanted = [made.pop(word) for word in ("one", "three", "seven")]
    for making in unwanted:
        making.cancel()
    await asyncio.wait(unwanted)

    getattr(zygote, end)()

    await assert_made(made)
    await until(lambda: not cgroups_of(SERVER_ID))
    running = {child.name() for child in psutil.Process(sandboxes.pid).children()}
    assert running == {"lambent-plain"}


async def test_one_that_is_killed_while_it_boots_again_has_died(sandboxes: Sandboxes, tmp_path: Path) -> None:
    sandbox, _ = await create(sandboxes, tmp_path, "first")
    await sandbox.kill()
    zygote = await plain_zygote(sandboxes)
    zygote.suspend()
    booting = asyncio.create_task(sandbox.reboot([shell("echo second; sleep 60")]))
    await asyncio.sleep(0)  # it has asked

    killing = asyncio.create_task(sandbox.kill())
    await asyncio.sleep(0)
    zygote.resume()
    await killing
    with pytest.raises(PlatformError, match="died while it booted"):
        await booting

    await sandbox.reboot([shell("echo third; sleep 60")])
    assert await Watched(sandbox).printed() == b"third\n"
    await sandbox.destroy()


async def test_a_server_that_ends_leaves_nothing_of_those_to_be_born(tmp_path: Path) -> None:
    options = SandboxOptions(state_dir=tmp_path / "state", server_id=f"{SERVER_ID}-ending", level="full")
    async with await Sandboxes.launch(options) as ending:
        sandboxd = psutil.Process(ending.pid)
        (await plain_zygote(ending)).suspend()
        making = [asyncio.create_task(create(ending, tmp_path, word)) for word in WORDS]
        await asyncio.sleep(0)
        below = sandboxd.children(recursive=True)
    for one in making:
        one.cancel()
    _, alive = psutil.wait_procs([sandboxd, *below], timeout=30)
    assert not alive
    assert cgroups_of(options.server_id) == []
