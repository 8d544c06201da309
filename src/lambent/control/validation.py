"""The rules of reference/api.md §3.3 that the service model does not hold, with AWS's texts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

from lambent.control.requests import ConfigurationMembers, CreateFunctionRequest, LoggingMembers, unsupported
from lambent.model import limits
from lambent.model.errors import InvalidParameterValue, ValidationError
from lambent.model.function import SNAP_START_ON, FunctionVersion, LogFormat
from lambent.ports.snapshots import Snapshots

RESERVED_VARIABLES = frozenset((
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API", "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_MAX_CONCURRENCY",
    "AWS_LAMBDA_METADATA_API", "AWS_LAMBDA_METADATA_TOKEN", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
))  # fmt: skip
"""reference/runtime-api.md §6.1"""

RETIRED_RUNTIMES = frozenset((
    "nodejs", "nodejs4.3", "nodejs4.3-edge", "nodejs6.10", "nodejs8.10", "nodejs10.x", "nodejs12.x", "nodejs14.x",
    "python2.7", "python3.6", "python3.7", "dotnetcore1.0", "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1",
    "java8", "go1.x", "ruby2.5", "ruby2.7", "provided",
))  # fmt: skip
"""Identifiers that the service model keeps, and that neither AWS nor Lambent gives to a function any more."""

_TAGS_MAXIMUM = 50
_DEAD_LETTER_ARN = re.compile(
    r"arn:aws[a-z-]*:(sqs:[a-z0-9-]+:\d{12}:[\w-]{1,80}|sns:[a-z0-9-]+:\d{12}:[\w-]{1,256})", re.ASCII
)


def check_new_function(request: CreateFunctionRequest) -> None:
    if request.package_type == "Image":
        _refuse_image(request)
    if request.code.image_uri:
        raise unsupported("PackageType Image")
    if not request.runtime or not request.handler:
        raise InvalidParameterValue(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        )
    check_tags(request.tags or {})


def _refuse_image(request: CreateFunctionRequest) -> NoReturn:
    """Say first what AWS would not do either."""
    if request.runtime or request.handler or request.layers:
        raise InvalidParameterValue(
            "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."
        )
    if not request.code.image_uri:
        raise InvalidParameterValue("Please provide a source for function code.")
    raise unsupported("PackageType Image")


def check_configuration(request: ConfigurationMembers, runtimes: Sequence[str]) -> None:
    """Refuse values that AWS's service refuses, and those that ask for what Lambent does not do."""
    if request.runtime is not None and request.runtime not in runtimes:
        raise InvalidParameterValue(
            f"Value {request.runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
            f"[{', '.join(runtimes)}] or be a valid ARN"
        )
    if request.runtime in RETIRED_RUNTIMES:
        raise InvalidParameterValue(
            f"The runtime parameter of {request.runtime} is no longer supported for creating or updating AWS Lambda "
            "functions. We recommend you use a supported runtime while creating or updating functions."
        )
    _check_sizes(request)
    if request.environment is not None:
        _check_variables(request.environment.variables or {})
    if request.dead_letter_config is not None and request.dead_letter_config.target_arn:
        _check_dead_letter_target(request.dead_letter_config.target_arn)
    if request.logging_config is not None:
        _check_logging(request.logging_config)


def check_snap_start(version: FunctionVersion, snapshots: Snapshots | None) -> None:
    """Refuse SnapStart where it cannot be had: by runtime and /tmp as AWS does, or by what this host is."""
    if version.snap_start != SNAP_START_ON:
        return
    if snapshots is None:
        raise unsupported(f"SnapStart.ApplyOn {SNAP_START_ON}")
    obstacle = snapshots.snap_start_obstacle(version.runtime or "")
    if obstacle is not None:
        raise InvalidParameterValue(obstacle)
    if version.ephemeral_storage_mib > limits.EPHEMERAL_STORAGE_MIB_MINIMUM:
        raise InvalidParameterValue(
            f"EphemeralStorage greater than {limits.EPHEMERAL_STORAGE_MIB_MINIMUM} MB is not supported for SnapStart "
            "enabled functions."
        )


def check_architectures(architectures: Sequence[str] | None, supported: Sequence[str]) -> None:
    for architecture in architectures or ():
        if architecture not in supported:
            raise InvalidParameterValue(
                f"Architectures [{architecture}] cannot run on this host, which runs [{', '.join(supported)}]. "
                "See docs/compatibility.md"
            )


def _check_sizes(request: ConfigurationMembers) -> None:
    if request.timeout is not None and request.timeout > limits.TIMEOUT_S_MAXIMUM:
        raise _too_large(request.timeout, "timeout", limits.TIMEOUT_S_MAXIMUM)
    if request.memory_size is not None and request.memory_size > limits.MEMORY_MIB_MAXIMUM:
        raise InvalidParameterValue(
            "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to "
            f"{limits.MEMORY_MIB_MAXIMUM}"
        )
    storage = request.ephemeral_storage
    if storage is not None and storage.size > limits.EPHEMERAL_STORAGE_MIB_MAXIMUM:
        raise _too_large(storage.size, "ephemeralStorage.size", limits.EPHEMERAL_STORAGE_MIB_MAXIMUM)


def _too_large(value: int, field: str, maximum: int) -> ValidationError:
    return ValidationError(
        f"1 validation error detected: Value '{value}' at '{field}' failed to satisfy constraint: "
        f"Member must have value less than or equal to {maximum}"
    )


def _check_variables(variables: Mapping[str, str]) -> None:
    reserved = [name for name in variables if name in RESERVED_VARIABLES]
    if reserved:
        raise InvalidParameterValue(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode(errors="surrogatepass")) > limits.ENVIRONMENT_VARIABLES_BYTES:
        raise InvalidParameterValue(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {measured}"
        )


def _check_dead_letter_target(arn: str) -> None:
    if _DEAD_LETTER_ARN.fullmatch(arn) is None:
        raise InvalidParameterValue(
            f"DeadLetterConfig.TargetArn must be the ARN of a standard SQS queue or SNS topic, found {arn}"
        )


def _check_logging(logging: LoggingMembers) -> None:
    if logging.log_format != LogFormat.JSON and (logging.application_log_level or logging.system_log_level):
        raise InvalidParameterValue(
            'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change '
            'the LogFormat to "JSON" and try again.'
        )


def check_tags(tags: Mapping[str, str]) -> None:
    """Refuse what no resource may be tagged with."""
    if len(tags) > _TAGS_MAXIMUM:
        raise InvalidParameterValue("Number of tags exceeds resource tag limit.")
    for key in tags:
        if key.lower().startswith("aws:"):
            raise InvalidParameterValue(f"Tag key '{key}' is not allowed: the prefix aws: is reserved for AWS.")
