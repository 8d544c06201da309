"""One server per data directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from lambent.model.errors import PlatformError


def hold(data_dir: Path) -> int:
    """Take the data directory for this process, for as long as the returned descriptor is open.

    Raises:
        PlatformError: another server has it.
    """
    path = data_dir / "lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(fd, 32, 0).decode().strip() or "unknown"
        os.close(fd)
        raise PlatformError(
            f"{data_dir} is in use by another Lambent server (process {owner}); stop it, or choose another --data-dir"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd
