"""The floor of a cold start: a bare process in fresh mount, PID, network, IPC and UTS namespaces with its own root.

Forked from this preloaded Python, to the first byte it writes. Nothing of Lambent is in it; needs root.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
import time
from pathlib import Path

_CLONE_NEW = 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000
_MS_REC, _MS_PRIVATE, _MS_BIND, _MNT_DETACH = 16384, 1 << 18, 4096, 2
_PIVOT_ROOT = 155

_libc = ctypes.CDLL(None, use_errno=True)


def measure(count: int) -> list[float]:
    """Seconds from fork to the first byte, sorted."""
    with tempfile.TemporaryDirectory() as root:
        Path(root, "old").mkdir()
        return sorted(_one(root.encode()) for _ in range(count))


def _one(root: bytes) -> float:
    reader, writer = os.pipe()
    started = time.perf_counter()
    middle = os.fork()
    if middle == 0:
        try:
            _become_sandbox(root, writer)
        finally:
            os._exit(1)
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    elapsed = time.perf_counter() - started
    os.close(reader)
    os.waitpid(middle, 0)
    return elapsed


def _become_sandbox(root: bytes, writer: int) -> None:
    """The PID namespace begins with the next child, so there is one more fork."""
    _check(_libc.unshare(_CLONE_NEW))
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
    _check(_libc.mount(root, root, None, _MS_BIND | _MS_REC, None))
    os.chdir(root)
    _check(_libc.syscall(_PIVOT_ROOT, b".", b"old"))
    _check(_libc.umount2(b"/old", _MNT_DETACH))
    os.write(writer, b"x")
    os._exit(0)


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
