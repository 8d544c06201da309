"""AddPermission, RemovePermission, GetPolicy: a resource policy one statement at a time (reference/iam.md §4)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from lambent.control.answers import Answer
from lambent.control.names import function_arn
from lambent.control.operation import Operation, parsing
from lambent.control.policies import Policies, require_guardable
from lambent.control.requests import AddPermissionRequest, PolicyRequest, RemovePermissionRequest
from lambent.control.states import require_revision
from lambent.model.arn import FunctionArn
from lambent.model.caller import CallerContext
from lambent.model.errors import InvalidParameterValue, ResourceConflict, ResourceNotFound
from lambent.model.policy import Statement, statements

NO_POLICY = "No policy is associated with the given resource."
NO_RESOURCE = "The resource you requested does not exist."

_ACCOUNT = re.compile(r"[0-9]{12}")
_SERVICE = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.(amazonaws\.com(\.cn)?|amazon\.com)")
_IDENTITY = re.compile(
    r"arn:aws[a-z-]*:(iam::\d{12}:(root|(user|role)/[\w+=,.@/-]+)"
    r"|sts::\d{12}:(assumed-role/[\w+=,.@-]+|federated-user)/[\w+=,.@-]+)",
    re.ASCII,
)


class Permissions:
    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "AddPermission": parsing(AddPermissionRequest, self.add_permission),
            "RemovePermission": parsing(RemovePermissionRequest, self.remove_permission),
            "GetPolicy": parsing(PolicyRequest, self.get_policy),
        }

    async def add_permission(self, caller: CallerContext, request: AddPermissionRequest) -> Answer:
        function = function_arn(caller, "AddPermission", request.function_name, request.qualifier)
        require_guardable(function)
        statement = new_statement(function, request)
        async with self._policies.changing:
            guarded = await self._policies.find(function)
            require_revision(guarded.revision_id, request.revision_id, reader="GetPolicy")
            before = statements(guarded.document) if guarded.document else []
            if request.statement_id in (one.get("Sid") for one in before):
                raise ResourceConflict(
                    f"The statement id ({request.statement_id}) provided already exists. Please provide a new "
                    "statement id, or remove the existing statement."
                )
            await self._policies.put(guarded, with_statements(guarded.document, [*before, statement]))
        return {"Statement": compact(statement)}

    async def remove_permission(self, caller: CallerContext, request: RemovePermissionRequest) -> Answer:
        function = function_arn(caller, "RemovePermission", request.function_name, request.qualifier)
        async with self._policies.changing:
            guarded = await self._policies.find(function)
            if guarded.document is None:
                raise ResourceNotFound(NO_POLICY)
            before = statements(guarded.document)
            kept = [one for one in before if one.get("Sid") != request.statement_id]
            if len(kept) == len(before):
                raise ResourceNotFound(f"Statement {request.statement_id} is not found in resource policy.")
            require_revision(guarded.revision_id, request.revision_id, reader="GetPolicy")
            await self._policies.put(guarded, with_statements(guarded.document, kept) if kept else None)
        return {}

    async def get_policy(self, caller: CallerContext, request: PolicyRequest) -> Answer:
        """An unknown function has no policy either."""
        function = function_arn(caller, "GetPolicy", request.function_name, request.qualifier)
        try:
            guarded = await self._policies.find(function)
        except ResourceNotFound as error:
            raise ResourceNotFound(NO_RESOURCE) from error
        if guarded.document is None:
            raise ResourceNotFound(NO_RESOURCE)
        return {"Policy": guarded.document, "RevisionId": guarded.revision_id}


def new_statement(function: FunctionArn, request: AddPermissionRequest) -> Statement:
    """The statement that AWS makes of a permission, its keys in AWS's order.

    Raises:
        InvalidParameterValue: the principal is nobody, or a condition does not go with the action.
    """
    _require_fitting(request, "FunctionUrlAuthType", request.function_url_auth_type, "lambda:InvokeFunctionUrl")
    _require_fitting(request, "InvokedViaFunctionUrl", request.invoked_via_function_url, "lambda:InvokeFunction")
    condition = _condition(request)
    return {
        "Sid": request.statement_id,
        "Effect": "Allow",
        "Principal": _principal(request.principal),
        "Action": request.action,
        "Resource": str(function),
        **({"Condition": condition} if condition else {}),
    }


def with_statements(document: str | None, changed: Sequence[Statement]) -> str:
    """The document, by default AWS's own, with other statements in it."""
    policy = json.loads(document) if document else {"Version": "2012-10-17", "Id": "default"}
    return compact({**policy, "Statement": changed})


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _require_fitting(request: AddPermissionRequest, parameter: str, value: object, action: str) -> None:
    if value is not None and request.action != action:
        raise InvalidParameterValue(f"{parameter} is only supported for {action} action")


def _principal(text: str) -> str | Mapping[str, str]:
    if text == "*":
        return text
    if _SERVICE.fullmatch(text):
        return {"Service": text}
    if _ACCOUNT.fullmatch(text):
        return {"AWS": f"arn:aws:iam::{text}:root"}
    if _IDENTITY.fullmatch(text):
        return {"AWS": text}
    raise InvalidParameterValue("The provided principal was invalid. Please check the principal and try again.")


def _condition(request: AddPermissionRequest) -> Mapping[str, Mapping[str, str]]:
    equal = {
        "AWS:SourceAccount": request.source_account,
        "aws:PrincipalOrgID": request.principal_org_id,
        "lambda:FunctionUrlAuthType": request.function_url_auth_type,
        "lambda:EventSourceToken": request.event_source_token,
    }
    via_url = request.invoked_via_function_url
    operators = {
        "StringEquals": equal,
        "ArnLike": {"AWS:SourceArn": request.source_arn},
        "Bool": {"lambda:InvokedViaFunctionUrl": None if via_url is None else str(via_url).lower()},
    }
    given = {name: {key: value for key, value in keys.items() if value} for name, keys in operators.items()}
    return {name: keys for name, keys in given.items() if keys}
