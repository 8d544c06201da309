"""The store in a dictionary: for tests and for servers that are to forget."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from lambent.adapters.watchers import Watchers
from lambent.ports.store import ABSENT, Entry, Revision, RevisionMismatch


class MemoryStore(Watchers):
    """Implements `lambent.ports.store.Store`; durable as long as the process."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        self._revision = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    async def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    async def put(self, key: str, value: bytes, *, expected: Revision | None = None) -> Revision:
        self._check(key, expected)
        if key not in self._entries:
            insort(self._keys, key)
        self._revision += 1
        entry = self._entries[key] = Entry(key, bytes(value), Revision(self._revision))
        self._tell(key)
        return entry.revision

    async def delete(self, key: str, *, expected: Revision | None = None) -> None:
        self._check(key, expected)
        if self._entries.pop(key, None) is None:
            return
        del self._keys[bisect_left(self._keys, key)]
        self._tell(key)

    async def scan(self, prefix: str, *, after: str = "", limit: int = 1_000) -> Sequence[Entry]:
        start = bisect_right(self._keys, after) if after >= prefix else bisect_left(self._keys, prefix)
        found: list[Entry] = []
        for key in self._keys[start : start + limit]:
            if not key.startswith(prefix):
                break
            found.append(self._entries[key])
        return found

    def _check(self, key: str, expected: Revision | None) -> None:
        entry = self._entries.get(key)
        if expected is not None and expected != (entry.revision if entry else ABSENT):
            raise RevisionMismatch(key)
