"""PutResourcePolicy and its twins: a resource policy as one document (reference/api.md §11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any  # Any: a policy is JSON, written by the caller

import msgspec

from lambent.control.answers import Answer
from lambent.control.names import function_arn
from lambent.control.operation import Operation, parsing
from lambent.control.permissions import NO_POLICY, NO_RESOURCE
from lambent.control.policies import Guarded, Policies, require_guardable
from lambent.control.requests import DeleteResourcePolicyRequest, PutResourcePolicyRequest, ResourcePolicyRequest
from lambent.control.states import require_revision
from lambent.model.caller import CallerContext
from lambent.model.errors import InvalidParameterValue, ResourceNotFound

_READER = "GetResourcePolicy"


class ResourcePolicies:
    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "PutResourcePolicy": parsing(PutResourcePolicyRequest, self.put_resource_policy),
            "GetResourcePolicy": parsing(ResourcePolicyRequest, self.get_resource_policy),
            "DeleteResourcePolicy": parsing(DeleteResourcePolicyRequest, self.delete_resource_policy),
        }

    async def put_resource_policy(self, caller: CallerContext, request: PutResourcePolicyRequest) -> Answer:
        """Replace the whole policy, with what AddPermission has added to it."""
        check_policy(request.policy)
        async with self._policies.changing:
            guarded = await self._find(caller, "PutResourcePolicy", request)
            require_guardable(guarded.arn)
            require_revision(guarded.revision_id, request.revision_id, reader=_READER)
            revision_id = await self._policies.put(guarded, request.policy)
        return {"Policy": request.policy, "RevisionId": revision_id}

    async def get_resource_policy(self, caller: CallerContext, request: ResourcePolicyRequest) -> Answer:
        guarded = await self._find(caller, "GetResourcePolicy", request)
        if guarded.document is None:
            raise ResourceNotFound(NO_RESOURCE)
        return {"Policy": guarded.document, "RevisionId": guarded.revision_id}

    async def delete_resource_policy(self, caller: CallerContext, request: DeleteResourcePolicyRequest) -> Answer:
        async with self._policies.changing:
            guarded = await self._find(caller, "DeleteResourcePolicy", request)
            if guarded.document is None:
                raise ResourceNotFound(NO_POLICY)
            require_revision(guarded.revision_id, request.revision_id, reader=_READER)
            await self._policies.put(guarded, None)
        return {}

    async def _find(self, caller: CallerContext, operation: str, request: ResourcePolicyRequest) -> Guarded:
        if ":runtime/" in request.resource_arn:  # runtimes that customers bring, of which there are none
            raise ResourceNotFound(NO_RESOURCE)
        return await self._policies.find(function_arn(caller, operation, request.resource_arn))


def check_policy(document: str) -> None:
    """Raises InvalidParameterValue where a document is no policy for a resource."""
    try:
        policy = msgspec.json.decode(document)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _refused("it is not JSON") from error
    found: Any = policy.get("Statement") if isinstance(policy, dict) else None
    listed: list[Any] = found if isinstance(found, list) else [found]
    if not listed or not all(isinstance(one, dict) for one in listed):
        raise _refused("it must be an object whose Statement is one statement or a list of them")
    sids = [one["Sid"] for one in listed if "Sid" in one]
    if len(set(map(str, sids))) != len(sids):
        raise _refused("each Sid must be unique")
    for one in listed:
        _check_statement(one)


def _check_statement(statement: Mapping[str, Any]) -> None:
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise _refused("the Effect of a statement must be Allow or Deny")
    _require_kind(statement, ("Principal", "NotPrincipal"), str | dict)
    _require_kind(statement, ("Action", "NotAction"), str | list)
    _require_kind(statement, ("Resource", "NotResource"), str | list)
    condition = statement.get("Condition", {})
    if not isinstance(condition, dict) or not all(isinstance(keys, dict) for keys in condition.values()):
        raise _refused("a Condition must hold operators, and each of them keys")


def _require_kind(statement: Mapping[str, Any], names: tuple[str, str], kind: Any) -> None:
    """Exactly one of two members, of the right form: a list is one of strings."""
    values = [statement[name] for name in names if name in statement]
    parts = values[0] if values and isinstance(values[0], list) else ()
    if len(values) != 1 or not isinstance(values[0], kind) or not all(isinstance(part, str) for part in parts):
        raise _refused(f"a statement must have one {names[0]}")


def _refused(reason: str) -> InvalidParameterValue:
    return InvalidParameterValue(f"The provided policy document is invalid: {reason}.")
