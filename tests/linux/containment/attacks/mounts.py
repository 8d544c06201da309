"""Attacks on the mount tree, and ways past it."""

import os

from tools import attack, attempt, call, in_child, libc

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_MOVE, MS_SHARED = 0x1, 0x20, 0x1000, 0x2000, 1 << 20
MNT_DETACH = 2
AT_FDCWD = -100


@attack
def mount_something(event):
    return {
        "tmpfs": call(165, b"none", b"/tmp", b"tmpfs", 0, 0),
        "proc": call(165, b"proc", b"/tmp", b"proc", 0, 0),
        "sysfs": call(165, b"sysfs", b"/tmp", b"sysfs", 0, 0),
        "cgroup2": call(165, b"none", b"/tmp", b"cgroup2", 0, 0),
        "devtmpfs": call(165, b"none", b"/tmp", b"devtmpfs", 0, 0),
        "overlay": call(165, b"o", b"/tmp", b"overlay", 0, b"lowerdir=/etc,upperdir=/tmp,workdir=/tmp"),
        "bind": call(165, b"/", b"/tmp", 0, MS_BIND, 0),
        "move": call(165, b"/proc", b"/tmp", 0, MS_MOVE, 0),
        "share": call(165, 0, b"/", 0, MS_SHARED, 0),
    }


@attack
def remount_writable(event):
    return {
        place: call(165, b"none", place.encode(), 0, MS_REMOUNT | MS_BIND, 0)
        for place in ("/", "/usr", "/etc", "/dev", "/proc", "/var/task", "/var/runtime")
    }


@attack
def unmount(event):
    return {
        place: [call(166, place.encode(), flags) for flags in (0, MNT_DETACH)]
        for place in ("/tmp", "/proc", "/proc/kallsyms", "/var/task", "/usr", "/")
    }


@attack
def mount_by_the_new_calls(event):
    return {
        "fsopen": call(430, b"tmpfs", 0),
        "fsmount": call(432, 0, 0, 0),
        "fsconfig": call(431, 0, 6, 0, 0, 0),
        "fspick": call(433, AT_FDCWD, b"/", 0),
        "open_tree": call(428, AT_FDCWD, b"/", 1),
        "move_mount": call(429, AT_FDCWD, b"/proc", AT_FDCWD, b"/tmp", 0),
        "mount_setattr": call(442, AT_FDCWD, b"/usr", 0, bytes(32), 32),
        "open_tree_attr": call(467, AT_FDCWD, b"/", 1, bytes(32), 32),
    }


@attack
def change_the_root(event):
    os.makedirs("/tmp/new", exist_ok=True)
    return {
        "pivot_root": call(155, b"/tmp", b"/tmp/new"),
        "pivot_root_in_place": call(155, b".", b"."),
        "chroot": attempt(os.chroot, "/tmp"),
        "chroot_in_child": in_child(lambda: os.chroot("/tmp")),
    }


def _place(path, **options):
    found = os.stat(path, **options)
    return [found.st_dev, found.st_ino]


@attack
def climb_above_the_root(event):
    """By names, by descriptors, by the links in /proc: whatever leads up must end at the same root."""
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    deep = os.open("/usr/lib", os.O_RDONLY | os.O_DIRECTORY)

    def by_fchdir():
        os.fchdir(deep)
        for _ in range(40):
            os.chdir("..")
        return _place(".")

    ways = {
        "dots": _place("/" + "../" * 64),
        "dots_of_task": _place("/var/task/" + "../" * 64),
        "descriptor": _place("../" * 64, dir_fd=deep),
        "descriptor_of_root": _place("..", dir_fd=root),
        "fchdir": in_child(by_fchdir),
        "own_root": _place("/proc/self/root/.."),
        "own_cwd": _place("/proc/self/cwd/../../../.."),
        "descriptor_link": _place(f"/proc/self/fd/{deep}/../../.."),
        "thread": _place(f"/proc/self/task/{os.getpid()}/root/.."),
    }
    os.close(root)
    os.close(deep)
    here = _place("/")
    return {name: "the root" if place == here else place for name, place in ways.items()}


@attack
def root_of_pid_1(event):
    return [attempt(os.listdir, f"/proc/1/{name}") for name in ("root", "cwd", "fd", "ns", "map_files")]


@attack
def open_by_handle(event):
    handle = (8).to_bytes(4, "little") + (1).to_bytes(4, "little") + (2).to_bytes(8, "little") + bytes(128)
    return {
        "name_to_handle_at": call(303, AT_FDCWD, b"/", handle, bytes(8), 0),
        "open_by_handle_at": call(304, AT_FDCWD, handle, os.O_RDONLY),
        "by_libc": libc.open_by_handle_at(AT_FDCWD, handle, os.O_RDONLY),
    }


@attack
def leak_of_mounts(event):
    """What one can see of the mounts is one's own; of the host's file systems there is none with its own root."""
    with open("/proc/self/mountinfo") as file:
        mounts = [line.split() for line in file]
    return [line[4] for line in mounts]
