"""IAM's roles and policies through boto3: kept, listed, limited and refused as AWS does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from iam_world import ACCOUNT, LAMBDA_TRUST, NOW, IamWorld, allow, policy, trusting

BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


@pytest.fixture
def world() -> Iterator[IamWorld]:
    world = IamWorld()
    yield world
    world.runner.close()


@pytest.fixture
def iam(world: IamWorld) -> Any:
    return world.client("iam")


@pytest.fixture
def role(iam: Any) -> str:
    return str(iam.create_role(RoleName="r", AssumeRolePolicyDocument=LAMBDA_TRUST)["Role"]["RoleName"])


def refused(call: Any, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as error:
        call(**parameters)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


# Roles ----------------------------------------------------------------------------------------------------------------


def test_a_role_is_answered_as_it_was_made(iam: Any) -> None:
    made = iam.create_role(
        RoleName="r",
        Path="/team/",
        AssumeRolePolicyDocument=LAMBDA_TRUST,
        Description="for x",
        MaxSessionDuration=7200,
        Tags=[{"Key": "a", "Value": "1"}],
    )["Role"]
    found = iam.get_role(RoleName="r")["Role"]

    assert found.pop("RoleLastUsed") == {}
    assert found == made
    assert found.pop("RoleId").startswith("AROA")
    assert found == {
        "Path": "/team/",
        "RoleName": "r",
        "Arn": f"arn:aws:iam::{ACCOUNT}:role/team/r",
        "CreateDate": datetime.fromtimestamp(NOW, UTC),
        "AssumeRolePolicyDocument": json.loads(LAMBDA_TRUST),
        "Description": "for x",
        "MaxSessionDuration": 7200,
        "Tags": [{"Key": "a", "Value": "1"}],
    }


def test_names_differ_by_more_than_their_case(iam: Any, role: str) -> None:
    assert refused(iam.create_role, RoleName="R", AssumeRolePolicyDocument=LAMBDA_TRUST) == (
        "EntityAlreadyExists",
        "Role with name R already exists.",
    )


def test_accounts_do_not_see_each_others_roles(world: IamWorld, iam: Any, role: str) -> None:
    world.caller = replace(world.caller, account="210987654321")

    assert refused(iam.get_role, RoleName=role) == ("NoSuchEntity", "The role with name r cannot be found.")
    assert iam.list_roles()["Roles"] == []


def test_roles_are_changed_and_deleted(iam: Any, role: str) -> None:
    other = trusting({"AWS": ACCOUNT})
    iam.update_role(RoleName=role, Description="new", MaxSessionDuration=43200)
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=other)
    changed = iam.get_role(RoleName=role)["Role"]
    iam.update_role(RoleName=role)

    assert (changed["Description"], changed["MaxSessionDuration"]) == ("new", 43200)
    assert changed["AssumeRolePolicyDocument"] == json.loads(other)
    assert iam.get_role(RoleName=role)["Role"]["MaxSessionDuration"] == 3600
    assert iam.update_role_description(RoleName=role, Description="d")["Role"]["Description"] == "d"
    iam.delete_role(RoleName=role)
    assert refused(iam.delete_role, RoleName=role)[0] == "NoSuchEntity"


def test_a_role_with_policies_is_not_deleted(iam: Any, role: str) -> None:
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=allow())
    assert refused(iam.delete_role, RoleName=role) == (
        "DeleteConflict",
        "Cannot delete entity, must delete policies first.",
    )
    iam.attach_role_policy(RoleName=role, PolicyArn=BASIC)
    assert refused(iam.delete_role, RoleName=role) == (
        "DeleteConflict",
        "Cannot delete entity, must detach all policies first.",
    )


def test_lists_come_in_pages_that_stay_right_while_roles_go(iam: Any) -> None:
    for name in ("e", "b", "d", "a", "c"):
        iam.create_role(RoleName=name, Path="/x/" if name == "c" else "/", AssumeRolePolicyDocument=LAMBDA_TRUST)
    first = iam.list_roles(MaxItems=2)
    iam.delete_role(RoleName="b")
    second = iam.list_roles(MaxItems=2, Marker=first["Marker"])
    third = iam.list_roles(MaxItems=2, Marker=second["Marker"])

    assert [[role["RoleName"] for role in page["Roles"]] for page in (first, second, third)] == [
        ["a", "b"],
        ["c", "d"],
        ["e"],
    ]
    assert [page["IsTruncated"] for page in (first, second, third)] == [True, True, False]
    assert [role["RoleName"] for role in iam.list_roles(PathPrefix="/x")["Roles"]] == ["c"]
    assert refused(iam.list_roles, Marker="?")[0] == "ValidationError"


def test_tags_are_put_over_each_other_whatever_their_case(iam: Any, role: str) -> None:
    iam.tag_role(RoleName=role, Tags=[{"Key": "Team", "Value": "a"}, {"Key": "cost", "Value": "1"}])
    iam.tag_role(RoleName=role, Tags=[{"Key": "TEAM", "Value": "b"}])
    assert iam.list_role_tags(RoleName=role)["Tags"] == [
        {"Key": "TEAM", "Value": "b"},
        {"Key": "cost", "Value": "1"},
    ]
    iam.untag_role(RoleName=role, TagKeys=["team"])
    assert iam.list_role_tags(RoleName=role)["Tags"] == [{"Key": "cost", "Value": "1"}]
    assert refused(iam.tag_role, RoleName=role, Tags=[{"Key": "aws:x", "Value": ""}])[0] == "InvalidInput"
    assert refused(iam.tag_role, RoleName=role, Tags=[{"Key": "x", "Value": ""}, {"Key": "X", "Value": ""}]) == (
        "InvalidInput",
        "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
    )
    many = [{"Key": str(number), "Value": ""} for number in range(50)]
    assert refused(iam.tag_role, RoleName=role, Tags=many) == (
        "LimitExceeded",
        "Cannot exceed quota for TagsPerRole: 50",
    )


def test_a_boundary_must_exist(iam: Any, role: str) -> None:
    missing = f"arn:aws:iam::{ACCOUNT}:policy/none"
    assert refused(iam.put_role_permissions_boundary, RoleName=role, PermissionsBoundary=missing) == (
        "NoSuchEntity",
        f"Scope ARN: {missing} does not exist or is not attachable.",
    )
    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=BASIC)
    boundary = iam.get_role(RoleName=role)["Role"]["PermissionsBoundary"]
    assert boundary == {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": BASIC}
    iam.delete_role_permissions_boundary(RoleName=role)
    assert "PermissionsBoundary" not in iam.get_role(RoleName=role)["Role"]


def test_whoever_deletes_a_role_finds_no_instance_profiles(iam: Any, role: str) -> None:
    assert iam.list_instance_profiles_for_role(RoleName=role)["InstanceProfiles"] == []


# A role's policies ----------------------------------------------------------------------------------------------------


def test_inline_policies_are_kept_by_name(iam: Any, role: str) -> None:
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=allow())
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=allow("sqs:*"))

    assert iam.get_role_policy(RoleName=role, PolicyName="p")["PolicyDocument"] == json.loads(allow("sqs:*"))
    assert iam.list_role_policies(RoleName=role)["PolicyNames"] == ["p"]
    iam.delete_role_policy(RoleName=role, PolicyName="p")
    for call in (iam.get_role_policy, iam.delete_role_policy):
        assert refused(call, RoleName=role, PolicyName="p") == (
            "NoSuchEntity",
            "The role policy with name p cannot be found.",
        )


def test_managed_policies_are_attached_once_and_detached(iam: Any, role: str) -> None:
    own = iam.create_policy(PolicyName="own", PolicyDocument=allow())["Policy"]["Arn"]
    for arn in (own, BASIC, own, "arn:aws:iam::aws:policy/SomeOtherOfAWS"):
        iam.attach_role_policy(RoleName=role, PolicyArn=arn)

    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == [
        {"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": BASIC},
        {"PolicyName": "SomeOtherOfAWS", "PolicyArn": "arn:aws:iam::aws:policy/SomeOtherOfAWS"},
        {"PolicyName": "own", "PolicyArn": own},
    ]
    named = iam.list_attached_role_policies(RoleName=role, PathPrefix="/service-role/")["AttachedPolicies"]
    assert [one["PolicyArn"] for one in named] == [BASIC]
    iam.detach_role_policy(RoleName=role, PolicyArn=own)
    assert refused(iam.detach_role_policy, RoleName=role, PolicyArn=own) == (
        "NoSuchEntity",
        f"Policy {own} was not found.",
    )


def test_what_cannot_be_attached_is_told(iam: Any, role: str) -> None:
    missing = f"arn:aws:iam::{ACCOUNT}:policy/none"
    assert refused(iam.attach_role_policy, RoleName=role, PolicyArn=missing) == (
        "NoSuchEntity",
        f"Policy {missing} does not exist or is not attachable.",
    )
    assert refused(iam.attach_role_policy, RoleName=role, PolicyArn="arn:aws:iam::policy/short") == (
        "InvalidInput",
        "ARN arn:aws:iam::policy/short is not valid.",
    )
    for number in range(10):
        iam.attach_role_policy(RoleName=role, PolicyArn=f"arn:aws:iam::aws:policy/Number{number}")
    assert refused(iam.attach_role_policy, RoleName=role, PolicyArn=BASIC) == (
        "LimitExceeded",
        "Cannot exceed quota for PoliciesPerRole: 10",
    )


# Managed policies -----------------------------------------------------------------------------------------------------


def test_a_policy_has_versions_one_of_which_counts(world: IamWorld, iam: Any) -> None:
    made = iam.create_policy(PolicyName="p", Path="/x/", PolicyDocument=allow(), Description="d")["Policy"]
    arn = made["Arn"]
    world.now += 10
    for number in range(2, 6):
        version = iam.create_policy_version(
            PolicyArn=arn, PolicyDocument=allow(f"s3:{number}"), SetAsDefault=number == 3
        )["PolicyVersion"]
        assert (version["VersionId"], version["IsDefaultVersion"]) == (f"v{number}", number == 3)

    assert arn == f"arn:aws:iam::{ACCOUNT}:policy/x/p"
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v3"
    assert [one["VersionId"] for one in iam.list_policy_versions(PolicyArn=arn)["Versions"]] == [
        "v5", "v4", "v3", "v2", "v1",
    ]  # fmt: skip
    assert refused(iam.create_policy_version, PolicyArn=arn, PolicyDocument=allow())[0] == "LimitExceeded"
    assert refused(iam.delete_policy_version, PolicyArn=arn, VersionId="v3") == (
        "DeleteConflict",
        "Cannot delete the default version of a policy.",
    )
    assert refused(iam.delete_policy, PolicyArn=arn)[0] == "DeleteConflict"
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v5")
    for number in (1, 2, 3, 4):
        iam.delete_policy_version(PolicyArn=arn, VersionId=f"v{number}")
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v5")["PolicyVersion"]["Document"] == json.loads(
        allow("s3:5")
    )
    assert refused(iam.get_policy_version, PolicyArn=arn, VersionId="v1") == (
        "NoSuchEntity",
        f"Policy {arn} version v1 does not exist or is not attachable.",
    )
    assert iam.create_policy_version(PolicyArn=arn, PolicyDocument=allow())["PolicyVersion"]["VersionId"] == "v6", (
        "numbers are not used again"
    )
    iam.delete_policy_version(PolicyArn=arn, VersionId="v6")
    iam.delete_policy(PolicyArn=arn)
    assert refused(iam.get_policy, PolicyArn=arn) == ("NoSuchEntity", f"Policy {arn} was not found.")


def test_a_policy_in_use_tells_by_whom_and_stays(iam: Any, role: str) -> None:
    arn = iam.create_policy(PolicyName="p", PolicyDocument=allow())["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)

    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    assert [one["RoleName"] for one in iam.list_entities_for_policy(PolicyArn=arn)["PolicyRoles"]] == [role]
    assert iam.list_entities_for_policy(PolicyArn=arn, EntityFilter="User")["PolicyRoles"] == []
    assert iam.list_entities_for_policy(PolicyArn=arn, PolicyUsageFilter="PermissionsBoundary")["PolicyRoles"] == []
    assert refused(iam.delete_policy, PolicyArn=arn) == (
        "DeleteConflict",
        "Cannot delete a policy attached to entities.",
    )


def test_lists_of_policies_tell_own_ones_awss_and_used_ones(iam: Any, role: str) -> None:
    iam.create_policy(PolicyName="own", PolicyDocument=allow())
    iam.attach_role_policy(RoleName=role, PolicyArn=BASIC)

    def names(**parameters: Any) -> list[str]:
        return [one["PolicyName"] for one in iam.list_policies(**parameters)["Policies"]]

    assert names(Scope="Local") == ["own"]
    assert {"own", "AWSLambdaBasicExecutionRole", "AWSLambda_FullAccess"} <= set(names())
    assert names(OnlyAttached=True) == ["AWSLambdaBasicExecutionRole"]
    assert names(PolicyUsageFilter="PermissionsBoundary") == []
    assert "own" not in names(Scope="AWS")


def test_awss_own_policies_can_be_read_and_not_changed(iam: Any) -> None:
    found = iam.get_policy(PolicyArn=BASIC)["Policy"]
    document = iam.get_policy_version(PolicyArn=BASIC, VersionId=found["DefaultVersionId"])["PolicyVersion"]["Document"]

    assert found["Path"] == "/service-role/"
    assert document["Statement"][0]["Action"] == ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
    assert refused(iam.delete_policy, PolicyArn=BASIC)[0] == "AccessDenied"


def test_policies_are_tagged_and_not_made_twice(iam: Any) -> None:
    arn = iam.create_policy(PolicyName="p", PolicyDocument=allow())["Policy"]["Arn"]
    iam.tag_policy(PolicyArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    iam.untag_policy(PolicyArn=arn, TagKeys=["a"])

    assert iam.list_policy_tags(PolicyArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]
    assert refused(iam.create_policy, PolicyName="P", PolicyDocument=allow()) == (
        "EntityAlreadyExists",
        "A policy called P already exists. Duplicate names are not allowed.",
    )


# Documents ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "Syntax errors in policy."),
        ("[]", "Syntax errors in policy."),
        ('{"Version": "2012-10-17"}', "Syntax errors in policy."),
        ('{"Version": "2012-10-17", "Version": "2012-10-17", "Statement": []}', "Syntax errors in policy."),
        (policy(), "Syntax errors in policy."),
        (allow(Effect="Maybe"), "Syntax errors in policy."),
        (allow(Condition={"Equals": {"a": "b"}}), "Syntax errors in policy."),
        (allow(Other=1), "Syntax errors in policy."),
        (policy(Version="2012"), "The policy must contain a valid version string"),
        (allow(Principal="*"), "Policy document should not specify a principal."),
        (policy({"Effect": "Allow", "Resource": "*"}), "Policy statement must contain actions."),
        (policy({"Effect": "Allow", "Action": "s3:*"}), "Policy statement must contain resources."),
        (allow("GetObject"), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
        (allow(resource="bucket"), 'Resource bucket must be in ARN format or "*".'),
        (
            policy(*2 * [{"Sid": "a", "Effect": "Deny", "Action": "*", "Resource": "*"}]),
            "Statement IDs (SID) in a single policy must be unique.",
        ),
    ],
)
def test_what_is_no_identity_policy_is_refused(iam: Any, role: str, document: str, message: str) -> None:
    expected = ("MalformedPolicyDocument", message)
    assert refused(iam.create_policy, PolicyName="p", PolicyDocument=document) == expected
    assert refused(iam.put_role_policy, RoleName=role, PolicyName="p", PolicyDocument=document) == expected
    assert iam.list_policies(Scope="Local")["Policies"] == []


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "This policy contains invalid Json"),
        (policy({"Effect": "Allow", "Action": "sts:AssumeRole"}), "Missing required field Principal"),
        (policy({"Effect": "Allow", "Principal": "*"}), "Missing required field Action"),
        (trusting("*", Resource="*"), "Has prohibited field Resource"),
        (trusting("*", Action="s3:GetObject"), "AssumeRole policy may only specify STS AssumeRole actions."),
        (trusting({"AWS": "bob"}), 'Invalid principal in policy: "AWS":"bob"'),
        (trusting({"Service": "lambda"}), 'Invalid principal in policy: "SERVICE":"lambda"'),
        (trusting({"Planet": "x"}), "Syntax errors in policy."),
    ],
)
def test_what_is_no_trust_policy_is_refused(iam: Any, role: str, document: str, message: str) -> None:
    expected = ("MalformedPolicyDocument", message)
    assert refused(iam.create_role, RoleName="new", AssumeRolePolicyDocument=document) == expected
    assert refused(iam.update_assume_role_policy, RoleName=role, PolicyDocument=document) == expected
    assert [one["RoleName"] for one in iam.list_roles()["Roles"]] == [role]


def test_only_inline_policies_may_be_of_the_older_version(iam: Any, role: str) -> None:
    older = json.dumps({"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}})

    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=older)
    assert refused(iam.create_policy, PolicyName="p", PolicyDocument=older) == (
        "MalformedPolicyDocument",
        "Policy document must be version 2012-10-17 or greater.",
    )


def test_documents_have_a_size(iam: Any, role: str) -> None:
    def of(characters: int) -> str:
        return allow(Sid="x" * (characters - len(allow(Sid="").replace(" ", "")))) + " " * 100

    iam.create_policy(PolicyName="fits", PolicyDocument=of(6144))
    assert refused(iam.create_policy, PolicyName="p", PolicyDocument=of(6145)) == (
        "LimitExceeded",
        "Cannot exceed quota for PolicySize: 6144",
    )
    iam.put_role_policy(RoleName=role, PolicyName="a", PolicyDocument=of(10_000))
    assert refused(iam.put_role_policy, RoleName=role, PolicyName="b", PolicyDocument=of(241)) == (
        "LimitExceeded",
        "Maximum policy size of 10240 bytes exceeded for role r",
    )
    trust = trusting("*", Sid="x" * 2048)
    assert refused(iam.update_assume_role_policy, RoleName=role, PolicyDocument=trust) == (
        "LimitExceeded",
        "Cannot exceed quota for ACLSizePerRole: 2048",
    )


def test_broken_constraints_are_answered_as_validation_errors(iam: Any) -> None:
    code, message = refused(iam.get_role, RoleName="not a name")

    assert code == "ValidationError"
    assert "at 'roleName' failed to satisfy constraint" in message
