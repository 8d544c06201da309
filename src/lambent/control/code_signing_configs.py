"""Code signing configurations: create, get, list, update, delete, tag (reference/api.md §10)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace

from lambent.control import answers
from lambent.control.answers import Answer
from lambent.control.catalogue import Catalogue
from lambent.control.operation import Operation, parsing
from lambent.control.requests import Members
from lambent.control.signing_catalogue import FoundConfig, SigningCatalogue
from lambent.control.stamps import Stamps
from lambent.control.tags import Tagging
from lambent.control.validation import check_tags
from lambent.model.caller import CallerContext
from lambent.model.code_signing import CodeSigningConfig, UntrustedArtifact
from lambent.model.errors import ResourceConflict, ResourceNotFound

_SCAN = 500


class PublishersMembers(Members):
    signing_profile_version_arns: tuple[str, ...]


class PoliciesMembers(Members):
    untrusted_artifact_on_deployment: UntrustedArtifact | None = None


class CreateCodeSigningConfigRequest(Members, kw_only=True):
    description: str | None = None
    allowed_publishers: PublishersMembers
    code_signing_policies: PoliciesMembers | None = None
    tags: dict[str, str] | None = None


class CodeSigningConfigRequest(Members):
    code_signing_config_arn: str


class UpdateCodeSigningConfigRequest(CodeSigningConfigRequest):
    description: str | None = None
    allowed_publishers: PublishersMembers | None = None
    code_signing_policies: PoliciesMembers | None = None


class ListCodeSigningConfigsRequest(Members):
    marker: str | None = None
    max_items: int | None = None


class ListFunctionsByConfigRequest(CodeSigningConfigRequest):
    marker: str | None = None
    max_items: int | None = None


class CodeSigningConfigs:
    """The operations; for the tags of configurations it implements `lambent.control.tags.Tagged`."""

    def __init__(self, catalogue: Catalogue, configs: SigningCatalogue, stamps: Stamps) -> None:
        self._catalogue = catalogue
        self._configs = configs
        self._stamps = stamps

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "CreateCodeSigningConfig": parsing(CreateCodeSigningConfigRequest, self.create_code_signing_config),
            "GetCodeSigningConfig": parsing(CodeSigningConfigRequest, self.get_code_signing_config),
            "UpdateCodeSigningConfig": parsing(UpdateCodeSigningConfigRequest, self.update_code_signing_config),
            "DeleteCodeSigningConfig": parsing(CodeSigningConfigRequest, self.delete_code_signing_config),
            "ListCodeSigningConfigs": parsing(ListCodeSigningConfigsRequest, self.list_code_signing_configs),
            "ListFunctionsByCodeSigningConfig": parsing(
                ListFunctionsByConfigRequest, self.list_functions_by_code_signing_config
            ),
        }

    async def create_code_signing_config(
        self, caller: CallerContext, request: CreateCodeSigningConfigRequest
    ) -> Answer:
        check_tags(request.tags or {})
        digest = hashlib.sha256(self._stamps.new_id().encode()).hexdigest()
        config = CodeSigningConfig(
            id=f"csc-{digest[:17]}",
            account=caller.account,
            region=caller.region,
            description=request.description,
            allowed_publishers=request.allowed_publishers.signing_profile_version_arns,
            untrusted_artifact=_policy(request.code_signing_policies, UntrustedArtifact.WARN),
            tags=request.tags or {},
            last_modified=self._stamps.last_modified(),
        )
        await self._configs.put(config)
        return {"CodeSigningConfig": _answer(config)}

    async def get_code_signing_config(self, caller: CallerContext, request: CodeSigningConfigRequest) -> Answer:
        found = await self._find(caller, request.code_signing_config_arn)
        return {"CodeSigningConfig": _answer(found.config)}

    async def update_code_signing_config(
        self, caller: CallerContext, request: UpdateCodeSigningConfigRequest
    ) -> Answer:
        found = await self._find(caller, request.code_signing_config_arn)
        before, publishers = found.config, request.allowed_publishers
        config = replace(
            before,
            description=before.description if request.description is None else request.description,
            allowed_publishers=publishers.signing_profile_version_arns if publishers else before.allowed_publishers,
            untrusted_artifact=_policy(request.code_signing_policies, before.untrusted_artifact),
            last_modified=self._stamps.last_modified(),
        )
        await self._configs.put(config, found.revision)
        return {"CodeSigningConfig": _answer(config)}

    async def delete_code_signing_config(self, caller: CallerContext, request: CodeSigningConfigRequest) -> Answer:
        async with self._catalogue.changing:
            found = await self._find(caller, request.code_signing_config_arn)
            arns, _ = await self._functions(caller, found.config.arn, after="", size=1)
            if arns:
                raise ResourceConflict(
                    f"The code signing configuration {found.config.arn} is used by {arns[0]} and cannot be deleted."
                )
            await self._configs.remove(found)
        return {}

    async def list_code_signing_configs(self, caller: CallerContext, request: ListCodeSigningConfigsRequest) -> Answer:
        size = request.max_items or answers.PAGE_MAXIMUM
        configs = await self._configs.page(caller, after=answers.read_marker(request.marker), limit=size + 1)
        return {
            "CodeSigningConfigs": [_answer(config) for config in configs[:size]],
            "NextMarker": answers.marker(configs[size - 1].id) if len(configs) > size else None,
        }

    async def list_functions_by_code_signing_config(
        self, caller: CallerContext, request: ListFunctionsByConfigRequest
    ) -> Answer:
        arn = (await self._find(caller, request.code_signing_config_arn)).config.arn
        size, after = request.max_items or answers.PAGE_MAXIMUM, answers.read_marker(request.marker)
        arns, last = await self._functions(caller, arn, after=after, size=size)
        return {"FunctionArns": arns, "NextMarker": answers.marker(last) if last else None}

    async def tags(self, caller: CallerContext, arn: str) -> Tagging:
        return (await self._find(caller, arn)).config.tags

    async def retag(self, caller: CallerContext, arn: str, change: Callable[[Tagging], Tagging]) -> None:
        found = await self._find(caller, arn)
        await self._configs.put(replace(found.config, tags=change(found.config.tags)), found.revision)

    async def _find(self, caller: CallerContext, arn: str) -> FoundConfig:
        found = await self._configs.get(caller, arn)
        if found is None:
            raise ResourceNotFound(f"The Lambda code signing configuration {arn} can not be found.")
        return found

    async def _functions(
        self, caller: CallerContext, config_arn: str, *, after: str, size: int
    ) -> tuple[list[str], str | None]:
        """The functions behind the name `after` that have the configuration, and the last name if there are more."""
        names: list[str] = []
        while records := await self._catalogue.page(caller.account, caller.region, after=after, limit=_SCAN):
            for record in records:
                if record.code_signing_config_arn == config_arn:
                    if len(names) == size:
                        return [_function_arn(caller, name) for name in names], names[-1]
                    names.append(record.latest.name)
            after = records[-1].latest.name
        return [_function_arn(caller, name) for name in names], None


def _function_arn(caller: CallerContext, name: str) -> str:
    return f"arn:aws:lambda:{caller.region}:{caller.account}:function:{name}"


def _policy(policies: PoliciesMembers | None, before: UntrustedArtifact) -> UntrustedArtifact:
    return (policies and policies.untrusted_artifact_on_deployment) or before


def _answer(config: CodeSigningConfig) -> Answer:
    return {
        "CodeSigningConfigId": config.id,
        "CodeSigningConfigArn": config.arn,
        "Description": config.description,
        "AllowedPublishers": {"SigningProfileVersionArns": list(config.allowed_publishers)},
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": config.untrusted_artifact},
        "LastModified": config.last_modified,
    }
