"""PID 1 of a sandbox: builds the walls from inside, gives up every privilege, then starts, reaps and reports processes.

Forked from sandboxd or from a zygote, so it starts in microseconds; from then on it must import nothing, for there is
nothing to import from. It shares a uid with the function but not its fate: PID 1 takes no signal from inside, and
nobody may trace it. On a zygote's interpreter this runs too, so it keeps to Python 3.8.
"""

from __future__ import annotations

import _socket
import errno
import json
import os
import resource
import select
import signal
from collections import deque
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
_IMAGE_WITHOUT_READAHEAD = (*_IMAGE_OPTIONS, ("no_prefetch_block_bitmaps", None))
"""Or a kernel thread would read the whole image's bitmaps, at a third of the cost of a sandbox."""
FIRST_TO_DIE = b"1000"
_STRANGERS_KEPT = 16
TOLD = 3
"""Where a child that waits is told what it is: a Process, as JSON, to the end."""
MADE_INSIDE = ("proc", "mask")
"""Mounts without a source on the host; all others are opened before its root is left behind."""


class StepFailed(Exception):
    """A step of building the sandbox failed; says which, and what the kernel said."""

    def __init__(self, step: str, error: OSError) -> None:
        super().__init__(step, error)
        self.step = step
        self.error = error


class Forked(BaseException):
    """Raised in the child of PID 1 that is to become a process itself, to leave what PID 1 was doing.

    Which process will be told through the pipe `told`, perhaps much later.
    """

    def __init__(self, told: int, output_fd: int) -> None:
        super().__init__()
        self.told = told
        self.output_fd = output_fd


@contextmanager
def step(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StepFailed(name, exc) from exc


def run(setup: Setup, ground: Ground | None, *, is_zygote: bool = False) -> Forked:
    """The whole life of PID 1, in a fresh child of sandboxd or of a zygote.

    Returns only in a child of its own, which is to become a runtime; that happens with a zygote's interpreter only.
    """
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
        close_all_but(setup.control, setup.output)
        _set_resource_limits(setup.resource_limits)
        if setup.walls is not None and ground is not None:
            mount_namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            _drop_privileges(setup.walls, ground, has_forgone=is_zygote)
        supervisor = Supervisor(setup, control, is_zygote=is_zygote)
        tell = supervisor.conceive() if is_zygote else None
        handed_over = [descriptor for descriptor in (mount_namespace, tell) if descriptor is not None]
        inner_wire.send(control, "Booted", handed_over, sandbox_id="")
        for descriptor in handed_over:
            os.close(descriptor)
        supervisor.serve()
    except Forked as forked:
        return forked.with_traceback(None)
    except StepFailed as failure:
        inner_wire.send(control, "Failed", sandbox_id="", step=failure.step, error=str(failure.error))
        os._exit(1)
    except BaseException:  # noqa: BLE001 - the end of a process: it must not return into its parent's code
        os._exit(1)
    os._exit(1)


def _take_signals() -> None:
    """No Python handler may stay: a function could make PID 1 run it by sending the signal.

    Nor may what a server started in the background ignores: the processes of functions would ignore it, too.
    """
    signal.set_wakeup_fd(-1)
    for signum in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)


def _join_cgroups(cgroup_procs: Sequence[int]) -> None:
    with step("join cgroups"):
        for procs in cgroup_procs:
            os.write(procs, b"0")
    prefer_to_die("self", b"500")


def _build_walls(walls: Walls, network_namespace: int, root_namespace: int) -> None:
    placed = [(mount.target, open_mount(mount)) for mount in walls.mounts if mount.kind not in MADE_INSIDE]
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
        if mount.kind in MADE_INSIDE:
            make_mount(mount)
    os.chdir("/")


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
    attributes = kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV | kernel.MOUNT_ATTR_NOEXEC
    return kernel.new_filesystem("proc", (("hidepid", "2"),), attributes)


def make_mount(mount: Mount) -> None:
    with step(f"mount {mount.target}"):
        if mount.kind == "proc":
            kernel.place_mount(open_proc(), mount.target)
        elif os.path.exists(mount.target):
            kernel.place_mount(kernel.clone_tree("/home" if os.path.isdir(mount.target) else "/dev/null"), mount.target)


def _set_resource_limits(limits: Mapping[str, Sequence[int]]) -> None:
    for name, (soft, hard) in limits.items():
        _limit(name, soft, hard)
    os.umask(0o022)


def forgo(ground: Ground) -> None:
    """Give up what is of no use to a PID 1, nor to who only forks them: what programs could gain, and others' keys."""
    kernel.leave_keyring()
    kernel.drop_capability_bounds(ground.last_capability)
    kernel.forbid_new_privileges()


def _drop_privileges(walls: Walls, ground: Ground, *, has_forgone: bool) -> None:
    """In this order: each step needs what a later one takes away."""
    with step("drop privileges"):
        if walls.in_user_namespace:
            kernel.unshare(kernel.CLONE_NEWUSER)  # which gives everything back, within it
            userns.map_identity(inside=walls.uid, outside_uid=0, outside_gid=0)
            _limit("RLIMIT_NPROC", walls.pids_maximum, walls.pids_maximum)  # counted within that namespace alone
            forgo(ground)
        elif not has_forgone:
            forgo(ground)
        if not walls.in_user_namespace:
            os.setgroups([])
            os.setresgid(walls.uid, walls.uid, walls.uid)
            os.setresuid(walls.uid, walls.uid, walls.uid)
        kernel.drop_capabilities()
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


