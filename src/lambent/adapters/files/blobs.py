"""Blobs as files named by their content: `<dir>/ab/abcdef…`, readable only, written aside and renamed when durable."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from lambent.ports.store import WriteFailed

_NAME = re.compile(r"[0-9a-f]{64}")


class FileBlobs:
    """Implements `lambent.ports.blobs.Blobs` below `directory`, which is made if it is absent.

    What an earlier process left half-written in `directory/incoming` is removed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._incoming = directory / "incoming"
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in self._incoming.iterdir():
            leftover.unlink()

    async def put(self, data: bytes) -> str:
        return await asyncio.to_thread(self._put, data)

    async def path(self, name: str) -> Path:
        path = self._path(name)
        if not path.is_file():
            raise KeyError(name)
        return path

    async def delete(self, name: str) -> None:
        with suppress(KeyError):
            self._path(name).unlink(missing_ok=True)

    def _put(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        path = self._path(name)
        try:
            if not path.exists():
                self._write(data, path)
            _sync_directory(path.parent)
            _sync_directory(self._directory)
        except OSError as error:
            raise WriteFailed(
                f"A package of {len(data)} bytes could not be kept below {self._directory}: {error.strerror}. "
                "Nothing was changed; free space or check the disk"
            ) from error
        return name

    def _write(self, data: bytes, path: Path) -> None:
        """Make the file appear whole, or not at all."""
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(dir=self._incoming)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(descriptor, 0o400)
                os.fsync(descriptor)
            os.replace(unfinished, path)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):  # names arrive in URLs
            raise KeyError(name)
        return self._directory / name[:2] / name


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
