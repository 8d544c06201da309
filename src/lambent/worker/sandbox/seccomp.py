"""Which system calls a sandbox may make: what is denied, why, and the BPF program that says so (decision 0008).

A deny list, for runtimes are many; its other half is the ceiling: system calls newer than those known here do not exist
inside. The filter stands behind namespaces and dropped capabilities: most of what it denies would fail without it too.
It closes doors to kernel code that unprivileged processes may otherwise reach.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
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
        "processes of one sandbox share a uid, and these need no more than that to take another over",
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
        "its requests are counted for the whole host, which has few; libraries fall back to ordinary calls",
        {"io_setup": (206, 0)},
        errno.ENOSYS,
    ),
    Rule(
        "what is in the page cache tells what others have read",
        {"cachestat": (451, 451)},
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
        {
            "mbind": (237, 235),
            "set_mempolicy": (238, 237),
            "set_mempolicy_home_node": (450, 450),
            "migrate_pages": (256, 238),
            "move_pages": (279, 239),
        },
    ),
)

NEWEST_KNOWN = 462
"""mseal. What came later is refused until someone has read what it does; so is x32, whose numbers lie far above."""

_NAMESPACE_FLAGS = 0x7E02_0080
"""Every CLONE_NEW*, time namespaces included."""
_PERSONALITIES = (0x0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF)
"""Plain and 32-bit Linux, with or without an old release number, and the question which it is. The rest switches
address-space randomisation and other defences off."""
_TERMINAL_REQUESTS = (0x5412, 0x541C, 0x5423)
"""TIOCSTI and TIOCLINUX type into a terminal, TIOCSETD loads its line disciplines. A sandbox has no terminal; this is
for the day when one is left open by mistake."""
_MAP_HUGETLB, _MFD_HUGETLB, _SHM_HUGETLB = 0x4_0000, 0x4, 0x800
"""Huge pages that an operator has set aside are in no memory cgroup. Refused as where none are set aside."""
_STREAM_PROTOCOLS = (0, socket.IPPROTO_TCP)
_DATAGRAM_PROTOCOLS = (0, socket.IPPROTO_UDP, socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6)
"""Any other protocol is one that the kernel loads a module for, or keeps for few users."""
_TCP_ULP = 31
"""Puts the kernel's TLS, or whatever module has that name, on a connection."""


@dataclass(frozen=True, slots=True)
class _Machine:
    audit: int
    column: int
    """Of the numbers in `RULES` and `EXAMINED`."""


_MACHINES = {"x86_64": _Machine(0xC000_003E, 0), "aarch64": _Machine(0xC000_00B7, 1)}

# Classic BPF over struct seccomp_data: nr, arch, instruction pointer, then six 64-bit arguments, low half first.
_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
_NR, _ARCH = 0, 4


def _step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)


_ALLOW = _step(_RETURN, 0x7FFF_0000)


def _refuse(error: int) -> bytes:
    return _step(_RETURN, 0x0005_0000 | error)


def _load(argument: int) -> bytes:
    """An argument's low half: the kernel takes these as 32-bit integers, so the upper must not matter."""
    return _step(_LOAD, 16 + 8 * argument)


def _when(value: int, *then: bytes) -> Iterator[bytes]:
    """Steps for one value of what is loaded; they end in a return."""
    yield _step(_JUMP_EQUAL, value, 0, len(then))
    yield from then


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
    """The kernel runs this only for what is examined or refused: of all other calls it remembers that they pass."""
    yield from (_step(_LOAD, _ARCH), _step(_JUMP_EQUAL, machine.audit, 1), _refuse(errno.ENOSYS))
    yield from (_step(_LOAD, _NR), _step(_JUMP_GREATER, NEWEST_KNOWN, 0, 1), _refuse(errno.ENOSYS))
    for numbers, examine in EXAMINED.values():
        yield from _when(numbers[machine.column], *examine())
    for rule in RULES:
        for number in (numbers[machine.column] for numbers in rule.names.values()):
            if number is not None:
                yield from _when(number, _refuse(rule.error))
    yield _ALLOW


def _without_flags(argument: int, flags: int, error: int) -> Iterator[bytes]:
    yield from (_load(argument), _step(_JUMP_ANY_BIT, flags, 0, 1), _refuse(error), _ALLOW)


def _only(argument: int, values: Sequence[int], error: int) -> Iterator[bytes]:
    yield _load(argument)
    for value in values:
        yield from _when(value, _ALLOW)
    yield _refuse(error)


def _ioctl() -> Iterator[bytes]:
    yield _load(1)
    for request in _TERMINAL_REQUESTS:
        yield from _when(request, _refuse(errno.EPERM))
    yield _ALLOW


def _socket() -> Iterator[bytes]:
    """Local sockets, TCP and UDP, no raw ones; of netlink only the routing family, which getifaddrs needs."""
    yield _load(0)
    yield from _when(socket.AF_UNIX, _ALLOW)
    yield from _when(socket.AF_NETLINK, *_only(2, (socket.NETLINK_ROUTE,), errno.EAFNOSUPPORT))
    internet = (_load(1), _step(_AND, 0xF), *_kinds())
    yield from _when(socket.AF_INET, *internet)
    yield from _when(socket.AF_INET6, *internet)
    yield _refuse(errno.EAFNOSUPPORT)


def _kinds() -> Iterator[bytes]:
    yield from _when(socket.SOCK_STREAM, *_only(2, _STREAM_PROTOCOLS, errno.EPROTONOSUPPORT))
    yield from _when(socket.SOCK_DGRAM, *_only(2, _DATAGRAM_PROTOCOLS, errno.EPROTONOSUPPORT))
    yield _refuse(errno.EPERM)


def _setsockopt() -> Iterator[bytes]:
    yield _load(1)
    yield from _when(socket.IPPROTO_TCP, _load(2), *_when(_TCP_ULP, _refuse(errno.ENOENT)), _ALLOW)
    yield _ALLOW


EXAMINED: dict[str, tuple[tuple[int, int], Callable[[], Iterator[bytes]]]] = {
    "mmap": ((9, 222), lambda: _without_flags(3, _MAP_HUGETLB, errno.ENOMEM)),
    "ioctl": ((16, 29), _ioctl),
    "setsockopt": ((54, 208), _setsockopt),
    "clone": ((56, 220), lambda: _without_flags(0, _NAMESPACE_FLAGS, errno.EPERM)),
    "socket": ((41, 198), _socket),
    "socketpair": ((53, 199), lambda: _only(0, (socket.AF_UNIX,), errno.EAFNOSUPPORT)),
    "memfd_create": ((319, 279), lambda: _without_flags(1, _MFD_HUGETLB, errno.EINVAL)),
    "shmget": ((29, 194), lambda: _without_flags(2, _SHM_HUGETLB, errno.EPERM)),
    "personality": ((135, 92), lambda: _only(0, _PERSONALITIES, errno.EPERM)),
}
"""System calls that are refused by their arguments: what is looked at lies in the function of each."""
