"""PID 1 of a sandbox: builds the walls from inside, gives up every privilege, then starts, reaps and reports processes.

Forked from sandboxd, so it starts in microseconds; from then on it must import nothing, for there is nothing to import
from. It shares a uid with the function but not its fate: PID 1 takes no signal from inside, and nobody may trace it.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

from lambent.worker.sandbox import kernel, process_tree, userns, wire
from lambent.worker.sandbox.plan import RESOURCE_LIMITS, Identity, Mount, MountKind, ProcessPlan
from lambent.worker.sandbox.scratch import Scratch

_READ_ONLY = kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV | kernel.MOUNT_ATTR_RDONLY
_FIRST_TO_DIE = b"1000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Walls:
    """What parts a sandbox from the host. Descriptors are inherited across the fork."""

    identity: Identity
    mounts: Sequence[Mount]
    passwd_file: str
    scratch: Scratch
    root_namespace: int
    network_namespace: int
    seccomp_program: bytes
    last_capability: int
    in_user_namespace: bool
    pids_maximum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything one generation needs, opened by sandboxd. No walls: the level `process`."""

    sandbox_id: str
    walls: Walls | None
    cgroup_procs: Sequence[int]
    output_fd: int
    processes: Sequence[ProcessPlan]


class StepFailed(Exception):
    """A step of building the sandbox failed; says which, and what the kernel said."""

    def __init__(self, step: str, error: OSError) -> None:
        super().__init__(step, error)
        self.step = step
        self.error = error


@contextmanager
def step(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StepFailed(name, exc) from exc


def run(setup: Setup, control: socket.socket) -> NoReturn:
    """The whole life of PID 1, in a fresh child of sandboxd."""
    try:
        _take_signals()
        _join_cgroups(setup.cgroup_procs)
        if setup.walls is None:
            kernel.become_subreaper()
        else:
            _build_walls(setup.walls)
        _close_all_but(control.fileno(), setup.output_fd)
        _set_resource_limits()
        if setup.walls is not None:
            _drop_privileges(setup.walls)
        Supervisor(setup, control).serve()
    except StepFailed as failure:
        wire.send(control, wire.Failed(sandbox_id=setup.sandbox_id, step=failure.step, error=str(failure.error)))
    finally:
        os._exit(1)


def _take_signals() -> None:
    """No Python handler may stay: a function could make PID 1 run it by sending the signal."""
    signal.set_wakeup_fd(-1)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)


def _join_cgroups(cgroup_procs: Sequence[int]) -> None:
    with step("join cgroups"):
        for procs in cgroup_procs:
            os.write(procs, b"0")
    _prefer_to_die("self", b"500")


def _build_walls(walls: Walls) -> None:
    placed = [(mount.target, _open_mount(mount, walls)) for mount in walls.mounts if mount.kind in _MADE_OUTSIDE]
    with step("open /etc/passwd"):
        placed.append(("/etc/passwd", _read_only_tree(walls.passwd_file)))
    with step("enter namespaces"):
        kernel.setns(walls.network_namespace, kernel.CLONE_NEWNET)
        kernel.setns(walls.root_namespace, kernel.CLONE_NEWNS)
        kernel.unshare(
            kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP,
        )
    with step("set host name"):
        socket.sethostname(walls.identity.hostname)
    for target, mount_fd in placed:
        with step(f"mount {target}"):
            kernel.place_mount(mount_fd, target)
    for mount in walls.mounts:
        if mount.kind not in _MADE_OUTSIDE:
            _make_mount(mount)
    os.chdir("/")


_MADE_OUTSIDE = (MountKind.BIND, MountKind.OVERLAY, MountKind.SCRATCH)
"""Mounts whose sources are paths or devices of the host: opened before its root is left behind."""


def _open_mount(mount: Mount, walls: Walls) -> int:
    with step(f"open {mount.kind} {':'.join(mount.sources)} for {mount.target}"):
        if mount.kind is MountKind.SCRATCH:
            return walls.scratch.mount()
        if mount.kind is MountKind.BIND:
            return _read_only_tree(mount.sources[0])
        return _merged_tree(mount.sources)


def _read_only_tree(path: str) -> int:
    tree = kernel.clone_tree(path)
    kernel.set_mount_attributes(tree, _READ_ONLY)
    return tree


def _merged_tree(paths: Sequence[str]) -> int:
    """The first directory over the second and so on. Named by descriptors: an option holds 255 bytes at most."""
    with ExitStack() as opened:
        directories = [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in paths]
        for directory in directories:
            opened.callback(os.close, directory)
        lower = ":".join(f"/proc/self/fd/{directory}" for directory in directories)
        return kernel.new_filesystem("overlay", (("lowerdir", lower),), _READ_ONLY)


def _make_mount(mount: Mount) -> None:
    with step(f"mount {mount.target}"):
        if mount.kind is MountKind.PROC:
            attributes = kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV | kernel.MOUNT_ATTR_NOEXEC
            kernel.place_mount(kernel.new_filesystem("proc", (("hidepid", "2"),), attributes), mount.target)
        elif os.path.exists(mount.target):
            kernel.place_mount(kernel.clone_tree("/dev/null"), mount.target)


def _set_resource_limits() -> None:
    for name, limits in RESOURCE_LIMITS.items():
        _limit(name, *limits)
    os.umask(0o022)


