"""PID 1 of a sandbox: gives up every privilege, then starts, reaps and reports processes.

Forked into walls that stand already, by a zygote, so it starts in microseconds; from then on it must import nothing,
for there is nothing to import from, and do little, for the kernel copies each page that a forked process touches. It
shares a uid with the function but not its fate: PID 1 takes no signal from inside, and nobody may trace it. On any
zygote's interpreter this runs, so it keeps to Python 3.8.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # those of `signal` make an enum of each number
import _socket
import json
import os
import resource
import select
import signal
from collections import deque
from contextlib import suppress

from lambent.worker.sandbox import closing, inner_wire, kernel, process_tree, userns
from lambent.worker.sandbox.closing import Closing
from lambent.worker.sandbox.inner_wire import Ground, Process, Setup, Walls
from lambent.worker.sandbox.walls import StepFailed, step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any  # what JSON holds

FIRST_TO_DIE, SECOND_TO_DIE = b"1000", b"500"
HANDLED = tuple(int(one) for one in (signal.SIGCHLD, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP))
_STRANGERS_KEPT = 16
TOLD = 3
"""Where a child that waits is told what it is: a Process, as JSON, to the end."""


class Forked(BaseException):
    """Raised in the child of PID 1 that is to become a process itself, to leave what PID 1 was doing.

    Which process will be told through the pipe `told`, perhaps much later.
    """

    def __init__(self, told: int, output_fd: int, *, has_time: bool) -> None:
        super().__init__()
        self.told = told
        self.output_fd = output_fd
        self.has_time = has_time
        """Nobody waits for it yet."""


def run(
    setup: Setup, last_calls: Closing | None = None, ground: Ground | None = None, told: int | None = None
) -> Forked:
    """The whole life of PID 1, in a fresh child of a zygote, inside its walls; or of sandboxd, where there are none.

    With `told`, an end of a pipe, it forks a child that is to become what it is told there. Returns only in that.
    """
    control = inner_wire.attach(setup.control)
    try:
        supervisor = _begin(setup, control, last_calls, ground, can_conceive=told is not None)
        if told is not None and (forked := supervisor.conceive(told)) is not None:
            return forked
        supervisor.serve()
    except Forked as forked:
        return forked.with_traceback(None)
    except StepFailed as failure:
        inner_wire.send(control, "Failed", sandbox_id="", step=failure.step, error=str(failure.error))
        os._exit(1)
    except BaseException:  # noqa: BLE001 - the end of a process: it must not return into its parent's code
        os._exit(1)
    os._exit(1)


def _begin(
    setup: Setup, control: _socket.socket, last_calls: Closing | None, ground: Ground | None, *, can_conceive: bool
) -> Supervisor:
    _take_signals()
    if setup.walls is None or ground is None or last_calls is None:
        score = _set_apart(setup)
    else:
        score = _close_the_walls(last_calls, setup.walls, ground)
    supervisor = Supervisor(setup, control, score, can_conceive=can_conceive)
    control.send(inner_wire.BOOTED)
    return supervisor


def rehearse(ground: Ground) -> None:
    """A life without walls, in which nothing happens: then the children of this interpreter find nothing new in theirs.

    Signals that this process ignores, it will ignore afterwards.
    """
    ignored = [signum for signum in HANDLED if _signal.getsignal(signum) == _signal.SIG_IGN]
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    theirs.shutdown(_socket.SHUT_WR)
    walls = Walls(uid=0, hostname="", mounts=(), in_user_namespace=False, pids_maximum=0)
    setup = Setup(walls, ours.detach(), 1, -1, (), is_held_back=False)
    control = inner_wire.attach(setup.control)
    supervisor = _begin(setup, control, Closing((), ()), ground, can_conceive=False)
    supervisor.serve()
    supervisor.close()
    control.close()
    theirs.close()
    _take_signals()
    for signum in ignored:
        _signal.signal(signum, _signal.SIG_IGN)


def _take_signals() -> None:
    """No Python handler may stay: a function could make PID 1 run it by sending the signal.

    Nor may what a server started in the background ignores: the processes of functions would ignore it, too.
    """
    _signal.set_wakeup_fd(-1)
    for signum in HANDLED:
        _signal.signal(signum, _signal.SIG_DFL)


def _set_apart(setup: Setup) -> Score:
    """What there is without isolation."""
    with step("join cgroups"):
        for procs in setup.cgroup_procs:
            os.write(procs, b"0")
    kernel.become_subreaper()
    close_all_but(setup.control, setup.output)
    score = Score()
    score.set(SECOND_TO_DIE)
    return score


def _close_the_walls(last_calls: Closing, walls: Walls, ground: Ground) -> Score:
    """What only a process inside can do, and then what it can never undo. What could be forgone earlier has been."""
    closing.make(last_calls.inside)
    score = Score()
    if walls.in_user_namespace:
        with step("drop privileges"):
            _become_root_within(walls, ground)
    closing.make(last_calls.for_good)
    return score


def _become_root_within(walls: Walls, ground: Ground) -> None:
    kernel.unshare(kernel.CLONE_NEWUSER)  # which gives everything back, within it
    userns.map_identity(inside=walls.uid, outside_uid=0, outside_gid=0)
    _limit("RLIMIT_NPROC", walls.pids_maximum, walls.pids_maximum)  # counted within that namespace alone
    forgo(ground)


def set_resource_limits(limits: Mapping[str, Sequence[int]]) -> None:
    """For this process and all that it forks."""
    for name, (soft, hard) in limits.items():
        _limit(name, soft, hard)
    os.umask(0o022)


def forgo(ground: Ground) -> None:
    """Give up what is of no use to a PID 1, nor to who only forks them: what programs could gain, and others' keys."""
    kernel.leave_keyring()
    kernel.drop_capability_bounds(ground.last_capability)
    kernel.forbid_new_privileges()


