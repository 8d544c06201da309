"""Packages by content, in files."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest

from lambent.adapters.files.blobs import FileBlobs
from lambent.ports.blobs import Blobs
from lambent.ports.store import WriteFailed


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return FileBlobs(tmp_path / "blobs")


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


async def test_a_blob_is_named_by_the_hash_of_its_bytes_and_read_back(blobs: Blobs) -> None:
    name = await blobs.put(b"code")
    assert name == hashlib.sha256(b"code").hexdigest()
    path = await blobs.path(name)
    assert path.read_bytes() == b"code"
    assert path.parent.name == name[:2]


async def test_the_same_bytes_are_kept_once_even_when_put_at_the_same_time(blobs: Blobs, tmp_path: Path) -> None:
    names = await asyncio.gather(*(blobs.put(b"code") for _ in range(20)))
    assert len(set(names)) == 1
    assert len(files(tmp_path)) == 1


async def test_a_kept_file_cannot_be_written_and_is_nobody_elses_to_read(blobs: Blobs) -> None:
    path = await blobs.path(await blobs.put(b"code"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o400


@pytest.mark.parametrize("name", ["0" * 64, "../../etc/passwd", "", "A" * 64, "incoming"])
async def test_a_name_of_no_blob_is_unknown_whatever_it_looks_like(blobs: Blobs, name: str) -> None:
    with pytest.raises(KeyError):
        await blobs.path(name)
    await blobs.delete(name)


async def test_a_deleted_blob_is_gone_and_may_come_back(blobs: Blobs) -> None:
    name = await blobs.put(b"code")
    await blobs.delete(name)
    with pytest.raises(KeyError):
        await blobs.path(name)
    assert await blobs.put(b"code") == name
    await blobs.path(name)


async def test_a_full_disk_keeps_nothing(blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteFailed, match="No space left on device"):
        await blobs.put(b"code")
    assert files(tmp_path) == []


async def test_what_a_killed_process_left_half_written_is_removed_at_start(tmp_path: Path) -> None:
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "tmp1").write_bytes(b"half a pack")
    kept = await FileBlobs(tmp_path).put(b"code")
    again = FileBlobs(tmp_path)
    assert [path.name for path in files(tmp_path)] == [kept]
    await again.path(kept)
