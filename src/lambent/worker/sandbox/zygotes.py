"""The zygotes of this server, as sandboxd keeps them: asked for PID 1s, replaced when they die.

Those of interpreters are started on demand. A plain one, forked from sandboxd, serves what has none.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
import stat
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, assert_never

import msgspec

import lambent
from lambent.worker.sandbox import init, inner_wire, kernel, wire
from lambent.worker.sandbox.inner_wire import Ground, Setup
from lambent.worker.sandbox.plan import RESOURCE_LIMITS, ZygotePlan
from lambent.worker.sandbox.walls import WRITABLE, StepFailed, read_only_tree, step
from lambent.worker.sandbox.zygote import bear, stand_ready

log = logging.getLogger(__name__)

_ANSWER_TIMEOUT_S = 1.0
_DESCRIPTORS_MAXIMUM = 2
_FAILURES_MAXIMUM = 3
_LIBRARY_DIRS = ("/var/task", "/opt")
"""The loader remembers of each directory in LD_LIBRARY_PATH whether it exists: a zygote must find what functions may
bring, lest its children never look there."""


class ZygoteLost(Exception):
    """It has died, or hangs and was killed; nothing was forked."""


@dataclass(frozen=True, slots=True)
class Born:
    """A PID 1, which is a child of ours, and what its zygote has handed over. The descriptors are the holder's."""

    pid: int
    mount_namespace: int | None = None
    tell: int | None = None
    """Where its own child waits to be told what it is, if it has one."""


class Zygote:
    """One running zygote."""

    def __init__(self, name: str, pid: int, control: socket.socket) -> None:
        self.name = name
        self.pid = pid
        self.control = control
        self.is_ready = False

    def fork(self, setup: Setup) -> Born:
        """Have it build walls and fork a PID 1 inside, which becomes a child of ours.

        Raises:
            ZygoteLost: there is no answer.
            StepFailed: of building; it says which.
        """
        packet, descriptors = inner_wire.write_setup(setup)
        try:
            socket.send_fds(self.control, [packet], descriptors)
            answer, received, _, _ = socket.recv_fds(
                self.control, inner_wire.PACKET_BYTES, _DESCRIPTORS_MAXIMUM, socket.MSG_CMSG_CLOEXEC
            )
        except OSError as exc:  # a timeout, too
            self.kill()
            raise ZygoteLost(str(exc)) from exc
        if not answer:
            raise ZygoteLost("it has ended")
        match _decode(answer):
            case _Forked(pid=pid):
                return Born(pid, *received)
            case _NotForked(step=at, error=error):
                raise StepFailed(at, OSError(error))
            case answered:
                assert_never(answered)

    def kill(self) -> None:
        """Its end is noticed when it is reaped."""
        self.is_ready = False
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class _Forked(msgspec.Struct, tag="Forked"):
    pid: int


class _NotForked(msgspec.Struct, tag="NotForked"):
    step: str
    error: str


_decode = msgspec.json.Decoder(_Forked | _NotForked).decode


