"""What sandboxes may reach, as nftables rules; and the host's forwarding switch. Each change is one `nft` transaction.

Two tables share the work. The router's knows the sandboxes: nobody uses another's address, nobody talks to a neighbour.
The host's knows the world: what is closed, under which address the rest is visited. Both let nobody speak to a sandbox
first.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from lambent.model.errors import PlatformError

PREFIX = "lambent-"
"""Every interface and table of ours on a host starts so."""

FLOWS_PER_SANDBOX = 8_192
"""Connections of one sandbox tracked at a time: the kernel's table of them is shared with the host."""

_NEVER = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
_PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15")
_FORWARDING = f"{PREFIX}forwarding"
_FORWARDING_SWITCH = Path("/proc/sys/net/ipv4/ip_forward")


def router_rules(name: str, uplink: str) -> str:
    """For the router's namespace, where each sandbox is alone behind one interface with one route to it.

    `fib … oif missing`: a packet must come in where an answer to its source address would go out.
    """
    return _replaced(
        name,
        f"""
        set flows {{ type ipv4_addr; size 65535; flags dynamic; }}
        chain arriving {{
            type filter hook prerouting priority raw; policy accept;
            fib saddr . iif oif missing drop
        }}
        chain for_the_router {{
            type filter hook input priority filter; policy drop;
            reject with icmpx admin-prohibited
        }}
        chain passing {{
            type filter hook forward priority filter; policy drop;
            ct state established,related accept
            ct state invalid drop
            oifname != "{uplink}" reject with icmpx admin-prohibited
            add @flows {{ ip saddr ct count over {FLOWS_PER_SANDBOX} }} drop
            accept
        }}
        """,
    )


def host_rules(uplink: str, block: IPv4Network, nameservers: Iterable[IPv4Address], *, closes_private: bool) -> str:
    """For the host's namespace. `raw` comes before any redirection by others: closed is what the sandbox asked for.

    The host's nameservers answer on port 53 even from a closed range: in most networks they are private addresses, on
    some clouds link-local ones.
    """
    closed = ", ".join([*_NEVER, *(_PRIVATE if closes_private else ()), str(block)])
    names = ", ".join(map(str, nameservers))
    dns = f"ip daddr {{ {names} }} meta l4proto {{ tcp, udp }} th dport 53 accept" if names else ""
    return _replaced(
        uplink,
        f"""
        set closed {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {closed} }} }}
        chain from_sandboxes {{
            type filter hook prerouting priority raw; policy accept;
            iifname != "{uplink}" accept
            meta nfproto ipv6 drop
            ip saddr != {block} drop
            fib daddr type != unicast reject with icmpx admin-prohibited
            {dns}
            ip daddr @closed reject with icmpx admin-prohibited
        }}
        chain passing {{
            type filter hook forward priority filter; policy accept;
            oifname "{uplink}" ct state new reject with icmpx admin-prohibited
        }}
        chain from_the_host {{
            type filter hook output priority filter; policy accept;
            oifname "{uplink}" ct state new reject with icmpx admin-prohibited
        }}
        chain to_outside {{
            type nat hook postrouting priority srcnat; policy accept;
            ip saddr {block} oifname != "{uplink}" masquerade
        }}
        """,
    )


def apply(rules: str) -> None:
    """Have the kernel take all the rules or none.

    Raises:
        PlatformError: `nft` or a kernel feature is missing; the message says which.
    """
    done = _nft("-f", "-", rules=rules)
    if done.returncode != 0:
        raise PlatformError(
            f"the kernel refused the sandboxes' firewall: {done.stderr.strip()}. It needs nf_tables with fib, ct, "
            "connlimit, reject and masquerade (CONFIG_NFT_*), and CAP_NET_ADMIN; or serve with --egress none"
        )


def remove(table: str) -> None:
    if table in tables():
        apply(f"delete table inet {table}")


def tables() -> set[str]:
    """Names of our tables in this namespace; none where `nft` is missing or not permitted, for then we made none."""
    if find_nft() is None:
        return set()
    listed = [line.split() for line in _nft("list", "tables").stdout.splitlines()]
    return {name for _, family, name in listed if family == "inet" and name.startswith(PREFIX)}


def blocking_chains() -> list[str]:
    """Chains of other firewalls on this host that drop what is forwarded unless told otherwise (Docker, ufw)."""
    chains = _listed("chain", "chains")
    return [
        f"{chain['family']} {chain['table']} {chain['name']}"
        for chain in chains
        if chain.get("hook") == "forward" and chain.get("policy") == "drop" and not chain["table"].startswith(PREFIX)
    ]


def enable_forwarding() -> None:
    """Let the host pass packets on. Where it did not before, its own interfaces still do not among each other.

    The table that keeps them apart is also the memory that the switch was ours, for us and for a successor.
    """
    if _FORWARDING_SWITCH.read_text().strip() == "1":
        return
    names = ", ".join(f'"{name}"' for name in sorted(_foreign_interfaces()))
    apply(
        _replaced(
            _FORWARDING,
            f"""
            set interfaces {{ type ifname; elements = {{ {names} }} }}
            chain passing {{
                type filter hook forward priority filter; policy accept;
                iifname @interfaces oifname @interfaces drop
            }}
            """,
        )
    )
    _switch_forwarding(on=True)


def restore_forwarding() -> None:
    """Undo `enable_forwarding` when the last of our tables is gone.

    Interfaces that have come since (a container bridge, a tunnel) may rely on forwarding: then it stays on.
    """
    if tables() != {_FORWARDING}:
        return
    (kept_apart,) = _listed("set", "set", "inet", _FORWARDING, "interfaces")
    if _foreign_interfaces() <= set(kept_apart["elem"]):
        _switch_forwarding(on=False)
    remove(_FORWARDING)


def find_nft() -> str | None:
    return shutil.which("nft") or shutil.which("nft", path="/usr/sbin:/sbin")


def _listed(kind: str, *what: str) -> list[dict[str, Any]]:
    """Objects of one kind as nft's JSON describes them (libnftables-json(5)), hence `Any`."""
    done = _nft("-j", "list", *what)
    if done.returncode != 0:
        raise PlatformError(f"nft cannot list the host's {kind}s: {done.stderr.strip()}")
    return [item[kind] for item in json.loads(done.stdout)["nftables"] if kind in item]


def _switch_forwarding(*, on: bool) -> None:
    try:
        _FORWARDING_SWITCH.write_text("1" if on else "0")
    except OSError as exc:
        raise PlatformError(
            f"sandboxes need net.ipv4.ip_forward, which is {'off' if on else 'on'} and cannot be changed here "
            f"({exc.strerror}); run `sysctl -w net.ipv4.ip_forward=1`, or serve with --egress none"
        ) from exc


def _foreign_interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex() if not name.startswith(PREFIX)}


def _replaced(table: str, body: str) -> str:
    """A transaction that ends with this table alone under its name, whatever was there before."""
    return f"table inet {table}\ndelete table inet {table}\ntable inet {table} {{{body}}}\n"


def _nft(*arguments: str, rules: str | None = None) -> subprocess.CompletedProcess[str]:
    program = find_nft()
    if program is None:
        raise PlatformError(
            "the sandboxes' firewall needs the program nft, which is not installed; run `apt-get install nftables`, "
            "or serve with --egress none"
        )
    return subprocess.run([program, *arguments], input=rules, capture_output=True, text=True, check=False)
