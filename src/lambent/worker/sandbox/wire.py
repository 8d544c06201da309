"""The wires of the sandbox: server ↔ sandboxd, and sandboxd's end of those to each PID 1 and zygote (`inner_wire`).

Unix sequenced-packet sockets: one message is one packet of JSON, and descriptors travel with it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from lambent.worker.sandbox.inner_wire import PACKET_BYTES, Process
from lambent.worker.sandbox.plan import Level, Prewarmed, ProcessPlan, SandboxPlan, ZygotePlan

_DESCRIPTORS_MAXIMUM = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitStatus:
    """How a process ended: by `code`, by `signal`, or never began (`failure`: why, as in `exec format error`)."""

    code: int | None = None
    signal: int | None = None
    failure: str | None = None
    peak_kib: int = field(default=0, compare=False)
    """The most memory it has had resident; an executed one at least what PID 1 has."""


class Message(msgspec.Struct, frozen=True, tag=True):
    pass


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """How sandboxd is started: on its command line, as JSON."""

    server_id: str
    state_dir: str
    level: Level
    egress: str
    uid_base: int
    zygotes: tuple[ZygotePlan, ...] = ()
    spares_maximum: int = 0


def write_orders(orders: Orders) -> str:
    return msgspec.json.encode(orders).decode()


def read_orders(text: str) -> Orders:
    return msgspec.json.decode(text, type=Orders)


# Server to sandboxd -------------------------------------------------------------------------------------------------


class Create(Message, frozen=True, kw_only=True):
    plan: SandboxPlan


class StartZygote(Message, frozen=True, kw_only=True):
    """One of those in the orders. Answered by ZygoteReady whenever it, or its replacement, is."""

    name: str


class Expect(Message, frozen=True, kw_only=True):
    """Functions may soon want sandboxes like these; not answered."""

    zygote: str | None = None
    prewarmed: Prewarmed | None = None
    ephemeral_storage_mib: int
    pids_maximum: int
    one_more: bool = False
    """Than were expected so far: another function will be called for the first time."""


class Spawn(Message, frozen=True, kw_only=True):
    """With a descriptor: where the process's output goes instead of the sandbox's pipe."""

    sandbox_id: str
    process: ProcessPlan


class Signal(Message, frozen=True, kw_only=True):
    """Also sandboxd to PID 1."""

    sandbox_id: str
    name: str
    signum: int


class Freeze(Message, frozen=True, kw_only=True):
    """Only where there is no freezer."""

    sandbox_id: str
    is_frozen: bool


class Kill(Message, frozen=True, kw_only=True):
    """Answered by Died, when there is a generation."""

    sandbox_id: str


class OpenSocket(Message, frozen=True, kw_only=True):
    """Answered by SocketOpened."""

    sandbox_id: str


class Reboot(Message, frozen=True, kw_only=True):
    """Answered by Booted or Failed."""

    sandbox_id: str
    processes: tuple[ProcessPlan, ...]


class MakeTemplate(Message, frozen=True, kw_only=True):
    """The sandbox's runtime is about to fork: have each of its forks wait for a sandbox of its own.

    Answered by TemplateWatched, and whenever it can be forked from for the first time by TemplateReady; or by Died.
    """

    sandbox_id: str


class Destroy(Message, frozen=True, kw_only=True):
    """Answered by Destroyed, also where there is no such sandbox."""

    sandbox_id: str


# sandboxd to PID 1 --------------------------------------------------------------------------------------------------


class Start(Message, frozen=True, kw_only=True):
    """With a descriptor: where the output goes instead of the sandbox's pipe."""

    processes: tuple[Process, ...]


class Prewarm(Message, frozen=True, kw_only=True):
    """Start what shall wait for the first process of Start that is to be forked."""

    process: Process


class Adopt(Message, frozen=True, kw_only=True):
    """A child of a template, which PID 1 of the template's sandbox is the parent of: its end is to be told."""

    pid: int
    name: str


