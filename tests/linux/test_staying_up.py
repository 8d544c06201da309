"""A server that is stopped, killed, started twice or given a damaged file."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from sandboxing import children_of

from lambent.testing.service import deploy, running_service, start_service

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root")

SLEEPY = "import time\ndef handler(event, context):\n    time.sleep(event or 0)\n    return 'done'\n"


def payload(response: dict[str, Any]) -> Any:
    return json.loads(response["Payload"].read())


def cgroups_of(data_dir: Path) -> set[str]:
    """What the server over this data directory has of control groups; its id is a digest of the path."""
    server_id = hashlib.sha256(str(data_dir).encode()).hexdigest()[:8]
    tree = os.walk("/sys/fs/cgroup")  # unlike a glob it passes over what others remove meanwhile
    return {os.path.join(group, child) for group, children, _ in tree if server_id in group for child in children}


def test_sigterm_lets_running_invokes_end(tmp_path: Path) -> None:
    with running_service(tmp_path / "data", "--egress", "none") as service:
        client = service.client()
        deploy(client, "sleepy", SLEEPY, Timeout=10)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            running = pool.submit(client.invoke, FunctionName="sleepy", Payload="1.5")
            time.sleep(0.7)
            status = service.stop()
            assert payload(running.result()) == "done"
    assert status == 0


def test_after_kill_9_a_restart_finds_all_and_clears_what_was_left(tmp_path: Path) -> None:
    service = start_service(tmp_path / "data", "--egress", "none")
    client = service.client()
    deploy(client, "sleepy", SLEEPY, Timeout=30)
    client.publish_version(FunctionName="sleepy")
    client.invoke(FunctionName="sleepy", Payload="0")
    time.sleep(1.0)  # the log writer's own interval
    children = psutil.Process(service.process.pid).children(recursive=True)
    assert children
    assert cgroups_of(tmp_path / "data")
    service.kill()

    with running_service(tmp_path / "data", "--egress", "none") as again:
        client = again.client()
        assert client.get_function(FunctionName="sleepy")["Configuration"]["State"] == "Active"
        assert [v["Version"] for v in client.list_versions_by_function(FunctionName="sleepy")["Versions"]] == [
            "$LATEST",
            "1",
        ]
        events = again.client("logs").filter_log_events(logGroupName="/aws/lambda/sleepy")["events"]
        assert any(event["message"].startswith("REPORT") for event in events)
        assert payload(client.invoke(FunctionName="sleepy:1", Payload="0")) == "done"
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not alive
    assert not cgroups_of(tmp_path / "data")


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with running_service(tmp_path / "data", "--egress", "none") as service:
        with pytest.raises(RuntimeError, match="is in use by another Lambent server"):
            start_service(service.data_dir, "--egress", "none")
        assert service.client().list_functions()["Functions"] == []


def test_a_damaged_data_file_is_named_and_kept(tmp_path: Path) -> None:
    with running_service(tmp_path / "data", "--egress", "none") as service:
        deploy(service.client(), "f", SLEEPY)
    damaged = tmp_path / "data" / "functions.db"
    damaged.write_bytes(b"not a database" * 1000)

    with pytest.raises(RuntimeError, match=r"functions\.db"):
        start_service(tmp_path / "data", "--egress", "none")
    assert damaged.read_bytes() == b"not a database" * 1000


def test_an_idle_environment_is_gone_after_the_idle_timeout(tmp_path: Path) -> None:
    with running_service(tmp_path / "data", "--egress", "none", "--idle-timeout", "3", spare_sandboxes=0) as service:
        client = service.client()
        deploy(client, "f", "import os\ndef handler(event, context):\n    return context.log_stream_name\n")
        first = payload(client.invoke(FunctionName="f"))
        assert payload(client.invoke(FunctionName="f")) == first
        deadline = time.monotonic() + 60
        while len(children_of(service.process.pid)) > 1 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(children_of(service.process.pid)) == 1, "only the sandbox daemon is left"
        assert payload(client.invoke(FunctionName="f")) != first


def test_under_constant_traffic_environments_that_are_too_old_are_replaced_unnoticed(tmp_path: Path) -> None:
    with running_service(tmp_path / "data", "--egress", "none", "--max-environment-age", "1") as service:
        client = service.client()
        deploy(client, "f", "def handler(event, context):\n    return context.log_stream_name\n")
        seen: set[str] = set()
        deadline = time.monotonic() + 30
        while len(seen) < 3 and time.monotonic() < deadline:
            response = client.invoke(FunctionName="f")
            assert "FunctionError" not in response
            seen.add(payload(response))
        assert len(seen) == 3
