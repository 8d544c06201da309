"""How a zygote is started: its interpreter in a copy of the root that every sandbox has, or sandboxd's own, anew.

Whatever runs in it has sandboxd's privileges, so it is looked at first whose it is.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec

import lambent
from lambent.worker.sandbox import affinity, inner_wire, kernel, wire
from lambent.worker.sandbox.inner_wire import Ground
from lambent.worker.sandbox.plan import RESOURCE_LIMITS, ZygotePlan
from lambent.worker.sandbox.walls import WRITABLE, StepFailed, read_only_tree
from lambent.worker.sandbox.zygote import BIND_AT_ONCE

_BE_PLAIN = """\
import sys
sys.path.insert(0, sys.argv.pop())
from lambent.worker.sandbox.zygote import be_plain
be_plain()
"""
_LIBRARY_DIRS = ("/var/task", "/opt")
"""The loader remembers of each directory in LD_LIBRARY_PATH whether it exists: a zygote must find what functions may
bring, lest its children never look there."""


class Started(NamedTuple):
    """A process that is or will be a zygote, and our end of its wire."""

    pid: int
    control: socket.socket


def start_plain(ground: Ground) -> Started:
    """Start a zygote that has loaded nothing but what it builds with. It can be asked at once, and answers when it is.

    No fork of ours: each of its own is the quicker the less it holds.
    """
    ours, theirs = wire.socket_pair()
    with theirs:
        pid = os.fork()
        if pid == 0:
            _become_plain(ground, theirs.fileno())
    _tell(ours, ground, {})
    return Started(pid, ours)


def _become_plain(ground: Ground, control: int) -> NoReturn:
    """In a fresh child: our own interpreter anew."""
    try:
        kernel.die_with_parent(signal.SIGKILL)
        affinity.leave_one(ground.processors)
        own_namespaces = os.open("/proc/self/ns", os.O_PATH | os.O_DIRECTORY)
        _arrange_descriptors(control, ground, own_namespaces, output=2)
        library = Path(lambent.__file__).parent.parent
        found = {name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"}
        argv = [sys.executable, "-I", "-S", "-c", _BE_PLAIN, str(library)]
        os.execve(argv[0], argv, {**found, BIND_AT_ONCE: "1"})
    except OSError as exc:
        os.write(2, f"zygote: {exc}\n".encode())
    finally:
        os._exit(1)


def start(plan: ZygotePlan, ground: Ground) -> Started:
    """Start a zygote's interpreter. It tells by its wire when it is ready."""
    ours, theirs = wire.socket_pair()
    with theirs:
        pid = os.fork()
        if pid == 0:
            _become(plan, ground, theirs.fileno())
    orders = {
        "name": plan.name,
        "env": sorted(plan.env),
        "preloads": plan.preloads,
        "prologue": plan.prologue,
        "rehearsal": plan.rehearsal,
    }
    _tell(ours, ground, orders)
    return Started(pid, ours)


def _tell(zygote: socket.socket, ground: Ground, orders: Mapping[str, object]) -> None:
    """Its orders, with what all zygotes are told."""
    for_all = {
        "seccomp_program": ground.seccomp_program.hex(),
        "last_capability": ground.last_capability,
        "processors": ground.processors,
        "made_inside": ground.made_inside,
        "resource_limits": RESOURCE_LIMITS,
    }
    with suppress(OSError):  # dead already: it will be reaped
        zygote.send(msgspec.json.encode({**for_all, **orders}))


def _become(plan: ZygotePlan, ground: Ground, control: int) -> None:
    """In a fresh child: be the zygote, in a copy of the root that every sandbox has."""
    try:
        kernel.die_with_parent(signal.SIGKILL)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        affinity.leave_one(ground.processors)
        own_namespaces = os.open("/proc/self/ns", os.O_PATH | os.O_DIRECTORY)
        _enter_root(plan, ground)
        nowhere, output = os.pipe()
        _arrange_descriptors(control, ground, own_namespaces, output, nowhere)
        os.execve(plan.argv[0], plan.argv, {**plan.env, BIND_AT_ONCE: "1"})
    except (OSError, StepFailed) as exc:
        os.write(2, f"zygote {plan.name}: {exc}\n".encode())
    finally:
        os._exit(1)


def _enter_root(plan: ZygotePlan, ground: Ground) -> None:
    package = Path(lambent.__file__).parent
    mounts = [("/var/runtime", read_only_tree(plan.runtime_dir))]
    if plan.language_dir is not None:
        mounts.append(("/var/lang", read_only_tree(plan.language_dir)))
    bootstrap = Path(__file__).with_name("zygote_bootstrap.py")
    mounts.append(("/var/runtime/bootstrap.py", read_only_tree(str(bootstrap))))
    ourselves = read_only_tree(str(package))
    kernel.setns(ground.root_namespace, kernel.CLONE_NEWNS)
    kernel.unshare(kernel.CLONE_NEWNS)
    for target, tree in mounts:
        kernel.place_mount(tree, target)
    for directory in (*_LIBRARY_DIRS, "/run"):
        kernel.place_mount(kernel.new_filesystem("tmpfs", (("mode", "755"),), WRITABLE), directory)
        os.mkdir(f"{directory}/{package.name if directory == '/run' else 'lib'}")
    kernel.place_mount(ourselves, f"/run/{package.name}")
    os.chdir("/var/task")


def _arrange_descriptors(
    control: int, ground: Ground, own_namespaces: int, output: int, nowhere: int | None = None
) -> None:
    """Into the places where `zygote` looks for them, and nothing else stays open."""
    wanted = {
        inner_wire.ZYGOTE_CONTROL: control,
        inner_wire.HOST_NAMESPACE: ground.host_namespace,
        inner_wire.ROOT_NAMESPACE: ground.root_namespace,
        inner_wire.OWN_NAMESPACES: own_namespaces,
        inner_wire.COMPLAINTS: 2,
        0: os.open("/dev/null", os.O_RDONLY),
        1: output,
        2: output,
    }
    if nowhere is not None:
        wanted[inner_wire.NOWHERE] = nowhere
    first_free = max(wanted) + 1
    aside = {place: fcntl.fcntl(descriptor, fcntl.F_DUPFD, first_free) for place, descriptor in wanted.items()}
    for place, descriptor in aside.items():
        os.dup2(descriptor, place, inheritable=True)
    kernel.close_range(first_free)


def not_ours(plan: ZygotePlan) -> str | None:
    """What of the program somebody other than root, or than ourselves, could change: it would run with our privileges.

    Directories are looked at from the root down to the library; below, all is taken to be as its owner left it.
    """
    executable = Path(plan.executable)
    places = [executable, Path(plan.runtime_dir), Path(lambent.__file__).parent]
    places.extend((executable.parent.parent / "lib").glob("python3*/os.py"))
    for place in {above for one in places for above in _and_above(one.resolve())}:
        found = place.stat()
        if found.st_uid not in (0, os.geteuid()) or (found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX):
            return str(place)
    return None


def _and_above(path: Path) -> Iterator[Path]:
    yield path
    yield from path.parents
