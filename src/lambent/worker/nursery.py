"""Chooses the zygote that an environment is forked from, and has made ready what environments may soon take."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from lambent.model.function import FunctionVersion
from lambent.model.limits import PROCESSES
from lambent.worker.launch import exec_wrapper
from lambent.worker.prewarm import plan_prewarmed
from lambent.worker.runtimes import Interpreter, Missing
from lambent.worker.sandbox.client import Sandboxes
from lambent.worker.sandbox.plan import Prewarmed
from lambent.worker.sandbox.wire import Expect
from lambent.worker.zygotes import Contents, choose_zygote, examine, suitable_zygotes

_REMEMBERED_MAXIMUM = 10_000


class Nursery:
    """Where a zygote is not ready, or none is suitable, the answer is to execute the runtime; nobody waits here."""

    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes
        self._contents: dict[tuple[str, ...], Contents] = {}
        self._wanted: set[str] = set()
        """Asked for once, since what dies is replaced without being asked for again."""

    async def zygote_for(
        self,
        version: FunctionVersion,
        interpreter: Interpreter | Missing | None,
        code_dir: Path,
        layer_dirs: Sequence[Path],
    ) -> str | None:
        """The zygote to fork from now; the best one is started if it does not run."""
        if not isinstance(interpreter, Interpreter) or exec_wrapper(version) is not None:
            return None
        contents = await self._examine(version, code_dir, layer_dirs)
        suitable = suitable_zygotes(interpreter, version.environment or {}, contents)
        if suitable:
            self._want(suitable[0])
        return choose_zygote(suitable, contents, self._sandboxes.zygotes)

    def expect(self, version: FunctionVersion, interpreter: Interpreter, runtime_dir: Path) -> None:
        """Have ready what new environments of the version take, as far as that is common to many versions."""
        if interpreter.language == "python":
            self._want(interpreter.runtime)
        elif (prewarmed := plan_prewarmed(version, interpreter, runtime_dir)) is not None:
            self._expect(version, prewarmed=prewarmed)

    def expect_first_call(self, version: FunctionVersion, zygote: str | None, prewarmed: Prewarmed | None) -> None:
        """Have ready what one environment of the version takes: whoever deploys it will call it."""
        if zygote is not None or prewarmed is not None:
            self._expect(version, zygote=zygote, prewarmed=prewarmed, one_more=True)

    def _expect(
        self,
        version: FunctionVersion,
        *,
        zygote: str | None = None,
        prewarmed: Prewarmed | None = None,
        one_more: bool = False,
    ) -> None:
        self._sandboxes.expect(
            Expect(
                zygote=zygote,
                prewarmed=prewarmed,
                ephemeral_storage_mib=version.ephemeral_storage_mib,
                pids_maximum=PROCESSES,
                one_more=one_more,
            )
        )

    def _want(self, name: str) -> None:
        if name not in self._wanted:
            self._sandboxes.start_zygote(name)
            self._wanted.add(name)

    async def _examine(self, version: FunctionVersion, code_dir: Path, layer_dirs: Sequence[Path]) -> Contents:
        """What the version's package and layers hold; read once."""
        key = (version.code_blob, *(layer.code_blob for layer in version.layers))
        contents = self._contents.get(key)
        if contents is None:
            contents = await asyncio.to_thread(examine, code_dir, layer_dirs)
            if len(self._contents) >= _REMEMBERED_MAXIMUM:
                del self._contents[next(iter(self._contents))]
            self._contents[key] = contents
        return contents
