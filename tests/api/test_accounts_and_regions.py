"""Accounts and regions share a server and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import botocore.exceptions
import botocore.session
import pytest

from lambent.testing.service import RunningService, deploy

SCOPES = [(account, region) for account in ("111111111111", "222222222222") for region in ("us-east-1", "eu-west-1")]
CODE = "def handler(event, context):\n    return [{said!r}, context.invoked_function_arn]\n"


@pytest.fixture(scope="module")
def clients(service: RunningService) -> Iterator[Mapping[tuple[str, str], Any]]:
    """A client for each account and region, and a function `same` in each, that tells where it is."""
    session = botocore.session.get_session()
    made = {
        (account, region): session.create_client(
            "lambda",
            region_name=region,
            endpoint_url=service.endpoint_url,
            aws_access_key_id=account,
            aws_secret_access_key="test",
        )
        for account, region in SCOPES
    }
    for (account, region), client in made.items():
        deploy(
            client,
            "same",
            CODE.format(said=f"{account} {region}"),
            Role=f"arn:aws:iam::{account}:role/any",
            Tags={"account": account, "region": region},
        )
    yield made
    for client in made.values():
        client.delete_function(FunctionName="same")


def arn(scope: tuple[str, str]) -> str:
    return f"arn:aws:lambda:{scope[1]}:{scope[0]}:function:same"


@pytest.mark.parametrize("scope", SCOPES, ids=" ".join)
def test_each_sees_and_runs_its_own(clients: Mapping[tuple[str, str], Any], scope: tuple[str, str]) -> None:
    client = clients[scope]

    assert [one["FunctionArn"] for one in client.list_functions()["Functions"]] == [arn(scope)]
    assert client.list_tags(Resource=arn(scope))["Tags"] == {"account": scope[0], "region": scope[1]}
    assert client.get_account_settings()["AccountUsage"]["FunctionCount"] == 1
    for name in ("same", arn(scope), f"{scope[0]}:function:same"):
        assert json.loads(client.invoke(FunctionName=name)["Payload"].read()) == [" ".join(scope), arn(scope)]


def test_a_change_in_one_is_no_change_in_another(clients: Mapping[tuple[str, str], Any]) -> None:
    first, *others = SCOPES
    before = [clients[scope].get_function(FunctionName="same")["Configuration"]["RevisionId"] for scope in others]
    client = clients[first]

    client.update_function_configuration(FunctionName="same", Timeout=9)
    client.get_waiter("function_updated_v2").wait(FunctionName="same", WaiterConfig={"Delay": 0.05})
    client.publish_version(FunctionName="same")
    client.create_alias(FunctionName="same", Name="live", FunctionVersion="1")
    client.add_permission(FunctionName="same", StatementId="s", Action="lambda:*", Principal="222222222222")
    client.put_function_concurrency(FunctionName="same", ReservedConcurrentExecutions=5)

    for scope, revision_id in zip(others, before, strict=True):
        found = clients[scope].get_function(FunctionName="same")
        assert found["Configuration"]["RevisionId"] == revision_id
        assert "Concurrency" not in found
        assert clients[scope].list_aliases(FunctionName="same")["Aliases"] == []
        assert clients[scope].get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 1_000


@pytest.mark.parametrize("operation", ["GetFunction", "Invoke", "ListTags", "DeleteFunction", "GetPolicy"])
def test_what_is_elsewhere_is_out_of_reach(clients: Mapping[tuple[str, str], Any], operation: str) -> None:
    client = clients["111111111111", "us-east-1"]
    member = "Resource" if operation == "ListTags" else "FunctionName"

    with pytest.raises(botocore.exceptions.ClientError) as other_region:
        client._make_api_call(operation, {member: arn(("111111111111", "eu-west-1"))})
    with pytest.raises(botocore.exceptions.ClientError) as other_account:
        client._make_api_call(operation, {member: arn(("333333333333", "us-east-1"))})

    assert other_region.value.response["Error"] == {
        "Code": "ResourceNotFoundException",
        "Message": "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
    }
    error = other_account.value.response["Error"]
    action = "InvokeFunction" if operation == "Invoke" else operation
    assert error["Code"] == "AccessDeniedException"
    assert (
        f"is not authorized to perform: lambda:{action} on resource: {arn(('333333333333', 'us-east-1'))}"
        in (error["Message"])
    )
