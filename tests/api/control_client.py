"""What the tests of the control plane's words share: a client that checks nothing itself, and AWS's phrases."""

from __future__ import annotations

from typing import Any

import botocore.config
import botocore.exceptions
import botocore.session
import pytest

from lambent.testing.service import ROLE, RunningService, make_zip

BASE = "arn:aws:lambda:us-east-1:000000000000"
CODE = {"ZipFile": make_zip({"app.py": "def handler(event, context): return event\n"})}
NEW = {"FunctionName": "n", "Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler", "Code": CODE}
STALE = "00000000-0000-4000-8000-000000000000"
UNQUALIFIED_ONLY = (
    "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
    "Please specify either a function name or an unqualified function ARN."
)
STALE_FUNCTION = (
    "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the "
    "latest Revision Id"
)
NO_RESOURCE = "The resource you requested does not exist."
INVALID, VALIDATION = "InvalidParameterValueException", "ValidationException"
ABSENT, CONFLICT, STALE_ID = "ResourceNotFoundException", "ResourceConflictException", "PreconditionFailedException"

Case = tuple[str, dict[str, Any], int, str, str]
"""An operation, its members (None: left out), and the status, code and message that refuse it."""


def violation(value: str, field: str, constraint: str) -> str:
    return f"1 validation error detected: Value {value} at '{field}' failed to satisfy constraint: Member {constraint}"


def careless_client(service: RunningService, account: str = "test", region: str = "us-east-1") -> Any:
    return botocore.session.get_session().create_client(
        "lambda",
        region_name=region,
        endpoint_url=service.endpoint_url,
        aws_access_key_id=account,
        aws_secret_access_key="test",
        config=botocore.config.Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )


def refusal(client: Any, operation: str, members: dict[str, Any]) -> tuple[int, str, str]:
    """The status, code and message that a request is refused with."""
    given = {name: value for name, value in members.items() if value is not None}
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        client._make_api_call(operation, given)
    answer: Any = refused.value.response
    metadata, error = answer["ResponseMetadata"], answer["Error"]
    assert metadata["HTTPHeaders"]["x-amzn-errortype"] == error["Code"]
    return metadata["HTTPStatusCode"], error["Code"], error["Message"]
