"""From requests to mappings: what a new one begins with, and how a request changes one."""

from __future__ import annotations

from dataclasses import replace

from lambent.control.configuration import given
from lambent.control.event_source_kinds import RULES
from lambent.control.event_source_requests import CreateEventSourceMappingRequest, MappingMembers, SourceAccessMembers
from lambent.model.arn import FunctionArn
from lambent.model.event_source_mapping import EventSourceMapping, SourceAccess, SourceKind

_UNBOUNDED = -1


def new_mapping(
    function: FunctionArn, kind: SourceKind, request: CreateEventSourceMappingRequest, *, uuid: str, now: float
) -> EventSourceMapping:
    """What is said once and for all, and the defaults of its kind for the rest. `now` is in epoch seconds."""
    rules = RULES[kind]
    mapping = EventSourceMapping(
        uuid=uuid,
        account=function.account,
        region=function.region,
        function=function,
        kind=kind,
        source_arn=request.event_source_arn,
        bootstrap_servers=request.bootstrap_servers,
        topics=request.topics or (),
        queues=request.queues or (),
        consumer_group_id=(request.consumer_group_id or uuid) if "Topics" in rules.parameters else None,
        batch_size=rules.batch_size,
        batching_window_s=rules.batching_window_s,
        starting_position=request.starting_position,
        starting_timestamp_s=request.starting_position_timestamp,
        tags=request.tags or {},
        state_transition_reason=rules.transition_reason,
        last_modified_s=now,
    )
    if not rules.is_stream:
        return mapping
    return replace(
        mapping,
        parallelization_factor=1,
        tumbling_window_s=0,
        bisects_on_error=False,
        maximum_record_age_s=_UNBOUNDED,
        maximum_retry_attempts=_UNBOUNDED,
    )


def configured(mapping: EventSourceMapping, request: MappingMembers) -> EventSourceMapping:
    """What the request does not mention stays; lists and structures are replaced as a whole."""
    criteria, access = request.filter_criteria, request.source_access_configurations
    destinations, scaling, types = request.destination_config, request.scaling_config, request.function_response_types
    changed = replace(
        mapping,
        is_enabled=given(request.enabled, mapping.is_enabled),
        batch_size=given(request.batch_size, mapping.batch_size),
        batching_window_s=given(request.maximum_batching_window_in_seconds, mapping.batching_window_s),
        filters=tuple(one.pattern or "" for one in criteria.filters or ()) if criteria else mapping.filters,
        access=mapping.access if access is None else tuple(map(_access, access)),
        on_failure=destinations.failure_arn if destinations else mapping.on_failure,
        maximum_concurrency=scaling.maximum_concurrency if scaling else mapping.maximum_concurrency,
        reports_batch_item_failures=mapping.reports_batch_item_failures if types is None else bool(types),
    )
    return _configured_log(changed, request) if RULES[mapping.kind].positions else changed


def _configured_log(mapping: EventSourceMapping, request: MappingMembers) -> EventSourceMapping:
    """The rest of it for streams and Kafka, which are read in order."""
    return replace(
        mapping,
        parallelization_factor=given(request.parallelization_factor, mapping.parallelization_factor),
        tumbling_window_s=given(request.tumbling_window_in_seconds, mapping.tumbling_window_s),
        bisects_on_error=given(request.bisect_batch_on_function_error, mapping.bisects_on_error),
        maximum_record_age_s=given(request.maximum_record_age_in_seconds, mapping.maximum_record_age_s),
        maximum_retry_attempts=given(request.maximum_retry_attempts, mapping.maximum_retry_attempts),
    )


def _access(access: SourceAccessMembers) -> SourceAccess:
    return SourceAccess(type=access.type or "", uri=access.uri or "")
