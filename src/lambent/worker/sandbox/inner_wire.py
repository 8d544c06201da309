"""The wire from sandboxd to each PID 1 and to each zygote, and what travels on it: both ends of it are here.

Packets of JSON, with descriptors beside them. PID 1 may run on any Python from 3.8 on, and a zygote preloads as little
as it can, so there is nothing here but the standard library's plainest parts. What comes back is read by `wire`.
"""

from __future__ import annotations

import _socket
import array
import json
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple  # noqa: UP035 - for Python 3.8

PACKET_BYTES = 128 * 1024
"""Environment variables are limited to 4 KiB, so this is never met by an honest plan; the kernel refuses more."""
_DESCRIPTORS_MAXIMUM = 32

ZYGOTE_CONTROL, HOST_NAMESPACE, ROOT_NAMESPACE, OWN_NAMESPACES, COMPLAINTS, NOWHERE = 3, 4, 5, 6, 7, 8
"""The descriptors a zygote is started with: its end of this wire, two mount namespaces, its own /proc/self/ns, the
server's own log, and the far end of the pipe that is its standard output and error, for the interpreter must find pipes
there as a runtime does.
"""


BOOTED = b'{"type":"Booted","sandbox_id":""}'
"""What a PID 1 says when it stands: no encoder need be woken for it."""
FORKED = "runtime"
"""The name of the process that a child of a zygote becomes."""


class Mount(NamedTuple):
    """One mount yet to be made. `kind`: bind, overlay, image or tree; made inside: proc or mask."""

    kind: str
    target: str
    sources: Sequence[str] = ()


class Walls(NamedTuple):
    """What parts a sandbox from the host."""

    uid: int
    hostname: str
    mounts: Sequence[Mount]
    in_user_namespace: bool
    pids_maximum: int


class Ground(NamedTuple):
    """What all sandboxes of this server stand on. Descriptors are the holder's own."""

    host_namespace: int
    root_namespace: int
    seccomp_program: bytes
    last_capability: int
    processors: Sequence[int]
    """What functions may use."""
    made_inside: Sequence[Mount]
    """/proc, and what is masked in it: only a process of the sandbox can mount these."""


class Setup(NamedTuple):
    """One PID 1 to be. No walls: the level `process`. Descriptors are the holder's own."""

    walls: Optional[Walls]  # noqa: UP045
    control: int
    output: int
    network_namespace: int
    cgroup_procs: Sequence[int]
    is_held_back: bool
    """Nobody waits for it yet."""


class Process(NamedTuple):
    """One process to be started."""

    name: str
    argv: Sequence[str]
    env: Dict[str, str]  # noqa: UP006
    cwd: str
    is_forked: bool
    """A child that waits becomes it: a fork of PID 1, if a zygote bore that, or an interpreter; or it is executed."""


def write_setup(setup: Setup) -> Tuple[bytes, List[int]]:  # noqa: UP006
    """A setup as a packet and its descriptors."""
    descriptors = [setup.control, setup.output, setup.network_namespace, *setup.cgroup_procs]
    return json.dumps([setup.walls, setup.is_held_back]).encode(), descriptors


def read_setup(packet: bytes, descriptors: Sequence[int]) -> Setup:
    """What `write_setup` wrote, in another process."""
    control, output, network_namespace, *cgroup_procs = descriptors
    walls, is_held_back = json.loads(packet)
    return Setup(read_walls(walls), control, output, network_namespace, cgroup_procs, is_held_back)


def read_walls(walls: Sequence[Any]) -> Walls:
    """Walls as JSON has brought them. Any: whatever JSON holds."""
    uid, hostname, mounts, in_user_namespace, pids_maximum = walls
    return Walls(uid, hostname, [Mount(*mount) for mount in mounts], in_user_namespace, pids_maximum)


def forked(pid: int) -> bytes:
    """What a zygote says when it has forked: no encoder need be woken for it."""
    return b'{"type":"Forked","pid":%d}' % pid


def send(wire: _socket.socket, kind: str, descriptors: Sequence[int] = (), **fields: Any) -> None:
    """Send one message, of a type and with the fields that `wire` knows. Any: whatever JSON holds."""
    send_packet(wire, json.dumps({"type": kind, **fields}).encode(), descriptors)


def send_packet(wire: _socket.socket, packet: bytes, descriptors: Sequence[int]) -> None:
    """Send one message that is written already."""
    passengers = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    wire.sendmsg([packet], passengers)


def attach(wire: int) -> _socket.socket:
    """An end of the wire that was inherited."""
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, wire)


def receive(wire: _socket.socket) -> Tuple[bytes, List[int]]:  # noqa: UP006
    """The next packet and its descriptors, which are now the caller's and close on exec; empty at the wire's end."""
    descriptors = array.array("i")
    room = _socket.CMSG_SPACE(_DESCRIPTORS_MAXIMUM * descriptors.itemsize)
    try:
        packet, ancillary, _, _ = wire.recvmsg(PACKET_BYTES, room, _socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return b"", []
    for _, _, data in ancillary:
        descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return packet, list(descriptors)
