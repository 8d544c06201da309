"""PID 1 of a sandbox: builds the walls from inside, gives up every privilege, then starts, reaps and reports processes.

Forked from sandboxd or from a zygote, so it starts in microseconds; from then on it must import nothing, for there is
nothing to import from. It shares a uid with the function but not its fate: PID 1 takes no signal from inside, and
nobody may trace it. On a zygote's interpreter this runs too, so it keeps to Python 3.8.
"""

from __future__ import annotations

import _socket
import json
import os
import resource
import select
import signal
from contextlib import ExitStack, contextmanager, suppress

from lambent.worker.sandbox import inner_wire, kernel, process_tree, userns
from lambent.worker.sandbox.inner_wire import Ground, Mount, Process, Setup, Walls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any  # what JSON holds

READ_ONLY = kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV | kernel.MOUNT_ATTR_RDONLY
WRITABLE = kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV
_IMAGE_OPTIONS = (
    ("noinit_itable", None),  # or a kernel thread would write out the tables that mkfs left for later
    ("nobarrier", None),  # nobody will read this after a power cut
)
_FIRST_TO_DIE = b"1000"
_MADE_INSIDE = ("proc", "mask")
"""Mounts without a source on the host; all others are opened before its root is left behind."""


class StepFailed(Exception):
    """A step of building the sandbox failed; says which, and what the kernel said."""

    def __init__(self, step: str, error: OSError) -> None:
        super().__init__(step, error)
        self.step = step
        self.error = error


class Forked(BaseException):
    """Raised in the child of PID 1 that is to become a process itself, to leave what PID 1 was doing."""

    def __init__(self, process: Process, output_fd: int) -> None:
        super().__init__(process.name)
        self.process = process
        self.output_fd = output_fd


