"""How the Python client answers for a handler, on every Python found: one process each, asked everything once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from lambent.testing.fake_runtime_api import Answer

CALLS: tuple[Mapping[str, Any], ...] = (
    {"call": "logging_is_imported"},
    {"call": "echo", "name": "Ada ✓", "n": [1, 2.5, None, True]},
    {"call": "returns_none"},
    {"call": "returns_bytes"},
    {"call": "returns_decimals"},
    {"call": "returns_nested_bytes"},
    {"call": "returns_unicode"},
    {"call": "returns_lone_surrogate"},
    {"call": "returns_set"},
    {"call": "returns_circle"},
    {"call": "returns_keys"},
    {"call": "returns_coroutine"},
    {"call": "raises"},
    {"call": "raises_unicode"},
    {"call": "raises_deeply"},
    {"call": "raises_without_message"},
    {"call": "context_fields"},
    {"call": "trace_id"},
    {"call": "starts_thread"},
    {"call": "thread_went_on"},
    {"call": "returns_large", "size": 6 * 1024 * 1024 + 98},
    {"call": "returns_large", "size": 6 * 1024 * 1024 + 99},
    {"call": "returns_large", "size": 30_000_000},
    {"call": "holds_memory", "text": "é" * 2_000_000},
    {"call": "closes_stdout"},
    {"call": "returns_none"},
)
CLIENT_CONTEXT = {
    "client": {"app_title": "Ünit", "installation_id": "i"},
    "custom": {"k": ["v"]},
    "env": {"locale": "de"},
}


@pytest.fixture(scope="module")
def answers(start: Any) -> dict[str, list[Answer]]:
    """The answers to CALLS, in order, by the name called."""

    async def ask() -> dict[str, list[Answer]]:
        found: dict[str, list[Answer]] = {}
        async with start() as runtime:
            for event in CALLS:
                answer = await runtime.invoke(json.dumps(event).encode(), headers={"Lambda-Runtime-Invocation-Id": "7"})
                found.setdefault(event["call"], []).append(answer)
        return found

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def special(start: Any) -> dict[str, Answer]:
    """Answers to invocations with headers of their own."""
    calls: dict[str, tuple[bytes, dict[str, str]]] = {
        "garbage": (b"{not json", {}),
        "octets": (b"\x00\x01\x02", {"Content-Type": "application/octet-stream"}),
        "caller": (
            b'{"call": "caller_fields"}',
            {
                "Lambda-Runtime-Client-Context": json.dumps(CLIENT_CONTEXT, ensure_ascii=False),
                "Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId":"id","cognitoIdentityPoolId":"pool"}',
            },
        ),
        "bad client context": (b"{}", {"Lambda-Runtime-Client-Context": "{"}),
        "bad identity": (b"{}", {"Lambda-Runtime-Cognito-Identity": "nonsense"}),
        "tenant": (b'{"call": "context_fields"}', {"Lambda-Runtime-Aws-Tenant-Id": "blue"}),
        "late": (b'{"call": "deadline_has_passed"}', {"Lambda-Runtime-Deadline-Ms": "1000"}),
        "untraced": (b'{"call": "trace_id"}', {"Lambda-Runtime-Trace-Id": ""}),
    }

    async def ask() -> dict[str, Answer]:
        async with start() as runtime:
            return {name: await runtime.invoke(body, headers=headers) for name, (body, headers) in calls.items()}

    return asyncio.run(ask())


def only(answers: Mapping[str, list[Answer]], name: str) -> Answer:
    assert len(answers[name]) == 1
    return answers[name][0]


def error_of(answer: Answer) -> Any:
    assert answer.kind == "error"
    return answer.json()


def test_a_result_is_posted_as_json(answers: dict[str, list[Answer]]) -> None:
    answer = only(answers, "echo")

    assert (answer.kind, answer.status) == ("response", 202)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"call": "echo", "name": "Ada ✓", "n": [1, 2.5, None, True]}


def test_the_attempt_is_named_in_every_answer(answers: dict[str, list[Answer]]) -> None:
    assert {a.headers["lambda-runtime-invocation-id"] for each in answers.values() for a in each} == {"7"}


def test_nothing_returned_is_null(answers: dict[str, list[Answer]]) -> None:
    assert [answer.body for answer in answers["returns_none"]] == [b"null", b"null"]


def test_bytes_are_posted_as_they_are(answers: dict[str, list[Answer]]) -> None:
    answer = only(answers, "returns_bytes")

    assert answer.body == b"\x00\xff raw"
    assert answer.headers["content-type"] == "application/unknown"


def test_decimals_keep_every_digit(answers: dict[str, list[Answer]]) -> None:
    assert only(answers, "returns_decimals").body == (
        b'{"digits": 0.12345678901234567890123456789, "cents": 1.10, "whole": [7, 1E+3], "nan": NaN}'
    )


def test_bytes_inside_a_result_are_text(answers: dict[str, list[Answer]]) -> None:
    assert only(answers, "returns_nested_bytes").json() == {"text": "é"}


def test_text_beyond_ascii_survives(answers: dict[str, list[Answer]]) -> None:
    assert only(answers, "returns_unicode").json() == "naïve ✓ 😀"
    assert only(answers, "returns_lone_surrogate").body == b'"\\ud83d"'


def test_plain_keys_become_text(answers: dict[str, list[Answer]]) -> None:
    assert only(answers, "returns_keys").json() == {"2": "int", "null": "none", "true": "bool", "1.5": "float"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("returns_set", "Object of type set is not JSON serializable"),
        ("returns_circle", "Circular reference detected"),
        ("returns_coroutine", "Object of type coroutine is not JSON serializable"),
    ],
)
def test_what_is_not_json_is_a_marshal_error(answers: dict[str, list[Answer]], name: str, reason: str) -> None:
    error = error_of(only(answers, name))

    assert error["errorType"] == "Runtime.MarshalError"
    assert error["errorMessage"] == f"Unable to marshal response: {reason}"
    assert error["stackTrace"] == []


def test_an_event_that_is_not_json_is_an_unmarshal_error(special: dict[str, Answer]) -> None:
    error = error_of(special["garbage"])

    assert error["errorType"] == "Runtime.UnmarshalError"
    assert error["errorMessage"].startswith("Unable to unmarshal input: Expecting property name")


def test_an_event_the_caller_does_not_call_json_comes_as_bytes(special: dict[str, Answer]) -> None:
    assert special["octets"].body == b"\x02\x01\x00"


def test_an_exception_is_told_with_the_functions_own_frames(answers: dict[str, list[Answer]]) -> None:
    answer = only(answers, "raises")
    error = error_of(answer)
    first, second, third = error.pop("stackTrace")

    assert list(error) == ["errorMessage", "errorType", "requestId"]
    assert error["errorMessage"] == "first line\nsecond line"
    assert error["errorType"] == "ValueError"
    assert len(error["requestId"]) == 36
    assert first.endswith('in handler\n    return globals()[event["call"]](event, context)\n')
    assert second.endswith("in raises\n    raises_deeper()\n")
    assert third.endswith('in raises_deeper\n    raise ValueError("first line\\nsecond line")\n')
    assert answer.headers["lambda-runtime-function-error-type"] == "ValueError"


def test_an_exception_carries_its_cause_for_x_ray(answers: dict[str, list[Answer]]) -> None:
    cause = json.loads(only(answers, "raises").headers["lambda-runtime-function-xray-error-cause"])
    (exception,) = cause["exceptions"]

    assert (exception["type"], exception["message"]) == ("ValueError", "first line\nsecond line")
    assert [frame["label"] for frame in exception["stack"]] == ["handler", "raises", "raises_deeper"]
    assert set(exception["stack"][0]) == {"label", "path", "line"}
    assert cause["paths"] == [exception["stack"][0]["path"]]
    assert cause["working_directory"]


def test_messages_of_any_text_and_none_are_told(answers: dict[str, list[Answer]]) -> None:
    assert error_of(only(answers, "raises_unicode"))["errorMessage"] == "'ключ \\ud83d'"
    assert error_of(only(answers, "raises_without_message"))["errorMessage"] == ""


def test_a_cause_too_long_for_a_header_is_left_out(answers: dict[str, list[Answer]]) -> None:
    answer = only(answers, "raises_deeply")

    assert error_of(answer)["errorType"] == "RecursionError"
    assert "lambda-runtime-function-xray-error-cause" not in answer.headers


def test_the_context_is_complete(answers: dict[str, list[Answer]]) -> None:
    context: Any = only(answers, "context_fields").json()
    request_id = context["fields"].pop("aws_request_id")

    assert len(request_id) == 36
    assert context == {
        "fields": {
            "function_name": "calls",
            "function_version": "$LATEST",
            "invoked_function_arn": "arn:aws:lambda:us-east-1:000000000000:function:fake",
            "log_group_name": "/aws/lambda/calls",
            "log_stream_name": "2024/01/01/[$LATEST]0",
            "memory_limit_in_mb": "128",
        },
        "remaining_is_sane": True,
        "identity": [None, None],
        "client_context": None,
        "tenant_id": None,
    }


def test_the_caller_is_described_in_the_context(special: dict[str, Answer]) -> None:
    assert special["caller"].json() == {
        "identity": ["id", "pool"],
        "client": ["Ünit", "i"],
        "custom": {"k": ["v"]},
        "env": {"locale": "de"},
        "repr": (
            "ClientContext([client=Client([app_package_name=None,app_title=Ünit,app_version_code=None,"
            "app_version_name=None,installation_id=i]),custom={'k': ['v']},env={'locale': 'de'}])"
            "CognitoIdentity([cognito_identity_id=id,cognito_identity_pool_id=pool])"
        ),
    }
    tenant: Any = special["tenant"].json()
    assert tenant["tenant_id"] == "blue"


@pytest.mark.parametrize(
    ("name", "what"), [("bad client context", "Client Context"), ("bad identity", "Cognito Identity")]
)
def test_a_damaged_caller_header_is_the_invocations_error(special: dict[str, Answer], name: str, what: str) -> None:
    error = error_of(special[name])

    assert error["errorType"] == "Runtime.LambdaContextUnmarshalError"
    assert error["errorMessage"].startswith(f"Unable to parse {what} JSON: ")


def test_no_time_remains_after_the_deadline(special: dict[str, Answer]) -> None:
    assert special["late"].json() == 0


def test_the_trace_id_is_in_the_environment_while_there_is_one(
    answers: dict[str, list[Answer]], special: dict[str, Answer]
) -> None:
    assert str(only(answers, "trace_id").json()).startswith("Root=1-5759e988")
    assert special["untraced"].json() is None


def test_a_thread_goes_on_after_the_invocation_that_started_it(answers: dict[str, list[Answer]]) -> None:
    assert only(answers, "thread_went_on").json() is True


def test_a_response_may_be_as_large_as_the_limit_and_beyond_it_life_goes_on(answers: dict[str, list[Answer]]) -> None:
    assert [answer.status for answer in answers["returns_large"]] == [202, 413, 413]


def test_logging_costs_nothing_until_it_is_imported(answers: dict[str, list[Answer]]) -> None:
    assert only(answers, "logging_is_imported").json() is False
