"""The kinds of event source: which one a request is about, and what each knows (reference/event-sources.md §1.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lambent.control.event_source_requests import CreateEventSourceMappingRequest
from lambent.control.requests import unsupported
from lambent.model.errors import InvalidParameterValue
from lambent.model.event_source_mapping import SourceKind

TRIM_HORIZON, LATEST, AT_TIMESTAMP = "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"

_KINDS: Mapping[str, SourceKind] = {
    r"arn:aws[^:]*:sqs:[^:]+:\d{12}:[^:/]+\.fifo": SourceKind.SQS_FIFO,
    r"arn:aws[^:]*:sqs:[^:]+:\d{12}:[^:/]+": SourceKind.SQS,
    r"arn:aws[^:]*:kinesis:[^:]+:\d{12}:stream/[^:/]+": SourceKind.KINESIS,
    r"arn:aws[^:]*:dynamodb:[^:]+:\d{12}:table/[^:/]+/stream/.+": SourceKind.DYNAMODB,
    r"arn:aws[^:]*:kafka:[^:]+:\d{12}:cluster/.+": SourceKind.MSK,
    r"arn:aws[^:]*:mq:[^:]+:\d{12}:broker:.+": SourceKind.MQ,
}
_REFUSED: Mapping[str, str] = {
    r"arn:aws[^:]*:kinesis:[^:]+:\d{12}:stream/[^:/]+/consumer/.+": "EventSourceArn of a stream's consumer",
    r"arn:aws[^:]*:rds:[^:]+:\d{12}:cluster:.+": "EventSourceArn of a DocumentDB cluster",
}

_STREAM = frozenset(
    (
        "StartingPosition",
        "StartingPositionTimestamp",
        "DestinationConfig",
        "MaximumRecordAgeInSeconds",
        "MaximumRetryAttempts",
        "BisectBatchOnFunctionError",
        "ParallelizationFactor",
        "TumblingWindowInSeconds",
        "FunctionResponseTypes",
    )
)
_KAFKA = (_STREAM - {"ParallelizationFactor", "TumblingWindowInSeconds"}) | {"Topics", "SourceAccessConfigurations"}
_SQS = frozenset(("FunctionResponseTypes", "ScalingConfig"))
_MQ = frozenset(("Queues", "SourceAccessConfigurations"))
_MSK_CONFIG, _SELF_MANAGED_CONFIG = "AmazonManagedKafkaEventSourceConfig", "SelfManagedKafkaEventSourceConfig"

PARTICULAR = _STREAM | _KAFKA | _SQS | _MQ | {_MSK_CONFIG, _SELF_MANAGED_CONFIG, "SelfManagedEventSource"}
"""The parameters that only some kinds know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRules:
    """`parameters`: which of the PARTICULAR ones it knows; `destinations`: services that may take what failed.

    `batching_window_s` is its default, None the 500 ms that cannot be asked for. `transition_reason` is AWS's word.
    """

    parameters: frozenset[str]
    required: tuple[str, ...] = ()
    batch_size: int = 100
    batch_size_maximum: int = 10_000
    batching_window_s: int | None = 0
    function_timeout_s_maximum: int = 900
    positions: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    access_types: tuple[str, ...] = ()
    transition_reason: str = "USER_INITIATED"

    @property
    def is_stream(self) -> bool:
        return "ParallelizationFactor" in self.parameters


_KAFKA_ACCESS = (
    "BASIC_AUTH",
    "SASL_SCRAM_256_AUTH",
    "SASL_SCRAM_512_AUTH",
    "CLIENT_CERTIFICATE_TLS_AUTH",
    "SERVER_ROOT_CA_CERTIFICATE",
    "VPC_SUBNET",
    "VPC_SECURITY_GROUP",
)

RULES: Mapping[SourceKind, KindRules] = {
    SourceKind.SQS: KindRules(parameters=_SQS, batch_size=10),
    SourceKind.SQS_FIFO: KindRules(parameters=_SQS, batch_size=10, batch_size_maximum=10),
    SourceKind.KINESIS: KindRules(
        parameters=_STREAM,
        positions=(TRIM_HORIZON, LATEST, AT_TIMESTAMP),
        destinations=("sqs", "sns", "s3"),
        transition_reason="User action",
    ),
    SourceKind.DYNAMODB: KindRules(
        parameters=_STREAM,
        positions=(TRIM_HORIZON, LATEST),
        destinations=("sqs", "sns", "s3"),
        transition_reason="User action",
    ),
    SourceKind.MSK: KindRules(
        parameters=_KAFKA | {_MSK_CONFIG},
        required=("Topics",),
        batching_window_s=None,
        function_timeout_s_maximum=840,
        positions=(TRIM_HORIZON, LATEST, AT_TIMESTAMP),
        destinations=("sqs", "sns", "s3", "kafka"),
        access_types=_KAFKA_ACCESS,
    ),
    SourceKind.SELF_MANAGED_KAFKA: KindRules(
        parameters=_KAFKA | {_SELF_MANAGED_CONFIG, "SelfManagedEventSource"},
        required=("SourceAccessConfigurations", "Topics"),
        batching_window_s=None,
        function_timeout_s_maximum=840,
        positions=(TRIM_HORIZON, LATEST, AT_TIMESTAMP),
        destinations=("sqs", "sns", "s3", "kafka"),
        access_types=_KAFKA_ACCESS,
    ),
    SourceKind.MQ: KindRules(
        parameters=_MQ,
        required=("SourceAccessConfigurations", "Queues"),
        batching_window_s=None,
        function_timeout_s_maximum=840,
        access_types=("BASIC_AUTH", "VIRTUAL_HOST"),
    ),
}


def kind_of(request: CreateEventSourceMappingRequest, region: str) -> SourceKind:
    """The kind of source that is named.

    Raises:
        InvalidParameterValue: none is, or one that Lambent does not read.
    """
    arn = request.event_source_arn
    if arn is None and request.bootstrap_servers:
        return SourceKind.SELF_MANAGED_KAFKA
    if arn is None or request.self_managed_event_source is not None:
        raise _unrecognized()
    for form, what in _REFUSED.items():
        if re.fullmatch(form, arn):
            raise unsupported(what)
    kind = next((kind for form, kind in _KINDS.items() if re.fullmatch(form, arn)), None)
    if kind is None:
        raise _unrecognized()
    if arn.split(":")[3] != region:
        raise InvalidParameterValue(f"The event source {arn} is not in the region of the function ({region}).")
    return kind


def _unrecognized() -> InvalidParameterValue:
    return InvalidParameterValue("Unrecognized event source.")
