"""sandboxd for an ordinary user: root in a user namespace of its own, and only there."""

from __future__ import annotations

import os
import signal

from lambent.worker.sandbox import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_OWN = kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC


def enter(close_in_parent: Sequence[int]) -> None:
    """Return as the root of new namespaces; the process that called stays behind and waits for the one that returns.

    sandboxd must own the namespaces it steps back into after making a sandbox's, and the PID namespace admits only
    children: hence the fork. `close_in_parent`: what must be seen to close when the child ends.
    """
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(_OWN)
    map_identity(inside=0, outside_uid=uid, outside_gid=gid)
    pid = os.fork()
    if pid != 0:
        for descriptor in close_in_parent:
            os.close(descriptor)
        _, status = os.waitpid(pid, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    kernel.die_with_parent(signal.SIGKILL)
    kernel.make_mounts_private()
    proc = kernel.new_filesystem("proc", (), kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV)
    kernel.place_mount(proc, "/proc")
    os.close(proc)


def map_identity(*, inside: int, outside_uid: int, outside_gid: int) -> None:
    """Say who this process is in the user namespace it has just made: the one mapping that takes no privilege."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside} {outside_uid} 1"),
        ("gid_map", f"{inside} {outside_gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
