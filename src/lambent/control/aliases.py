"""Aliases: names for versions, one of which may take a share of another's invokes (reference/api.md §5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lambent.control import answers, states
from lambent.control.alias_moves import AliasMoves, moving
from lambent.control.answers import Answer
from lambent.control.catalogue import Catalogue
from lambent.control.names import unqualified_arn
from lambent.control.operation import Operation, parsing
from lambent.control.provisioned import require_free_versions, require_own_init, versions_of
from lambent.control.requests import (
    AliasRequest,
    CreateAliasRequest,
    ListAliasesRequest,
    RoutingMembers,
    UpdateAliasRequest,
)
from lambent.control.stamps import Stamps
from lambent.model.arn import LATEST, FunctionArn
from lambent.model.caller import CallerContext
from lambent.model.errors import InvalidParameterValue, ResourceConflict, ResourceNotFound
from lambent.model.function import Alias, FunctionRecord


class Aliases:
    def __init__(self, catalogue: Catalogue, moves: AliasMoves, stamps: Stamps) -> None:
        self._catalogue = catalogue
        self._moves = moves
        self._stamps = stamps

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "CreateAlias": parsing(CreateAliasRequest, self.create_alias),
            "GetAlias": parsing(AliasRequest, self.get_alias),
            "ListAliases": parsing(ListAliasesRequest, self.list_aliases),
            "UpdateAlias": parsing(UpdateAliasRequest, self.update_alias),
            "DeleteAlias": parsing(AliasRequest, self.delete_alias),
        }

    async def create_alias(self, caller: CallerContext, request: CreateAliasRequest) -> Answer:
        function = unqualified_arn(caller, "CreateAlias", request.function_name)
        async with self._catalogue.changing:
            found = await self._catalogue.find(function)
            if request.name in found.record.aliases:
                raise ResourceConflict(f"Alias already exists: {function.qualified(request.name)}")
            alias = Alias(
                name=request.name,
                function_version=request.function_version,
                description=request.description or "",
                additional_weights=_weights(request.routing_config, {}),
                revision_id=self._stamps.new_id(),
            )
            await self._require_routable(found.record, function, alias)
            await self._catalogue.put(_with_alias(found.record, alias), found.revision)
        return answers.alias(function, alias)

    async def get_alias(self, caller: CallerContext, request: AliasRequest) -> Answer:
        function = unqualified_arn(caller, "GetAlias", request.function_name)
        alias = (await self._catalogue.find(function)).record.aliases.get(request.name)
        if alias is None:
            raise ResourceNotFound(f"Cannot find alias arn: {function.qualified(request.name)}")
        return answers.alias(function, alias)

    async def list_aliases(self, caller: CallerContext, request: ListAliasesRequest) -> Answer:
        function = unqualified_arn(caller, "ListAliases", request.function_name)
        aliases = (await self._catalogue.find(function)).record.aliases
        last = answers.read_marker(request.marker)
        size = min(request.max_items or answers.PAGE_MAXIMUM, answers.PAGE_MAXIMUM)
        matching = [
            aliases[name]
            for name in sorted(aliases)
            if name > last and request.function_version in (None, aliases[name].function_version)
        ]
        page = matching[:size]
        return {
            "Aliases": [answers.alias(function, alias) for alias in page],
            "NextMarker": answers.marker(page[-1].name) if len(matching) > size else None,
        }

    async def update_alias(self, caller: CallerContext, request: UpdateAliasRequest) -> Answer:
        function = unqualified_arn(caller, "UpdateAlias", request.function_name)
        async with self._catalogue.changing:
            found = await self._catalogue.find(function)
            before = found.record.aliases.get(request.name)
            if before is None:
                raise ResourceNotFound(f"Alias not found: {function.qualified(request.name)}")
            states.require_revision(before.revision_id, request.revision_id)
            alias = replace(
                before,
                function_version=request.function_version or before.function_version,
                description=before.description if request.description is None else request.description,
                additional_weights=_weights(request.routing_config, before.additional_weights),
                is_moving=before.is_moving and request.routing_config is None,
                revision_id=self._stamps.new_id(),
            )
            await self._require_routable(found.record, function, alias)
            record = _with_alias(found.record, alias)
            if alias.name in record.provisioned:
                versions = versions_of(record, function.qualified(alias.name))
                require_free_versions(record, alias.name, versions)
                await require_own_init(self._catalogue, record, versions)
                if request.routing_config is None:
                    alias = moving(before, alias)
                    record = _with_alias(record, alias)
            await self._catalogue.put(record, found.revision)
            self._moves.begin(record)
        return answers.alias(function, alias)

    async def delete_alias(self, caller: CallerContext, request: AliasRequest) -> Answer:
        """An alias that is not there is no error; a function that is not there is."""
        function = unqualified_arn(caller, "DeleteAlias", request.function_name)
        async with self._catalogue.changing:
            found = await self._catalogue.find(function)
            if request.name in found.record.aliases:
                kept = {name: alias for name, alias in found.record.aliases.items() if name != request.name}
                record = states.without_qualifier(found.record, request.name)
                await self._catalogue.put(replace(record, aliases=kept), found.revision)
        return {}

    async def _require_routable(self, record: FunctionRecord, function: FunctionArn, alias: Alias) -> None:
        """Refuse what could not be routed: absent versions, and splits that AWS does not make."""
        main = await self._catalogue.version(record, function.qualified(alias.function_version))
        if len(alias.additional_weights) > 1:
            raise InvalidParameterValue("Number of items in AdditionalVersionWeights cannot be greater than 1")
        for number in alias.additional_weights:
            if alias.function_version == LATEST:
                raise InvalidParameterValue(
                    "$LATEST is not supported for an alias pointing to more than 1 version", Type=None
                )
            if number == alias.function_version:
                raise InvalidParameterValue(
                    f"Invalid function version {number}. Function version {number} is already included in routing "
                    "configuration."
                )
            other = await self._catalogue.version(record, function.qualified(number))
            if other.role != main.role:
                raise InvalidParameterValue(
                    f"Function versions {main.version} and {other.version} of an alias must have the same Role."
                )
            if other.dead_letter_target_arn != main.dead_letter_target_arn:
                raise InvalidParameterValue(
                    f"Function versions {main.version} and {other.version} of an alias must have the same "
                    "DeadLetterConfig."
                )


def _weights(routing: RoutingMembers | None, before: Mapping[str, float]) -> Mapping[str, float]:
    """A RoutingConfig that is given replaces the one before, an absent one keeps it."""
    return before if routing is None else (routing.additional_version_weights or {})


def _with_alias(record: FunctionRecord, alias: Alias) -> FunctionRecord:
    return replace(record, aliases={**record.aliases, alias.name: alias})
