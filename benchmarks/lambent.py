"""Lambent under measure: a server of its own, every request signed and checked, every log line written."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil

from benchmarks.backing import back
from benchmarks.load import Load, Measured, run
from lambent.iam.sigv4 import Credential, sign
from lambent.testing.service import ROLE, RunningService, deploy, running_service

HELLO = "def handler(event, context):\n    return event\n"
USES_SDK = "import boto3\ndef handler(event, context):\n    return event\n"
SLEEPER = "import time\ndef handler(event, context):\n    time.sleep(1)\n"

_SETTLE_S = 2.0
_UNCHANGED_S = 1.0
_CLEARED_S = 30.0
TOUCHED_MIB = 8
"""By all that a cold start makes: the environment, and what is made for the next."""
INVOKE = "/2015-03-31/functions/{}/invocations"
INVOKE_WITH_RESPONSE_STREAM = "/2021-11-15/functions/{}/response-streaming-invocations"

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

    def settle(self) -> None:
        """Wait until what was started for the first function of a runtime is ready, and all stands ready that shall."""
        time.sleep(_SETTLE_S)
        self._wait_until_unchanged(lambda: True)

    def deploy(self, name: str, code: str | bytes | Mapping[str, str], **parameters: Any) -> None:
        """With AWS's default of 128 MB, and its share of a processor, unless told otherwise."""
        deploy(self.client, name, code, **{"MemorySize": 128, **parameters})

    @property
    def port(self) -> int:
        return int(self.service.endpoint_url.rsplit(":", 1)[1])

    def request(self, function: str, event: bytes = _EVENT, *, operation: str = INVOKE, is_event: bool = False) -> str:
        """A signed Invoke, or InvokeWithResponseStream, as it goes over the wire."""
        host = urllib.parse.urlsplit(self.service.endpoint_url).netloc
        path = operation.format(function)
        headers = {"host": host, "content-length": str(len(event))}
        if is_event:
            headers["x-amz-invocation-type"] = "Event"
        signed = sign(
            self.credential,
            method="POST",
            raw_path=path,
            query="",
            headers=headers,
            body=event,
            region="us-east-1",
            service="lambda",
            now=time.time(),
        )
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, **signed}.items())
        return f"POST {path} HTTP/1.1\r\n{lines}\r\n{event.decode()}"

    def load(self, *functions: str, connections: int, count: int, warmup: int = 0, is_event: bool = False) -> Measured:
        """Invoke the functions in turn."""
        return run(
            Load(
                host="127.0.0.1",
                port=self.port,
                requests=tuple(self.request(function, is_event=is_event) for function in functions),
                connections=connections,
                count=count,
                warmup=warmup,
                status=202 if is_event else 200,
            )
        )

    def cold(
        self,
        prefix: str,
        code: str | Mapping[str, str],
        count: int,
        *,
        pause_s: float = 0.0,
        told: AbstractContextManager[None],
        **parameters: Any,
    ) -> list[float]:
        """Seconds from request to answer of functions that were never invoked, sorted. All have the same code.

        With a pause before each, what stands ready is made anew meanwhile; without, they also measure how fast.
        `told` is entered while it is measured.
        """
        names = [f"{prefix}-{number}" for number in range(count)]
        for name in [f"{prefix}-first", *names]:
            self.deploy(name, code, **parameters)
        self.settle()
        back(count * TOUCHED_MIB)
        try:
            with told:
                if not pause_s:
                    return self.load(*names, connections=1, count=count).latencies_s
                return sorted(self._cold_after(pause_s, name) for name in names)
        finally:
            self.remove(f"{prefix}-first", *names)

    def _cold_after(self, pause_s: float, name: str) -> float:
        time.sleep(pause_s)
        return self.load(name, connections=1, count=1).latencies_s[0]

    def remove(self, *names: str) -> None:
        """Delete functions, wait until their environments are gone and all that shall stand ready does."""
        client = self.client
        for name in names:
            client.delete_function(FunctionName=name)
        self._wait_until_unchanged(lambda: not self.environments())

    def _wait_until_unchanged(self, is_cleared: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _CLEARED_S
        last: set[int] = set()
        while time.monotonic() < deadline:
            processes = {one.pid for one in self.first_processes()}
            if processes == last and is_cleared():
                return
            last = processes
            time.sleep(_UNCHANGED_S)

    def standing(self) -> int:
        """How many sandboxes stand ready."""
        return len(self.first_processes()) - self.environments()

    def environments(self) -> int:
        """How many there are, whatever stands ready beside them."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_lambent/worker") as answer:
            return int(json.load(answer)["environments"])

    def cpu_s(self) -> float:
        """CPU seconds that the server and everything below it have used so far.

        Whoever has ended meanwhile is in its parent's account.
        """
        return sum(_cpu_s(process) for process in self.processes())

    def processes(self) -> Sequence[psutil.Process]:
        server = psutil.Process(self.service.process.pid)
        return [server, *server.children(recursive=True)]

    def first_processes(self) -> Sequence[psutil.Process]:
        """PID 1 of each sandbox."""
        sandboxd = psutil.Process(self.service.process.pid).children()[0]
        return [child for child in sandboxd.children() if _name(child) not in _NO_SANDBOXES]


_NO_SANDBOXES = ("lambent-plain", "lambent-zygote")


def _cpu_s(process: psutil.Process) -> float:
    try:
        return float(sum(process.cpu_times()[:4]))
    except psutil.NoSuchProcess:
        return 0.0


def _name(process: psutil.Process) -> str | None:
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """In MiB. An environment is its PID 1 and its runtime; `shared_mib` counts a part of what it shares (PSS)."""

    server_mib: float
    shared_mib: float
    private_mib: float


def memory(data_dir: Path, count: int) -> Memory:
    """Of a server without functions, and of idle environments of the simplest one."""
    with running_service(data_dir, "--egress", "none", spare_sandboxes=0) as service:
        time.sleep(_SETTLE_S)
        server = psutil.Process(service.process.pid)
        idle = [one.memory_full_info().pss for one in (server, *server.children(recursive=True))]
        client = service.client()
        names = [deploy(client, f"hello-{number}", HELLO, MemorySize=128) for number in range(count)]
        time.sleep(_SETTLE_S)
        for name in names:
            client.invoke(FunctionName=name, Payload=_EVENT)["Payload"].read()
        inits = Target(service, Credential("", "")).first_processes()
        inside = [one.memory_full_info() for init in inits for one in (init, *init.children(recursive=True))]
    return Memory(
        server_mib=sum(idle) / 2**20,
        shared_mib=sum(one.pss for one in inside) / len(inits) / 2**20,
        private_mib=sum(one.uss for one in inside) / len(inits) / 2**20,
    )


def start_s(data_dir: Path) -> float:
    """Seconds from the start of a server until it is ready."""
    started = time.perf_counter()
    with running_service(data_dir, spare_sandboxes=None):
        return time.perf_counter() - started


@contextmanager
def target(data_dir: Path) -> Iterator[Target]:
    # Ten requests a second are let in for each unit of concurrency; the machine shall be the limit, not the account.
    limits = ("--account-concurrency", "100000")
    with running_service(data_dir, "--auth", "enforce", *limits, spare_sandboxes=None) as service:
        key = msgspec.json.decode((data_dir / "root-key.json").read_bytes())
        iam = service.client("iam", access_key=key["access_key_id"], secret_key=key["secret_access_key"])
        if not iam.list_roles()["Roles"]:  # the data directory may have been served before
            iam.create_role(RoleName=ROLE.rpartition("/")[2], AssumeRolePolicyDocument=_LAMBDA_MAY_ASSUME)
        yield Target(service, Credential(key["access_key_id"], key["secret_access_key"]))
