"""A sandbox made from a template: its runtime is a fork of the template's, which a midwife walls in.

It has one generation, which is nobody's child here: PID 1 of the template's sandbox tells how it ends.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from lambent.worker.sandbox.host import Host
from lambent.worker.sandbox.midwife import Order
from lambent.worker.sandbox.netns import inside
from lambent.worker.sandbox.plan import SandboxPlan, plan_limits
from lambent.worker.sandbox.slot import WalledSlot
from lambent.worker.sandbox.walls import open_mount, step


class RestoredSlot(WalledSlot):
    """Its network namespace comes with its first process, and so do its listeners and its output."""

    def _make(self, host: Host) -> Iterator[None]:
        self._pid_fd: int | None = None
        self._mounts: dict[str, int] = {}
        self._identify(host)
        self._make_scratch()
        yield
        self._write_passwd(host)
        yield
        self._walls_to_be = self._walls()
        self._undo.append(self._close_mounts)
        for mount in self._walls_to_be.mounts:
            self._mounts[mount.target] = open_mount(mount)

    def order(self) -> Order:
        """What the midwife must know."""
        return Order(self._walls_to_be, self._mounts, self._cgroup_procs)

    def limit(self, plan: SandboxPlan) -> None:
        """Give it what its function may have; unless it is to `hold_back` after that."""
        with step("make cgroups"):
            self._cgroups.limit(self._name, plan_limits(plan))

    def _close_mounts(self) -> None:
        for descriptor in self._mounts.values():
            os.close(descriptor)
        self._mounts.clear()

    def receive(self, pid: int, network_namespace: int, output: int) -> None:
        """Take in a child that is walled in. The descriptors are the slot's from now on; `output` is a path."""
        self._close_mounts()  # they are in their places
        self._network_namespace, self._output_path = network_namespace, output
        self._undo += (partial(os.close, network_namespace), partial(os.close, output))
        with step("hold the process"):
            self._pid_fd = os.pidfd_open(pid)
        with step("listen inside"), inside(network_namespace):
            self._listen_inside()
        self._attach()

    def let_on(self) -> None:
        """Read its output, for which it waits before it does anything of the function's.

        Ours to write to keeps the pipe from ending with the first process.
        """
        with step("open output pipe"):
            path = f"/proc/self/fd/{self._output_path}"
            self._to_hand_over["output"] = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._output_fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        self._undo.append(partial(os.close, self._output_fd))
        self._widen_pipe()

    @property
    def is_running(self) -> bool:
        return self._pid_fd is not None

    def _open_first_process(self) -> int:
        assert self._pid_fd is not None
        return os.dup(self._pid_fd)

    def kill(self) -> None:
        """SIGKILL to the first process, and thereby to all."""
        if self._pid_fd is not None:
            with suppress(ProcessLookupError):  # it has ended, and we are about to be told
                signal.pidfd_send_signal(self._pid_fd, signal.SIGKILL)
            self._cgroups.thaw(self._name)

    def ended(self) -> None:
        """Nothing runs in it any more."""
        if self._pid_fd is not None:
            os.close(self._pid_fd)
            self._pid_fd = None
