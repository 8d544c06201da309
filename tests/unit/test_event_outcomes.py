"""Exactly what is told of an event, to the letter: golden files (reference/invocation.md §5.1, §5.2)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lambent.invoke.outcomes import Ending, error_message, outcomes, record
from lambent.invoke.retry import RetryPolicy
from lambent.invoke.terms import Terms
from lambent.model.arn import FunctionArn
from lambent.model.event import Condition, EventHead, Message, Recipient
from lambent.model.invocation import InvokeResult, RequestId

GOLDEN = Path(__file__).parent / "golden" / "outcomes"
QUEUE = "arn:aws:sqs:us-east-2:123456789012:queue"
BUS = "arn:aws:events:us-east-2:123456789012:event-bus/bus"
BUCKET = "arn:aws:s3:::bucket"
AT_S = 1_573_755_365.568  # 2019-11-14T18:16:05.568Z

FAILED = InvokeResult(
    payload=b'{"errorMessage":"RequestId: e4b46cbf Process exited before completing request"}',
    executed_version="$LATEST",
    function_error="Unhandled",
)
ANSWERED = InvokeResult(payload=b'{"answer":42}', executed_version="7")


def ending(
    condition: Condition,
    result: InvokeResult | None,
    *,
    qualifier: str | None = None,
    attempts: int = 1,
    code: int = 200,
) -> Ending:
    return Ending(
        head=EventHead(
            request_id=RequestId("e4b46cbf-b738-4a5c-8880-a18cdf61200e"),
            function=FunctionArn("us-east-2", "123456789012", "my-function", qualifier),
            trace_id="Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0",
            accepted_s=AT_S - 180,
            attempts=attempts,
            error_code=code,
            error_message="Rate Exceeded." if result is None else error_message(result),
        ),
        payload=b'{"ORDER_IDS":["9e07af03","637de236"]}',
        condition=condition,
        result=result,
        at_s=AT_S,
        object_id="0b8a1c5e-2f0e-4a8e-9d8c-1d2e3f405162",
    )


ENDINGS = {
    "success": ending(Condition.SUCCESS, ANSWERED, qualifier="live"),
    "retries_exhausted": ending(Condition.RETRIES_EXHAUSTED, FAILED, attempts=3),
    "event_age_exceeded": ending(Condition.EVENT_AGE_EXCEEDED, None, attempts=0, code=429),
    "zero_reserved_concurrency": ending(Condition.ZERO_RESERVED_CONCURRENCY, None, attempts=0, code=429),
}


def messages(ended: Ending, **terms: str) -> list[tuple[Recipient, Message, bytes]]:
    found = outcomes(ended, Terms(policy=RetryPolicy(), **terms))  # type: ignore[arg-type]
    return [(head.recipient, head.message, body) for head, body in found]


@pytest.mark.parametrize("name", ENDINGS)
def test_the_invocation_record_is_aws_s_own(name: str) -> None:
    golden = (GOLDEN / f"{name}.json").read_text()

    assert record(ENDINGS[name]).decode() == json.dumps(json.loads(golden), separators=(",", ":"))


def test_the_original_event_and_the_answer_are_carried_byte_by_byte() -> None:
    ended = ending(
        Condition.SUCCESS, InvokeResult(payload=b'{"n": 1.50, "big": 12345678901234567890}', executed_version="1")
    )

    assert b'"responsePayload":{"n": 1.50, "big": 12345678901234567890}' in record(ended)


@pytest.mark.parametrize(("payload", "shown"), [(b"plain text", b'"plain text"'), (b"\xff", '"\ufffd"'.encode())])
def test_an_answer_that_is_no_json_is_shown_as_text(payload: bytes, shown: bytes) -> None:
    ended = ending(Condition.SUCCESS, InvokeResult(payload=payload, executed_version="1"))

    assert b'"responsePayload":' + shown in record(ended)


def test_an_event_bus_gets_its_source_detail_type_and_resources() -> None:
    ((recipient, message, _),) = messages(ENDINGS["success"], on_success=BUS)

    assert recipient is Recipient.ON_SUCCESS
    assert message.detail_type == "Lambda Function Invocation Result - Success"
    assert message.resources == (BUS, "arn:aws:lambda:us-east-2:123456789012:function:my-function:live")
    ((_, message, _),) = messages(ENDINGS["retries_exhausted"], on_failure=BUS)
    assert message.detail_type == "Lambda Function Invocation Result - Failure"


def test_a_bucket_gets_an_object_named_by_function_and_time() -> None:
    ((_, message, _),) = messages(ENDINGS["retries_exhausted"], on_failure=BUCKET)

    assert message.object_key == (
        "aws/lambda/async/my-function/2019/11/14/2019-11-14T18.16.05-0b8a1c5e-2f0e-4a8e-9d8c-1d2e3f405162"
    )


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("retries_exhausted", "200", "RequestId: e4b46cbf Process exited before completing request"),
        ("event_age_exceeded", "429", "Rate Exceeded."),
        ("zero_reserved_concurrency", "429", "Rate Exceeded."),
    ],
)
def test_a_dead_letter_is_the_raw_event_with_three_attributes(name: str, code: str, said: str) -> None:
    ((recipient, message, body),) = messages(ENDINGS[name], dead_letter=QUEUE)

    assert (recipient, message.target) == (Recipient.DEAD_LETTER, QUEUE)
    assert body == b'{"ORDER_IDS":["9e07af03","637de236"]}'
    assert message.attributes == {
        "RequestID": ("String", "e4b46cbf-b738-4a5c-8880-a18cdf61200e"),
        "ErrorCode": ("Number", code),
        "ErrorMessage": ("String", said),
    }


def test_an_error_message_is_cut_after_its_first_kilobyte() -> None:
    long = InvokeResult(payload=json.dumps({"errorMessage": "é" * 2_000}).encode(), executed_version="1")

    assert error_message(long) == "é" * 512
    assert error_message(InvokeResult(payload=b"[1]", executed_version="1")) == "[1]"


def test_a_success_is_no_dead_letter_and_a_failure_no_success() -> None:
    both = {"on_success": QUEUE, "on_failure": BUCKET, "dead_letter": QUEUE}

    assert [recipient for recipient, _, _ in messages(ENDINGS["success"], **both)] == ["OnSuccess"]
    assert [recipient for recipient, _, _ in messages(ENDINGS["retries_exhausted"], **both)] == [
        "OnFailure",
        "DeadLetter",
    ]
