"""Who takes the snapshots of versions with SnapStart, as the control plane sees it."""

from __future__ import annotations

from typing import Protocol

from lambent.model.function import FunctionVersion


class Snapshots(Protocol):
    def snap_start_obstacle(self, runtime: str) -> str | None:
        """Why versions with this runtime cannot have SnapStart here; None if they can."""
        ...

    async def snapshot(self, version: FunctionVersion) -> None:
        """Run a published version's Init once, for all its environments to start from where that has ended.

        Raises:
            FunctionError: it has failed.
            PlatformError: it could not be run.
        """
        ...
