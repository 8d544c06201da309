"""How a request changes a function's configuration: supplied members replace, whole structures at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from lambent.control.requests import ConfigurationMembers, EnvironmentMembers, LoggingMembers
from lambent.model.function import DEFAULT_LOG_LEVEL, FunctionVersion, LogFormat, LoggingConfig

Value = TypeVar("Value")


def configured(version: FunctionVersion, request: ConfigurationMembers) -> FunctionVersion:
    """All but the layers, which have to be looked up (`function_layers`)."""
    return replace(
        version,
        role=given(request.role, version.role),
        runtime=given(request.runtime, version.runtime),
        handler=given(request.handler, version.handler),
        description=given(request.description, version.description),
        timeout_s=given(request.timeout, version.timeout_s),
        memory_mib=given(request.memory_size, version.memory_mib),
        ephemeral_storage_mib=(
            request.ephemeral_storage.size if request.ephemeral_storage else version.ephemeral_storage_mib
        ),
        environment=_variables(request.environment) if request.environment else version.environment,
        dead_letter_target_arn=(
            request.dead_letter_config.target_arn or None
            if request.dead_letter_config
            else version.dead_letter_target_arn
        ),
        tracing_mode=(request.tracing_config and request.tracing_config.mode) or version.tracing_mode,
        snap_start=(request.snap_start and request.snap_start.apply_on) or version.snap_start,
        logging=_logging(request.logging_config) if request.logging_config else version.logging,
    )


def given(value: Value | None, before: Value) -> Value:
    return before if value is None else value


def _variables(environment: EnvironmentMembers) -> dict[str, str] | None:
    return environment.variables or None


def _logging(logging: LoggingMembers) -> LoggingConfig:
    if logging.log_format != LogFormat.JSON:
        return LoggingConfig(log_group=logging.log_group or "")
    return LoggingConfig(
        log_format=LogFormat.JSON,
        log_group=logging.log_group or "",
        application_log_level=logging.application_log_level or DEFAULT_LOG_LEVEL,
        system_log_level=logging.system_log_level or DEFAULT_LOG_LEVEL,
    )
