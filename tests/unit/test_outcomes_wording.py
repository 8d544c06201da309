"""Failures in AWS's words."""

from __future__ import annotations

import json

import pytest

from lambent.worker.lifecycle import TIMED_OUT
from lambent.worker.outcomes import (
    exit_reason,
    failure_line,
    failure_message,
    failure_payload,
    normalize_error_type,
    response_too_large,
)


@pytest.mark.parametrize(
    ("code", "signum", "reason"),
    [
        (0, None, "Runtime exited without providing a reason"),
        (1, None, "Runtime exited with error: exit status 1"),
        (None, 9, "Runtime exited with error: signal: killed"),
        (None, 11, "Runtime exited with error: signal: segmentation fault"),
        (None, 40, "Runtime exited with error: signal: signal 40"),
    ],
)
def test_an_exit_is_worded_as_aws_does(code: int | None, signum: int | None, reason: str) -> None:
    assert exit_reason(code=code, signum=signum) == reason


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("Runtime.NoSuchHandler", "Runtime.NoSuchHandler"),
        ("Function.MyError", "Function.MyError"),
        ("Function.my_error", "Function.Unknown"),
        ("ValueError", "Runtime.Unknown"),
        (None, "Runtime.Unknown"),
    ],
)
def test_an_error_type_is_normalised_for_telemetry(given: str | None, normal: str) -> None:
    assert normalize_error_type(given) == normal


def test_a_timeout_names_the_seconds_with_two_decimals() -> None:
    message = failure_message(TIMED_OUT, None, request_id="id", timeout_s=3)

    assert json.loads(failure_payload(TIMED_OUT, message)) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": "RequestId: id Error: Task timed out after 3.00 seconds",
    }
    line = failure_line(TIMED_OUT, message, now=0.0, request_id="id", timeout_s=3)
    assert line == "1970-01-01T00:00:00.000Z id Task timed out after 3.00 seconds\n"


def test_a_response_too_large_names_the_limit() -> None:
    assert json.loads(response_too_large()) == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }
