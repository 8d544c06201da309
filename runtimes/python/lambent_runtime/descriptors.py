"""What is open in a fork of a template is opened again, for it alone."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import socket
import stat

_COPY_BYTES = 1024 * 1024


def part_descriptors(libc: ctypes.CDLL) -> None:
    """Open again, for this process alone, what is open: siblings would otherwise move each other's places in files."""
    found = _descriptors()
    pipes: dict[str, list[int]] = {}
    lonely: list[int] = []
    for descriptor, target in found.items():
        mode = _mode(descriptor)
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            _open_again(descriptor, target)
        elif stat.S_ISFIFO(mode):
            pipes.setdefault(target, []).append(descriptor)
        elif stat.S_ISSOCK(mode):
            lonely += _replace_socket(descriptor)
        elif target == "anon_inode:[eventfd]":
            _replace_counter(descriptor, libc)
        elif target == "anon_inode:[timerfd]":
            _replace_timer(descriptor, libc)
        elif target == "anon_inode:inotify":
            _put(libc.inotify_init1(0), descriptor, _flags(descriptor))
    for ends in pipes.values():
        _replace_pipe(ends)
    while len(lonely) > 1:
        _replace_pair(lonely.pop(0), lonely.pop(0))
    for descriptor, target in found.items():  # last, for they watch the others
        if target == "anon_inode:[eventpoll]":
            _replace_epoll(descriptor)


def _descriptors() -> dict[int, str]:
    """What they lead to."""
    found = {}
    for descriptor in sorted(map(int, os.listdir("/proc/self/fd"))):
        try:
            found[descriptor] = os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:
            pass  # the one that listed them
    return {descriptor: target for descriptor, target in found.items() if descriptor > 2}


def _mode(descriptor: int) -> int:
    try:
        return os.fstat(descriptor).st_mode
    except OSError:
        return stat.S_IFREG  # in the template's /proc, of which nothing can be told


def _flags(descriptor: int) -> int:
    return int(_told(descriptor)["flags"], 8)


def _told(descriptor: int) -> dict[str, str]:
    """What the kernel tells of it."""
    with open(f"/proc/self/fdinfo/{descriptor}") as info:
        pairs = (line.partition(":") for line in info)
        return {name: value.strip() for name, _, value in pairs}


def _open_again(descriptor: int, path: str) -> None:
    """A file of /tmp is the copy that this environment has; of one that has no name any more it makes a copy.

    What cannot be had again, as a file of the template's /proc, leads nowhere.
    """
    flags = _flags(descriptor)
    try:
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        if os.fstat(descriptor).st_nlink:
            again = os.open(path, flags & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC))
        else:
            again = _copied(descriptor, flags)
    except OSError:
        again = os.open("/dev/null", flags & os.O_ACCMODE)
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


def _replace_counter(descriptor: int, libc: ctypes.CDLL) -> None:
    """An eventfd, as event loops wake each other with."""
    told = _told(descriptor)
    semaphore = int(told.get("eventfd-semaphore", "0"))
    _put(libc.eventfd(int(told["eventfd-count"], 16), semaphore), descriptor, int(told["flags"], 8))


def _replace_timer(descriptor: int, libc: ctypes.CDLL) -> None:
    """One that goes off when the old one would."""
    told = _told(descriptor)
    new = libc.timerfd_create(int(told["clockid"]), 0)
    parts = [int(part) for name in ("it_interval", "it_value") for part in told[name].strip("()").split(",")]
    libc.timerfd_settime(new, 0, (ctypes.c_long * 4)(*parts), None)
    _put(new, descriptor, int(told["flags"], 8))


def _put(new: int, place: int, flags: int) -> None:
    """In place of another descriptor, with its flags."""
    os.dup2(new, place, inheritable=not flags & os.O_CLOEXEC)
    os.close(new)
    os.set_blocking(place, not flags & os.O_NONBLOCK)
