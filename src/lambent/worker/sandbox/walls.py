"""The walls of a sandbox: its mounts and namespaces, built by whoever forks its first process, before it does.

A builder steps into the namespaces of a sandbox to be, has what it forks there be born inside, and goes home. What it
builds it has built before: only a process fresh from a fork pays for each page that it touches (decision 0011).
Zygotes build too, so this keeps to Python 3.8.
"""

from __future__ import annotations

import _socket
import errno
import os
from contextlib import ExitStack

from lambent.worker.sandbox import kernel
from lambent.worker.sandbox.inner_wire import Ground, Mount, Walls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

READ_ONLY = kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV | kernel.MOUNT_ATTR_RDONLY
WRITABLE = kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV
_IMAGE_OPTIONS = (
    ("noinit_itable", None),  # or a kernel thread would write out the tables that mkfs left for later
    ("nobarrier", None),  # nobody will read this after a power cut
)
_IMAGE_WITHOUT_READAHEAD = (*_IMAGE_OPTIONS, ("no_prefetch_block_bitmaps", None))
"""Or a kernel thread would read the whole image's bitmaps, at a third of the cost of a sandbox."""
_PROC_ATTRIBUTES = kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV | kernel.MOUNT_ATTR_NOEXEC
_HOME = (
    ("net", kernel.CLONE_NEWNET),
    ("ipc", kernel.CLONE_NEWIPC),
    ("uts", kernel.CLONE_NEWUTS),
    ("pid", kernel.CLONE_NEWPID),  # of the next child
)


class StepFailed(Exception):
    """A step of building the sandbox failed; says which, and what the kernel said."""

    def __init__(self, step: str, error: OSError) -> None:
        super().__init__(step, error)
        self.step = step
        self.error = error


class step:
    """What a part of the building is called, should it fail."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError):
            raise StepFailed(self._name, error) from error


class Builder:
    """Builds one sandbox's walls after the other, from the host's mount namespace. `own` is its /proc/self/ns, open."""

    def __init__(self, ground: Ground, own: int) -> None:
        self._ground = ground
        self._own = own
        kernel.unshare(kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS)  # nobody can go home to others'
        self._home = [(_open_namespace(own, name), kind) for name, kind in _HOME]
        self._kept = _open_namespace(own, "mnt")  # the program that we run lies there, and tells so by its path
        kernel.setns(ground.host_namespace, kernel.CLONE_NEWNS)

    def enter(self, walls: Walls, network_namespace: int) -> int:
        """Build, and stand inside: the next child is PID 1 there. Returns the mount namespace. Then go `home`.

        Raises:
            StepFailed: names the step; go home, too.
        """
        placed = [(mount.target, open_mount(mount)) for mount in walls.mounts]
        try:
            with step("enter namespaces"):
                kernel.setns(network_namespace, kernel.CLONE_NEWNET)
                kernel.setns(self._ground.root_namespace, kernel.CLONE_NEWNS)
                kernel.unshare(
                    kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWPID,
                )
                _socket.sethostname(walls.hostname)
            for target, mount_fd in placed:
                with step(f"mount {target}"):
                    kernel.place_mount(mount_fd, target)
        finally:
            for _, mount_fd in placed:
                os.close(mount_fd)
        return _open_namespace(self._own, "mnt")

    def home(self) -> None:
        """Whoever cannot go home must not go on."""
        kernel.setns(self._ground.host_namespace, kernel.CLONE_NEWNS)
        for namespace, kind in self._home:
            kernel.setns(namespace, kind)


def _open_namespace(own: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=own)


def open_mount(mount: Mount) -> int:
    """A mount whose sources are the host's, detached, wherever its target is."""
    with step(f"open {mount.kind} {':'.join(mount.sources)} for {mount.target}"):
        if mount.kind == "image":
            return _image(mount.sources[0])
        if mount.kind == "tree":
            return kernel.clone_tree(mount.sources[0])
        if mount.kind == "bind":
            return read_only_tree(mount.sources[0])
        return _merged_tree(mount.sources)


def _image(device: str) -> int:
    source = ("source", device)
    try:
        return kernel.new_filesystem("ext4", (source, *_IMAGE_WITHOUT_READAHEAD), WRITABLE)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        return kernel.new_filesystem("ext4", (source, *_IMAGE_OPTIONS), WRITABLE)  # before Linux 5.10


def read_only_tree(path: str) -> int:
    tree = kernel.clone_tree(path)
    kernel.set_mount_attributes(tree, READ_ONLY)
    return tree


def _merged_tree(paths: Sequence[str]) -> int:
    """The first directory over the second and so on. Named by descriptors: an option holds 255 bytes at most."""
    with ExitStack() as opened:
        directories = [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in paths]
        for directory in directories:
            opened.callback(os.close, directory)
        lower = ":".join(f"/proc/self/fd/{directory}" for directory in directories)
        return kernel.new_filesystem("overlay", (("lowerdir", lower),), READ_ONLY)


def open_proc() -> int:
    """A /proc of the caller's own PID namespace, detached."""
    return kernel.new_filesystem("proc", (("hidepid", "2"),), _PROC_ATTRIBUTES)
