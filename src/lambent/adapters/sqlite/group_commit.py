"""One writing thread, one transaction at a time: changes that arrive while a commit runs share the next one.

So a burst of writers costs a few syncs of the disk and not one each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from lambent.ports.store import WriteFailed

T = TypeVar("T")


class GroupCommit(Generic[T]):
    """`commit` runs in the writing thread and makes all of the changes or, by raising, none."""

    def __init__(self, name: str, commit: Callable[[Sequence[T]], None]) -> None:
        self._name = name
        self._commit = commit
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._pending: list[tuple[T, Callable[[], None], asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._is_closing = False
        self._writing = asyncio.get_running_loop().create_task(self._write_batches(), name=name)

    async def submit(self, change: T, applied: Callable[[], None]) -> None:
        """Return once the change is on disk; `applied` is called then, even if nobody waits for it any more.

        Raises:
            WriteFailed: it was not made; or the server is stopping.
        """
        if self._is_closing:
            raise WriteFailed(f"{self._name} is closed: the server is stopping")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((change, applied, done))
        self._wake.set()
        await done

    async def close(self, last: Callable[[], None]) -> None:
        """Commit what was submitted, then run `last` in the writing thread and end it."""
        self._is_closing = True
        self._wake.set()
        try:
            await self._writing
        finally:
            self._thread.submit(last).result()
            self._thread.shutdown()

    async def _write_batches(self) -> None:
        loop = asyncio.get_running_loop()
        while self._pending or not self._is_closing:
            await self._wake.wait()
            self._wake.clear()
            batch, self._pending = self._pending, []
            try:
                await loop.run_in_executor(self._thread, self._commit, [change for change, _, _ in batch])
            except WriteFailed as error:
                for _, _, done in batch:
                    _settle(done, error)
            else:
                for _, applied, done in batch:
                    applied()
                    _settle(done, None)


def _settle(done: asyncio.Future[None], error: WriteFailed | None) -> None:
    if done.done():  # whoever waited was cancelled
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
