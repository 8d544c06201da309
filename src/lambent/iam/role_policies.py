"""What a role may do: its inline policies, and the managed policies attached to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

from lambent.iam import managed, requests
from lambent.iam.documents import check_identity_policy
from lambent.iam.entities import Entities
from lambent.iam.errors import LimitExceeded, NoSuchEntity
from lambent.iam.identifiers import parse_policy_arn
from lambent.iam.paging import Answer, page
from lambent.model.caller import CallerContext
from lambent.model.iam import RoleRecord

_INLINE_CHARACTERS = 10_240
"""Of all inline policies of a role together, white space not counted."""
_ATTACHED = 10


class RolePolicies:
    def __init__(self, entities: Entities) -> None:
        self._entities = entities

    async def put_role_policy(self, caller: CallerContext, request: requests.PutRolePolicyRequest) -> Answer:
        check_identity_policy(request.policy_document)

        def put(role: RoleRecord) -> RoleRecord:
            policies = {**role.inline_policies, request.policy_name: request.policy_document}
            if sum(map(_measured, policies.values())) > _INLINE_CHARACTERS:
                raise LimitExceeded(f"Maximum policy size of {_INLINE_CHARACTERS} bytes exceeded for role {role.name}")
            return replace(role, inline_policies=policies)

        await self._change(caller, request, put)
        return {}

    async def get_role_policy(self, caller: CallerContext, request: requests.RolePolicyRequest) -> Answer:
        role = (await self._entities.find_role(caller.account, request.role_name)).record
        document = role.inline_policies.get(request.policy_name)
        if document is None:
            raise _no_inline_policy(request)
        return {
            "RoleName": role.name,
            "PolicyName": request.policy_name,
            "PolicyDocument": quote(document, safe=""),
        }

    async def delete_role_policy(self, caller: CallerContext, request: requests.RolePolicyRequest) -> Answer:
        def remove(role: RoleRecord) -> RoleRecord:
            if request.policy_name not in role.inline_policies:
                raise _no_inline_policy(request)
            rest = {name: document for name, document in role.inline_policies.items() if name != request.policy_name}
            return replace(role, inline_policies=rest)

        await self._change(caller, request, remove)
        return {}

    async def list_role_policies(self, caller: CallerContext, request: requests.RolePageRequest) -> Answer:
        role = (await self._entities.find_role(caller.account, request.role_name)).record
        names, more = page(request, ((name, name) for name in role.inline_policies))
        return {"PolicyNames": names, **more}

    async def attach_role_policy(self, caller: CallerContext, request: requests.AttachmentRequest) -> Answer:
        """Attaching once more is no error. Of AWS's own policies any can be attached, also one that Lambent lacks."""
        arn = parse_policy_arn(request.policy_arn)

        def attach(role: RoleRecord) -> RoleRecord:
            if request.policy_arn in role.attached_policies:
                return role
            if len(role.attached_policies) >= _ATTACHED:
                raise LimitExceeded(f"Cannot exceed quota for PoliciesPerRole: {_ATTACHED}")
            return replace(role, attached_policies=(*role.attached_policies, request.policy_arn))

        async with self._entities.changing:
            found = await self._entities.find_role(caller.account, request.role_name)
            is_known = arn.account in (managed.ACCOUNT, caller.account)
            if not is_known or (arn.account != managed.ACCOUNT and await self._entities.policy(arn) is None):
                raise NoSuchEntity(f"Policy {request.policy_arn} does not exist or is not attachable.")
            await self._entities.put_role(attach(found.record), found.revision)
        return {}

    async def detach_role_policy(self, caller: CallerContext, request: requests.AttachmentRequest) -> Answer:
        parse_policy_arn(request.policy_arn)

        def detach(role: RoleRecord) -> RoleRecord:
            if request.policy_arn not in role.attached_policies:
                raise NoSuchEntity(f"Policy {request.policy_arn} was not found.")
            rest = tuple(arn for arn in role.attached_policies if arn != request.policy_arn)
            return replace(role, attached_policies=rest)

        await self._change(caller, request, detach)
        return {}

    async def list_attached_role_policies(self, caller: CallerContext, request: requests.RolePathPageRequest) -> Answer:
        role = (await self._entities.find_role(caller.account, request.role_name)).record
        arns = [(parse_policy_arn(text), text) for text in role.attached_policies]
        found, more = page(
            request,
            ((arn.name, (arn, text)) for arn, text in arns if arn.path.startswith(request.path_prefix)),
        )
        return {"AttachedPolicies": [{"PolicyName": arn.name, "PolicyArn": text} for arn, text in found], **more}

    async def _change(
        self, caller: CallerContext, request: requests.RoleRequest, change: Callable[[RoleRecord], RoleRecord]
    ) -> None:
        async with self._entities.changing:
            found = await self._entities.find_role(caller.account, request.role_name)
            await self._entities.put_role(change(found.record), found.revision)


def _measured(document: str) -> int:
    return sum(not character.isspace() for character in document)


def _no_inline_policy(request: requests.RolePolicyRequest) -> NoSuchEntity:
    return NoSuchEntity(f"The role policy with name {request.policy_name} cannot be found.")
