"""Servers for tests, run on loopback: got from Maven Central or npm once, and kept in the user's cache."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lambent-tests"
_GET_S = 300
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>lambent</groupId><artifactId>server-for-tests</artifactId><version>1</version>
<dependencies><dependency>
<groupId>{0}</groupId><artifactId>{1}</artifactId><version>{2}</version>
</dependency></dependencies></project>
"""


class Absent(Exception):
    """It cannot be had on this host; the message says why."""


@contextmanager
def or_skip(name: str) -> Iterator[None]:
    """Skip what needs a server that is absent."""
    try:
        yield
    except Absent as error:
        pytest.skip(f"no {name}: {error}")


@dataclass(slots=True, kw_only=True)
class ServerProgram:
    """It answers at `port` once `start` has returned, and ends with the test run, however that ends."""

    name: str
    command: Sequence[str]
    port: int
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside our own."""
    answers: Callable[[socket.socket], bool] = lambda connection: True
    """Whether it does what it is there for, by a connection that has been made."""
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Raises Absent."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*_ends_with_us(), *self.command],
                env=os.environ | self.environment,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._is_ready():
                return
            time.sleep(0.05)
        self.stop()
        raise Absent(f"{self.name} did not start:\n{self.log.read_text()[-2000:]}")

    def _is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                return self.answers(connection)
        except OSError:
            return False

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It holds its connections and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def program(name: str) -> str:
    """Where it lies. Raises Absent."""
    found = shutil.which(name)
    if found is None:
        raise Absent(f"there is no {name}")
    return found


def jars(artifact: str) -> Path:
    """The directory with `group:name:version` and all that it needs. Raises Absent."""
    group, name, version = artifact.split(":")

    def get(target: Path) -> None:
        target.mkdir()
        (target / "pom.xml").write_text(_POM.format(group, name, version))
        copy = ["dependency:copy-dependencies", f"-DoutputDirectory={target}/jars"]
        _run([program("mvn"), "-q", "-B", "-f", str(target / "pom.xml"), *copy])

    return _kept(f"{name}-{version}", get) / "jars"


def node_package(name: str, version: str) -> Path:
    """The directory of a package of npm's. Raises Absent."""

    def get(target: Path) -> None:
        options = ["--prefix", str(target), "--ignore-scripts", "--no-audit", "--no-fund"]
        _run([program("npm"), "install", *options, f"{name}@{version}"])

    return _kept(f"{name}-{version}", get) / "node_modules" / name


def _kept(name: str, get: Callable[[Path], None]) -> Path:
    """The directory of that name in the cache, as `get` has made it, now or in an earlier run."""
    directory = _CACHE / name
    if not directory.is_dir():
        _CACHE.mkdir(parents=True, exist_ok=True)
        target = _CACHE / f"{name}.{os.getpid()}"
        try:
            get(target)
            if not directory.is_dir():  # another run may have been quicker
                target.rename(directory)
        finally:
            shutil.rmtree(target, ignore_errors=True)
    return directory


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_GET_S)
    except subprocess.TimeoutExpired as error:
        raise Absent(f"{command[0]} took longer than {_GET_S} s") from error
    if done.returncode:
        raise Absent(f"{command[0]} could not get it: {(done.stdout + done.stderr)[-300:]}")


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _ends_with_us() -> Sequence[str]:
    """A run that is killed stops nothing itself."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL") if setpriv else ()
