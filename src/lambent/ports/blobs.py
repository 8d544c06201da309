"""Bytes by content: deployment packages. Files on one machine, an object store in a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Blobs(Protocol):
    """A blob's name is the hex SHA-256 of its bytes; the same bytes are kept once."""

    async def put(self, data: bytes) -> str:
        """Keep the bytes durably and return their name.

        Raises:
            WriteFailed: the disk is full or broken; nothing was kept.
        """
        ...

    async def path(self, name: str) -> Path:
        """A local, read-only file holding the blob.

        Raises:
            KeyError: no such blob.
        """
        ...

    async def delete(self, name: str) -> None:
        """Forget the blob; an absent one is no error."""
        ...
