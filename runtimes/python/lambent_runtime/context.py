"""The second argument of every handler."""

from __future__ import annotations

import json
import os
import time

from lambent_runtime import log
from lambent_runtime.fault import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any  # what callers put into these headers is theirs


def environment_facts() -> dict[str, object]:
    """The fields of a context that stay the same for the life of the environment."""
    return {
        "function_name": os.environ.get("AWS_LAMBDA_FUNCTION_NAME"),
        "function_version": os.environ.get("AWS_LAMBDA_FUNCTION_VERSION"),
        "log_group_name": os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME"),
        "log_stream_name": os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME"),
        "memory_limit_in_mb": os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
    }


class _Record:
    """Attributes from a JSON object: those named in `__slots__`, None where absent."""

    __slots__: tuple[str, ...] = ()

    def __init__(self, fields: dict[str, Any], **names: str) -> None:
        for slot in self.__slots__:
            setattr(self, slot, fields.get(names.get(slot, slot)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{','.join(f'{slot}={getattr(self, slot)}' for slot in self.__slots__)}])"


class CognitoIdentity(_Record):
    """Who called, if they signed with credentials of a Cognito identity pool."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")


class Client(_Record):
    """The mobile application that called."""

    __slots__ = ("app_package_name", "app_title", "app_version_code", "app_version_name", "installation_id")


class ClientContext(_Record):
    """What the caller sent along as X-Amz-Client-Context."""

    __slots__ = ("client", "custom", "env")


class LambdaContext:
    """AWS's context object; times are milliseconds.

    https://docs.aws.amazon.com/lambda/latest/dg/python-context.html
    """

    def __init__(self, headers: dict[str, str], facts: dict[str, object]) -> None:
        self.__dict__.update(facts)
        self.aws_request_id = headers["lambda-runtime-aws-request-id"]
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn")
        self.tenant_id = headers.get("lambda-runtime-aws-tenant-id")
        self.client_context = _client_context(headers.get("lambda-runtime-client-context"))
        self.identity = _identity(headers.get("lambda-runtime-cognito-identity"))
        self._deadline_ms = int(headers["lambda-runtime-deadline-ms"])

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def log(self, message: object) -> None:
        log.write_event(str(message))

    def __repr__(self) -> str:
        fields = ",".join(f"{name}={value}" for name, value in vars(self).items() if name[0] != "_")
        return f"LambdaContext([{fields}])"


def _client_context(text: str | None) -> ClientContext | None:
    fields = _parse(text, "Client Context")
    if fields is None:
        return None
    client = fields.get("client")
    return ClientContext({**fields, "client": None if client is None else Client(client)})


def _identity(text: str | None) -> CognitoIdentity:
    return CognitoIdentity(
        _parse(text, "Cognito Identity") or {},
        cognito_identity_id="cognitoIdentityId",
        cognito_identity_pool_id="cognitoIdentityPoolId",
    )


def _parse(text: str | None, name: str) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        return json.loads(text)  # type: ignore[no-any-return]
    except ValueError as exc:
        raise Fault("Runtime.LambdaContextUnmarshalError", f"Unable to parse {name} JSON: {exc}") from exc