@contextmanager
def step(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StepFailed(name, exc) from exc


def run(setup: Setup, ground: Ground | None, *, can_fork: bool = False) -> Forked:
    """The whole life of PID 1, in a fresh child. Returns only in a child of its own, with what that shall become."""
    control = inner_wire.attach(setup.control)
    mount_namespace = None
    try:
        _take_signals()
        if setup.walls is None or ground is None:
            _join_cgroups(setup.cgroup_procs)
            kernel.become_subreaper()
        else:
            with step("enter the host's mount namespace"):
                kernel.setns(ground.host_namespace, kernel.CLONE_NEWNS)
            _join_cgroups(setup.cgroup_procs)
            _build_walls(setup.walls, setup.network_namespace, ground.root_namespace)
        _close_all_but(setup.control, setup.output)
        _set_resource_limits(setup.resource_limits)
        if setup.walls is not None and ground is not None:
            mount_namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            _drop_privileges(setup.walls, ground)
        inner_wire.send(control, "Booted", mount_namespace, sandbox_id="")
        if mount_namespace is not None:
            os.close(mount_namespace)
        Supervisor(setup, control, can_fork=can_fork).serve()
    except Forked as forked:
        return forked.with_traceback(None)
    except StepFailed as failure:
        inner_wire.send(control, "Failed", sandbox_id="", step=failure.step, error=str(failure.error))
        os._exit(1)
    except BaseException:  # noqa: BLE001 - the end of a process: it must not return into its parent's code
        os._exit(1)
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


def _build_walls(walls: Walls, network_namespace: int, root_namespace: int) -> None:
    placed = [(mount.target, open_mount(mount)) for mount in walls.mounts if mount.kind not in _MADE_INSIDE]
    with step("enter namespaces"):
        kernel.setns(network_namespace, kernel.CLONE_NEWNET)
        kernel.setns(root_namespace, kernel.CLONE_NEWNS)
        kernel.unshare(
            kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP,
        )
    with step("set host name"):
        _socket.sethostname(walls.hostname)
    for target, mount_fd in placed:
        with step(f"mount {target}"):
            kernel.place_mount(mount_fd, target)
    for mount in walls.mounts:
        if mount.kind in _MADE_INSIDE:
            _make_mount(mount)
    os.chdir("/")


def open_mount(mount: Mount) -> int:
    """A mount whose sources are the host's, detached, wherever its target is."""
    with step(f"open {mount.kind} {':'.join(mount.sources)} for {mount.target}"):
        if mount.kind == "image":
            return kernel.new_filesystem("ext4", (("source", mount.sources[0]), *_IMAGE_OPTIONS), WRITABLE)
        if mount.kind == "tree":
            return kernel.clone_tree(mount.sources[0])
        if mount.kind == "bind":
            return read_only_tree(mount.sources[0])
        return _merged_tree(mount.sources)


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


def _make_mount(mount: Mount) -> None:
    with step(f"mount {mount.target}"):
        if mount.kind == "proc":
            attributes = kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV | kernel.MOUNT_ATTR_NOEXEC
            kernel.place_mount(kernel.new_filesystem("proc", (("hidepid", "2"),), attributes), mount.target)
        elif os.path.exists(mount.target):
            kernel.place_mount(kernel.clone_tree("/dev/null"), mount.target)


def _set_resource_limits(limits: Mapping[str, Sequence[int]]) -> None:
    for name, (soft, hard) in limits.items():
        _limit(name, soft, hard)
    os.umask(0o022)


def _drop_privileges(walls: Walls, ground: Ground) -> None:
    """In this order: each step needs what a later one takes away."""
    with step("drop privileges"):
        kernel.leave_keyring()
        if walls.in_user_namespace:
            kernel.unshare(kernel.CLONE_NEWUSER)
            userns.map_identity(inside=walls.uid, outside_uid=0, outside_gid=0)
            _limit("RLIMIT_NPROC", walls.pids_maximum, walls.pids_maximum)  # counted within that namespace alone
            kernel.drop_capability_bounds(ground.last_capability)
        else:
            kernel.drop_capability_bounds(ground.last_capability)
            os.setgroups([])
            os.setresgid(walls.uid, walls.uid, walls.uid)
            os.setresuid(walls.uid, walls.uid, walls.uid)
        kernel.drop_capabilities()
        kernel.forbid_new_privileges()
        kernel.hide_from_own_uid()
        kernel.die_with_parent(signal.SIGKILL)
        kernel.install_seccomp(ground.seccomp_program)


def _limit(name: str, soft: int, hard: int) -> None:
    which = getattr(resource, name, None)
    if which is None:
        return
    try:
        resource.setrlimit(which, (soft, hard))
    except (OSError, ValueError):  # raising a hard limit takes a capability that even root may lack
        ceiling = resource.getrlimit(which)[1]
        resource.setrlimit(which, (min(soft, ceiling) if ceiling != resource.RLIM_INFINITY else soft, ceiling))


def _prefer_to_die(pid: str, score: bytes) -> None:
    """When memory runs out the function must go first, PID 1 after it, and the server last."""
    with suppress(OSError):
        descriptor = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        os.write(descriptor, score)
        os.close(descriptor)


def _close_all_but(*keep: int) -> None:
    """Other sandboxes' descriptors came along with the fork."""
    low = 3
    for descriptor in sorted(keep):
        if low < descriptor:
            kernel.close_range(low, descriptor - 1)
        low = descriptor + 1
    kernel.close_range(low)


class Supervisor:
    """Starts processes on request and says how each ended. Orphans are reaped in silence."""

    def __init__(self, setup: Setup, control: _socket.socket, *, can_fork: bool) -> None:
        self._output_fd = setup.output
        self._is_pid_1 = setup.walls is not None
        self._can_fork = can_fork
        self._control = control
        self._names: dict[int, str] = {}

    def serve(self) -> None:
        """Until sandboxd closes its end; leaving PID 1 then kills all the rest."""
        child_ended, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _take_note)
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
        packet, descriptors = inner_wire.receive(self._control)
        if not packet:
            return False
        self._perform(json.loads(packet), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return True

    def _perform(self, request: dict[str, Any], descriptors: Sequence[int]) -> None:
        if request["type"] == "Start":
            for process in request["processes"]:
                self._start(Process(*process), descriptors[0] if descriptors else self._output_fd)
        elif request["type"] == "Signal":
            self._signal(request["name"], request["signum"])
        elif request["type"] == "Freeze":
            self._signal_all(signal.SIGSTOP if request["is_frozen"] else signal.SIGCONT)
        else:
            raise AssertionError(f"{request} is not for PID 1")

    def _start(self, process: Process, output_fd: int) -> None:
        try:
            pid = _fork(process, output_fd) if process.is_forked and self._can_fork else _spawn(process, output_fd)
        except OSError as exc:
            reason = f"fork/exec {process.argv[0]}: {os.strerror(exc.errno or 0).lower()}"
            self._send_exit(process.name, failure=reason)
            return
        _prefer_to_die(str(pid), _FIRST_TO_DIE)
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
                how = "signal" if os.WIFSIGNALED(status) else "code"
                self._send_exit(name, **{how: os.WTERMSIG(status) if how == "signal" else os.WEXITSTATUS(status)})

    def _send_exit(self, name: str, **status: int | str) -> None:
        inner_wire.send(self._control, "Exited", sandbox_id="", name=name, status=status)


def _take_note(signum: int, frame: object) -> None:
    """A signal wakes the poll only if somebody handles it."""


def _fork(process: Process, output_fd: int) -> int:
    pid = os.fork()
    if pid == 0:
        raise Forked(process, output_fd)
    return pid


def _spawn(process: Process, output_fd: int) -> int:
    os.chdir(process.cwd)
    try:
        return os.posix_spawn(
            process.argv[0],
            list(process.argv),
            process.env,
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