def prefer_to_die(pid: str, score: bytes) -> None:
    """When memory runs out the function must go first, PID 1 after it, and the server last."""
    with suppress(OSError):
        descriptor = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        os.write(descriptor, score)
        os.close(descriptor)


def close_all_but(*keep: int) -> None:
    """Other sandboxes' descriptors came along with the fork."""
    low = 3
    for descriptor in sorted(keep):
        if low < descriptor:
            kernel.close_range(low, descriptor - 1)
        low = descriptor + 1
    kernel.close_range(low)


class Supervisor:
    """Starts processes on request and says how each ended. Orphans are reaped in silence."""

    def __init__(self, setup: Setup, control: _socket.socket, *, is_zygote: bool) -> None:
        self._output_fd = setup.output
        self._is_pid_1 = setup.walls is not None
        self._is_zygote = is_zygote
        self._embryo: tuple[int, int] | None = None
        """An interpreter that waits to be told, and where to tell it."""
        self._is_wanted = False
        """It is somebody's sandbox."""
        self._control = control
        self._names: dict[int, str] = {}
        self._strangers: deque[tuple[int, int]] = deque(maxlen=_STRANGERS_KEPT)
        """Of late: orphans and their ends."""
        self._child_ended, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _take_note)
        self._poll = select.poll()
        self._poll.register(self._control, select.POLLIN)
        self._poll.register(self._child_ended, select.POLLIN)

    def conceive(self) -> int:
        """Fork the child that will become a runtime. Returns where it waits to be told, which is not ours to do.

        We sleep meanwhile: every page of memory that we touch from now on would have to be copied.
        """
        pid, tell = _conceive(self._output_fd)
        self._names[pid] = inner_wire.FORKED
        return tell

    def serve(self) -> None:
        """Until sandboxd closes its end; leaving PID 1 then kills all the rest."""
        while True:
            ready = {descriptor for descriptor, _ in self._poll.poll()}
            if self._child_ended in ready:
                os.read(self._child_ended, 4096)
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
            self._is_wanted = True
            for process in request["processes"]:
                self._start(Process(*process), descriptors[0] if descriptors else self._output_fd)
        elif request["type"] == "Prewarm":
            self._embryo = _spawn_waiting(Process(*request["process"]), self._output_fd)
        elif request["type"] == "Signal":
            self._signal(request["name"], request["signum"])
        elif request["type"] == "Freeze":
            self._signal_all(signal.SIGSTOP if request["is_frozen"] else signal.SIGCONT)
        elif request["type"] == "Adopt":
            self._adopt(request["pid"], request["name"])
        else:
            raise AssertionError(f"{request} is not for PID 1")

    def _adopt(self, pid: int, name: str) -> None:
        """A child that somebody else had forked from one of ours. It may have ended before we are told."""
        status = dict(self._strangers).get(pid)
        if status is None:
            self._names[pid] = name
        else:
            self._tell_end(name, status)

    def _start(self, process: Process, output_fd: int) -> None:
        try:
            pid = (self._quicken(process) if process.is_forked else None) or _spawn(process, output_fd)
        except OSError as exc:
            reason = f"fork/exec {process.argv[0]}: {os.strerror(exc.errno or 0).lower()}"
            self._send_exit(process.name, failure=reason)
            return
        prefer_to_die(str(pid), FIRST_TO_DIE)
        self._names[pid] = process.name

    def _quicken(self, process: Process) -> int | None:
        """Tell the child that waits what it is; None where there is none, and can be none."""
        while True:
            embryo = self._embryo or (_conceive(self._output_fd) if self._is_zygote else None)
            if embryo is None:
                return None
            pid, tell = embryo
            self._embryo = None
            try:
                os.write(tell, json.dumps(process).encode())
                return pid
            except BrokenPipeError:  # it was killed from outside
                pass
            finally:
                os.close(tell)

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
            if name is None:
                self._strangers.append((pid, status))
                self._embryo_died(pid)
            else:
                self._tell_end(name, status)

    def _tell_end(self, name: str, status: int) -> None:
        how = "signal" if os.WIFSIGNALED(status) else "code"
        self._send_exit(name, **{how: os.WTERMSIG(status) if how == "signal" else os.WEXITSTATUS(status)})

    def _embryo_died(self, pid: int) -> None:
        if self._embryo is not None and self._embryo[0] == pid:
            os.close(self._embryo[1])
            self._embryo = None
            if not self._is_zygote and not self._is_wanted:
                os._exit(1)  # a sandbox that is nobody's yet is no better than a new one now, and will be replaced

    def _send_exit(self, name: str, **status: int | str) -> None:
        inner_wire.send(self._control, "Exited", sandbox_id="", name=name, status=status)


def _take_note(signum: int, frame: object) -> None:
    """A signal wakes the poll only if somebody handles it."""


def _conceive(output_fd: int) -> tuple[int, int]:
    told, tell = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        raise Forked(told, output_fd)
    os.close(told)
    return pid, tell


def _spawn_waiting(process: Process, output_fd: int) -> tuple[int, int]:
    told, tell = os.pipe2(os.O_CLOEXEC)
    try:
        return _spawn(process, output_fd, [(os.POSIX_SPAWN_DUP2, told, TOLD)]), tell
    finally:
        os.close(told)


def _spawn(process: Process, output_fd: int, more: Sequence[tuple[int, int, int]] = ()) -> int:
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
                *more,
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=signal.valid_signals(),
        )
    finally:
        os.chdir("/")
