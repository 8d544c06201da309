"""From a fork of a template to a runtime of its own: what must not be shared with its siblings is made anew.

The fork is the first process of its PID namespace. It forks the runtime, and lives on only to reap.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import sys

from lambent_runtime.descriptors import part_descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_OUTPUT = "/tmp/.lambent-output"
_PR_SET_DUMPABLE, _PR_SET_NAME = 4, 15
_PRIVATE_ANONYMOUS = 0x22
_READ_WRITE = 3
_REMAP_FIXED = 3
_SIGNALLED = 128


class Restored:
    """Made before the fork, so that nothing need be imported or looked for after it."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
        libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(3 * (ctypes.c_int,)), ctypes.c_long)
        libc.mremap.argtypes = (ctypes.c_void_p, *(2 * (ctypes.c_size_t,)), ctypes.c_int, ctypes.c_void_p)
        self._libc = libc
        with open("/proc/self/comm") as comm:
            self._name = comm.read().rstrip("\n").encode()

    def become(self) -> None:
        """Returns in the runtime, once somebody wants it."""
        pid = os.fork()
        if pid != 0:
            self._reap_until(pid)
        os.setsid()
        self._libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
        self._libc.prctl(_PR_SET_NAME, self._name, 0, 0, 0)
        part_descriptors(self._libc)
        self._part_memory()
        _renew_randomness()
        self._open_output()

    def _open_output(self) -> None:
        """Returns when there is somebody who reads it, which may be long after the fork."""
        output = os.open(_OUTPUT, os.O_WRONLY)
        os.unlink(_OUTPUT)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.close(output)

    def _reap_until(self, runtime: int) -> NoReturn:
        """Be PID 1: end when the runtime does, and as it did."""
        self._libc.prctl(_PR_SET_NAME, b"init", 0, 0, 0)
        for signum in signal.valid_signals():
            try:
                signal.signal(signum, signal.SIG_DFL)
            except (OSError, ValueError):
                pass  # one that libc keeps for itself
        signal.set_wakeup_fd(-1)
        os.closerange(0, os.sysconf("SC_OPEN_MAX"))
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == runtime:
                os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else _SIGNALLED + os.WTERMSIG(status))

    def _part_memory(self) -> None:
        """Memory that was mapped to be shared with child processes becomes this process's own."""
        with open("/proc/self/maps") as maps:
            found = [line.split(None, 2)[:2] for line in maps]
        for place, modes in found:
            if modes.startswith("rw") and modes[3] == "s":
                start, end = (int(part, 16) for part in place.split("-"))
                size = end - start
                copy = self._libc.mmap(None, size, _READ_WRITE, _PRIVATE_ANONYMOUS, -1, 0)
                ctypes.memmove(copy, start, size)
                self._libc.mremap(copy, size, size, _REMAP_FIXED, start)


def _renew_randomness() -> None:
    random.seed()
    if "_ssl" in sys.modules:
        sys.modules["_ssl"].RAND_add(os.urandom(48), 48.0)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
