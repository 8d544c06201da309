"""Managed policies: a customer's, with up to five versions each, and AWS's own, which can only be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from urllib.parse import quote

from lambent.iam import managed, requests, tags
from lambent.iam.documents import check_managed_policy
from lambent.iam.entities import Entities, Found
from lambent.iam.errors import DeleteConflict, EntityAlreadyExists, LimitExceeded, NoSuchEntity
from lambent.iam.identifiers import POLICY, new_id, parse_policy_arn
from lambent.iam.paging import Answer, page
from lambent.model.caller import CallerContext
from lambent.model.errors import AccessDenied
from lambent.model.iam import PolicyRecord, PolicyVersion, RoleRecord

_CHARACTERS = 6_144
"""Of a policy's document, white space not counted."""
_VERSIONS = 5


class Policies:
    """`clock` gives epoch seconds."""

    def __init__(self, entities: Entities, clock: Callable[[], float]) -> None:
        self._entities = entities
        self._clock = clock

    async def create_policy(self, caller: CallerContext, request: requests.CreatePolicyRequest) -> Answer:
        _check(request.policy_document)
        now_s = int(self._clock())
        async with self._entities.changing:
            if await self._entities.policy_named(caller.account, request.policy_name) is not None:
                raise EntityAlreadyExists(
                    f"A policy called {request.policy_name} already exists. Duplicate names are not allowed."
                )
            policy = PolicyRecord(
                account=caller.account,
                name=request.policy_name,
                path=request.path,
                policy_id=new_id(POLICY),
                created_s=now_s,
                updated_s=now_s,
                description=request.description,
                versions={1: PolicyVersion(document=request.policy_document, created_s=now_s)},
                tags=tags.tagged({}, request.tags, "Policy"),
            )
            await self._entities.put_policy(policy)
        return {"Policy": _listed(policy, 0, 0) | {"Tags": tags.answer(policy.tags) or None}}

    async def get_policy(self, caller: CallerContext, request: requests.PolicyRequest) -> Answer:
        policy = (await self._find(caller, request.policy_arn)).record
        attached, boundaries = await self._entities.usage(caller.account)
        described = _listed(policy, attached[policy.arn], boundaries[policy.arn])
        return {
            "Policy": described | {"Description": policy.description or None, "Tags": tags.answer(policy.tags) or None}
        }

    async def list_policies(self, caller: CallerContext, request: requests.ListPoliciesRequest) -> Answer:
        own = await self._entities.policies(caller.account) if request.scope != "AWS" else []
        of_aws = managed.POLICIES.values() if request.scope != "Local" else []
        attached, boundaries = await self._entities.usage(caller.account)
        wanted = {"PermissionsPolicy": attached, "PermissionsBoundary": boundaries}.get(
            request.policy_usage_filter or "", attached + boundaries
        )
        is_by_use = request.only_attached or request.policy_usage_filter is not None
        found, more = page(
            request,
            (
                (policy.arn, policy)
                for policy in (*own, *of_aws)
                if policy.path.startswith(request.path_prefix) and (wanted[policy.arn] or not is_by_use)
            ),
        )
        return {"Policies": [_listed(one, attached[one.arn], boundaries[one.arn]) for one in found], **more}

    async def delete_policy(self, caller: CallerContext, request: requests.PolicyRequest) -> Answer:
        async with self._entities.changing:
            found = await self._find_own(caller, request.policy_arn)
            attached, boundaries = await self._entities.usage(caller.account)
            if attached[request.policy_arn] or boundaries[request.policy_arn]:
                raise DeleteConflict("Cannot delete a policy attached to entities.")
            if len(found.record.versions) > 1:
                raise DeleteConflict(
                    "This policy has more than one version. Before you delete a policy, you must delete the policy's "
                    "versions. The default version is deleted with the policy."
                )
            await self._entities.remove_policy(found)
        return {}

    async def list_entities_for_policy(self, caller: CallerContext, request: requests.ListEntitiesRequest) -> Answer:
        await self._find(caller, request.policy_arn)
        roles = await self._entities.roles(caller.account) if request.entity_filter in (None, "Role") else []
        found, more = page(
            request,
            (
                (role.name.lower(), role)
                for role in roles
                if role.path.startswith(request.path_prefix)
                and request.policy_arn in _policies_of(role, request.policy_usage_filter)
            ),
        )
        named = [{"RoleName": role.name, "RoleId": role.role_id} for role in found]
        return {"PolicyGroups": [], "PolicyUsers": [], "PolicyRoles": named, **more}

    # Versions

    async def create_policy_version(
        self, caller: CallerContext, request: requests.CreatePolicyVersionRequest
    ) -> Answer:
        _check(request.policy_document)
        now_s = int(self._clock())

        def add(policy: PolicyRecord) -> PolicyRecord:
            if len(policy.versions) >= _VERSIONS:
                raise LimitExceeded(
                    f"A managed policy can have up to {_VERSIONS} versions. Before you create a new version, you must "
                    "delete an existing version."
                )
            number = policy.next_version
            return replace(
                policy,
                versions={**policy.versions, number: PolicyVersion(document=request.policy_document, created_s=now_s)},
                default_version=number if request.set_as_default else policy.default_version,
                next_version=number + 1,
                updated_s=now_s,
            )

        policy = await self._change(caller, request, add)
        return {"PolicyVersion": _version(policy, policy.next_version - 1)}

    async def get_policy_version(self, caller: CallerContext, request: requests.PolicyVersionRequest) -> Answer:
        policy = (await self._find(caller, request.policy_arn)).record
        number = _number(policy, request)
        document = quote(policy.versions[number].document, safe="")
        return {"PolicyVersion": {"Document": document, **_version(policy, number)}}

    async def list_policy_versions(self, caller: CallerContext, request: requests.PolicyPageRequest) -> Answer:
        """The newest first."""
        policy = (await self._find(caller, request.policy_arn)).record
        numbers, more = page(request, ((f"{policy.next_version - number:09}", number) for number in policy.versions))
        return {"Versions": [_version(policy, number) for number in numbers], **more}

    async def set_default_policy_version(self, caller: CallerContext, request: requests.PolicyVersionRequest) -> Answer:
        now_s = int(self._clock())
        await self._change(
            caller,
            request,
            lambda policy: replace(policy, default_version=_number(policy, request), updated_s=now_s),
        )
        return {}

    async def delete_policy_version(self, caller: CallerContext, request: requests.PolicyVersionRequest) -> Answer:
        def remove(policy: PolicyRecord) -> PolicyRecord:
            number = _number(policy, request)
            if number == policy.default_version:
                raise DeleteConflict("Cannot delete the default version of a policy.")
            return replace(policy, versions={one: kept for one, kept in policy.versions.items() if one != number})

        await self._change(caller, request, remove)
        return {}

    # Tags

    async def tag_policy(self, caller: CallerContext, request: requests.TagPolicyRequest) -> Answer:
        await self._change(
            caller, request, lambda policy: replace(policy, tags=tags.tagged(policy.tags, request.tags, "Policy"))
        )
        return {}

    async def untag_policy(self, caller: CallerContext, request: requests.UntagPolicyRequest) -> Answer:
        await self._change(
            caller, request, lambda policy: replace(policy, tags=tags.untagged(policy.tags, request.tag_keys))
        )
        return {}

    async def list_policy_tags(self, caller: CallerContext, request: requests.PolicyPageRequest) -> Answer:
        policy = (await self._find(caller, request.policy_arn)).record
        found, more = page(request, ((key, (key, value)) for key, value in policy.tags.items()))
        return {"Tags": tags.answer(dict(found)), **more}

    async def _find(self, caller: CallerContext, text: str) -> Found[PolicyRecord]:
        """A policy that the caller's account may read: its own, or AWS's."""
        arn = parse_policy_arn(text)
        found = await self._entities.policy(arn) if arn.account in (managed.ACCOUNT, caller.account) else None
        if found is None:
            raise NoSuchEntity(f"Policy {text} was not found.")
        return found

    async def _find_own(self, caller: CallerContext, text: str) -> Found[PolicyRecord]:
        if parse_policy_arn(text).account == managed.ACCOUNT:
            raise AccessDenied(f"Policy {text} is AWS's own and cannot be changed.")
        return await self._find(caller, text)

    async def _change(
        self, caller: CallerContext, request: requests.PolicyRequest, change: Callable[[PolicyRecord], PolicyRecord]
    ) -> PolicyRecord:
        async with self._entities.changing:
            found = await self._find_own(caller, request.policy_arn)
            policy = change(found.record)
            await self._entities.put_policy(policy, found.revision)
        return policy


