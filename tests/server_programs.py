"""Servers for tests, run on loopback: got from Maven Central or npm once, and kept in the user's cache."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lambent-tests"
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>lambent</groupId><artifactId>server-for-tests</artifactId><version>1</version>
<dependencies><dependency>
<groupId>{0}</groupId><artifactId>{1}</artifactId><version>{2}</version>
</dependency></dependencies></project>
"""


class Absent(Exception):
    """It cannot be had on this host; the message says why."""


@dataclass(slots=True, kw_only=True)
class ServerProgram:
    """It answers at `port` once `start` has returned, and ends with the test run, however that ends."""

    name: str
    command: Sequence[str]
    port: int
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside our own."""
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
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
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise Absent(f"{self.name} did not start:\n{self.log.read_text()[-2000:]}")

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
    """The directory with `group:name:version` and all that it needs.

    Raises:
        Absent: it is not in the cache, and cannot be got.
    """
    group, name, version = artifact.split(":")
    cache = _CACHE / f"{name}-{version}"
    if (found := cache / "jars").is_dir():
        return found
    maven = program("mvn")
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "pom.xml").write_text(_POM.format(group, name, version))
    target = cache / f"jars.{os.getpid()}"
    command = [maven, "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={target}"]
    done = subprocess.run(command, cwd=cache, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
    if done.returncode:
        shutil.rmtree(target, ignore_errors=True)
        raise Absent(f"mvn could not get {name}: {done.stdout[-300:]}")
    target.rename(found)
    return found


def node_package(name: str, version: str) -> Path:
    """The directory of a package of npm's.

    Raises:
        Absent: it is not in the cache, and cannot be got.
    """
    cache = _CACHE / f"{name}-{version}"
    if not cache.is_dir():
        npm = program("npm")
        _CACHE.mkdir(parents=True, exist_ok=True)
        target = _CACHE / f"{cache.name}.{os.getpid()}"
        command = [npm, "install", "--prefix", str(target), "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            [*command, f"{name}@{version}"], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300
        )
        if done.returncode:
            shutil.rmtree(target, ignore_errors=True)
            raise Absent(f"npm could not get {name}: {done.stderr[-300:]}")
        target.rename(cache)
    return cache / "node_modules" / name


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
