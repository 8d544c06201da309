"""EventInvokeConfigs: retries, age and destinations of asynchronous invokes (reference/invocation.md §5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lambent.control import destinations
from lambent.control.answers import PAGE_MAXIMUM, Answer
from lambent.control.catalogue import Catalogue, Found
from lambent.control.destinations import DestinationConfigMembers
from lambent.control.names import function_arn, unqualified_arn
from lambent.control.operation import Operation, parsing
from lambent.control.paging import page
from lambent.control.requests import FunctionPageRequest, QualifiedRequest
from lambent.control.stamps import Stamps
from lambent.model.arn import LATEST, FunctionArn
from lambent.model.caller import CallerContext
from lambent.model.errors import InvalidParameterValue, ResourceNotFound
from lambent.model.event_invoke import EventInvokeConfig


class EventInvokeConfigRequest(QualifiedRequest):
    maximum_retry_attempts: int | None = None
    maximum_event_age_in_seconds: int | None = None
    destination_config: DestinationConfigMembers | None = None


class EventInvokeConfigs:
    def __init__(self, catalogue: Catalogue, stamps: Stamps) -> None:
        self._catalogue = catalogue
        self._stamps = stamps

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "PutFunctionEventInvokeConfig": parsing(EventInvokeConfigRequest, self.put_function_event_invoke_config),
            "UpdateFunctionEventInvokeConfig": parsing(
                EventInvokeConfigRequest, self.update_function_event_invoke_config
            ),
            "GetFunctionEventInvokeConfig": parsing(QualifiedRequest, self.get_function_event_invoke_config),
            "DeleteFunctionEventInvokeConfig": parsing(QualifiedRequest, self.delete_function_event_invoke_config),
            "ListFunctionEventInvokeConfigs": parsing(FunctionPageRequest, self.list_function_event_invoke_configs),
        }

    async def put_function_event_invoke_config(
        self, caller: CallerContext, request: EventInvokeConfigRequest
    ) -> Answer:
        function = _named(caller, "PutFunctionEventInvokeConfig", request)
        return await self._write(function, request, is_update=False)

    async def update_function_event_invoke_config(
        self, caller: CallerContext, request: EventInvokeConfigRequest
    ) -> Answer:
        """What is not mentioned stays; there must be a config already."""
        function = _named(caller, "UpdateFunctionEventInvokeConfig", request)
        return await self._write(function, request, is_update=True)

    async def get_function_event_invoke_config(self, caller: CallerContext, request: QualifiedRequest) -> Answer:
        function = _named(caller, "GetFunctionEventInvokeConfig", request)
        found = await self._catalogue.get(function)
        return _answer(function, _existing(found, function))

    async def delete_function_event_invoke_config(self, caller: CallerContext, request: QualifiedRequest) -> Answer:
        function = _named(caller, "DeleteFunctionEventInvokeConfig", request)
        async with self._catalogue.changing:
            found = await self._existing_function(function)
            _existing(found, function)
            configs = found.record.event_invoke_configs
            kept = {name: config for name, config in configs.items() if name != function.qualifier}
            await self._catalogue.put(replace(found.record, event_invoke_configs=kept), found.revision)
        return {}

    async def list_function_event_invoke_configs(self, caller: CallerContext, request: FunctionPageRequest) -> Answer:
        function = unqualified_arn(caller, "ListFunctionEventInvokeConfigs", request.function_name)
        configs = (await self._existing_function(function)).record.event_invoke_configs
        names, next_marker = page(configs, request.marker, request.max_items or PAGE_MAXIMUM)
        return {
            "FunctionEventInvokeConfigs": [_answer(function.qualified(name), configs[name]) for name in names],
            "NextMarker": next_marker,
        }

    async def _write(self, function: FunctionArn, request: EventInvokeConfigRequest, *, is_update: bool) -> Answer:
        if not _says_something(request):
            raise InvalidParameterValue("You must specify at least one of error handling or destination setting.")
        async with self._catalogue.changing:
            found = await self._existing_function(function)
            before = _existing(found, function) if is_update else EventInvokeConfig(last_modified_s=0.0)
            if request.destination_config is not None:
                await destinations.check(self._catalogue, function, request.destination_config)
            config = _merged(before, request, self._stamps.now())
            configs = {**found.record.event_invoke_configs, function.qualifier or LATEST: config}
            await self._catalogue.put(replace(found.record, event_invoke_configs=configs), found.revision)
        return _answer(function, config)

    async def _existing_function(self, function: FunctionArn) -> Found:
        """The function of which the version or alias exists as well."""
        try:
            found = await self._catalogue.find(function)
            await self._catalogue.version(found.record, function)
        except ResourceNotFound as error:
            raise ResourceNotFound("The function doesn't exist.") from error
        return found


def _named(caller: CallerContext, operation: str, request: QualifiedRequest) -> FunctionArn:
    """An event invoke config is always of a qualifier: $LATEST where none is said."""
    function = function_arn(caller, operation, request.function_name, request.qualifier)
    return function.qualified(function.qualifier or LATEST)


def _existing(found: Found | None, function: FunctionArn) -> EventInvokeConfig:
    config = found.record.event_invoke_configs.get(function.qualifier or LATEST) if found else None
    if config is None:
        raise ResourceNotFound(f"The function {function} doesn't have an EventInvokeConfig")
    return config


def _says_something(request: EventInvokeConfigRequest) -> bool:
    members = (request.maximum_retry_attempts, request.maximum_event_age_in_seconds, request.destination_config)
    return any(member is not None for member in members)


def _merged(before: EventInvokeConfig, request: EventInvokeConfigRequest, now: float) -> EventInvokeConfig:
    """What is not mentioned stays as it was; a DestinationConfig says both destinations."""
    attempts, age_s = request.maximum_retry_attempts, request.maximum_event_age_in_seconds
    destinations = request.destination_config
    return EventInvokeConfig(
        maximum_retry_attempts=before.maximum_retry_attempts if attempts is None else attempts,
        maximum_event_age_s=before.maximum_event_age_s if age_s is None else age_s,
        on_success=destinations.success_arn if destinations else before.on_success,
        on_failure=destinations.failure_arn if destinations else before.on_failure,
        last_modified_s=now,
    )


def _answer(function: FunctionArn, config: EventInvokeConfig) -> Answer:
    return {
        "LastModified": config.last_modified_s,
        "FunctionArn": str(function),
        "MaximumRetryAttempts": config.maximum_retry_attempts,
        "MaximumEventAgeInSeconds": config.maximum_event_age_s,
        "DestinationConfig": destinations.as_answer(config.on_success, config.on_failure),
    }
