"""Out through the network: by sockets of other kinds, to the host, to its neighbours, to what clouds hide nearby."""

from __future__ import annotations

from typing import Any

Found = dict[str, Any]


def test_of_all_kinds_of_sockets_only_local_and_ip_ones_are_had(found: Found) -> None:
    assert found["address_families"] == ["AF_INET", "AF_INET6", "AF_NETLINK", "AF_UNIX"]
    outcomes = found["other_sockets"]
    assert outcomes.pop("vsock_device") == "ENOENT"
    assert set(outcomes.values()) == {"EAFNOSUPPORT"}


def test_no_packet_is_forged(found: Found) -> None:
    assert set(found["raw_sockets"].values()) == {"EPERM", "EAFNOSUPPORT"}
    assert found["raw_sockets"]["packet_the_old_way"] == "EPERM"


def test_no_protocol_but_tcp_and_udp_is_spoken(found: Found) -> None:
    outcomes = found["transport_protocols"]
    assert outcomes.pop("kernel_tls") == "ENOENT"
    assert set(outcomes.values()) == {"EPROTONOSUPPORT", "EPERM"}


def test_of_netlink_only_the_question_for_interfaces_is_left(found: Found) -> None:
    assert found["netlink_families"] == [0]
    assert set(found["change_the_network"].values()) == {"Operation not permitted"}


def test_the_network_cannot_be_rearranged(found: Found) -> None:
    outcomes = found["move_an_interface"]
    assert outcomes.pop("tunnel") in ("EPERM", "ENOTSUP", "ENODEV")
    assert set(outcomes.values()) == {"EPERM"}


def test_the_hosts_loopback_is_another_one(found: Found) -> None:
    assert set(found["the_host"].values()) <= {"ECONNREFUSED", "ENETUNREACH"}
    assert found["the_host"]["127.0.0.1"] == "ECONNREFUSED"


def test_the_hosts_local_sockets_are_out_of_reach(found: Found) -> None:
    assert found["the_servers_sockets"] == {"names": [], "abstract": "ECONNREFUSED", "path": "ENOENT"}


def test_nothing_listens_inside_but_the_two_apis(found: Found) -> None:
    assert found["what_listens_here"] == [9001, 9002]


def test_cloud_metadata_is_out_of_reach(found: Found) -> None:
    assert set(found["cloud_metadata"].values()) == {"ENETUNREACH"}


def test_nobody_is_called_by_broadcast(found: Found) -> None:
    assert set(found["broadcast"].values()) == {"ENETUNREACH"}


def test_the_apis_addresses_cannot_be_taken_over(found: Found) -> None:
    assert found["bind_low_and_foreign"] == {
        "runtime_api": "EADDRINUSE",
        "runtime_api_everywhere": "EADDRINUSE",
        "foreign": "EADDRNOTAVAIL",
        "mark": "EPERM",
    }
