"""One thread of another process, held by ptrace: stopped, looked at, made to perform system calls, let go.

What it is made to do its own program has no part in: not one of its instructions runs in between.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from dataclasses import dataclass

_SYSCALL, _SINGLESTEP, _CONT, _DETACH = 24, 9, 7, 17
_SETOPTIONS, _GETEVENTMSG, _GETREGSET, _SETREGSET = 0x4200, 0x4201, 0x4204, 0x4205
_SEIZE, _INTERRUPT, _GET_SYSCALL_INFO = 0x4206, 0x4207, 0x420E
_NT_PRSTATUS = 1
_O_TRACESYSGOOD, _O_TRACEFORK, _O_EXITKILL, _O_SUSPEND_SECCOMP = 0x01, 0x02, 0x10_0000, 0x20_0000
_AT_SYSCALL = signal.SIGTRAP | 0x80
_EVENT_FORK = 1
_WALL = 0x4000_0000
_RED_ZONE_BYTES = 4_096
"""What lies under the stack pointer may be in use; this far below it nothing is."""
_FORKS_MAXIMUM = 100
_NONE = (1 << 64) - 1
_ENTERS = 1
_CALL_INFO = struct.Struct("=B3xI16xQQQ")
"""Of the kernel's struct ptrace_syscall_info: what kind of stop, whose calls, the number and first two arguments."""
_PLAIN_FORK = 0x0100_0000 | 0x0020_0000 | 0xFF
"""Set and clear the child's thread id in memory, and a signal at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where an architecture keeps what, in the kernel's list of 64-bit registers; and some system calls' numbers."""

    abi: int
    """The kernel's number for its system calls: a processor may know those of another architecture as well."""
    count: int
    number: int
    """Where a program puts the number of a system call."""
    restarts: int | None
    """Where the kernel remembers the call to make again after a signal, if that is a place of its own."""
    result: int
    arguments: tuple[int, ...]
    instruction: int
    stack: int
    call_bytes: int
    """Length of the instruction that makes a system call."""
    calls: dict[str, int]


