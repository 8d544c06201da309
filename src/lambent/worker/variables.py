"""The environment variables of a runtime process (reference/runtime-api.md §6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NewType

from lambent.model.function import DEFAULT_LOG_LEVEL, FunctionVersion, LogFormat
from lambent.ports.roles import RoleCredentials
from lambent.worker.sandbox.plan import AWS_ENDPOINT_URL

ContainerToken = NewType("ContainerToken", str)
"""What the runtime of a version with SnapStart asks for its credentials with."""

_OVERRIDABLE = {
    "LANG": "en_US.UTF-8",
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
    "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
    "AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1:2000",
    "_AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1",
    "_AWS_XRAY_DAEMON_PORT": "2000",
    "AWS_ENDPOINT_URL": AWS_ENDPOINT_URL,
    "TZ": ":UTC",
    "PWD": "/var/task",
    "SHLVL": "0",
}


_NOT_FOR_EXTENSIONS = frozenset(
    {
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_XRAY_CONTEXT_MISSING",
        "AWS_XRAY_DAEMON_ADDRESS",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)


def startup_variables(runtime: str | None) -> dict[str, str]:
    """The platform's defaults for a managed runtime, or for an OS-only one; functions may set them otherwise."""
    defaults = dict(_OVERRIDABLE)
    if runtime is not None and runtime.startswith("python"):
        defaults["PYTHONPATH"] = "/var/runtime"
    if runtime is not None and runtime.startswith("nodejs"):
        major = runtime.removeprefix("nodejs").removesuffix(".x")
        defaults["NODE_PATH"] = (
            f"/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task"
        )
    return defaults


def runtime_variables(
    version: FunctionVersion,
    *,
    log_stream: str,
    runtime_api: str,
    credentials: RoleCredentials | ContainerToken,
    initialization_type: str = "on-demand",
) -> Mapping[str, str]:
    """The customer's variables over the platform's defaults, and under what is reserved."""
    is_managed = version.runtime is not None and not version.runtime.startswith("provided")
    defaults = startup_variables(version.runtime if is_managed else None)
    reserved = {
        "_HANDLER": version.handler or "",
        "AWS_REGION": version.region,
        "AWS_DEFAULT_REGION": version.region,
        "AWS_LAMBDA_FUNCTION_NAME": version.name,
        "AWS_LAMBDA_FUNCTION_VERSION": version.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(version.memory_mib),
        "AWS_LAMBDA_INITIALIZATION_TYPE": initialization_type,
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "LAMBDA_TASK_ROOT": "/var/task",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
    }
    if isinstance(credentials, RoleCredentials):
        reserved |= {
            "AWS_LAMBDA_LOG_GROUP_NAME": version.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
            "AWS_SESSION_TOKEN": credentials.session_token,
        }
    else:  # what a snapshot holds is the same in all environments made from it, and may be old
        reserved |= {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{runtime_api}/2021-04-23/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": credentials,
        }
    if version.logging.log_format is LogFormat.JSON:
        reserved["AWS_LAMBDA_LOG_FORMAT"] = version.logging.log_format
        reserved["AWS_LAMBDA_LOG_LEVEL"] = version.logging.application_log_level or DEFAULT_LOG_LEVEL
    if is_managed:
        reserved["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{version.runtime}"
    return {**defaults, **(version.environment or {}), **reserved}


def extension_variables(variables: Mapping[str, str]) -> Mapping[str, str]:
    """What external extensions get to see of the runtime's variables."""
    return {
        name: value for name, value in variables.items() if not name.startswith("_") and name not in _NOT_FOR_EXTENSIONS
    }
