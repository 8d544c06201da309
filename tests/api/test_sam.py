"""A SAM template from its first deployment to its removal, with the program itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lambent.testing.service import RunningService

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root")

EXAMPLE = Path(__file__).parents[2] / "examples" / "sam-orders"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(service: RunningService) -> Run:
    def lambent(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lambent", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=service.environment(), timeout=100)

    return lambent


@pytest.fixture
def example(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "orders")) / "template.yaml"


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Outcome by logical id, or by type for what has none any more; unchanged ones left out."""
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["Resources"]
    return {row["LogicalId"] or row["Type"]: row["Outcome"] for row in rows if row["Outcome"] != "unchanged"}


def test_the_example_is_deployed_changed_and_removed(
    service: RunningService, client: Any, invoke: Callable[..., Any], run: Run, example: Path
) -> None:
    deploy = ("deploy", str(example), "--json")
    first = run(*deploy)
    made = outcomes(first)

    assert set(made.values()) == {"created"}
    assert {"Accept", "Work", "AcceptRole", "WorkRole", "WorkOrders", "AcceptAliaslive", "AcceptUrl"} <= made.keys()
    answer, _ = invoke("orders-Accept", {"item": "tea"}, Qualifier="live")
    assert answer["message"].startswith("Thank you: order ")
    assert answer["worker"] == "orders-Work"
    (mapping,) = client.list_event_source_mappings(FunctionName="orders-Work")["EventSourceMappings"]
    assert (mapping["EventSourceArn"], mapping["BatchSize"]) == ("arn:aws:sqs:us-east-1:000000000000:orders", 5)
    url = client.get_function_url_config(FunctionName="orders-Accept", Qualifier="live")["FunctionUrl"]
    assert json.loads(first.stdout)["Outputs"]["Url"] == url

    assert outcomes(run(*deploy)) == {}

    with (example.parent / "work" / "app.py").open("a") as source:
        source.write("# changed\n")
    assert outcomes(run(*deploy)) == {"Work": "updated"}
    again = outcomes(run(*deploy, "--parameter", "Greeting=Welcome"))
    version = next(name for name in again if name.startswith("AcceptVersion"))
    assert again == {"Accept": "updated", version: "created", "AcceptAliaslive": "updated"}
    assert invoke("orders-Accept", 1, Qualifier="live")[0]["message"].startswith("Welcome")

    text = example.read_text()
    begin, end = text.index("      FunctionUrlConfig"), text.index("  Work:\n")
    example.write_text(text[:begin] + text[end:].replace("  Url:\n    Value: !GetAtt AcceptUrl.FunctionUrl\n", ""))
    assert outcomes(run(*deploy, "--parameter", "Greeting=Welcome")) == {"url": "deleted", "permission": "deleted"}

    gone = outcomes(run(*deploy, "--delete"))
    assert gone == {
        "event source mapping": "deleted",
        "function": "deleted",
        "role": "deleted",
        "layer version": "deleted",
    }
    assert "orders-Accept" not in [one["FunctionName"] for one in client.list_functions()["Functions"]]
    assert client.list_layer_versions(LayerName="orders-shared")["LayerVersions"] == []
    roles = [role["RoleName"] for role in service.client("iam").list_roles()["Roles"]]
    assert not [name for name in roles if name.startswith("orders-")]
    assert outcomes(run(*deploy, "--delete")) == {}


PROVISIONED = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: code
      Handler: app.handler
      Runtime: python3.11
      AutoPublishAlias: live
      ProvisionedConcurrencyConfig:
        ProvisionedConcurrentExecutions: 1
"""


def test_what_is_provisioned_is_ready_when_a_deployment_ends(client: Any, run: Run, tmp_path: Path) -> None:
    template, code = tmp_path / "template.yaml", tmp_path / "code" / "app.py"
    code.parent.mkdir()
    deploy = ("deploy", str(template), "--name", "ahead", "--json")
    live = {"FunctionName": "ahead-F", "Qualifier": "live"}
    told = "import os\ndef handler(event, context): return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE'], {}\n"
    template.write_text(PROVISIONED)

    for version in (1, 2):
        code.write_text(told.format(version))
        outcomes(run(*deploy))
        assert client.get_provisioned_concurrency_config(**live)["Status"] == "READY"
        assert json.load(client.invoke(**live)["Payload"]) == ["provisioned-concurrency", version]
    assert outcomes(run(*deploy)) == {}

    template.write_text(PROVISIONED.partition("      ProvisionedConcurrencyConfig")[0])
    assert outcomes(run(*deploy)) == {"FAliaslive": "updated"}
    with pytest.raises(client.exceptions.ProvisionedConcurrencyConfigNotFoundException):
        client.get_provisioned_concurrency_config(**live)

    template.write_text(PROVISIONED)
    code.write_text("raise ValueError\n")
    failed = run(*deploy)
    assert failed.returncode == 3
    assert "Nothing could be provisioned for ahead-F:live: FUNCTION_ERROR_INIT_FAILURE" in failed.stderr
    outcomes(run(*deploy, "--delete"))


def test_what_cannot_be_deployed_is_listed_and_nothing_is_done(client: Any, run: Run, tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text("""
Transform: AWS::Serverless-2016-10-31
Resources:
  Table: {Type: AWS::Serverless::SimpleTable}
  Bucket: {Type: AWS::S3::Bucket}
  Fine:
    Type: AWS::Serverless::Function
    Properties:
      InlineCode: "def handler(event, context): ..."
      Handler: index.handler
      Runtime: python3.11
      Events:
        Web: {Type: Api, Properties: {Path: /, Method: get}}
        Clock: {Type: Schedule, Properties: {Schedule: rate(1 minute)}}
""")
    before = client.list_functions()["Functions"]
    done = run("deploy", str(template), "--name", "refused")

    assert done.returncode == 3
    for line in (
        "Table: AWS::Serverless::SimpleTable",
        "Fine: the event Web of type Api",
        "Fine: the event Clock of type Schedule",
    ):
        assert line in done.stderr
    plain = template.read_text().partition("      Events:")[0]
    template.write_text(plain.replace("  Table: {Type: AWS::Serverless::SimpleTable}", ""))
    done = run("deploy", str(template), "--name", "refused")
    assert done.returncode == 3
    assert "Bucket: AWS::S3::Bucket" in done.stderr
    assert client.list_functions()["Functions"] == before


def test_a_function_of_another_stack_is_not_taken_over(run: Run, tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text("""
Transform: AWS::Serverless-2016-10-31
Globals: {Function: {Runtime: python3.11, MemorySize: "256", Environment: {Variables: {NUMBER: 1}}}}
Resources:
  Own:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: taken-or-not
      InlineCode: "def handler(event, context): return event"
      Handler: index.handler
""")
    one, two = (("deploy", str(template), "--name", name) for name in ("one", "two"))
    assert outcomes(run(*one, "--json")).keys() == {"OwnRole", "Own"}
    done = run(*two)
    assert done.returncode == 3
    assert "The function taken-or-not is part of the stack one." in done.stderr
    assert set(outcomes(run(*two, "--delete", "--json"))) == {"role"}
    assert set(outcomes(run(*one, "--delete", "--json"))) == {"function", "role"}
