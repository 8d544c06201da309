"""One sandbox as sandboxd holds it: what outlives its generations of processes, and the generation that runs now.

A slot is made, and a generation booted in it, before it is anybody's; `assign` makes both a function's. Until then
nothing runs in it but our own PID 1.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial

import msgspec

from lambent.model.errors import PlatformError
from lambent.model.limits import EPHEMERAL_STORAGE_MIB_MINIMUM, PROCESSES
from lambent.worker.sandbox import inner_wire, kernel, process_tree, wire
from lambent.worker.sandbox.cgroups import Controller
from lambent.worker.sandbox.host import Host, Isolation
from lambent.worker.sandbox.inner_wire import Setup, Walls
from lambent.worker.sandbox.netns import inside, inside_new_namespace
from lambent.worker.sandbox.plan import (
    AWS_ENDPOINT_PORT,
    RUNTIME_API_HOST,
    RUNTIME_API_PORT,
    Mount,
    Prewarmed,
    ProcessPlan,
    SandboxPlan,
    code_mounts,
    function_mounts,
    in_the_open,
    plan_identity,
    plan_limits,
    plan_mounts,
    runtime_mounts,
)
from lambent.worker.sandbox.scratch import DirectoryScratch
from lambent.worker.sandbox.walls import open_mount, step

_BACKLOG = 128
_IP_FREEBIND = 15
_PIPE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Shape:
    """What cannot be changed about a slot, or about its first generation, once it is made."""

    zygote: str | None
    ephemeral_storage_mib: int
    pids_maximum: int
    prewarmed: Prewarmed | None = None

    @classmethod
    def of(cls, plan: SandboxPlan) -> Shape:
        return cls(plan.zygote, plan.ephemeral_storage_mib, plan.pids_maximum, plan.prewarmed)

    @classmethod
    def usual(cls, zygote: str) -> Shape:
        """What most functions of a zygote will want."""
        return cls(zygote, EPHEMERAL_STORAGE_MIB_MINIMUM, PROCESSES)


@dataclass(slots=True)
class Generation:
    """The processes between one boot and the next kill: a PID namespace, known by its PID 1."""

    pid: int
    control: socket.socket
    mount_namespace: int | None = None
    """Held until it is a function's: nobody shall enter it from then on."""
    is_assigned: bool = False
    """It is a function's, whose code may run in it."""
    is_killed: bool = False
    """Nobody wants it any more; it may have said that it stands before it knew."""
    is_prewarmed: bool = False
    """An interpreter waits in it, or has become the function's."""
    tell: int | None = None
    """Where PID 1's child waits to be told what it is."""
    _is_bereft: bool = False
    """That child had died when it was to be told, and its end has not been reported."""

    @property
    def has_ended(self) -> bool:
        """PID 1 is gone, though it may not have been reaped yet."""
        poll = select.poll()
        poll.register(self.control, 0)
        return bool(poll.poll(0))

    def quicken(self, process: inner_wire.Process) -> bool:
        """Tell the child that waits what it is. False: the process is none for it, or it waits no more."""
        if self.tell is None or process.name != inner_wire.FORKED or not process.is_forked:
            return False
        try:
            os.write(self.tell, msgspec.json.encode(process))
        except BrokenPipeError:  # it was killed from outside
            self._is_bereft = True
            return False
        finally:
            self.forget_embryo()
        return True

    def bury(self, name: str) -> bool:
        """Whether the end of that process is the end of the child that waits, before it was anything."""
        if name != inner_wire.FORKED or not (self._is_bereft or self.tell is not None):
            return False
        self._is_bereft = False
        self.forget_embryo()
        return True

    def close(self) -> None:
        self.control.close()
        self.forget_mount_namespace()
        self.forget_embryo()

    def forget_embryo(self) -> None:
        if self.tell is not None:
            os.close(self.tell)
            self.tell = None

    def forget_mount_namespace(self) -> None:
        if self.mount_namespace is not None:
            os.close(self.mount_namespace)
            self.mount_namespace = None


