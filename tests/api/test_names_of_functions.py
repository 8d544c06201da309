"""Names of functions, in every operation that takes one: forms, qualifiers, other regions and accounts (api.md §2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from control_client import ABSENT, BASE, CODE, INVALID, NEW, UNQUALIFIED_ONLY, careless_client, refusal
from lambda_wire import lambda_model

from lambent.frontend.operations import IMPLEMENTED
from lambent.testing.service import RunningService, deploy

ACCOUNT = "000000000000"
NONE = f"{BASE}:function:none"

MEMBERS: Mapping[str, Any] = {
    "Action": "lambda:InvokeFunction",
    "AuthType": "NONE",
    "Code": CODE,
    "FunctionVersion": "1",
    "InvokeArgs": b"{}",
    "MaximumRetryAttempts": 1,
    "Name": "x",
    "Principal": "*",
    "ProvisionedConcurrentExecutions": 1,
    "Qualifier": "1",
    "RecursiveLoop": "Allow",
    "ReservedConcurrentExecutions": 1,
    "Role": NEW["Role"],
    "StatementId": "s",
    "UpdateRuntimeOn": "Auto",
}
"""Values for the members that some operation must have."""

FURTHER: Mapping[str, Mapping[str, Any]] = {
    "CreateEventSourceMapping": {"EventSourceArn": "arn:aws:sqs:us-east-1:000000000000:names"},
    "PutFunctionEventInvokeConfig": {"MaximumRetryAttempts": 1},
    "UpdateFunctionCode": CODE,
    "UpdateFunctionEventInvokeConfig": {"MaximumRetryAttempts": 1},
}

ELSEWHERE = {"CreateFunction", "UpdateEventSourceMapping", "ListEventSourceMappings"}
"""What makes the function, needs a mapping before it looks at the function, or finds nothing without an error."""

ONLY_FUNCTIONS = {
    "CreateAlias",
    "DeleteAlias",
    "DeleteFunctionCodeSigningConfig",
    "DeleteFunctionConcurrency",
    "GetAlias",
    "GetFunctionCodeSigningConfig",
    "GetFunctionConcurrency",
    "GetFunctionRecursionConfig",
    "ListAliases",
    "ListFunctionEventInvokeConfigs",
    "ListFunctionUrlConfigs",
    "ListProvisionedConcurrencyConfigs",
    "ListVersionsByFunction",
    "PublishVersion",
    "PutFunctionCodeSigningConfig",
    "PutFunctionConcurrency",
    "PutFunctionRecursionConfig",
    "UpdateAlias",
    "UpdateFunctionCode",
    "UpdateFunctionConfiguration",
}


def operations() -> list[str]:
    models = [lambda_model().operation_model(name) for name in sorted(IMPLEMENTED["lambda"])]
    named = [model.name for model in models if model.input_shape and "FunctionName" in model.input_shape.members]
    return [name for name in named if name not in ELSEWHERE]


def request(operation: str, name: str, config_arn: str) -> dict[str, Any]:
    required = lambda_model().operation_model(operation).input_shape.required_members
    values = {**MEMBERS, "CodeSigningConfigArn": config_arn, "FunctionName": name}
    return {**{member: values[member] for member in required}, **FURTHER.get(operation, {})}


@pytest.fixture(scope="module")
def careless(service: RunningService) -> Any:
    return careless_client(service)


@pytest.fixture(scope="module")
def config_arn(careless: Any) -> Iterator[str]:
    profile = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/0123456789"
    made = careless.create_code_signing_config(AllowedPublishers={"SigningProfileVersionArns": [profile]})
    arn: str = made["CodeSigningConfig"]["CodeSigningConfigArn"]
    yield arn
    careless.delete_code_signing_config(CodeSigningConfigArn=arn)


@pytest.mark.parametrize("operation", operations())
def test_every_form_of_a_name_means_the_same(careless: Any, config_arn: str, operation: str) -> None:
    forms = ("none", "function:none", f"{ACCOUNT}:function:none", NONE)
    told = {refusal(careless, operation, request(operation, form, config_arn)) for form in forms}
    [(status, code, message)] = told
    if operation == "CreateEventSourceMapping":
        assert (status, code, message) == (400, INVALID, "Function does not exist")
        return
    assert (status, code) == (404, ABSENT)
    expected = {
        "DeleteFunctionEventInvokeConfig": "The function doesn't exist.",
        "GetFunctionEventInvokeConfig": f"The function {NONE}:$LATEST doesn't have an EventInvokeConfig",
        "GetPolicy": "The resource you requested does not exist.",
        "ListFunctionEventInvokeConfigs": "The function doesn't exist.",
        "PutFunctionEventInvokeConfig": "The function doesn't exist.",
        "UpdateFunctionEventInvokeConfig": "The function doesn't exist.",
    }
    assert message == expected.get(operation, message)
    if operation not in expected and "Url" not in operation:
        assert message.removeprefix("Function not found: ") in (NONE, f"{NONE}:$LATEST", f"{NONE}:1")


@pytest.mark.parametrize("operation", operations())
def test_a_function_of_another_region_is_not_reachable(careless: Any, config_arn: str, operation: str) -> None:
    elsewhere = NONE.replace("us-east-1", "eu-west-1")
    assert refusal(careless, operation, request(operation, elsewhere, config_arn)) == (
        404,
        ABSENT,
        "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
    )


@pytest.mark.parametrize("operation", operations())
def test_a_function_of_another_account_is_denied(careless: Any, config_arn: str, operation: str) -> None:
    action = "InvokeFunction" if operation.startswith("Invoke") else operation
    for form in (NONE.replace(ACCOUNT, "1" * 12), f"{'1' * 12}:function:none"):
        status, code, message = refusal(careless, operation, request(operation, form, config_arn))
        assert (status, code) == (403, "AccessDeniedException")
        assert message.startswith(
            f"User: arn:aws:iam::{ACCOUNT}:root is not authorized to perform: lambda:{action} on resource: "
            f"{NONE.replace(ACCOUNT, '1' * 12)}"
        )
        assert message.endswith(f" because no resource-based policy allows the lambda:{action} action")


@pytest.mark.parametrize("operation", operations())
def test_what_is_about_a_function_as_a_whole_takes_no_qualifier(careless: Any, config_arn: str, operation: str) -> None:
    """Whichever takes one finds nothing: the version counts as much as the function does."""
    told = refusal(careless, operation, request(operation, f"{NONE}:1", config_arn))
    assert (told == (400, INVALID, UNQUALIFIED_ONLY)) == (operation in ONLY_FUNCTIONS), told


@pytest.mark.parametrize(
    "operation", ["GetFunction", "Invoke", "GetPolicy", "AddPermission", "PutFunctionEventInvokeConfig"]
)
@pytest.mark.parametrize("qualifier", ["a.b", "x" * 129, "ü"])
def test_what_is_no_qualifier_is_a_validation_error(
    careless: Any, config_arn: str, operation: str, qualifier: str
) -> None:
    members = {**request(operation, "none", config_arn), "Qualifier": qualifier}
    status, code, message = refusal(careless, operation, members)
    assert (status, code) == (400, "ValidationException")
    assert message.startswith(f"1 validation error detected: Value '{qualifier}' at 'qualifier' failed to satisfy")


def test_answers_name_a_function_as_it_was_named(careless: Any) -> None:
    deploy(careless, "named", CODE["ZipFile"])
    arn = f"{BASE}:function:named"
    try:
        careless.publish_version(FunctionName="named")
        careless.create_alias(FunctionName="named", Name="live", FunctionVersion="1")
        shown = {
            name: careless.get_function(FunctionName=name)["Configuration"]
            for name in ("named", arn, "named:$LATEST", "named:1", f"{arn}:live", f"{ACCOUNT}:function:named:live")
        }
        listed = careless.list_versions_by_function(FunctionName=arn)["Versions"]
    finally:
        careless.delete_function(FunctionName=arn)
    assert [one["FunctionArn"].removeprefix(arn) for one in shown.values()] == [
        "", "", ":$LATEST", ":1", ":live", ":live",
    ]  # fmt: skip
    assert [one["Version"] for one in shown.values()] == ["$LATEST", "$LATEST", "$LATEST", "1", "1", "1"]
    assert [one["FunctionArn"].removeprefix(arn) for one in listed] == [":$LATEST", ":1"]