def _check(document: str) -> None:
    check_managed_policy(document)
    if sum(not character.isspace() for character in document) > _CHARACTERS:
        raise LimitExceeded(f"Cannot exceed quota for PolicySize: {_CHARACTERS}")


def _number(policy: PolicyRecord, request: requests.PolicyVersionRequest) -> int:
    number = next((one for one in policy.versions if f"v{one}" == request.version_id), None)
    if number is None:
        raise NoSuchEntity(
            f"Policy {request.policy_arn} version {request.version_id} does not exist or is not attachable."
        )
    return number


def _policies_of(role: RoleRecord, usage: str | None) -> Iterable[str]:
    boundary = () if role.permissions_boundary is None else (role.permissions_boundary,)
    match usage:
        case "PermissionsPolicy":
            return role.attached_policies
        case "PermissionsBoundary":
            return boundary
    return (*role.attached_policies, *boundary)


def _listed(policy: PolicyRecord, attached: int, boundaries: int) -> Answer:
    return {
        "PolicyName": policy.name,
        "PolicyId": policy.policy_id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": f"v{policy.default_version}",
        "AttachmentCount": attached,
        "PermissionsBoundaryUsageCount": boundaries,
        "IsAttachable": True,
        "CreateDate": policy.created_s,
        "UpdateDate": policy.updated_s,
    }


def _version(policy: PolicyRecord, number: int) -> Answer:
    return {
        "VersionId": f"v{number}",
        "IsDefaultVersion": number == policy.default_version,
        "CreateDate": policy.versions[number].created_s,
    }
