"""IAM and STS as boto3 sees them: the real client, the real wire format, the store in memory, no socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

from lambent.adapters.memory.store import MemoryStore
from lambent.iam.entities import Entities
from lambent.iam.execution_roles import ExecutionRoles
from lambent.iam.operations import IamApi
from lambent.iam.sessions import Sessions
from lambent.iam.sts import Sts
from lambent.model.caller import CallerContext
from lambent.model.errors import ApiError
from lambent.spec.service import load

ACCOUNT = "123456789012"
NOW = 1_700_000_000.0
ROOT = CallerContext(
    account=ACCOUNT,
    region="us-east-1",
    base_url="http://localhost",
    arn=f"arn:aws:iam::{ACCOUNT}:root",
    user_id=ACCOUNT,
    access_key_id="AKIAROOT",
)


def policy(*statements: dict[str, Any], **members: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **members})


def allow(action: str = "s3:GetObject", resource: str = "*", **members: Any) -> str:
    return policy({"Effect": "Allow", "Action": action, "Resource": resource, **members})


def trusting(principal: Any, **members: Any) -> str:
    return policy({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **members})


LAMBDA_TRUST = trusting({"Service": "lambda.amazonaws.com"})


class Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


class IamWorld:
    """IAM and STS in one process: each request of a client is parsed, performed and answered in place, as `caller`."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.is_open = is_open
        self.runner = asyncio.Runner()
        self.now = NOW
        self.caller = ROOT
        entities = Entities(MemoryStore())
        self.sessions = Sessions("secret")
        self.execution_roles = ExecutionRoles(entities, self.sessions, accepts_unknown=is_open, clock=lambda: self.now)
        self._operations = {
            "iam": IamApi(entities, clock=lambda: self.now).operations,
            "sts": Sts(entities, self.sessions, is_open=is_open, clock=lambda: self.now).operations,
        }

    def client(self, service: str) -> Any:
        client = boto3.client(
            service,
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
            endpoint_url="http://localhost:1",
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )
        client.meta.events.register(f"before-send.{service}", lambda request, **_: self._perform(service, request))
        return client

    def _perform(self, name: str, request: AWSPreparedRequest) -> AWSResponse:
        service = load(name)
        body = request.body.encode() if isinstance(request.body, str) else bytes(request.body)
        try:
            operation, labels = service.route("POST", "/", "", {}, body)
            parameters = operation.parse(labels, "", {}, body)
            answer = self.runner.run(self._call(name, operation.name, parameters))
            status, headers, content = operation.serialize(answer, "request")
        except ApiError as error:
            status, headers, content = service.serialize_error(error, "request")
        decoded = {key.decode(): value.decode() for key, value in headers}
        return AWSResponse(request.url, status, decoded, Body(bytes(content)))

    async def _call(self, service: str, operation: str, parameters: dict[str, Any]) -> Any:
        return await self._operations[service][operation](self.caller, parameters)
