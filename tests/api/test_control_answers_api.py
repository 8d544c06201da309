"""What the control plane answers and how functions move on, as a client sees it (api.md §3–§9, iam.md §4)."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from control_client import BASE, CODE, NEW, STALE, careless_client, refusal
from lambda_wire import Wire, lambda_model, wire_request

from lambent.frontend.operations import IMPLEMENTED
from lambent.testing.service import ROLE, RunningService, deploy, make_zip

ARN = f"{BASE}:function:a"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000")


@pytest.fixture(scope="module")
def careless(service: RunningService) -> Iterator[Any]:
    """A client, and a function `a` with a version 1 and an alias `live` of it."""
    client = careless_client(service)
    deploy(client, "a", CODE["ZipFile"])
    client.publish_version(FunctionName="a")
    client.create_alias(FunctionName="a", Name="live", FunctionVersion="1")
    yield client
    client.delete_function(FunctionName="a")


@pytest.fixture
def wire(service: RunningService) -> Iterator[Wire]:
    one = Wire(service.endpoint_url)
    yield one
    one.close()


@pytest.fixture
def mortal(careless: Any) -> Iterator[Callable[..., str]]:
    """Makes functions that the test may change, and deletes them after it."""
    names: list[str] = []

    def make(**members: Any) -> str:
        name = deploy(careless, f"mortal-{len(names)}", CODE["ZipFile"], **members)
        names.append(name)
        return name

    yield make
    for name in names:
        settle(careless, name)
        careless.delete_function(FunctionName=name)


def slow_zip(mark: str) -> bytes:
    """Thousands of files keep the unpacking busy for long after the answer; what was unpacked once would not."""
    return make_zip({"app.py": "def handler(event, context): ...\n", **{f"{mark}{one}": "" for one in range(6_000)}})


def settle(client: Any, name: str) -> None:
    for waiter in ("function_active_v2", "function_updated_v2"):
        client.get_waiter(waiter).wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 400})


def update(client: Any, name: str, **members: Any) -> Any:
    answer = client.update_function_configuration(FunctionName=name, **members)
    settle(client, name)
    return answer


def test_a_new_function_is_described_as_aws_describes_it(careless: Any, wire: Wire) -> None:
    """Nothing that has no value is there, and what the request did not say has AWS's defaults."""
    try:
        answer = wire.send(
            wire_request(
                "CreateFunction",
                {**NEW, "FunctionName": "new", "Code": {"ZipFile": b64encode(CODE["ZipFile"]).decode()}},
            )
        )
    finally:
        careless.get_waiter("function_active_v2").wait(FunctionName="new", WaiterConfig={"Delay": 0.05})
        careless.delete_function(FunctionName="new")
    members = answer.members
    changing = {name: members.pop(name) for name in ("LastModified", "RevisionId", "CodeSha256", "ConfigSha256")}
    assert answer.status == 201
    assert answer.headers["content-type"] == "application/json"
    assert UUID.fullmatch(answer.headers["x-amzn-requestid"])
    assert "date" in answer.headers
    assert TIME.fullmatch(changing["LastModified"])
    assert UUID.fullmatch(changing["RevisionId"])
    assert members == {
        "Architectures": members["Architectures"],
        "CodeSize": len(CODE["ZipFile"]),
        "Description": "",
        "EphemeralStorage": {"Size": 512},
        "FunctionArn": f"{BASE}:function:new",
        "FunctionName": "new",
        "Handler": "app.handler",
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/new"},
        "MemorySize": 128,
        "PackageType": "Zip",
        "Role": ROLE,
        "Runtime": "python3.11",
        "RuntimeVersionConfig": members["RuntimeVersionConfig"],
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        "Timeout": 3,
        "TracingConfig": {"Mode": "PassThrough"},
        "Version": "$LATEST",
    }
    runtime = members["RuntimeVersionConfig"]["RuntimeVersionArn"]
    assert re.fullmatch(r"arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}", runtime)


def test_lists_leave_out_states_and_runtime_versions(careless: Any) -> None:
    page = careless.list_functions(MaxItems=10_000)["Functions"]
    [listed] = [one for one in page if one["FunctionName"] == "a"]
    whole = careless.get_function_configuration(FunctionName="a")
    states = {name for name in whole if name.startswith(("State", "LastUpdateStatus"))}
    assert states == {"State", "LastUpdateStatus"}
    assert set(whole) - set(listed) - {"ResponseMetadata"} == states | {"RuntimeVersionConfig", "ConfigSha256"}


