"""Deployment packages: what a zip holds, and how it is unpacked without trusting a byte of it.

The archive is first read into a plan, a tree of directories, files and links that is checked as a whole; only then is
it written: directories, then files, then links, so that nothing can be written through a link.
"""

from __future__ import annotations

import io
import mmap
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from lambent.model.limits import UNZIPPED_CODE_BYTES

ENTRIES_MAXIMUM = 200_000
LINKS_MAXIMUM = 10_000
PATH_BYTES_MAXIMUM = 1_024
"""Ours, not AWS's: an archive of 50 MB can list a million empty files, each of which would cost an inode."""

COULD_NOT_UNZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."
TOO_LARGE = f"Unzipped size must be smaller than {UNZIPPED_CODE_BYTES} bytes"
EMPTY = "Uploaded file must be a non-empty zip"

_CENTRAL_ENTRY = re.compile(rb"PK\x01\x02")
_EXTENDED_TIME = 0x5455
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNIX_SYSTEMS = (3, 19)
_NAME_BYTES = 255
_LINKS_FOLLOWED = 40
_CHUNK_BYTES = 1 << 18


class BadPackage(Exception):
    """The archive is refused, in AWS's words where AWS has some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFacts:
    unzipped_bytes: int
    files: int


@dataclass(slots=True)
class _Plan:
    """What will lie where, by relative path. A file is its archive entry, a link its target, a directory its mode."""

    directories: dict[str, int] = field(default_factory=dict)
    files: dict[str, zipfile.ZipInfo] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)


def inspect(data: bytes) -> PackageFacts:
    """Read the whole archive, inflating and checking every file, and say what it holds.

    Raises:
        BadPackage: it is no zip, is damaged, too large, or would put something outside of its directory.
    """
    with _translated(), _opened(io.BytesIO(data), data) as archive:
        plan = _plan(archive)
        unzipped_bytes = sum(len(chunk) for entry in plan.files.values() for chunk in _content(archive, entry))
    return PackageFacts(unzipped_bytes=unzipped_bytes, files=len(plan.files) + len(plan.links))


def extract(zip_path: Path, target_dir: Path) -> None:
    """Unpack into `target_dir`, which must be an empty directory that nobody else writes.

    Permission bits and times are the archive's; setuid, setgid and sticky bits are dropped, a mode of 0 becomes 0644.
    After an error the directory is for the caller to remove.

    Raises:
        BadPackage: as `inspect`.
        OSError: the disk is full or broken.
    """
    with open(zip_path, "rb") as file, _translated():
        if os.fstat(file.fileno()).st_size == 0:
            raise BadPackage(COULD_NOT_UNZIP)
        with (
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
            _opened(file, content) as archive,
        ):
            _write(archive, _plan(archive), target_dir)


@contextmanager
def _translated() -> Iterator[None]:
    """What zipfile, zlib and struct raise on damaged or lying archives becomes AWS's one sentence."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OverflowError, RuntimeError, ValueError) as error:
        raise BadPackage(COULD_NOT_UNZIP) from error


@contextmanager
def _opened(file: io.BufferedIOBase, content: bytes | mmap.mmap) -> Iterator[zipfile.ZipFile]:
    # zipfile makes an object per listed entry before anything can be asked; this bounds their number.
    if sum(1 for _ in islice(_CENTRAL_ENTRY.finditer(content), ENTRIES_MAXIMUM + 1)) > ENTRIES_MAXIMUM:
        raise _refused(f"It lists more than {ENTRIES_MAXIMUM} entries.")
    with zipfile.ZipFile(file) as archive:
        yield archive


def _plan(archive: zipfile.ZipFile) -> _Plan:
    plan = _Plan()
    for entry in archive.infolist():
        _place(plan, archive, entry)
    if not plan.files and not plan.links:
        raise BadPackage(EMPTY)
    if sum(entry.file_size for entry in plan.files.values()) > UNZIPPED_CODE_BYTES:
        raise BadPackage(TOO_LARGE)
    for path in (*plan.directories, *plan.files, *plan.links):
        _require_directories(plan, path)
    resolved: dict[str, str] = {}
    for link in plan.links:
        _follow(plan, link, resolved)
    return plan


