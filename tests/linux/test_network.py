"""Egress, proven between network namespaces: one plays the host, one the world outside. No real address is touched.

A listening socket answers from its backlog, so a connection that is made proves the way there and back. What is closed
is refused by ICMP at once; what is dropped silently is proven by a later packet arriving first.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from lambent.model.errors import PlatformError
from lambent.worker.sandbox import firewall, netlink, resolver
from lambent.worker.sandbox.netlink import Interface, Netlink
from lambent.worker.sandbox.netns import inside, new_namespace
from lambent.worker.sandbox.network import Egress, Network, probe_egress

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin") is None, reason="needs root and nftables"
)

PUBLIC, PRIVATE, CARRIER, METADATA, NAMESERVER = "203.0.113.5", "10.9.0.5", "100.64.9.5", "169.254.169.254", "10.9.0.53"
HOST, HOST_TOO = "192.0.2.10", "192.168.77.1"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


class World:
    """The host (where the test runs) with one wire to the outside, whose servers listen on ports 80 and 53."""

    def __init__(self, host: int, held: ExitStack) -> None:
        self.host = host
        self._held = held
        self.outside = self.namespace()
        with closing(Netlink()) as host:
            host.perform(
                netlink.bring_up(1), netlink.address(1, IPv4Address(HOST)), netlink.address(1, IPv4Address(HOST_TOO))
            )
        self.wire("wan", self.outside, *(PUBLIC, PRIVATE, CARRIER, METADATA, NAMESERVER))
        with inside(self.outside):
            self.servers = {
                (address, port): self.listen(address, port)
                for address in (PUBLIC, PRIVATE, CARRIER, METADATA, NAMESERVER)
                for port in (80, 53)
            }

    def namespace(self) -> int:
        made = new_namespace()
        self._held.callback(os.close, made)
        return made

    def wire(self, name: str, namespace: int, *addresses: str) -> None:
        """Connect the host with a namespace that has the addresses, and a way back to the host's own address only."""
        ends = bytes.fromhex("02000000aa01"), bytes.fromhex("02000000aa02")
        with closing(Netlink()) as host:
            host.perform(
                netlink.veth(
                    Interface(name=name, mac=ends[0]), Interface(name="eth0", mac=ends[1], index=2, namespace=namespace)
                )
            )
            index = socket.if_nametoindex(name)
            for address in map(IPv4Address, addresses):
                host.perform(netlink.route(IPv4Network(address), index), netlink.neighbour(index, address, ends[1]))
        with inside(namespace), closing(Netlink()) as there:
            there.perform(netlink.bring_up(2), *(netlink.address(2, IPv4Address(address)) for address in addresses))
            there.perform(
                netlink.route(IPv4Network(HOST), 2),
                netlink.neighbour(2, IPv4Address(HOST), ends[0]),
                netlink.route(IPv4Network("198.18.0.0/15"), 2, via=IPv4Address(HOST)),
            )

    def listen(self, address: str, port: int) -> socket.socket:
        server = self._held.enter_context(socket.create_server((address, port)))
        server.settimeout(5)
        return server

    def udp(self, namespace: int | None = None, address: str = "0.0.0.0", port: int = 0) -> socket.socket:
        with ExitStack() as stack:
            if namespace is not None:
                stack.enter_context(inside(namespace))
            made = self._held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        made.bind((address, port))
        made.settimeout(5)
        return made

    def network(self, egress: Egress, server_id: str = "a") -> Network:
        made = Network(server_id, egress)
        made.start()
        self._held.callback(made.stop)
        return made

    def sandbox(self, network: Network, index: int = 0) -> int:
        made = self.namespace()
        with inside(made):
            settled = network.settle()
        with closing(settled):
            network.attach(made, index, settled)
        return made


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    config = tmp_path / "resolv.conf"
    config.write_text(f"nameserver {NAMESERVER}\nnameserver {HOST}\n")
    monkeypatch.setattr(resolver, "_HOST", config)
    with ExitStack() as held:
        host = new_namespace()
        held.callback(os.close, host)
        held.enter_context(inside(host))
        FORWARDING.write_text("0")
        yield World(host, held)


