"""Every operation that is built, done once: each answers with the status that AWS gives it (reference/api.md §13)."""

from __future__ import annotations

from typing import Any

import pytest
from control_client import BASE, CODE, NEW

from lambent.frontend.operations import IMPLEMENTED
from lambent.testing.service import RunningService, make_zip

ARN = f"{BASE}:function:statuses"
LAYER = {"LayerName": "statuses", "VersionNumber": 1}
SIGNERS = {"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/0123456789"]}
QUEUE = "arn:aws:sqs:us-east-1:000000000000:statuses"
DOCUMENT = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},'
    f'"Action":"lambda:InvokeFunction","Resource":"{ARN}"}}]}}'
)

CREATED = """
    AddLayerVersionPermission AddPermission CreateAlias CreateCodeSigningConfig CreateFunction CreateFunctionUrlConfig
    PublishLayerVersion PublishVersion
"""
ACCEPTED = """
    CreateEventSourceMapping DeleteEventSourceMapping InvokeAsync PutProvisionedConcurrencyConfig
    UpdateEventSourceMapping
"""
NO_CONTENT = """
    DeleteAlias DeleteCodeSigningConfig DeleteFunction DeleteFunctionCodeSigningConfig DeleteFunctionConcurrency
    DeleteFunctionEventInvokeConfig DeleteFunctionUrlConfig DeleteLayerVersion DeleteProvisionedConcurrencyConfig
    DeleteResourcePolicy RemoveLayerVersionPermission RemovePermission TagResource UntagResource
"""
OTHERS = {
    **dict.fromkeys(CREATED.split(), 201),
    **dict.fromkeys(ACCEPTED.split(), 202),
    **dict.fromkeys(NO_CONTENT.split(), 204),
}
"""All others answer 200."""


