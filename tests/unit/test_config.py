"""What `lambent serve` may be told, and what it refuses before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from lambent.config import (
    Auth,
    InvalidConfiguration,
    Isolation,
    ServeOptions,
    parse_brokers,
    parse_duration_s,
    parse_endpoints,
    parse_listen,
    parse_secrets,
    parse_size_bytes,
    spare_sandboxes,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:9400", ("127.0.0.1", 9400)), ("[::1]:80", ("::1", 80)), ("localhost:0", ("localhost", 0))],
)
def test_an_address_is_a_host_and_a_port(text: str, expected: tuple[str, int]) -> None:
    assert parse_listen(text) == expected


@pytest.mark.parametrize("text", ["", "9400", ":9400", "host:", "host:x", "host:65536", "host:-1", "host:²"])
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(InvalidConfiguration, match="HOST:PORT"):
        parse_listen(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("10m", 600.0), ("1.5h", 5400.0), ("250ms", 0.25), ("1d", 86400.0), (" 5s ", 5.0)],
)
def test_a_duration_is_seconds_unless_it_has_a_unit(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-1", "10 minutes", "1e3", "nan", "inf"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidConfiguration, match="10m"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("0", 0), ("512", 512), ("1kb", 1_024), ("1.5MB", 1_572_864), ("75GB", 80_530_636_800)]
)
def test_a_size_is_bytes_unless_it_has_a_unit(text: str, size_bytes: int) -> None:
    assert parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "much", "-1", "1 GiB", "GB"])
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(InvalidConfiguration, match="a size must be"):
        parse_size_bytes(text)


def test_endpoints_are_read_by_service() -> None:
    pairs = ["s3=http://127.0.0.1:9000", "*=https://aws.example"]
    assert parse_endpoints(pairs) == {"s3": "http://127.0.0.1:9000", "*": "https://aws.example"}


@pytest.mark.parametrize(
    "pair", ["s3", "s3=", "s3=127.0.0.1:9000", "s3=ftp://x", "lambda=http://x", "S3=http://x", "=http://x"]
)
def test_an_endpoint_that_would_be_ignored_is_refused(pair: str) -> None:
    with pytest.raises(InvalidConfiguration, match="--endpoint"):
        parse_endpoints([pair])


CLUSTER = "arn:aws:kafka:us-east-1:000000000000:cluster/orders/1"
BROKER = "arn:aws:mq:us-east-1:000000000000:broker:orders:b-1"


def test_brokers_are_read_by_arn() -> None:
    addresses = {CLUSTER: "kafka-1:9092,[::1]:9093", BROKER: "amqps://127.0.0.1:5671"}
    assert parse_brokers(f"{arn}={address}" for arn, address in addresses.items()) == addresses


@pytest.mark.parametrize(
    "pair", [CLUSTER, f"{CLUSTER}=", f"{CLUSTER}=kafka-1", f"{CLUSTER}=amqp://x:1", f"{BROKER}=x:1", "kafka-1:9092"]
)
def test_a_broker_that_would_be_ignored_is_refused(pair: str) -> None:
    with pytest.raises(InvalidConfiguration, match="--broker"):
        parse_brokers([pair])


def test_secrets_are_files_by_name() -> None:
    assert parse_secrets(["login=/run/secrets/kafka.json"]) == {"login": Path("/run/secrets/kafka.json")}
    with pytest.raises(InvalidConfiguration, match="--secret"):
        parse_secrets(["login"])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_other_machines_are_let_in_only_with_a_signature(host: str) -> None:
    with pytest.raises(InvalidConfiguration, match="--auth enforce"):
        ServeOptions(listen_host=host)

    assert ServeOptions(listen_host=host, auth=Auth.ENFORCE).listen_host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_signature(host: str) -> None:
    assert ServeOptions(listen_host=host).auth is Auth.OPEN


def test_other_machines_are_never_let_in_without_isolation() -> None:
    with pytest.raises(InvalidConfiguration, match="--isolation process"):
        ServeOptions(listen_host="0.0.0.0", auth=Auth.ENFORCE, isolation=Isolation.PROCESS)


def test_environments_live_longer_than_no_time() -> None:
    with pytest.raises(InvalidConfiguration, match="--idle-timeout"):
        ServeOptions(idle_timeout_s=0)


@pytest.mark.parametrize(("memory_gib", "count"), [(1, 10), (8, 85), (24, 256), (1024, 256)])
def test_a_32nd_of_the_memory_holds_what_stands_ready(memory_gib: int, count: int) -> None:
    assert spare_sandboxes(memory_gib * 2**30) == count
