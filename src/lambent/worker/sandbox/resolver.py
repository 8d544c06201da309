"""Which nameservers sandboxes ask: the host's, without those a sandbox cannot reach."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from lambent.worker.sandbox.netlink import Netlink, Route

log = logging.getLogger(__name__)

_HOST = Path("/etc/resolv.conf")
_BEHIND_THE_STUB = Path("/run/systemd/resolve/resolv.conf")
"""Where systemd-resolved names the servers that its own, on 127.0.0.53, asks."""


def resolver_config() -> str:
    """The resolv.conf of sandboxes on this host; names do not resolve inside if no nameserver remains."""
    netlink = Netlink()
    try:
        return reachable_config(_host_config(), netlink.routes())
    finally:
        netlink.close()


def reachable_config(config: str, routes: Sequence[Route]) -> str:
    """The same file without the nameservers that have an address of the host itself, or no IPv4 address."""
    kept = []
    for line in config.splitlines():
        server = _nameserver(line)
        if server is None or _is_reachable(server, routes):
            kept.append(f"{line}\n")
        else:
            log.warning("resolver.nameserver_left_out", extra={"nameserver": str(server)})
    return "".join(kept)


def nameservers(config: str) -> list[IPv4Address]:
    servers = map(_nameserver, config.splitlines())
    return [server for server in servers if isinstance(server, IPv4Address)]


def _host_config() -> str:
    config = _read(_HOST)
    servers = [server for line in config.splitlines() if (server := _nameserver(line))]
    if all(server.is_loopback for server in servers):
        return _read(_BEHIND_THE_STUB) or config
    return config


def _is_reachable(server: IPv4Address | IPv6Address, routes: Sequence[Route]) -> bool:
    return server.version == 4 and not any(route.is_local and server in route.destination for route in routes)


def _nameserver(line: str) -> IPv4Address | IPv6Address | None:
    match line.split():
        case ["nameserver", address, *_]:
            try:
                return ip_address(address)
            except ValueError:
                return None
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
