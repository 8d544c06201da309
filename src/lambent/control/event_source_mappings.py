"""Event source mappings: create, get, list, update, delete (reference/event-sources.md §1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lambent.control import answers
from lambent.control import event_source_checks as checks
from lambent.control.answers import Answer
from lambent.control.catalogue import Catalogue
from lambent.control.event_source_answers import answer
from lambent.control.event_source_configuration import configured, new_mapping
from lambent.control.event_source_kinds import RULES, KindRules, kind_of
from lambent.control.event_source_requests import (
    CreateEventSourceMappingRequest,
    ListMappingsRequest,
    MappingRequest,
    UpdateEventSourceMappingRequest,
)
from lambent.control.mapping_catalogue import FoundMapping, MappingCatalogue
from lambent.control.names import function_arn
from lambent.control.operation import Operation, parsing
from lambent.control.stamps import Stamps
from lambent.model.arn import FunctionArn
from lambent.model.caller import CallerContext
from lambent.model.errors import InvalidParameterValue, ResourceConflict, ResourceInUse, ResourceNotFound
from lambent.model.event_source_mapping import EventSourceMapping, MappingState, SourceKind
from lambent.model.function import FunctionVersion
from lambent.ports.event_sources import EventSources

PAGE_MAXIMUM = 100


class EventSourceMappings:
    """What is written here takes effect by who polls: it follows the mappings in the store, and settles each change."""

    def __init__(
        self,
        catalogue: Catalogue,
        mappings: MappingCatalogue,
        sources: EventSources,
        stamps: Stamps,
    ) -> None:
        self._catalogue = catalogue
        self._mappings = mappings
        self._sources = sources
        self._stamps = stamps

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "CreateEventSourceMapping": parsing(CreateEventSourceMappingRequest, self.create_event_source_mapping),
            "GetEventSourceMapping": parsing(MappingRequest, self.get_event_source_mapping),
            "ListEventSourceMappings": parsing(ListMappingsRequest, self.list_event_source_mappings),
            "UpdateEventSourceMapping": parsing(UpdateEventSourceMappingRequest, self.update_event_source_mapping),
            "DeleteEventSourceMapping": parsing(MappingRequest, self.delete_event_source_mapping),
        }

    async def create_event_source_mapping(
        self, caller: CallerContext, request: CreateEventSourceMappingRequest
    ) -> Answer:
        function = function_arn(caller, "CreateEventSourceMapping", request.function_name)
        kind = kind_of(request, caller.region)
        rules = RULES[kind]
        checks.check_creation(request, kind, rules)
        new = new_mapping(function, kind, request, uuid=self._stamps.new_id(), now=self._stamps.now())
        mapping = configured(new, request)
        checks.check_whole(mapping, rules)
        version = await self._function(function, rules)
        advice = await self._sources.require_readable(mapping, function_timeout_s=version.timeout_s)
        async with self._mappings.changing:
            await self._require_only(mapping)
            await self._mappings.put(mapping)
        return answer(mapping) | answers.warned(advice)

    async def get_event_source_mapping(self, caller: CallerContext, request: MappingRequest) -> Answer:
        found = await self._mappings.find(caller.account, caller.region, request.uuid)
        return await self._described(found.mapping)

    async def list_event_source_mappings(self, caller: CallerContext, request: ListMappingsRequest) -> Answer:
        """In order of UUID; a FunctionName with a qualifier is that version or alias, without one the function."""
        operation, name = "ListEventSourceMappings", request.function_name
        function = function_arn(caller, operation, name) if name else None
        size = min(request.max_items or PAGE_MAXIMUM, PAGE_MAXIMUM)
        page: list[EventSourceMapping] = []
        marker = None
        after = answers.read_marker(request.marker)
        async for mapping in self._mappings.all(caller.account, caller.region, after=after):
            if function not in (None, mapping.function) or request.event_source_arn not in (None, mapping.source_arn):
                continue
            if len(page) == size:
                marker = answers.marker(page[-1].uuid)
                break
            page.append(mapping)
        return {"EventSourceMappings": [await self._described(one) for one in page], "NextMarker": marker}

    async def update_event_source_mapping(
        self, caller: CallerContext, request: UpdateEventSourceMappingRequest
    ) -> Answer:
        async with self._mappings.changing:
            found = await self._changeable(caller, request.uuid, "update")
            before = found.mapping
            rules = RULES[before.kind]
            checks.check_parameters(request, before.kind, rules)
            mapping = configured(before, request)
            if request.function_name is not None:
                function = function_arn(caller, "UpdateEventSourceMapping", request.function_name)
                mapping = replace(mapping, function=function)
                await self._require_only(mapping)
            checks.check_whole(mapping, rules)
            await self._function(mapping.function, rules)
            mapping = self._changed(mapping, _changing_state(before, mapping))
            await self._mappings.put(mapping, found.revision)
        return answer(mapping)

    async def delete_event_source_mapping(self, caller: CallerContext, request: MappingRequest) -> Answer:
        async with self._mappings.changing:
            found = await self._changeable(caller, request.uuid, "delete")
            mapping = self._changed(found.mapping, MappingState.DELETING)
            await self._mappings.put(mapping, found.revision)
        return answer(mapping)

    async def _described(self, mapping: EventSourceMapping) -> Answer:
        return answer(mapping, await self._mappings.last_result(mapping))

    async def _changeable(self, caller: CallerContext, uuid: str, verb: str) -> FoundMapping:
        found = await self._mappings.find(caller.account, caller.region, uuid)
        if not found.mapping.is_settled:
            raise ResourceInUse(f"Cannot {verb} the event source mapping because it is in use.")
        return found

    async def _function(self, function: FunctionArn, rules: KindRules) -> FunctionVersion:
        """The version that records would go to, if there is one and it may take so long."""
        try:
            record = (await self._catalogue.find(function)).record
            version = await self._catalogue.version(record, function)
        except ResourceNotFound as error:
            raise InvalidParameterValue("Function does not exist") from error
        checks.check_function_timeout(version.timeout_s, rules)
        return version

    async def _require_only(self, mapping: EventSourceMapping) -> None:
        twin = await self._mappings.twin(mapping)
        if twin is not None:
            raise ResourceConflict(_already_exists(mapping, twin.uuid))

    def _changed(self, mapping: EventSourceMapping, state: MappingState) -> EventSourceMapping:
        reason = RULES[mapping.kind].transition_reason
        return replace(mapping, state=state, state_transition_reason=reason, last_modified_s=self._stamps.now())


def _changing_state(before: EventSourceMapping, after: EventSourceMapping) -> MappingState:
    if before.is_enabled == after.is_enabled:
        return MappingState.UPDATING
    return MappingState.ENABLING if after.is_enabled else MappingState.DISABLING


def _already_exists(mapping: EventSourceMapping, uuid: str) -> str:
    advice = f"already exists. Please update or delete the existing mapping with UUID {uuid}"
    source, name = mapping.source_arn, mapping.function.name
    if mapping.topics:
        servers = source or ",".join(mapping.bootstrap_servers)
        return (
            f'An event source mapping with event source ("{servers}"), function ("{mapping.function}"), '
            f'topics ("{",".join(mapping.topics)}") {advice}'
        )
    if mapping.kind in (SourceKind.SQS, SourceKind.SQS_FIFO):
        return f'An event source mapping with SQS arn (" {source} ") and function (" {name} ") {advice}'
    return f'The event source arn (" {source} ") and function (" {name} ") provided mapping {advice}'