def connect(namespace: int, address: str, port: int = 80) -> socket.socket:
    with inside(namespace):
        client = socket.socket()
    client.settimeout(5)
    try:
        client.connect((address, port))
    except OSError:
        client.close()
        raise
    return client


def is_open(namespace: int, address: str, port: int = 80) -> bool:
    try:
        connect(namespace, address, port).close()
    except OSError as exc:
        if exc.errno not in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            raise
        return False
    return True


def interfaces(namespace: int) -> set[str]:
    with inside(namespace):
        return {name for _, name in socket.if_nameindex()}


def nft(*arguments: str) -> str:
    return subprocess.run(["nft", *arguments], capture_output=True, text=True, check=True).stdout


def host_state() -> tuple[object, ...]:
    with closing(Netlink()) as host:
        return set(socket.if_nameindex()), nft("list", "ruleset"), host.routes(), FORWARDING.read_text()


# What is open, what is closed


@pytest.mark.parametrize("address", [PUBLIC, PRIVATE, CARRIER])
def test_open_reaches_public_and_private_servers(world: World, address: str) -> None:
    assert is_open(world.sandbox(world.network(Egress.OPEN)), address)


@pytest.mark.parametrize("address", [METADATA, HOST, HOST_TOO, "0.0.0.1", "240.0.0.1"])
def test_open_closes_the_host_and_link_local_and_reserved_addresses(world: World, address: str) -> None:
    world.listen("0.0.0.0", 80)

    assert not is_open(world.sandbox(world.network(Egress.OPEN)), address)


def test_internet_reaches_public_servers(world: World) -> None:
    assert is_open(world.sandbox(world.network(Egress.INTERNET)), PUBLIC)


@pytest.mark.parametrize("address", [PRIVATE, CARRIER, METADATA, HOST, HOST_TOO])
def test_internet_closes_private_ranges_too(world: World, address: str) -> None:
    assert not is_open(world.sandbox(world.network(Egress.INTERNET)), address)


def test_internet_reaches_a_private_nameserver_for_dns_only(world: World) -> None:
    sandbox = world.sandbox(world.network(Egress.INTERNET))

    assert is_open(sandbox, NAMESERVER, 53)
    assert not is_open(sandbox, NAMESERVER, 80)
    assert not is_open(sandbox, PRIVATE, 53)


def test_a_nameserver_on_the_host_itself_stays_closed(world: World) -> None:
    world.listen(HOST, 53)

    assert not is_open(world.sandbox(world.network(Egress.OPEN)), HOST, 53)


def test_none_has_loopback_only(world: World) -> None:
    before = host_state()
    sandbox = world.sandbox(world.network(Egress.NONE))

    assert interfaces(sandbox) == {"lo"}
    assert not is_open(sandbox, PUBLIC)
    assert host_state() == before


def test_the_outside_sees_the_hosts_address(world: World) -> None:
    client = connect(world.sandbox(world.network(Egress.OPEN)), PUBLIC)
    accepted, peer = world.servers[PUBLIC, 80].accept()

    assert peer[0] == HOST
    client.sendall(b"question")
    assert accepted.recv(100) == b"question"
    accepted.sendall(b"answer")
    assert client.recv(100) == b"answer"
    accepted.close()
    client.close()


def test_the_hosts_end_of_the_wire_and_the_router_are_closed(world: World) -> None:
    network = world.network(Egress.OPEN)
    sandbox = world.sandbox(network)
    world.listen("0.0.0.0", 80)
    block = int(network.address(0)) - 4_096

    for place in (1, 2, 3):
        assert not is_open(sandbox, str(IPv4Address(block + place)))


def test_a_port_the_host_redirects_elsewhere_is_closed_too(world: World) -> None:
    firewall.apply(
        "table ip docker { chain dnat_ports { type nat hook prerouting priority dstnat; policy accept; "
        f"fib daddr type local tcp dport 80 dnat to {PUBLIC}\n}}\n}}\n"
    )

    assert not is_open(world.sandbox(world.network(Egress.OPEN)), HOST)


def test_multicast_reaches_nobody(world: World) -> None:
    sandbox = world.sandbox(world.network(Egress.OPEN))
    (uplink,) = [name for _, name in socket.if_nameindex() if name.startswith("lambent-")]
    listener = world.udp(port=5353)
    membership = socket.inet_aton("224.0.0.251") + bytes(4) + socket.if_nametoindex(uplink).to_bytes(4, "little")
    listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)

    world.udp(sandbox).sendto(b"who is there?", ("224.0.0.251", 5353))

    assert is_open(sandbox, PUBLIC)
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.recv(100)


