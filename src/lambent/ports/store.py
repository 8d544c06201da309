"""What should exist: a small ordered key-value store with optimistic concurrency. SQLite, or JetStream KV in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NewType, Protocol

Revision = NewType("Revision", int)
ABSENT = Revision(0)
"""As `expected`: the key must not exist yet."""


class RevisionMismatch(Exception):
    """Another writer was there first; nothing was written."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} has changed since it was read; read it again and retry")
        self.key = key


@dataclass(frozen=True, slots=True)
class Entry:
    key: str
    value: bytes
    revision: Revision


class Store(Protocol):
    """Every acknowledged write is durable. Keys are text ordered by their UTF-8 bytes; revisions grow with every write."""

    async def get(self, key: str) -> Entry | None: ...

    async def put(self, key: str, value: bytes, *, expected: Revision | None = None) -> Revision:
        """Write and return the new revision.

        Raises:
            RevisionMismatch: `expected` is given and is not the key's current revision (`ABSENT`: the key exists).
        """
        ...

    async def delete(self, key: str, *, expected: Revision | None = None) -> None:
        """Remove the key; an absent one is no error. Raises RevisionMismatch like `put`."""
        ...

    async def scan(self, prefix: str, *, after: str = "", limit: int = 1_000) -> Sequence[Entry]:
        """Entries whose key starts with `prefix` and sorts behind `after`, in key order, at most `limit`."""
        ...

    def watch(self, prefix: str, changed: Callable[[str], None]) -> Callable[[], None]:
        """Call `changed(key)` in the event loop after every write or delete below `prefix`; returns the unsubscriber."""
        ...
