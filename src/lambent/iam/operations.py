"""IAM joined together: every operation that is built, by AWS's name."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any  # Any: parameters are of whatever type the service model gives them

from lambent.iam import requests
from lambent.iam.entities import Entities
from lambent.iam.errors import unsupported
from lambent.iam.paging import Answer
from lambent.iam.policies import Policies
from lambent.iam.role_policies import RolePolicies
from lambent.iam.roles import Roles
from lambent.model.caller import CallerContext
from lambent.spec.members import Request, parse

Operation = Callable[[CallerContext, dict[str, Any]], Awaitable[Answer]]


class IamApi:
    """What of IAM is built, over one store; `clock` gives epoch seconds."""

    def __init__(self, entities: Entities, *, clock: Callable[[], float] = time.time) -> None:
        roles, role_policies = Roles(entities, clock), RolePolicies(entities)
        self.operations: Mapping[str, Operation] = {
            **_of_roles(roles),
            **_of_role_policies(role_policies),
            **_of_policies(Policies(entities, clock)),
        }


def _of_roles(roles: Roles) -> Mapping[str, Operation]:
    return {
        "CreateRole": parsing(requests.CreateRoleRequest, roles.create_role),
        "GetRole": parsing(requests.RoleRequest, roles.get_role),
        "ListRoles": parsing(requests.PathPageRequest, roles.list_roles),
        "UpdateRole": parsing(requests.UpdateRoleRequest, roles.update_role),
        "UpdateRoleDescription": parsing(requests.UpdateRoleDescriptionRequest, roles.update_role_description),
        "UpdateAssumeRolePolicy": parsing(requests.UpdateAssumeRolePolicyRequest, roles.update_assume_role_policy),
        "PutRolePermissionsBoundary": parsing(requests.RoleBoundaryRequest, roles.put_role_permissions_boundary),
        "DeleteRolePermissionsBoundary": parsing(requests.RoleRequest, roles.delete_role_permissions_boundary),
        "DeleteRole": parsing(requests.RoleRequest, roles.delete_role),
        "TagRole": parsing(requests.TagRoleRequest, roles.tag_role),
        "UntagRole": parsing(requests.UntagRoleRequest, roles.untag_role),
        "ListRoleTags": parsing(requests.RolePageRequest, roles.list_role_tags),
        "ListInstanceProfilesForRole": parsing(requests.RolePageRequest, roles.list_instance_profiles_for_role),
    }


def _of_role_policies(policies: RolePolicies) -> Mapping[str, Operation]:
    return {
        "PutRolePolicy": parsing(requests.PutRolePolicyRequest, policies.put_role_policy),
        "GetRolePolicy": parsing(requests.RolePolicyRequest, policies.get_role_policy),
        "DeleteRolePolicy": parsing(requests.RolePolicyRequest, policies.delete_role_policy),
        "ListRolePolicies": parsing(requests.RolePageRequest, policies.list_role_policies),
        "AttachRolePolicy": parsing(requests.AttachmentRequest, policies.attach_role_policy),
        "DetachRolePolicy": parsing(requests.AttachmentRequest, policies.detach_role_policy),
        "ListAttachedRolePolicies": parsing(requests.RolePathPageRequest, policies.list_attached_role_policies),
    }


def _of_policies(policies: Policies) -> Mapping[str, Operation]:
    return {
        "CreatePolicy": parsing(requests.CreatePolicyRequest, policies.create_policy),
        "GetPolicy": parsing(requests.PolicyRequest, policies.get_policy),
        "ListPolicies": parsing(requests.ListPoliciesRequest, policies.list_policies),
        "DeletePolicy": parsing(requests.PolicyRequest, policies.delete_policy),
        "ListEntitiesForPolicy": parsing(requests.ListEntitiesRequest, policies.list_entities_for_policy),
        "CreatePolicyVersion": parsing(requests.CreatePolicyVersionRequest, policies.create_policy_version),
        "GetPolicyVersion": parsing(requests.PolicyVersionRequest, policies.get_policy_version),
        "ListPolicyVersions": parsing(requests.PolicyPageRequest, policies.list_policy_versions),
        "SetDefaultPolicyVersion": parsing(requests.PolicyVersionRequest, policies.set_default_policy_version),
        "DeletePolicyVersion": parsing(requests.PolicyVersionRequest, policies.delete_policy_version),
        "TagPolicy": parsing(requests.TagPolicyRequest, policies.tag_policy),
        "UntagPolicy": parsing(requests.UntagPolicyRequest, policies.untag_policy),
        "ListPolicyTags": parsing(requests.PolicyPageRequest, policies.list_policy_tags),
    }


def parsing(kind: type[Request], handler: Callable[[CallerContext, Request], Awaitable[Answer]]) -> Operation:
    """The border: members of AWS's names come in, a typed request goes on."""

    async def operation(caller: CallerContext, members: dict[str, Any]) -> Answer:
        return await handler(caller, parse(kind, members, unsupported))

    return operation
