"""Lambent under measure: a server of its own, every request signed and checked, every log line written."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil

from benchmarks.load import Load, Measured, run
from lambent.iam.sigv4 import Credential, sign
from lambent.testing.service import ROLE, RunningService, deploy, running_service

HELLO = "def handler(event, context):\n    return event\n"
SLEEPER = "import time\ndef handler(event, context):\n    time.sleep(1)\n"

_EVENT = b'{"key":"value"}'
_LAMBDA_MAY_ASSUME = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


@dataclass(slots=True)
class Target:
    """A running server and the key that it accepts."""

    service: RunningService
    credential: Credential

    @property
    def client(self) -> Any:
        return self.service.client(access_key=self.credential.access_key_id, secret_key=self.credential.secret)

    def deploy(self, name: str, code: str, **parameters: Any) -> None:
        deploy(self.client, name, code, **parameters)

    def request(self, function: str, *, is_event: bool = False) -> str:
        """A signed Invoke as it goes over the wire."""
        host = urllib.parse.urlsplit(self.service.endpoint_url).netloc
        path = f"/2015-03-31/functions/{function}/invocations"
        headers = {"host": host, "content-length": str(len(_EVENT))}
        if is_event:
            headers["x-amz-invocation-type"] = "Event"
        signed = sign(
            self.credential,
            method="POST",
            raw_path=path,
            query="",
            headers=headers,
            body=_EVENT,
            region="us-east-1",
            service="lambda",
            now=time.time(),
        )
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, **signed}.items())
        return f"POST {path} HTTP/1.1\r\n{lines}\r\n{_EVENT.decode()}"

    def load(self, *functions: str, connections: int, count: int, warmup: int = 0, is_event: bool = False) -> Measured:
        """Invoke the functions in turn."""
        port = int(self.service.endpoint_url.rsplit(":", 1)[1])
        return run(
            Load(
                host="127.0.0.1",
                port=port,
                requests=tuple(self.request(function, is_event=is_event) for function in functions),
                connections=connections,
                count=count,
                warmup=warmup,
                status=202 if is_event else 200,
            )
        )

    def cold(self, count: int) -> list[float]:
        """Seconds from request to answer of functions that were never invoked, sorted."""
        names = [f"cold-{number}" for number in range(count)]
        for name in names:
            self.deploy(name, HELLO)
        return self.load(*names, connections=1, count=count).latencies_s

    def cpu_s(self) -> float:
        """CPU seconds that the server and everything below it have used so far."""
        return sum(sum(process.cpu_times()[:4]) for process in self.processes())

    def processes(self) -> Sequence[psutil.Process]:
        server = psutil.Process(self.service.process.pid)
        return [server, *server.children(recursive=True)]

    def environment_memory_mib(self) -> tuple[float, float]:
        """PSS and private memory of one idle environment: its PID 1 and its runtime, the average of all."""
        sandboxd = psutil.Process(self.service.process.pid).children()[0]
        inits = sandboxd.children()
        processes = [process for init in inits for process in (init, *init.children(recursive=True))]
        maps = [process.memory_full_info() for process in processes]
        return (
            sum(one.pss for one in maps) / len(inits) / 2**20,
            sum(one.uss for one in maps) / len(inits) / 2**20,
        )


@contextmanager
def target(data_dir: Path) -> Iterator[Target]:
    # Ten requests a second are let in for each unit of concurrency; the machine shall be the limit, not the account.
    with running_service(data_dir, "--auth", "enforce", "--account-concurrency", "100000") as service:
        key = msgspec.json.decode((data_dir / "root-key.json").read_bytes())
        iam = service.client("iam", access_key=key["access_key_id"], secret_key=key["secret_access_key"])
        if not iam.list_roles()["Roles"]:  # the data directory may have been served before
            iam.create_role(RoleName=ROLE.rpartition("/")[2], AssumeRolePolicyDocument=_LAMBDA_MAY_ASSUME)
        yield Target(service, Credential(key["access_key_id"], key["secret_access_key"]))
