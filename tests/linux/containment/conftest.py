"""One server for all attacks, with something to steal; and two environments of the attacking function."""

from __future__ import annotations

import copy
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from containment_target import Target, addresses_of_this_host

from lambent.testing.service import make_zip, running_service

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
        ],
    }
)
ATTACKS = Path(__file__).with_name("attacks")
SECRET_VARIABLE = "LAMBENT_CONTAINMENT_SECRET"
EXECUTED = {"PYTHONHASHSEED": "0"}
"""A function that sets this is not forked from a zygote."""


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    if os.geteuid() != 0:
        pytest.skip("real sandboxes are tested as root")
    secret = secrets.token_hex(16)
    directory = tmp_path_factory.mktemp("target")
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv(SECRET_VARIABLE, secret)
        secret_file = directory / "secret"
        secret_file.write_text(secret)
        abstract = f"lambent-containment-{secret[:8]}"
        for address in ("\0" + abstract, str(directory / "socket")):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        service = stack.enter_context(running_service(directory / "data", "--egress", "none", "--auth", "enforce"))
        key = json.loads((service.data_dir / "root-key.json").read_text())
        keys = {"access_key": key["access_key_id"], "secret_key": key["secret_access_key"]}
        role = service.client("iam", **keys).create_role(RoleName="attacker", AssumeRolePolicyDocument=TRUST)["Role"]
        event = {
            "pid": service.process.pid,
            "port": int(service.endpoint_url.rpartition(":")[2]),
            "host_addresses": ["127.0.0.1", "::1", "0.0.0.0", *addresses_of_this_host()],
            "abstract": abstract,
            "socket_path": str(directory / "socket"),
            "data_dir": str(service.data_dir),
            "secret_file": str(secret_file),
        }
        client = service.client("lambda", **keys)
        yield Target(service=service, client=client, keys=keys, role=role["Arn"], secret=secret, event=event)


@pytest.fixture(scope="session", params=["forked", "executed", "restored"])
def attacked(request: pytest.FixtureRequest, target: Target) -> dict[str, Any]:
    """What every attack got: forked from a zygote, with a runtime that was executed, and restored from a snapshot."""
    files = {path.name: path.read_text() for path in ATTACKS.glob("*.py")}
    name = f"attacks-{request.param}"
    variables = EXECUTED if request.param == "executed" else {}
    target.deploy(name, make_zip(files), MemorySize=512, Timeout=60, Environment={"Variables": variables})
    qualifier = "$LATEST"
    if request.param == "forked":
        _wait_until_forked(target.client, name)
    elif request.param == "restored":
        qualifier = _with_snapshot(target.client, name)
    response = target.client.invoke(FunctionName=name, Qualifier=qualifier, Payload=json.dumps(target.event))
    outcome = json.loads(response["Payload"].read())
    assert "FunctionError" not in response, outcome
    assert outcome["started"] == request.param
    return dict(outcome)


def _with_snapshot(client: Any, name: str) -> str:
    """The number of a version with SnapStart."""
    client.update_function_configuration(FunctionName=name, SnapStart={"ApplyOn": "PublishedVersions"})
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 200})
    number = str(client.publish_version(FunctionName=name)["Version"])
    client.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier=number, WaiterConfig={"Delay": 0.02, "MaxAttempts": 1500}
    )
    return number


@pytest.fixture
def found(attacked: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(attacked)


def _wait_until_forked(client: Any, name: str) -> None:
    deadline = time.monotonic() + 30
    while not json.loads(client.invoke(FunctionName=name, Payload='"is_forked"')["Payload"].read()):
        assert time.monotonic() < deadline, "no zygote became ready"
        time.sleep(0.05)
        variables = {"RENEWED": str(time.monotonic_ns())}
        client.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
        client.get_waiter("function_updated_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 200}
        )


@pytest.fixture
def until_forked(target: Target) -> Callable[[str], None]:
    """Waits until a function's new environments are forked: their zygote may be starting."""
    return lambda name: _wait_until_forked(target.client, name)


@pytest.fixture
def with_snapshot(target: Target) -> Callable[[str], str]:
    """Publishes a function with SnapStart; the version's number."""
    return lambda name: _with_snapshot(target.client, name)


@pytest.fixture
def victim(target: Target) -> Iterator[Callable[..., str]]:
    """Deploys functions under names of their own, and deletes them after the test."""
    names: list[str] = []

    def make(code: Any, **parameters: Any) -> str:
        names.append(f"victim-{secrets.token_hex(4)}")
        return target.deploy(names[-1], code, **parameters)

    yield make
    for name in names:
        target.client.delete_function(FunctionName=name)
