"""A peer: AWS's own runtime interface emulator with AWS's own Python client. It isolates nothing, signs nothing.

The emulator is taken from the aws-sam-cli wheel, where that provides it; both packages come from PyPI into a cache.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load import Load, Measured, run

CACHE = Path(__file__).parent / ".cache"
_BINARY = {"x86_64": "aws-lambda-rie-x86_64", "aarch64": "aws-lambda-rie-arm64"}
_EVENT = '{"key":"value"}'


class Unavailable(Exception):
    """The peer cannot run here; the message says why."""


def measure_warm(*, count: int) -> Measured:
    with _serving() as port:
        return run(_load(port, count=count, warmup=count // 10))


def measure_cold(count: int) -> list[float]:
    """Seconds from request to answer of emulators that just started, sorted."""
    latencies = []
    for _ in range(count):
        with _serving() as port:
            latencies += run(_load(port, count=1)).latencies_s
    return sorted(latencies)


def _load(port: int, *, count: int, warmup: int = 0) -> Load:
    path = "/2015-03-31/functions/function/invocations"
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(_EVENT)}\r\n\r\n"
    return Load(host="127.0.0.1", port=port, requests=(head + _EVENT,), connections=1, count=count, warmup=warmup)


def prepare() -> tuple[Path, Path]:
    """The emulator's binary and a directory with AWS's client and the hello function."""
    binary, packages = CACHE / "aws-lambda-rie", CACHE / "packages"
    if not binary.exists():
        _pip("download", "--no-deps", "--dest", str(CACHE / "wheels"), "aws-sam-cli")
        wheel = next((CACHE / "wheels").glob("aws_sam_cli-*.whl"))
        wanted = _BINARY.get(platform.machine(), "none")
        with zipfile.ZipFile(wheel) as archive:
            member = next((name for name in archive.namelist() if name.endswith(wanted)), None)
            if member is None:
                raise Unavailable(f"the aws-sam-cli wheel holds no {wanted}")
            with archive.open(member) as source, binary.open("wb") as copy:
                shutil.copyfileobj(source, copy)
        binary.chmod(0o755)
    if not packages.exists():
        _pip("install", "--target", str(packages), "awslambdaric")
        (packages / "app.py").write_text("def handler(event, context):\n    return event\n")
    return binary, packages


def _pip(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"pip {arguments[0]} failed: {done.stderr.strip().splitlines()[-1]}")


@contextmanager
def _serving() -> Iterator[int]:
    binary, packages = prepare()
    port, api_port = _free_port(), _free_port()
    process = subprocess.Popen(
        [
            str(binary),
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{port}",
            "--runtime-api-address",
            f"127.0.0.1:{api_port}",
            "--log-level",
            "error",
            sys.executable,
            "-m",
            "awslambdaric",
            "app.handler",
        ],
        cwd=packages,
        env={**os.environ, "PYTHONPATH": str(packages)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(port)
        yield port
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.005)
    raise Unavailable("the emulator did not start")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