def test_tags_and_concurrency_are_shown_where_there_are_any(careless: Any, mortal: Callable[..., str]) -> None:
    plain = careless.get_function(FunctionName="a")
    name = mortal(Tags={"team": "a"})
    careless.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    found = careless.get_function(FunctionName=name)
    careless.delete_function_concurrency(FunctionName=name)
    assert set(plain) == {"Configuration", "Code", "ResponseMetadata"}
    assert plain["Code"]["RepositoryType"] == "S3"
    assert (found["Tags"], found["Concurrency"]) == ({"team": "a"}, {"ReservedConcurrentExecutions": 3})


def test_a_function_is_pending_then_active_and_its_revision_moves_on(careless: Any) -> None:
    created = careless.create_function(**{**NEW, "FunctionName": "moves", "Code": {"ZipFile": slow_zip("created")}})
    try:
        refused = [
            refusal(careless, operation, {"FunctionName": "moves", **members})
            for operation, members in (
                ("UpdateFunctionCode", CODE),
                ("UpdateFunctionConfiguration", {"Timeout": 9}),
                ("PublishVersion", {}),
                ("DeleteFunction", {}),
                ("Invoke", {}),
            )
        ]
    finally:
        settle(careless, "moves")
    active = careless.get_function_configuration(FunctionName="moves")
    careless.delete_function(FunctionName="moves")
    assert (created["State"], "LastUpdateStatus" in created) == ("Pending", False)
    assert set(refused) == {
        (
            409,
            "ResourceConflictException",
            "The operation cannot be performed at this time. The function is currently in the following state: Pending",
        )
    }
    assert (active["State"], active["LastUpdateStatus"]) == ("Active", "Successful")
    assert "StateReason" not in active
    assert active["RevisionId"] != created["RevisionId"]


def test_an_update_is_in_progress_then_successful_and_nothing_else_is_changed_meanwhile(
    careless: Any, mortal: Callable[..., str]
) -> None:
    name = mortal()
    careless.publish_version(FunctionName=name)
    updating = careless.update_function_code(FunctionName=name, ZipFile=slow_zip("updated"), Publish=True)
    refused = [
        refusal(careless, operation, {"FunctionName": name, **members})
        for operation, members in (
            ("UpdateFunctionCode", CODE),
            ("UpdateFunctionConfiguration", {"Timeout": 9}),
            ("PublishVersion", {}),
            ("DeleteFunction", {"Qualifier": "1"}),
            ("DeleteFunction", {}),
        )
    ]
    latest = careless.get_function_configuration(FunctionName=name)
    settle(careless, name)
    published = careless.get_function_configuration(FunctionName=name, Qualifier="2")
    settled = careless.get_function_configuration(FunctionName=name)
    assert set(refused) == {
        (
            409,
            "ResourceConflictException",
            "The operation cannot be performed at this time. An update is in progress for resource: "
            f"{BASE}:function:{name}",
        )
    }
    assert (updating["Version"], updating["State"], updating["StateReasonCode"]) == ("2", "Pending", "Creating")
    assert (latest["State"], latest["LastUpdateStatus"]) == ("Active", "InProgress")
    assert latest["LastUpdateStatusReason"] == "The function is being created."
    assert latest["LastUpdateStatusReasonCode"] == "Creating"
    assert (published["State"], published["LastUpdateStatus"]) == ("Active", "Successful")
    assert settled["LastUpdateStatus"] == "Successful"
    assert settled["RevisionId"] != latest["RevisionId"]


def test_a_function_is_published_as_it_is_created(careless: Any) -> None:
    created = careless.create_function(**{**NEW, "FunctionName": "published", "Publish": True})
    try:
        waiter = careless.get_waiter("published_version_active")
        waiter.wait(FunctionName="published", Qualifier="1", WaiterConfig={"Delay": 1})
        found = careless.get_function_configuration(FunctionName="published", Qualifier="1")
    finally:
        settle(careless, "published")
        careless.delete_function(FunctionName="published")
    assert (created["Version"], created["State"]) == ("1", "Pending")
    assert created["FunctionArn"] == f"{BASE}:function:published", "as AWS has it, and otherwise than of an update"
    assert (found["State"], found["LastUpdateStatus"]) == ("Active", "Successful")