class Zygotes:
    """All zygotes of this server."""

    def __init__(self, plans: Iterable[ZygotePlan], ground: Ground | None, *, is_root: bool) -> None:
        self._ground = ground
        self._is_root = is_root
        self._plans: Mapping[str, ZygotePlan] = {plan.name: plan for plan in plans}
        self._running: dict[str, Zygote] = {}
        self._failures: dict[str, int] = {}
        self._plain = None if ground is None else _start_plain(ground)

    def fork(self, name: str | None, setup: Setup) -> Born:
        """A PID 1 of the zygote of that name, if it can be asked, or else of the plain one.

        Raises:
            StepFailed: of building, or there is nobody who can.
        """
        for attempt in (self.ready(name), self._plain):
            if attempt is not None:
                with suppress(ZygoteLost):  # it will be replaced; who waits for this sandbox need not wait for that
                    return attempt.fork(setup)
        assert self._plain is not None
        assert self._ground is not None
        self._plain.control.close()
        self._plain = _start_plain(self._ground)
        with step("fork"):
            try:
                return self._plain.fork(setup)
            except ZygoteLost as exc:
                raise OSError(f"the zygote was lost: {exc}") from exc

    def ready(self, name: str | None) -> Zygote | None:
        """The zygote of that name, if it can be asked."""
        zygote = self._running.get(name) if name is not None else None
        return zygote if zygote is not None and zygote.is_ready else None

    def start(self, name: str) -> Zygote | None:
        """Start one that is not running; None where there is nothing to start, or nothing that could be trusted."""
        plan = self._plans.get(name)
        if plan is None or self._ground is None or name in self._running:
            return None
        if self._failures.get(name, 0) >= _FAILURES_MAXIMUM:
            return None
        if self._is_root and (foreign := _not_ours(plan)) is not None:
            log.warning("zygote.not_started", extra={"zygote": name, "reason": f"{foreign} can be changed by others"})
            self._failures[name] = _FAILURES_MAXIMUM
            return None
        zygote = self._running[name] = _start(plan, self._ground)
        self._failures[name] = self._failures.get(name, 0) + 1
        return zygote

    def hear(self, zygote: Zygote) -> wire.ZygoteReady | None:
        """Its one message of its own accord: that it is ready. None: it has ended."""
        with suppress(wire.Garbled, OSError):
            received = wire.receive_report(zygote.control)
            if received is not None and isinstance(received[0], wire.ZygoteReady):
                zygote.is_ready = True
                zygote.control.settimeout(_ANSWER_TIMEOUT_S)
                self._failures[zygote.name] = 0
                return received[0]
        return None

    def died(self, pid: int) -> Zygote | None:
        """A child of ours has been reaped: if it was a zygote, it is one no more."""
        for name, zygote in self._running.items():
            if zygote.pid == pid:
                del self._running[name]
                zygote.control.close()
                return zygote
        return None

    def close(self) -> None:
        for zygote in (*self._running.values(), *([self._plain] if self._plain is not None else [])):
            zygote.kill()
            with suppress(ChildProcessError):
                os.waitpid(zygote.pid, 0)
            zygote.control.close()
        self._running.clear()


def _start_plain(ground: Ground) -> Zygote:
    ours, theirs = wire.socket_pair()
    with theirs:
        pid = os.fork()
        if pid == 0:
            _be_plain(ground, theirs)
    zygote = Zygote("plain", pid, ours)
    zygote.is_ready = True
    ours.settimeout(_ANSWER_TIMEOUT_S)
    return zygote


def _be_plain(ground: Ground, control: socket.socket) -> NoReturn:
    try:
        kernel.die_with_parent(signal.SIGKILL)
        kernel.set_name("lambent-plain")
        own = os.open("/proc/self/ns", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        init.close_all_but(control.fileno(), ground.host_namespace, ground.root_namespace, own)
        init.set_resource_limits(RESOURCE_LIMITS)
        bear(control, ground, stand_ready(ground, own), is_client=False)
    except OSError as exc:
        os.write(2, f"zygote: {exc}\n".encode())
    finally:
        os._exit(1)


def _start(plan: ZygotePlan, ground: Ground) -> Zygote:
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
        "seccomp_program": b64encode(ground.seccomp_program).decode(),
        "last_capability": ground.last_capability,
        "resource_limits": RESOURCE_LIMITS,
    }
    with suppress(OSError):  # dead already: it will be reaped
        ours.send(msgspec.json.encode(orders))
    return Zygote(plan.name, pid, ours)


def _become(plan: ZygotePlan, ground: Ground, control: int) -> None:
    """In a fresh child: be the zygote, in a copy of the root that every sandbox has."""
    try:
        kernel.die_with_parent(signal.SIGKILL)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        own_namespaces = os.open("/proc/self/ns", os.O_PATH | os.O_DIRECTORY)
        _enter_root(plan, ground)
        _arrange_descriptors(control, ground, own_namespaces)
        os.execve(plan.argv[0], plan.argv, plan.env)
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


def _arrange_descriptors(control: int, ground: Ground, own_namespaces: int) -> None:
    """Into the places where `zygote` looks for them, and nothing else stays open."""
    nowhere, output = os.pipe()
    wanted = {
        inner_wire.ZYGOTE_CONTROL: control,
        inner_wire.HOST_NAMESPACE: ground.host_namespace,
        inner_wire.ROOT_NAMESPACE: ground.root_namespace,
        inner_wire.OWN_NAMESPACES: own_namespaces,
        inner_wire.COMPLAINTS: 2,
        inner_wire.NOWHERE: nowhere,
        0: os.open("/dev/null", os.O_RDONLY),
        1: output,
        2: output,
    }
    first_free = max(wanted) + 1
    aside = {place: fcntl.fcntl(descriptor, fcntl.F_DUPFD, first_free) for place, descriptor in wanted.items()}
    for place, descriptor in aside.items():
        os.dup2(descriptor, place, inheritable=True)
    kernel.close_range(first_free)


def _not_ours(plan: ZygotePlan) -> str | None:
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
