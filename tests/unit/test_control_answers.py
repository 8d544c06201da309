"""Every answer of the control plane is one that the installed service model can put on the wire."""

from __future__ import annotations

from typing import Any

import msgspec
from control_world import ARN, CALLER, ROLE, World, zip_of

from lambent.control.answers import WARNING
from lambent.spec.service import load

LAYER = {"LayerName": "l", "VersionNumber": 1}
LAYER_ARN = ARN.replace("function:f", "layer:l:1")

STREAM = "arn:aws:kinesis:eu-west-1:000000000000:stream/s"


PUBLISHERS = {"SigningProfileVersionArns": ["arn:aws:signer:eu-west-1:000000000000:/signing-profiles/p/v"]}


def signing_arn(answers: dict[str, Any]) -> Any:
    return answers["CreateCodeSigningConfig"]["CodeSigningConfig"]["CodeSigningConfigArn"]


def mapping_uuid(answers: dict[str, Any]) -> Any:
    return answers["CreateEventSourceMapping"]["UUID"]


WALK: list[tuple[str, dict[str, Any]]] = [
    (
        "PublishLayerVersion",
        {"LayerName": "l", "Content": {"ZipFile": zip_of("l")}, "CompatibleRuntimes": ["python3.12"]},
    ),
    ("GetLayerVersion", LAYER),
    ("GetLayerVersionByArn", {"Arn": LAYER_ARN}),
    ("ListLayers", {"CompatibleRuntime": "python3.12"}),
    ("ListLayerVersions", {"LayerName": "l"}),
    (
        "AddLayerVersionPermission",
        {**LAYER, "StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*"},
    ),
    ("GetLayerVersionPolicy", LAYER),
    ("RemoveLayerVersionPermission", {**LAYER, "StatementId": "s"}),
    (
        "CreateFunction",
        {
            "FunctionName": "f",
            "Role": ROLE,
            "Runtime": "python3.12",
            "Handler": "a.b",
            "Code": {"ZipFile": zip_of()},
            "Environment": {"Variables": {"AB": "1"}},
            "Tags": {"a": "b"},
            "Publish": True,
            "Layers": [LAYER_ARN],
        },
    ),
    ("DeleteLayerVersion", LAYER),
    ("GetFunction", {"FunctionName": "f", "Qualifier": "1"}),
    ("GetFunctionConfiguration", {"FunctionName": "f"}),
    ("UpdateFunctionCode", {"FunctionName": "f", "ZipFile": zip_of("2"), "Publish": True}),
    ("UpdateFunctionConfiguration", {"FunctionName": "f", "MemorySize": 256}),
    ("PublishVersion", {"FunctionName": "f"}),
    ("ListFunctions", {"FunctionVersion": "ALL", "MaxItems": 1}),
    ("ListVersionsByFunction", {"FunctionName": "f", "MaxItems": 1}),
    (
        "CreateAlias",
        {
            "FunctionName": "f",
            "Name": "a",
            "FunctionVersion": "1",
            "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}},
        },
    ),
    ("GetAlias", {"FunctionName": "f", "Name": "a"}),
    ("ListAliases", {"FunctionName": "f"}),
    ("UpdateAlias", {"FunctionName": "f", "Name": "a", "RoutingConfig": {"AdditionalVersionWeights": {}}}),
    (
        "PutProvisionedConcurrencyConfig",
        {"FunctionName": "f", "Qualifier": "a", "ProvisionedConcurrentExecutions": 1},
    ),
    ("GetProvisionedConcurrencyConfig", {"FunctionName": "f", "Qualifier": "a"}),
    ("ListProvisionedConcurrencyConfigs", {"FunctionName": "f"}),
    ("DeleteProvisionedConcurrencyConfig", {"FunctionName": "f", "Qualifier": "a"}),
    ("DeleteAlias", {"FunctionName": "f", "Name": "a"}),
    ("PutFunctionConcurrency", {"FunctionName": "f", "ReservedConcurrentExecutions": 1}),
    ("GetFunctionConcurrency", {"FunctionName": "f"}),
    ("PutFunctionEventInvokeConfig", {"FunctionName": "f", "MaximumRetryAttempts": 1}),
    ("UpdateFunctionEventInvokeConfig", {"FunctionName": "f", "MaximumEventAgeInSeconds": 60}),
    ("GetFunctionEventInvokeConfig", {"FunctionName": "f"}),
    ("ListFunctionEventInvokeConfigs", {"FunctionName": "f"}),
    ("DeleteFunctionEventInvokeConfig", {"FunctionName": "f"}),
    ("PutFunctionRecursionConfig", {"FunctionName": "f", "RecursiveLoop": "Allow"}),
    ("GetFunctionRecursionConfig", {"FunctionName": "f"}),
    ("CreateEventSourceMapping", {"FunctionName": "f", "EventSourceArn": STREAM, "StartingPosition": "LATEST"}),
    ("GetEventSourceMapping", {"UUID": mapping_uuid}),
    ("ListEventSourceMappings", {"FunctionName": "f"}),
    ("UpdateEventSourceMapping", {"UUID": mapping_uuid, "Enabled": False}),
    ("DeleteEventSourceMapping", {"UUID": mapping_uuid}),
    ("CreateCodeSigningConfig", {"AllowedPublishers": PUBLISHERS}),
    ("GetCodeSigningConfig", {"CodeSigningConfigArn": signing_arn}),
    ("UpdateCodeSigningConfig", {"CodeSigningConfigArn": signing_arn, "Description": "d"}),
    ("ListCodeSigningConfigs", {}),
    ("PutFunctionCodeSigningConfig", {"FunctionName": "f", "CodeSigningConfigArn": signing_arn}),
    ("GetFunctionCodeSigningConfig", {"FunctionName": "f"}),
    ("ListFunctionsByCodeSigningConfig", {"CodeSigningConfigArn": signing_arn}),
    ("DeleteFunctionCodeSigningConfig", {"FunctionName": "f"}),
    ("DeleteCodeSigningConfig", {"CodeSigningConfigArn": signing_arn}),
    ("PutRuntimeManagementConfig", {"FunctionName": "f", "UpdateRuntimeOn": "FunctionUpdate"}),
    ("GetRuntimeManagementConfig", {"FunctionName": "f"}),
    (
        "CreateFunctionUrlConfig",
        {"FunctionName": "f", "AuthType": "NONE", "InvokeMode": "BUFFERED", "Cors": {"AllowOrigins": ["*"]}},
    ),
    ("GetFunctionUrlConfig", {"FunctionName": "f"}),
    ("UpdateFunctionUrlConfig", {"FunctionName": "f", "AuthType": "AWS_IAM"}),
    ("ListFunctionUrlConfigs", {"FunctionName": "f"}),
    ("DeleteFunctionUrlConfig", {"FunctionName": "f"}),
    ("DeleteFunctionConcurrency", {"FunctionName": "f"}),
    (
        "AddPermission",
        {"FunctionName": "f", "StatementId": "s", "Action": "lambda:*", "Principal": "*", "SourceAccount": "0" * 12},
    ),
    ("GetPolicy", {"FunctionName": "f"}),
    ("RemovePermission", {"FunctionName": "f", "StatementId": "s"}),
    (
        "PutResourcePolicy",
        {
            "ResourceArn": ARN,
            "Policy": '{"Statement":{"Effect":"Deny","Principal":"*","Action":"lambda:*","Resource":"*"}}',
        },
    ),
    ("GetResourcePolicy", {"ResourceArn": ARN}),
    ("DeleteResourcePolicy", {"ResourceArn": ARN}),
    ("TagResource", {"Resource": ARN, "Tags": {"c": "d"}}),
    ("ListTags", {"Resource": ARN}),
    ("UntagResource", {"Resource": ARN, "TagKeys": ["c"]}),
    ("GetAccountSettings", {}),
    ("DeleteFunction", {"FunctionName": "f"}),
]


async def test_every_operation_answers_what_the_service_model_knows() -> None:
    operations = load("lambda").operations
    async with World().running() as world:
        assert {name for name, _ in WALK} == set(world.control.operations)
        answers: dict[str, Any] = {}
        for name, members in WALK:
            given = {key: value(answers) if callable(value) else value for key, value in members.items()}
            answer = answers[name] = await world.control.operations[name](CALLER, given)
            answer.pop(WARNING, None)
            status, _, body = operations[name].serialize(answer, "request")
            assert 200 <= status < 300, name
            assert body == b"" or isinstance(msgspec.json.decode(body), dict), name
            await world.settled()
            await world.polled()