def test_a_structure_replaces_the_one_before_and_an_empty_one_clears_it(
    careless: Any, mortal: Callable[..., str]
) -> None:
    layer = careless.publish_layer_version(LayerName="answers", Content={"ZipFile": make_zip({"a": ""})})
    queue = "arn:aws:sqs:us-east-1:000000000000:dead"
    name = mortal(
        Environment={"Variables": {"AB": "1", "CD": "2"}},
        Layers=[layer["LayerVersionArn"]],
        DeadLetterConfig={"TargetArn": queue},
    )
    one = update(careless, name, Environment={"Variables": {"EF": "3"}})
    none = update(
        careless,
        name,
        Environment={},
        Layers=[],
        DeadLetterConfig={"TargetArn": ""},
        KMSKeyArn="",
        VpcConfig={"SubnetIds": [], "SecurityGroupIds": []},
        FileSystemConfigs=[],
    )
    careless.delete_layer_version(LayerName="answers", VersionNumber=layer["Version"])
    assert one["Environment"] == {"Variables": {"EF": "3"}}
    assert (len(one["Layers"]), one["DeadLetterConfig"]) == (1, {"TargetArn": queue})
    assert not {"Environment", "Layers", "DeadLetterConfig", "KMSKeyArn", "VpcConfig", "FileSystemConfigs"} & set(none)


def test_a_dry_run_validates_and_changes_nothing(careless: Any) -> None:
    before = careless.get_function_configuration(FunctionName="a")
    dry = careless.update_function_code(FunctionName="a", ZipFile=make_zip({"app.py": "new = 1"}), DryRun=True)
    after = careless.get_function_configuration(FunctionName="a")
    broken = refusal(careless, "UpdateFunctionCode", {"FunctionName": "a", "ZipFile": b"no zip", "DryRun": True})
    assert dry["CodeSha256"] != before["CodeSha256"]
    assert (after["CodeSha256"], after["RevisionId"]) == (before["CodeSha256"], before["RevisionId"])
    assert broken[2] == "Could not unzip uploaded file. Please check your file, then try to upload again."


def test_versions_are_numbered_published_once_and_never_again(careless: Any, mortal: Callable[..., str]) -> None:
    name = mortal(Description="first")
    first = careless.publish_version(FunctionName=name)
    again = careless.publish_version(FunctionName=name)
    update(careless, name, Description="second")
    second = careless.publish_version(FunctionName=name, Description="told")
    careless.delete_function(FunctionName=name, Qualifier="2")
    update(careless, name, Description="third")
    third = careless.publish_version(FunctionName=name)
    listed = careless.list_versions_by_function(FunctionName=name)["Versions"]
    statuses = {answer["ResponseMetadata"]["HTTPStatusCode"] for answer in (first, again, second, third)}
    assert statuses == {201}
    assert [one["Version"] for one in (first, again, second, third)] == ["1", "1", "2", "3"]
    assert first["RevisionId"] == again["RevisionId"]
    assert [one["Description"] for one in (first, second, third)] == ["first", "told", "third"]
    assert [one["Version"] for one in listed] == ["$LATEST", "1", "3"]


