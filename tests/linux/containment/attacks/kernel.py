"""Attacks on the kernel: system calls that no function needs, and ways past the filter of system calls."""

import ctypes
import mmap
import os
import socket
import time

from tools import attack, attempt, call, in_child, libc


@attack
def keyrings(event):
    return {
        "add_key": call(248, b"user", b"a", b"secret", 6, -3),
        "request_key": call(249, b"user", b"a", 0, -3),
        "keyctl": call(250, 0, -3, 0),
    }


@attack
def large_interfaces(event):
    room = ctypes.create_string_buffer(256)
    return {
        "bpf": call(321, 0, room, 128),
        "bpf_load": call(321, 5, room, 128),
        "perf_event_open": call(298, room, 0, -1, -1, 0),
        "userfaultfd": call(323, 0),
        "userfaultfd_user_mode": call(323, 1),
        "userfaultfd_device": attempt(open, "/dev/userfaultfd", "rb"),
        "fanotify": call(300, 0, 0),
        "memfd_secret": call(447, 0),
        "lookup_dcookie": call(212, 0, room, 256),
        "syslog": call(103, 3, room, 256),
        "cachestat": call(451, 0, room, room, 0),
    }


@attack
def io_uring(event):
    return [call(425, 8, ctypes.create_string_buffer(256)), call(426, 0, 0, 0, 0, 0, 0), call(427, 0, 0, 0, 0)]


@attack
def kernel_aio(event):
    """Its events are counted for the whole host, which has few."""
    context = ctypes.c_ulong(0)
    return call(206, 60_000, ctypes.byref(context))


@attack
def the_machine(event):
    """What would change the machine for everybody."""
    room = ctypes.create_string_buffer(256)
    return {
        "reboot": call(169, 0xFEE1DEAD, 672274793, 0x89ABCDEF, 0),
        "kexec_load": call(246, 0, 0, 0, 0),
        "kexec_file_load": call(320, -1, -1, 0, b"", 0),
        "init_module": call(175, room, 256, b""),
        "finit_module": call(313, 0, b"", 0),
        "delete_module": call(176, b"loop", 0),
        "swapon": call(167, b"/tmp/x", 0),
        "swapoff": call(168, b"/tmp/x"),
        "acct": call(163, b"/tmp/x"),
        "quotactl": call(179, 0, 0, 0, 0),
        "vhangup": call(153),
        "iopl": call(172, 3),
        "ioperm": call(173, 0, 1024, 1),
        "modify_ldt": call(154, 0, room, 256),
        "sethostname": attempt(socket.sethostname, "evil"),
        "setdomainname": call(171, b"evil", 4),
        "mbind": call(237, 0, 0, 0, 0, 0, 0),
        "move_pages": call(279, 0, 0, 0, 0, 0, 0),
    }


@attack
def clocks(event):
    before, steady = time.time(), time.monotonic()
    moment = (ctypes.c_long * 2)(0, 0)
    found = {
        "settimeofday": call(164, moment, 0),
        "clock_settime": attempt(time.clock_settime, time.CLOCK_REALTIME, 0),
        "clock_adjtime": call(305, 0, (ctypes.c_long * 32)(0x0001)),
        "adjtimex": call(159, (ctypes.c_long * 32)(0x8001)),
        "wakealarm": call(283, 8, 0),
    }
    return {**found, "unchanged": abs((time.time() - before) - (time.monotonic() - steady)) < 1}


@attack
def personality(event):
    """Those that switch off the defences of one's children; who one is may be asked."""
    NO_RANDOMIZE, READ_IMPLIES_EXEC, MMAP_PAGE_ZERO = 0x0040000, 0x0400000, 0x0100000
    found = [call(135, value) for value in (NO_RANDOMIZE, READ_IMPLIES_EXEC, MMAP_PAGE_ZERO, 0xFFFFFFF7)]
    return {"changed": found, "asked": call(135, 0xFFFFFFFF)}


@attack
def map_page_zero(event):
    """What a null pointer of the kernel's would point to."""
    MAP_FIXED = 0x10
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED
    return call(9, 0, 4096, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)


def _run_machine_code(code):
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)()


@attack
def the_32_bit_door(event):
    """int 0x80: another table of numbers. getpid there is 20, unshare 310; the filter knows neither."""
    GETPID = bytes.fromhex("b814000000cd80c3")
    UNSHARE_USER = bytes.fromhex("53b836010000bb00000010cd805bc3")
    return {
        "getpid": in_child(lambda: _run_machine_code(GETPID)),
        "unshare": in_child(lambda: _run_machine_code(UNSHARE_USER)),
    }


@attack
def the_x32_door(event):
    """Numbers with bit 30 set are a third table."""
    X32 = 0x40000000
    return sorted({call(X32 | number) for number in (39, 101, 165, 272, 512, 520, 538, 540)})


@attack
def calls_of_tomorrow(event):
    """Those that nobody has looked at yet, and those that never were."""
    return sorted(
        {call(number, 0, 0, 0, 0, 0, 0) for number in (463, 464, 465, 466, 467, 468, 469, 470, 471, 500, 1000)}
    )


@attack
def shake_off_the_filter(event):
    """Another filter can be added, but this one stays; and the process cannot say that it has none."""
    PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
    return {
        "off": libc.prctl(PR_SET_SECCOMP, 0, 0, 0, 0),
        "privileges": libc.prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0),
        "mount_in_an_executed_child": in_child(
            lambda: os.spawnv(os.P_WAIT, "/bin/mount", ["mount", "-t", "tmpfs", "x", "/tmp"])
        ),
    }


@attack
def huge_pages(event):
    """Those an operator has set aside are in nobody's cgroup."""
    MAP_HUGETLB, MFD_HUGETLB, SHM_HUGETLB = 0x40000, 4, 0o4000
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_HUGETLB
    return {
        "mmap": call(9, 0, 1 << 21, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0),
        "memfd": call(319, b"x", MFD_HUGETLB),
        "shm": call(29, 0, 1 << 21, SHM_HUGETLB | 0o1600),
    }


@attack
def line_disciplines(event):
    """Push input to a terminal, load line disciplines: on whatever descriptor there is."""
    TIOCSTI, TIOCLINUX, TIOCSETD, TIOCCONS = 0x5412, 0x541C, 0x5423, 0x541D
    requests = {"TIOCSTI": TIOCSTI, "TIOCLINUX": TIOCLINUX, "TIOCSETD": TIOCSETD, "TIOCCONS": TIOCCONS}
    found = {
        name: sorted({call(16, descriptor, request, b"\x05") for descriptor in (0, 1, 2)})
        for name, request in requests.items()
    }
    found["TIOCSTI with high bits"] = [call(16, 0, 1 << 32 | TIOCSTI, b"x")]
    found["a terminal"] = [attempt(open, "/dev/tty", "rb"), attempt(open, "/dev/ptmx", "rb"), attempt(os.openpty)]
    return found


@attack
def message_queues(event):
    """POSIX ones live in memory that no cgroup of ours counts: there are none."""
    return call(240, b"evil", os.O_CREAT | os.O_RDWR, 0o600, 0)
