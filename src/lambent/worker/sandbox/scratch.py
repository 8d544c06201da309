"""What becomes /tmp: a file system of exactly the configured size that is not the function's memory.

A tmpfs would be charged to the function's memory limit. So /tmp is an ext4 image, sparse and without a name, on a loop
device: all of it is gone with its last descriptor. mkfs runs once per size; an image is then a few small writes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lambent.model.errors import PlatformError
from lambent.worker.sandbox import kernel
from lambent.worker.sandbox.inner_wire import Mount
from lambent.worker.sandbox.walls import WRITABLE, StepFailed, open_mount

_MIB = 1024 * 1024
_MODE = 0o1777

_MKFS = ("mkfs.ext4", "-q", "-F", "-O", "^has_journal,^resize_inode,sparse_super2", "-m", "0", "-E")
_MKFS_EXTENDED = "lazy_itable_init=1,nodiscard,root_owner=0:0"


class Scratch(Protocol):
    """One sandbox's /tmp."""

    @property
    def mount(self) -> Mount:
        """How a generation mounts it."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class LoopScratch:
    """Lives in its loop device between generations: each mounts it anew."""

    loop_fd: int
    device: str

    @property
    def mount(self) -> Mount:
        return Mount("image", "/tmp", (self.device,))

    def close(self) -> None:
        os.close(self.loop_fd)


@dataclass(frozen=True, slots=True)
class TmpfsScratch:
    """For hosts without loop devices. Held mounted here, or it would be empty again after each generation."""

    directory: Path

    @property
    def mount(self) -> Mount:
        return Mount("tree", "/tmp", (str(self.directory),))

    def close(self) -> None:
        kernel.detach(str(self.directory))
        self.directory.rmdir()


@dataclass(frozen=True, slots=True)
class DirectoryScratch:
    """For the level `process`: a directory like any other, of any size, and nothing to mount."""

    directory: Path

    def close(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


class ScratchMaker:
    """Makes a /tmp per sandbox, by the best means this host has."""

    def __init__(self, images: Path, mounts: Path) -> None:
        """`images` is on a disk and holds images without names; `mounts` is where what must stay mounted is."""
        self._images = images
        self._mounts = mounts
        self._templates: dict[int, list[tuple[int, bytes]]] = {}
        self._has_loop = False

    def prepare(self, size_mib: int) -> list[str]:
        """Rehearse once. Returns what the fallback does not hold, in words for a person."""
        try:
            self._make_loop(size_mib).close()
        except (OSError, StepFailed, subprocess.CalledProcessError) as exc:
            return [f"/tmp is a tmpfs and counts as the function's memory, for an image on a loop device failed: {exc}"]
        self._has_loop = True
        return []

    def make(self, name: str, size_mib: int) -> Scratch:
        if self._has_loop:
            return self._make_loop(size_mib)
        return self._make_tmpfs(name, size_mib)

    def _make_loop(self, size_mib: int) -> LoopScratch:
        template = self._template(size_mib)
        image = os.open(self._images, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(image, size_mib * _MIB)
            scratch = LoopScratch(*kernel.attach_loop(image))
        finally:
            os.close(image)
        try:
            for offset, data in template:  # not before: attaching waits until the disk has all that is in the image
                os.pwrite(scratch.loop_fd, data, offset)
        except OSError:
            scratch.close()
            raise
        return scratch

    def _make_tmpfs(self, name: str, size_mib: int) -> TmpfsScratch:
        directory = self._mounts / name
        directory.mkdir()
        options = (("size", f"{size_mib}m"), ("mode", f"{_MODE:o}"))
        mount = kernel.new_filesystem("tmpfs", options, WRITABLE)
        try:
            kernel.place_mount(mount, str(directory))
        finally:
            os.close(mount)
        return TmpfsScratch(directory)

    def _template(self, size_mib: int) -> list[tuple[int, bytes]]:
        """What mkfs writes into an image of this size: offsets and bytes."""
        if size_mib not in self._templates:
            with tempfile.NamedTemporaryFile(dir=self._images) as image:
                image.truncate(size_mib * _MIB)
                _make_filesystem(image.name)
                self._templates[size_mib] = _extents(image.fileno())
        return self._templates[size_mib]


def _make_filesystem(image: str) -> None:
    if shutil.which(_MKFS[0], path="/usr/sbin:/sbin:/usr/bin") is None:
        raise FileNotFoundError(2, "not installed (package e2fsprogs)", _MKFS[0])
    environment = {"PATH": "/usr/sbin:/sbin:/usr/bin"}
    subprocess.run([*_MKFS, _MKFS_EXTENDED, image], check=True, capture_output=True, env=environment)
    descriptor = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    try:
        scratch = LoopScratch(*kernel.attach_loop(descriptor))
    finally:
        os.close(descriptor)
    try:
        mount = open_mount(scratch.mount)
        try:
            os.chmod(f"/proc/self/fd/{mount}", _MODE)
            os.rmdir("lost+found", dir_fd=mount)
            os.fsync(scratch.loop_fd)
        finally:
            os.close(mount)
    finally:
        scratch.close()


def _extents(file: int) -> list[tuple[int, bytes]]:
    end = os.fstat(file).st_size
    os.fsync(file)
    found: list[tuple[int, bytes]] = []
    offset = 0
    while True:
        try:
            start = os.lseek(file, offset, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole remains
            return found
        offset = os.lseek(file, start, os.SEEK_HOLE)
        if offset > end:
            raise PlatformError("a file system template grew beyond its size")
        found.append((start, os.pread(file, offset - start, start)))