def test_a_sandbox_has_no_ipv6_on_the_way_out(world: World) -> None:
    with inside(world.sandbox(world.network(Egress.OPEN))):
        assert "eth0" not in Path("/proc/thread-self/net/if_inet6").read_text()
        with socket.socket(socket.AF_INET6) as client, pytest.raises(OSError, match="unreachable"):
            client.connect(("2001:db8::1", 80))


def test_a_sandbox_has_no_ipv6_however_many_came_before(world: World) -> None:
    network = world.network(Egress.OPEN)
    for index in range(34):
        with inside(world.sandbox(network, index)):
            assert "eth0" not in Path("/proc/thread-self/net/if_inet6").read_text()
            assert Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").read_text() == "1\n"


# Sandboxes among themselves, and from outside


def test_a_sandbox_does_not_reach_another(world: World) -> None:
    network = world.network(Egress.OPEN)
    first, second = world.sandbox(network, 0), world.sandbox(network, 1)
    with inside(second):
        world.listen("0.0.0.0", 80)

    assert not is_open(first, str(network.address(1)))
    assert is_open(first, PUBLIC)


def test_an_address_without_a_sandbox_is_refused(world: World) -> None:
    network = world.network(Egress.OPEN)

    assert not is_open(world.sandbox(network), str(network.address(4_095)))


def test_neither_the_host_nor_the_outside_starts_a_connection_into_a_sandbox(world: World) -> None:
    network = world.network(Egress.OPEN)
    sandbox = world.sandbox(network)
    with inside(sandbox):
        world.listen("0.0.0.0", 80)

    assert not is_open(world.host, str(network.address(0)))
    assert not is_open(world.outside, str(network.address(0)))


@pytest.mark.parametrize("spoofed", ["203.0.113.99", "198.18.16.1", HOST])
def test_a_spoofed_source_address_goes_nowhere(world: World, spoofed: str) -> None:
    network = world.network(Egress.OPEN)
    sandbox, neighbour = world.sandbox(network, 0), world.sandbox(network, 1)
    assert network.address(1) == IPv4Address("198.18.16.1")
    server = world.udp(world.outside, PUBLIC, 9)
    with inside(sandbox), closing(Netlink()) as there:
        there.perform(netlink.address(2, IPv4Address(spoofed)))

    world.udp(sandbox, spoofed).sendto(b"spoofed", (PUBLIC, 9))
    world.udp(sandbox, str(network.address(0))).sendto(b"honest", (PUBLIC, 9))

    assert server.recv(100) == b"honest"
    assert is_open(neighbour, PUBLIC)


def test_a_sandbox_cannot_fill_the_hosts_table_of_connections(world: World) -> None:
    sandbox = world.sandbox(world.network(Egress.OPEN))
    client = world.udp(sandbox)

    for port in range(1, firewall.FLOWS_PER_SANDBOX + 1_000):
        client.sendto(b"", (PUBLIC, 1_000 + port))

    assert int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text()) <= firewall.FLOWS_PER_SANDBOX + 10


# Coming and going


def test_a_detached_sandbox_is_cut_off_and_its_index_is_free(world: World) -> None:
    network = world.network(Egress.OPEN)
    first = world.sandbox(network, 7)
    client = connect(first, PUBLIC)

    network.detach(7)
    second = world.sandbox(network, 7)

    server = world.udp(world.outside, PUBLIC, 9)
    world.udp(first).sendto(b"cut off", (PUBLIC, 9))
    world.udp(second).sendto(b"connected", (PUBLIC, 9))
    assert server.recv(100) == b"connected"
    client.close()


def test_detaching_twice_or_after_the_namespace_is_gone_is_no_error(world: World) -> None:
    network = world.network(Egress.OPEN)
    namespace = new_namespace()
    with inside(namespace):
        settled = network.settle()
    with closing(settled):
        network.attach(namespace, 3, settled)
    os.close(namespace)

    network.detach(3)
    network.detach(3)
    network.detach(4)

    assert is_open(world.sandbox(network, 3), PUBLIC)


