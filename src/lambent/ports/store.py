"""What should exist: a small ordered key-value store with optimistic concurrency. SQLite; JetStream KV in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NewType, Protocol

from lambent.model.errors import PlatformError

Revision = NewType("Revision", int)
ABSENT = Revision(0)
"""As `expected`: the key must not exist yet."""


class RevisionMismatch(Exception):
    """Another writer was there first; nothing was written."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} has changed since it was read; read it again and retry")
        self.key = key


class WriteFailed(PlatformError):
    """The store could not keep what it was given (disk full, I/O error); nothing of it was written."""


@dataclass(frozen=True, slots=True)
class Entry:
    key: str
    value: bytes
    revision: Revision


class Store(Protocol):
    """Every acknowledged write is durable. Keys sort by their UTF-8 bytes; revisions grow with every write."""

    async def get(self, key: str) -> Entry | None: ...

    async def put(self, key: str, value: bytes, *, expected: Revision | None = None) -> Revision:
        """Write and return the new revision.

        Raises:
            RevisionMismatch: `expected` is given and is not the key's current revision (`ABSENT`: the key exists).
            WriteFailed: the disk is full or broken.
        """
        ...

    async def delete(self, key: str, *, expected: Revision | None = None) -> None:
        """Remove the key; an absent one is no error. Raises like `put`."""
        ...

    async def scan(self, prefix: str, *, after: str = "", limit: int = 1_000) -> Sequence[Entry]:
        """Entries whose key starts with `prefix` and sorts behind `after`, in key order, at most `limit`."""
        ...

    def watch(self, prefix: str, changed: Callable[[str], None]) -> Callable[[], None]:
        """Call `changed(key)` in the event loop after every write or delete below `prefix`; returns the unsubscriber.

        Watchers of this process are told before the writer's own call returns, so what they cache is never staler than
        what the writer knows. `changed` returns at once and does not raise.
        """
        ...
