"""A Lambent server of its own for a test: real process, real sandboxes, real HTTP, gone at the end."""

from __future__ import annotations

import http.client
import io
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # Any: botocore's clients are made at run time and have no types

import botocore.config
import botocore.session

ROLE = "arn:aws:iam::000000000000:role/lambda-role"
_SPARE_SANDBOXES = 16
"""Fewer than by default: a test's server is gone before it could need them."""


@dataclass(slots=True)
class RunningService:
    """A server that answers at `endpoint_url`; `process` is its main process, `log` its own log."""

    endpoint_url: str
    data_dir: Path
    process: subprocess.Popen[bytes]
    log: Path

    def client(
        self,
        service: str = "lambda",
        *,
        access_key: str = "test",
        secret_key: str = "test",
        session_token: str | None = None,
    ) -> Any:
        """A botocore client of this server that never retries, so that each test sees each answer."""
        config = botocore.config.Config(
            retries={"total_max_attempts": 1}, read_timeout=120, max_pool_connections=64, parameter_validation=True
        )
        return botocore.session.get_session().create_client(
            service,
            region_name="us-east-1",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            aws_session_token=session_token,
            config=config,
        )

    def environment(self) -> dict[str, str]:
        """Environment variables for a command-line client of this server."""
        return {
            **os.environ,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_PAGER": "",
        }

    def stop(self, *, timeout_s: float = 30.0) -> int:
        """SIGTERM, then wait for the drain to end; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running_service(
    data_dir: Path,
    *arguments: str,
    within: Sequence[str] = (),
    ready_timeout_s: float = 60.0,
    spare_sandboxes: int | None = _SPARE_SANDBOXES,
) -> Iterator[RunningService]:
    """Start `lambent serve` on a free loopback port over `data_dir`, and stop it at the end.

    `within` is what comes before the command, and ends by executing it. `spare_sandboxes` None: as by default.
    """
    service = start_service(
        data_dir, *arguments, within=within, ready_timeout_s=ready_timeout_s, spare_sandboxes=spare_sandboxes
    )
    try:
        yield service
    finally:
        if service.process.poll() is None:
            try:
                service.stop()
            except subprocess.TimeoutExpired:
                service.kill()
                raise


def start_service(
    data_dir: Path,
    *arguments: str,
    within: Sequence[str] = (),
    ready_timeout_s: float = 60.0,
    spare_sandboxes: int | None = _SPARE_SANDBOXES,
) -> RunningService:
    """As `running_service`, but stopping it is the caller's."""
    port = _free_port()
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir.parent / f"{data_dir.name}.log"
    command = [sys.executable, "-m", "lambent", "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", str(data_dir)]
    if spare_sandboxes is not None:
        command += ["--spare-sandboxes", str(spare_sandboxes)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*within, *command, *arguments], stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    service = RunningService(f"http://127.0.0.1:{port}", data_dir, process, log)
    _wait_until_ready(service, port, ready_timeout_s)
    return service


def _wait_until_ready(service: RunningService, port: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and service.process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/_lambent/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.02)
        finally:
            connection.close()
    status = service.process.poll()
    service.kill()
    raise RuntimeError(
        f"lambent serve did not become ready (exit status {status}); its log:\n{service.log.read_text()}"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_zip(files: Mapping[str, str | bytes], *, executable: tuple[str, ...] = ()) -> bytes:
    """A deployment package: world-readable files, those in `executable` runnable."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o755 if name in executable else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


def deploy(client: Any, name: str, code: str | bytes | Mapping[str, str | bytes], **parameters: Any) -> str:
    """Create a Python function (or what `parameters` say), wait until it is Active, and return its name.

    `code` is the text of app.py, a whole zip, or files by name. It has half a processor, for with 128 MB, and a
    fourteenth, a test would wait for its share more than for anything else.
    """
    if isinstance(code, str):
        code = {"app.py": code}
    package = code if isinstance(code, bytes) else make_zip(code)
    request = {
        "Runtime": "python3.11",
        "Role": ROLE,
        "Handler": "app.handler",
        "MemorySize": 1024,
        "Code": {"ZipFile": package},
    }
    client.create_function(FunctionName=name, **{**request, **parameters})
    waiter = client.get_waiter("function_active_v2")
    waiter.wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 400})
    return name
