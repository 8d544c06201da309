"""One sandbox as sandboxd holds it: what outlives its generations of processes, and the generation that runs now."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from lambent.worker.sandbox import init, kernel, wire
from lambent.worker.sandbox.cgroups import Cgroups
from lambent.worker.sandbox.init import step
from lambent.worker.sandbox.netlink import Netlink, bring_up
from lambent.worker.sandbox.netns import inside, new_namespace
from lambent.worker.sandbox.network import Network
from lambent.worker.sandbox.plan import (
    RUNTIME_API_HOST,
    RUNTIME_API_PORT,
    Identity,
    ProcessPlan,
    SandboxPlan,
    plan_limits,
    plan_mounts,
)
from lambent.worker.sandbox.scratch import ScratchMaker

_LOOPBACK = 1
_BACKLOG = 128
_PIPE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What all sandboxes of this server share."""

    cgroups: Cgroups
    network: Network
    scratch: ScratchMaker
    root_namespace: int
    own_pid_namespace: int
    run_dir: Path
    seccomp_program: bytes
    last_capability: int
    in_user_namespace: bool


@dataclass(frozen=True, slots=True)
class Generation:
    """The processes between one boot and the next kill: a PID namespace, known by its PID 1."""

    pid: int
    control: socket.socket


class Slot:
    """Network namespace, listener, cgroups, /tmp and output pipe of one sandbox; `close` gives back every one."""

    def __init__(self, host: Host, plan: SandboxPlan, index: int, identity: Identity) -> None:
        self.plan = plan
        self.index = index
        self.generation: Generation | None = None
        self._host = host
        self._identity = identity
        self._limits = plan_limits(plan)
        self._held = ExitStack()
        self._to_hand_over: dict[str, int] = {}
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        host, plan = self._host, self.plan
        with step("make cgroups"):
            self._held.callback(host.cgroups.remove, plan.sandbox_id)
            self._cgroup_procs = host.cgroups.create(plan.sandbox_id, self._limits)
            for descriptor in self._cgroup_procs:
                self._held.callback(os.close, descriptor)
        with step("make network namespace"):
            self._network_namespace = new_namespace()
            self._held.callback(os.close, self._network_namespace)
        with step("listen for the Runtime API"):
            self._to_hand_over["listener"] = self._listen()
        self._held.callback(host.network.detach, self.index)
        host.network.attach(self._network_namespace, self.index)
        with step("make /tmp"):
            self._scratch = host.scratch.make(plan.sandbox_id, plan.ephemeral_storage_mib)
            self._held.callback(self._scratch.close)
        with step("make output pipe"):
            self._to_hand_over["output"], self._output_fd = self._make_pipe()
            self._held.callback(os.close, self._output_fd)
        with step("write passwd file"):
            self._passwd_file = host.run_dir / f"passwd-{self.index}"
            self._passwd_file.write_text(self._identity.passwd)
            self._held.callback(self._passwd_file.unlink, missing_ok=True)
        with step("open cgroup files"):
            self._open_cgroup_files()

    def _listen(self) -> int:
        with inside(self._network_namespace):
            netlink = Netlink()
            try:
                netlink.perform(bring_up(_LOOPBACK))
            finally:
                netlink.close()
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
                listener.bind((RUNTIME_API_HOST, RUNTIME_API_PORT))
                listener.listen(_BACKLOG)
                listener.setblocking(False)
                return listener.detach()

    def _make_pipe(self) -> tuple[int, int]:
        """One pipe for the life of the sandbox. It belongs to the function, which may then open /dev/stdout again."""
        readable, writable = os.pipe()
        os.set_blocking(readable, False)
        with suppress(OSError):  # beyond what an ordinary user may have; the kernel's default does
            fcntl.fcntl(writable, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        if not self._host.in_user_namespace:
            os.fchown(writable, self._identity.uid, self._identity.uid)
        os.fchmod(writable, 0o200)
        return readable, writable

    def _open_cgroup_files(self) -> None:
        files = self._host.cgroups.files(self.plan.sandbox_id)
        for name, path in files.readable.items():
            self._to_hand_over[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        for name, path in files.writable.items():
            self._to_hand_over[name] = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def hand_over(self, server: socket.socket) -> None:
        """Tell the server that its sandbox stands, with what it needs to work with it."""
        message = wire.Created(
            sandbox_id=self.plan.sandbox_id,
            names=tuple(self._to_hand_over),
            runtime_api_address=f"{RUNTIME_API_HOST}:{RUNTIME_API_PORT}",
        )
        wire.send(server, message, list(self._to_hand_over.values()))
        self._close_handed_over()

    @property
    def is_handed_over(self) -> bool:
        return not self._to_hand_over

    def boot(self, processes: Sequence[ProcessPlan]) -> Generation:
        """Fork a new generation. It reports Booted or Failed by its control socket."""
        assert self.generation is None, "one generation at a time"
        setup = init.Setup(
            sandbox_id=self.plan.sandbox_id,
            identity=self._identity,
            mounts=plan_mounts(self.plan),
            passwd_file=str(self._passwd_file),
            scratch=self._scratch,
            root_namespace=self._host.root_namespace,
            network_namespace=self._network_namespace,
            cgroup_procs=self._cgroup_procs,
            output_fd=self._output_fd,
            seccomp_program=self._host.seccomp_program,
            last_capability=self._host.last_capability,
            in_user_namespace=self._host.in_user_namespace,
            pids_maximum=self._limits.pids_maximum,
            processes=processes,
        )
        ours, theirs = wire.socket_pair()
        with theirs:
            pid = self._fork(setup, theirs)
        self.generation = Generation(pid, ours)
        return self.generation

    def _fork(self, setup: init.Setup, control: socket.socket) -> int:
        with step("fork"):
            kernel.unshare(kernel.CLONE_NEWPID)
            try:
                pid = os.fork()
                if pid == 0:
                    init.run(setup, control)
            finally:  # the next child, of whatever kind, is born at home again
                kernel.setns(self._host.own_pid_namespace, kernel.CLONE_NEWPID)
        return pid

    def reset(self) -> None:
        """Make ready for a new generation."""
        with step("reset cgroups"):
            self._host.cgroups.reset(self.plan.sandbox_id, self._limits)

    def kill(self) -> None:
        """SIGKILL to PID 1, and thereby to all. Its end is noticed when it is reaped, after the last of the others."""
        if self.generation is not None:
            os.kill(self.generation.pid, signal.SIGKILL)
            self._host.cgroups.thaw(self.plan.sandbox_id)

    def close(self) -> None:
        """Give everything back; the generation must be gone."""
        self._close_handed_over()
        self._held.close()

    def _close_handed_over(self) -> None:
        for descriptor in self._to_hand_over.values():
            os.close(descriptor)
        self._to_hand_over.clear()