# sandboxd to server -------------------------------------------------------------------------------------------------


class Started(Message, frozen=True, kw_only=True):
    """The first message: sandboxd is ready. What does not bite on this host is told in words for a person."""

    level: Level
    shortcomings: tuple[str, ...]


class ZygoteReady(Message, frozen=True, kw_only=True):
    """Also the zygote to sandboxd. `modules`: what it has loaded, of the top level."""

    name: str
    modules: tuple[str, ...]


class Created(Message, frozen=True, kw_only=True):
    """With descriptors, named in order: those of `Sandbox`, the cgroup files it works with, and that of Booted."""

    sandbox_id: str
    names: tuple[str, ...]
    runtime_api_address: str


class SocketOpened(Message, frozen=True, kw_only=True):
    """With a descriptor: a TCP socket of the sandbox's network, connected to nothing yet. None: none could be made."""

    sandbox_id: str


class Booted(Message, frozen=True, kw_only=True):
    """Also PID 1 to sandboxd: the generation stands, its processes are about to be started.

    To the server, where no cgroup counts memory, with a descriptor of PID 1, which the whole generation is below.
    """

    sandbox_id: str


class TemplateWatched(Message, frozen=True, kw_only=True):
    """From now on its runtime cannot fork unseen."""

    sandbox_id: str


class TemplateReady(Message, frozen=True, kw_only=True):
    """Sandboxes can be made from it."""

    sandbox_id: str


class Failed(Message, frozen=True, kw_only=True):
    """Also PID 1 to sandboxd. An empty sandbox id: sandboxd itself could not start."""

    sandbox_id: str
    step: str
    error: str


class Exited(Message, frozen=True, kw_only=True):
    """Also PID 1 to sandboxd."""

    sandbox_id: str
    name: str
    status: ExitStatus


class Died(Message, frozen=True, kw_only=True):
    """The generation is gone: nothing of it runs any more."""

    sandbox_id: str


class Destroyed(Message, frozen=True, kw_only=True):
    sandbox_id: str


OfSandbox = Spawn | Signal | Freeze | OpenSocket | Kill | Reboot | MakeTemplate | Destroy
Request = Create | StartZygote | Expect | OfSandbox
Report = (
    Started
    | ZygoteReady
    | Created
    | SocketOpened
    | Booted
    | TemplateWatched
    | TemplateReady
    | Failed
    | Exited
    | Died
    | Destroyed
)

_encode = msgspec.json.Encoder().encode
_decode_request = msgspec.json.Decoder(Request).decode
_decode_report = msgspec.json.Decoder(Report).decode


def socket_pair() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * PACKET_BYTES)
    return pair


def send(wire: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send one message whole; BlockingIOError where the wire is full and does not block."""
    socket.send_fds(wire, [_encode(message)], list(descriptors))


def receive_request(wire: socket.socket) -> tuple[Request, list[int]] | None:
    """The next message and its descriptors, which are now the caller's; None at the end of the wire."""
    packet, descriptors = _receive(wire)
    return (_decode_request(packet), descriptors) if packet else None


def receive_report(wire: socket.socket) -> tuple[Report, list[int]] | None:
    """As `receive_request`, in the other direction, where not everybody can be trusted: raises Garbled."""
    packet, descriptors = _receive(wire)
    if not packet:
        return None
    try:
        return _decode_report(packet), descriptors
    except (msgspec.DecodeError, msgspec.ValidationError) as exc:
        for descriptor in descriptors:
            os.close(descriptor)
        raise Garbled(str(exc)) from exc


class Garbled(Exception):
    """A message nobody of ours would send."""


def _receive(wire: socket.socket) -> tuple[bytes, list[int]]:
    try:
        packet, descriptors, flags, _ = socket.recv_fds(
            wire, PACKET_BYTES, _DESCRIPTORS_MAXIMUM, socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionResetError:
        return b"", []
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        for descriptor in descriptors:
            os.close(descriptor)
        raise Garbled("cut short")
    return packet, descriptors
