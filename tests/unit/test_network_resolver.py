"""Which lines of the host's resolv.conf reach a sandbox."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from lambent.worker.sandbox import resolver
from lambent.worker.sandbox.netlink import Route
from lambent.worker.sandbox.resolver import nameservers, reachable_config

ROUTES = [
    Route(destination=IPv4Network("127.0.0.0/8"), is_local=True),
    Route(destination=IPv4Network("192.0.2.2/32"), is_local=True),
    Route(destination=IPv4Network("192.0.2.0/24"), is_local=False),
]


def test_everything_but_unreachable_nameservers_is_kept() -> None:
    config = "# made by dhcp\nsearch corp.example\nnameserver 192.0.2.53\noptions ndots:1\n"

    assert reachable_config(config, ROUTES) == config


@pytest.mark.parametrize("address", ["127.0.0.53", "192.0.2.2", "::1", "2001:db8::53", "fe80::1%eth0"])
def test_a_nameserver_on_the_host_or_on_ipv6_is_left_out_with_a_warning(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert reachable_config(f"nameserver {address}\nnameserver 10.0.0.2\n", ROUTES) == "nameserver 10.0.0.2\n"
    assert [record.__dict__["nameserver"] for record in caplog.records] == [address]


def test_a_stub_on_loopback_is_replaced_by_the_servers_it_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub, behind = tmp_path / "resolv.conf", tmp_path / "behind.conf"
    stub.write_text("nameserver 127.0.0.53\n")
    behind.write_text("nameserver 10.0.0.2\n")
    monkeypatch.setattr(resolver, "_HOST", stub)
    monkeypatch.setattr(resolver, "_BEHIND_THE_STUB", behind)

    assert resolver.resolver_config() == "nameserver 10.0.0.2\n"


def test_only_ipv4_addresses_are_nameservers() -> None:
    config = "nameserver 10.0.0.2\nnameserver ::1\nnameserver nonsense\nnameserver\n#nameserver 10.0.0.3\n"

    assert nameservers(config) == [IPv4Address("10.0.0.2")]
