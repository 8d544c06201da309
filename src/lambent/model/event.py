"""An accepted event on its way: what is known of it while it waits, how it ended, and whom that is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lambent.model.arn import FunctionArn
from lambent.model.invocation import RequestId

INVOKE_LANE = "invoke/"
OUTCOME_LANE = "outcome/"


class Condition(StrEnum):
    """Why Lambda is done with an event (`requestContext.condition`)."""

    SUCCESS = "Success"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    EVENT_AGE_EXCEEDED = "EventAgeExceeded"
    ZERO_RESERVED_CONCURRENCY = "ZeroReservedConcurrency"
    RECURSIVE_INVOCATION = "RecursiveInvocation"

    RETRY_ATTEMPTS_EXHAUSTED = "RetryAttemptsExhausted"
    """This and those that follow: of batches that were read from a stream or topic."""
    RECORD_AGE_EXCEEDED = "RecordAgeExceeded"
    MAXIMUM_PAYLOAD_SIZE_EXCEEDED = "MaximumPayloadSizeExceeded"


class Recipient(StrEnum):
    ON_SUCCESS = "OnSuccess"
    ON_FAILURE = "OnFailure"
    DEAD_LETTER = "DeadLetter"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHead:
    """What is known of a waiting event beside its payload. `accepted_s` is epoch seconds."""

    request_id: RequestId
    function: FunctionArn
    trace_id: str
    """X-Amzn-Trace-Id as the caller sent it, completed; the same for every attempt."""
    accepted_s: float
    attempts: int = 0
    """How often the function has run: AWS's approximateInvokeCount."""
    refusals: int = 0
    """How often in a row it could not run: throttled, or a fault of ours."""
    error_code: int | None = None
    """The HTTP status that the last attempt would have answered."""
    error_message: str | None = None

    @property
    def lane(self) -> str:
        return f"{INVOKE_LANE}{self.function.unqualified}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent to one target. Its body lies beside it, as a waiting event's payload does."""

    target: str
    """ARN of an SQS queue, an SNS topic, a function, an EventBridge bus or an S3 bucket, or `kafka://TOPIC`."""
    trace_id: str
    """Empty where nothing has run that had one."""
    attributes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Type and value by name, for SQS and SNS."""
    detail_type: str | None = None
    """For EventBridge, as are the `resources`."""
    resources: tuple[str, ...] = ()
    object_key: str | None = None
    """For S3: the same for every attempt, so that a second one overwrites the first."""
    cluster_of: str | None = None
    """For a topic of Kafka: the key of the mapping that reads from the cluster in which it lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeHead:
    """The outcome of an event on its way to one target."""

    request_id: RequestId
    function: FunctionArn
    recipient: Recipient
    condition: Condition
    message: Message
    attempts: int = 0
    error_message: str | None = None

    @property
    def lane(self) -> str:
        return f"{OUTCOME_LANE}{self.function.unqualified}/{self.message.target}"