class Slot(ABC):
    """Listener, cgroups, /tmp and output pipe of one sandbox; `close` gives back every one of them."""

    def __init__(self, host: Host, shape: Shape, index: int) -> None:
        self.index = index
        self.shape = shape
        self.generation: Generation | None = None
        self._name = f"slot-{index}"
        self._cgroups = host.cgroups
        self._undo: list[Callable[[], object]] = []
        self._is_held_back = False
        self._to_hand_over: dict[str, int] = {}
        self._addresses: dict[str, str] = {}
        self._network_namespace = -1

    def make(self, host: Host) -> Iterator[None]:
        """Make what the slot consists of, in steps with time for something else between them.

        Raises:
            StepFailed: close the slot.
        """
        self._make_cgroups()
        yield
        yield from self._make(host)
        self._open_cgroup_files()

    @abstractmethod
    def _make(self, host: Host) -> Iterator[None]:
        """Make what differs: the listener, /tmp, the pipe."""

    @abstractmethod
    def _walls(self) -> Walls | None:
        """What parts a generation from the host."""

    @abstractmethod
    def _settle(self, plan: SandboxPlan) -> None:
        """Make the generation the function's."""

    @abstractmethod
    def kill(self) -> None:
        """Kill the generation. Its end is noticed when its first process is reaped, after the last of the others."""

    def _inner(self, process: ProcessPlan) -> inner_wire.Process:
        assert self.generation is not None
        is_forked = process.zygote is not None and process.zygote == self.shape.zygote
        is_forked = is_forked or (process.is_prewarmed and self.generation.is_prewarmed)
        return inner_wire.Process(process.name, process.argv, dict(process.env), process.cwd, is_forked)

    def _make_cgroups(self) -> None:
        with step("make cgroups"):
            self._undo.append(partial(self._cgroups.remove, self._name))
            self._cgroup_procs = self._cgroups.create(self._name)
            for descriptor in self._cgroup_procs:
                self._undo.append(partial(os.close, descriptor))

    def _listen(self, name: str, port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as listener:
            listener.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)  # its loopback is not up yet
            listener.bind((RUNTIME_API_HOST, port))
            listener.listen(_BACKLOG)
            self._addresses[name] = f"{RUNTIME_API_HOST}:{port or listener.getsockname()[1]}"
            self._to_hand_over[name] = listener.detach()

    def _make_pipe(self, owner: int | None) -> None:
        """One pipe for the life of the sandbox. It belongs to the function, which may then open /dev/stdout again."""
        with step("make output pipe"):
            self._to_hand_over["output"], self._output_fd = os.pipe()
            self._undo.append(partial(os.close, self._output_fd))
            os.set_blocking(self._to_hand_over["output"], False)
            self._widen_pipe()
            if owner is not None:
                os.fchown(self._output_fd, owner, owner)
            os.fchmod(self._output_fd, 0o200)

    def _widen_pipe(self) -> None:
        with suppress(OSError):  # beyond what an ordinary user may have; the kernel's default does
            fcntl.fcntl(self._output_fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def _open_cgroup_files(self) -> None:
        with step("open cgroup files"):
            files = self._cgroups.files(self._name)
            for name, path in files.readable.items():
                self._to_hand_over[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            for name, path in files.writable.items():
                self._to_hand_over[name] = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def hand_over(self, server: socket.socket, sandbox_id: str) -> None:
        """Tell the server that its sandbox stands, with what it needs to work with it."""
        self._show_process()
        message = wire.Created(
            sandbox_id=sandbox_id,
            names=tuple(self._to_hand_over),
            runtime_api_address=self._addresses["listener"],
        )
        wire.send(server, message, list(self._to_hand_over.values()))
        self._close_handed_over()

    def tell_booted(self, server: socket.socket, sandbox_id: str) -> None:
        """Tell the server that a further generation stands."""
        self._show_process()
        wire.send(server, wire.Booted(sandbox_id=sandbox_id), list(self._to_hand_over.values()))
        self._close_handed_over()

    def _show_process(self) -> None:
        """Where no cgroup counts memory, the server looks at the processes, which are all below this one."""
        if self.is_running and Controller.MEMORY not in self._cgroups.controllers:
            self._to_hand_over["process"] = self._open_first_process()

    def _open_first_process(self) -> int:
        assert self.generation is not None
        return os.pidfd_open(self.generation.pid)

    @property
    def is_running(self) -> bool:
        return self.generation is not None

    @property
    def is_handed_over(self) -> bool:
        return not self._to_hand_over

    def setup(self, control: int) -> Setup:
        """What the first process of a generation needs; it reports Booted or Failed by `control`."""
        return Setup(
            walls=self._walls(),
            control=control,
            output=self._output_fd,
            network_namespace=self._network_namespace,
            cgroup_procs=self._cgroup_procs,
            is_held_back=self._is_held_back,
        )

    def assign(self, plan: SandboxPlan, processes: Sequence[ProcessPlan]) -> None:
        """Make the generation, which stands, this function's, and start its processes."""
        assert self.generation is not None
        self.generation.is_assigned = True
        self._is_held_back = False
        with step("make cgroups"):
            self._cgroups.limit(self._name, plan_limits(plan))
        self._settle(plan)
        self.start(processes)

    def start(self, processes: Sequence[ProcessPlan], descriptors: Sequence[int] = ()) -> None:
        """Start processes. What becomes of them is told by the generation."""
        assert self.generation is not None
        others = tuple(one for one in map(self._inner, processes) if not self.generation.quicken(one))
        if not others and (processes or not self.generation.is_prewarmed):  # else it is told that it is somebody's
            return
        with suppress(BrokenPipeError):  # dead, but not yet reaped
            wire.send(self.generation.control, wire.Start(processes=others), descriptors)

    def open_socket(self) -> socket.socket:
        """A TCP socket that can be connected to what listens inside."""
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM)

    def hold_back(self) -> None:
        """Nobody waits for it yet."""
        self._is_held_back = True
        with step("make cgroups"):
            self._cgroups.hold_back(self._name)

    def hasten(self) -> None:
        """Somebody waits for it now."""
        self._is_held_back = False
        with step("make cgroups"):
            self._cgroups.hasten(self._name)

    def reset(self) -> None:
        """Make ready for a new generation."""
        with step("thaw"):
            self._cgroups.thaw(self._name)

    def close(self) -> None:
        """Give everything back; the generation must be gone."""
        for _ in self.closing():
            pass

    def closing(self) -> Iterator[None]:
        """The same, in steps with time for something else between them."""
        self._close_handed_over()
        while self._undo:
            self._undo.pop()()
            yield

    def _close_handed_over(self) -> None:
        for descriptor in self._to_hand_over.values():
            os.close(descriptor)
        self._to_hand_over.clear()


class WalledSlot(Slot):
    """A sandbox proper, with a network namespace of its own. Each generation gets its other namespaces anew."""

    def _make(self, host: Host) -> Iterator[None]:
        isolation = self._identify(host)
        self._make_network_namespace()
        yield
        self._attach()
        yield
        self._make_scratch()
        yield
        self._make_pipe(owner=None if isolation.uid_base is None else self._identity.uid)
        self._write_passwd(host)

    def _identify(self, host: Host) -> Isolation:
        assert host.isolation is not None
        self._isolation = host.isolation
        self._identity = plan_identity(self.index, host.isolation.uid_base)
        return host.isolation

    def _make_network_namespace(self) -> None:
        with step("make network namespace"), inside_new_namespace() as made:
            self._network_namespace = made
            self._undo.append(partial(os.close, made))
            self._listen_inside()

    def _listen_inside(self) -> None:
        self._settled = self._isolation.network.settle()
        self._undo.append(self._settled.close)
        self._listen("listener", RUNTIME_API_PORT)
        self._listen("endpoint", AWS_ENDPOINT_PORT)

    def _attach(self) -> None:
        self._undo.append(partial(self._isolation.network.detach, self.index))
        self._isolation.network.attach(self._network_namespace, self.index, self._settled)
        self._settled.close()

    def _make_scratch(self) -> None:
        with step("make /tmp"):
            self._scratch = self._isolation.scratch.make(self._name, self.shape.ephemeral_storage_mib)
            self._undo.append(self._scratch.close)

    def _write_passwd(self, host: Host) -> None:
        self._passwd_file = f"{host.run_dir}/passwd-{self.index}"
        with step("write passwd file"):
            file = os.open(self._passwd_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            self._undo.append(partial(os.unlink, self._passwd_file))
            os.write(file, self._identity.passwd.encode())
            os.close(file)

    def _walls(self) -> Walls:
        mounts = [inner_wire.Mount("bind", "/etc/passwd", (self._passwd_file,)), self._scratch.mount]
        return Walls(
            uid=self._identity.uid,
            hostname=self._identity.hostname,
            mounts=mounts,
            in_user_namespace=self._isolation.uid_base is None,
            pids_maximum=self.shape.pids_maximum,
        )

    def prewarm(self) -> None:
        """Have the interpreter start and wait that shall wait in sandboxes of this shape, if any."""
        prewarmed = self.shape.prewarmed
        if prewarmed is None:
            return
        assert self.generation is not None
        self._place(runtime_mounts(prewarmed))
        with suppress(BrokenPipeError):  # dead, but not yet reaped
            waiting = inner_wire.Process("", prewarmed.argv, dict(prewarmed.env), "/var/task", is_forked=True)
            wire.send(self.generation.control, wire.Prewarm(process=waiting))
        self.generation.is_prewarmed = True

    def _settle(self, plan: SandboxPlan) -> None:
        """Put the function's code into the generation's mount namespace. No code of any function runs there yet."""
        assert self.generation is not None
        self._place(code_mounts(plan) if self.generation.is_prewarmed else function_mounts(plan))
        self.generation.forget_mount_namespace()

    def _place(self, mounts: Sequence[Mount]) -> None:
        assert self.generation is not None
        assert self.generation.mount_namespace is not None
        with ExitStack() as opened:
            placed = []
            for mount in mounts:
                placed.append((mount.target, open_mount(inner_wire.Mount(mount.kind, mount.target, mount.sources))))
                opened.callback(os.close, placed[-1][1])
            with step("enter the sandbox"):
                kernel.setns(self.generation.mount_namespace, kernel.CLONE_NEWNS)
            try:
                for target, mount_fd in placed:
                    with step(f"mount {target}"):
                        kernel.place_mount(mount_fd, target)
            finally:
                kernel.setns(self._isolation.ground.host_namespace, kernel.CLONE_NEWNS)

    def open_socket(self) -> socket.socket:
        with inside(self._network_namespace):
            return super().open_socket()

    def kill(self) -> None:
        """SIGKILL to PID 1, and thereby to all."""
        if self.generation is not None:
            os.kill(self.generation.pid, signal.SIGKILL)
            self._cgroups.thaw(self._name)


class OpenSlot(Slot):
    """No sandbox at all: processes like any other of the server's user, held together by what little there is."""

    def _make(self, host: Host) -> Iterator[None]:
        with step("listen"):
            self._listen("listener", port=0)
            self._listen("endpoint", port=0)
        with step("make /tmp"):
            self._scratch = DirectoryScratch(host.run_dir / f"tmp-{self._name}")
            self._scratch.directory.mkdir()
            self._undo.append(self._scratch.close)
        self._make_pipe(owner=None)
        yield

    def _walls(self) -> None:
        return None

    def _settle(self, plan: SandboxPlan) -> None:
        if len(plan.layer_dirs) > 1:
            raise PlatformError("without isolation there can be one layer at most, for nothing merges them")
        self._places = {mount.target: mount.sources[0] for mount in plan_mounts(plan) if mount.sources}
        self._places["/tmp"] = str(self._scratch.directory)

    def _inner(self, process: ProcessPlan) -> inner_wire.Process:
        return super()._inner(
            in_the_open(process, self._places, self._addresses["listener"], self._addresses["endpoint"])
        )

    def kill(self) -> None:
        if self.generation is not None:
            self._cgroups.thaw(self._name)
            os.kill(self.generation.pid, signal.SIGSTOP)  # what we kill shall not be told as ends of their own
            process_tree.kill(self.generation.pid)
            os.kill(self.generation.pid, signal.SIGKILL)
