"""Every mapping in the store has a keeper, from the moment that it is seen until it is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from lambent.model.arn import FunctionArn
from lambent.model.event_source_mapping import mapping_prefix
from lambent.pollers.figures import MappingStatistics
from lambent.pollers.keeper import MappingKeeper, Surroundings

_SCAN = 500


class Pollers:
    """Entering takes up all mappings; it is to be left before those whom it calls."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._keepers: dict[str, MappingKeeper] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        store = self._around.store
        await self._group.__aenter__()
        self._unwatch_mappings = store.watch(mapping_prefix(), self._mapping_changed)
        self._unwatch_functions = store.watch("function/", self._function_changed)
        last = ""
        while entries := await store.scan(mapping_prefix(), after=last, limit=_SCAN):
            for entry in entries:
                self._mapping_changed(entry.key)
            last = entries[-1].key
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._unwatch_mappings()
        self._unwatch_functions()
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(kind, error, traceback)

    async def drain(self, timeout_s: float) -> None:
        """Poll nothing more and let what is being invoked end; what has not by then is read again at the next start."""
        draining = [asyncio.ensure_future(keeper.drain()) for keeper in self._keepers.values()]
        if draining:
            await asyncio.wait(draining, timeout=timeout_s)
        for task in draining:
            task.cancel()

    def statistics(self, region: str, account: str, function: FunctionArn | None = None) -> Sequence[MappingStatistics]:
        """Of an account's mappings in a region, or of one function's."""
        found = (
            keeper.statistics()
            for keeper in self._keepers.values()
            if (mapping := keeper.mapping) is not None
            and (mapping.region, mapping.account) == (region, account)
            and function in (None, mapping.function.unqualified)
        )
        return [one for one in found if one is not None]

    def _mapping_changed(self, key: str) -> None:
        keeper = self._keepers.get(key)
        if keeper is not None:
            keeper.changed()
            return
        keeper = self._keepers[key] = MappingKeeper(key, self._around)
        task = self._group.create_task(self._keep(key, keeper), name=f"keep {key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, key: str, keeper: MappingKeeper) -> None:
        try:
            await keeper.run()
        finally:
            del self._keepers[key]

    def _function_changed(self, key: str) -> None:
        _, account, region, name = key.split("/")
        function = FunctionArn(region, account, name)
        for keeper in self._keepers.values():
            if keeper.mapping is not None and keeper.mapping.function.unqualified == function:
                keeper.changed()
