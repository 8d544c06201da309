"""The zygotes of this server, as sandboxd keeps them: asked for PID 1s, replaced when they die.

Those of interpreters are started on demand. A plain one, sandboxd's own anew, serves what has none.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from lambent.worker.sandbox import inner_wire, wire
from lambent.worker.sandbox.held import Held
from lambent.worker.sandbox.inner_wire import Ground
from lambent.worker.sandbox.plan import ZygotePlan
from lambent.worker.sandbox.walls import step
from lambent.worker.sandbox.zygote_start import Started, not_ours, start, start_plain

log = logging.getLogger(__name__)

_DESCRIPTORS_MAXIMUM = 2
_FAILURES_MAXIMUM = 3
PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Forked:
    """A PID 1, which is a child of ours, and what its zygote has handed over. The descriptors are the holder's."""

    pid: int
    mount_namespace: int | None = None
    tell: int | None = None
    """Where its own child waits to be told what it is, if it has one."""


class NotForked(msgspec.Struct, frozen=True, tag=True):
    """What was asked for could not be built."""

    step: str
    error: str


class _Forked(msgspec.Struct, frozen=True, tag="Forked"):
    pid: int


_decode = msgspec.json.Decoder(_Forked | NotForked | wire.ZygoteReady).decode


class Zygote:
    """One running zygote, and who is to be born of it."""

    def __init__(self, name: str, started: Started) -> None:
        self.name = name
        self.pid, self.control = started
        self.control.setblocking(False)
        self.is_ready = self.is_plain
        self.is_lost = False
        self.waiting: deque[Held] = deque()
        self.asked: deque[Held] = deque()
        """Answered in this order."""
        self.heard_s = 0.0
        """When it was last heard, or asked after all was answered."""

    @property
    def is_plain(self) -> bool:
        return self.name == PLAIN

    def next_waiting(self) -> Held:
        """Who has waited longest; of nobody's only if there is nobody else."""
        held = next((held for held in self.waiting if held.plan is not None), self.waiting[0])
        self.waiting.remove(held)
        return held

    def ask(self, held: Held) -> None:
        """Have it build the walls of a sandbox and fork a PID 1 inside, which becomes a child of ours.

        Raises:
            StepFailed: there is nothing left to ask with.
        """
        assert held.unborn is not None
        with step("fork"):
            held.unborn.control, theirs = wire.socket_pair()
        with theirs:
            packet, descriptors = inner_wire.write_setup(held.slot.setup(theirs.fileno()))
            try:
                socket.send_fds(self.control, [packet], descriptors)
            except OSError:
                self.kill()  # where it has not ended yet; either is about to be heard
        if not self.asked:
            self.heard_s = time.monotonic()
        self.asked.append(held)

    def hear(self) -> Forked | NotForked | wire.ZygoteReady | None:
        """Its next word; None: there will be none."""
        try:
            packet, descriptors, _, _ = socket.recv_fds(
                self.control, inner_wire.PACKET_BYTES, _DESCRIPTORS_MAXIMUM, socket.MSG_CMSG_CLOEXEC
            )
            said = _decode(packet) if packet else None
        except (OSError, msgspec.DecodeError):
            return None
        self.heard_s = time.monotonic()
        return Forked(said.pid, *descriptors) if isinstance(said, _Forked) else said

    def kill(self) -> None:
        """Its end is noticed when its wire ends, or when it is reaped."""
        self.is_ready = False
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Zygotes:
    """All zygotes of this server."""

    def __init__(self, plans: Iterable[ZygotePlan], ground: Ground, *, is_root: bool) -> None:
        self._ground = ground
        self._is_root = is_root
        self._plans: Mapping[str, ZygotePlan] = {plan.name: plan for plan in plans}
        self._running: dict[str, Zygote] = {}
        self._by_pid: dict[int, Zygote] = {}
        """With those that have yet to be reaped."""
        self._failures: dict[str, int] = {}

    @property
    def running(self) -> Sequence[Zygote]:
        return list(self._running.values())

    def ready(self, name: str | None) -> Zygote | None:
        """The zygote of that name, if it can be asked."""
        zygote = self._running.get(name) if name is not None else None
        return zygote if zygote is not None and zygote.is_ready else None

    def start_plain(self) -> Zygote:
        """Start the one that serves what has none of its own."""
        return self._keep(Zygote(PLAIN, start_plain(self._ground)))

    def start(self, name: str) -> Zygote | None:
        """Start one that is not running; None where there is nothing to start, or nothing that could be trusted."""
        plan = self._plans.get(name)
        if plan is None or name in self._running or self._failures.get(name, 0) >= _FAILURES_MAXIMUM:
            return None
        if self._is_root and (foreign := not_ours(plan)) is not None:
            log.warning("zygote.not_started", extra={"zygote": name, "reason": f"{foreign} can be changed by others"})
            self._failures[name] = _FAILURES_MAXIMUM
            return None
        self._failures[name] = self._failures.get(name, 0) + 1
        return self._keep(Zygote(name, start(plan, self._ground)))

    def _keep(self, zygote: Zygote) -> Zygote:
        self._running[zygote.name] = self._by_pid[zygote.pid] = zygote
        return zygote

    def became_ready(self, zygote: Zygote) -> None:
        zygote.is_ready = True
        self._failures[zygote.name] = 0

    def lose(self, zygote: Zygote) -> None:
        """It has ended, or is not worth waiting for."""
        zygote.is_lost = True
        zygote.kill()
        zygote.control.close()
        del self._running[zygote.name]

    def reaped(self, pid: int) -> Zygote | None:
        """A child of ours has been reaped: whether it was a zygote."""
        return self._by_pid.pop(pid, None)

    def close(self) -> None:
        for zygote in self.running:
            self.lose(zygote)
