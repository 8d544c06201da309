"""What functions print and log, as the platform reads it from the pipe, on every Python found."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from lambent.testing.runtime_process import Exit

STAMP = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d"
REQUEST_ID = "5f1b2c3d-aaaa-bbbb-cccc-1234567890ab"


def run(start: Any, *calls: str, **env: str) -> Exit:
    async def ask() -> Exit:
        async with start(env=env) as runtime:
            for call in calls:
                headers = {"Lambda-Runtime-Aws-Request-Id": REQUEST_ID}
                await runtime.invoke(json.dumps({"call": call}).encode(), headers=headers)
            end: Exit = await runtime.stop()
            return end

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def text(start: Any) -> Exit:
    return run(start, "prints", "raises", "logs", "logs_with_own_format")


@pytest.fixture(scope="module")
def as_json(start: Any) -> list[Any]:
    end = run(start, "logs", "raises", AWS_LAMBDA_LOG_FORMAT="JSON", AWS_LAMBDA_LOG_LEVEL="WARN")
    return [json.loads(line) for line in end.stdout.splitlines() if line.startswith("{")]


def test_printed_lines_come_whole_and_an_unfinished_one_is_let_go(text: Exit) -> None:
    assert text.stdout.startswith("one line\nunfinished")
    assert text.stderr == "to stderr\n"


def test_an_uncaught_error_is_one_event(text: Exit) -> None:
    (line,) = [line for line in text.stdout.split("\n") if "[ERROR] ValueError" in line]
    event = line.partition("[ERROR]")[2].split("\r")

    assert event[:3] == [" ValueError: first line", "second line", "Traceback (most recent call last):"]
    assert re.fullmatch('\u00a0\u00a0File ".*calls.py", line \\d+, in handler', event[3])
    assert event[4] == '\u00a0\u00a0\u00a0\u00a0return globals()[event["call"]](event, context)'


def test_a_record_is_one_event_with_level_time_and_request_id(text: Exit) -> None:
    records = [line for line in text.stdout.split("\n") if REQUEST_ID in line]

    assert re.fullmatch(rf"\[WARNING\]\t{STAMP}\.\d{{3}}Z\t{REQUEST_ID}\ttwo\rlines", records[0])
    assert re.fullmatch(rf"\[INFO\]\t{STAMP}\.\d{{3}}Z\t{REQUEST_ID}\tnow shown", records[1])
    assert "\tcaught\rTraceback (most recent call last):\r" in records[2]
    assert records[2].endswith("ZeroDivisionError: division by zero")


def test_basic_config_and_the_default_level_change_nothing(text: Exit) -> None:
    assert "never seen" not in text.stdout + text.stderr
    assert "not shown" not in text.stdout


def test_the_context_logs_one_event(text: Exit) -> None:
    assert "\nfrom the\rcontext\n" in text.stdout


def test_the_functions_own_format_ends_its_lines_too(text: Exit) -> None:
    assert text.stdout.endswith("\nown: hello\n")


def test_json_records_have_aws_keys_and_the_level_filters(as_json: list[Any]) -> None:
    assert [record["message"] for record in as_json if "logger" in record] == ["two\nlines", "now shown", "caught"]
    assert re.fullmatch(rf"{STAMP}Z", as_json[0].pop("timestamp"))
    assert as_json[0] == {"level": "WARNING", "message": "two\nlines", "logger": "root", "requestId": REQUEST_ID}


def test_json_records_carry_what_is_passed_as_extra(as_json: list[Any]) -> None:
    assert as_json[1]["order"] == {"id": 7}
    assert as_json[1]["logger"] == "mine"


def test_json_records_describe_exceptions(as_json: list[Any]) -> None:
    caught = as_json[2]

    assert (caught["errorType"], caught["errorMessage"]) == ("ZeroDivisionError", "division by zero")
    assert re.search(r"calls\.py:logs:\d+$", caught["location"])
    assert caught["stackTrace"][0].startswith('  File "')


def test_an_uncaught_error_is_a_json_record_too(as_json: list[Any]) -> None:
    error = as_json[-1]

    assert list(error) == ["timestamp", "level", "errorMessage", "errorType", "requestId", "stackTrace"]
    assert (error["level"], error["errorType"], error["requestId"]) == ("ERROR", "ValueError", REQUEST_ID)


def test_the_level_trace_is_pythons_debug(start: Any) -> None:
    end = run(start, "logs", AWS_LAMBDA_LOG_FORMAT="JSON", AWS_LAMBDA_LOG_LEVEL="TRACE")

    assert '"message": "not shown at the default level"' in end.stdout
