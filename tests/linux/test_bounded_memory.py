"""A server in a control group that may hold less memory than the machine has: a service manager's, a container's."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lambent.testing.service import deploy, running_service
from lambent.worker.sandbox.cgroups import Controller, own_trees

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root")

MIB = 1024 * 1024
INTO_THE_GROUP = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


@pytest.fixture
def group() -> Iterator[Path]:
    """A group beside us, whose memory is counted."""
    tree = next((tree for tree in own_trees() if tree.serves(Controller.MEMORY)), None)
    if tree is None:
        pytest.skip("no control groups count memory here")
    made = tree.directory / f"bounded-{os.getpid()}"
    made.mkdir()
    try:
        if not limit_file(made).exists():
            pytest.skip("memory is not counted below our own group")
        yield made
    finally:
        made.rmdir()


def limit_file(group: Path) -> Path:
    return next((path for path in group.iterdir() if path.name in ("memory.max", "memory.limit_in_bytes")), group / "-")


def test_environments_are_let_in_by_what_the_group_may_hold(tmp_path: Path, group: Path) -> None:
    limit_file(group).write_text(str(400 * MIB))
    within = ("sh", "-c", INTO_THE_GROUP, str(group))
    with running_service(tmp_path / "data", "--egress", "none", within=within, spare_sandboxes=None) as service:
        client = service.client()
        for name, size in (("small", 128), ("large", 3_008)):
            deploy(client, name, "def handler(event, context):\n    return 'here'\n", MemorySize=size)

        assert client.invoke(FunctionName="small")["Payload"].read() == b'"here"'
        with pytest.raises(client.exceptions.TooManyRequestsException) as refused:
            client.invoke(FunctionName="large")
        assert refused.value.response["Reason"] == "ConcurrentInvocationLimitExceeded"

        limit_file(group).write_text(str(4_096 * MIB))
        assert invoke_once_let_in(client, "large") == b'"here"'


def invoke_once_let_in(client: Any, name: str) -> bytes:
    """The answer; what a server knows of its memory is as old as its last look."""
    deadline = time.monotonic() + 30
    while True:
        try:
            answer: bytes = client.invoke(FunctionName=name)["Payload"].read()
        except client.exceptions.TooManyRequestsException:
            assert time.monotonic() < deadline
        else:
            return answer
