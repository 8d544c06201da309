"""The root every sandbox starts from: the host's /usr read-only, an /etc of our own, and places for what differs.

Made once, in a mount namespace that no process stays in: a sandbox enters it, takes a copy of that namespace (a few
mounts, however many sandboxes there are), and adds its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from lambent.model.errors import PlatformError
from lambent.worker.sandbox import kernel

_SHARED = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
_PLACES = ("proc", "tmp", "dev", "opt", "var/task", "var/runtime", "var/lang", "etc", "home", "run", "root")
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9)}
_LINKS = {"var/node_modules": "/var/runtime/layer_modules", "node_modules": "/opt/nodejs/node_modules"}
"""Where Node.js looks last for what an ES module imports: NODE_PATH is not for these, but layers are, as on AWS."""
_DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
_FROM_ETC = (
    "alternatives",
    "gai.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "mime.types",
    "os-release",
    "pki/ca-trust/extracted",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "protocols",
    "services",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
)
"""What programs and certificate checks need; nothing that tells about the host or its users."""
_ETC = {
    "group": "root:x:0:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n127.0.0.1 sandbox.localdomain sandbox\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    "passwd": "",
}

_ROOT_ATTRIBUTES = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV
_DEVICE_ATTRIBUTES = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NOEXEC


def build_root(mount_point: Path, resolv_conf: str, *, can_make_devices: bool) -> int:
    """Build the root at an empty directory of a private mount namespace. Returns the namespace, held open.

    Raises:
        PlatformError: a step failed; nothing stays mounted.
    """
    ready_read, ready_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready_read)
        _build_in_child(ready_write, lambda: _build(mount_point, resolv_conf, can_make_devices))
    os.close(ready_write)
    try:
        with open(ready_read, "rb") as ready:
            answer = ready.readline()
        if answer != b"ready\n":
            raise PlatformError(f"the sandboxes' root could not be built: {answer.decode() or 'its builder died'}")
        return os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _build_in_child(ready: int, build: Callable[[], None]) -> None:
    try:
        build()
        os.write(ready, b"ready\n")
        signal.pause()
    except BaseException as exc:  # noqa: BLE001 - the end of a process: it must not return into its parent's code
        traceback.print_exc(file=sys.stderr)
        os.write(ready, str(exc).encode())
    finally:
        os._exit(1)


def _build(mount_point: Path, resolv_conf: str, can_make_devices: bool) -> None:
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.make_mounts_private()
    os.umask(0o022)
    _mount_tmpfs(mount_point, "755")
    for place in _PLACES:
        (mount_point / place).mkdir(parents=True)
    for link, destination in _LINKS.items():
        (mount_point / link).symlink_to(destination)
    _fill_etc(mount_point / "etc", resolv_conf)
    for name in _SHARED:
        _share(name, mount_point)
    _fill_dev(mount_point / "dev", can_make_devices)
    if not can_make_devices:
        # A user namespace may mount a new /proc only where an unmasked one can be seen already.
        kernel.place_mount(kernel.clone_tree("/proc"), str(mount_point / "proc"))
    os.chdir(mount_point)
    kernel.pivot_root(".", ".")
    kernel.detach(".")
    os.chdir("/")
    _remount_read_only("/", _ROOT_ATTRIBUTES)
    _remount_read_only("/dev", _DEVICE_ATTRIBUTES)


def _mount_tmpfs(target: Path, mode: str) -> None:
    mount = kernel.new_filesystem("tmpfs", (("mode", mode), ("size", "16m")), kernel.MOUNT_ATTR_NOSUID)
    kernel.place_mount(mount, str(target))
    os.close(mount)


def _share(name: str, root: Path) -> None:
    source, target = Path("/", name), root / name
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
    elif source.is_dir():
        target.mkdir()
        tree = kernel.clone_tree(str(source))
        kernel.set_mount_attributes(tree, _ROOT_ATTRIBUTES)
        kernel.place_mount(tree, str(target))
        os.close(tree)


def _fill_etc(etc: Path, resolv_conf: str) -> None:
    for name in _FROM_ETC:
        source, target = Path("/etc", name), etc / name
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, target, symlinks=True)
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=source.resolve().parts[1] != "usr")
    for name, text in _ETC.items():
        (etc / name).write_text(text)
    (etc / "resolv.conf").write_text(resolv_conf)
    (etc / "localtime").symlink_to("/usr/share/zoneinfo/UTC")
    (etc / "mtab").symlink_to("/proc/self/mounts")


def _fill_dev(dev: Path, can_make_devices: bool) -> None:
    _mount_tmpfs(dev, "755")
    for name, (major, minor) in _DEVICES.items():
        node = dev / name
        if can_make_devices:
            os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            node.chmod(0o666)
        else:
            node.touch()
            kernel.place_mount(kernel.clone_tree(f"/dev/{name}"), str(node))
    for name, destination in _DEVICE_LINKS.items():
        (dev / name).symlink_to(destination)


def _remount_read_only(path: str, attributes: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    kernel.set_mount_attributes(descriptor, attributes, recursive=False)
    os.close(descriptor)