def test_two_sandboxes_do_not_share_an_index(world: World) -> None:
    network = world.network(Egress.OPEN)
    world.sandbox(network, 3)

    with pytest.raises(PlatformError, match="index 3"):
        world.sandbox(network, 3)


def test_stop_leaves_the_host_as_it_was(world: World) -> None:
    before = host_state()
    network = world.network(Egress.OPEN)
    world.sandbox(network)
    assert FORWARDING.read_text() == "1\n"

    network.stop()

    assert host_state() == before


def test_forwarding_that_was_on_stays_on(world: World) -> None:
    FORWARDING.write_text("1")
    before = host_state()

    world.network(Egress.OPEN).stop()

    assert host_state() == before


def test_forwarding_stays_on_for_an_interface_that_came_since(world: World) -> None:
    network = world.network(Egress.OPEN)
    world.wire("docker0", world.namespace(), "172.17.0.2")

    network.stop()

    assert FORWARDING.read_text() == "1\n"
    assert nft("list", "ruleset") == ""


def test_the_hosts_own_interfaces_still_do_not_forward_to_each_other(world: World) -> None:
    lan = world.namespace()
    world.wire("lan", lan, "10.77.0.2")
    sandbox = world.sandbox(world.network(Egress.OPEN))
    server = world.udp(world.outside, PUBLIC, 9)
    with inside(lan), closing(Netlink()) as there:
        there.perform(netlink.route(IPv4Network(PUBLIC), 2, via=IPv4Address(HOST)))

    world.udp(lan).sendto(b"through the host", (PUBLIC, 9))
    world.udp(sandbox).sendto(b"from the sandbox", (PUBLIC, 9))

    assert server.recv(100) == b"from the sandbox"


def test_what_a_killed_predecessor_left_is_removed(world: World) -> None:
    before = host_state()
    if (child := os.fork()) == 0:
        Network("a", Egress.OPEN).start()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert firewall.tables()

    network = world.network(Egress.OPEN)
    assert is_open(world.sandbox(network), PUBLIC)
    assert len(firewall.tables()) == 2

    network.stop()
    assert host_state() == before


def test_two_servers_share_a_host_and_the_last_one_switches_forwarding_off(world: World) -> None:
    before = host_state()
    first, second = world.network(Egress.OPEN, "a"), world.network(Egress.OPEN, "b")
    of_first, of_second = world.sandbox(first), world.sandbox(second)
    with inside(of_second):
        world.listen("0.0.0.0", 80)
    assert first.address(0) != second.address(0)
    assert not is_open(of_first, str(second.address(0)))

    first.stop()
    assert is_open(of_second, PUBLIC)

    second.stop()
    assert host_state() == before


def test_addresses_the_host_has_a_route_to_are_avoided(world: World) -> None:
    with closing(Netlink()) as host:
        host.perform(netlink.route(IPv4Network("198.18.0.0/16"), socket.if_nametoindex("wan")))

    assert world.network(Egress.OPEN).address(0) == IPv4Address("198.19.16.0")


# What the host cannot give


def test_a_missing_nft_is_named_and_nothing_is_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = host_state()
    monkeypatch.setattr(firewall, "find_nft", lambda: None)

    with pytest.raises(PlatformError, match="apt-get install nftables"):
        Network("a", Egress.OPEN).start()

    assert host_state() == before
    possible, reason = probe_egress()
    assert not possible
    assert "apt-get install nftables" in reason


def test_a_firewall_of_the_host_that_drops_forwarded_packets_is_named(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    firewall.apply("table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop;\n}\n}\n")

    world.network(Egress.OPEN)

    (warning,) = [record for record in caplog.records if record.msg == "network.blocked_by_host_firewall"]
    assert warning.__dict__["chain"] == "ip filter FORWARD"
    possible, reason = probe_egress()
    assert not possible
    assert "ip filter FORWARD" in reason


def test_a_probe_changes_nothing(world: World) -> None:
    before = host_state()

    assert probe_egress() == (True, "outbound access through a veth and nftables")
    assert host_state() == before


def test_the_resolver_config_leaves_out_the_hosts_own_nameserver(world: World) -> None:
    assert resolver.resolver_config() == f"nameserver {NAMESERVER}\n"
