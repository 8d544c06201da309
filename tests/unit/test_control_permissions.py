"""Resource policies (reference/iam.md §4; api.md §11), and what of them a function URL asks."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from control_world import ARN, CALLER, World

from lambent.model.arn import FunctionArn
from lambent.model.errors import (
    ApiError,
    InvalidParameterValue,
    PolicyLengthExceeded,
    PreconditionFailed,
    ResourceConflict,
    ResourceNotFound,
)
from lambent.model.function import function_key
from lambent.model.policy import allows_anyone, policy_of
from lambent.model.records import decode_function

INVOKE = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World().running() as running:
        await running.created()
        yield running


async def add(world: World, **members: Any) -> Any:
    answer = await world.call("AddPermission", FunctionName="f", **{**INVOKE, **members})
    return json.loads(answer["Statement"])


async def policy(world: World, **members: Any) -> Any:
    answer = await world.call("GetPolicy", FunctionName="f", **members)
    return json.loads(answer["Policy"])


async def refusal(world: World, kind: type[ApiError], operation: str, **members: Any) -> str:
    named = {} if "ResourceArn" in members else {"FunctionName": "f"}
    with pytest.raises(kind) as refused:
        await world.call(operation, **{**named, **members})
    assert refused.value.message is not None
    return refused.value.message


async def revision(world: World, **members: Any) -> str:
    found: str = (await world.call("GetFunctionConfiguration", FunctionName="f", **members))["RevisionId"]
    return found


async def test_a_permission_is_a_statement_in_awss_form(world: World) -> None:
    answer = await world.call("AddPermission", FunctionName="f", **INVOKE)
    assert answer["Statement"] == (
        '{"Sid":"s","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"lambda:InvokeFunction",'
        f'"Resource":"{ARN}"}}'
    )
    found = await world.call("GetPolicy", FunctionName="f")
    assert found["Policy"] == f'{{"Version":"2012-10-17","Id":"default","Statement":[{answer["Statement"]}]}}'
    assert found["RevisionId"] == await revision(world)


@pytest.mark.parametrize(
    ("principal", "written"),
    [
        ("*", "*"),
        ("events.amazonaws.com", {"Service": "events.amazonaws.com"}),
        ("alexa-appkit.amazon.com", {"Service": "alexa-appkit.amazon.com"}),
        ("123456789012", {"AWS": "arn:aws:iam::123456789012:root"}),
        ("arn:aws:iam::123456789012:role/path/name", {"AWS": "arn:aws:iam::123456789012:role/path/name"}),
        ("arn:aws:sts::123456789012:assumed-role/r/s", {"AWS": "arn:aws:sts::123456789012:assumed-role/r/s"}),
    ],
)
async def test_principals_are_written_as_aws_writes_them(world: World, principal: str, written: Any) -> None:
    assert (await add(world, Principal=principal))["Principal"] == written


@pytest.mark.parametrize("principal", ["nobody", "12345", "arn:aws:s3:::bucket", "a b.amazonaws.com", "amazonaws.com"])
async def test_whoever_cannot_be_a_principal_is_refused(world: World, principal: str) -> None:
    assert await refusal(world, InvalidParameterValue, "AddPermission", **{**INVOKE, "Principal": principal}) == (
        "The provided principal was invalid. Please check the principal and try again."
    )


async def test_conditions_are_merged_by_operator(world: World) -> None:
    statement = await add(
        world,
        SourceArn="arn:aws:s3:::bucket",
        SourceAccount="123456789012",
        PrincipalOrgID="o-1234567890",
        EventSourceToken="token",
    )
    assert statement["Condition"] == {
        "StringEquals": {
            "AWS:SourceAccount": "123456789012",
            "aws:PrincipalOrgID": "o-1234567890",
            "lambda:EventSourceToken": "token",
        },
        "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"},
    }


async def test_conditions_of_function_urls_go_with_their_actions(world: World) -> None:
    by_url = {"Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"}
    assert (await add(world, **by_url))["Condition"] == {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}
    via_url = await add(world, StatementId="t", Principal="*", InvokedViaFunctionUrl=True)
    assert via_url["Condition"] == {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}
    assert await refusal(world, InvalidParameterValue, "AddPermission", **INVOKE, FunctionUrlAuthType="NONE") == (
        "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action"
    )


async def test_function_version_and_alias_have_policies_of_their_own(world: World) -> None:
    await world.call("PublishVersion", FunctionName="f")
    await world.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    for qualifier in ("1", "live"):
        assert (await add(world, Qualifier=qualifier))["Resource"] == f"{ARN}:{qualifier}"
        assert await refusal(world, ResourceNotFound, "GetPolicy") == "The resource you requested does not exist."
    by_version = await world.call("GetPolicy", FunctionName="f:1")
    assert by_version["RevisionId"] == await revision(world, Qualifier="1")
    by_alias = await world.call("GetPolicy", FunctionName="f", Qualifier="live")
    assert by_alias["RevisionId"] == (await world.call("GetAlias", FunctionName="f", Name="live"))["RevisionId"]
    await world.call("DeleteAlias", FunctionName="f", Name="live")
    await world.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    assert "does not exist" in await refusal(world, ResourceNotFound, "GetPolicy", Qualifier="live")
    await world.call("DeleteAlias", FunctionName="f", Name="live")
    await world.call("DeleteFunction", FunctionName="f", Qualifier="1")
    assert decode_function((await world.store.scan("function/"))[0].value).policies == {}


async def test_publishing_renews_the_revision_of_the_functions_policy(world: World) -> None:
    await add(world)
    before = (await world.call("GetPolicy", FunctionName="f"))["RevisionId"]
    await world.call("PublishVersion", FunctionName="f")
    assert (await world.call("GetPolicy", FunctionName="f"))["RevisionId"] != before


async def test_what_cannot_have_a_policy_is_refused_in_awss_words(world: World) -> None:
    assert await refusal(world, InvalidParameterValue, "AddPermission", **INVOKE, Qualifier="$LATEST") == (
        "We currently do not support adding policies for $LATEST."
    )
    assert await refusal(world, ResourceNotFound, "AddPermission", **INVOKE, Qualifier="7") == (
        f"Function not found: {ARN}:7"
    )
    assert await refusal(world, ResourceNotFound, "AddPermission", **INVOKE, Qualifier="x") == (
        f"Cannot find alias arn: {ARN}:x"
    )
    unknown = await refusal(world, ResourceNotFound, "AddPermission", **INVOKE, FunctionName="g")
    assert unknown == f"Function not found: {ARN[:-1]}g"
    assert await refusal(world, ResourceNotFound, "GetPolicy", FunctionName="g") == (
        "The resource you requested does not exist."
    )


async def test_latest_by_that_name_has_no_policy_to_read_or_remove(world: World) -> None:
    await add(world)
    latest = {"ResourceArn": f"{ARN}:$LATEST"}
    assert await refusal(world, ResourceNotFound, "GetPolicy", Qualifier="$LATEST") == (
        "The resource you requested does not exist."
    )
    await refusal(world, ResourceNotFound, "GetResourcePolicy", **latest)
    await refusal(world, ResourceNotFound, "RemovePermission", StatementId="s", Qualifier="$LATEST")
    await refusal(world, ResourceNotFound, "DeleteResourcePolicy", **latest)
    await refusal(world, InvalidParameterValue, "PutResourcePolicy", **latest, Policy=document(statement()))


async def test_a_statement_id_is_used_once(world: World) -> None:
    await add(world)
    assert await refusal(world, ResourceConflict, "AddPermission", **INVOKE) == (
        "The statement id (s) provided already exists. Please provide a new statement id, or remove the existing "
        "statement."
    )


async def test_a_permission_is_removed_by_its_id_and_the_last_one_takes_the_policy_with_it(world: World) -> None:
    assert await refusal(world, ResourceNotFound, "RemovePermission", StatementId="s") == (
        "No policy is associated with the given resource."
    )
    await add(world)
    await add(world, StatementId="t")
    assert await refusal(world, ResourceNotFound, "RemovePermission", StatementId="u") == (
        "Statement u is not found in resource policy."
    )
    assert await world.call("RemovePermission", FunctionName="f", StatementId="s") == {}
    assert [one["Sid"] for one in (await policy(world))["Statement"]] == ["t"]
    await world.call("RemovePermission", FunctionName="f", StatementId="t")
    assert await refusal(world, ResourceNotFound, "GetPolicy") == "The resource you requested does not exist."


async def test_a_stale_revision_changes_no_policy(world: World) -> None:
    await add(world, RevisionId=await revision(world))
    before = await world.call("GetPolicy", FunctionName="f")
    stale = {"RevisionId": "stale"}
    message = (
        "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest "
        "Revision Id"
    )
    assert (
        await refusal(world, PreconditionFailed, "AddPermission", **{**INVOKE, "StatementId": "t"}, **stale) == message
    )
    assert await refusal(world, PreconditionFailed, "RemovePermission", StatementId="s", **stale) == message
    assert await world.call("GetPolicy", FunctionName="f") == before
    await world.call("RemovePermission", FunctionName="f", StatementId="s", RevisionId=before["RevisionId"])


async def test_a_policy_ends_at_twenty_kilobytes(world: World) -> None:
    full = document(statement(Condition={"StringEquals": {"aws:PrincipalTag/long": "x" * 20_200}}))
    await world.call("PutResourcePolicy", ResourceArn=ARN, Policy=full)
    message = await refusal(world, PolicyLengthExceeded, "AddPermission", **INVOKE)
    assert re.fullmatch(r"The final policy size \(20[0-9]{3}\) is bigger than the limit \(20480\)\.", message)
    assert (await world.call("GetPolicy", FunctionName="f"))["Policy"] == full


async def test_a_permission_that_is_added_meanwhile_does_not_keep_a_function_from_becoming_active(world: World) -> None:
    world.may_activate.clear()
    await world.create("g")
    await world.call("AddPermission", FunctionName="g", **INVOKE)
    world.may_activate.set()
    await world.settled()
    assert (await world.call("GetFunctionConfiguration", FunctionName="g"))["State"] == "Active"


def document(*statements: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, separators=(",", ":"))


def statement(**members: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunctionUrl", "Resource": ARN, **members}


async def test_a_whole_policy_replaces_what_was_added(world: World) -> None:
    await add(world)
    text = document(statement(Effect="Deny", Principal={"AWS": "*"}))
    put = await world.call("PutResourcePolicy", ResourceArn=ARN, Policy=text)
    assert put["Policy"] == text
    assert (
        await world.call("GetResourcePolicy", ResourceArn=ARN) == put == await world.call("GetPolicy", FunctionName="f")
    )
    await add(world)
    assert [one["Effect"] for one in (await policy(world))["Statement"]] == ["Deny", "Allow"]
    stale = {"ResourceArn": ARN, "RevisionId": put["RevisionId"]}
    await refusal(world, PreconditionFailed, "PutResourcePolicy", **stale, Policy=text)
    await refusal(world, PreconditionFailed, "DeleteResourcePolicy", **stale)
    assert await world.call("DeleteResourcePolicy", ResourceArn=ARN) == {}
    assert await refusal(world, ResourceNotFound, "GetResourcePolicy", ResourceArn=ARN) == (
        "The resource you requested does not exist."
    )
    assert await refusal(world, ResourceNotFound, "DeleteResourcePolicy", ResourceArn=ARN) == (
        "No policy is associated with the given resource."
    )


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        "[" * 9_000,
        '{"Statement": 1}',
        document(),
        document({}),
        document(statement(Effect="Perhaps")),
        document(statement(Principal=1)),
        document(statement(Action=[1])),
        document(statement(NotAction="lambda:*")),
        document(statement(Condition=[])),
        document(statement(Sid="a"), statement(Sid="a")),
    ],
)
async def test_what_is_no_policy_is_refused(world: World, text: str) -> None:
    message = await refusal(world, InvalidParameterValue, "PutResourcePolicy", ResourceArn=ARN, Policy=text)
    assert message.startswith("The provided policy document is invalid: ")


async def test_a_runtime_of_a_customer_has_no_policy(world: World) -> None:
    arn = "arn:aws:lambda:eu-west-1:000000000000:runtime/mine"
    await refusal(world, ResourceNotFound, "GetResourcePolicy", ResourceArn=arn)


FUNCTION = FunctionArn("eu-west-1", "000000000000", "f")
NONE = {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}


@pytest.mark.parametrize(
    ("statements", "is_allowed"),
    [
        ([], False),
        ([statement()], True),
        ([statement(Condition=NONE)], True),
        ([statement(Condition=NONE, Action=["s3:*", "lambda:invoke*url"], Principal={"AWS": ["*"]})], True),
        ([statement(Resource="arn:aws:lambda:*:function:?")], True),
        ([statement(Resource=f"{ARN}:live")], False),
        ([statement(Resource="arn:aws:lambda:[e]*:function:f")], False),
        ([statement(Action="lambda:InvokeFunction")], False),
        ([statement(Principal={"AWS": "arn:aws:iam::123456789012:root"})], False),
        ([statement(Principal={"Service": "*"})], False),
        ([statement(Condition={"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}})], False),
        ([statement(Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}})], False),
        ([statement(Condition={"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}})], False),
        ([statement(), statement(Effect="Deny")], False),
        ([statement(), statement(Effect="Deny", Condition=NONE)], False),
        ([statement(), statement(Effect="Deny", Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})], False),
        ([statement(), statement(Effect="Deny", Condition={"Bool": {"aws:SecureTransport": "false"}})], True),
        ([statement(), statement(Effect="Deny", Action="lambda:InvokeFunction")], True),
    ],
)  # fmt: skip
def test_anyone_is_allowed_what_a_policy_allows_everyone(statements: list[Any], is_allowed: bool) -> None:
    facts = {"lambda:functionurlauthtype": "NONE", "aws:SecureTransport": "true"}
    found = allows_anyone(document(*statements), action="lambda:InvokeFunctionUrl", resource=FUNCTION, facts=facts)
    assert found is is_allowed


async def test_without_a_policy_nobody_is_allowed_anything(world: World) -> None:
    entry = await world.store.get(function_key(CALLER.account, CALLER.region, "f"))
    assert entry is not None
    assert not allows_anyone(policy_of(decode_function(entry.value), None), action="a", resource=FUNCTION, facts={})
