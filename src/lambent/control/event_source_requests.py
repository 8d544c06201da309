"""What callers ask of event source mappings: the members that Lambent acts upon (see `requests`)."""

from __future__ import annotations

import msgspec

from lambent.control.destinations import DestinationConfigMembers
from lambent.control.requests import Members


class FilterMembers(Members):
    pattern: str | None = None


class FilterCriteriaMembers(Members):
    filters: tuple[FilterMembers, ...] | None = None


class SourceAccessMembers(Members):
    type: str | None = None
    uri: str | None = msgspec.field(default=None, name="URI")


class SelfManagedMembers(Members):
    endpoints: dict[str, tuple[str, ...]] | None = None


class KafkaConfigMembers(Members):
    consumer_group_id: str | None = None


class ScalingMembers(Members):
    maximum_concurrency: int | None = None


class MappingMembers(Members):
    """What CreateEventSourceMapping and UpdateEventSourceMapping have in common."""

    enabled: bool | None = None
    batch_size: int | None = None
    filter_criteria: FilterCriteriaMembers | None = None
    maximum_batching_window_in_seconds: int | None = None
    destination_config: DestinationConfigMembers | None = None
    maximum_record_age_in_seconds: int | None = None
    bisect_batch_on_function_error: bool | None = None
    maximum_retry_attempts: int | None = None
    parallelization_factor: int | None = None
    source_access_configurations: tuple[SourceAccessMembers, ...] | None = None
    tumbling_window_in_seconds: int | None = None
    function_response_types: tuple[str, ...] | None = None
    scaling_config: ScalingMembers | None = None


class CreateEventSourceMappingRequest(MappingMembers, kw_only=True):
    function_name: str
    event_source_arn: str | None = None
    starting_position: str | None = None
    starting_position_timestamp: float | None = None
    tags: dict[str, str] | None = None
    topics: tuple[str, ...] | None = None
    queues: tuple[str, ...] | None = None
    self_managed_event_source: SelfManagedMembers | None = None
    amazon_managed_kafka_event_source_config: KafkaConfigMembers | None = None
    self_managed_kafka_event_source_config: KafkaConfigMembers | None = None

    @property
    def bootstrap_servers(self) -> tuple[str, ...]:
        endpoints = self.self_managed_event_source and self.self_managed_event_source.endpoints
        return (endpoints or {}).get("KAFKA_BOOTSTRAP_SERVERS", ())

    @property
    def consumer_group_id(self) -> str | None:
        config = self.amazon_managed_kafka_event_source_config or self.self_managed_kafka_event_source_config
        return config.consumer_group_id if config else None


class MappingRequest(Members):
    uuid: str = msgspec.field(name="UUID")


class UpdateEventSourceMappingRequest(MappingMembers, kw_only=True):
    uuid: str = msgspec.field(name="UUID")
    function_name: str | None = None


class ListMappingsRequest(Members):
    event_source_arn: str | None = None
    function_name: str | None = None
    marker: str | None = None
    max_items: int | None = None
