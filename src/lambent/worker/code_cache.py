"""Deployment packages, unpacked: `<root>/<blob>-<bytes on disk>`, complete as soon as the name is there.

Unpacking and deleting happen in `<root>/aside`; a rename is the border, so a crash leaves nothing half-made in sight.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lambent.model.errors import PlatformError
from lambent.model.package import BadPackage, extract
from lambent.ports.blobs import Blobs

log = logging.getLogger(__name__)

MAXIMUM_BYTES = 8 * 1024**3

_NAME = re.compile(r"(?P<blob>[0-9a-f]+)-(?P<size_bytes>\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    path: Path
    size_bytes: int


class CodeCache:
    """Unpacks each package once. Beyond `maximum_bytes`, packages not in use go, the longest unused first.

    What an earlier process left unfinished below `root` is removed. One process at a time owns `root`.
    """

    def __init__(self, root: Path, blobs: Blobs, *, maximum_bytes: int = MAXIMUM_BYTES) -> None:
        self._root = root
        self._aside = root / "aside"
        self._blobs = blobs
        self._maximum_bytes = maximum_bytes
        self._aside.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in self._aside.iterdir():
            _delete(leftover)
        self._entries = _existing(root)
        """The longest unused first."""
        self._users: Counter[str] = Counter()
        self._unpacking: dict[str, asyncio.Task[Path]] = {}

    @asynccontextmanager
    async def use(self, blob: str) -> AsyncIterator[Path]:
        """The unpacked package, which stays while the block runs. Raises as `directory`."""
        self._users[blob] += 1
        try:
            yield await self.directory(blob)
        finally:
            self._users[blob] -= 1
            if not self._users[blob]:
                del self._users[blob]

    async def directory(self, blob: str) -> Path:
        """The unpacked package; without `use`, any later call may remove it.

        Raises:
            PlatformError: the package is gone or damaged, or the disk is full.
        """
        if entry := self._entries.pop(blob, None):
            self._entries[blob] = entry
            return entry.path
        if blob not in self._unpacking:
            self._unpacking[blob] = asyncio.create_task(self._unpack(blob))
        # Shielded: others may wait for the same package, and the next caller will want it.
        return await asyncio.shield(self._unpacking[blob])

    async def _unpack(self, blob: str) -> Path:
        try:
            archive = await self._blobs.path(blob)
            entry = await asyncio.to_thread(self._extract, blob, archive)
        except KeyError as exc:
            raise PlatformError(f"package {blob} is not in the blob store; deploy the function's code again") from exc
        except (BadPackage, OSError) as exc:
            raise PlatformError(f"package {blob} could not be unpacked below {self._root}: {exc}") from exc
        finally:
            del self._unpacking[blob]
        self._entries[blob] = entry
        self._make_room(keep=blob)
        return entry.path

    def _extract(self, blob: str, archive: Path) -> _Entry:
        unfinished = Path(tempfile.mkdtemp(dir=self._aside))
        try:
            extract(archive, unfinished)
            unfinished.chmod(0o755)  # the sandbox's user is another one
            size_bytes = _size_bytes(unfinished)
            path = unfinished.rename(self._root / f"{blob}-{size_bytes}")
        except BaseException:
            _delete(unfinished)
            raise
        return _Entry(path=path, size_bytes=size_bytes)

    def _make_room(self, *, keep: str) -> None:
        excess_bytes = sum(entry.size_bytes for entry in self._entries.values()) - self._maximum_bytes
        for blob, entry in list(self._entries.items()):
            if excess_bytes <= 0:
                return
            if blob != keep and blob not in self._users:
                del self._entries[blob]
                excess_bytes -= entry.size_bytes
                # Onto an empty directory, which a rename replaces; nobody waits for the deletion.
                doomed = entry.path.rename(tempfile.mkdtemp(dir=self._aside))
                asyncio.get_running_loop().run_in_executor(None, _discard, doomed)


def _existing(root: Path) -> dict[str, _Entry]:
    found = ((path, _NAME.fullmatch(path.name)) for path in root.iterdir())
    return {match["blob"]: _Entry(path=path, size_bytes=int(match["size_bytes"])) for path, match in found if match}


def _size_bytes(directory: Path) -> int:
    """What the tree takes on disk, its many small files rounded up as the disk does."""
    paths = (os.path.join(above, name) for above, below, files in os.walk(directory) for name in below + files)
    return sum(os.lstat(path).st_blocks * 512 for path in paths)


def _discard(directory: Path) -> None:
    try:
        _delete(directory)
    except OSError as exc:
        log.warning("code_cache.not_deleted", extra={"directory": str(directory), "reason": str(exc)})


def _delete(directory: Path) -> None:
    """Remove a tree whose directories may forbid it: packages carry their own modes."""
    directory.chmod(0o700)
    for above, below, _ in os.walk(directory):
        for name in below:
            path = os.path.join(above, name)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
    shutil.rmtree(directory)
