"""What callers ask of IAM and STS, typed: the members of AWS's requests that are acted upon."""

from __future__ import annotations

from lambent.spec.members import Members


class TagMembers(Members):
    key: str
    value: str


class PageRequest(Members, kw_only=True):
    marker: str | None = None
    max_items: int | None = None


class PathPageRequest(PageRequest, kw_only=True):
    path_prefix: str = "/"


# Roles ----------------------------------------------------------------------------------------------------------------


class RoleRequest(Members, kw_only=True):
    role_name: str


class CreateRoleRequest(RoleRequest, kw_only=True):
    assume_role_policy_document: str
    path: str = "/"
    description: str = ""
    max_session_duration: int | None = None
    permissions_boundary: str | None = None
    tags: tuple[TagMembers, ...] = ()


class UpdateRoleRequest(RoleRequest, kw_only=True):
    description: str | None = None
    max_session_duration: int | None = None


class UpdateRoleDescriptionRequest(RoleRequest, kw_only=True):
    description: str


class UpdateAssumeRolePolicyRequest(RoleRequest, kw_only=True):
    policy_document: str


class RoleBoundaryRequest(RoleRequest, kw_only=True):
    permissions_boundary: str


class RolePageRequest(PageRequest, kw_only=True):
    role_name: str


class RolePathPageRequest(PathPageRequest, kw_only=True):
    role_name: str


class TagRoleRequest(RoleRequest, kw_only=True):
    tags: tuple[TagMembers, ...]


class UntagRoleRequest(RoleRequest, kw_only=True):
    tag_keys: tuple[str, ...]


class RolePolicyRequest(RoleRequest, kw_only=True):
    policy_name: str


class PutRolePolicyRequest(RolePolicyRequest, kw_only=True):
    policy_document: str


class AttachmentRequest(RoleRequest, kw_only=True):
    policy_arn: str


# Managed policies -----------------------------------------------------------------------------------------------------


class PolicyRequest(Members, kw_only=True):
    policy_arn: str


class CreatePolicyRequest(Members, kw_only=True):
    policy_name: str
    policy_document: str
    path: str = "/"
    description: str = ""
    tags: tuple[TagMembers, ...] = ()


class PolicyVersionRequest(PolicyRequest, kw_only=True):
    version_id: str


class CreatePolicyVersionRequest(PolicyRequest, kw_only=True):
    policy_document: str
    set_as_default: bool = False


class PolicyPageRequest(PageRequest, kw_only=True):
    policy_arn: str


class ListPoliciesRequest(PathPageRequest, kw_only=True):
    scope: str = "All"
    only_attached: bool = False
    policy_usage_filter: str | None = None


class ListEntitiesRequest(PathPageRequest, kw_only=True):
    policy_arn: str
    entity_filter: str | None = None
    policy_usage_filter: str | None = None


class TagPolicyRequest(PolicyRequest, kw_only=True):
    tags: tuple[TagMembers, ...]


class UntagPolicyRequest(PolicyRequest, kw_only=True):
    tag_keys: tuple[str, ...]


# STS ------------------------------------------------------------------------------------------------------------------


class CallerIdentityRequest(Members):
    """An operation without parameters."""


class AssumeRoleRequest(Members, kw_only=True):
    role_arn: str
    role_session_name: str
    duration_seconds: int | None = None
    external_id: str | None = None


class SessionTokenRequest(Members, kw_only=True):
    duration_seconds: int | None = None
