"""Code signing and runtime management through boto3: statuses, codes and texts as clients see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambent.testing.service import ROLE, make_zip

PUBLISHERS = {"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/v"]}
ABSENT = "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-00000000000000000"
CODE = "def handler(event, context): ..."

Function = Callable[..., str]


def refusal(call: Callable[..., Any], **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as refused:
        call(**members)
    response: Any = refused.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def status(answer: Any) -> int:
    found: int = answer["ResponseMetadata"]["HTTPStatusCode"]
    return found


def test_code_signing_goes_through_its_operations(client: Any, function: Function) -> None:
    name = function(CODE)
    created = client.create_code_signing_config(AllowedPublishers=PUBLISHERS)
    arn = created["CodeSigningConfig"]["CodeSigningConfigArn"]
    updated = client.update_code_signing_config(
        CodeSigningConfigArn=arn, CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"}
    )
    put = client.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=arn)
    found = client.get_function_code_signing_config(FunctionName=name)
    listed = client.list_functions_by_code_signing_config(CodeSigningConfigArn=arn)
    refused = refusal(client.update_function_code, FunctionName=name, ZipFile=make_zip({"app.py": CODE + "\n"}))
    in_use = refusal(client.delete_code_signing_config, CodeSigningConfigArn=arn)
    taken = client.delete_function_code_signing_config(FunctionName=name)
    deleted = client.delete_code_signing_config(CodeSigningConfigArn=arn)

    assert [status(one) for one in (created, updated, put, found, listed, taken, deleted)] == [
        201, 200, 200, 200, 200, 204, 204,
    ]  # fmt: skip
    assert updated["CodeSigningConfig"]["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Enforce"}
    assert (found["CodeSigningConfigArn"], found["FunctionName"]) == (arn, name)
    assert [one.rpartition(":")[2] for one in listed["FunctionArns"]] == [name]
    assert refused[:2] == (400, "CodeVerificationFailedException")
    assert in_use[:2] == (409, "ResourceConflictException")


def test_a_config_that_is_not_there_is_404_in_two_ways(client: Any, function: Function) -> None:
    not_found = f"The Lambda code signing configuration {ABSENT} can not be found."
    not_given = (
        "The code signing configuration cannot be found. "
        f"Check that the provided configuration is not deleted: {ABSENT}."
    )
    put, create = client.put_function_code_signing_config, client.create_function
    new = {"Role": ROLE, "Runtime": "python3.11", "Handler": "a.b", "Code": {"ZipFile": make_zip({"a.py": CODE})}}

    assert refusal(client.get_code_signing_config, CodeSigningConfigArn=ABSENT) == (
        404, "ResourceNotFoundException", not_found,
    )  # fmt: skip
    for refused in (
        refusal(put, FunctionName=function(CODE), CodeSigningConfigArn=ABSENT),
        refusal(create, FunctionName="unsigned", CodeSigningConfigArn=ABSENT, **new),
    ):
        assert refused == (404, "CodeSigningConfigNotFoundException", not_given)


def test_runtime_management_is_put_and_read(client: Any, function: Function) -> None:
    name = function(CODE)
    put = client.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="FunctionUpdate")
    found = client.get_runtime_management_config(FunctionName=name)
    unknown = "arn:aws:lambda:us-east-1::runtime:" + "0" * 64
    refused = refusal(
        client.put_runtime_management_config,
        FunctionName=name,
        UpdateRuntimeOn="Manual",
        RuntimeVersionArn=unknown,
    )

    assert (status(put), found["UpdateRuntimeOn"], found["FunctionArn"]) == (200, "FunctionUpdate", put["FunctionArn"])
    assert refused[:2] == (400, "InvalidParameterValueException")
    assert unknown in refused[2]


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("get_function_scaling_config", {"FunctionName": "f", "Qualifier": "1"}),
        ("put_function_scaling_config", {"FunctionName": "f", "Qualifier": "1"}),
        ("get_capacity_provider", {"CapacityProviderName": "c"}),
        ("list_capacity_providers", {}),
        ("list_durable_executions_by_function", {"FunctionName": "f"}),
    ],
)
def test_families_that_are_not_built_are_refused_by_name(client: Any, operation: str, members: dict[str, Any]) -> None:
    name = "".join(word.title() for word in operation.split("_"))

    assert refusal(getattr(client, operation), **members) == (
        400,
        "NotImplementedException",
        f"Lambent does not support lambda:{name} yet (see docs/compatibility.md)",
    )
