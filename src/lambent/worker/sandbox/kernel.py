"""The system calls Python does not have: one function each, one reason each, one OSError each.

Zygotes use this too, so it keeps to Python 3.8.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import struct
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

CLONE_PARENT = 0x0000_8000
CLONE_NEWNS = 0x0002_0000
CLONE_NEWCGROUP = 0x0200_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_REC = 0x4000
MS_PRIVATE = 1 << 18
_MS_BIND = 0x1000

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08

AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6
_MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
SECUREBITS_ALL_LOCKED = 0xEF
"""No privilege by uid 0, no keeping of capabilities, no ambient ones; each bit with its lock."""

CAPABILITY_VERSION_3 = 0x2008_0522

_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LOOP_FLAG_AUTOCLEAR = 4
_LOOP_BLOCK_BYTES = 4_096
"""Of the file systems on them: with another, mounting one would write out and read again what is in memory already."""

LAST_DESCRIPTOR = 0xFFFF_FFFF

# These are numbered alike on every architecture, having come after that was agreed on.
_NR_OPEN_TREE, _NR_MOVE_MOUNT, _NR_FSOPEN, _NR_FSCONFIG, _NR_FSMOUNT = 428, 429, 430, 431, 432
NR_CLOSE_RANGE, _NR_MOUNT_SETATTR = 436, 442
_NR_CLONE = {"x86_64": 56, "aarch64": 220}
_NR_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_NR_KEYCTL = {"x86_64": 250, "aarch64": 219}
_MACHINE = os.uname().machine

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc_with_gil = ctypes.PyDLL(None, use_errno=True)
_libc.getenv.restype = ctypes.c_void_p
_clone = _libc_with_gil.syscall
_clone.restype = ctypes.c_long
_mount, _prctl_of_libc, _setns, _syscall_of_libc, _unshare = (
    *(_libc.mount, _libc.prctl, _libc.setns, _libc.syscall, _libc.unshare),  # looked for now, not after each fork
)
_prctl_of_libc.argtypes = (ctypes.c_int, *4 * (ctypes.c_ulong,))
_prctl_with_text = _libc["prctl"]
_SIBLING = tuple(map(ctypes.c_long, (_NR_CLONE[_MACHINE], CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)))


def unshare(flags: int) -> None:
    """Leave the parent's namespaces for new ones. CLONE_NEWPID is for the next child, not for the caller."""
    _check("unshare", _unshare(flags))


def setns(fd: int, kind: int) -> None:
    """Enter a namespace that is held open."""
    _check("setns", _setns(fd, kind))


def fork_sibling() -> int:
    """Fork a child of our parent's, which it and nobody else waits for; born into the PID namespace set for children.

    It dies with that parent, not with us. libc does not know of this fork, so the child may run Python in its one
    thread, and fork in the ordinary way, but start no thread.
    """
    return _check("clone", int(_clone(*_SIBLING)))


def make_mounts_private() -> None:
    """Keep what is mounted from here on to this namespace: a new one still shares with the one it was copied from."""
    _check("mount", _mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None))


def detach(path: str) -> None:
    """Unmount a tree at once for everyone who looks, and for good when its last user leaves."""
    _check("umount2", _libc.umount2(os.fsencode(path), _MNT_DETACH), path)


def pivot_root(new_root: str, put_old: str) -> None:
    """Change what `/` is: unlike chroot, there is no way back to a root that has been unmounted."""
    _check("pivot_root", _syscall(_NR_PIVOT_ROOT[_MACHINE], os.fsencode(new_root), os.fsencode(put_old)), new_root)


def bind(source: str, target: str) -> None:
    """Show what is at one path at another, too."""
    _check("mount", _mount(source.encode(), target.encode(), None, _MS_BIND, None), target)


