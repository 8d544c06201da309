"""Who else may use a version of a layer: its policy (reference/api.md §6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from lambent.control.answers import Answer
from lambent.control.layer_catalogue import FoundLayer, LayerCatalogue, own_layer_arn
from lambent.control.layer_requests import (
    AddLayerVersionPermissionRequest,
    LayerVersionRequest,
    RemoveLayerVersionPermissionRequest,
)
from lambent.control.operation import Operation, parsing
from lambent.control.stamps import Stamps
from lambent.model.caller import CallerContext
from lambent.model.errors import PreconditionFailed, ResourceConflict, ResourceNotFound
from lambent.model.layer import LayerArn, LayerStatement, LayerVersion

_ACTION = "lambda:GetLayerVersion"


class LayerPermissions:
    def __init__(self, catalogue: LayerCatalogue, stamps: Stamps) -> None:
        self._catalogue = catalogue
        self._stamps = stamps

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "AddLayerVersionPermission": parsing(AddLayerVersionPermissionRequest, self.add_layer_version_permission),
            "GetLayerVersionPolicy": parsing(LayerVersionRequest, self.get_layer_version_policy),
            "RemoveLayerVersionPermission": parsing(
                RemoveLayerVersionPermissionRequest, self.remove_layer_version_permission
            ),
        }

    async def add_layer_version_permission(
        self, caller: CallerContext, request: AddLayerVersionPermissionRequest
    ) -> Answer:
        layer = own_layer_arn(caller, "AddLayerVersionPermission", request.layer_name, request.version_number)
        async with self._catalogue.changing:
            found, version = await self._find(layer)
            _require_revision(version, request.revision_id)
            if any(statement.sid == request.statement_id for statement in version.policy):
                raise ResourceConflict(
                    f"The statement id ({request.statement_id}) provided already exists. Please provide a new "
                    "statement id, or remove the existing statement."
                )
            statement = LayerStatement(sid=request.statement_id, principal=_account(request.principal))
            revision_id = await self._write(found, version, (*version.policy, statement))
        return {"Statement": _compact(_document(layer, statement)), "RevisionId": revision_id}

    async def get_layer_version_policy(self, caller: CallerContext, request: LayerVersionRequest) -> Answer:
        layer = own_layer_arn(caller, "GetLayerVersionPolicy", request.layer_name, request.version_number)
        _, version = await self._find(layer)
        _require_policy(version)
        statements = [_document(layer, statement) for statement in version.policy]
        policy: dict[str, object] = {"Version": "2012-10-17", "Id": "default", "Statement": statements}
        return {"Policy": _compact(policy), "RevisionId": version.policy_revision_id}

    async def remove_layer_version_permission(
        self, caller: CallerContext, request: RemoveLayerVersionPermissionRequest
    ) -> Answer:
        layer = own_layer_arn(caller, "RemoveLayerVersionPermission", request.layer_name, request.version_number)
        async with self._catalogue.changing:
            found, version = await self._find(layer)
            _require_policy(version)
            _require_revision(version, request.revision_id)
            kept = tuple(statement for statement in version.policy if statement.sid != request.statement_id)
            if kept == version.policy:
                raise ResourceNotFound(f"Statement {request.statement_id} is not found in resource policy.")
            await self._write(found, version, kept)
        return {}

    async def _find(self, layer: LayerArn) -> tuple[FoundLayer, LayerVersion]:
        found = await self._catalogue.get(layer)
        version = found.record.version(layer.version or 0)
        if version is None:
            raise ResourceNotFound(f"Layer version {layer} does not exist.")
        return found, version

    async def _write(self, found: FoundLayer, version: LayerVersion, policy: tuple[LayerStatement, ...]) -> str:
        revision_id = self._stamps.new_id()
        changed = replace(version, policy=policy, policy_revision_id=revision_id)
        versions = tuple(changed if one is version else one for one in found.record.versions)
        await self._catalogue.put(replace(found.record, versions=versions), found.revision)
        return revision_id


def _require_policy(version: LayerVersion) -> None:
    if not version.policy:
        raise ResourceNotFound("No policy is associated with the given resource.")


def _require_revision(version: LayerVersion, expected: str | None) -> None:
    if expected is not None and expected != version.policy_revision_id:
        raise PreconditionFailed(
            "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve "
            "the latest Revision Id"
        )


def _account(principal: str) -> str:
    """The account of a principal that is an account's id, its root's ARN, or `*`."""
    return principal.split(":")[4] if principal.startswith("arn:") else principal


def _document(layer: LayerArn, statement: LayerStatement) -> dict[str, object]:
    is_everyone = statement.principal == "*"
    return {
        "Sid": statement.sid,
        "Effect": "Allow",
        "Principal": "*" if is_everyone else {"AWS": f"arn:aws:iam::{statement.principal}:root"},
        "Action": _ACTION,
        "Resource": str(layer),
    }


def _compact(document: dict[str, object]) -> str:
    return json.dumps(document, separators=(",", ":"))
