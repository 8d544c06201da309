"""What is refused of layers, concurrency, signing and everything Lambent does not do, word for word.

The rest of reference/api.md §3.3–§10 and iam.md §4; `test_control_messages` begins it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

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
    Case,
    careless_client,
    refusal,
    violation,
)
from lambda_wire import Wire, lambda_model, wire_request

from lambent.testing.service import RunningService, deploy, make_zip

ARN = f"{BASE}:function:p"
LAYER = f"{BASE}:layer:l"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:refusals"
CSC = f"{BASE}:code-signing-config:csc-0123456789abcdef0"
SUBNETS = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
ACCESS_POINT = "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-0123456789abcdef0"
KEY = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-4000-8000-000000000000"
SNAP_START = {"ApplyOn": "PublishedVersions"}
PROVIDER = {"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": f"{BASE}:capacity-provider:c"}}

TAG_PATTERN = r"Member must satisfy regular expression pattern: ([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"


def not_done(parameter: str) -> str:
    return f"Lambent does not support {parameter} yet: remove it from the request. See docs/compatibility.md"


def created(parameter: str, **members: Any) -> Case:
    return ("CreateFunction", {**NEW, **members}, 400, INVALID, not_done(parameter))


def updated(parameter: str, **members: Any) -> Case:
    return ("UpdateFunctionConfiguration", {"FunctionName": "p", **members}, 400, INVALID, not_done(parameter))


def mapped(parameter: str, **members: Any) -> Case:
    source = {"FunctionName": "p", "EventSourceArn": QUEUE}
    return ("CreateEventSourceMapping", {**source, **members}, 400, INVALID, not_done(parameter))


def with_layers(*layers: str, message: str) -> Case:
    return ("CreateFunction", {**NEW, "Layers": list(layers)}, 400, INVALID, message)


def grant(**members: Any) -> dict[str, Any]:
    given = {"LayerName": "l", "VersionNumber": 1, "StatementId": "t", "Action": "lambda:GetLayerVersion"}
    return {**given, "Principal": "*", **members}


def put(amount: int, **members: Any) -> dict[str, Any]:
    return {"FunctionName": "p", "ProvisionedConcurrentExecutions": amount, **members}


NOT_DONE = [
    created("VpcConfig", VpcConfig=SUBNETS),
    created("FileSystemConfigs", FileSystemConfigs=[{"Arn": ACCESS_POINT, "LocalMountPath": "/mnt/a"}]),
    created("KMSKeyArn", KMSKeyArn=KEY),
    created("ImageConfig", ImageConfig={"Command": ["app.handler"]}),
    created("PackageType Image", PackageType="Image", Runtime=None, Handler=None, Code={"ImageUri": "a/b:c"}),
    created("TenancyConfig", TenancyConfig={"TenantIsolationMode": "PER_TENANT"}),
    created("CapacityProviderConfig", CapacityProviderConfig=PROVIDER),
    created("DurableConfig", DurableConfig={"ExecutionTimeout": 60, "RetentionPeriodInDays": 1}),
    created("PublishTo", PublishTo="LATEST_PUBLISHED"),
    created("Code.SourceKMSKeyArn", Code={**CODE, "SourceKMSKeyArn": KEY}),
    updated("VpcConfig", VpcConfig=SUBNETS),
    updated("FileSystemConfigs", FileSystemConfigs=[{"Arn": ACCESS_POINT, "LocalMountPath": "/mnt/a"}]),
    updated("KMSKeyArn", KMSKeyArn=KEY),
    updated("ImageConfig", ImageConfig={"Command": ["app.handler"]}),
    updated("CapacityProviderConfig", CapacityProviderConfig=PROVIDER),
    updated("DurableConfig", DurableConfig={"ExecutionTimeout": 60, "RetentionPeriodInDays": 1}),
    ("UpdateFunctionCode", {"FunctionName": "p", **CODE, "PublishTo": "LATEST_PUBLISHED"}, 400, INVALID,
     not_done("PublishTo")),
    ("UpdateFunctionCode", {"FunctionName": "p", **CODE, "SourceKMSKeyArn": KEY}, 400, INVALID,
     not_done("SourceKMSKeyArn")),
    ("PublishVersion", {"FunctionName": "p", "PublishTo": "LATEST_PUBLISHED"}, 400, INVALID, not_done("PublishTo")),
    ("AddLayerVersionPermission", grant(OrganizationId="o-0123456789"), 400, INVALID, not_done("OrganizationId")),
    mapped("KMSKeyArn", KMSKeyArn=KEY),
    mapped("MetricsConfig", MetricsConfig={"Metrics": ["EventCount"]}),
    mapped("ProvisionedPollerConfig", ProvisionedPollerConfig={"MinimumPollers": 1}),
]  # fmt: skip

FUNCTIONS = [
    ("CreateFunction", {**NEW, "Runtime": "cobol1.0"}, 400, INVALID,
     "Value cobol1.0 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
     f"[{', '.join(lambda_model().shape_for('Runtime').enum)}] or be a valid ARN"),
    ("CreateFunction", {**NEW, "Runtime": "nodejs22.x", "SnapStart": SNAP_START}, 400, INVALID,
     "nodejs22.x is not supported for SnapStart enabled functions."),
    ("UpdateFunctionConfiguration", {"FunctionName": "p", "Runtime": "nodejs22.x", "SnapStart": SNAP_START}, 400,
     INVALID, "nodejs22.x is not supported for SnapStart enabled functions."),
    ("CreateFunction", {**NEW, "Environment": {"Variables": {"AWS_REGION": "x", "FINE": "y"}}}, 400, INVALID,
     "Lambda was unable to configure your environment variables because the environment variables you have provided "
     "contains reserved keys that are currently not supported for modification. Reserved keys used in this request: "
     "AWS_REGION"),
    ("CreateFunction", {**NEW, "Code": {"S3Bucket": "bucket"}}, 400, INVALID,
     "Please provide a source for function code."),
    ("CreateFunction", {**NEW, "PackageType": "Image", "Code": {}, "Runtime": None, "Handler": None}, 400, INVALID,
     "Please provide a source for function code."),
    ("CreateFunction", {**NEW, "CodeSigningConfigArn": CSC}, 404, "CodeSigningConfigNotFoundException",
     "The code signing configuration cannot be found. Check that the provided configuration is not deleted: "
     f"{CSC}."),
    ("CreateFunction", {**NEW, "EphemeralStorage": {"Size": 10_241}}, 400, VALIDATION,
     violation("'10241'", "ephemeralStorage.size", "must have value less than or equal to 10240")),
    ("CreateFunction", {**NEW, "Timeout": 0}, 400, VALIDATION,
     violation("'0'", "timeout", "must have value greater than or equal to 1")),
    ("CreateFunction", {**NEW, "Tags": {str(number): "" for number in range(51)}}, 400, INVALID,
     "Number of tags exceeds resource tag limit."),
    ("CreateFunction", {**NEW, "FunctionName": f"{ARN}:1"}, 400, INVALID, UNQUALIFIED_ONLY),
    ("CreateFunction", {**NEW, "FunctionName": None, "Role": None}, 400, VALIDATION,
     "2 validation errors detected: Value null at 'functionName' failed to satisfy constraint: Member must not be "
     "null; Value null at 'role' failed to satisfy constraint: Member must not be null"),
    ("UpdateFunctionConfiguration", {"FunctionName": "p", "MemorySize": 10_241}, 400, INVALID,
     "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240"),
    ("CreateAlias", {"FunctionName": "p", "Name": "12", "FunctionVersion": "1"}, 400, VALIDATION,
     violation("'12'", "name", "must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)")),
    ("CreateAlias", {"FunctionName": "p", "Name": "x" * 129, "FunctionVersion": "1"}, 400, VALIDATION,
     violation(f"'{'x' * 129}'", "name", "must have length less than or equal to 128")),
    ("UpdateAlias", {"FunctionName": "p", "Name": "live", "FunctionVersion": "9"}, 404, ABSENT,
     f"Function not found: {ARN}:9"),
    ("ListFunctions", {"Marker": "no marker"}, 400, INVALID,
     "The Marker is not one that a previous page gave as NextMarker."),
]  # fmt: skip

LAYERS = [
    with_layers(*(f"{LAYER}{number}:1" for number in range(6)), message="Cannot reference more than 5 layers."),
    with_layers(f"{LAYER}:1", f"{LAYER}:2", message=(
        "Two different versions of the same layer are not allowed to be referenced in the same function. "
        f"{LAYER}:1 and {LAYER}:2 are versions of the same layer.")),
    with_layers(f"{LAYER}:9", message=f"Layer version {LAYER}:9 does not exist."),
    with_layers(f"{LAYER}:0", message="Layer Version Cannot be less than 1"),
    with_layers(f"{LAYER}:1".replace("us-east-1", "eu-west-1"), message=(
        "Layers are not in the same region as the function. Layers are expected to be in region us-east-1.")),
    ("GetLayerVersion", {"LayerName": "l", "VersionNumber": 9}, 404, ABSENT, NO_RESOURCE),
    ("GetLayerVersion", {"LayerName": "none", "VersionNumber": 1}, 404, ABSENT, NO_RESOURCE),
    ("GetLayerVersion", {"LayerName": "l", "VersionNumber": 0}, 400, INVALID, "Layer Version Cannot be less than 1"),
    ("GetLayerVersionByArn", {"Arn": f"{LAYER}:9"}, 404, ABSENT, NO_RESOURCE),
    ("AddLayerVersionPermission", grant(VersionNumber=9), 404, ABSENT, f"Layer version {LAYER}:9 does not exist."),
    ("AddLayerVersionPermission", grant(StatementId="s"), 409, CONFLICT,
     "The statement id (s) provided already exists. Please provide a new statement id, or remove the existing "
     "statement."),
    ("AddLayerVersionPermission", grant(Action="lambda:Get"), 400, VALIDATION,
     violation("'lambda:Get'", "action", "must satisfy regular expression pattern: lambda:GetLayerVersion")),
    ("AddLayerVersionPermission", grant(Principal="anybody"), 400, VALIDATION,
     violation("'anybody'", "principal",
               r"must satisfy regular expression pattern: \d{12}|\*|arn:(aws[a-zA-Z-]*):iam::\d{12}:root")),
    ("AddLayerVersionPermission", grant(RevisionId=STALE), 412, STALE_ID,
     STALE_FUNCTION.replace("GetFunction/GetAlias", "GetLayerPolicy")),
    ("GetLayerVersionPolicy", {"LayerName": "l", "VersionNumber": 2}, 404, ABSENT,
     "No policy is associated with the given resource."),
    ("GetLayerVersionPolicy", {"LayerName": "l", "VersionNumber": 9}, 404, ABSENT,
     f"Layer version {LAYER}:9 does not exist."),
    ("RemoveLayerVersionPermission", {"LayerName": "l", "VersionNumber": 1, "StatementId": "u"}, 404, ABSENT,
     "Statement u is not found in resource policy."),
    ("RemoveLayerVersionPermission", {"LayerName": "l", "VersionNumber": 2, "StatementId": "s"}, 404, ABSENT,
     "No policy is associated with the given resource."),
    ("RemoveLayerVersionPermission", {"LayerName": "l", "VersionNumber": 1, "StatementId": "s", "RevisionId": STALE},
     412, STALE_ID, STALE_FUNCTION.replace("GetFunction/GetAlias", "GetLayerPolicy")),
    ("ListLayers", {"MaxItems": 51}, 400, VALIDATION,
     violation("'51'", "maxItems", "must have value less than or equal to 50")),
]  # fmt: skip

CONCURRENCY = [
    ("PutFunctionConcurrency", {"FunctionName": "p", "ReservedConcurrentExecutions": 901}, 400, INVALID,
     "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
     "minimum value of [100]."),
    ("PutFunctionConcurrency", {"FunctionName": "p", "ReservedConcurrentExecutions": 0}, 400, INVALID,
     " ReservedConcurrentExecutions  0 should not be lower than function's total provisioned concurrency [1]."),
    ("PutProvisionedConcurrencyConfig", put(1, Qualifier="$LATEST"), 400, INVALID,
     "Provisioned Concurrency Configs cannot be applied to unpublished function versions."),
    ("PutProvisionedConcurrencyConfig", put(1, Qualifier="edge"), 400, INVALID,
     "Provisioned Concurrency Configs cannot be applied to unpublished function versions."),
    ("GetProvisionedConcurrencyConfig", {"FunctionName": "p", "Qualifier": "$LATEST"}, 400, INVALID,
     "The function resource provided must be an alias or a published version."),
    ("PutProvisionedConcurrencyConfig", put(0, Qualifier="live"), 400, VALIDATION,
     violation("'0'", "provisionedConcurrentExecutions", "must have value greater than or equal to 1")),
    ("PutProvisionedConcurrencyConfig", put(1_000, Qualifier="live"), 400, INVALID,
     "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum "
     "value of [100]."),
    ("PutProvisionedConcurrencyConfig", put(2_000, Qualifier="live"), 400, INVALID,
     "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000]."),
    ("PutProvisionedConcurrencyConfig", put(1, Qualifier="1"), 409, CONFLICT,
     "Version is pointed by a Provisioned Concurrency alias"),
    ("PutProvisionedConcurrencyConfig", put(1, Qualifier="9"), 404, ABSENT, f"Function not found: {ARN}:9"),
    ("PutProvisionedConcurrencyConfig", put(1, Qualifier="none"), 404, ABSENT, f"Cannot find alias arn: {ARN}:none"),
    ("GetProvisionedConcurrencyConfig", {"FunctionName": "p", "Qualifier": "1"}, 404,
     "ProvisionedConcurrencyConfigNotFoundException", "No Provisioned Concurrency Config found for this function"),
]  # fmt: skip

TAGS_AND_URLS = [
    ("TagResource", {"Resource": ARN, "Tags": {"x" * 129: ""}}, 400, VALIDATION,
     f"1 validation error detected: Value '{{{'x' * 129}=}}' at 'tags' failed to satisfy constraint: Map keys must "
     "satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or "
     f"equal to 1, {TAG_PATTERN}, Member must not be null]"),
    ("TagResource", {"Resource": ARN, "Tags": {"a": "x" * 257}}, 400, VALIDATION,
     f"1 validation error detected: Value '{{a={'x' * 257}}}' at 'tags' failed to satisfy constraint: Map value must "
     "satisfy constraint: [Member must have length less than or equal to 256, Member must have length greater than or "
     f"equal to 0, {TAG_PATTERN}, Member must not be null]"),
    ("TagResource", {"Resource": ARN, "Tags": {"aws:x": ""}}, 400, INVALID,
     "Tag key 'aws:x' is not allowed: the prefix aws: is reserved for AWS."),
    ("TagResource", {"Resource": f"{ARN}:1", "Tags": {"a": "b"}}, 400, INVALID,
     "Tags on function aliases and versions are not supported. Please specify a function ARN."),
    ("TagResource", {"Resource": f"{BASE}:event-source-mapping:{STALE}", "Tags": {"a": "b"}}, 404, ABSENT,
     NO_RESOURCE),
    ("ListTags", {"Resource": CSC}, 404, ABSENT, f"The Lambda code signing configuration {CSC} can not be found."),
    ("CreateFunctionUrlConfig", {"FunctionName": "p", "Qualifier": "live", "AuthType": "NONE"}, 409, CONFLICT,
     f"Failed to create function url config for [functionArn = {ARN}:live]. Error message:  FunctionUrlConfig exists "
     "for this Lambda function"),
    ("CreateFunctionUrlConfig", {"FunctionName": "p", "Qualifier": "none", "AuthType": "NONE"}, 404, ABSENT,
     f"Cannot find alias arn: {ARN}:none"),
    ("GetFunctionUrlConfig", {"FunctionName": "p"}, 404, ABSENT, NO_RESOURCE),
]  # fmt: skip


@pytest.fixture(scope="module")
def careless(service: RunningService) -> Iterator[Any]:
    """A function `p` with a version, two aliases, one of them provisioned and with a URL, and a layer `l`."""
    client = careless_client(service)
    deploy(client, "p", CODE["ZipFile"])
    client.publish_version(FunctionName="p")
    client.create_alias(FunctionName="p", Name="live", FunctionVersion="1")
    client.create_alias(FunctionName="p", Name="edge", FunctionVersion="$LATEST")
    client.put_provisioned_concurrency_config(FunctionName="p", Qualifier="live", ProvisionedConcurrentExecutions=1)
    client.create_function_url_config(FunctionName="p", Qualifier="live", AuthType="NONE")
    for _ in range(2):
        client.publish_layer_version(LayerName="l", Content={"ZipFile": make_zip({"a": ""})})
    client.add_layer_version_permission(**grant(StatementId="s"))
    yield client
    client.delete_function(FunctionName="p")
    for number in (1, 2):
        client.delete_layer_version(LayerName="l", VersionNumber=number)


@pytest.fixture
def wire(service: RunningService) -> Iterator[Wire]:
    one = Wire(service.endpoint_url)
    yield one
    one.close()


@pytest.mark.parametrize(
    ("operation", "members", "status", "code", "message"),
    [*NOT_DONE, *FUNCTIONS, *LAYERS, *CONCURRENCY, *TAGS_AND_URLS],
    ids=lambda value: value if isinstance(value, str) and value.isalpha() else "",
)
def test_a_client_is_told_what_is_wrong(
    careless: Any, operation: str, members: dict[str, Any], status: int, code: str, message: str
) -> None:
    assert refusal(careless, operation, members) == (status, code, message)


def test_provisioned_concurrency_is_bounded_by_the_reserved_one(careless: Any) -> None:
    careless.put_function_concurrency(FunctionName="p", ReservedConcurrentExecutions=2)
    assert refusal(careless, "PutProvisionedConcurrencyConfig", put(3, Qualifier="live")) == (
        400,
        INVALID,
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
    )
    careless.delete_function_concurrency(FunctionName="p")


def test_an_alias_cannot_move_to_where_another_one_is_provisioned(careless: Any) -> None:
    alias = {"FunctionName": "p", "Name": "second"}
    careless.create_alias(**alias, FunctionVersion="1")
    assert refusal(careless, "PutProvisionedConcurrencyConfig", put(1, Qualifier="second")) == (
        409,
        CONFLICT,
        "Version is pointed by a Provisioned Concurrency alias",
    )
    careless.delete_alias(**alias)


@pytest.mark.parametrize(
    ("operation", "members", "body"),
    [
        ("PutFunctionConcurrency", {"FunctionName": "p", "ReservedConcurrentExecutions": 901}, {"message"}),
        ("CreateAlias", {"FunctionName": "p", "Name": "x", "FunctionVersion": "$LATEST",
                         "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.1}}}, {"message"}),
        ("PutFunctionConcurrency", {"FunctionName": "p", "ReservedConcurrentExecutions": 0}, {"message", "Type"}),
        ("GetProvisionedConcurrencyConfig", {"FunctionName": "p", "Qualifier": "1"}, {"message", "Type"}),
        ("CreateFunction", {**NEW, "Code": {}, "CodeSigningConfigArn": CSC}, {"message", "Type"}),
        ("PutFunctionCodeSigningConfig", {"FunctionName": "p", "CodeSigningConfigArn": CSC}, {"Message", "Type"}),
        ("GetLayerVersion", {"LayerName": "l", "VersionNumber": 9}, {"Message", "Type"}),
        ("ListCapacityProviders", {}, {"message"}),
    ],
)  # fmt: skip
def test_each_kind_of_error_has_its_members(
    careless: Any, wire: Wire, operation: str, members: dict[str, Any], body: set[str]
) -> None:
    assert set(wire.send(wire_request(operation, members)).members) == body


def test_a_policy_ends_at_20_kilobytes(careless: Any, wire: Wire) -> None:
    """The statement that would be too much is not added, and the policy stays as it was."""
    deploy(careless, "guarded", CODE["ZipFile"])
    permission = {"FunctionName": "guarded", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    bucket = "arn:aws:s3:::" + "b" * 1_000
    try:
        for number in range(16):
            careless.add_permission(**permission, StatementId=f"s{number}", SourceArn=bucket)
        before = careless.get_policy(FunctionName="guarded")
        answer = wire.send(wire_request("AddPermission", {**permission, "StatementId": "t", "SourceArn": bucket}))
        assert (answer.status, answer.code) == (400, "PolicyLengthExceededException")
        size = 0 if not answer.members else int(answer.members["message"].split("(")[1].split(")")[0])
        assert answer.members == {
            "Type": "User",
            "message": f"The final policy size ({size}) is bigger than the limit (20480).",
        }
        assert 20_480 < size < 20_480 + 2_000
        after = careless.get_policy(FunctionName="guarded")
        assert (after["Policy"], after["RevisionId"]) == (before["Policy"], before["RevisionId"])
        document = {"ResourceArn": f"{BASE}:function:guarded", "Policy": "{" + " " * 20_480}
        assert refusal(careless, "PutResourcePolicy", document) == (
            400,
            VALIDATION,
            violation(f"'{document['Policy']}'", "policy", "must have length less than or equal to 20480"),
        )
    finally:
        careless.delete_function(FunctionName="guarded")


def test_a_mapping_is_in_use_while_its_change_is_under_way(careless: Any, service: RunningService) -> None:
    """Both requests arrive in one piece, so the second is read before whoever polls has settled the first."""
    mapping = careless.create_event_source_mapping(FunctionName="p", EventSourceArn=QUEUE, Enabled=False)
    uuid = mapping["UUID"]
    while careless.get_event_source_mapping(UUID=uuid)["State"] != "Disabled":
        pass
    url = urlsplit(service.endpoint_url)
    change = wire_request("UpdateEventSourceMapping", {"UUID": uuid, "BatchSize": 2})
    removal = wire_request("DeleteEventSourceMapping", {"UUID": uuid})
    sent = b"".join(
        f"{one.method} {one.target} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {len(one.body)}\r\n\r\n".encode()
        + one.body
        for one in (change, removal)
    )
    with socket.create_connection((str(url.hostname), int(url.port or 0))) as connection:
        connection.sendall(sent)
        received = b""
        while received.count(b"HTTP/1.1 ") < 2 or not received.rstrip().endswith(b"}"):
            received += connection.recv(65_536)
    answers = received.split(b"HTTP/1.1 ")[1:]
    assert answers[0].startswith(b"202")
    assert answers[1].startswith(b"400")
    assert b"x-amzn-ErrorType: ResourceInUseException" in answers[1]
    assert b'{"Type":"User","Message":"Cannot delete the event source mapping because it is in use."}' in answers[1]
    while careless.get_event_source_mapping(UUID=uuid)["State"] != "Disabled":
        pass
    careless.delete_event_source_mapping(UUID=uuid)


def test_an_unknown_path_is_an_unknown_operation(service: RunningService) -> None:
    one = Wire(service.endpoint_url)
    request = wire_request("ListFunctions", {})
    answer = one.send(type(request)(method="GET", target="/2015-03-31/nothing", headers=request.headers, body=b""))
    one.close()
    assert (answer.status, answer.code) == (404, "UnknownOperationException")
