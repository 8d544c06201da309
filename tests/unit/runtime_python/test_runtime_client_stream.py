"""How the Python client streams for a handler, on every Python found."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from typing import Any

import pytest

from lambent.testing.fake_runtime_api import Answer

MODE = "lambda-runtime-function-response-mode"
HTTP = "application/vnd.awslambda.http-integration-response"

CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "pieces": ("pieces", {"pieces": ["a", "b", "c"]}),
    "nothing": ("pieces", {"pieces": []}),
    "prelude": ("pieces", {"pieces": [{"statusCode": 404, "cookies": ["a=b"]}, "gone"]}),
    "prelude late": ("pieces", {"pieces": ["a", {"statusCode": 404}]}),
    "prelude of something else": ("pieces", {"pieces": [{"answer": 42}]}),
    "raises first": ("pieces", {"pieces": [], "raise": "early"}),
    "raises later": ("pieces", {"pieces": ["a"], "raise": "late"}),
    "kinds": ("kinds", {}),
    "not a piece": ("not_a_piece", {}),
    "async": ("pieces_async", {"pieces": ["a", "b"]}),
    "returned": ("returns_a_generator", {"pieces": ["a", "b"]}),
    "writes": ("writes", {}),
    "writes async": ("writes_async", {}),
    "writes late": ("writes_late", {}),
    "writes to closed": ("writes_to_closed", {}),
    "writes decorated": ("writes_decorated", {"pieces": ["d"]}),
    "writes object": ("writes_object", {}),
}


@pytest.fixture(scope="module")
def answers(start: Any) -> dict[str, Answer]:
    """The answers to CALLS; a handler that is asked twice is asked in the same process."""

    async def ask_one(handler: str) -> dict[str, Answer]:
        async with start(f"streams.{handler}") as runtime:
            events = {name: event for name, (asked, event) in CALLS.items() if asked == handler}
            return {name: await runtime.invoke(json.dumps(event).encode()) for name, event in events.items()}

    async def ask() -> dict[str, Answer]:
        found = await asyncio.gather(*(ask_one(handler) for handler in {asked for asked, _ in CALLS.values()}))
        return {name: answer for one in found for name, answer in one.items()}

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("pieces", b"abc"),
        ("nothing", b""),
        ("kinds", "bytes bytearray memoryview tëxt".encode()),
        ("async", b"ab"),
        ("returned", b"ab"),
        ("writes decorated", b"d"),
        ("writes object", b"from an object"),
    ],
)
def test_a_handler_streams_octets(answers: dict[str, Answer], name: str, body: bytes) -> None:
    answer = answers[name]

    assert (answer.kind, answer.body, answer.trailers) == ("response", body, {})
    assert answer.headers[MODE] == "streaming"
    assert answer.headers["content-type"] == "application/octet-stream"


def test_a_writer_is_a_file_with_a_content_type(answers: dict[str, Answer]) -> None:
    assert answers["writes"].body == b"copied printed\n"
    assert answers["writes"].headers["content-type"] == "text/plain"


@pytest.mark.parametrize(
    ("name", "prelude", "body"),
    [
        ("prelude", {"statusCode": 404, "cookies": ["a=b"]}, b"gone"),
        ("writes async", {"statusCode": 201, "headers": {"x-a": "b"}, "cookies": ["c=d"]}, b"body"),
    ],
)
def test_status_headers_and_cookies_go_ahead_of_eight_nul_bytes(
    answers: dict[str, Answer], name: str, prelude: object, body: bytes
) -> None:
    head, _, rest = answers[name].body.partition(bytes(8))

    assert answers[name].headers["content-type"] == HTTP
    assert (json.loads(head), rest) == (prelude, body)


@pytest.mark.parametrize(
    ("name", "error_type"),
    [
        ("raises first", "ValueError"),
        ("prelude of something else", "Runtime.MarshalError"),
        ("writes to closed", "ValueError"),
    ],
)
def test_a_handler_that_fails_before_its_first_piece_fails_like_any_other(
    answers: dict[str, Answer], name: str, error_type: str
) -> None:
    answer = answers[name]

    assert answer.kind == "error"
    assert answer.json()["errorType"] == error_type  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "body", "error_type"),
    [
        ("raises later", b"a", "ValueError"),
        ("prelude late", b"a", "Runtime.MarshalError"),
        ("not a piece", b"one", "Runtime.MarshalError"),
        ("writes late", b"body", "Runtime.InvalidStreamingOperation"),
    ],
)
def test_a_handler_that_fails_later_says_so_behind_what_it_has_sent(
    answers: dict[str, Answer], name: str, body: bytes, error_type: str
) -> None:
    answer = answers[name]
    error = json.loads(b64decode(answer.trailers["lambda-runtime-function-error-body"]))

    assert (answer.kind, answer.body) == ("response", body)
    assert answer.trailers["lambda-runtime-function-error-type"] == error_type
    assert error["errorType"] == error_type