def test_what_goes_with_a_function_and_what_stays(careless: Any) -> None:
    deploy(careless, "gone", CODE["ZipFile"])
    careless.publish_version(FunctionName="gone")
    careless.create_alias(FunctionName="gone", Name="live", FunctionVersion="1")
    careless.add_permission(FunctionName="gone", StatementId="s", Action="lambda:*", Principal="*")
    careless.put_function_event_invoke_config(FunctionName="gone", MaximumRetryAttempts=0)
    careless.put_function_concurrency(FunctionName="gone", ReservedConcurrentExecutions=1)
    careless.create_function_url_config(FunctionName="gone", AuthType="NONE")
    queue = "arn:aws:sqs:us-east-1:000000000000:gone"
    mapping = careless.create_event_source_mapping(FunctionName="gone", EventSourceArn=queue, Enabled=False)["UUID"]
    deleted = careless.delete_function(FunctionName="gone")
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    deploy(careless, "gone", CODE["ZipFile"])
    try:
        assert [one["Version"] for one in careless.list_versions_by_function(FunctionName="gone")["Versions"]] == [
            "$LATEST"
        ]
        assert careless.list_aliases(FunctionName="gone")["Aliases"] == []
        assert careless.list_function_url_configs(FunctionName="gone")["FunctionUrlConfigs"] == []
        assert careless.list_function_event_invoke_configs(FunctionName="gone")["FunctionEventInvokeConfigs"] == []
        assert "ReservedConcurrentExecutions" not in careless.get_function_concurrency(FunctionName="gone")
        assert refusal(careless, "GetPolicy", {"FunctionName": "gone"})[0] == 404
        assert careless.get_event_source_mapping(UUID=mapping)["FunctionArn"] == f"{BASE}:function:gone"
        assert careless.publish_version(FunctionName="gone")["Version"] == "1"
    finally:
        careless.delete_function(FunctionName="gone")
        while careless.get_event_source_mapping(UUID=mapping)["State"] != "Disabled":
            pass
        careless.delete_event_source_mapping(UUID=mapping)


GUARDED = {
    "AddPermission": {"StatementId": "t", "Action": "lambda:InvokeFunction", "Principal": "*"},
    "PublishVersion": {},
    "RemovePermission": {"StatementId": "s"},
    "UpdateAlias": {"Name": "live", "Description": "moved"},
    "UpdateFunctionCode": {"ZipFile": make_zip({"app.py": "other = 1"})},
    "UpdateFunctionConfiguration": {"Timeout": 9},
}
"""Operations with a RevisionId, on a function."""
OF_POLICIES = {"DeleteResourcePolicy", "PutResourcePolicy"}
OF_LAYERS = {"AddLayerVersionPermission", "RemoveLayerVersionPermission"}


def test_these_are_all_the_operations_with_a_revision() -> None:
    models = [lambda_model().operation_model(name) for name in IMPLEMENTED["lambda"] if name in known()]
    guarded = {one.name for one in models if one.input_shape and "RevisionId" in one.input_shape.members}
    assert guarded == (set(GUARDED) | OF_POLICIES | OF_LAYERS) & known()


def known() -> set[str]:
    return set(lambda_model().operation_names)


@pytest.mark.parametrize("operation", sorted(GUARDED))
def test_a_stale_revision_changes_nothing_and_the_current_one_does(
    careless: Any, mortal: Callable[..., str], operation: str
) -> None:
    name = mortal()
    careless.publish_version(FunctionName=name)
    careless.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    careless.add_permission(FunctionName=name, StatementId="s", Action="lambda:*", Principal="*")
    read = careless.get_alias if operation == "UpdateAlias" else careless.get_function_configuration
    where = {"FunctionName": name, **({"Name": "live"} if operation == "UpdateAlias" else {})}
    before = read(**where)["RevisionId"]
    request = {"FunctionName": name, **GUARDED[operation]}

    refused = refusal(careless, operation, {**request, "RevisionId": STALE})
    unchanged = read(**where)["RevisionId"]
    careless._make_api_call(operation, {**request, "RevisionId": before})
    settle(careless, name)

    reader = "GetPolicy" if "Permission" in operation else "GetFunction/GetAlias"
    assert refused == (
        412,
        "PreconditionFailedException",
        f"The Revision Id provided does not match the latest Revision Id. Call the {reader} API to retrieve the "
        "latest Revision Id",
    )
    assert unchanged == before
    if operation != "PublishVersion":  # nothing has changed since version 1, so nothing is published
        assert read(**where)["RevisionId"] != before


def test_a_whole_policy_has_a_revision_as_well(careless: Any, mortal: Callable[..., str]) -> None:
    arn = f"{BASE}:function:{mortal()}"
    statement = {"Sid": "s", "Effect": "Deny", "Principal": "*", "Action": "lambda:*", "Resource": arn}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    put = careless.put_resource_policy(ResourceArn=arn, Policy=document)
    stale = [
        refusal(careless, operation, {"ResourceArn": arn, "RevisionId": STALE, **members})
        for operation, members in (("PutResourcePolicy", {"Policy": document}), ("DeleteResourcePolicy", {}))
    ]
    read = careless.get_resource_policy(ResourceArn=arn)
    again = careless.put_resource_policy(ResourceArn=arn, Policy=document, RevisionId=put["RevisionId"])
    deleted = careless.delete_resource_policy(ResourceArn=arn, RevisionId=again["RevisionId"])
    assert {one[0] for one in stale} == {412}
    assert (read["Policy"], read["RevisionId"]) == (document, put["RevisionId"])
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204


