"""Out through the network: by sockets of other kinds, to the host, to its neighbours, to what clouds hide nearby."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from containment_target import addresses_of_this_host

from lambent.testing.service import deploy, running_service
from lambent.worker.sandbox.network import probe_egress

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


OUTWARDS = """
import fcntl, os, socket, struct
def own_address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        packed = fcntl.ioctl(probe, 0x8915, struct.pack("256s", b"eth0"))
    return socket.inet_ntoa(packed[20:24])
def connect(address, port):
    try:
        socket.create_connection((address, port), 2).close()
        return "connected"
    except OSError as error:
        return type(error).__name__ if error.errno is None else os.strerror(error.errno)
def handler(event, context):
    if event == "listen":
        globals()["kept"] = socket.create_server(("0.0.0.0", 8080))
        return own_address()
    first, second, *_ = own_address().split(".")
    gateways = [f"{first}.{second}.0.{host}" for host in (1, 2)]
    return {f"{address}:{port}": connect(address, port) for address, port in [*event, *((one, 22) for one in gateways)]}
"""


@pytest.mark.skipif(not probe_egress()[0], reason="this host gives sandboxes no way out")
def test_with_a_way_out_the_host_its_neighbours_and_what_clouds_hide_are_still_out_of_reach(tmp_path: Path) -> None:
    """Asked on the wire that leads to the world, where the server listens on every address of the host."""
    with (
        socket.create_server(("0.0.0.0", 0)) as of_the_host,
        running_service(tmp_path / "data", "--egress", "open") as service,
    ):
        client = service.client("lambda")
        neighbour, attacker = [deploy(client, name, OUTWARDS, Timeout=60) for name in ("neighbour", "attacker")]

        def invoke(name: str, event: Any) -> Any:
            return json.loads(client.invoke(FunctionName=name, Payload=json.dumps(event))["Payload"].read())

        port = of_the_host.getsockname()[1]
        places = [(invoke(neighbour, "listen"), 8080), ("169.254.169.254", 80), ("169.254.170.2", 80)]
        places += [(address, port) for address in addresses_of_this_host()]

        outcomes = invoke(attacker, places)

    assert len(outcomes) > len(places)
    assert set(outcomes.values()) <= {"No route to host", "Permission denied", "Network is unreachable"}, outcomes
