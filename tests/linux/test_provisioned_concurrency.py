"""Provisioned concurrency from the API to the environments: no init is seen by whoever finds one of them."""

from __future__ import annotations

import base64
import json
import os
import re
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lambent.testing.service import RunningService, deploy, running_service

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root")

Function = Callable[..., str]
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"

SLOW_INIT = """
import boto3, os, time
client = boto3.client("lambda")
time.sleep(1)
def handler(event, context):
    "Answers once its function has the tag that it is told."
    function = context.invoked_function_arn.rpartition(":")[0]
    while event not in client.list_tags(Resource=function)["Tags"]:
        time.sleep(0.2)
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""
TELLS_ITSELF = """
import os, time
time.sleep(1)
def handler(event, context):
    return os.environ["AWS_LAMBDA_FUNCTION_VERSION"] + " " + os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""
FAILING_INIT = """
import os
if os.environ["AWS_LAMBDA_FUNCTION_VERSION"] == "1":
    raise ValueError("no")
def handler(event, context): ...
"""


def provision(client: Any, name: str, qualifier: str, count: int) -> Any:
    return client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count
    )


def wait_for(client: Any, name: str, qualifier: str, status: str, timeout_s: float = 60.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
        if found["Status"] == status:
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def log_of(response: Any) -> str:
    return base64.b64decode(response["LogResult"]).decode()


def counted(service: RunningService) -> tuple[int, int]:
    """Invokes so far in provisioned environments, and those that spilled over."""
    with urllib.request.urlopen(f"{service.endpoint_url}/_lambent/environments") as answer:
        told = json.load(answer)
    return told["provisioned_invocations"], told["spillover_invocations"]


def wait_until_counted(service: RunningService, expected: tuple[int, int], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while (found := counted(service)) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_twenty_first_calls_at_once_see_no_init_and_the_next_one_does(
    service: RunningService, client: Any, function: Function
) -> None:
    name = function(SLOW_INIT, Publish=True, Timeout=30)
    asked = provision(client, name, "1", 20)
    assert (asked["Status"], asked["AllocatedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 0)
    found = wait_for(client, name, "1", "READY")
    assert found["AvailableProvisionedConcurrentExecutions"] == 20

    def call(_: int) -> Any:
        return client.invoke(FunctionName=name, Qualifier="1", Payload=b'"go"', LogType="Tail")

    before = counted(service)
    with ThreadPoolExecutor(21) as pool:
        calls = [pool.submit(call, number) for number in range(21)]
        wait_until_counted(service, (before[0] + 20, before[1] + 1))  # none has its answer before all are at work
        client.tag_resource(Resource=f"{ARN}{name}", Tags={"go": ""})
        responses = [one.result() for one in calls]

    kinds = sorted(json.load(response["Payload"]) for response in responses)
    assert kinds == ["on-demand", *["provisioned-concurrency"] * 20]
    logs = [log_of(response) for response in responses]
    assert sum("Init Duration" in log.partition("\nREPORT")[2] for log in logs) == 1
    made_ahead = re.compile(r"INIT_REPORT Init Duration: [1-9]\d{3,}\.\d\d ms\tPhase: init\n")
    assert sum(made_ahead.search(log) is not None for log in logs) == 20


def test_a_failing_init_is_told_and_a_good_version_is_ready_after_it(client: Any, function: Function) -> None:
    name = function(FAILING_INIT, Publish=True)
    client.update_function_configuration(FunctionName=name, Description="2")
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05})
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    provision(client, name, "live", 1)

    failed = wait_for(client, name, "live", "FAILED")
    assert failed["StatusReason"] == "FUNCTION_ERROR_INIT_FAILURE"

    client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    assert wait_for(client, name, "live", "READY")["AvailableProvisionedConcurrentExecutions"] == 1


def test_an_alias_that_is_moved_never_leaves_what_is_provisioned(
    service: RunningService, client: Any, function: Function
) -> None:
    name = function(TELLS_ITSELF, Publish=True, Timeout=30)
    client.update_function_configuration(FunctionName=name, Description="2")
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05})
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    provision(client, name, "live", 2)
    wait_for(client, name, "live", "READY")
    before = counted(service)

    moving = client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")

    assert moving["RoutingConfig"] == {"AdditionalVersionWeights": {"1": 1.0}}
    answers: list[str] = []
    while not answers or not answers[-1].startswith("2 "):
        answers.append(json.load(client.invoke(FunctionName=name, Qualifier="live")["Payload"]))
        time.sleep(0.1)  # what is provisioned is used ten times a second each; the rest would spill over
    assert set(answers) == {"1 provisioned-concurrency", "2 provisioned-concurrency"}
    assert counted(service) == (before[0] + len(answers), before[1])
    assert "RoutingConfig" not in client.get_alias(FunctionName=name, Name="live")
    assert wait_for(client, name, "live", "READY")["AllocatedProvisionedConcurrentExecutions"] == 2


def test_provisioned_concurrency_survives_the_server(tmp_path: Path) -> None:
    code = "import os\ndef handler(event, context): return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']"
    with running_service(tmp_path / "data", "--egress", "none") as service:
        client = service.client()
        deploy(client, "f", code, Publish=True)
        provision(client, "f", "1", 2)
        wait_for(client, "f", "1", "READY")
    with running_service(tmp_path / "data", "--egress", "none") as again:
        client = again.client()
        wait_for(client, "f", "1", "READY")
        assert invoked(again, "1") == "provisioned-concurrency"
        assert invoked(again, "$LATEST") == "on-demand"


def invoked(service: RunningService, qualifier: str) -> Any:
    return json.load(service.client().invoke(FunctionName="f", Qualifier=qualifier)["Payload"])
