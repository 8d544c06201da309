"""Roles from end to end: made, given to functions, and what functions sign with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from lambent.testing.service import RunningService, deploy, make_zip, running_service

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root")

KEYS = """
import os
def handler(event, context):
    return {name: os.environ["AWS_" + name.upper()] for name in ("access_key_id", "secret_access_key", "session_token")}
"""
INSIDE = """
import boto3

def refused(client, operation):
    try:
        getattr(client, operation)()
    except Exception as error:
        return error.response["Error"]["Code"]

def handler(event, context):
    forged = boto3.client("sts", aws_access_key_id="AKIAX", aws_secret_access_key="x", aws_session_token=None)
    return [
        boto3.client("sts").get_caller_identity()["Arn"],
        refused(boto3.client("lambda"), "list_functions"),
        refused(forged, "get_caller_identity"),
    ]
"""
ACCOUNT = "000000000000"


def trust(service: str) -> str:
    principal = {"Service": f"{service}.amazonaws.com"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def refused(call: Any, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(botocore.exceptions.ClientError) as error:
        call(**parameters)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


@pytest.fixture(scope="module")
def enforcing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    data_dir = tmp_path_factory.mktemp("roles") / "data"
    with running_service(data_dir, "--auth", "enforce", "--egress", "none") as service:
        yield service


@pytest.fixture(scope="module")
def root(enforcing: RunningService) -> Any:
    """Makes clients that sign with the root key."""
    key = json.loads((enforcing.data_dir / "root-key.json").read_text())

    def client(service: str) -> Any:
        return enforcing.client(service, access_key=key["access_key_id"], secret_key=key["secret_access_key"])

    return client


def keys_of(client: Any, name: str) -> dict[str, str]:
    found = json.loads(client.invoke(FunctionName=name)["Payload"].read())
    return {
        "access_key": found["access_key_id"],
        "secret_key": found["secret_access_key"],
        "session_token": found["session_token"],
    }


def test_a_function_needs_a_role_that_exists_and_trusts_lambda(root: Any) -> None:
    iam, client = root("iam"), root("lambda")
    role = iam.create_role(RoleName="wrong", AssumeRolePolicyDocument=trust("ec2"))["Role"]["Arn"]
    request = {"Runtime": "python3.11", "Handler": "app.handler", "Code": {"ZipFile": make_zip({"app.py": KEYS})}}
    not_assumable = (
        "InvalidParameterValueException",
        "The role defined for the function cannot be assumed by Lambda.",
    )

    assert refused(client.create_function, FunctionName="f", Role=role, **request) == not_assumable
    assert refused(client.create_function, FunctionName="f", Role=f"{role}-2", **request) == not_assumable
    abroad = "arn:aws:iam::999999999999:role/theirs"
    assert refused(client.create_function, FunctionName="f", Role=abroad, **request) == (
        "AccessDeniedException",
        "Cross-account pass role is not allowed.",
    )
    iam.update_assume_role_policy(RoleName="wrong", PolicyDocument=trust("lambda"))
    deploy(client, "f", KEYS, Role=role)
    assert refused(client.update_function_configuration, FunctionName="f", Role=f"{role}-2") == not_assumable


def test_a_function_is_a_session_of_its_role_and_no_more_than_that(enforcing: RunningService, root: Any) -> None:
    iam, client = root("iam"), root("lambda")
    role = iam.create_role(RoleName="mine", Path="/team/", AssumeRolePolicyDocument=trust("lambda"))["Role"]
    deploy(client, "who", KEYS, Role=role["Arn"])
    keys = keys_of(client, "who")

    identity = enforcing.client("sts", **keys).get_caller_identity()
    assert (identity["Account"], identity["Arn"], identity["UserId"]) == (
        ACCOUNT,
        f"arn:aws:sts::{ACCOUNT}:assumed-role/mine/who",
        f"{role['RoleId']}:who",
    )
    code, message = refused(enforcing.client("lambda", **keys).list_functions)
    assert code == "AccessDeniedException"
    assert "assumed-role/mine/who is not authorized to perform: lambda:ListFunctions" in message
    assert refused(enforcing.client("iam", **keys).list_roles)[0] == "AccessDenied"
    forged = keys | {"session_token": keys["session_token"][:-4] + "AAAA"}
    assert refused(enforcing.client("lambda", **forged).list_functions)[0] == "UnrecognizedClientException"
    assert refused(enforcing.client("sts", **forged).get_caller_identity)[0] == "InvalidClientTokenId"


def test_inside_a_function_signatures_are_checked_as_well(root: Any) -> None:
    iam, client = root("iam"), root("lambda")
    role = iam.create_role(RoleName="inside", AssumeRolePolicyDocument=trust("lambda"))["Role"]["Arn"]
    deploy(client, "inside", INSIDE, Role=role, MemorySize=256, Timeout=30)

    who, denied, forged = json.loads(client.invoke(FunctionName="inside")["Payload"].read())
    assert who == f"arn:aws:sts::{ACCOUNT}:assumed-role/inside/inside"
    assert (denied, forged) == ("AccessDeniedException", "InvalidClientTokenId")


def test_roles_and_sessions_outlive_the_server(tmp_path: Path) -> None:
    with running_service(tmp_path / "data", "--egress", "none") as first:
        first.client("iam").create_role(RoleName="kept", AssumeRolePolicyDocument=trust("lambda"))
        issued = first.client("sts").get_session_token()["Credentials"]
        first.kill()
    with running_service(tmp_path / "data", "--auth", "enforce", "--egress", "none") as second:
        keys = {
            "access_key": issued["AccessKeyId"],
            "secret_key": issued["SecretAccessKey"],
            "session_token": issued["SessionToken"],
        }
        assert second.client("iam", **keys).get_role(RoleName="kept")["Role"]["RoleName"] == "kept"


def test_in_open_mode_a_made_up_role_will_do(service: RunningService, client: Any, function: Any) -> None:
    name = function(KEYS, Role="arn:aws:iam::123456789012:role/made-up")
    keys = keys_of(client, name)

    assert service.client("sts", **keys).get_caller_identity()["Arn"] == (
        f"arn:aws:sts::{ACCOUNT}:assumed-role/made-up/{name}"
    )
    assert service.client("lambda", **keys).get_function(FunctionName=name)


def test_what_is_not_built_is_refused_by_name(service: RunningService) -> None:
    iam, sts = service.client("iam"), service.client("sts")

    for call, parameters, name in (
        (iam.create_user, {"UserName": "u"}, "iam:CreateUser"),
        (iam.create_instance_profile, {"InstanceProfileName": "p"}, "iam:CreateInstanceProfile"),
        (iam.create_group, {"GroupName": "g"}, "iam:CreateGroup"),
        (
            sts.assume_role_with_web_identity,
            {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/r", "RoleSessionName": "se", "WebIdentityToken": "token"},
            "sts:AssumeRoleWithWebIdentity",
        ),
    ):
        code, message = refused(call, **parameters)
        assert code == "NotImplementedException"
        assert f"Lambent does not support {name} yet" in message