_LAYOUTS = {
    "x86_64": Layout(
        abi=0xC000_003E,
        count=27,
        number=10,
        restarts=15,
        result=10,
        arguments=(14, 13, 12, 7, 9, 8),
        instruction=16,
        stack=19,
        call_bytes=2,
        calls={"clone": 56, "setresuid": 117, "setresgid": 119, "capset": 126, "prctl": 157, "unshare": 272},
    ),
    "aarch64": Layout(
        abi=0xC000_00B7,
        count=34,
        number=8,
        restarts=None,
        result=0,
        arguments=(0, 1, 2, 3, 4, 5),
        instruction=32,
        stack=31,
        call_bytes=4,
        calls={"clone": 220, "setresuid": 147, "setresgid": 149, "capset": 91, "prctl": 167, "unshare": 97},
    ),
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


Call = tuple[str, *tuple[int, ...]]
"""A system call's name and arguments."""


def has_any_ended() -> bool:
    """Asked while whatever is held is stopped."""
    return os.waitpid(-1, os.WNOHANG | _WALL)[0] != 0


class Astray(Exception):
    """The process has done, or met, something else than what it was held for."""


class Tracee:
    """A process whose first thread is held. It is killed if the holder ends before it is let go."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._layout = _LAYOUTS[os.uname().machine]
        self._options = _O_TRACESYSGOOD | _O_TRACEFORK | _O_EXITKILL
        self._flags = 0
        """Of the fork it stands before."""

    @classmethod
    def seize(cls, pid: int) -> Tracee:
        """Take hold of a running process, or of one more thread of it, and stop that.

        Raises:
            ProcessLookupError, Astray: it has ended.
        """
        tracee = cls(pid)
        tracee._ptrace(_SEIZE, data=tracee._options)
        tracee._ptrace(_INTERRUPT)
        tracee._wait()
        return tracee

    def run_to_fork(self) -> None:
        """Let it run until it stands before a fork of the ordinary kind: what libc's does, and nothing else."""
        signum = 0
        while True:
            self._ptrace(_SYSCALL, data=signum)
            stopped_by = self._wait()
            if stopped_by == _AT_SYSCALL and self._is_before_fork():
                return
            signum = 0 if stopped_by in (_AT_SYSCALL, signal.SIGTRAP) else stopped_by

    def _is_before_fork(self) -> bool:
        info = ctypes.create_string_buffer(_CALL_INFO.size)
        self._ptrace(_GET_SYSCALL_INFO, address=len(info), data=ctypes.addressof(info))
        stop, abi, number, flags, stack = _CALL_INFO.unpack(info)
        if (stop, abi, number) != (_ENTERS, self._layout.abi, self._layout.calls["clone"]):
            return False
        self._flags = flags
        return bool(flags & ~_PLAIN_FORK == 0 and flags & 0xFF == signal.SIGCHLD and stack == 0)

    def fork(self, flags: int) -> Tracee:
        """Have the fork that it stands before make a child in new namespaces; returns the child, held at its birth.

        No filter is asked about the flags, nor about what the child is made to do until `let_go`. The parent stands
        before the same fork again: it never returns from it, and no signal reaches it any more.
        """
        for _ in range(_FORKS_MAXIMUM):
            child = self._try_fork(flags)
            self._step_back()
            if child is not None:
                return child
        raise Astray("it could not fork")

    def _try_fork(self, flags: int) -> Tracee | None:
        """None where the kernel wants it to be tried again: no child is made while a signal is pending."""
        self._set_argument(self._flags | flags)
        self._set_options(self._options | _O_SUSPEND_SECCOMP)
        self._ptrace(_SYSCALL)
        status = self._wait_status()  # within the call, or at its end: it has not run on
        self._set_options(self._options)
        if status >> 16 != _EVENT_FORK:
            return None
        child = self._newborn()
        child._restore_argument(self._flags)
        self._ptrace(_SYSCALL)
        self._wait()
        return child

    def _step_back(self) -> None:
        """From the end of the call to before it."""
        self._set_registers(self._about_to("clone", self._registers(), self._flags))
        self._ptrace(_SYSCALL)
        while self._wait() != _AT_SYSCALL:
            self._ptrace(_SYSCALL)
        if not self._is_before_fork():
            raise Astray("it did not come back to its fork")

    def _newborn(self) -> Tracee:
        message = ctypes.c_ulong()
        self._ptrace(_GETEVENTMSG, data=ctypes.addressof(message))
        child = Tracee(message.value)
        child._wait()
        return child

    def _set_argument(self, value: int) -> None:
        registers = self._registers()
        registers[self._layout.arguments[0]] = value
        self._set_registers(registers)

    def _restore_argument(self, value: int) -> None:
        """A program may rely on its registers after a call, but for the one that has the result."""
        if self._layout.arguments[0] != self._layout.result:
            self._set_argument(value)

    def call(self, *calls: Call) -> None:
        """Have it perform system calls, one after the other.

        Raises:
            OSError: the kernel refused one.
        """
        layout = self._layout
        before = self._registers()
        for name, *arguments in calls:
            self._set_registers(self._about_to(name, before, *arguments))
            self._ptrace(_SINGLESTEP)
            if (signum := self._wait()) != signal.SIGTRAP:
                raise Astray(f"it met signal {signum} while it was being set up")
            result = self._registers()[layout.result]
            if result > _NONE - 4_096:
                raise OSError(_NONE + 1 - result, f"{name}: {os.strerror(_NONE + 1 - result)}")
        self._set_registers(before)

    def _about_to(self, name: str, behind: list[int], *arguments: int) -> list[int]:
        """Registers with which one that stands behind a system call makes one, given those that it has there."""
        layout, registers = self._layout, list(behind)
        registers[layout.instruction] -= layout.call_bytes
        if layout.restarts is not None:
            registers[layout.restarts] = _NONE
        registers[layout.number] = layout.calls[name]
        for place, value in zip(layout.arguments, arguments, strict=False):
            registers[place] = value & _NONE
        return registers

    def place(self, data: bytes) -> int:
        """Put data where the process has nothing; returns where."""
        address = (self._registers()[self._layout.stack] - _RED_ZONE_BYTES - len(data)) & ~0xF
        memory = os.open(f"/proc/{self.pid}/mem", os.O_RDWR | os.O_CLOEXEC)
        try:
            os.pwrite(memory, data, address)
        finally:
            os.close(memory)
        return address

    def let_go(self) -> None:
        """From here on it does as it likes, and its filter holds."""
        self._ptrace(_DETACH)

    def kill(self) -> None:
        """Returns when it is gone, as far as its holder is concerned."""
        os.kill(self.pid, signal.SIGKILL)
        while os.WIFSTOPPED(os.waitpid(self.pid, _WALL)[1]):
            pass

    def _wait(self) -> int:
        return os.WSTOPSIG(self._wait_status())

    def _wait_status(self) -> int:
        _, status = os.waitpid(self.pid, _WALL)
        if not os.WIFSTOPPED(status):
            raise Astray("it has ended")
        return status

    def _set_options(self, options: int) -> None:
        self._ptrace(_SETOPTIONS, data=options)

    def _registers(self) -> list[int]:
        values = (ctypes.c_uint64 * self._layout.count)()
        self._transfer(_GETREGSET, values)
        return list(values)

    def _set_registers(self, registers: list[int]) -> None:
        self._transfer(_SETREGSET, (ctypes.c_uint64 * self._layout.count)(*registers))

    def _transfer(self, request: int, values: ctypes.Array[ctypes.c_uint64]) -> None:
        vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(values), ctypes.sizeof(values)))
        self._ptrace(request, address=_NT_PRSTATUS, data=ctypes.addressof(vector))

    def _ptrace(self, request: int, *, address: int = 0, data: int = 0) -> None:
        if _libc.ptrace(request, self.pid, address, data) < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"ptrace {request:#x}: {os.strerror(number)}")
