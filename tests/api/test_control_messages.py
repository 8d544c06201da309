"""The control plane's refusals through a client, word for word (reference/api.md §1–§9, iam.md §4)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest
from control_client import (
    ABSENT,
    BASE,
    CODE,
    CONFLICT,
    INVALID,
    NEW,
    NO_RESOURCE,
    STALE,
    STALE_FUNCTION,
    STALE_ID,
    UNQUALIFIED_ONLY,
    VALIDATION,
    careless_client,
    refusal,
    violation,
)
from lambda_wire import Wire, wire_request

from lambent.testing.service import RunningService, deploy, make_zip, running_service

ARN = f"{BASE}:function:m"
STALE_POLICY = STALE_FUNCTION.replace("GetFunction/GetAlias", "GetPolicy")
ROLE_PATTERN = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"
PERMISSION = {"FunctionName": "m", "StatementId": "t", "Action": "lambda:InvokeFunction", "Principal": "*"}


def alias(**members: Any) -> dict[str, Any]:
    return {"FunctionName": "m", "Name": "x", "FunctionVersion": "1", **members}


def weights(**by_version: float) -> dict[str, Any]:
    return {"AdditionalVersionWeights": {number.strip("v"): weight for number, weight in by_version.items()}}


NAMES = [
    ("CreateFunction", {**NEW, "FunctionName": "x" * 65}, 400, INVALID,
     violation(f"'{'x' * 65}'", "functionName", "must have length less than or equal to 64")),
    ("CreateFunction", {**NEW, "FunctionName": "x" * 141}, 400, VALIDATION,
     violation(f"'{'x' * 141}'", "functionName", "must have length less than or equal to 140")),
    ("GetFunction", {"FunctionName": "x" * 257}, 400, VALIDATION,
     violation(f"'{'x' * 257}'", "functionName", "must have length less than or equal to 256")),
    ("GetFunction", {"FunctionName": "x" * 65}, 404, ABSENT, f"Function not found: {BASE}:function:{'x' * 65}"),
    ("DeleteFunction", {"FunctionName": "x" * 65}, 404, ABSENT, f"Function not found: {BASE}:function:{'x' * 65}"),
    ("Invoke", {"FunctionName": "x" * 65}, 404, ABSENT, f"Function not found: {BASE}:function:{'x' * 65}:$LATEST"),
    ("GetFunction", {"FunctionName": "none"}, 404, ABSENT, f"Function not found: {BASE}:function:none"),
    ("Invoke", {"FunctionName": "none"}, 404, ABSENT, f"Function not found: {BASE}:function:none:$LATEST"),
    ("GetFunction", {"FunctionName": "m", "Qualifier": "$latest"}, 404, ABSENT, f"Function not found: {ARN}:$latest"),
    ("GetFunction", {"FunctionName": "m:9"}, 404, ABSENT, f"Function not found: {ARN}:9"),
    ("Invoke", {"FunctionName": ARN, "Qualifier": "9"}, 404, ABSENT, f"Function not found: {ARN}:9"),
    ("GetFunction", {"FunctionName": "m:1", "Qualifier": "2"}, 400, INVALID,
     "The derived qualifier from the function name does not match the specified qualifier."),
    ("PublishVersion", {"FunctionName": "m:1"}, 400, INVALID, UNQUALIFIED_ONLY),
    ("UpdateFunctionCode", {"FunctionName": f"{ARN}:live", **CODE}, 400, INVALID, UNQUALIFIED_ONLY),
    ("GetFunction", {"FunctionName": ARN.replace("us-east-1", "eu-west-1")}, 404, ABSENT,
     "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"),
    ("GetFunction", {"FunctionName": ARN.replace("0" * 12, "1" * 12)}, 403, "AccessDeniedException",
     "User: arn:aws:iam::000000000000:root is not authorized to perform: lambda:GetFunction on resource: "
     f"{ARN.replace('0' * 12, '1' * 12)} because no resource-based policy allows the lambda:GetFunction action"),
]  # fmt: skip

FUNCTIONS = [
    ("CreateFunction", {**NEW, "FunctionName": "m"}, 409, CONFLICT, "Function already exist: m"),
    ("CreateFunction", {**NEW, "Role": "admin"}, 400, VALIDATION,
     violation("'admin'", "role", f"must satisfy regular expression pattern: {ROLE_PATTERN}")),
    ("CreateFunction", {**NEW, "Runtime": "go1.x"}, 400, INVALID,
     "The runtime parameter of go1.x is no longer supported for creating or updating AWS Lambda functions. "
     "We recommend you use a supported runtime while creating or updating functions."),
    ("UpdateFunctionConfiguration", {"FunctionName": "m", "Runtime": "python2.7"}, 400, INVALID,
     "The runtime parameter of python2.7 is no longer supported for creating or updating AWS Lambda functions. "
     "We recommend you use a supported runtime while creating or updating functions."),
    ("CreateFunction", {**NEW, "Handler": None}, 400, INVALID,
     "Runtime and Handler are mandatory parameters for functions created with deployment packages."),
    ("CreateFunction", {**NEW, "PackageType": "Image", "Code": {"ImageUri": "i"}}, 400, INVALID,
     "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."),
    ("UpdateFunctionCode", {"FunctionName": "m", "ImageUri": "i"}, 400, INVALID,
     "Please don't provide ImageUri when updating a function with packageType Zip."),
    ("CreateFunction", {**NEW, "Code": {}}, 400, INVALID, "Please provide a source for function code."),
    ("UpdateFunctionCode", {"FunctionName": "m"}, 400, INVALID, "Please provide a source for function code."),
    ("CreateFunction", {**NEW, "Code": {"ZipFile": b"no zip"}}, 400, INVALID,
     "Could not unzip uploaded file. Please check your file, then try to upload again."),
    ("CreateFunction", {**NEW, "Environment": {"Variables": {"AB": "x" * 4_090}}}, 400, INVALID,
     "Lambda was unable to configure your environment variables because the environment variables you have provided "
     'exceeded the 4KB limit. String measured: {"AB":"' + "x" * 4_090 + '"}'),
    ("CreateFunction", {**NEW, "MemorySize": 10_241}, 400, INVALID,
     "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240"),
    ("CreateFunction", {**NEW, "MemorySize": 127}, 400, VALIDATION,
     violation("'127'", "memorySize", "must have value greater than or equal to 128")),
    ("CreateFunction", {**NEW, "Timeout": 901}, 400, VALIDATION,
     violation("'901'", "timeout", "must have value less than or equal to 900")),
    ("CreateFunction", {**NEW, "EphemeralStorage": {"Size": 511}}, 400, VALIDATION,
     violation("'511'", "ephemeralStorage.size", "must have value greater than or equal to 512")),
    ("CreateFunction", {**NEW, "Architectures": ["x86_64", "arm64"]}, 400, VALIDATION,
     violation("'[x86_64, arm64]'", "architectures", "must have length less than or equal to 1")),
    ("CreateFunction", {**NEW, "SnapStart": {"ApplyOn": "Always"}}, 400, VALIDATION,
     violation("'Always'", "snapStart.applyOn", "must satisfy enum value set: [PublishedVersions, None]")),
    ("CreateFunction", {**NEW, "LoggingConfig": {"SystemLogLevel": "WARN"}}, 400, INVALID,
     'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change the '
     'LogFormat to "JSON" and try again.'),
    ("CreateFunction", {**NEW, "VpcConfig": {"SubnetIds": ["subnet-1"]}}, 400, INVALID,
     "Lambent does not support VpcConfig yet: remove it from the request. See docs/compatibility.md"),
    ("UpdateFunctionConfiguration", {"FunctionName": "m", "RevisionId": STALE}, 412, STALE_ID, STALE_FUNCTION),
    ("UpdateFunctionCode", {"FunctionName": "m", "RevisionId": STALE, **CODE}, 412, STALE_ID, STALE_FUNCTION),
    ("DeleteFunction", {"FunctionName": "m", "Qualifier": "$LATEST"}, 400, INVALID,
     "$LATEST version cannot be deleted without deleting the function."),
    ("DeleteFunction", {"FunctionName": "m", "Qualifier": "1"}, 409, CONFLICT,
     "Unable to delete version because the following aliases reference it: [live]"),
    ("DeleteFunction", {"FunctionName": "m:live"}, 400, INVALID, "Deletion of aliases is not currently supported."),
    ("DeleteFunction", {"FunctionName": "none"}, 404, ABSENT, f"Function not found: {BASE}:function:none"),
    ("ListFunctions", {"MaxItems": 0}, 400, VALIDATION,
     violation("'0'", "maxItems", "must have value greater than or equal to 1")),
    ("ListFunctions", {"MaxItems": 10_001}, 400, VALIDATION,
     violation("'10001'", "maxItems", "must have value less than or equal to 10000")),
]  # fmt: skip

VERSIONS = [
    ("PublishVersion", {"FunctionName": "m", "RevisionId": STALE}, 412, STALE_ID, STALE_FUNCTION),
    ("PublishVersion", {"FunctionName": "none"}, 404, ABSENT, f"Function not found: {BASE}:function:none"),
    ("CreateAlias", alias(Name="live"), 409, CONFLICT, f"Alias already exists: {ARN}:live"),
    ("CreateAlias", alias(FunctionVersion="9"), 404, ABSENT, f"Function not found: {ARN}:9"),
    ("CreateAlias", alias(RoutingConfig=weights(v1=0.1, v2=0.1)), 400, INVALID,
     "Number of items in AdditionalVersionWeights cannot be greater than 1"),
    ("CreateAlias", alias(FunctionVersion="$LATEST", RoutingConfig=weights(v1=0.1)), 400, INVALID,
     "$LATEST is not supported for an alias pointing to more than 1 version"),
    ("CreateAlias", alias(RoutingConfig=weights(v1=0.1)), 400, INVALID,
     "Invalid function version 1. Function version 1 is already included in routing configuration."),
    ("CreateAlias", alias(RoutingConfig=weights(v2=1.5)), 400, VALIDATION,
     violation("'{2=1.5}'", "routingConfig.additionalVersionWeights",
               "must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value "
               "greater than or equal to 0.0, Member must not be null]").replace(": Member must satisfy constraint",
                                                                              ": Map value must satisfy constraint")),
    ("GetAlias", {"FunctionName": "m", "Name": "x"}, 404, ABSENT, f"Cannot find alias arn: {ARN}:x"),
    ("UpdateAlias", {"FunctionName": "m", "Name": "x"}, 404, ABSENT, f"Alias not found: {ARN}:x"),
    ("UpdateAlias", {"FunctionName": "m", "Name": "live", "RevisionId": STALE}, 412, STALE_ID, STALE_FUNCTION),
    ("Invoke", {"FunctionName": "m", "Qualifier": "x"}, 404, ABSENT, f"Function not found: {ARN}:x"),
]  # fmt: skip

POLICIES = [
    ("AddPermission", {**PERMISSION, "Principal": "nobody"}, 400, INVALID,
     "The provided principal was invalid. Please check the principal and try again."),
    ("AddPermission", {**PERMISSION, "Qualifier": "$LATEST"}, 400, INVALID,
     "We currently do not support adding policies for $LATEST."),
    ("AddPermission", {**PERMISSION, "StatementId": "s"}, 409, CONFLICT,
     "The statement id (s) provided already exists. Please provide a new statement id, or remove the existing "
     "statement."),
    ("AddPermission", {**PERMISSION, "FunctionName": "none"}, 404, ABSENT, f"Function not found: {BASE}:function:none"),
    ("AddPermission", {**PERMISSION, "Qualifier": "9"}, 404, ABSENT, f"Function not found: {ARN}:9"),
    ("AddPermission", {**PERMISSION, "Qualifier": "x"}, 404, ABSENT, f"Cannot find alias arn: {ARN}:x"),
    ("AddPermission", {**PERMISSION, "RevisionId": STALE}, 412, STALE_ID, STALE_POLICY),
    ("AddPermission", {**PERMISSION, "FunctionUrlAuthType": "NONE"}, 400, INVALID,
     "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action"),
    ("AddPermission", {**PERMISSION, "StatementId": "a.b"}, 400, VALIDATION,
     violation("'a.b'", "statementId", "must satisfy regular expression pattern: ([a-zA-Z0-9-_]+)")),
    ("RemovePermission", {"FunctionName": "m", "StatementId": "u"}, 404, ABSENT,
     "Statement u is not found in resource policy."),
    ("RemovePermission", {"FunctionName": "m:1", "StatementId": "s"}, 404, ABSENT,
     "No policy is associated with the given resource."),
    ("RemovePermission", {"FunctionName": "m", "StatementId": "s", "RevisionId": STALE}, 412, STALE_ID, STALE_POLICY),
    ("GetPolicy", {"FunctionName": "m", "Qualifier": "1"}, 404, ABSENT, NO_RESOURCE),
    ("GetPolicy", {"FunctionName": "none"}, 404, ABSENT, NO_RESOURCE),
    ("GetResourcePolicy", {"ResourceArn": f"{ARN}:live"}, 404, ABSENT, NO_RESOURCE),
    ("DeleteResourcePolicy", {"ResourceArn": ARN, "RevisionId": STALE}, 412, STALE_ID,
     STALE_POLICY.replace("GetPolicy", "GetResourcePolicy")),
]  # fmt: skip

TAGS = [
    ("TagResource", {"Resource": ARN, "Tags": {str(number): "" for number in range(51)}}, 400, INVALID,
     "Number of tags exceeds resource tag limit."),
    ("TagResource", {"Resource": f"{ARN}:live", "Tags": {"a": "b"}}, 400, INVALID,
     "Tags on function aliases and versions are not supported. Please specify a function ARN."),
    ("ListTags", {"Resource": f"{BASE}:function:none"}, 404, ABSENT, f"Function not found: {BASE}:function:none"),
    ("UntagResource", {"Resource": ARN, "TagKeys": []}, 400, VALIDATION,
     violation("null", "tagKeys", "must not be null")),
]  # fmt: skip


@pytest.fixture(scope="module")
def careless(service: RunningService) -> Iterator[Any]:
    """A client that leaves all checks to the server, and a function `m` with a version 1, an alias, a permission."""
    client = careless_client(service)
    deploy(client, "m", CODE["ZipFile"])
    client.publish_version(FunctionName="m")
    client.create_alias(FunctionName="m", Name="live", FunctionVersion="1")
    client.add_permission(**{**PERMISSION, "StatementId": "s"})
    yield client
    client.delete_function(FunctionName="m")


@pytest.mark.parametrize(
    ("operation", "members", "status", "code", "message"),
    [*NAMES, *FUNCTIONS, *VERSIONS, *POLICIES, *TAGS],
    ids=lambda value: value if isinstance(value, str) and value.isalpha() else "",
)
def test_a_client_is_told_what_aws_tells(
    careless: Any, operation: str, members: dict[str, Any], status: int, code: str, message: str
) -> None:
    assert refusal(careless, operation, members) == (status, code, message)


def test_the_code_that_is_published_must_be_the_one_that_was_meant(careless: Any) -> None:
    current = careless.get_function_configuration(FunctionName="m")["CodeSha256"]
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        careless.publish_version(FunctionName="m", CodeSha256="other")
    assert refused.value.response["Error"]["Message"] == (
        f"CodeSHA256 (other) is different from current CodeSHA256 in $LATEST ({current}). Please try again with the "
        "CodeSHA256 in $LATEST."
    )


@pytest.mark.parametrize(
    "name",
    [
        "m:1:2",
        "m$",
        "12345:function:m",
        "arn:aws:s3:us-east-1:000000000000:function:m",
        "a b",
        "ü",
        "١٢٣٤٥٦٧٨٩٠١٢:function:m",
    ],
)
def test_what_is_no_name_is_a_validation_error_with_awss_pattern(careless: Any, name: str) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        careless.get_function(FunctionName=name)
    error = refused.value.response["Error"]
    assert error["Code"] == "ValidationException"
    assert error["Message"].startswith(
        violation(f"'{name}'", "functionName", "must satisfy regular expression pattern: (arn:")
    )


def test_unpacked_code_is_bounded(careless: Any) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match="Unzipped size must be smaller than 262144000 bytes"):
        careless.create_function(**{**NEW, "Code": {"ZipFile": make_zip({"zeros": bytes(262_144_001)})}})


def test_a_change_under_way_is_in_the_way_of_the_next(careless: Any) -> None:
    """Thousands of files keep the unpacking busy for long after the answer."""
    large = make_zip({"app.py": "", **{f"{number}": "" for number in range(8_000)}})
    changed = {"FunctionName": "n", "Timeout": 9}
    careless.create_function(**{**NEW, "Code": {"ZipFile": large}})
    try:
        with pytest.raises(botocore.exceptions.ClientError) as pending:
            careless.update_function_configuration(**changed)
        careless.get_waiter("function_active_v2").wait(FunctionName="n", WaiterConfig={"Delay": 0.05})
        larger = make_zip({"app.py": "1", **{f"{number}": "" for number in range(8_000)}})
        updating = careless.update_function_code(FunctionName="n", ZipFile=larger)
        assert (updating["State"], updating["LastUpdateStatus"]) == ("Active", "InProgress")
        with pytest.raises(botocore.exceptions.ClientError) as updated:
            careless.update_function_configuration(**changed)
    finally:
        careless.get_waiter("function_updated_v2").wait(FunctionName="n", WaiterConfig={"Delay": 0.05})
        careless.delete_function(FunctionName="n")
    assert pending.value.response["Error"] == {
        "Code": CONFLICT,
        "Message": "The operation cannot be performed at this time. The function is currently in the following state: "
        "Pending",
    }
    assert updated.value.response["Error"]["Message"] == (
        f"The operation cannot be performed at this time. An update is in progress for resource: {BASE}:function:n"
    )


class TestBodies:
    """How an error looks on the wire, by kind (reference/api.md §1.1)."""

    @pytest.fixture
    def wire(self, service: RunningService, careless: Any) -> Iterator[Wire]:
        one = Wire(service.endpoint_url)
        yield one
        one.close()

    @pytest.mark.parametrize(
        ("operation", "members", "body"),
        [
            ("GetFunction", {"FunctionName": "none"},
             {"Type": "User", "Message": f"Function not found: {BASE}:function:none"}),
            ("PublishVersion", {"FunctionName": "m:1"}, {"Type": "User", "message": UNQUALIFIED_ONLY}),
            ("CreateAlias", alias(Name="live"), {"Type": "User", "message": f"Alias already exists: {ARN}:live"}),
            ("PublishVersion", {"FunctionName": "m", "RevisionId": STALE}, {"Type": "User", "message": STALE_FUNCTION}),
            ("ListFunctions", {"MaxItems": 0},
             {"message": violation("'0'", "maxItems", "must have value greater than or equal to 1")}),
            ("CreateAlias", {"FunctionName": "m", "Description": "x" * 257, "FunctionVersion": "1"},
             {"message": "2 validation errors detected: Value null at 'name' failed to satisfy constraint: Member must "
                         f"not be null; Value '{'x' * 257}' at 'description' failed to satisfy constraint: Member must "
                         "have length less than or equal to 256"}),
        ],
    )  # fmt: skip
    def test_members_are_spelled_as_the_model_spells_them(
        self, wire: Wire, operation: str, members: dict[str, Any], body: dict[str, str]
    ) -> None:
        assert wire.send(wire_request(operation, members)).members == body

    def test_a_request_that_is_too_large_is_refused_by_its_operation(self, wire: Wire) -> None:
        request = wire_request("CreateFunction", {"FunctionName": "x" * 70_167_212})
        answer = wire.send(request)
        assert (answer.status, answer.code) == (413, "RequestEntityTooLargeException")
        assert answer.members["message"] == (
            "Request must be smaller than 70167211 bytes for the CreateFunction operation"
        )

    def test_a_zip_that_is_too_large_is_refused(self, careless: Any) -> None:
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            careless.update_function_code(FunctionName="m", ZipFile=bytes(52_428_801))
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
        assert refused.value.response["Error"] == {
            "Code": "RequestEntityTooLargeException",
            "Message": "Zipped size must be smaller than 52428800 bytes",
        }

    def test_what_is_deleted_or_untagged_answers_nothing(self, wire: Wire) -> None:
        for operation, members in (
            ("DeleteAlias", {"FunctionName": "m", "Name": "absent"}),
            ("DeleteFunction", {"FunctionName": "m", "Qualifier": "9"}),
            ("UntagResource", {"Resource": ARN, "TagKeys": ["absent"]}),
        ):
            answer = wire.send(wire_request(operation, members))
            assert (answer.status, answer.body) == (204, b"")


def test_a_permission_of_a_client_is_the_statement_that_aws_writes(careless: Any) -> None:
    added = careless.add_permission(
        FunctionName="m:live", StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::bucket", SourceAccount="123456789012",
    )  # fmt: skip
    statement = (
        '{"Sid":"s3","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"lambda:InvokeFunction",'
        f'"Resource":"{ARN}:live","Condition":{{"StringEquals":{{"AWS:SourceAccount":"123456789012"}},'
        '"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::bucket"}}}'
    )
    assert added["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert added["Statement"] == statement
    assert careless.get_policy(FunctionName="m", Qualifier="live")["Policy"] == (
        f'{{"Version":"2012-10-17","Id":"default","Statement":[{statement}]}}'
    )
    removed = careless.remove_permission(FunctionName="m", Qualifier="live", StatementId="s3")
    assert removed["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_an_alias_shares_its_invokes_by_weight(careless: Any) -> None:
    deploy(careless, "w", "def handler(event, context):\n    return context.function_version\n")
    try:
        careless.publish_version(FunctionName="w")
        careless.update_function_configuration(FunctionName="w", Description="another")
        careless.get_waiter("function_updated_v2").wait(FunctionName="w", WaiterConfig={"Delay": 0.05})
        careless.publish_version(FunctionName="w")
        careless.create_alias(FunctionName="w", Name="live", FunctionVersion="1", RoutingConfig=weights(v2=0.5))
        answers = [careless.invoke(FunctionName="w:live") for _ in range(40)]
        assert {answer["ExecutedVersion"] for answer in answers} == {"1", "2"}
        assert all(json.loads(answer["Payload"].read()) == answer["ExecutedVersion"] for answer in answers)
        careless.update_alias(FunctionName="w", Name="live", RoutingConfig=weights())
        assert {careless.invoke(FunctionName="w:live")["ExecutedVersion"] for _ in range(10)} == {"1"}
    finally:
        careless.delete_function(FunctionName="w")


def test_code_storage_ends_where_the_server_was_told(tmp_path: Path) -> None:
    package = make_zip({"app.py": "x"})
    with running_service(tmp_path / "data", "--egress", "none", "--code-storage", f"{len(package)}B") as small:
        client = small.client()
        deploy(client, "first", package)
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            deploy(client, "second", package)
        settings = client.get_account_settings()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert refused.value.response["Error"] == {
        "Code": "CodeStorageExceededException",
        "Message": "Code storage limit exceeded.",
    }
    assert settings["AccountLimit"]["TotalCodeSize"] == settings["AccountUsage"]["TotalCodeSize"] == len(package)
