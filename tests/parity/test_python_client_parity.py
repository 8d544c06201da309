"""Lambent's Python client beside AWS's own (awslambdaric): the same function, the same events, the same answers."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from lambent.testing.fake_runtime_api import Answer
from lambent.testing.runtime_process import Exit, RuntimeProcess, running_runtime

pytest.importorskip("awslambdaric")

ROOT = Path(__file__).parents[2]
FUNCTIONS = ROOT / "tests" / "unit" / "runtime_python" / "functions"
CLIENTS = {
    "ours": ([sys.executable, str(ROOT / "runtimes" / "python" / "bootstrap.py")], {}),
    "aws": ([sys.executable, "-m", "awslambdaric"], {"PYTHONPATH": str(FUNCTIONS)}),
}
CALLS = (
    {"call": "echo", "name": "Ada ✓", "n": [1, 2.5, None, True]},
    {"call": "returns_none"},
    {"call": "returns_bytes"},
    {"call": "returns_nested_bytes"},
    {"call": "returns_decimals"},
    {"call": "returns_unicode"},
    {"call": "returns_lone_surrogate"},
    {"call": "returns_keys"},
    {"call": "returns_set"},
    {"call": "returns_circle"},
    {"call": "returns_coroutine"},
    {"call": "raises"},
    {"call": "raises_without_message"},
    {"call": "context_fields"},
    {"call": "trace_id"},
    {"call": "logs"},
)
HEADERS = {
    "Lambda-Runtime-Aws-Request-Id": "5f1b2c3d-aaaa-bbbb-cccc-1234567890ab",
    "Lambda-Runtime-Client-Context": '{"client": {"app_title": "t"}, "custom": {"k": ["v"]}, "env": {"locale": "de"}}',
    "Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId":"id","cognitoIdentityPoolId":"pool"}',
}
BROKEN = ("nodot", "sys.exit", "no_such_file.handler", "calls.missing", "pkg.broken.handler")


def running(name: str, handler: str = "calls.handler") -> AbstractAsyncContextManager[RuntimeProcess]:
    command, more = CLIENTS[name]
    env = {"_HANDLER": handler, "LAMBDA_TASK_ROOT": str(FUNCTIONS), "AWS_LAMBDA_FUNCTION_NAME": "calls", **more}
    return running_runtime([*command, handler], env=env, cwd=FUNCTIONS)


async def answer_all(name: str) -> dict[str, Answer]:
    async with running(name) as runtime:
        return {str(call["call"]): await runtime.invoke(json.dumps(call).encode()) for call in CALLS}


async def answer_with_headers(name: str) -> list[Answer]:
    async with running(name) as runtime:
        bodies = [b'{"call": "caller_fields"}', b'{"call": "raises"}', b"not json"]
        return [await runtime.invoke(body, headers=HEADERS) for body in bodies]


async def fail(name: str, handler: str) -> tuple[Answer, Exit]:
    async with running(name, handler) as runtime:
        return await runtime.init_error(), await runtime.exit()


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, Answer]]:
    return {name: asyncio.run(answer_all(name)) for name in CLIENTS}


def shown(answer: Answer) -> dict[str, Any]:
    """An answer without what differs from one invocation to the next."""
    body = answer.body.decode("latin-1")
    body = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<request id>", body)
    return {
        "kind": answer.kind,
        "status": answer.status,
        "content_type": answer.headers.get("content-type"),
        "body": body,
    }


def cause(headers: Mapping[str, str]) -> Any:
    return json.loads(headers["lambda-runtime-function-xray-error-cause"])


@pytest.mark.parametrize("call", [str(call["call"]) for call in CALLS])
def test_both_clients_give_the_same_answer(answers: dict[str, dict[str, Answer]], call: str) -> None:
    assert shown(answers["ours"][call]) == shown(answers["aws"][call])


def test_both_clients_give_the_same_cause_for_x_ray(answers: dict[str, dict[str, Answer]]) -> None:
    assert cause(answers["ours"]["raises"].headers) == cause(answers["aws"]["raises"].headers)


def test_both_clients_read_the_caller_and_tell_its_errors_alike() -> None:
    ours, aws = (asyncio.run(answer_with_headers(name)) for name in ("ours", "aws"))

    assert ours[0].json() != {}
    assert [shown(answer) for answer in ours[1:]] == [shown(answer) for answer in aws[1:]]


@pytest.mark.parametrize("handler", BROKEN)
def test_both_clients_report_a_failed_init_alike(handler: str) -> None:
    (ours, our_exit), (aws, aws_exit) = (asyncio.run(fail(name, handler)) for name in ("ours", "aws"))

    assert ours.json() == aws.json()
    assert ours.headers["lambda-runtime-function-error-type"] == aws.headers["lambda-runtime-function-error-type"]
    assert our_exit.code == aws_exit.code == 1
    assert our_exit.stdout.splitlines()[1:] == aws_exit.stdout.splitlines()[1:]
