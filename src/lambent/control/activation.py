"""From Pending to Active, from InProgress to Successful: the code of a function is made ready in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from lambent.control import states
from lambent.control.catalogue import Catalogue
from lambent.control.stamps import Stamps
from lambent.model.function import FunctionRecord, FunctionVersion, State
from lambent.model.package import BadPackage

log = logging.getLogger(__name__)

_RETRY_AFTER_S = 10.0

Activate = Callable[[FunctionVersion], Awaitable[None]]
"""Makes a version's code ready to run; whatever it raises is the reason why the function cannot become active."""


class Activations:
    """Runs one task per function under way; leaving it stops them, and `begin` at the next start resumes them."""

    def __init__(self, catalogue: Catalogue, activate: Activate, stamps: Stamps) -> None:
        self._catalogue = catalogue
        self._activate = activate
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
        task = self._group.create_task(self._run(record.latest), name=f"activate {record.latest.arn}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, version: FunctionVersion) -> None:
        failure: Exception | None = None
        try:
            await self._activate(version)
        except Exception as error:
            log.error("function.activation_failed", exc_info=error, extra={"function": str(version.arn)})
            failure = error
        while True:
            try:
                await self._settle(version, failure)
                return
            except Exception as error:
                log.error("function.activation_not_stored", exc_info=error, extra={"function": str(version.arn)})
                await asyncio.sleep(_RETRY_AFTER_S)

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
        if newest is not None and newest.state is State.PENDING:
            await self._catalogue.put_version(self._moved_on(newest, failure))

    def _moved_on(self, version: FunctionVersion, failure: Exception | None) -> FunctionVersion:
        revision_id = self._stamps.new_id()
        if failure is None:
            return states.activated(version, revision_id)
        code = "InvalidZipFileException" if isinstance(failure, BadPackage) else "InternalError"
        return states.failed(version, revision_id, str(failure), code)


def _is_same(latest: FunctionVersion, version: FunctionVersion) -> bool:
    """Its RevisionId alone may have moved on: a permission that is added meanwhile renews it."""
    return (latest.last_modified, latest.code_blob) == (version.last_modified, version.code_blob)