ORGANIZATION = "o-0123456789ab"
STATEMENTS = [
    ({"Principal": "*"}, '"*"', None),
    ({"Principal": "sns.amazonaws.com"}, '{"Service":"sns.amazonaws.com"}', None),
    ({"Principal": "123456789012"}, '{"AWS":"arn:aws:iam::123456789012:root"}', None),
    ({"Principal": "arn:aws:iam::123456789012:role/r"}, '{"AWS":"arn:aws:iam::123456789012:role/r"}', None),
    ({"SourceArn": "arn:aws:s3:::b"}, '"*"', '{"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::b"}}'),
    ({"SourceAccount": "123456789012"}, '"*"', '{"StringEquals":{"AWS:SourceAccount":"123456789012"}}'),
    ({"PrincipalOrgID": ORGANIZATION}, '"*"', f'{{"StringEquals":{{"aws:PrincipalOrgID":"{ORGANIZATION}"}}}}'),
    ({"EventSourceToken": "token"}, '"*"', '{"StringEquals":{"lambda:EventSourceToken":"token"}}'),
    (
        {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
        '"*"',
        '{"StringEquals":{"lambda:FunctionUrlAuthType":"NONE"}}',
    ),
    ({"InvokedViaFunctionUrl": True}, '"*"', '{"Bool":{"lambda:InvokedViaFunctionUrl":"true"}}'),
    ({"Action": "*"}, '"*"', None),
    ({"Action": "lambda:*", "Qualifier": "1"}, '"*"', None),
    ({"Qualifier": "live"}, '"*"', None),
]


@pytest.mark.parametrize(("members", "principal", "condition"), STATEMENTS)
def test_a_permission_is_written_as_aws_writes_it(
    careless: Any, members: dict[str, Any], principal: str, condition: str | None
) -> None:
    known_members = set(lambda_model().operation_model("AddPermission").input_shape.members)
    if not set(members) <= known_members:
        pytest.skip("this botocore does not know the parameter")
    request = {"StatementId": "w", "Action": "lambda:InvokeFunction", "Principal": "*", **members}
    resource = f"{ARN}:{members['Qualifier']}" if "Qualifier" in members else ARN
    where = {"FunctionName": "a", **({"Qualifier": members["Qualifier"]} if "Qualifier" in members else {})}

    added = careless.add_permission(FunctionName="a", **request)
    policy = careless.get_policy(**where)["Policy"]
    removed = careless.remove_permission(StatementId="w", **where)

    statement = (
        f'{{"Sid":"w","Effect":"Allow","Principal":{principal},"Action":"{request["Action"]}","Resource":"{resource}"'
        + (f',"Condition":{condition}}}' if condition else "}")
    )
    assert added["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert added["Statement"] == statement
    assert policy == f'{{"Version":"2012-10-17","Id":"default","Statement":[{statement}]}}'
    assert removed["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refusal(careless, "GetPolicy", where)[0] == 404, "the last statement takes the policy with it"


def test_publishing_copies_no_policy_and_renews_its_revision(careless: Any, mortal: Callable[..., str]) -> None:
    name = mortal()
    careless.add_permission(FunctionName=name, StatementId="s", Action="lambda:*", Principal="*")
    before = careless.get_policy(FunctionName=name)
    careless.publish_version(FunctionName=name)
    after = careless.get_policy(FunctionName=name)
    assert after["Policy"] == before["Policy"]
    assert after["RevisionId"] != before["RevisionId"]
    assert refusal(careless, "GetPolicy", {"FunctionName": f"{name}:1"})[0] == 404


def test_a_layers_life_and_its_policy(careless: Any) -> None:
    made = [
        careless.publish_layer_version(
            LayerName="life",
            Description=f"number {number}",
            Content={"ZipFile": make_zip({"a": str(number)})},
            CompatibleRuntimes=["python3.11"],
            CompatibleArchitectures=["x86_64"],
            LicenseInfo="MIT",
        )
        for number in (1, 2)
    ]
    layer = f"{BASE}:layer:life"
    granted = careless.add_layer_version_permission(
        LayerName="life", VersionNumber=1, StatementId="s", Action="lambda:GetLayerVersion", Principal="123456789012"
    )
    policy = careless.get_layer_version_policy(LayerName=layer, VersionNumber=1)
    by_arn = careless.get_layer_version_by_arn(Arn=f"{layer}:2")
    by_name = careless.get_layer_version(LayerName="life", VersionNumber=2)
    versions = careless.list_layer_versions(LayerName="life")["LayerVersions"]
    [listed] = [
        one for one in careless.list_layers(CompatibleRuntime="python3.11")["Layers"] if one["LayerArn"] == layer
    ]
    removed = careless.remove_layer_version_permission(LayerName="life", VersionNumber=1, StatementId="s")
    deleted = [careless.delete_layer_version(LayerName="life", VersionNumber=number) for number in (1, 2, 2)]

    statement = (
        '{"Sid":"s","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},'
        f'"Action":"lambda:GetLayerVersion","Resource":"{layer}:1"}}'
    )
    assert [one["Version"] for one in made] == [1, 2]
    assert {one["ResponseMetadata"]["HTTPStatusCode"] for one in (*made, granted)} == {201}
    assert {one["ResponseMetadata"]["HTTPStatusCode"] for one in (removed, *deleted)} == {204}
    assert TIME.fullmatch(made[1]["CreatedDate"])
    assert set(made[1]["Content"]) == {"Location", "CodeSha256", "CodeSize"}
    assert (made[1]["LayerArn"], made[1]["LayerVersionArn"]) == (layer, f"{layer}:2")
    assert (made[1]["Description"], made[1]["LicenseInfo"]) == ("number 2", "MIT")
    assert by_arn["Content"]["CodeSha256"] == by_name["Content"]["CodeSha256"] == made[1]["Content"]["CodeSha256"]
    assert [one["Version"] for one in versions] == [2, 1], "newest first"
    assert listed["LatestMatchingVersion"]["Version"] == 2
    assert (granted["Statement"], granted["RevisionId"]) == (statement, policy["RevisionId"])
    assert policy["Policy"] == f'{{"Version":"2012-10-17","Id":"default","Statement":[{statement}]}}'


def test_pages_are_led_through_by_markers(careless: Any) -> None:
    """As the AWS CLI pages: with a size of its own and a token."""
    for number in range(3):
        careless.create_alias(FunctionName="a", Name=f"page{number}", FunctionVersion="1")
    first = careless.list_aliases(FunctionName="a", MaxItems=2)
    careless.delete_alias(FunctionName="a", Name="page0")
    second = careless.list_aliases(FunctionName="a", MaxItems=2, Marker=first["NextMarker"])
    for number in (1, 2):
        careless.delete_alias(FunctionName="a", Name=f"page{number}")
    assert [one["Name"] for one in (*first["Aliases"], *second["Aliases"])] == ["live", "page0", "page1", "page2"]
    assert "NextMarker" not in second


def test_settings_count_what_is_there(service: RunningService) -> None:
    client = careless_client(service, account="444444444444")
    role = ROLE.replace("000000000000", "444444444444")
    empty = client.get_account_settings()
    deploy(client, "counted", CODE["ZipFile"], Role=role)
    client.publish_version(FunctionName="counted")
    client.put_function_concurrency(FunctionName="counted", ReservedConcurrentExecutions=7)
    full = client.get_account_settings()
    client.delete_function(FunctionName="counted")
    assert empty["AccountUsage"] == client.get_account_settings()["AccountUsage"] == {
        "TotalCodeSize": 0, "FunctionCount": 0,
    }  # fmt: skip
    assert full["AccountUsage"] == {"TotalCodeSize": 2 * len(CODE["ZipFile"]), "FunctionCount": 1}
    assert full["AccountLimit"]["UnreservedConcurrentExecutions"] == 993
    assert (full["AccountLimit"]["CodeSizeUnzipped"], full["AccountLimit"]["CodeSizeZipped"]) == (
        262_144_000, 52_428_800,
    )  # fmt: skip
