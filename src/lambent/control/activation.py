"""From Pending to Active, from InProgress to Successful: the code of a function is made ready in the background.

A published version with SnapStart is Pending on its own, while its snapshot is taken.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from types import TracebackType
from typing import Self

from lambent.control import states
from lambent.control.catalogue import Catalogue
from lambent.control.stamps import Stamps
from lambent.model.errors import FunctionError
from lambent.model.function import FunctionRecord, FunctionVersion, State
from lambent.model.package import BadPackage

log = logging.getLogger(__name__)

_RETRY_AFTER_S = 10.0

Activate = Callable[[FunctionVersion], Awaitable[None]]
"""Makes a version's code ready to run; whatever it raises is the reason why the function cannot become active."""

Settle = Callable[[FunctionVersion, Exception | None], Awaitable[None]]
"""Stores how that has ended."""


class Activations:
    """Runs one task per function or version under way; leaving it stops them, and `begin` at the next start resumes.

    `snapshot` takes the snapshot of a version with SnapStart, whose code is ready to run.
    """

    def __init__(
        self, catalogue: Catalogue, activate: Activate, stamps: Stamps, snapshot: Activate | None = None
    ) -> None:
        self._catalogue = catalogue
        self._activate = activate
        self._snapshot = snapshot
        self._stamps = stamps
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._group = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(kind, error, traceback)

    def begin(self, record: FunctionRecord) -> None:
        self._begin(self._run(record.latest, self._activate, self._settle), f"activate {record.latest.arn}")

    def begin_snapshot(self, version: FunctionVersion) -> None:
        """For a version that is published and Pending, of a function that is Active."""
        self._begin(self._run(version, self._take_snapshot, self._settle_version), f"snapshot {version.qualified_arn}")

    def _begin(self, work: Coroutine[None, None, None], name: str) -> None:
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, version: FunctionVersion, prepare: Activate, settle: Settle) -> None:
        failure: Exception | None = None
        try:
            await prepare(version)
        except FunctionError as error:
            log.info("function.snapshot_failed", extra={"function": str(version.qualified_arn), "reason": str(error)})
            failure = error
        except Exception as error:
            log.error("function.activation_failed", exc_info=error, extra={"function": str(version.arn)})
            failure = error
        while True:
            try:
                await settle(version, failure)
                return
            except Exception as error:
                log.error("function.activation_not_stored", exc_info=error, extra={"function": str(version.arn)})
                await asyncio.sleep(_RETRY_AFTER_S)

    async def _take_snapshot(self, version: FunctionVersion) -> None:
        await self._activate(version)
        if self._snapshot is not None:
            await self._snapshot(version)

    async def _settle_version(self, version: FunctionVersion, failure: Exception | None) -> None:
        """Move a version on that had a snapshot taken of itself, unless it was deleted meanwhile."""
        async with self._catalogue.changing:
            found = await self._catalogue.get(version.arn)
            if found is None:
                return
            published = await self._catalogue.published(found.record, int(version.version))
            if published is None or published.state is not State.PENDING or not _is_same(published, version):
                return
            await self._catalogue.put_version(self._moved_on(published, failure))
            await self._catalogue.put(found.record, found.revision)  # who watches functions hears of their versions

    async def _settle(self, version: FunctionVersion, failure: Exception | None) -> None:
        """Move the function on, unless it was deleted or (stuck for long) updated meanwhile."""
        async with self._catalogue.changing:
            found = await self._catalogue.get(version.arn)
            if found is None or not (states.is_under_way(found.record) and _is_same(found.record.latest, version)):
                return
            await self._settle_newest_version(found.record, failure)
            latest = self._moved_on(found.record.latest, failure)
            serving = found.record.serving if failure else None
            await self._catalogue.put(replace(found.record, latest=latest, serving=serving), found.revision)

    async def _settle_newest_version(self, record: FunctionRecord, failure: Exception | None) -> None:
        """A version published together with the change became Pending with it."""
        newest = await self._catalogue.published(record, record.versions[-1]) if record.versions else None
        if newest is None or newest.state is not State.PENDING:
            return
        if failure is None and states.takes_snapshot(newest):
            self.begin_snapshot(newest)
        else:
            await self._catalogue.put_version(self._moved_on(newest, failure))

    def _moved_on(self, version: FunctionVersion, failure: Exception | None) -> FunctionVersion:
        revision_id = self._stamps.new_id()
        if failure is None:
            return states.activated(version, revision_id)
        return states.failed(version, revision_id, str(failure), _reason_code(failure))


def _reason_code(failure: Exception) -> str:
    match failure:
        case BadPackage():
            return "InvalidZipFileException"
        case FunctionError(error_type=error_type):
            return states.snapshot_failure_code(error_type)
        case _:
            return "InternalError"


def _is_same(latest: FunctionVersion, version: FunctionVersion) -> bool:
    """Its RevisionId alone may have moved on: a permission that is added meanwhile renews it."""
    return (latest.last_modified, latest.code_blob) == (version.last_modified, version.code_blob)
