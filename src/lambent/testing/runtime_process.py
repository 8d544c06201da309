"""A runtime client running as a process against a fake Runtime API: what tests of any language's client start with."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lambent.testing.fake_runtime_api import Answer, FakeRuntimeApi


@dataclass(frozen=True, slots=True)
class Exit:
    """How the process ended: its code (negative: the signal), and everything it wrote."""

    code: int
    stdout: str
    stderr: str


class RuntimeEnded(Exception):
    """The process ended before it had answered."""


@dataclass(frozen=True, slots=True)
class RuntimeProcess:
    """A running runtime client. Waiting for its answers ends with `RuntimeEnded` when the process does."""

    api: FakeRuntimeApi
    process: asyncio.subprocess.Process

    async def invoke(self, payload: bytes = b"{}", *, headers: Mapping[str, str] | None = None) -> Answer:
        """See `FakeRuntimeApi.invoke`."""
        return await self._while_it_runs(asyncio.ensure_future(self.api.invoke(payload, headers=headers)))

    async def init_error(self) -> Answer:
        """What it posts to `init/error`."""
        return await self._while_it_runs(self.api.init_error)

    def terminate(self) -> None:
        """End it and all that it has started: a child that lives on would hold its output open."""
        os.killpg(self.process.pid, signal.SIGTERM)

    async def exit(self) -> Exit:
        """Wait until the process has ended by itself."""
        stdout, stderr = await self.process.communicate()
        return Exit(self.process.returncode or 0, stdout.decode(), stderr.decode())

    async def stop(self) -> Exit:
        """Close its connection, as a dying platform does, and wait until the process has ended."""
        self.api.disconnect()
        return await self.exit()

    async def _while_it_runs(self, answer: asyncio.Future[Answer]) -> Answer:
        end = asyncio.ensure_future(self.process.wait())
        either: set[asyncio.Future[Answer] | asyncio.Future[int]] = {answer, end}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        end.cancel()
        if answer.done():
            return answer.result()
        answer.cancel()
        raise RuntimeEnded(f"exit code {self.process.returncode}")


@asynccontextmanager
async def running_runtime(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, api: FakeRuntimeApi | None = None
) -> AsyncIterator[RuntimeProcess]:
    """Start `command` with AWS_LAMBDA_RUNTIME_API set, and kill it at the end of the block if it still runs."""
    async with api or FakeRuntimeApi() as api:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**env, "AWS_LAMBDA_RUNTIME_API": api.address},
            cwd=cwd,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # so that what it has started can be ended with it
        )
        try:
            yield RuntimeProcess(api, process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
