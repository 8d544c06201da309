"""One sandbox as sandboxd holds it: what outlives its generations of processes, and the generation that runs now."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from lambent.model.errors import PlatformError
from lambent.worker.sandbox import init, kernel, process_tree, wire
from lambent.worker.sandbox.cgroups import Cgroups
from lambent.worker.sandbox.init import step
from lambent.worker.sandbox.netlink import Netlink, bring_up
from lambent.worker.sandbox.netns import inside, new_namespace
from lambent.worker.sandbox.network import Network
from lambent.worker.sandbox.plan import (
    AWS_ENDPOINT_PORT,
    RUNTIME_API_HOST,
    RUNTIME_API_PORT,
    ProcessPlan,
    SandboxPlan,
    in_the_open,
    plan_identity,
    plan_limits,
    plan_mounts,
)
from lambent.worker.sandbox.scratch import DirectoryScratch, ScratchMaker

_LOOPBACK = 1
_BACKLOG = 128
_PIPE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """What all sandboxes of this server share behind their walls."""

    network: Network
    scratch: ScratchMaker
    root_namespace: int
    own_pid_namespace: int
    seccomp_program: bytes
    last_capability: int
    uid_base: int | None
    """None: in a user namespace, where there is only one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What all sandboxes of this server share. No isolation: the level `process`."""

    cgroups: Cgroups
    run_dir: Path
    isolation: Isolation | None


@dataclass(frozen=True, slots=True)
class Generation:
    """The processes between one boot and the next kill: a PID namespace, known by its PID 1."""

    pid: int
    control: socket.socket


class Slot(ABC):
    """Listener, cgroups, /tmp and output pipe of one sandbox; `close` gives back every one of them."""

    def __init__(self, host: Host, plan: SandboxPlan, index: int) -> None:
        self.plan = plan
        self.index = index
        self.generation: Generation | None = None
        self._cgroups = host.cgroups
        self._limits = plan_limits(plan)
        self._held = ExitStack()
        self._to_hand_over: dict[str, int] = {}
        self._addresses: dict[str, str] = {}
        try:
            self._make_cgroups()
            self._make(host)
            self._open_cgroup_files()
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def _make(self, host: Host) -> None:
        """Make what differs: the listener, /tmp, the pipe."""

    @abstractmethod
    def _fork(self, processes: Sequence[ProcessPlan], control: socket.socket) -> int:
        """Fork the first process of a generation, which runs `init`."""

    @abstractmethod
    def kill(self) -> None:
        """Kill the generation. Its end is noticed when its first process is reaped, after the last of the others."""

    def _make_cgroups(self) -> None:
        with step("make cgroups"):
            self._held.callback(self._cgroups.remove, self.plan.sandbox_id)
            self._cgroup_procs = self._cgroups.create(self.plan.sandbox_id, self._limits)
            for descriptor in self._cgroup_procs:
                self._held.callback(os.close, descriptor)

    def _listen(self, name: str, port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.bind((RUNTIME_API_HOST, port))
            listener.listen(_BACKLOG)
            listener.setblocking(False)
            host, bound_port = listener.getsockname()
            self._addresses[name] = f"{host}:{bound_port}"
            self._to_hand_over[name] = listener.detach()

    def _make_pipe(self, owner: int | None) -> None:
        """One pipe for the life of the sandbox. It belongs to the function, which may then open /dev/stdout again."""
        with step("make output pipe"):
            self._to_hand_over["output"], self._output_fd = os.pipe()
            self._held.callback(os.close, self._output_fd)
            os.set_blocking(self._to_hand_over["output"], False)
            with suppress(OSError):  # beyond what an ordinary user may have; the kernel's default does
                fcntl.fcntl(self._output_fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            if owner is not None:
                os.fchown(self._output_fd, owner, owner)
            os.fchmod(self._output_fd, 0o200)

    def _open_cgroup_files(self) -> None:
        with step("open cgroup files"):
            files = self._cgroups.files(self.plan.sandbox_id)
            for name, path in files.readable.items():
                self._to_hand_over[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            for name, path in files.writable.items():
                self._to_hand_over[name] = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def hand_over(self, server: socket.socket) -> None:
        """Tell the server that its sandbox stands, with what it needs to work with it."""
        message = wire.Created(
            sandbox_id=self.plan.sandbox_id,
            names=tuple(self._to_hand_over),
            runtime_api_address=self._addresses["listener"],
        )
        wire.send(server, message, list(self._to_hand_over.values()))
        self._close_handed_over()

    @property
    def is_handed_over(self) -> bool:
        return not self._to_hand_over

    def boot(self, processes: Sequence[ProcessPlan]) -> Generation:
        """Fork a new generation. It reports Booted or Failed by its control socket."""
        assert self.generation is None, "one generation at a time"
        ours, theirs = wire.socket_pair()
        with theirs, step("fork"):
            try:
                self.generation = Generation(self._fork(processes, theirs), ours)
            except OSError:
                ours.close()
                raise
        return self.generation

    def placed(self, process: ProcessPlan) -> ProcessPlan:
        """The process as it must be started here."""
        return process

    def open_socket(self) -> socket.socket:
        """A TCP socket that can be connected to what listens inside."""
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM)

    def reset(self) -> None:
        """Make ready for a new generation."""
        with step("reset cgroups"):
            self._cgroups.reset(self.plan.sandbox_id, self._limits)

    def close(self) -> None:
        """Give everything back; the generation must be gone."""
        self._close_handed_over()
        self._held.close()

    def _close_handed_over(self) -> None:
        for descriptor in self._to_hand_over.values():
            os.close(descriptor)
        self._to_hand_over.clear()


class WalledSlot(Slot):
    """A sandbox proper, with a network namespace of its own. Each generation gets its other namespaces anew."""

    def _make(self, host: Host) -> None:
        assert host.isolation is not None
        self._isolation = host.isolation
        uid_base = host.isolation.uid_base
        self._identity = plan_identity(self.index, uid_base)
        self._make_network(host.isolation.network)
        with step("make /tmp"):
            self._scratch = host.isolation.scratch.make(self.plan.sandbox_id, self.plan.ephemeral_storage_mib)
            self._held.callback(self._scratch.close)
        self._make_pipe(owner=None if uid_base is None else self._identity.uid)
        with step("write passwd file"):
            self._passwd_file = host.run_dir / f"passwd-{self.index}"
            self._passwd_file.write_text(self._identity.passwd)
            self._held.callback(self._passwd_file.unlink, missing_ok=True)

    def _make_network(self, network: Network) -> None:
        with step("make network namespace"):
            self._network_namespace = new_namespace()
            self._held.callback(os.close, self._network_namespace)
        with step("listen inside"), inside(self._network_namespace):
            with closing(Netlink()) as netlink:
                netlink.perform(bring_up(_LOOPBACK))
            self._listen("listener", RUNTIME_API_PORT)
            self._listen("endpoint", AWS_ENDPOINT_PORT)
        self._held.callback(network.detach, self.index)
        network.attach(self._network_namespace, self.index)

    def _fork(self, processes: Sequence[ProcessPlan], control: socket.socket) -> int:
        walls = init.Walls(
            identity=self._identity,
            mounts=plan_mounts(self.plan),
            passwd_file=str(self._passwd_file),
            scratch=self._scratch,
            root_namespace=self._isolation.root_namespace,
            network_namespace=self._network_namespace,
            seccomp_program=self._isolation.seccomp_program,
            last_capability=self._isolation.last_capability,
            in_user_namespace=self._isolation.uid_base is None,
            pids_maximum=self._limits.pids_maximum,
        )
        setup = init.Setup(
            sandbox_id=self.plan.sandbox_id,
            walls=walls,
            cgroup_procs=self._cgroup_procs,
            output_fd=self._output_fd,
            processes=processes,
        )
        kernel.unshare(kernel.CLONE_NEWPID)
        try:
            pid = os.fork()
            if pid == 0:
                init.run(setup, control)
        finally:  # the next child, of whatever kind, is born at home again
            kernel.setns(self._isolation.own_pid_namespace, kernel.CLONE_NEWPID)
        return pid

    def open_socket(self) -> socket.socket:
        with inside(self._network_namespace):
            return super().open_socket()

    def kill(self) -> None:
        """SIGKILL to PID 1, and thereby to all."""
        if self.generation is not None:
            os.kill(self.generation.pid, signal.SIGKILL)
            self._cgroups.thaw(self.plan.sandbox_id)


class OpenSlot(Slot):
    """No sandbox at all: processes like any other of the server's user, held together by what little there is."""

    def _make(self, host: Host) -> None:
        if len(self.plan.layer_dirs) > 1:
            raise PlatformError("without isolation there can be one layer at most, for nothing merges them")
        with step("listen"):
            self._listen("listener", port=0)
            self._listen("endpoint", port=0)
        with step("make /tmp"):
            scratch = DirectoryScratch(host.run_dir / f"tmp-{self.plan.sandbox_id}")
            scratch.directory.mkdir()
            self._held.callback(scratch.close)
        self._make_pipe(owner=None)
        self._places = {mount.target: mount.sources[0] for mount in plan_mounts(self.plan) if mount.sources}
        self._places["/tmp"] = str(scratch.directory)

    def placed(self, process: ProcessPlan) -> ProcessPlan:
        return in_the_open(process, self._places, self._addresses["listener"], self._addresses["endpoint"])

    def _fork(self, processes: Sequence[ProcessPlan], control: socket.socket) -> int:
        setup = init.Setup(
            sandbox_id=self.plan.sandbox_id,
            walls=None,
            cgroup_procs=self._cgroup_procs,
            output_fd=self._output_fd,
            processes=[self.placed(process) for process in processes],
        )
        pid = os.fork()
        if pid == 0:
            init.run(setup, control)
        return pid

    def kill(self) -> None:
        if self.generation is not None:
            self._cgroups.thaw(self.plan.sandbox_id)
            os.kill(self.generation.pid, signal.SIGSTOP)  # what we kill shall not be told as ends of their own
            process_tree.kill(self.generation.pid)
            os.kill(self.generation.pid, signal.SIGKILL)
