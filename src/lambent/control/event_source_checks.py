"""What may be asked of a mapping, beyond what the service model says (reference/event-sources.md §1.2)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lambent.control import destinations
from lambent.control.event_source_kinds import AT_TIMESTAMP, PARTICULAR, KindRules
from lambent.control.event_source_requests import CreateEventSourceMappingRequest, MappingMembers, SourceAccessMembers
from lambent.control.requests import unsupported
from lambent.control.validation import check_tags
from lambent.model.errors import InvalidParameterValue
from lambent.model.event_filter import InvalidPattern, compile_filter
from lambent.model.event_source_mapping import EventSourceMapping, SourceKind
from lambent.spec.members import says_something

FILTERS_MAXIMUM = 5
RECORD_AGE_S_MINIMUM = 60


def check_creation(request: CreateEventSourceMappingRequest, kind: SourceKind, rules: KindRules) -> None:
    check_parameters(request, kind, rules)
    given = msgspec.to_builtins(request)
    for name in rules.required:
        if not given[name]:
            raise InvalidParameterValue(f"Required '{name[0].lower()}{name[1:]}' parameter is missing.")
    _check_position(request, rules)
    check_tags(request.tags or {})


def check_parameters(request: MappingMembers, kind: SourceKind, rules: KindRules) -> None:
    """Refuse what this kind of source does not know."""
    given: Mapping[str, object] = msgspec.to_builtins(request)
    for name in sorted(PARTICULAR - rules.parameters):
        if says_something(given.get(name)):
            if name == "StartingPosition" and kind in (SourceKind.SQS, SourceKind.SQS_FIFO):
                raise InvalidParameterValue("StartingPosition is not valid for SQS event sources.")
            raise _unsupported_parameter(name)
    for access in request.source_access_configurations or ():
        _check_access(access, rules)
    if (config := request.destination_config) is not None:
        if config.success_arn:
            raise _unsupported_parameter("DestinationConfig")
        destinations.check_services(config, failure=rules.destinations)


def check_whole(mapping: EventSourceMapping, rules: KindRules) -> None:
    """Refuse a mapping whose settings do not go together."""
    window_s = mapping.batching_window_s or 0
    if mapping.kind is SourceKind.SQS_FIFO and window_s > 0:
        raise InvalidParameterValue("Batching window is not supported for FIFO queues")
    if mapping.batch_size > rules.batch_size_maximum:
        raise InvalidParameterValue(
            f"Batch size {mapping.batch_size} is too large for the event source, which allows up to "
            f"{rules.batch_size_maximum}."
        )
    if mapping.kind is SourceKind.SQS and mapping.batch_size > rules.batch_size and window_s == 0:
        raise InvalidParameterValue(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )
    age_s = mapping.maximum_record_age_s
    if age_s is not None and 0 <= age_s < RECORD_AGE_S_MINIMUM:
        raise InvalidParameterValue(
            f"MaximumRecordAgeInSeconds is {age_s}; it must be -1 or at least {RECORD_AGE_S_MINIMUM}."
        )
    if mapping.on_failure in [f"kafka://{topic}" for topic in mapping.topics]:
        raise InvalidParameterValue("The on-failure destination must not be a topic that the mapping itself reads.")
    _check_filters(mapping)


def check_function_timeout(timeout_s: int, rules: KindRules) -> None:
    if timeout_s > rules.function_timeout_s_maximum:
        raise InvalidParameterValue(
            f"Function timeout: {timeout_s} seconds is more than the {rules.function_timeout_s_maximum} seconds that "
            "this event source allows"
        )


def _check_position(request: CreateEventSourceMappingRequest, rules: KindRules) -> None:
    position = request.starting_position
    if not rules.positions:
        return
    if position is None:
        raise InvalidParameterValue(
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must "
            "not be null."
        )
    if position not in rules.positions:
        raise InvalidParameterValue(f"Unsupported starting position for arn type: {request.event_source_arn}")
    if (position == AT_TIMESTAMP) is not (request.starting_position_timestamp is not None):
        raise InvalidParameterValue(
            f"StartingPositionTimestamp goes with StartingPosition {AT_TIMESTAMP}, and only with it."
        )


def _check_access(access: SourceAccessMembers, rules: KindRules) -> None:
    if access.type not in rules.access_types:
        raise unsupported(f"SourceAccessConfigurations of type {access.type} for this event source")
    if not access.uri:
        raise InvalidParameterValue(f"The URI of SourceAccessConfigurations of type {access.type} is missing.")


def _check_filters(mapping: EventSourceMapping) -> None:
    if len(mapping.filters) > FILTERS_MAXIMUM:
        raise InvalidParameterValue(f"An event source mapping has at most {FILTERS_MAXIMUM} filters.")
    try:
        compile_filter(mapping.filters, mapping.kind.filter_source)
    except InvalidPattern as error:
        raise InvalidParameterValue("Invalid filter pattern definition.") from error


def _unsupported_parameter(name: str) -> InvalidParameterValue:
    return InvalidParameterValue(f"Unsupported {name} parameter for given event source mapping type.")
