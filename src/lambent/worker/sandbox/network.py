"""The way out of the sandboxes: one router per server, a wire from it to each sandbox and one to the host.

    sandbox: eth0 ── s17 ┐
    sandbox: eth0 ── s18 ┤ router (a namespace): uplink ── lambent-3f2a9c1 :host ── the world
    sandbox: eth0 ── s19 ┘

The host sees one interface, one nft table and one route. The router's namespace has no name: when this process dies,
the kernel takes it away with every wire. Which traffic passes is told in `firewall`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from lambent.model.errors import PlatformError
from lambent.worker.sandbox import firewall, kernel, netlink
from lambent.worker.sandbox.netlink import Interface, Netlink
from lambent.worker.sandbox.netns import inside, new_namespace
from lambent.worker.sandbox.resolver import nameservers, resolver_config

log = logging.getLogger(__name__)

SANDBOXES_MAXIMUM = 4_096

_POOLS = (IPv4Network("198.18.0.0/15"), IPv4Network("100.64.0.0/10"))
"""Reserved for benchmarks and for carriers: where a host's routes are least likely to lead already."""
_BLOCK_BITS = 19
_HOST, _ROUTER, _FIRST_SANDBOX = 1, 2, 4_096
"""Places in a server's block of addresses."""
_EVERYWHERE = IPv4Network("0.0.0.0/0")
_USES_OF_A_MOUNT = 32

_LOOPBACK, _ETH0, _UPLINK, _FIRST_WIRE = 1, 2, 2, 16
"""Interface indexes; all but the first chosen by us, so that nothing need be asked back."""
_NEAR_MAC, _FAR_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
"""The same on every wire, for its two ends see only each other. Near is the end towards the world."""


class Egress(StrEnum):
    NONE = "none"
    """Loopback only."""
    OPEN = "open"
    """Outbound as on AWS; closed are the host's own addresses, link-local, multicast and every other sandbox."""
    INTERNET = "internet"
    """As `open`, with private ranges closed too, but for DNS at the host's nameservers."""


@dataclass(frozen=True, slots=True)
class _Router:
    netlink: Netlink
    block: IPv4Network


class Network:
    """Egress of one server's sandboxes. IPv4 only: IPv6 is disabled on the way out, `::1` remains.

    Every method blocks, and steps into other namespaces: it belongs to the single thread of sandboxd. The router's
    descriptors close on exec; a sandbox forked from this process must close them itself.
    """

    def __init__(self, server_id: str, egress: Egress) -> None:
        self._name = firewall.PREFIX + hashlib.sha256(server_id.encode()).hexdigest()[:7]
        self._egress = egress
        self._held = ExitStack()
        self._router: _Router | None = None
        self._wires: dict[int, int] = {}
        self._wires_laid = 0
        self._switches = _Switches()

    def start(self) -> None:
        """Remove what a killed predecessor left, then build the router.

        Raises:
            PlatformError: a privilege, the program nft or a kernel feature is missing; nothing has changed.
        """
        self.stop()
        if self._egress is Egress.NONE:
            return
        try:
            self._router = self._build_router()
            firewall.enable_forwarding()
            for chain in firewall.blocking_chains():
                log.warning("network.blocked_by_host_firewall", extra={"chain": chain, "interface": self._name})
        except OSError as exc:
            self.stop()
            raise PlatformError(
                f"the sandboxes' network cannot be built: {exc}. It needs CAP_SYS_ADMIN and CAP_NET_ADMIN (start as "
                "root), the kernel's veth, and a writable /proc/sys/net; or serve with --egress none"
            ) from exc
        except PlatformError:
            self.stop()
            raise

    def settle(self) -> Netlink:
        """Standing in the namespace of a sandbox to be: no IPv6 on its way out. For `attach`."""
        if self._egress is not Egress.NONE:
            self._switches.write("net/ipv6/conf/default/disable_ipv6", b"1")
        return Netlink()

    def attach(self, netns_fd: int, index: int, settled: Netlink) -> None:
        """Give a sandbox loopback, wire, address and default route. `index` is 0–4,095 and unique among those attached.

        Hand out the index that was free longest: answers to a predecessor's last packets still come to its address.

        Raises:
            PlatformError: the index is in use, or the kernel refused.
        """
        if self._egress is Egress.NONE:
            self._isolate(settled, index)
            return
        assert self._router is not None, "attach before start"
        if index in self._wires:
            raise PlatformError(f"two sandboxes want network index {index}; detach the first before attaching another")
        self._wires_laid += 1
        wire = _FIRST_WIRE + self._wires_laid
        try:
            self._lay_wire(self._router, netns_fd, settled, wire, self.address(index))
        except OSError as exc:
            with suppress(OSError):
                self._router.netlink.perform(netlink.delete_link(wire))
            raise PlatformError(f"sandbox {index} could not be connected to the network: {exc}") from exc
        self._wires[index] = wire

    def detach(self, index: int) -> None:
        """Cut a sandbox off and free its index; not attached is no error.

        The dead wire stays until the sandbox's namespace goes: the kernel then removes it in the background, where
        removing it here would hold the thread for tens of milliseconds.
        """
        wire = self._wires.pop(index, None)
        if wire is None or self._router is None:
            return
        with suppress(ProcessLookupError):  # no such route: the namespace went first
            self._router.netlink.perform(netlink.delete_route(IPv4Network(self.address(index)), wire))

    def stop(self) -> None:
        """Remove everything made under this server id, by this object or a predecessor; not started is no error."""
        if self._name in (name for _, name in socket.if_nameindex()):
            with closing(Netlink()) as host, suppress(OSError):
                host.perform(netlink.delete_link(socket.if_nametoindex(self._name)))
        firewall.remove(self._name)
        firewall.restore_forwarding()
        self._held.close()
        self._switches.close()
        self._router = None
        self._wires.clear()

    def address(self, index: int) -> IPv4Address:
        """The address of the sandbox with this index; nobody outside the host ever sees it."""
        assert self._router is not None, "addresses are known once started"
        return self._router.block[_FIRST_SANDBOX + index]

    def _build_router(self) -> _Router:
        namespace = new_namespace()
        self._held.callback(os.close, namespace)
        with inside(namespace):
            _disable_ipv6("default")
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            router = self._held.enter_context(closing(Netlink()))
        host = self._held.enter_context(closing(Netlink()))
        far = Interface(name="uplink", mac=_FAR_MAC, index=_UPLINK, namespace=namespace)
        host.perform(netlink.veth(Interface(name=self._name, mac=_NEAR_MAC), far))
        _disable_ipv6(self._name)
        block = _claim_block(host, socket.if_nametoindex(self._name))
        router.perform(*_far_end(_UPLINK, block[_ROUTER], gateway=block[_HOST]))
        with inside(namespace):
            firewall.apply(firewall.router_rules("router", far.name))
        servers = nameservers(resolver_config())
        closes_private = self._egress is Egress.INTERNET
        firewall.apply(firewall.host_rules(self._name, block, servers, closes_private=closes_private))
        return _Router(router, block)

    def _isolate(self, sandbox: Netlink, index: int) -> None:
        try:
            sandbox.perform(netlink.bring_up(_LOOPBACK))
        except OSError as exc:
            raise PlatformError(f"sandbox {index} could not be given its loopback: {exc}") from exc

    def _lay_wire(self, router: _Router, netns_fd: int, sandbox: Netlink, wire: int, address: IPv4Address) -> None:
        near = Interface(name=f"s{wire}", mac=_NEAR_MAC, index=wire)
        far = Interface(name="eth0", mac=_FAR_MAC, index=_ETH0, namespace=netns_fd)
        router.netlink.perform(
            netlink.veth(near, far),
            netlink.route(IPv4Network(address), wire),
            netlink.neighbour(wire, address, _FAR_MAC),
        )
        # At once: each address has the kernel wake a worker on this processor, which would take it from us twice.
        sandbox.perform(netlink.bring_up(_LOOPBACK), *_far_end(_ETH0, address, gateway=router.block[_ROUTER]))


