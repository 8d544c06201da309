"""RabbitMQ for tests: Debian's, as a process of its own on loopback, with its data in a directory of the test's."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

USER, PASSWORD = "reader", "secret-of-the-reader"
VIRTUAL_HOST = "shop"
_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class Absent(Exception):
    """It cannot be had on this host; the message says why."""


@dataclass(slots=True)
class RabbitMq:
    """`address` is for Lambent; `url` names the user, the password and the virtual host too."""

    port: int
    _environment: dict[str, str]
    _log: Path
    _process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"amqp://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"amqp://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{VIRTUAL_HOST}"

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(_SERVER)],
                env=self._environment,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(0.1)
        self.stop()
        raise Absent(f"RabbitMQ did not start:\n{self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"
        except OSError:
            return False


@contextmanager
def rabbitmq(directory: Path) -> Iterator[RabbitMq]:
    """Raises Absent."""
    if not _SERVER.exists():
        raise Absent("there is no rabbitmq-server")
    directory.mkdir(parents=True, exist_ok=True)
    port, names, distribution = _free_ports(3)
    (directory / "definitions.json").write_text(json.dumps(_definitions()))
    (directory / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{port}\n"
        f"load_definitions = {directory}/definitions.json\n"
        "consumer_timeout = 1800000\n"
    )
    (directory / "plugins").write_text("[].\n")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
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
    server = RabbitMq(port, environment, directory / "rabbitmq.log")
    # Erlang's name server: one that RabbitMQ starts would outlive it.
    with subprocess.Popen([shutil.which("epmd") or "epmd"], env=environment) as names_server:
        try:
            server.start()
            yield server
        finally:
            server.stop()
            names_server.kill()


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


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
