"""All functions that there are, as a start finds them in the store."""

from __future__ import annotations

from collections.abc import AsyncIterator

from lambent.model.function import FunctionRecord
from lambent.model.records import decode_function
from lambent.ports.store import Store


async def every_function(store: Store) -> AsyncIterator[FunctionRecord]:
    after = ""
    while entries := await store.scan("function/", after=after):
        for entry in entries:
            yield decode_function(entry.value)
        after = entries[-1].key
