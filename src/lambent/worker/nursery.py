"""Chooses the zygote that an environment is forked from, and has those started that are wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from lambent.model.function import FunctionVersion
from lambent.worker.launch import exec_wrapper
from lambent.worker.runtimes import Interpreter, Missing
from lambent.worker.sandbox.client import Sandboxes
from lambent.worker.zygotes import Contents, choose_zygote, examine, suitable_zygotes

_REMEMBERED_MAXIMUM = 10_000


class Nursery:
    """Where a zygote is not ready, or none is suitable, the answer is to execute the runtime; nobody waits here."""

    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes
        self._contents: dict[tuple[str, ...], Contents] = {}

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
            self.want(suitable[0])
        return choose_zygote(suitable, contents, self._sandboxes.zygotes)

    def want(self, name: str) -> None:
        """Have a zygote started that may soon be asked for."""
        if name not in self._sandboxes.zygotes:
            self._sandboxes.start_zygote(name)

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
