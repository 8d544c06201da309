"""Attacks by way of device nodes."""

import os
import stat

from tools import attack, attempt


@attack
def make_devices(event):
    """Character and block ones, of the host's disk and memory; a pipe may be made."""
    return {
        "memory": attempt(os.mknod, "/tmp/mem", 0o600 | stat.S_IFCHR, os.makedev(1, 1)),
        "disk": attempt(os.mknod, "/tmp/disk", 0o600 | stat.S_IFBLK, os.makedev(7, 0)),
        "null": attempt(os.mknod, "/tmp/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3)),
        "pipe": attempt(os.mkfifo, "/tmp/pipe"),
        "works_in_tmp": not os.statvfs("/tmp").f_flag & os.ST_NODEV,
    }


@attack
def what_devices_there_are(event):
    found = {}
    for name in sorted(os.listdir("/dev")):
        status = os.lstat(f"/dev/{name}")
        kind = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        found[name] = kind if stat.S_ISCHR(status.st_mode) else stat.filemode(status.st_mode)[0]
    return found


@attack
def devices_of_the_host(event):
    names = (
        "mem",
        "kmem",
        "port",
        "kmsg",
        "kvm",
        "fuse",
        "net/tun",
        "loop-control",
        "loop0",
        "vda",
        "sda",
        "tty",
        "tty0",
        "console",
        "ptmx",
        "pts/0",
        "hpet",
        "rtc0",
        "vhost-net",
        "vsock",
        "shm",
        "mqueue",
        "hugepages",
    )
    return sorted({attempt(os.stat, f"/dev/{name}") for name in names})


@attack
def change_devices(event):
    return {
        "chmod": attempt(os.chmod, "/dev/null", 0),
        "unlink": attempt(os.unlink, "/dev/null"),
        "seed": attempt(_add_entropy),
    }


def _add_entropy():
    import fcntl

    with open("/dev/urandom", "rb") as device:
        fcntl.ioctl(device, 0x5206, 0)  # RNDCLEARPOOL
