"""What a child of a template finds around it, put there from outside while it cannot move: its mounts, host name, /tmp.

Its mount namespace is a copy of its template's: code, layers, runtime and the root are in their places. What is a
sandbox's own lies over that: /proc, /etc/passwd and /tmp, which holds what Init has left there.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from lambent.worker.sandbox import kernel
from lambent.worker.sandbox.inner_wire import Mount, Walls
from lambent.worker.sandbox.walls import StepFailed, open_proc, step

OUTPUT_NAME = ".lambent-output"
"""A pipe in /tmp that a child opens, and removes, before it runs anything of the function's.

It waits there until somebody reads, which is when it is wanted.
"""
_PIPE_MODE = 0o200
_COPY_BYTES = 1024 * 1024


def furnish(pid: int, walls: Walls, mounts: Mapping[str, int], masks: Sequence[Mount], own_pid_namespace: int) -> None:
    """Furnish the sandbox of a process, which must not run. `mounts` are detached, by where they are to be.

    Raises:
        StepFailed: names the step.
    """
    with step("open the child's namespaces"):
        namespaces = {kind: os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in _KINDS}
    try:
        with step("enter the child's namespaces"):
            complaints, complain = os.pipe2(os.O_CLOEXEC)
            kernel.setns(namespaces["pid"], kernel.CLONE_NEWPID)
            try:
                furnisher = os.fork()
                if furnisher == 0:
                    _be_furnisher(namespaces, mounts, masks, walls, complain)
            finally:
                kernel.setns(own_pid_namespace, kernel.CLONE_NEWPID)
        os.close(complain)
        with open(complaints) as text:
            complaint = text.read()
        os.waitpid(furnisher, 0)
    finally:
        for descriptor in namespaces.values():
            os.close(descriptor)
    if complaint != "done":
        raise StepFailed("furnish", OSError(complaint or "the furnisher died"))


_KINDS = {"mnt": kernel.CLONE_NEWNS, "uts": kernel.CLONE_NEWUTS, "pid": kernel.CLONE_NEWPID}


def _be_furnisher(
    namespaces: Mapping[str, int], mounts: Mapping[str, int], masks: Sequence[Mount], walls: Walls, complain: int
) -> NoReturn:
    """In a process inside the child's PID namespace, of which a new /proc tells."""
    said = b""
    try:
        signal.setitimer(signal.ITIMER_REAL, 0)
        with step("mount /proc"):
            proc = open_proc()
        with step("enter the child's namespaces"):
            for kind in ("mnt", "uts"):
                kernel.setns(namespaces[kind], _KINDS[kind])
            socket.sethostname(walls.hostname)
            left_behind = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for target, mount_fd in (("/proc", proc), *mounts.items()):
            with step(f"mount {target}"):
                kernel.place_mount(mount_fd, target)
        for mask in masks:
            with step(f"mask {mask.target}"):
                kernel.bind(mask.sources[0], mask.target)
        with step("fill /tmp"):
            own = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            os.mkfifo(OUTPUT_NAME, _PIPE_MODE, dir_fd=own)
            os.chown(OUTPUT_NAME, walls.uid, walls.uid, dir_fd=own)
            _copy_contents(left_behind, own, walls.uid)
        said = b"done"
    except (OSError, StepFailed) as exc:
        said = repr(exc).encode()
    finally:
        os.write(complain, said)
        os._exit(0)


def _copy_contents(source: int, target: int, owner: int) -> None:
    """Files, directories and links; what is neither is not copied, and what changes meanwhile is no concern of ours."""
    for name in os.listdir(source):
        with suppress(FileExistsError, FileNotFoundError):
            _copy(name, source, target, owner)


def _copy(name: str, source: int, target: int, owner: int) -> None:
    found = os.stat(name, dir_fd=source, follow_symlinks=False)
    mode = stat.S_IMODE(found.st_mode) & 0o777
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    elif stat.S_ISDIR(found.st_mode):
        os.mkdir(name, 0o700, dir_fd=target)
        with _opened(name, source, os.O_DIRECTORY) as inner, _opened(name, target, os.O_DIRECTORY) as outer:
            _copy_contents(inner.fd, outer.fd, owner)
            os.fchmod(outer.fd, mode)
    elif stat.S_ISREG(found.st_mode):
        with _opened(name, source, 0) as inner, _opened(name, target, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as outer:
            while os.sendfile(outer.fd, inner.fd, None, _COPY_BYTES):
                pass
            os.fchmod(outer.fd, mode)
            os.utime(outer.fd, ns=(found.st_atime_ns, found.st_mtime_ns))
    else:
        return
    os.chown(name, owner, owner, dir_fd=target, follow_symlinks=False)


class _opened:
    def __init__(self, name: str, directory: int, flags: int) -> None:
        self.fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=directory)

    def __enter__(self) -> _opened:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self.fd)
