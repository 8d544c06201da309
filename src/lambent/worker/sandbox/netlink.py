"""The few rtnetlink messages the sandbox network needs, packed by hand.

Hand-made because they run in the privileged process and on the way to a cold start: six messages travel in one
system call, and nothing is read back but the kernel's verdict. IPv4 only. Layouts: rtnetlink(7), veth(4).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RTM_NEWLINK, _RTM_DELLINK, _RTM_NEWADDR, _RTM_NEWNEIGH = 16, 17, 20, 28
_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 24, 25, 26
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 0x1, 0x4, 0x300
_NLM_F_CREATE_ONLY = 0x400 | 0x200  # NLM_F_CREATE | NLM_F_EXCL

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 1, 3, 18, 28
_IFLA_NUM_TX_QUEUES, _IFLA_NUM_RX_QUEUES = 31, 32
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFF_UP = 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_TABLE = 1, 4, 5, 15
_RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK = 254, 4, 0, 253
_RTN_UNICAST, _RTN_LOCAL = 1, 2
_RTNH_F_ONLINK = 4
_NDA_DST, _NDA_LLADDR, _NUD_PERMANENT = 1, 2, 0x80

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # family, device type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # family, dst bits, src bits, tos, table, protocol, scope, type, flags
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type


@dataclass(frozen=True, slots=True)
class Message:
    type: int
    body: bytes
    flags: int = _NLM_F_CREATE_ONLY


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One end of a veth pair. `index` 0 lets the kernel choose; `namespace` None is the socket's own."""

    name: str
    mac: bytes
    index: int = 0
    namespace: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    destination: IPv4Network
    is_local: bool
    """One of the namespace's own addresses."""


def veth(near: Interface, far: Interface) -> Message:
    """Make a pair; `far` may be born in another namespace, and is yet to be brought up."""
    peer = _link(far, 0) + (_u32(_IFLA_NET_NS_FD, far.namespace) if far.namespace is not None else b"")
    info = _attribute(_IFLA_INFO_KIND, b"veth") + _attribute(_IFLA_INFO_DATA, _attribute(_VETH_INFO_PEER, peer))
    return Message(_RTM_NEWLINK, _link(near, _IFF_UP) + _attribute(_IFLA_LINKINFO, info))


def bring_up(index: int) -> Message:
    return Message(_RTM_NEWLINK, _LINK.pack(socket.AF_UNSPEC, 0, index, _IFF_UP, _IFF_UP), 0)


def delete_link(index: int) -> Message:
    return Message(_RTM_DELLINK, _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0), 0)


def address(index: int, ip: IPv4Address) -> Message:
    """Give an interface the address, alone in its network (/32)."""
    body = _ADDRESS.pack(socket.AF_INET, 32, 0, 0, index)
    return Message(_RTM_NEWADDR, body + _attribute(_IFA_LOCAL, ip.packed) + _attribute(_IFA_ADDRESS, ip.packed))


def neighbour(index: int, ip: IPv4Address, mac: bytes) -> Message:
    """Say for good where the address is. The kernel's neighbour table is one for all namespaces and small (1,024 by
    default); permanent entries do not count, and nobody can claim the address by ARP."""
    body = _NEIGHBOUR.pack(socket.AF_INET, index, _NUD_PERMANENT, 0, 0)
    return Message(_RTM_NEWNEIGH, body + _attribute(_NDA_DST, ip.packed) + _attribute(_NDA_LLADDR, mac))


def route(to: IPv4Network, index: int, via: IPv4Address | None = None) -> Message:
    """Send what is for `to` out of the interface: to the neighbour `via`, or to the addressee itself."""
    return Message(_RTM_NEWROUTE, _route(to, index, via))


def delete_route(to: IPv4Network, index: int) -> Message:
    return Message(_RTM_DELROUTE, _route(to, index), 0)


class Netlink:
    """An rtnetlink socket; it stays in the namespace it was made in, wherever the thread goes."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._sequence = 0

    def perform(self, *messages: Message) -> None:
        """Have the kernel perform all of them, in order.

        Raises:
            OSError: of the first one refused; the others were still tried.
        """
        *others, last = [(message, message.flags) for message in messages]
        self._send([*others, (last[0], last[1] | _NLM_F_ACK)])
        first_refusal, sequence = 0, 0
        while sequence != self._sequence:  # of the others we hear only what was refused
            number, sequence = self._verdict()
            first_refusal = first_refusal or number
        if first_refusal:
            raise OSError(first_refusal, os.strerror(first_refusal))

    def routes(self) -> list[Route]:
        """Every IPv4 route of every table, default routes left out."""
        self._send([(Message(_RTM_GETROUTE, _ROUTE.pack(socket.AF_INET, *[0] * 8)), _NLM_F_DUMP)])
        found: list[Route] = []
        while True:
            for kind, body in _messages(self._socket.recv(1 << 18)):
                if kind == _NLMSG_DONE:
                    return found
                if kind == _RTM_NEWROUTE and (parsed := _parse_route(body)):
                    found.append(parsed)

    def close(self) -> None:
        self._socket.close()

    def _send(self, messages: list[tuple[Message, int]]) -> None:
        packed = []
        for message, flags in messages:
            self._sequence += 1
            size = _HEADER.size + len(message.body)
            packed.append(_HEADER.pack(size, message.type, flags | _NLM_F_REQUEST, self._sequence, 0) + message.body)
        self._socket.send(b"".join(packed))

    def _verdict(self) -> tuple[int, int]:
        """An error number, or 0, and which message it is about."""
        said = self._socket.recv(1 << 14)
        _, _, _, sequence, _ = _HEADER.unpack_from(said)
        (negative,) = struct.unpack_from("=i", said, _HEADER.size)
        return -negative, sequence


def _link(interface: Interface, flags: int) -> bytes:
    body = _LINK.pack(socket.AF_UNSPEC, 0, interface.index, flags, flags)
    body += _attribute(_IFLA_IFNAME, interface.name.encode() + b"\0") + _attribute(_IFLA_ADDRESS, interface.mac)
    return body + _ONE_QUEUE


def _route(to: IPv4Network, index: int, via: IPv4Address | None = None) -> bytes:
    scope, flags = (_RT_SCOPE_LINK, 0) if via is None else (_RT_SCOPE_UNIVERSE, _RTNH_F_ONLINK)
    body = _ROUTE.pack(socket.AF_INET, to.prefixlen, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, scope, _RTN_UNICAST, flags)
    body += _attribute(_RTA_DST, to.network_address.packed) + _u32(_RTA_OIF, index)
    return body + (_attribute(_RTA_GATEWAY, via.packed) if via else b"")


def _attribute(kind: int, value: bytes) -> bytes:
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + b"\0" * (-size % 4)


def _u32(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


_ONE_QUEUE = _u32(_IFLA_NUM_TX_QUEUES, 1) + _u32(_IFLA_NUM_RX_QUEUES, 1)
"""An end that is made with one for each CPU uses one all the same, and waits until every CPU has noticed."""


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        size, kind, *_ = _HEADER.unpack_from(data)
        yield kind, data[_HEADER.size : size]
        data = data[(size + 3) & ~3 :]


def _parse_route(body: bytes) -> Route | None:
    _, bits, _, _, _, _, _, kind, _ = _ROUTE.unpack_from(body)
    rest = body[_ROUTE.size :]
    while rest:
        size, attribute = struct.unpack_from("=HH", rest)
        if attribute == _RTA_DST:
            return Route(destination=IPv4Network((rest[4:size], bits)), is_local=kind == _RTN_LOCAL)
        rest = rest[(size + 3) & ~3 :]
    return None
