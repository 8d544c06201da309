"""Attacks on files: to change what others will run, or to reach by links what no path leads to."""

import mmap
import os
import sys

from tools import attack, attempt, opened, read

WRITE = os.O_WRONLY


def _library():
    return next(line.split()[-1] for line in open("/proc/self/maps") if "libc.so" in line or "libc-" in line)


@attack
def write_where_code_is(event):
    """Every place that programs are loaded from: the function's, the runtime's, the interpreter's, the system's."""
    present = {
        "handler": __file__,
        "client": "/var/runtime/bootstrap.py",
        "interpreter": os.path.realpath(sys.executable),
        "standard_library": os.__file__,
        "c_library": _library(),
        "shell": os.path.realpath("/bin/sh"),
        "passwd": "/etc/passwd",
        "hosts": "/etc/hosts",
        "loader_cache": "/etc/ld.so.cache",
    }
    return {name: attempt(opened, path, WRITE) for name, path in present.items()}


@attack
def make_new_files(event):
    places = (
        "/",
        "/var/task",
        "/var/runtime",
        "/var/lang",
        "/opt",
        "/usr/lib",
        "/usr/local",
        "/etc",
        "/dev",
        "/run",
        "/home",
        "/root",
        "/var",
    )
    return {place: attempt(opened, f"{place}/evil", WRITE | os.O_CREAT) for place in places}


@attack
def change_whats_there(event):
    """Without opening it: names, modes, owners, times, attributes."""
    path = os.__file__
    return {
        "unlink": attempt(os.unlink, path),
        "rename": attempt(os.rename, path, "/tmp/moved"),
        "truncate": attempt(os.truncate, path, 0),
        "chmod": attempt(os.chmod, path, 0o777),
        "chown": attempt(os.chown, path, os.getuid(), os.getuid()),
        "utime": attempt(os.utime, path),
        "setxattr": attempt(os.setxattr, path, "user.x", b"x"),
        "link": attempt(os.link, path, "/tmp/linked"),
        "symlink": attempt(os.symlink, "/tmp/x", "/var/task/evil"),
        "mkdir": attempt(os.mkdir, "/var/runtime/evil"),
    }


@attack
def write_through_proc(event):
    """A descriptor opened for reading is not to be had for writing by its link."""
    with open(__file__) as handler, open("/etc/passwd") as passwd:
        return {
            "descriptor": attempt(opened, f"/proc/self/fd/{handler.fileno()}", WRITE),
            "passwd": attempt(opened, f"/proc/self/fd/{passwd.fileno()}", os.O_RDWR),
            "root": attempt(opened, "/proc/self/root/etc/passwd", WRITE),
            "executable": attempt(opened, "/proc/self/exe", WRITE),
            "mapping": attempt(mmap.mmap, handler.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
        }


@attack
def links_out_of_tmp(event):
    """Whoever follows them is in the same walls."""
    for name, target in (
        ("up", "/" + "../" * 40),
        ("server", event["data_dir"]),
        ("memory", f"/proc/{event['pid']}/root"),
    ):
        if not os.path.lexists(f"/tmp/{name}"):
            os.symlink(target, f"/tmp/{name}")
    return {
        "up": sorted(os.listdir("/tmp/up")) == sorted(os.listdir("/")),
        "server": attempt(os.listdir, "/tmp/server"),
        "memory": attempt(os.listdir, "/tmp/memory"),
        "hard": attempt(os.link, "/etc/passwd", "/tmp/hard"),
    }


@attack
def secrets_of_the_host(event):
    paths = (
        "/etc/shadow",
        "/etc/ssh",
        "/etc/machine-id",
        "/etc/ssl/private",
        "/root/.aws",
        "/var/lib",
        "/var/log",
        "/var/run",
        "/home",
        event["data_dir"],
        event["secret_file"],
    )
    return {path: attempt(lambda path=path: os.listdir(path) if os.path.isdir(path) else read(path)) for path in paths}


@attack
def what_the_root_holds(event):
    return sorted(os.listdir("/"))


@attack
def layers_of_the_root(event):
    """The root is a file system that all sandboxes share: nothing of it can be locked for writing, leased or owned."""
    import fcntl

    with open("/etc/passwd") as file:
        return {
            "lease": attempt(fcntl.fcntl, file, 1024, 1),
            "flags": attempt(fcntl.ioctl, file, 0x40086602, b"\x10\0\0\0"),
            "freeze": attempt(fcntl.ioctl, os.open("/", os.O_RDONLY), 0xC0045877, 0),
            "trim": attempt(fcntl.ioctl, os.open("/tmp", os.O_RDONLY), 0xC0185879, bytes(24)),
        }
