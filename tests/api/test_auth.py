"""Who may call: open on loopback, signatures checked where they are enforced."""

from __future__ import annotations

import http.client
import json
import os
import stat
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.exceptions
import pytest

from lambent.testing.service import RunningService, deploy, running_service

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root")

TRUSTS_LAMBDA = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
ECHO = "def handler(event, context):\n    return event\n"


@pytest.fixture(scope="module")
def enforcing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    data_dir = tmp_path_factory.mktemp("auth") / "data"
    with running_service(data_dir, "--auth", "enforce", "--egress", "none") as service:
        yield service


@pytest.fixture(scope="module")
def root_key(enforcing: RunningService) -> dict[str, str]:
    path = enforcing.data_dir / "root-key.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key: dict[str, str] = json.loads(path.read_text())
    return key


def refused_code(client: Any) -> tuple[int, str]:
    with pytest.raises(botocore.exceptions.ClientError) as error:
        client.list_functions()
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"], error.value.response["Error"]["Code"]


def test_the_root_key_is_let_in_and_can_invoke(enforcing: RunningService, root_key: dict[str, str]) -> None:
    client = enforcing.client(access_key=root_key["access_key_id"], secret_key=root_key["secret_access_key"])
    iam = enforcing.client("iam", access_key=root_key["access_key_id"], secret_key=root_key["secret_access_key"])
    iam.create_role(RoleName="lambda-role", AssumeRolePolicyDocument=json.dumps(TRUSTS_LAMBDA))
    deploy(client, "echo", ECHO)

    assert json.loads(client.invoke(FunctionName="echo", Payload='"x"')["Payload"].read()) == "x"
    sts = enforcing.client("sts", access_key=root_key["access_key_id"], secret_key=root_key["secret_access_key"])
    assert sts.get_caller_identity()["Arn"] == "arn:aws:iam::000000000000:root"


def test_a_signed_function_url_is_for_those_who_have_a_key(enforcing: RunningService, root_key: dict[str, str]) -> None:
    client = enforcing.client(access_key=root_key["access_key_id"], secret_key=root_key["secret_access_key"])
    deploy(client, "who", ECHO)
    url = client.create_function_url_config(FunctionName="who", AuthType="AWS_IAM")["FunctionUrl"]
    host = urllib.parse.urlsplit(url).netloc

    def ask(access_key: str, secret_key: str) -> tuple[int, Any]:
        request = botocore.awsrequest.AWSRequest("GET", url)
        credentials = botocore.credentials.Credentials(access_key, secret_key)
        botocore.auth.SigV4Auth(credentials, "lambda", "us-east-1").add_auth(request)
        connection = http.client.HTTPConnection("127.0.0.1", int(host.rpartition(":")[2]), timeout=60)
        connection.request("GET", "/", headers={"host": host, **dict(request.headers.items())})
        response = connection.getresponse()
        try:
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    status, event = ask(root_key["access_key_id"], root_key["secret_access_key"])
    assert (status, event["requestContext"]["accountId"]) == (200, "000000000000")
    assert ask(root_key["access_key_id"], "wrong")[0] == 403
    assert ask("AKIAIOSFODNN7EXAMPLE", "wrong")[0] == 403


def test_an_unknown_key_and_a_wrong_secret_are_refused(enforcing: RunningService, root_key: dict[str, str]) -> None:
    wrong = enforcing.client(access_key=root_key["access_key_id"], secret_key="wrong")

    assert refused_code(enforcing.client()) == (403, "UnrecognizedClientException")
    assert refused_code(wrong) == (403, "InvalidSignatureException")


def test_lambent_env_shows_the_key(enforcing: RunningService, root_key: dict[str, str]) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "lambent", "env", "--data-dir", str(enforcing.data_dir)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "AWS_ENDPOINT_URL": enforcing.endpoint_url},
    )
    assert root_key["secret_access_key"] in shown.stdout


def test_listening_beyond_loopback_needs_enforced_signatures(tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "lambent", "serve", "--listen", "0.0.0.0:0", "--data-dir", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert refused.returncode != 0
    assert "--auth enforce" in refused.stderr


def test_an_account_id_as_key_chooses_the_account(service: RunningService) -> None:
    other = service.client(access_key="123456789012")
    deploy(other, "mine", ECHO)
    try:
        assert other.get_function(FunctionName="mine")["Configuration"]["FunctionArn"] == (
            "arn:aws:lambda:us-east-1:123456789012:function:mine"
        )
        with pytest.raises(botocore.exceptions.ClientError, match="Function not found"):
            service.client().get_function(FunctionName="mine")
        assert service.client("sts", access_key="123456789012").get_caller_identity()["Account"] == "123456789012"
    finally:
        other.delete_function(FunctionName="mine")
