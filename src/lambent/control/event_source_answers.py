"""What is said of an event source mapping; what its kind does not have is absent (reference/event-sources.md §1.1)."""

from __future__ import annotations

from lambent.control.answers import Answer
from lambent.control.event_source_kinds import RULES
from lambent.model.event_source_mapping import EventSourceMapping, SourceKind

_NOTHING_YET = "No records processed"


def answer(mapping: EventSourceMapping, last_result: str | None = None) -> Answer:
    """AWS's EventSourceMappingConfiguration; `last_result` is what polling came to last, if anything has polled."""
    rules = RULES[mapping.kind]
    is_queue = mapping.kind in (SourceKind.SQS, SourceKind.SQS_FIFO)
    return {
        "UUID": mapping.uuid,
        "EventSourceMappingArn": mapping.arn,
        "EventSourceArn": mapping.source_arn,
        "FunctionArn": str(mapping.function),
        "LastModified": mapping.last_modified_s,
        "LastProcessingResult": last_result or (None if is_queue else _NOTHING_YET),
        "State": mapping.state,
        "StateTransitionReason": mapping.state_transition_reason,
        "BatchSize": mapping.batch_size,
        "MaximumBatchingWindowInSeconds": mapping.batching_window_s,
        "FilterCriteria": {"Filters": [{"Pattern": one} for one in mapping.filters]} if mapping.filters else None,
        "DestinationConfig": _destination(mapping) if rules.destinations else None,
        "FunctionResponseTypes": _response_types(mapping) if "FunctionResponseTypes" in rules.parameters else None,
        "ScalingConfig": mapping.maximum_concurrency and {"MaximumConcurrency": mapping.maximum_concurrency},
        **_of_streams(mapping),
        **_of_brokers(mapping),
    }


def _of_streams(mapping: EventSourceMapping) -> Answer:
    return {
        "StartingPosition": mapping.starting_position,
        "StartingPositionTimestamp": mapping.starting_timestamp_s,
        "ParallelizationFactor": mapping.parallelization_factor,
        "TumblingWindowInSeconds": mapping.tumbling_window_s,
        "BisectBatchOnFunctionError": mapping.bisects_on_error,
        "MaximumRecordAgeInSeconds": mapping.maximum_record_age_s,
        "MaximumRetryAttempts": mapping.maximum_retry_attempts,
    }


def _of_brokers(mapping: EventSourceMapping) -> Answer:
    servers, group = mapping.bootstrap_servers, mapping.consumer_group_id
    access = [{"Type": one.type, "URI": one.uri} for one in mapping.access]
    return {
        "Topics": list(mapping.topics) or None,
        "Queues": list(mapping.queues) or None,
        "SourceAccessConfigurations": access or None,
        "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": list(servers)}} if servers else None,
        "AmazonManagedKafkaEventSourceConfig": ({"ConsumerGroupId": group} if mapping.kind is SourceKind.MSK else None),
        "SelfManagedKafkaEventSourceConfig": (
            {"ConsumerGroupId": group} if mapping.kind is SourceKind.SELF_MANAGED_KAFKA else None
        ),
    }


def _destination(mapping: EventSourceMapping) -> Answer:
    return {"OnFailure": {"Destination": mapping.on_failure}}


def _response_types(mapping: EventSourceMapping) -> list[str]:
    return ["ReportBatchItemFailures"] if mapping.reports_batch_item_failures else []