class Client:
    """Calls operations by AWS's names, and notes the status of each."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.statuses: dict[str, int] = {}

    def __call__(self, operation: str, **members: Any) -> Any:
        answer = self._client._make_api_call(operation, members)
        self.statuses[operation] = answer["ResponseMetadata"]["HTTPStatusCode"]
        return answer

    def of(self, *operations: str, **members: Any) -> None:
        """Operations of the function, one after the other."""
        for operation in operations:
            self(operation, FunctionName="statuses", **members)

    def wait(self, name: str) -> None:
        waiter = self._client.get_waiter(name)
        waiter.wait(FunctionName="statuses", WaiterConfig={"Delay": 0.05, "MaxAttempts": 600})


@pytest.fixture
def call(service: RunningService) -> Client:
    return Client(service.client())


def test_every_operation_answers_with_awss_status(call: Client) -> None:
    function_life(call)
    invokes(call)
    policies(call)
    versions(call)
    settings(call)
    urls(call)
    mapping(call)
    signing(call)
    layer(call)
    call("GetAccountSettings")
    call.of("DeleteFunction")

    assert call.statuses == {name: OTHERS.get(name, 200) for name in IMPLEMENTED["lambda"]}


def function_life(call: Client) -> None:
    call("CreateFunction", **{**NEW, "FunctionName": "statuses"})
    call.wait("function_active_v2")
    call.of("GetFunction", "GetFunctionConfiguration")
    call.of("UpdateFunctionCode", ZipFile=make_zip({"app.py": "def handler(event, context): return 2\n"}))
    call.wait("function_updated_v2")
    call.of("UpdateFunctionConfiguration", Timeout=5)
    call.wait("function_updated_v2")
    call("ListFunctions")
    call("TagResource", Resource=ARN, Tags={"a": "b"})
    call("ListTags", Resource=ARN)
    call("UntagResource", Resource=ARN, TagKeys=["a"])


def invokes(call: Client) -> None:
    call.of("Invoke", Payload=b"{}")
    call.of("InvokeAsync", InvokeArgs=b"{}")
    streamed = call("InvokeWithResponseStream", FunctionName="statuses", Payload=b"{}")
    list(streamed["EventStream"])


def policies(call: Client) -> None:
    permission = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    call.of("AddPermission", **permission)
    call.of("GetPolicy")
    call.of("RemovePermission", StatementId="s")
    call("PutResourcePolicy", ResourceArn=ARN, Policy=DOCUMENT)
    call("GetResourcePolicy", ResourceArn=ARN)
    call("DeleteResourcePolicy", ResourceArn=ARN)


def versions(call: Client) -> None:
    call.of("PublishVersion", "ListVersionsByFunction")
    call.of("CreateAlias", Name="live", FunctionVersion="1")
    call.of("GetAlias", "UpdateAlias", Name="live")
    call.of("ListAliases")
    call.of("PutProvisionedConcurrencyConfig", Qualifier="live", ProvisionedConcurrentExecutions=1)
    call.of("GetProvisionedConcurrencyConfig", Qualifier="live")
    call.of("ListProvisionedConcurrencyConfigs")
    call.of("DeleteProvisionedConcurrencyConfig", Qualifier="live")
    call.of("DeleteAlias", Name="live")


def settings(call: Client) -> None:
    call.of("PutFunctionConcurrency", ReservedConcurrentExecutions=1)
    call.of("GetFunctionConcurrency", "DeleteFunctionConcurrency")
    call.of("PutFunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig", MaximumRetryAttempts=1)
    call.of("GetFunctionEventInvokeConfig", "ListFunctionEventInvokeConfigs", "DeleteFunctionEventInvokeConfig")
    call.of("PutFunctionRecursionConfig", RecursiveLoop="Allow")
    call.of("GetFunctionRecursionConfig")
    call.of("PutRuntimeManagementConfig", UpdateRuntimeOn="Auto")
    call.of("GetRuntimeManagementConfig")


def urls(call: Client) -> None:
    call.of("CreateFunctionUrlConfig", "UpdateFunctionUrlConfig", AuthType="AWS_IAM")
    call.of("GetFunctionUrlConfig", "ListFunctionUrlConfigs", "DeleteFunctionUrlConfig")


def mapping(call: Client) -> None:
    uuid = call("CreateEventSourceMapping", FunctionName="statuses", EventSourceArn=QUEUE, Enabled=False)["UUID"]
    settled(call, uuid)
    call("ListEventSourceMappings")
    call("UpdateEventSourceMapping", UUID=uuid, BatchSize=1)
    settled(call, uuid)
    call("DeleteEventSourceMapping", UUID=uuid)


def settled(call: Client, uuid: str) -> None:
    while call("GetEventSourceMapping", UUID=uuid)["State"] != "Disabled":
        pass


def signing(call: Client) -> None:
    made = call("CreateCodeSigningConfig", AllowedPublishers=SIGNERS)
    config = {"CodeSigningConfigArn": made["CodeSigningConfig"]["CodeSigningConfigArn"]}
    call("GetCodeSigningConfig", **config)
    call("UpdateCodeSigningConfig", **config, Description="d")
    call("ListCodeSigningConfigs")
    call.of("PutFunctionCodeSigningConfig", **config)
    call.of("GetFunctionCodeSigningConfig")
    call("ListFunctionsByCodeSigningConfig", **config)
    call.of("DeleteFunctionCodeSigningConfig")
    call("DeleteCodeSigningConfig", **config)


def layer(call: Client) -> None:
    call("PublishLayerVersion", LayerName="statuses", Content=CODE)
    call("GetLayerVersion", **LAYER)
    call("GetLayerVersionByArn", Arn=f"{BASE}:layer:statuses:1")
    call("ListLayers")
    call("ListLayerVersions", LayerName="statuses")
    grant = {"StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*"}
    call("AddLayerVersionPermission", **LAYER, **grant)
    call("GetLayerVersionPolicy", **LAYER)
    call("RemoveLayerVersionPermission", **LAYER, StatementId="s")
    call("DeleteLayerVersion", **LAYER)
