"""What the control plane answers, with AWS's member names; None stands for absent."""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode

from lambent.control.states import config_digest, takes_snapshot
from lambent.model.arn import FunctionArn
from lambent.model.errors import InvalidParameterValue
from lambent.model.function import Alias, FunctionVersion, LoggingConfig, State
from lambent.model.runtime import runtime_version_arn

Answer = dict[str, object]

WARNING = "_Warning"
"""A private member of an answer: the gateway makes a header of it."""

PAGE_MAXIMUM = 50
"""ListFunctions and ListVersionsByFunction give no more per page, whatever MaxItems says."""


def warned(*warnings: str | None) -> Answer:
    """What of an answer says these, if any is there."""
    given = [warning for warning in warnings if warning]
    return {WARNING: "; ".join(given)} if given else {}


def configuration(version: FunctionVersion, arn: FunctionArn | None = None) -> Answer:
    """FunctionConfiguration with state; `arn` is the one the caller used, the unqualified one by default."""
    is_settled = version.state is not State.PENDING
    return {
        **listed(version, arn or version.arn),
        "State": version.state,
        "StateReason": version.state_reason,
        "StateReasonCode": version.state_reason_code,
        "LastUpdateStatus": version.last_update_status if is_settled else None,
        "LastUpdateStatusReason": version.last_update_status_reason if is_settled else None,
        "LastUpdateStatusReasonCode": version.last_update_status_reason_code if is_settled else None,
        "ConfigSha256": config_digest(version),
        "RuntimeVersionConfig": {"RuntimeVersionArn": runtime_version_arn(version.runtime, version.region)},
    }


def listed(version: FunctionVersion, arn: FunctionArn) -> Answer:
    """FunctionConfiguration as lists show it: without state and runtime version."""
    return {
        "FunctionName": version.name,
        "FunctionArn": str(arn),
        "Runtime": version.runtime,
        "Role": version.role,
        "Handler": version.handler,
        "CodeSize": version.code_size_bytes,
        "Description": version.description,
        "Timeout": version.timeout_s,
        "MemorySize": version.memory_mib,
        "LastModified": version.last_modified,
        "CodeSha256": version.code_sha256,
        "Version": version.version,
        "Environment": {"Variables": version.environment} if version.environment else None,
        "DeadLetterConfig": {"TargetArn": version.dead_letter_target_arn} if version.dead_letter_target_arn else None,
        "TracingConfig": {"Mode": version.tracing_mode},
        "RevisionId": version.revision_id,
        "PackageType": version.package_type,
        "Architectures": list(version.architectures),
        "EphemeralStorage": {"Size": version.ephemeral_storage_mib},
        "Layers": [{"Arn": one.arn, "CodeSize": one.code_size_bytes} for one in version.layers] or None,
        "SnapStart": {
            "ApplyOn": version.snap_start,
            "OptimizationStatus": "On" if takes_snapshot(version) and version.state is State.ACTIVE else "Off",
        },
        "LoggingConfig": _logging(version.logging, version.log_group),
    }


def alias(function: FunctionArn, value: Alias) -> Answer:
    weights = value.additional_weights
    return {
        "AliasArn": str(function.qualified(value.name)),
        "Name": value.name,
        "FunctionVersion": value.function_version,
        "Description": value.description,
        "RoutingConfig": {"AdditionalVersionWeights": dict(weights)} if weights else None,
        "RevisionId": value.revision_id,
    }


def marker(last: str) -> str:
    """An opaque NextMarker: names the last thing on the page, so it stays right while others come and go."""
    return urlsafe_b64encode(last.encode()).decode()


def read_marker(text: str | None) -> str:
    """The last thing of the page before; empty for the first page."""
    try:
        return b64decode((text or "").encode(), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise _foreign_marker() from error


def read_number_marker(text: str | None) -> int:
    """As `read_marker`, for lists in order of numbers; 0 for the first page."""
    last = read_marker(text)
    if last and not (last.isascii() and last.isdigit() and len(last) < 10):
        raise _foreign_marker()
    return int(last or 0)


def _foreign_marker() -> InvalidParameterValue:
    return InvalidParameterValue("The Marker is not one that a previous page gave as NextMarker.")


def _logging(logging: LoggingConfig, log_group: str) -> Answer:
    return {
        "LogFormat": logging.log_format,
        "ApplicationLogLevel": logging.application_log_level,
        "SystemLogLevel": logging.system_log_level,
        "LogGroup": log_group,
    }
