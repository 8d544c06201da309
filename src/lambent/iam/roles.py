"""Roles themselves: create, read, change, delete; their trust, boundary and tags.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_Operations.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

from lambent.iam import requests, tags
from lambent.iam.documents import check_trust_policy
from lambent.iam.entities import Entities
from lambent.iam.errors import DeleteConflict, EntityAlreadyExists, LimitExceeded, NoSuchEntity
from lambent.iam.identifiers import ROLE, new_id, parse_policy_arn
from lambent.iam.paging import Answer, page
from lambent.model.caller import CallerContext
from lambent.model.iam import SESSION_S_DEFAULT, RoleRecord

_TRUST_POLICY_CHARACTERS = 2_048


class Roles:
    """`clock` gives epoch seconds."""

    def __init__(self, entities: Entities, clock: Callable[[], float]) -> None:
        self._entities = entities
        self._clock = clock

    async def create_role(self, caller: CallerContext, request: requests.CreateRoleRequest) -> Answer:
        _check_trust(request.assume_role_policy_document)
        async with self._entities.changing:
            if await self._entities.role(caller.account, request.role_name) is not None:
                raise EntityAlreadyExists(f"Role with name {request.role_name} already exists.")
            if request.permissions_boundary is not None:
                await self._require_boundary(request.permissions_boundary)
            role = RoleRecord(
                account=caller.account,
                name=request.role_name,
                path=request.path,
                role_id=new_id(ROLE),
                created_s=int(self._clock()),
                trust_policy=request.assume_role_policy_document,
                description=request.description,
                session_s_maximum=request.max_session_duration or SESSION_S_DEFAULT,
                permissions_boundary=request.permissions_boundary,
                tags=tags.tagged({}, request.tags, "Role"),
            )
            await self._entities.put_role(role)
        return {"Role": described(role)}

    async def get_role(self, caller: CallerContext, request: requests.RoleRequest) -> Answer:
        role = (await self._entities.find_role(caller.account, request.role_name)).record
        return {"Role": described(role) | {"RoleLastUsed": {}}}

    async def list_roles(self, caller: CallerContext, request: requests.PathPageRequest) -> Answer:
        roles = await self._entities.roles(caller.account)
        found, more = page(
            request, ((role.name.lower(), role) for role in roles if role.path.startswith(request.path_prefix))
        )
        return {"Roles": [listed(role) for role in found], **more}

    async def update_role(self, caller: CallerContext, request: requests.UpdateRoleRequest) -> Answer:
        """A duration that is not given goes back to its default, a description that is not given stays, as on AWS."""
        seconds = request.max_session_duration or SESSION_S_DEFAULT
        await self._change(
            caller,
            request,
            lambda role: replace(
                role,
                session_s_maximum=seconds,
                description=role.description if request.description is None else request.description,
            ),
        )
        return {}

    async def update_role_description(
        self, caller: CallerContext, request: requests.UpdateRoleDescriptionRequest
    ) -> Answer:
        role = await self._change(caller, request, lambda role: replace(role, description=request.description))
        return {"Role": described(role)}

    async def update_assume_role_policy(
        self, caller: CallerContext, request: requests.UpdateAssumeRolePolicyRequest
    ) -> Answer:
        _check_trust(request.policy_document)
        await self._change(caller, request, lambda role: replace(role, trust_policy=request.policy_document))
        return {}

    async def put_role_permissions_boundary(
        self, caller: CallerContext, request: requests.RoleBoundaryRequest
    ) -> Answer:
        await self._require_boundary(request.permissions_boundary)
        await self._change(
            caller, request, lambda role: replace(role, permissions_boundary=request.permissions_boundary)
        )
        return {}

    async def delete_role_permissions_boundary(self, caller: CallerContext, request: requests.RoleRequest) -> Answer:
        await self._change(caller, request, lambda role: replace(role, permissions_boundary=None))
        return {}

    async def delete_role(self, caller: CallerContext, request: requests.RoleRequest) -> Answer:
        async with self._entities.changing:
            found = await self._entities.find_role(caller.account, request.role_name)
            if found.record.attached_policies:
                raise DeleteConflict("Cannot delete entity, must detach all policies first.")
            if found.record.inline_policies:
                raise DeleteConflict("Cannot delete entity, must delete policies first.")
            await self._entities.remove_role(found)
        return {}

    async def tag_role(self, caller: CallerContext, request: requests.TagRoleRequest) -> Answer:
        await self._change(
            caller, request, lambda role: replace(role, tags=tags.tagged(role.tags, request.tags, "Role"))
        )
        return {}

    async def untag_role(self, caller: CallerContext, request: requests.UntagRoleRequest) -> Answer:
        await self._change(caller, request, lambda role: replace(role, tags=tags.untagged(role.tags, request.tag_keys)))
        return {}

    async def list_role_tags(self, caller: CallerContext, request: requests.RolePageRequest) -> Answer:
        role = (await self._entities.find_role(caller.account, request.role_name)).record
        found, more = page(request, ((key, (key, value)) for key, value in role.tags.items()))
        return {"Tags": tags.answer(dict(found)), **more}

    async def list_instance_profiles_for_role(self, caller: CallerContext, request: requests.RolePageRequest) -> Answer:
        """None: asked by whoever is about to delete a role."""
        await self._entities.find_role(caller.account, request.role_name)
        return {"InstanceProfiles": [], "IsTruncated": False}

    async def _change(
        self, caller: CallerContext, request: requests.RoleRequest, change: Callable[[RoleRecord], RoleRecord]
    ) -> RoleRecord:
        async with self._entities.changing:
            found = await self._entities.find_role(caller.account, request.role_name)
            role = change(found.record)
            await self._entities.put_role(role, found.revision)
        return role

    async def _require_boundary(self, arn: str) -> None:
        if await self._entities.policy(parse_policy_arn(arn)) is None:
            raise NoSuchEntity(f"Scope ARN: {arn} does not exist or is not attachable.")


def _check_trust(document: str) -> None:
    check_trust_policy(document)
    if sum(not character.isspace() for character in document) > _TRUST_POLICY_CHARACTERS:
        raise LimitExceeded(f"Cannot exceed quota for ACLSizePerRole: {_TRUST_POLICY_CHARACTERS}")


def listed(role: RoleRecord) -> Answer:
    """A role as lists show it: without boundary and tags."""
    return {
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role.role_id,
        "Arn": role.arn,
        "CreateDate": role.created_s,
        "AssumeRolePolicyDocument": quote(role.trust_policy, safe=""),
        "Description": role.description or None,
        "MaxSessionDuration": role.session_s_maximum,
    }


def described(role: RoleRecord) -> Answer:
    boundary = role.permissions_boundary
    return {
        **listed(role),
        "PermissionsBoundary": boundary and {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": boundary},
        "Tags": tags.answer(role.tags) or None,
    }
