"""The system call filter, run by a small BPF machine; its numbers are compared with libseccomp's."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from lambent.model.errors import PlatformError
from lambent.worker.sandbox.seccomp import EXAMINED, NEWEST_KNOWN, RULES, compile_filter

X86_64, AARCH64, I386 = 0xC000003E, 0xC00000B7, 0x40000003
ALLOWED = 0


def verdict(number: int, *arguments: int, machine: str = "x86_64", audit: int = X86_64) -> int:
    """The errno a system call gets, 0 if it is allowed. Understands exactly the instructions the filter uses."""
    data = struct.pack("=iIQ6Q", number, audit, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    program = list(struct.iter_unpack("=HBBI", compile_filter(machine)))
    at = accumulator = 0
    while True:
        code, then, otherwise, value = program[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x54:
                accumulator &= value
            case 0x15:
                at += then if accumulator == value else otherwise
            case 0x25:
                at += then if accumulator > value else otherwise
            case 0x45:
                at += then if accumulator & value else otherwise
            case 0x06:
                return ALLOWED if value == 0x7FFF0000 else value & 0xFFFF
            case _:
                raise AssertionError(f"unknown instruction {code:#x}")


@pytest.mark.parametrize(("machine", "column", "audit"), [("x86_64", 0, X86_64), ("aarch64", 1, AARCH64)])
def test_everything_on_the_list_is_refused_and_all_else_is_not(machine: str, column: int, audit: int) -> None:
    errors = {numbers[column]: rule.error for rule in RULES for numbers in rule.names.values()}
    examined = {numbers[column] for numbers, _ in EXAMINED.values()}

    assert not examined & errors.keys()
    for number in set(range(NEWEST_KNOWN + 1)) - examined:
        assert verdict(number, machine=machine, audit=audit) == errors.get(number, ALLOWED), number


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_the_numbers_are_those_of_libseccomp(machine: str, column: int) -> None:
    pyseccomp = pytest.importorskip("pyseccomp")
    arch = {"x86_64": pyseccomp.Arch.X86_64, "aarch64": pyseccomp.Arch.AARCH64}[machine]

    tables = [*(rule.names for rule in RULES), {name: numbers for name, (numbers, _) in EXAMINED.items()}]
    for name, numbers in (entry for table in tables for entry in table.items()):
        known = pyseccomp.resolve_syscall(arch, name)
        if known >= 0:
            assert numbers[column] == known, name


def test_what_is_newer_or_of_another_architecture_does_not_exist() -> None:
    assert verdict(NEWEST_KNOWN + 1) == errno.ENOSYS
    assert verdict(0x4000_0000 | 1) == errno.ENOSYS
    assert verdict(1, audit=I386) == errno.ENOSYS


@pytest.mark.parametrize("flag", [0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000])
def test_clone_makes_processes_and_threads_but_no_namespaces(flag: int) -> None:
    thread = 0x3D0F00

    assert verdict(56, 17) == verdict(56, thread) == ALLOWED
    assert verdict(56, 17 | flag) == errno.EPERM


@pytest.mark.parametrize(
    ("family", "kind", "protocol", "error"),
    [
        (socket.AF_UNIX, socket.SOCK_STREAM, 0, ALLOWED),
        (socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0, ALLOWED),
        (socket.AF_INET6, socket.SOCK_DGRAM, 0, ALLOWED),
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, ALLOWED),
        (socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_UDP, ALLOWED),
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP, errno.EPROTONOSUPPORT),
        (socket.AF_INET6, socket.SOCK_STREAM, 262, errno.EPROTONOSUPPORT),
        (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_TCP, errno.EPROTONOSUPPORT),
        (socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 1, errno.EPERM),
        (socket.AF_INET, 10, 0x0300, errno.EPERM),
        (socket.AF_INET, socket.SOCK_SEQPACKET, 0, errno.EPERM),
        (socket.AF_NETLINK, socket.SOCK_RAW, 0, ALLOWED),
        (socket.AF_NETLINK, socket.SOCK_RAW, 9, errno.EAFNOSUPPORT),
        (socket.AF_PACKET, socket.SOCK_RAW, 0, errno.EAFNOSUPPORT),
        (1 << 32 | socket.AF_PACKET, socket.SOCK_RAW, 0, errno.EAFNOSUPPORT),
        (socket.AF_VSOCK, socket.SOCK_STREAM, 0, errno.EAFNOSUPPORT),
        (socket.AF_ALG, socket.SOCK_SEQPACKET, 0, errno.EAFNOSUPPORT),
    ],
)
def test_sockets_are_local_or_ip(family: int, kind: int, protocol: int, error: int) -> None:
    assert verdict(41, family, kind, protocol) == error


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_NETLINK, socket.AF_PACKET])
def test_socket_pairs_are_local(family: int) -> None:
    assert verdict(53, socket.AF_UNIX, socket.SOCK_STREAM) == ALLOWED
    assert verdict(53, family, socket.SOCK_STREAM) == errno.EAFNOSUPPORT


def test_no_memory_is_had_that_no_cgroup_counts() -> None:
    assert verdict(9, 0, 4096, 3, 0x22) == verdict(319, 0, 1) == verdict(29, 0, 4096, 0o1600) == ALLOWED
    assert verdict(9, 0, 4096, 3, 0x22 | 0x40000) == errno.ENOMEM
    assert verdict(319, 0, 1 | 4) == errno.EINVAL
    assert verdict(29, 0, 4096, 0o5600) == errno.EPERM


def test_nobody_types_into_a_terminal() -> None:
    assert verdict(16, 0, 0x5413) == verdict(16, 0, 0x541B) == ALLOWED
    assert verdict(16, 0, 0x5412) == verdict(16, 0, 1 << 32 | 0x541C) == verdict(16, 0, 0x5423) == errno.EPERM


def test_the_kernels_tls_is_not_there() -> None:
    assert verdict(54, 3, socket.IPPROTO_TCP, socket.TCP_NODELAY) == verdict(54, 3, socket.SOL_SOCKET, 31) == ALLOWED
    assert verdict(54, 3, socket.IPPROTO_TCP, 31) == errno.ENOENT


@pytest.mark.parametrize(("persona", "error"), [(0, 0), (8, 0), (0xFFFFFFFF, 0), (0x40000, errno.EPERM)])
def test_defences_cannot_be_switched_off_by_personality(persona: int, error: int) -> None:
    assert verdict(135, persona) == error


def test_an_unknown_architecture_is_refused_by_name() -> None:
    with pytest.raises(PlatformError, match="no system call table for riscv64"):
        compile_filter("riscv64")
