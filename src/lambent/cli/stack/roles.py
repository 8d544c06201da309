"""AWS::IAM::Role and AWS::Logs::LogGroup: what functions need beside themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any  # Any: what templates and botocore hold

from lambent.cli.stack.intrinsics import Made
from lambent.cli.stack.stack import Applied, Kind, Stack, found, typed


def _apply_role(stack: Stack, logical_id: str, wanted: dict[str, Any]) -> Applied:
    iam, name = stack.iam, wanted.get("RoleName") or stack.physical_name(logical_id)
    wanted, tags = typed(iam, "CreateRole", wanted), stack.tagged(wanted)
    stack.roles.add(name)
    existing = found(iam.get_role, RoleName=name)
    outcome = "unchanged"
    if existing is None:
        existing = iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=json.dumps(wanted["AssumeRolePolicyDocument"]),
            Tags=_listed(tags),
            **{member: wanted[member] for member in _MEMBERS if member in wanted},
        )
        outcome = "created"
    else:
        stack.require_own("role", name, {tag["Key"]: tag["Value"] for tag in existing["Role"].get("Tags", ())})
        if _update(stack, existing["Role"], wanted, tags):
            outcome = "updated"
    are_policies_changed = _put_policies(stack, name, wanted) | _attach(stack, name, wanted)
    if outcome == "unchanged" and are_policies_changed:
        outcome = "updated"
    role = existing["Role"]
    return Applied(outcome=outcome, made=Made(ref=name, attributes={"Arn": role["Arn"], "RoleId": role["RoleId"]}))


def _update(stack: Stack, role: Mapping[str, Any], wanted: Mapping[str, Any], tags: Mapping[str, str]) -> bool:
    """Bring trust, description, duration, boundary and tags about; whether anything had to be done."""
    iam, name, is_changed = stack.iam, role["RoleName"], False
    if role["AssumeRolePolicyDocument"] != wanted["AssumeRolePolicyDocument"]:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(wanted["AssumeRolePolicyDocument"]))
        is_changed = True
    description, seconds = wanted.get("Description", ""), int(wanted.get("MaxSessionDuration", 3600))
    if (role.get("Description", ""), role["MaxSessionDuration"]) != (description, seconds):
        iam.update_role(RoleName=name, Description=description, MaxSessionDuration=seconds)
        is_changed = True
    boundary = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    if boundary != wanted.get("PermissionsBoundary"):
        if "PermissionsBoundary" in wanted:
            iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=wanted["PermissionsBoundary"])
        else:
            iam.delete_role_permissions_boundary(RoleName=name)
        is_changed = True
    if missing := tags.items() - {(tag["Key"], tag["Value"]) for tag in role.get("Tags", ())}:
        iam.tag_role(RoleName=name, Tags=_listed(dict(missing)))
        is_changed = True
    return is_changed


def _put_policies(stack: Stack, name: str, wanted: Mapping[str, Any]) -> bool:
    iam, documents = stack.iam, {one["PolicyName"]: one["PolicyDocument"] for one in wanted.get("Policies", ())}
    before = {}
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        before[policy] = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
    for policy in before.keys() - documents.keys():
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    for policy, document in documents.items():
        if before.get(policy) != document:
            iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))
    return before != documents


def _attach(stack: Stack, name: str, wanted: Mapping[str, Any]) -> bool:
    iam, arns = stack.iam, set(wanted.get("ManagedPolicyArns", ()))
    before = {one["PolicyArn"] for one in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]}
    for arn in before - arns:
        iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    for arn in arns - before:
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    return before != arns


def remove_role(stack: Stack, name: str) -> None:
    """Delete a role with its policies."""
    _put_policies(stack, name, {})
    _attach(stack, name, {})
    stack.iam.delete_role(RoleName=name)


def _listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _apply_log_group(stack: Stack, logical_id: str, wanted: dict[str, Any]) -> Applied:
    logs, name = stack.logs, wanted.get("LogGroupName") or stack.physical_name(logical_id)
    existing = [
        one for one in logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"] if one["logGroupName"] == name
    ]
    days, before = wanted.get("RetentionInDays"), existing[0].get("retentionInDays") if existing else None
    if not existing:
        logs.create_log_group(logGroupName=name)
    if days is not None and int(days) != before:
        logs.put_retention_policy(logGroupName=name, retentionInDays=int(days))
    elif days is None and before is not None:
        logs.delete_retention_policy(logGroupName=name)
    arn = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]["arn"]
    is_changed = (days and int(days)) != before
    outcome = "created" if not existing else "updated" if is_changed else "unchanged"
    return Applied(outcome=outcome, made=Made(ref=name, attributes={"Arn": arn}))


_MEMBERS = ("Description", "MaxSessionDuration", "Path", "PermissionsBoundary")

KINDS: Mapping[str, Kind] = {
    "AWS::IAM::Role": Kind(
        (*_MEMBERS, "AssumeRolePolicyDocument", "ManagedPolicyArns", "Policies", "RoleName", "Tags"), _apply_role
    ),
    "AWS::Logs::LogGroup": Kind(("LogGroupName", "RetentionInDays"), _apply_log_group),
}
