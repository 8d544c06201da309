"""A package is unpacked once, is whole when seen, and stays while it is used."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import stat
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lambent.adapters.files.blobs import FileBlobs
from lambent.model import package
from lambent.model.errors import PlatformError
from lambent.worker import code_cache
from lambent.worker.code_cache import CodeCache

MIB = 1024 * 1024


def zipped(files: Mapping[str, bytes], mode: int = 0o644) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.create_system = 3
            entry.external_attr = (mode | (stat.S_IFDIR if name.endswith("/") else stat.S_IFREG)) << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


class Extractions:
    """Counts what is unpacked; can hold it back until released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.begun = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        monkeypatch.setattr(code_cache, "extract", self._extract)

    def _extract(self, zip_path: Path, target_dir: Path) -> None:
        self.count += 1
        self.begun.set()
        self.may_go_on.wait(10)
        package.extract(zip_path, target_dir)


@pytest.fixture
def extractions(monkeypatch: pytest.MonkeyPatch) -> Extractions:
    return Extractions(monkeypatch)


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "blobs")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "code"


def entries(root: Path) -> set[str]:
    """Blobs that are there, unpacked."""
    return {path.name.partition("-")[0] for path in root.iterdir() if path.name != "aside"}


async def settled(root: Path) -> list[Path]:
    """What lies aside once the deletions under way have ended."""
    await asyncio.get_running_loop().shutdown_default_executor()
    return list((root / "aside").iterdir())


async def test_a_package_is_unpacked_readable_for_everyone(root: Path, blobs: FileBlobs) -> None:
    blob = await blobs.put(zipped({"app.py": b"code", "bin/tool": b"#!"}, 0o755))

    async with CodeCache(root, blobs).use(blob) as directory:
        assert (directory / "app.py").read_bytes() == b"code"
        assert stat.S_IMODE(directory.stat().st_mode) == 0o755
        assert stat.S_IMODE((directory / "bin/tool").stat().st_mode) == 0o755


async def test_concurrent_callers_share_one_unpacking(root: Path, blobs: FileBlobs, extractions: Extractions) -> None:
    blob = await blobs.put(zipped({"app.py": b"code"}))
    cache = CodeCache(root, blobs)

    first, *others = await asyncio.gather(*(cache.directory(blob) for _ in range(20)))

    assert set(others) == {first}
    assert await cache.directory(blob) == first
    assert extractions.count == 1


async def test_unpacking_goes_on_when_its_first_caller_is_cancelled(
    root: Path, blobs: FileBlobs, extractions: Extractions
) -> None:
    blob = await blobs.put(zipped({"app.py": b"code"}))
    cache = CodeCache(root, blobs)
    extractions.may_go_on.clear()
    first = asyncio.create_task(cache.directory(blob))
    await asyncio.to_thread(extractions.begun.wait, 10)
    second = asyncio.create_task(cache.directory(blob))

    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    extractions.may_go_on.set()

    assert (await second / "app.py").read_bytes() == b"code"
    assert extractions.count == 1


async def test_a_restart_finds_what_was_unpacked(root: Path, blobs: FileBlobs, extractions: Extractions) -> None:
    blob = await blobs.put(zipped({"app.py": b"code"}))
    before = await CodeCache(root, blobs).directory(blob)

    assert await CodeCache(root, blobs).directory(blob) == before
    assert extractions.count == 1


async def test_what_a_crash_left_unfinished_is_removed(root: Path, blobs: FileBlobs) -> None:
    locked = root / "aside" / "half" / "locked"
    locked.mkdir(parents=True)
    (locked / "app.py").touch()
    locked.chmod(0)

    CodeCache(root, blobs)

    assert list((root / "aside").iterdir()) == []
    assert entries(root) == set()


async def test_a_damaged_package_is_a_platform_error_and_leaves_nothing(root: Path, blobs: FileBlobs) -> None:
    blob = await blobs.put(b"this is no zip")
    cache = CodeCache(root, blobs)

    with pytest.raises(PlatformError, match=f"package {blob} could not be unpacked"):
        await cache.directory(blob)

    assert entries(root) == set()
    assert await settled(root) == []


async def test_a_full_disk_is_told_and_the_next_call_tries_again(
    root: Path, blobs: FileBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(zip_path: Path, target_dir: Path) -> None:
        (target_dir / "app.py").write_bytes(b"co")
        raise OSError(28, "No space left on device")

    blob = await blobs.put(zipped({"app.py": b"code"}))
    cache = CodeCache(root, blobs)
    with monkeypatch.context() as patch:
        patch.setattr(code_cache, "extract", full)
        with pytest.raises(PlatformError, match="No space left on device"):
            await cache.directory(blob)

    assert (await cache.directory(blob) / "app.py").read_bytes() == b"code"


@pytest.mark.parametrize("blob", [hashlib.sha256(b"never put").hexdigest(), "../escape"])
async def test_an_unknown_package_is_a_platform_error(root: Path, blobs: FileBlobs, blob: str) -> None:
    with pytest.raises(PlatformError, match="not in the blob store"):
        await CodeCache(root, blobs).directory(blob)


async def test_beyond_its_size_the_cache_drops_the_longest_unused(root: Path, blobs: FileBlobs) -> None:
    names = [await blobs.put(zipped({"data": bytes([number]) * MIB})) for number in range(3)]
    cache = CodeCache(root, blobs, maximum_bytes=2 * MIB + MIB // 2)
    await cache.directory(names[0])
    await cache.directory(names[1])
    await cache.directory(names[0])

    await cache.directory(names[2])

    assert entries(root) == {names[0], names[2]}
    assert await settled(root) == []


async def test_packages_in_use_stay_even_beyond_the_size(root: Path, blobs: FileBlobs) -> None:
    names = [await blobs.put(zipped({"data": bytes([number]) * MIB})) for number in range(3)]
    cache = CodeCache(root, blobs, maximum_bytes=MIB // 2)

    async with cache.use(names[0]) as first:
        async with cache.use(names[0]), cache.use(names[1]):
            pass
        assert (first / "data").read_bytes()[:1] == b"\0"
        await cache.directory(names[2])
        assert entries(root) == {names[0], names[2]}
    await cache.directory(names[1])

    assert entries(root) == {names[1]}


@pytest.fixture
def directory_of_an_ordinary_user() -> Iterator[Path]:
    """Root may delete anything; the server may not."""
    uid = os.geteuid()
    os.seteuid(uid or 65_534)
    try:
        with tempfile.TemporaryDirectory(dir="/tmp") as directory:
            yield Path(directory)
    finally:
        os.seteuid(uid)


async def test_read_only_directories_keep_their_modes_and_can_still_be_dropped(
    directory_of_an_ordinary_user: Path,
) -> None:
    root, blobs = directory_of_an_ordinary_user / "code", FileBlobs(directory_of_an_ordinary_user / "blobs")
    locked = await blobs.put(zipped({"lib/": b"", "lib/deep/": b"", "lib/deep/data": bytes(MIB)}, 0o555))
    other = await blobs.put(zipped({"data": bytes(MIB)}))
    cache = CodeCache(root, blobs, maximum_bytes=MIB)
    async with cache.use(locked) as directory:
        assert stat.S_IMODE((directory / "lib/deep").stat().st_mode) == 0o555

    await cache.directory(other)

    assert entries(root) == {other}
    assert await settled(root) == []