def clone_tree(path: str, *, dir_fd: int = AT_FDCWD) -> int:
    """A detached copy of what is mounted at a path, and below: a bind mount that waits for its place."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE
    if not path:
        flags |= _AT_EMPTY_PATH
    return _check("open_tree", _syscall(_NR_OPEN_TREE, dir_fd, os.fsencode(path), flags), path)


def set_mount_attributes(mount_fd: int, attributes: int, *, recursive: bool = True) -> None:
    """Add attributes to a mount, and to those below it."""
    mount_attr = struct.pack("=QQQQ", attributes, 0, 0, 0)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    _check("mount_setattr", _syscall(_NR_MOUNT_SETATTR, mount_fd, b"", flags, mount_attr, len(mount_attr)))


def place_mount(mount_fd: int, target: str) -> None:
    """Put a detached tree where it belongs."""
    _check(
        "move_mount",
        _syscall(_NR_MOVE_MOUNT, mount_fd, b"", AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH),
        target,
    )


def new_filesystem(kind: str, options: Sequence[tuple[str, str | None]], attributes: int) -> int:
    """A detached mount of a file system. Options one by one, so that no path needs its commas escaped."""
    context = _check("fsopen", _syscall(_NR_FSOPEN, kind.encode(), _FSOPEN_CLOEXEC), kind)
    try:
        for key, value in options:
            _configure(context, kind, key, value)
        _check("fsconfig", _syscall(_NR_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0), kind)
        return _check("fsmount", _syscall(_NR_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes), kind)
    finally:
        os.close(context)


def _configure(context: int, kind: str, key: str, value: str | None) -> None:
    command = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
    encoded = None if value is None else os.fsencode(value)
    _check("fsconfig", _syscall(_NR_FSCONFIG, context, command, key.encode(), encoded, 0), f"{kind} {key}={value}")


@lru_cache(maxsize=1)
def _loop_control() -> int:
    return os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)


def attach_loop(image_fd: int) -> tuple[int, str]:
    """A loop device over a file, and its path; both go when the last descriptor and the last mount are closed."""
    while True:
        path = f"/dev/loop{fcntl.ioctl(_loop_control(), _LOOP_CTL_GET_FREE)}"
        loop = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        # struct loop_config: the file, the block size, struct loop_info64 with only its flags set.
        config = struct.pack("=II52xI", image_fd, _LOOP_BLOCK_BYTES, _LOOP_FLAG_AUTOCLEAR).ljust(304, b"\0")
        try:
            fcntl.ioctl(loop, _LOOP_CONFIGURE, config)
        except OSError as exc:
            os.close(loop)
            if exc.errno != errno.EBUSY:  # someone else took the device we were told is free
                raise
        else:
            return loop, path


def close_range(first: int, last: int = LAST_DESCRIPTOR) -> None:
    """Close every descriptor from `first` to `last`, in one call: before Python 3.10 `os.closerange` makes millions."""
    _check("close_range", int(_syscall_of_libc(ctypes.c_long(NR_CLOSE_RANGE), first, ctypes.c_uint(last), 0)))


def leave_keyring() -> None:
    """Keys of whoever started the server must not be inherited; a kernel without keyrings has nothing to inherit."""
    _syscall(_NR_KEYCTL[_MACHINE], 1, None)


def die_with_parent(signum: int) -> None:
    """Ask to be killed when the parent ends. Must come after the last change of uid, which cancels it."""
    _prctl(PR_SET_PDEATHSIG, signum)


def show_to_own_uid() -> None:
    """Make the process dumpable, as running a program would: what is in its /proc then is its own."""
    _prctl(PR_SET_DUMPABLE, 1)


def set_name(name: str) -> None:
    """What `ps` calls the process; 15 bytes at most."""
    _check("prctl", _prctl_with_text(PR_SET_NAME, name.encode(), 0, 0, 0), name)


def forget_variable(name: str) -> None:
    """Unset a variable that this process was started with so that not even its /proc tells of it, or its children's."""
    value = _libc.getenv(name.encode())
    del os.environ[name]
    if value is not None:
        ctypes.memset(value - len(name) - 1, 0, len(name) + 1 + len(ctypes.string_at(value)))


def become_subreaper() -> None:
    """Inherit orphans of one's descendants where there is no PID namespace to do it."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def forbid_new_privileges() -> None:
    """No setuid file or file capability grants anything from here on."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capability_bounds(last: int) -> None:
    """Take every capability, up to the kernel's last, out of what could ever be had again."""
    for capability in range(last + 1):
        _prctl(PR_CAPBSET_DROP, capability)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _prctl(PR_SET_SECUREBITS, SECUREBITS_ALL_LOCKED)


def _prctl(option: int, first: int = 0, second: int = 0) -> None:
    _check("prctl", _prctl_of_libc(option, first, second, 0, 0), option)


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    return int(_syscall_of_libc(ctypes.c_long(number), *map(_word, arguments)))


def _word(argument: int | bytes | None) -> ctypes.c_long | bytes | None:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def _check(call: str, result: int, subject: str | int = "") -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}", subject or None)
    return result
