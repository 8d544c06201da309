"""RabbitMQ for tests: Debian's, as a process of its own on loopback, with its data in a directory of the test's."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server_programs import Absent, ServerProgram, free_ports, program

USER, PASSWORD = "reader", "secret-of-the-reader"
VIRTUAL_HOST = "shop"
_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


@dataclass(frozen=True, slots=True)
class RabbitMq:
    """`address` is for Lambent; `url` names the user, the password and the virtual host too."""

    port: int

    @property
    def address(self) -> str:
        return f"amqp://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"amqp://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{VIRTUAL_HOST}"


@contextmanager
def rabbitmq(directory: Path) -> Iterator[RabbitMq]:
    """Raises Absent."""
    if not _SERVER.exists():
        raise Absent("there is no rabbitmq-server")
    directory.mkdir(parents=True, exist_ok=True)
    port, names, distribution = free_ports(3)
    (directory / "definitions.json").write_text(json.dumps(_definitions()))
    (directory / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{port}\n"
        f"load_definitions = {directory}/definitions.json\n"
        "consumer_timeout = 1800000\n"
    )
    (directory / "plugins").write_text("[].\n")
    environment = {
        "HOME": str(directory),
        "RUNNING_UNDER_SYSTEMD": "1",  # then no shell stays between us and it
        "RABBITMQ_NODENAME": f"lambent{port}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(directory / "data"),
        "RABBITMQ_LOG_BASE": str(directory),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        "ERL_EPMD_PORT": str(names),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }
    # Erlang's name server: one that RabbitMQ starts would outlive it.
    naming = ServerProgram(
        name="epmd",
        command=[program("epmd")],
        port=names,
        log=directory / "epmd.log",
        environment=environment,
    )
    server = ServerProgram(
        name="RabbitMQ",
        command=[str(_SERVER)],
        port=port,
        log=directory / "rabbitmq.log",
        environment=environment,
        answers=_answers,
    )
    with naming, server:
        yield RabbitMq(port)


def _answers(connection: socket.socket) -> bool:
    connection.sendall(b"AMQP\x00\x00\x09\x01")
    return connection.recv(1) == b"\x01"


def _definitions() -> dict[str, object]:
    salt = b"salt"
    hashed = base64.b64encode(salt + hashlib.sha256(salt + PASSWORD.encode()).digest()).decode()
    hosts = ("/", VIRTUAL_HOST)
    allowed = {"configure": ".*", "write": ".*", "read": ".*"}
    return {
        "users": [
            {"name": USER, "password_hash": hashed, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ""}
        ],
        "vhosts": [{"name": host} for host in hosts],
        "permissions": [{"user": USER, "vhost": host, **allowed} for host in hosts],
    }
