"""Attacks by way of the network: other kinds of sockets, the host, its neighbours, what clouds hide nearby."""

import os
import socket
import struct

from tools import attack, attempt, call

TIMEOUT_S = 0.5


def connect(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as made:
        made.settimeout(TIMEOUT_S)
        try:
            made.connect((host, port))
        except TimeoutError:
            return "timeout"
    return "connected"


@attack
def address_families(event):
    """Every one there is: which of them give a socket of any kind."""
    allowed = set()
    for family in range(1, 64):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
            if call(41, family, kind, 0) == "done":
                allowed.add(family)
    names = {member.value: member.name for member in socket.AddressFamily}
    return sorted(names.get(family, str(family)) for family in allowed)


@attack
def raw_sockets(event):
    PACKET_THE_OLD_WAY = 10
    return {
        "icmp": attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1),
        "ip": attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 255),
        "ipv6": attempt(socket.socket, socket.AF_INET6, socket.SOCK_RAW, 58),
        "packet": attempt(socket.socket, socket.AF_PACKET, socket.SOCK_RAW),
        "packet_the_old_way": call(41, socket.AF_INET, PACKET_THE_OLD_WAY, 0x0300),
        "with_flags": attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 1),
        "high_bits": call(41, 1 << 32 | socket.AF_PACKET, socket.SOCK_RAW, 0),
    }


@attack
def other_sockets(event):
    return {
        "vsock": attempt(socket.socket, socket.AF_VSOCK, socket.SOCK_STREAM),
        "alg": attempt(socket.socket, socket.AF_ALG, socket.SOCK_SEQPACKET),
        "xdp": call(41, 44, socket.SOCK_RAW, 0),
        "bluetooth": call(41, 31, socket.SOCK_RAW, 1),
        "pair": call(53, socket.AF_PACKET, socket.SOCK_RAW, 0, bytes(8)),
        "vsock_device": attempt(open, "/dev/vsock", "rb"),
    }


@attack
def transport_protocols(event):
    """Those that the kernel would load a module for, or that are known for their bugs."""
    STREAM, DGRAM, SEQPACKET, DCCP = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, 6
    protocols = {
        "sctp": (STREAM, 132), "sctp_packets": (SEQPACKET, 132), "mptcp": (STREAM, 262), "l2tp": (DGRAM, 115),
        "udplite": (DGRAM, 136), "dccp": (DCCP, 33), "smc": (STREAM, 256), "any_sequence": (SEQPACKET, 0),
    }  # fmt: skip
    found = {name: call(41, socket.AF_INET, kind, protocol) for name, (kind, protocol) in protocols.items()}
    with socket.socket() as made:
        found["kernel_tls"] = attempt(made.setsockopt, socket.IPPROTO_TCP, 31, b"tls")
    return found


@attack
def netlink_families(event):
    return [number for number in range(32) if call(41, socket.AF_NETLINK, socket.SOCK_RAW, number) == "done"]


@attack
def change_the_network(event):
    """By the one netlink family that is there, to ask what interfaces there are."""
    REQUEST, ACK, CREATE = 1, 4, 0x400
    messages = {
        "new_link": (16, struct.pack("=BxHiII", 0, 0, 0, 0, 0) + struct.pack("=HH8s", 12, 3, b"evil\0\0\0\0")),
        "link_down": (16, struct.pack("=BxHiII", 0, 0, 1, 0, 1)),
        "new_address": (20, struct.pack("=BBBBI", 2, 24, 0, 0, 1) + struct.pack("=HH4s", 8, 2, b"\x0a\0\0\x01")),
        "new_route": (24, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + struct.pack("=HHi", 8, 4, 1)),
        "new_neighbour": (28, struct.pack("=BxxxiHBB", 2, 1, 128, 0, 0) + struct.pack("=HH4s", 8, 1, b"\x7f\0\0\x09")),
        "new_namespace_id": (88, struct.pack("=Bxxx", 0)),
    }  # fmt: skip
    found = {}
    for name, (kind, body) in messages.items():
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
            netlink.send(struct.pack("=IHHII", 16 + len(body), kind, REQUEST | ACK | CREATE, 1, 0) + body)
            error = -struct.unpack_from("=i", netlink.recv(4096), 16)[0]
        found[name] = os.strerror(error)
    return found


@attack
def move_an_interface(event):
    """ioctl, the old way: bring down lo, change an address, make a tunnel."""
    import fcntl

    requests = {"flags": 0x8914, "address": 0x8916, "tunnel": 0x89F1, "bridge": 0x89A0, "name": 0x8923}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        return {
            name: attempt(fcntl.ioctl, made, request, b"lo".ljust(256, b"\0")) for name, request in requests.items()
        }


@attack
def the_host(event):
    """Its loopback, its other addresses, and Lambent's own front door there."""
    return {address: attempt(connect, address, event["port"]) for address in event["host_addresses"]}


@attack
def the_servers_sockets(event):
    """Sockets in the file system or with abstract names: those of the host are in another namespace."""
    with open("/proc/net/unix") as file:
        names = [line.split()[7] for line in file.readlines()[1:] if len(line.split()) > 7]
    return {
        "names": names,
        "abstract": attempt(lambda: socket.socket(socket.AF_UNIX).connect("\0" + event["abstract"])),
        "path": attempt(lambda: socket.socket(socket.AF_UNIX).connect(event["socket_path"])),
    }


@attack
def what_listens_here(event):
    """On loopback, the Runtime API and AWS's endpoint, and nothing else."""
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as file:
            rows = [line.split() for line in file.readlines()[1:]]
        ports |= {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}
    return sorted(ports)


@attack
def cloud_metadata(event):
    """Credentials of the machine, of a task, of a pod; time and licences: link-local all of them."""
    places = (
        ("169.254.169.254", 80),
        ("169.254.170.2", 80),
        ("169.254.170.23", 80),
        ("169.254.169.253", 53),
        ("fd00:ec2::254", 80),
    )
    return {address: attempt(connect, address, port) for address, port in places}


@attack
def broadcast(event):
    def send(address):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            made.sendto(b"x", (address, 9))

    return {address: attempt(send, address) for address in ("255.255.255.255", "224.0.0.1")}


@attack
def bind_low_and_foreign(event):
    def bind(address, port):
        with socket.socket() as made:
            made.bind((address, port))

    def to_device():
        with socket.socket() as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 1)

    return {
        "runtime_api": attempt(bind, "127.0.0.1", 9001),
        "runtime_api_everywhere": attempt(bind, "0.0.0.0", 9001),
        "foreign": attempt(bind, "192.0.2.1", 80),
        "mark": attempt(to_device),
    }
