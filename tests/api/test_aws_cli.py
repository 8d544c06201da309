"""The real AWS CLI, with nothing set but the endpoint and dummy keys."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from lambent.testing.service import ROLE, RunningService, make_zip

AWS = str(Path(sys.executable).parent / "aws")


def version_two() -> str | None:
    """The AWS CLI that can tail logs, if it is on this host; the one from PyPI is version 1."""
    for directory in ("/usr/local/bin", "/usr/bin"):
        candidate = Path(directory, "aws")
        if candidate.exists():
            told = subprocess.run([str(candidate), "--version"], capture_output=True, text=True, timeout=60)
            if told.stdout.startswith("aws-cli/2"):
                return str(candidate)
    return None


AWS_2 = version_two()


class Cli:
    def __init__(self, service: RunningService) -> None:
        self.environment = service.environment()
        self.endpoint_url = service.endpoint_url

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([AWS, *arguments], env=self.environment, capture_output=True, text=True, timeout=90)

    def __call__(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--output", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None


@pytest.fixture(scope="module")
def aws(service: RunningService) -> Cli:
    return Cli(service)


def test_a_function_lives_its_whole_life_through_the_aws_cli(aws: Cli, tmp_path: Path) -> None:
    package, answer = tmp_path / "f.zip", tmp_path / "answer.json"
    package.write_bytes(make_zip({"app.py": "def handler(event, context):\n    print('seen', event)\n    return 1\n"}))
    named = ("--function-name", "cli-function")

    created = aws(
        "lambda", "create-function", *named, "--runtime", "python3.11", "--role", ROLE, "--handler", "app.handler",
        "--zip-file", f"fileb://{package}", "--environment", "Variables={NAME=value}",
    )  # fmt: skip
    assert created["State"] == "Pending"
    aws("lambda", "wait", "function-active-v2", *named)

    invoked = aws("lambda", "invoke", *named, "--log-type", "Tail", "--payload", '{"x": 1}', str(answer))
    assert invoked["StatusCode"] == 200
    assert json.loads(answer.read_text()) == 1
    tail = base64.b64decode(invoked["LogResult"]).decode()
    assert "seen {'x': 1}" in tail
    assert "REPORT RequestId: " in tail

    package.write_bytes(make_zip({"app.py": "def handler(event, context):\n    return 2\n"}))
    aws("lambda", "update-function-code", *named, "--zip-file", f"fileb://{package}")
    aws("lambda", "wait", "function-updated-v2", *named)
    aws("lambda", "update-function-configuration", *named, "--timeout", "7")
    aws("lambda", "wait", "function-updated-v2", *named)
    assert aws("lambda", "publish-version", *named)["Version"] == "1"
    aws("lambda", "invoke", *named, "--qualifier", "1", str(answer))
    assert json.loads(answer.read_text()) == 2

    assert any(f["FunctionName"] == "cli-function" for f in aws("lambda", "list-functions")["Functions"])
    aws("lambda", "delete-function", *named)
    gone = aws.run("lambda", "get-function", *named)
    assert "ResourceNotFoundException" in gone.stderr


@pytest.mark.skipif(AWS_2 is None, reason="the AWS CLI version 2 (`aws logs tail`) is not on this host")
def test_logs_tail_shows_the_past_and_follows(aws: Cli, function: Any, invoke: Any) -> None:
    name = function("def handler(event, context):\n    print('line', event)\n")
    invoke(name, 0)
    following = subprocess.Popen(
        [
            str(AWS_2),
            "--endpoint-url",
            aws.endpoint_url,
            "logs",
            "tail",
            f"/aws/lambda/{name}",
            "--since",
            "5m",
            "--follow",
        ],
        env={**aws.environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    killer = threading.Timer(60, following.kill)
    killer.start()
    try:
        assert following.stdout is not None
        assert any("line 0" in line for line in following.stdout)
        invoke(name, 1)
        assert any("line 1" in line for line in following.stdout)
    finally:
        killer.cancel()
        following.kill()
        following.wait()
        following.stdout.close()


def test_an_operation_that_is_not_built_is_refused_by_name(aws: Cli) -> None:
    refused = aws.run("lambda", "list-capacity-providers")

    assert refused.returncode != 0
    assert "NotImplementedException" in refused.stderr
    assert "lambda:ListCapacityProviders" in refused.stderr


def test_sts_tells_who_calls(aws: Cli) -> None:
    assert aws("sts", "get-caller-identity")["Account"] == "000000000000"