def _place(plan: _Plan, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Give one entry its place; of two with the same name the later one counts, as for unzip."""
    if (entry.flag_bits & _ENCRYPTED) or entry.compress_type not in _METHODS:
        raise BadPackage(COULD_NOT_UNZIP)
    path, kind = _path(entry.filename), _kind(entry)
    if kind == stat.S_IFDIR:
        if path:  # there is no need to make "./"
            plan.directories[path] = _mode(entry) or 0o755
        return
    if not path:
        raise BadPackage(COULD_NOT_UNZIP)
    plan.files.pop(path, None)
    plan.links.pop(path, None)
    if kind == stat.S_IFREG:
        plan.files[path] = entry
    elif kind == stat.S_IFLNK and len(plan.links) < LINKS_MAXIMUM:
        plan.links[path] = _target(archive, entry)
    else:
        raise _refused(f"Entry '{entry.filename}' is neither a file, a directory nor one of {LINKS_MAXIMUM} links.")


def _path(name: str) -> str:
    """The path below the target directory, without the parts that say nothing."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise _refused(f"Entry '{name}' would lie outside of the package.")
    if len(os.fsencode(name)) > PATH_BYTES_MAXIMUM or any(len(os.fsencode(part)) > _NAME_BYTES for part in parts):
        raise _refused(f"The name of entry '{name[:64]}…' is too long.")
    return "/".join(parts)


def _kind(entry: zipfile.ZipInfo) -> int:
    """The file type as `stat.S_IFMT` gives it; archives made elsewhere than on Unix know only files and directories."""
    kind = stat.S_IFMT(entry.external_attr >> 16) if entry.create_system in _UNIX_SYSTEMS else 0
    return kind or (stat.S_IFDIR if entry.is_dir() else stat.S_IFREG)


def _mode(entry: zipfile.ZipInfo) -> int:
    return (entry.external_attr >> 16) & 0o777 if entry.create_system in _UNIX_SYSTEMS else 0


def _target(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    if not 0 < entry.file_size <= PATH_BYTES_MAXIMUM:
        raise _refused(f"Link '{entry.filename}' has no usable target.")
    target = os.fsdecode(b"".join(_content(archive, entry)))
    if "\0" in target:
        raise _refused(f"Link '{entry.filename}' has no usable target.")
    return target


def _require_directories(plan: _Plan, path: str) -> None:
    """Make every directory above `path` part of the plan; none may be a file or a link as well."""
    if path in plan.directories and (path in plan.files or path in plan.links):
        raise _refused(f"'{path}' is both a directory and something else.")
    above = path.rpartition("/")[0]
    while above and above not in plan.directories:
        if above in plan.files or above in plan.links:
            raise _refused(f"Entry '{path}' lies below a file or a link.")
        plan.directories[above] = 0o755
        above = above.rpartition("/")[0]
    if len(plan.directories) > ENTRIES_MAXIMUM:
        raise _refused(f"It has more than {ENTRIES_MAXIMUM} directories.")


def _follow(plan: _Plan, link: str, resolved: dict[str, str], links_left: int = _LINKS_FOLLOWED) -> str:
    """Where a link leads, walked as the kernel would, component by component; never above the package.

    Comparing texts would not do: `a/b/..` is not `a` where `a/b` is a link.
    """
    if link in resolved:
        return resolved[link]
    if links_left == 0:
        raise _refused(f"Link '{link}' leads through too many links.")
    target = plan.links[link]
    if target.startswith("/"):
        raise _refused(f"Link '{link}' leads outside of the package.")
    here = link.rpartition("/")[0]
    for part in target.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if not here:
                raise _refused(f"Link '{link}' leads outside of the package.")
            here = here.rpartition("/")[0]
            continue
        here = f"{here}/{part}" if here else part
        if here in plan.links:
            here = _follow(plan, here, resolved, links_left - 1)
    resolved[link] = here
    return here


def _refused(reason: str) -> BadPackage:
    return BadPackage(f"{COULD_NOT_UNZIP} {reason}")


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """Inflate one entry, never beyond the size it declares; zipfile checks the CRC at its end."""
    found = 0
    with archive.open(entry) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            found += len(chunk)
            yield chunk
    if found != entry.file_size:
        raise BadPackage(COULD_NOT_UNZIP)


def _write(archive: zipfile.ZipFile, plan: _Plan, target_dir: Path) -> None:
    for path in sorted(plan.directories):
        (target_dir / path).mkdir(mode=0o700)
    for path, entry in plan.files.items():
        _write_file(archive, entry, target_dir / path)
    for path, target in plan.links.items():
        (target_dir / path).symlink_to(target)
    for path in sorted(plan.directories, reverse=True):  # last, since a directory may be read-only
        (target_dir / path).chmod(plan.directories[path])


def _write_file(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> None:
    with open(path, "xb") as file:
        for chunk in _content(archive, entry):
            file.write(chunk)
        file.flush()
        os.fchmod(file.fileno(), _mode(entry) or 0o644)
        # Python only trusts a shipped .pyc whose source has the time it was compiled from.
        modified_s = _modified_s(entry)
        os.utime(file.fileno(), (modified_s, modified_s))


def _modified_s(entry: zipfile.ZipInfo) -> int:
    """Epoch seconds: Info-ZIP's exact UTC time if the entry has it, else its DOS time (2 s steps) taken as UTC."""
    extra = entry.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        if kind == _EXTENDED_TIME and size >= 5 and len(extra) >= 9 and extra[4] & 1:
            return int(struct.unpack_from("<i", extra, 5)[0])
        extra = extra[4 + size :]
    try:
        return int(datetime(*entry.date_time, tzinfo=UTC).timestamp())
    except ValueError:  # month 0, as reproducible builds write it
        return 0