class _Switches:
    """/proc/sys of the namespace we are in, by mounts of our own that are soon replaced.

    In each mount the kernel chains the names of all namespaces that were ever looked at, and compares with every one
    of them: behind two hundred sandboxes that takes a millisecond.
    """

    def __init__(self) -> None:
        self._proc: int | None = None
        self._uses_left = 0

    def write(self, name: str, value: bytes) -> None:
        """Set a switch; one that this kernel does not have needs no setting."""
        if self._proc is None or self._uses_left == 0:
            self.close()
            self._proc = kernel.new_filesystem("proc", (), kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV)
            self._uses_left = _USES_OF_A_MOUNT
        self._uses_left -= 1
        with suppress(FileNotFoundError):
            switch = os.open(f"sys/{name}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._proc)
            os.write(switch, value)
            os.close(switch)

    def close(self) -> None:
        if self._proc is not None:
            os.close(self._proc)
            self._proc = None


def probe_egress() -> tuple[bool, str]:
    """Whether this host can give sandboxes a way out, and why not.

    Rehearsed in a namespace of its own, so nothing on the host changes.
    """
    try:
        rehearsal = new_namespace()
    except OSError as exc:
        return False, f"a network namespace cannot be made: {exc.strerror}; start as root, or serve with --egress none"
    network = Network("probe", Egress.OPEN)
    try:
        with inside(rehearsal), closing(Netlink()) as host:
            host.perform(netlink.bring_up(_LOOPBACK))
            network.start()
            network.stop()
    except PlatformError as exc:
        return False, str(exc)
    finally:
        os.close(rehearsal)
    if chains := firewall.blocking_chains():
        return False, f"the host's own firewall drops what is forwarded, in {', '.join(chains)}; accept lambent-* there"
    return True, "outbound access through a veth and nftables"


def _claim_block(host: Netlink, uplink: int) -> IPv4Network:
    """Find addresses the host has no route to. Adding the route is the claim: of two servers, one gets it."""
    taken = [route.destination for route in host.routes()]
    for block in (block for pool in _POOLS for block in pool.subnets(new_prefix=_BLOCK_BITS)):
        if any(block.overlaps(other) for other in taken):
            continue
        with suppress(FileExistsError):
            host.perform(netlink.route(block, uplink, via=block[_ROUTER]))
            host.perform(
                netlink.address(uplink, block[_HOST]),
                netlink.neighbour(uplink, block[_ROUTER], _FAR_MAC),
            )
            return block
    raise PlatformError(
        f"the host has routes into all of {' and '.join(map(str, _POOLS))}; free a /{_BLOCK_BITS} there"
    )


def _far_end(index: int, address: IPv4Address, *, gateway: IPv4Address) -> list[netlink.Message]:
    return [
        netlink.bring_up(index),
        netlink.address(index, address),
        netlink.neighbour(index, gateway, _NEAR_MAC),
        netlink.route(_EVERYWHERE, index, via=gateway),
    ]


def _disable_ipv6(interface: str) -> None:
    with suppress(FileNotFoundError):  # a kernel without IPv6
        switch = os.open(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6", os.O_WRONLY | os.O_CLOEXEC)
        os.write(switch, b"1")
        os.close(switch)