def _limit(name: str, soft: int, hard: int) -> None:
    which = getattr(resource, name, None)
    if which is None:
        return
    try:
        resource.setrlimit(which, (soft, hard))
    except (OSError, ValueError):  # raising a hard limit takes a capability that even root may lack
        ceiling = resource.getrlimit(which)[1]
        resource.setrlimit(which, (min(soft, ceiling) if ceiling != resource.RLIM_INFINITY else soft, ceiling))


class Score:
    """Our own, in who dies when memory runs out: the function must go first, PID 1 after it, and the server last.

    Opened while we may: who is hidden from its own uid cannot open it. Where a host lets nobody, nothing is changed.
    """

    def __init__(self) -> None:
        self._descriptor = -1
        try:
            self._descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            pass

    def set(self, score: bytes) -> None:
        try:
            os.write(self._descriptor, score)
        except OSError:
            pass

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def prefer_to_die(score: bytes) -> None:
    """Once and for all."""
    own = Score()
    own.set(score)
    own.close()


def close_all_but(*keep: int) -> None:
    """Other sandboxes' descriptors came along with the fork."""
    for first, last in closing.between(keep):
        kernel.close_range(first, last)


class Supervisor:
    """Starts processes on request and says how each ended. Orphans are reaped in silence."""

    def __init__(self, setup: Setup, control: _socket.socket, score: Score, *, can_conceive: bool) -> None:
        self._output_fd = setup.output
        self._score = score
        self._is_held_back = setup.is_held_back
        self._is_pid_1 = setup.walls is not None
        self._can_conceive = can_conceive
        self._embryo: tuple[int, int] | None = None
        """An interpreter that waits to be told, and where to tell it."""
        self._is_wanted = False
        """It is somebody's sandbox."""
        self._control = control
        self._names: dict[int, str] = {}
        self._strangers: deque[tuple[int, int]] = deque(maxlen=_STRANGERS_KEPT)
        """Of late: orphans and their ends."""
        self._child_ended, self._wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        _signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, _take_note)
        self._poll = select.poll()
        self._poll.register(self._control, select.POLLIN)
        self._poll.register(self._child_ended, select.POLLIN)

    def conceive(self, told: int) -> Forked | None:
        """Fork the child that is to become a runtime, once it is told. Done last, for a fork parts what we share.

        We sleep meanwhile: every page that we touch from now on would have to be copied. Returns a value in the child.
        """
        pid = os.fork()
        if pid == 0:
            self._control.detach()  # dropped open, it would wake who warns of that
            return Forked(told, self._output_fd, has_time=self._is_held_back)
        self._names[pid] = inner_wire.FORKED
        os.close(told)
        return None

    def serve(self) -> None:
        """Until sandboxd closes its end; leaving PID 1 then kills all the rest."""
        while True:
            ready = dict(self._poll.poll())
            if self._child_ended in ready:
                os.read(self._child_ended, 4096)
                self._reap()
            if self._control.fileno() in ready and not self._obey():
                if not self._is_pid_1:
                    process_tree.kill(os.getpid())
                return

    def close(self) -> None:
        """Of what it has opened. PID 1 need not: it ends."""
        _signal.set_wakeup_fd(-1)
        self._score.close()
        os.close(self._child_ended)
        os.close(self._wakeup)

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
            self._embryo = self._spawn_waiting(Process(*request["process"]))
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
            pid = (self._quicken(process) if process.is_forked else None) or self._spawn(process, output_fd)
        except OSError as exc:
            reason = f"fork/exec {process.argv[0]}: {os.strerror(exc.errno or 0).lower()}"
            self._send_exit(process.name, failure=reason)
            return
        self._names[pid] = process.name

    def _spawn_waiting(self, process: Process) -> tuple[int, int]:
        told, tell = os.pipe2(os.O_CLOEXEC)
        try:
            return self._spawn(process, self._output_fd, [(os.POSIX_SPAWN_DUP2, told, TOLD)]), tell
        finally:
            os.close(told)

    def _spawn(self, process: Process, output_fd: int, more: Sequence[tuple[int, int, int]] = ()) -> int:
        os.chdir(process.cwd)
        self._score.set(FIRST_TO_DIE)  # it inherits this: set afterwards, what it has forked by then would go without
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
            self._score.set(SECOND_TO_DIE)
            os.chdir("/")

    def _quicken(self, process: Process) -> int | None:
        """Tell the child that waits what it is; None where there is none, and can be none."""
        while True:
            embryo = self._embryo or (self._conceive_again() if self._can_conceive else None)
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

    def _conceive_again(self) -> tuple[int, int]:
        told, tell = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            self._control.detach()
            raise Forked(told, self._output_fd, has_time=False)
        os.close(told)
        return pid, tell

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
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self._names.pop(pid, None)
            if name is None:
                self._strangers.append((pid, status))
                self._embryo_died(pid)
            else:
                self._tell_end(name, status, peak_kib=usage.ru_maxrss)

    def _tell_end(self, name: str, status: int, peak_kib: int = 0) -> None:
        how = "signal" if os.WIFSIGNALED(status) else "code"
        end = os.WTERMSIG(status) if how == "signal" else os.WEXITSTATUS(status)
        self._send_exit(name, **{how: end, "peak_kib": peak_kib})

    def _embryo_died(self, pid: int) -> None:
        if self._embryo is not None and self._embryo[0] == pid:
            os.close(self._embryo[1])
            self._embryo = None
            if not self._can_conceive and not self._is_wanted:
                os._exit(1)  # a sandbox that is nobody's yet is no better than a new one now, and will be replaced

    def _send_exit(self, name: str, **status: int | str) -> None:
        inner_wire.send(self._control, "Exited", sandbox_id="", name=name, status=status)


def _take_note(signum: int, frame: object) -> None:
    """A signal wakes the poll only if somebody handles it."""