def _drop_privileges(walls: Walls) -> None:
    """In this order: each step needs what a later one takes away."""
    with step("drop privileges"):
        kernel.leave_keyring()
        if walls.in_user_namespace:
            kernel.unshare(kernel.CLONE_NEWUSER)
            userns.map_identity(inside=walls.identity.uid, outside_uid=0, outside_gid=0)
            _limit("RLIMIT_NPROC", walls.pids_maximum, walls.pids_maximum)  # counted within that namespace alone
            kernel.drop_capability_bounds(walls.last_capability)
        else:
            kernel.drop_capability_bounds(walls.last_capability)
            os.setgroups([])
            os.setresgid(walls.identity.uid, walls.identity.uid, walls.identity.uid)
            os.setresuid(walls.identity.uid, walls.identity.uid, walls.identity.uid)
        kernel.drop_capabilities()
        kernel.forbid_new_privileges()
        kernel.hide_from_own_uid()
        kernel.die_with_parent(signal.SIGKILL)
        kernel.install_seccomp(walls.seccomp_program)


def _limit(name: str, soft: int, hard: int) -> None:
    which = getattr(resource, name, None)
    if which is None:
        return
    try:
        resource.setrlimit(which, (soft, hard))
    except (OSError, ValueError):  # raising a hard limit takes a capability that even root may lack
        ceiling = resource.getrlimit(which)[1]
        resource.setrlimit(which, (min(soft, ceiling) if ceiling != resource.RLIM_INFINITY else soft, ceiling))


def _prefer_to_die(pid: int | str, score: bytes) -> None:
    """When memory runs out the function must go first, PID 1 after it, and the server last."""
    with suppress(OSError):
        descriptor = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        os.write(descriptor, score)
        os.close(descriptor)


def _close_all_but(*keep: int) -> None:
    """Other sandboxes' descriptors came along with the fork."""
    low = 3
    for descriptor in sorted(keep):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, 1 << 20)


class Supervisor:
    """Starts processes on request and says how each ended. Orphans are reaped in silence."""

    def __init__(self, setup: Setup, control: socket.socket) -> None:
        self._sandbox_id = setup.sandbox_id
        self._output_fd = setup.output_fd
        self._processes = setup.processes
        self._is_pid_1 = setup.walls is not None
        self._control = control
        self._names: dict[int, str] = {}

    def serve(self) -> None:
        """Until sandboxd closes its end; leaving PID 1 then kills all the rest."""
        child_ended, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)
        self._send(wire.Booted(sandbox_id=self._sandbox_id))
        for process in self._processes:
            self._start(process, self._output_fd)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(child_ended, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if child_ended in ready:
                os.read(child_ended, 4096)
                self._reap()
            if self._control.fileno() in ready and not self._obey():
                if not self._is_pid_1:
                    process_tree.kill(os.getpid())
                return

    def _obey(self) -> bool:
        received = wire.receive_request(self._control)
        if received is None:
            return False
        request, descriptors = received
        match request:
            case wire.Spawn():
                self._start(request.process, descriptors[0] if descriptors else self._output_fd)
            case wire.Signal():
                self._signal(request.name, request.signum)
            case wire.Freeze():
                self._signal_all(signal.SIGSTOP if request.is_frozen else signal.SIGCONT)
            case _:
                raise AssertionError(f"{request} is not for PID 1")
        for descriptor in descriptors:
            os.close(descriptor)
        return True

    def _start(self, process: ProcessPlan, output_fd: int) -> None:
        try:
            pid = _spawn(process.argv, process.env, process.cwd, output_fd)
        except OSError as exc:
            reason = f"fork/exec {process.argv[0]}: {os.strerror(exc.errno or 0).lower()}"
            self._send_exit(process.name, wire.ExitStatus(failure=reason))
            return
        _prefer_to_die(pid, _FIRST_TO_DIE)
        self._names[pid] = process.name

    def _signal(self, name: str, signum: int) -> None:
        for pid, running in self._names.items():
            if running == name:
                os.kill(pid, signum)

    def _signal_all(self, signum: int) -> None:
        for pid in (-1,) if self._is_pid_1 else process_tree.descendants(os.getpid()):
            with suppress(ProcessLookupError):
                os.kill(pid, signum)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self._names.pop(pid, None)
            if name is not None:
                self._send_exit(name, _exit_status(status))

    def _send_exit(self, name: str, status: wire.ExitStatus) -> None:
        self._send(wire.Exited(sandbox_id=self._sandbox_id, name=name, status=status))

    def _send(self, message: wire.Message) -> None:
        wire.send(self._control, message)


def _spawn(argv: Sequence[str], env: Mapping[str, str], cwd: str, output_fd: int) -> int:
    os.chdir(cwd)
    try:
        return os.posix_spawn(
            argv[0],
            list(argv),
            env,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output_fd, 1),
                (os.POSIX_SPAWN_DUP2, output_fd, 2),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=signal.valid_signals(),
        )
    finally:
        os.chdir("/")


def _exit_status(status: int) -> wire.ExitStatus:
    if os.WIFSIGNALED(status):
        return wire.ExitStatus(signal=os.WTERMSIG(status))
    return wire.ExitStatus(code=os.WEXITSTATUS(status))
