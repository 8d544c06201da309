"""From a fork of a template to a runtime of its own: what must not be shared with its siblings is made anew.

The fork is the first process of its PID namespace. It forks the runtime, and lives on only to reap.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import select
import signal
import socket
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_OUTPUT = "/tmp/.lambent-output"
_PR_SET_DUMPABLE, _PR_SET_NAME = 4, 15
_PRIVATE_ANONYMOUS = 0x22
_READ_WRITE = 3
_REMAP_FIXED = 3
_SIGNALLED = 128
_COPY_BYTES = 1024 * 1024


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
        """Returns in the runtime."""
        self._open_output()
        pid = os.fork()
        if pid != 0:
            self._reap_until(pid)
        os.setsid()
        self._libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
        self._libc.prctl(_PR_SET_NAME, self._name, 0, 0, 0)
        _part_descriptors()
        self._part_memory()
        _renew_randomness()

    def _open_output(self) -> None:
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
            shared = [line.split(None, 5) for line in maps]
        for place, modes, _, _, inode, *_ in (one for one in shared if one[1].startswith("rw") and one[1][3] == "s"):
            if modes and inode:
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


# Descriptors ----------------------------------------------------------------------------------------------------------


def _part_descriptors() -> None:
    """Open again, for this process alone, what is open: siblings would otherwise move each other's places in files."""
    found = {descriptor: os.readlink(f"/proc/self/fd/{descriptor}") for descriptor in _descriptors()}
    pipes: dict[str, list[int]] = {}
    lonely: list[int] = []
    for descriptor, target in found.items():
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            _open_again(descriptor, target)
        elif stat.S_ISFIFO(mode):
            pipes.setdefault(target, []).append(descriptor)
        elif stat.S_ISSOCK(mode):
            lonely += _replace_socket(descriptor)
    for ends in pipes.values():
        _replace_pipe(ends)
    while len(lonely) > 1:
        _replace_pair(lonely.pop(0), lonely.pop(0))
    for descriptor, target in found.items():  # last, for they watch the others
        if target == "anon_inode:[eventpoll]":
            _replace_epoll(descriptor)


def _descriptors() -> list[int]:
    names = [int(name) for name in os.listdir("/proc/self/fd")]
    return sorted(one for one in names if one > 2 and _is_open(one))


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False  # the one that listed them
    return True


def _flags(descriptor: int) -> int:
    with open(f"/proc/self/fdinfo/{descriptor}") as info:
        return next(int(line.split()[1], 8) for line in info if line.startswith("flags:"))


def _open_again(descriptor: int, path: str) -> None:
    """A file of /tmp is the copy that this environment has; of one that has no name any more it makes a copy."""
    flags = _flags(descriptor)
    try:
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        if os.fstat(descriptor).st_nlink:
            again = os.open(path, flags & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC))
        else:
            again = _copied(descriptor, flags)
    except OSError:
        return
    if stat.S_ISREG(os.fstat(again).st_mode):
        os.lseek(again, position, os.SEEK_SET)
    _put(again, descriptor, flags)


def _copied(descriptor: int, flags: int) -> int:
    copy = os.open("/tmp", os.O_TMPFILE | os.O_RDWR, 0o600)
    place = 0
    while sent := os.sendfile(copy, descriptor, place, _COPY_BYTES):
        place += sent
    fcntl.fcntl(copy, fcntl.F_SETFL, flags & os.O_APPEND)
    return copy


def _replace_socket(descriptor: int) -> list[int]:
    """One that led out of the template leads nowhere now, as after any restore. Unnamed local ones come in pairs."""
    flags = _flags(descriptor)
    with socket.socket(fileno=os.dup(descriptor)) as old:
        family, kind, protocol = old.family, old.type, old.proto
        if family == socket.AF_UNIX and _is_unnamed_pair(old):
            return [descriptor]
    with socket.socket(family, kind, protocol) as new:
        _put(new.detach(), descriptor, flags)
    return []


def _is_unnamed_pair(one: socket.socket) -> bool:
    try:
        return not one.getpeername() and not one.getsockname()
    except OSError:
        return False


def _replace_pair(one: int, other: int) -> None:
    flags, other_flags = _flags(one), _flags(other)
    with socket.socket(fileno=os.dup(one)) as old:
        end, other_end = socket.socketpair(socket.AF_UNIX, old.type)
    _put(end.detach(), one, flags)
    _put(other_end.detach(), other, other_flags)


def _replace_pipe(ends: list[int]) -> None:
    """A pipe of which both ends are here; of one that leads elsewhere there is nothing to replace."""
    flags = {descriptor: _flags(descriptor) for descriptor in ends}
    new = os.pipe()
    for descriptor, kept in flags.items():
        is_write_end = kept & os.O_ACCMODE != os.O_RDONLY
        _put(os.dup(new[is_write_end]), descriptor, kept)
    for end in new:
        os.close(end)


def _replace_epoll(descriptor: int) -> None:
    """Watch the same descriptors for the same events."""
    flags = _flags(descriptor)
    with open(f"/proc/self/fdinfo/{descriptor}") as info:
        watched = [line.split() for line in info if line.startswith("tfd:")]
    new = select.epoll()
    for _, watched_descriptor, _, events, *_ in watched:
        try:
            new.register(int(watched_descriptor), int(events, 16))
        except OSError:
            pass  # it is closed, and was watched by a duplicate
    _put(os.dup(new.fileno()), descriptor, flags)
    new.close()


def _put(new: int, place: int, flags: int) -> None:
    """In place of another descriptor, with its flags."""
    os.dup2(new, place, inheritable=not flags & os.O_CLOEXEC)
    os.close(new)
    os.set_blocking(place, not flags & os.O_NONBLOCK)
