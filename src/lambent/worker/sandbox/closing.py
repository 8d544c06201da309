"""What only PID 1 itself can do to close its walls, got ready before it is forked.

It is a row of calls of libc by then: a process fresh from a fork copies each page that it touches, and these touch few.
Zygotes use this, so it keeps to Python 3.8.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from functools import lru_cache
from typing import Any, Callable, Iterator, NamedTuple, Sequence, Tuple  # noqa: UP035 - for Python 3.8

from lambent.worker.sandbox import affinity, kernel
from lambent.worker.sandbox.inner_wire import Ground, Mount, Setup, Walls
from lambent.worker.sandbox.walls import StepFailed

_MS_BIND = 0x1000
_MS_PROC = 0x2 | 0x4 | 0x8
"""Nosuid, nodev, noexec."""
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_NR_CAPSET = {"x86_64": 126, "aarch64": 91}[os.uname().machine]
_CAPABILITY_HEADER, _NO_CAPABILITIES = struct.pack("=Ii", kernel.CAPABILITY_VERSION_3, 0), bytes(24)

_libc = ctypes.PyDLL(None, use_errno=True)
_chdir, _mount, _prctl, _sched_setaffinity, _setgroups, _setresgid, _setresuid, _syscall, _unshare, _write = (
    *(_libc.chdir, _libc.mount, _libc.prctl, _libc.sched_setaffinity, _libc.setgroups, _libc.setresgid),
    *(_libc.setresuid, _libc.syscall, _libc.unshare, _libc.write),
)
_NONE = ctypes.c_ulong(0)


class Call(NamedTuple):
    """One that waits to be made."""

    step: str
    function: Callable[..., int]
    arguments: Tuple[Any, ...]  # noqa: UP006
    """As libc takes them. Any: whatever ctypes knows."""
    may_fail: bool = False


class Closing(NamedTuple):
    """All of it, in order."""

    inside: Sequence[Call]
    """Whoever has made these may still open what is root's."""
    for_good: Sequence[Call]
    """What can never be undone."""


class Closer:
    """Gets it ready for one PID 1 after the other.

    All that they have in common is made once: what a zygote writes to between two forks, the kernel copies each time.
    """

    def __init__(self, ground: Ground) -> None:
        self._at_first = (
            Call("be named", _prctl, (kernel.PR_SET_NAME, b"init", _NONE, _NONE, _NONE)),
            _use_processors(ground.processors),
        )
        self._in_namespaces = (
            Call("make a cgroup namespace", _unshare, (kernel.CLONE_NEWCGROUP,)),
            *map(_mount_inside, ground.made_inside),
            Call("enter root", _chdir, (b"/",)),
        )
        self._forgoing = _forgoing(ground.seccomp_program)
        self._descriptors: Sequence[int | None] = ()
        self._inside: Sequence[Call] = ()

    def get_ready(self, setup: Setup, walls: Walls, told: int | None) -> Closing:
        """For one that keeps a few descriptors and no others: those of other sandboxes come along with the fork."""
        descriptors = (setup.control, setup.output, told, *setup.cgroup_procs)
        if descriptors != self._descriptors:  # a zygote is given the same numbers each time
            self._descriptors, self._inside = descriptors, self._get_inside_ready(setup, told)
        return Closing(
            self._inside, self._forgoing if walls.in_user_namespace else _identity(walls.uid) + self._forgoing
        )

    def _get_inside_ready(self, setup: Setup, told: int | None) -> Sequence[Call]:
        keep = [setup.control, setup.output, *([] if told is None else [told])]
        return (
            *self._at_first,
            *(Call("join cgroups", _write, (procs, b"0", 1)) for procs in setup.cgroup_procs),
            *self._in_namespaces,
            *(_close_range(first, last) for first, last in between(keep)),
        )


def make(calls: Sequence[Call]) -> None:
    """Make them, one after the other.

    Raises:
        StepFailed: one has failed; those after it have not been made.
    """
    for step, function, arguments, may_fail in calls:
        if function(*arguments) < 0 and not may_fail:
            number = ctypes.get_errno()
            raise StepFailed(step, OSError(number, os.strerror(number)))


def between(keep: Sequence[int]) -> Iterator[Tuple[int, int]]:  # noqa: UP006
    """The ranges of descriptors that are not to be kept: first and last of each. The standard ones are."""
    low = 3
    for descriptor in sorted(keep):
        if low < descriptor:
            yield low, descriptor - 1
        low = descriptor + 1
    yield low, kernel.LAST_DESCRIPTOR


def _use_processors(processors: Sequence[int]) -> Call:
    """The zygote's own are fewer. It fails where all of these have been taken from the server since it was started."""
    mask = affinity.mask(processors)
    return Call("use processors", _sched_setaffinity, (0, ctypes.c_size_t(len(mask)), mask), may_fail=True)


def _mount_inside(mount: Mount) -> Call:
    """What a process of the sandbox must mount itself, since only there is its /proc."""
    target = mount.target.encode()
    if mount.kind == "proc":
        return Call("mount /proc", _mount, (b"proc", target, b"proc", ctypes.c_ulong(_MS_PROC), b"hidepid=2"))
    return Call("mount /proc", _mount, (mount.sources[0].encode(), target, None, ctypes.c_ulong(_MS_BIND), None))


def _close_range(first: int, last: int) -> Call:
    arguments = (ctypes.c_long(kernel.NR_CLOSE_RANGE), first, ctypes.c_uint(last), 0)
    return Call("close descriptors", _syscall, arguments)


def _identity(uid: int) -> tuple[Call, ...]:
    """Before all is forgone: each call for good needs what a later one takes away."""
    return _for_good((_setgroups, (0, None)), (_setresgid, (uid, uid, uid)), (_setresuid, (uid, uid, uid)))


def _forgoing(seccomp_program: bytes) -> tuple[Call, ...]:
    """In this order, and last: the signal is forgotten with a change of uid."""
    filter_address = ctypes.c_ulong(ctypes.addressof(_seccomp_filter(seccomp_program)))
    return _for_good(
        (_syscall, (ctypes.c_long(_NR_CAPSET), _CAPABILITY_HEADER, _NO_CAPABILITIES)),
        (_prctl, (kernel.PR_SET_DUMPABLE, _NONE, _NONE, _NONE, _NONE)),  # nobody of the same uid may look into it
        (_prctl, (kernel.PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), _NONE, _NONE, _NONE)),
        (_prctl, (_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), filter_address, _NONE, _NONE)),
    )


def _for_good(*calls: tuple[Callable[..., int], tuple[Any, ...]]) -> tuple[Call, ...]:
    """Any: as in a call."""
    return tuple(Call("drop privileges", function, arguments) for function, arguments in calls)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


@lru_cache(maxsize=1)
def _seccomp_filter(program: bytes) -> _Program:
    """As the kernel takes it; remembered, for it must be there as long as somebody may take it."""
    return _Program(len(program) // 8, program)
