"""Which system calls a sandbox may make: what is denied, why, and the BPF program that says so.

A deny list, for runtimes are many; its other half is the ceiling: system calls newer than those known here do not exist
inside. The filter stands behind namespaces and dropped capabilities: most of what it denies would fail without it too.
It closes doors to kernel code that unprivileged processes may otherwise reach.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from lambent.model.errors import PlatformError


@dataclass(frozen=True, slots=True)
class Rule:
    """System calls refused for one reason; `names` has each one's number on x86_64 and on aarch64 (None: not there)."""

    reason: str
    names: dict[str, tuple[int | None, int | None]]
    error: int = errno.EPERM


RULES = (
    Rule(
        "the mount tree is the sandbox's wall",
        {
            "mount": (165, 40),
            "umount2": (166, 39),
            "pivot_root": (155, 41),
            "chroot": (161, 51),
            "open_tree": (428, 428),
            "move_mount": (429, 429),
            "fsopen": (430, 430),
            "fsconfig": (431, 431),
            "fsmount": (432, 432),
            "fspick": (433, 433),
            "mount_setattr": (442, 442),
        },
    ),
    Rule(
        "a namespace of one's own brings capabilities, and with them most kernel bugs of the last years",
        {"unshare": (272, 97), "setns": (308, 268)},
    ),
    Rule(
        "its flags lie in memory, where a filter cannot read them; libraries fall back to clone",
        {"clone3": (435, 435)},
        errno.ENOSYS,
    ),
    Rule(
        "processes of one sandbox share a uid: none may reach into another, PID 1 least of all",
        {
            "ptrace": (101, 117),
            "process_vm_readv": (310, 270),
            "process_vm_writev": (311, 271),
            "process_madvise": (440, 440),
            "pidfd_getfd": (438, 438),
            "kcmp": (312, 272),
        },
    ),
    Rule(
        "keyrings are not namespaced",
        {"add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219)},
    ),
    Rule(
        "large kernel interfaces with a history, needed by no function",
        {
            "bpf": (321, 280),
            "perf_event_open": (298, 241),
            "userfaultfd": (323, 282),
            "fanotify_init": (300, 262),
            "lookup_dcookie": (212, 18),
            "memfd_secret": (447, 447),
        },
    ),
    Rule(
        "works past this filter; libraries fall back to ordinary calls",
        {"io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427)},
        errno.ENOSYS,
    ),
    Rule(
        "a file handle opens files that no path leads to",
        {"open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264)},
    ),
    Rule(
        "the machine is not the function's",
        {
            "reboot": (169, 142),
            "kexec_load": (246, 104),
            "kexec_file_load": (320, 294),
            "init_module": (175, 105),
            "finit_module": (313, 273),
            "delete_module": (176, 106),
            "swapon": (167, 224),
            "swapoff": (168, 225),
            "acct": (163, 89),
            "quotactl": (179, 60),
            "quotactl_fd": (443, 443),
            "syslog": (103, 116),
            "vhangup": (153, 58),
            "settimeofday": (164, 170),
            "clock_settime": (227, 112),
            "clock_adjtime": (305, 266),
            "sethostname": (170, 161),
            "setdomainname": (171, 162),
            "iopl": (172, None),
            "ioperm": (173, None),
            "modify_ldt": (154, None),
            "nfsservctl": (180, 42),
            "uselib": (134, None),
            "ustat": (136, None),
            "sysfs": (139, None),
            "_sysctl": (156, None),
        },
    ),
    Rule(
        "where memory lies is the host's affair",
        {"mbind": (237, 235), "set_mempolicy": (238, 237), "migrate_pages": (256, 238), "move_pages": (279, 239)},
    ),
)

NEWEST_KNOWN = 462
"""mseal. What came later is refused until someone has read what it does; so is x32, whose numbers lie far above."""

_ADDRESS_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
_NAMESPACE_FLAGS = 0x7E02_0080
"""Every CLONE_NEW*, time namespaces included."""
_PERSONALITIES = (0x0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF)
"""Plain and 32-bit Linux, with or without an old release number, and the question which it is. The rest switches
address-space randomisation and other defences off."""


@dataclass(frozen=True, slots=True)
class _Machine:
    audit: int
    column: int
    clone: int
    socket: int
    socketpair: int
    personality: int


_MACHINES = {
    "x86_64": _Machine(0xC000_003E, 0, clone=56, socket=41, socketpair=53, personality=135),
    "aarch64": _Machine(0xC000_00B7, 1, clone=220, socket=198, socketpair=199, personality=92),
}

# Classic BPF over struct seccomp_data: nr, arch, instruction pointer, then six 64-bit arguments, low half first.
_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
_NR, _ARCH = 0, 4
_ALLOW, _ERRNO = 0x7FFF_0000, 0x0005_0000


def _argument(number: int) -> int:
    """Offset of an argument's low half: the kernel takes these as 32-bit integers, so the upper must not matter."""
    return 16 + 8 * number


def _step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)


def _refuse(error: int) -> bytes:
    return _step(_RETURN, _ERRNO | error)


def compile_filter(machine: str) -> bytes:
    """The filter for one architecture, ready for the kernel.

    Raises:
        PlatformError: we know no system call numbers for this architecture.
    """
    target = _MACHINES.get(machine)
    if target is None:
        raise PlatformError(f"no system call table for {machine}; sandboxes run on {' and '.join(_MACHINES)}")
    return b"".join(_program(target))


def _program(machine: _Machine) -> Iterator[bytes]:
    yield from (_step(_LOAD, _ARCH), _step(_JUMP_EQUAL, machine.audit, 1), _refuse(errno.ENOSYS))
    yield from (_step(_LOAD, _NR), _step(_JUMP_GREATER, NEWEST_KNOWN, 0, 1), _refuse(errno.ENOSYS))
    for rule in RULES:
        for numbers in rule.names.values():
            number = numbers[machine.column]
            if number is not None:
                yield from (_step(_JUMP_EQUAL, number, 0, 1), _refuse(rule.error))
    yield from _guarded(machine.clone, _clone())
    yield from _guarded(machine.socket, _socket())
    yield from _guarded(machine.socketpair, _socketpair())
    yield from _guarded(machine.personality, _personality())
    yield _step(_RETURN, _ALLOW)


def _guarded(number: int, body: Iterator[bytes]) -> Iterator[bytes]:
    """Steps for one system call only; they end in a return."""
    steps = list(body)
    yield _step(_JUMP_EQUAL, number, 0, len(steps))
    yield from steps


def _clone() -> Iterator[bytes]:
    yield from (_step(_LOAD, _argument(0)), _step(_JUMP_ANY_BIT, _NAMESPACE_FLAGS, 0, 1), _refuse(errno.EPERM))
    yield _step(_RETURN, _ALLOW)


def _socket() -> Iterator[bytes]:
    """Local and IP sockets, no raw ones; of netlink only the routing family, which getifaddrs needs."""
    yield _step(_LOAD, _argument(0))
    yield _step(_JUMP_EQUAL, socket.AF_NETLINK, 0, 4)
    yield _step(_LOAD, _argument(2))
    yield _step(_JUMP_EQUAL, socket.NETLINK_ROUTE, 0, 1)
    yield _step(_RETURN, _ALLOW)
    yield _refuse(errno.EAFNOSUPPORT)
    yield from _allowed_families()
    yield from (_step(_LOAD, _argument(1)), _step(_AND, 0xF), _step(_JUMP_EQUAL, socket.SOCK_RAW, 0, 1))
    yield _refuse(errno.EPERM)
    yield _step(_RETURN, _ALLOW)


def _socketpair() -> Iterator[bytes]:
    yield _step(_LOAD, _argument(0))
    yield from _allowed_families()
    yield _step(_RETURN, _ALLOW)


def _allowed_families() -> Iterator[bytes]:
    """Fall through where the loaded address family is allowed."""
    for distance, family in zip((3, 2, 1), _ADDRESS_FAMILIES, strict=True):
        yield _step(_JUMP_EQUAL, family, distance)
    yield _refuse(errno.EAFNOSUPPORT)


def _personality() -> Iterator[bytes]:
    yield _step(_LOAD, _argument(0))
    for distance, persona in zip(range(len(_PERSONALITIES), 0, -1), _PERSONALITIES, strict=True):
        yield _step(_JUMP_EQUAL, persona, distance)
    yield _refuse(errno.EPERM)
    yield _step(_RETURN, _ALLOW)
