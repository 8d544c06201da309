"""The templates of this server, as sandboxd keeps them: each with its midwife, and who waits to be forked from it."""

from __future__ import annotations

import os
import signal
import socket
from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec

from lambent.worker.sandbox import midwife, wire
from lambent.worker.sandbox.inner_wire import PACKET_BYTES
from lambent.worker.sandbox.midwife import Home

_DESCRIPTORS_MAXIMUM = 4

Waiting = TypeVar("Waiting")


class Watching(msgspec.Struct, frozen=True, tag=True):
    """Its runtime cannot fork unseen any more."""


class Resting(msgspec.Struct, frozen=True, tag=True):
    """Its runtime stands before a fork."""


class Born(msgspec.Struct, frozen=True, tag=True):
    """A child is walled in, and waits for word. With descriptors: network namespace, the path of its output."""

    pid: int
    pid_beside_template: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """There is no child."""

    step: str
    error: str


_decode = msgspec.json.Decoder(Watching | Resting | Born | Failed).decode


class Template(Generic[Waiting]):
    """A sandbox whose runtime stands before a fork, or will soon again."""

    def __init__(self, sandbox_id: str, midwife_pid: int, control: socket.socket) -> None:
        self.sandbox_id = sandbox_id
        self.midwife_pid = midwife_pid
        self.control = control
        self.waiting: deque[Waiting] = deque()
        self.bearing: Waiting | None = None
        self.spares: deque[Waiting] = deque()
        """Forked, or about to be, before anybody wants them; the oldest first."""
        self.children: dict[str, Waiting] = {}
        """Those that were forked from it and have not ended, by what PID 1 of its sandbox calls them."""
        self.is_resting = False
        self.is_announced = False

    def hear(self) -> tuple[Watching | Resting | Born | Failed, list[int]] | None:
        """One message of the midwife, with its descriptors; None: it has ended."""
        try:
            packet, descriptors, _, _ = socket.recv_fds(
                self.control, PACKET_BYTES, _DESCRIPTORS_MAXIMUM, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:  # it has not read its last order
            return None
        return (_decode(packet), descriptors) if packet else None

    def answer(self, word: bytes) -> None:
        with suppress(OSError):  # it has ended, and will be reaped
            self.control.send(word)

    def end(self) -> None:
        """End its midwife; where one of its children was not yet let go, that as well."""
        with suppress(ProcessLookupError):
            os.kill(self.midwife_pid, signal.SIGKILL)


def start(sandbox_id: str, pid_1: int, home: Home) -> Template[Waiting]:
    """Give a sandbox a midwife; `pid_1` is its first process."""
    ours, theirs = wire.socket_pair()
    with theirs:
        pid = os.fork()
        if pid == 0:
            midwife.tend(theirs, pid_1, home)
    return Template(sandbox_id, pid, ours)
