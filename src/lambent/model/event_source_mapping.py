"""An event source mapping: which queue, stream, topic or broker a function is fed from, and how.

Control writes mappings below `mapping_prefix()`; whoever polls follows them through the store's `watch` and settles
each change that control began. What a poll came to lies in a key of its own, so that it wakes no follower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from lambent.model.arn import FunctionArn
from lambent.model.event_filter import FilterSource


class SourceKind(StrEnum):
    SQS = "SQS"
    SQS_FIFO = "SQS FIFO"
    KINESIS = "Kinesis"
    DYNAMODB = "DynamoDB"
    MSK = "MSK"
    SELF_MANAGED_KAFKA = "self-managed Kafka"
    MQ = "Amazon MQ"

    @property
    def filter_source(self) -> FilterSource:
        return _FILTER_SOURCES[self]


_FILTER_SOURCES: Mapping[SourceKind, FilterSource] = {
    SourceKind.SQS: FilterSource.SQS,
    SourceKind.SQS_FIFO: FilterSource.SQS,
    SourceKind.KINESIS: FilterSource.KINESIS,
    SourceKind.DYNAMODB: FilterSource.DYNAMODB,
    SourceKind.MSK: FilterSource.KAFKA,
    SourceKind.SELF_MANAGED_KAFKA: FilterSource.KAFKA,
    SourceKind.MQ: FilterSource.MQ,
}


class MappingState(StrEnum):
    """Each change begins in a state of the first row and is settled to one of the second; Deleting ends in nothing."""

    CREATING = "Creating"
    UPDATING = "Updating"
    ENABLING = "Enabling"
    DISABLING = "Disabling"
    DELETING = "Deleting"

    ENABLED = "Enabled"
    DISABLED = "Disabled"


SETTLED = frozenset((MappingState.ENABLED, MappingState.DISABLED))


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceAccess:
    """How to get at a source: `type` is AWS's (`BASIC_AUTH`), `uri` a secret's ARN or a virtual host."""

    type: str
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSourceMapping:
    """A mapping as configured, and how far its last change has come. None stands for what its kind does not have.

    `batching_window_s` of None is AWS's 500 ms of Kafka and MQ, which cannot be asked for. Ages and attempts of -1 are
    without bound. Of a mapping with `is_enabled` and a settled state somebody is to poll.
    """

    uuid: str
    account: str
    region: str
    function: FunctionArn
    kind: SourceKind
    source_arn: str | None = None
    bootstrap_servers: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    access: tuple[SourceAccess, ...] = ()
    consumer_group_id: str | None = None
    is_enabled: bool = True
    batch_size: int
    batching_window_s: int | None = None
    filters: tuple[str, ...] = ()
    starting_position: str | None = None
    starting_timestamp_s: float | None = None
    parallelization_factor: int | None = None
    tumbling_window_s: int | None = None
    bisects_on_error: bool | None = None
    maximum_record_age_s: int | None = None
    maximum_retry_attempts: int | None = None
    maximum_concurrency: int | None = None
    on_failure: str | None = None
    reports_batch_item_failures: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    state: MappingState = MappingState.CREATING
    state_transition_reason: str
    last_modified_s: float

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:event-source-mapping:{self.uuid}"

    @property
    def key(self) -> str:
        return f"{mapping_prefix(self.account, self.region)}{self.uuid}"

    @property
    def result_key(self) -> str:
        return result_key(self.account, self.region, self.uuid)

    @property
    def is_settled(self) -> bool:
        return self.state in SETTLED


def settled(mapping: EventSourceMapping, reason: str | None = None) -> EventSourceMapping | None:
    """The mapping once its last change has taken effect, None for one that is deleted. `reason` replaces its own."""
    if mapping.state is MappingState.DELETING:
        return None
    state = MappingState.ENABLED if mapping.is_enabled else MappingState.DISABLED
    return replace(mapping, state=state, state_transition_reason=reason or mapping.state_transition_reason)


def mapping_prefix(account: str = "", region: str = "") -> str:
    """What the keys of mappings begin with: of all, or of one account and region."""
    return f"event-source-mapping/{account}/{region}/" if account else "event-source-mapping/"


def result_key(account: str, region: str, uuid: str) -> str:
    """Where whoever polls keeps LastProcessingResult, as UTF-8 text."""
    return f"event-source-result/{account}/{region}/{uuid}"
