"""Sessions: who may assume a role, for how long, and who one is then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from iam_world import ACCOUNT, LAMBDA_TRUST, NOW, ROOT, IamWorld, policy, trusting

from lambent.iam.trust import AwsPrincipal, ServicePrincipal, Trust, evaluate
from lambent.model.arn import FunctionArn
from lambent.model.errors import AccessDenied, InvalidParameterValue

ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
SESSION = replace(
    ROOT, arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/caller/s", user_id="AROAC:s", access_key_id="ASIACALLER"
)
FUNCTION = FunctionArn("us-east-1", ACCOUNT, "f")
LAMBDA = ServicePrincipal("lambda.amazonaws.com")


@pytest.fixture(params=[True, False], ids=["open", "enforce"])
def world(request: pytest.FixtureRequest) -> Iterator[IamWorld]:
    world = IamWorld(is_open=request.param)
    yield world
    world.runner.close()


@pytest.fixture
def strict() -> Iterator[IamWorld]:
    world = IamWorld(is_open=False)
    yield world
    world.runner.close()


def make_role(world: IamWorld, trust: str = LAMBDA_TRUST, **parameters: Any) -> Any:
    return world.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=trust, **parameters)["Role"]


def assume(world: IamWorld, **parameters: Any) -> Any:
    return world.client("sts").assume_role(**{"RoleArn": ROLE, "RoleSessionName": "me@home", **parameters})


def refused(world: IamWorld, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as error:
        assume(world, **parameters)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


DENIED = ("AccessDenied", f"User: {ROOT.arn} is not authorized to perform: sts:AssumeRole on resource: {ROLE}")


def test_whoever_assumes_a_role_is_its_session(world: IamWorld) -> None:
    role = make_role(world, trusting({"AWS": ACCOUNT}))
    answer = assume(world)
    session = world.sessions.read(answer["Credentials"]["SessionToken"])

    assert answer["AssumedRoleUser"] == {
        "AssumedRoleId": f"{role['RoleId']}:me@home",
        "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/r/me@home",
    }
    assert answer["Credentials"]["Expiration"] == datetime.fromtimestamp(NOW + 3600, UTC)
    assert session is not None
    assert session.credential.access_key_id == answer["Credentials"]["AccessKeyId"]
    assert session.credential.secret == answer["Credentials"]["SecretAccessKey"]
    assert (session.identity.arn, session.identity.user_id) == tuple(
        answer["AssumedRoleUser"][member] for member in ("Arn", "AssumedRoleId")
    )
    assert session.expires_s == NOW + 3600


def test_a_role_that_does_not_trust_the_caller_is_not_assumed(world: IamWorld) -> None:
    make_role(world)

    assert refused(world) == DENIED


def test_a_role_that_does_not_exist_is_assumed_in_open_mode_only(world: IamWorld, strict: IamWorld) -> None:
    assert refused(strict) == DENIED
    if world.is_open:
        assert assume(world)["AssumedRoleUser"]["Arn"].endswith(":assumed-role/r/me@home")


def test_an_accounts_trust_is_enough_for_its_root_user_only_where_policies_would_have_to_decide(
    strict: IamWorld,
) -> None:
    make_role(strict, trusting({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}))

    assert assume(strict)
    strict.caller = SESSION
    assert refused(strict)[0] == "AccessDenied"
    strict.client("iam").update_assume_role_policy(
        RoleName="r", PolicyDocument=trusting({"AWS": f"arn:aws:iam::{ACCOUNT}:role/path/caller"})
    )
    assert assume(strict)


def test_sessions_end_when_the_role_allows(world: IamWorld) -> None:
    make_role(world, trusting({"AWS": "*"}), MaxSessionDuration=7200)

    assert assume(world, DurationSeconds=7200)["Credentials"]["Expiration"] == datetime.fromtimestamp(NOW + 7200, UTC)
    assert refused(world, DurationSeconds=7201) == (
        "ValidationError",
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    )
    assert refused(world, DurationSeconds=899)[0] == "ValidationError"
    world.caller = SESSION
    assert refused(world, DurationSeconds=3601) == (
        "ValidationError",
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
    )


@pytest.mark.parametrize(
    "parameters", [{"RoleSessionName": "a b"}, {"RoleSessionName": "x"}, {"RoleArn": "arn:aws:iam::1:role/none"}]
)
def test_names_must_be_names(world: IamWorld, parameters: dict[str, str]) -> None:
    assert refused(world, **parameters)[0] == "ValidationError"


def test_an_external_id_is_compared(world: IamWorld) -> None:
    make_role(world, trusting({"AWS": "*"}, Condition={"StringEquals": {"sts:ExternalId": "secret"}}))

    assert assume(world, ExternalId="secret")
    assert refused(world, ExternalId="other") == refused(world) == DENIED


def test_what_a_session_cannot_carry_yet_is_refused_by_name(world: IamWorld) -> None:
    code, message = refused(world, Policy="{}")

    assert code == "NotImplementedException"
    assert "Policy" in message


def test_everybody_may_ask_who_they_are(world: IamWorld) -> None:
    world.caller = SESSION

    identity = world.client("sts").get_caller_identity()
    assert (identity["UserId"], identity["Account"], identity["Arn"]) == (SESSION.user_id, ACCOUNT, SESSION.arn)


def test_a_session_token_is_for_lasting_keys_only(world: IamWorld) -> None:
    sts = world.client("sts")
    token = sts.get_session_token()["Credentials"]["SessionToken"]
    world.caller = SESSION

    session = world.sessions.read(token)
    assert session is not None
    assert (session.identity.arn, session.expires_s) == (ROOT.arn, NOW + 3600)
    with pytest.raises(ClientError, match="Cannot call GetSessionToken with session credentials"):
        sts.get_session_token()


# The roles of functions -----------------------------------------------------------------------------------------------


async def check(world: IamWorld, role: str = ROLE) -> None:
    await world.execution_roles.require_assumable(role, FUNCTION)


def test_a_function_runs_as_a_role_that_trusts_lambda(world: IamWorld) -> None:
    make_role(world)

    world.runner.run(check(world))
    world.client("iam").update_assume_role_policy(
        RoleName="r", PolicyDocument=trusting({"Service": "ec2.amazonaws.com"})
    )
    with pytest.raises(InvalidParameterValue, match=r"The role defined for the function cannot be assumed by Lambda\."):
        world.runner.run(check(world))


def test_a_role_that_does_not_exist_is_a_functions_in_open_mode_only(strict: IamWorld) -> None:
    world = IamWorld(is_open=True)
    world.runner.run(check(world))
    world.runner.run(check(world, "arn:aws:iam::999999999999:role/any"))
    world.runner.close()

    with pytest.raises(InvalidParameterValue, match=r"cannot be assumed by Lambda\."):
        strict.runner.run(check(strict))
    with pytest.raises(AccessDenied, match=r"Cross-account pass role is not allowed\."):
        strict.runner.run(check(strict, "arn:aws:iam::999999999999:role/any"))


def test_a_functions_session_bears_its_name_and_lasts_twelve_hours(world: IamWorld) -> None:
    role_id = make_role(world)["RoleId"]
    issued = world.runner.run(world.execution_roles.issue_role_session(ROLE, FUNCTION))
    session = world.sessions.read(issued.session_token)

    assert session is not None
    assert issued.access_key_id.startswith("ASIA")
    assert session.identity.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/r/f"
    assert session.identity.user_id == f"{role_id}:f"
    assert session.expires_s == NOW + 12 * 3600


def test_the_session_of_a_made_up_role_acts_in_the_functions_account(world: IamWorld) -> None:
    issued = world.runner.run(
        world.execution_roles.issue_role_session("arn:aws:iam::999999999999:role/p/any", FUNCTION)
    )
    session = world.sessions.read(issued.session_token)

    assert session is not None
    assert session.identity.account == ACCOUNT
    assert session.identity.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/any/f"


def test_a_token_that_was_touched_is_nobodys(world: IamWorld) -> None:
    token = world.runner.run(world.execution_roles.issue_role_session(ROLE, FUNCTION)).session_token

    for touched in (
        token[:-5] + ("A" if token[-5] != "A" else "B") + token[-4:],
        token[4:],
        "",
        "ü",
        "AAAA",
        token + "AAAA",
    ):
        assert world.sessions.read(touched) is None


# Trust policies -------------------------------------------------------------------------------------------------------

CALLER = AwsPrincipal(f"arn:aws:sts::{ACCOUNT}:assumed-role/caller/s")
CONTEXT = {"aws:sourcearn": str(FUNCTION), "aws:sourceaccount": ACCOUNT}


@pytest.mark.parametrize(
    ("principal", "trust"),
    [
        ("*", Trust.PRINCIPAL),
        ({"AWS": "*"}, Trust.PRINCIPAL),
        ({"AWS": ACCOUNT}, Trust.ACCOUNT),
        ({"AWS": ["999999999999", ACCOUNT]}, Trust.ACCOUNT),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, Trust.ACCOUNT),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/caller"}, Trust.PRINCIPAL),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/a/b/caller"}, Trust.PRINCIPAL),
        ({"AWS": CALLER.arn}, Trust.PRINCIPAL),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/other"}, Trust.NONE),
        ({"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/caller/t"}, Trust.NONE),
        ({"AWS": "arn:aws:iam::999999999999:role/caller"}, Trust.NONE),
        ({"Service": "lambda.amazonaws.com"}, Trust.NONE),
        ({"Federated": "cognito-identity.amazonaws.com"}, Trust.NONE),
    ],
)
def test_a_principal_is_trusted_by_its_name_its_role_or_its_account(principal: Any, trust: Trust) -> None:
    assert evaluate(trusting(principal), CALLER, {}) is trust


@pytest.mark.parametrize(
    ("condition", "is_trusted"),
    [
        ({"StringEquals": {"AWS:SourceAccount": ACCOUNT}}, True),
        ({"StringEquals": {"aws:SourceAccount": ["1", "2"]}}, False),
        ({"StringNotEquals": {"aws:SourceAccount": "1"}}, True),
        ({"StringLike": {"aws:SourceAccount": "1234*"}}, True),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:lambda:*:*:function:f"}}, True),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:lambda:*:function:f"}}, False),
        ({"ArnNotLike": {"aws:SourceArn": "arn:aws:lambda:*:*:function:g"}}, True),
        ({"StringEquals": {"aws:Missing": "x"}}, False),
        ({"StringEqualsIfExists": {"aws:Missing": "x"}}, True),
        ({"StringNotEquals": {"aws:Missing": "x"}}, True),
        ({"Null": {"aws:Missing": "true"}}, True),
        ({"Null": {"aws:SourceArn": True}}, False),
        ({"ForAnyValue:StringEquals": {"aws:SourceAccount": ACCOUNT}}, True),
        ({"ForAllValues:StringEquals": {"aws:Missing": "x"}}, True),
        ({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}, False),
        ({"NumericLessThan": {"aws:SourceAccount": 5}}, False),
    ],
)
def test_conditions_hold_or_nobody_is_trusted(condition: Any, is_trusted: bool) -> None:
    document = trusting({"Service": LAMBDA.name}, Condition=condition)

    assert (evaluate(document, LAMBDA, CONTEXT) is Trust.PRINCIPAL) is is_trusted


@pytest.mark.parametrize("condition", [{}, {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}])
def test_a_denial_wins_also_where_its_condition_is_not_understood(condition: Any) -> None:
    statement = {"Principal": {"Service": LAMBDA.name}, "Action": "sts:*"}
    document = policy({"Effect": "Allow", **statement}, {"Effect": "Deny", **statement, "Condition": condition})

    assert evaluate(document, LAMBDA, CONTEXT) is Trust.NONE


@pytest.mark.parametrize(
    ("members", "is_trusted"),
    [
        ({"Action": "sts:assume*"}, True),
        ({"Action": ["sts:TagSession", "sts:AssumeRole"]}, True),
        ({"Action": "sts:TagSession"}, False),
        ({"NotAction": "sts:TagSession"}, True),
        ({"NotAction": "*"}, False),
    ],
)
def test_only_statements_about_assuming_count(members: Any, is_trusted: bool) -> None:
    document = policy({"Effect": "Allow", "Principal": "*", **members})

    assert (evaluate(document, LAMBDA, CONTEXT) is Trust.PRINCIPAL) is is_trusted
