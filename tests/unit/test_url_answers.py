"""What functions return, as HTTP answers; and what pages of other origins are told (invocation.md §6.4, §6.5)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.frontend.cors import is_preflight, preflight, with_cors
from lambent.frontend.url_answers import Malformed, UrlAnswer, answer_of, prelude_of
from lambent.model.function_url import Cors

JSON = (b"content-type", b"application/json")


def answered(result: Any) -> UrlAnswer:
    return answer_of(json.dumps(result).encode())


@pytest.mark.parametrize("result", [{"a": 1}, [1, 2], 3, None, True, {"statuscode": 201}])
def test_any_json_is_a_body(result: Any) -> None:
    assert answered(result) == UrlAnswer(status=200, headers=[JSON], body=json.dumps(result).encode())


def test_a_string_loses_its_quotes() -> None:
    assert answered("hällo").body == "hällo".encode()


def test_what_is_no_json_is_a_body_as_it_is() -> None:
    assert answer_of(b"<html>") == UrlAnswer(status=200, headers=[JSON], body=b"<html>")


def test_an_object_with_a_status_code_is_an_answer() -> None:
    answer = answered(
        {
            "statusCode": 404,
            "headers": {"Content-Type": "text/html", "X-Count": 3, "x-flag": True},
            "cookies": ["a=1; Secure", "b=2"],
            "body": "<é>",
        }
    )

    assert answer.status == 404
    assert answer.headers == [
        (b"content-type", b"text/html"),
        (b"x-count", b"3"),
        (b"x-flag", b"true"),
        (b"set-cookie", b"a=1; Secure"),
        (b"set-cookie", b"b=2"),
    ]
    assert answer.body == "<é>".encode()


def test_an_answer_may_be_no_more_than_a_status_code() -> None:
    assert answered({"statusCode": "204"}) == UrlAnswer(status=204, headers=[JSON])


def test_base64_is_decoded() -> None:
    assert answered({"statusCode": 200, "body": "/wA=", "isBase64Encoded": True}).body == b"\xff\x00"


def test_headers_that_frame_the_message_are_the_servers() -> None:
    result = {"statusCode": 200, "headers": {"Content-Length": "7", "Transfer-Encoding": "chunked", "Connection": "x"}}

    assert answered(result).headers == [JSON]


@pytest.mark.parametrize(
    "changes",
    [
        {"statusCode": "ok"},
        {"statusCode": None},
        {"statusCode": True},
        {"statusCode": 99},
        {"statusCode": 600},
        {"statusCode": 200.5},
        {"headers": ["a"]},
        {"headers": {"a": ["b"]}},
        {"headers": {"a": "b\r\nc: d"}},
        {"headers": {"a b": "c"}},
        {"headers": {"": "c"}},
        {"cookies": "a=b"},
        {"cookies": ["a=b\n"]},
        {"body": {"a": 1}},
        {"body": "a", "isBase64Encoded": True},
    ],
)
def test_an_answer_that_is_not_well_formed_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        answered({"statusCode": 200, **changes})


MEMBERS = st.sampled_from(["statusCode", "headers", "cookies", "body", "isBase64Encoded"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(st.dictionaries(MEMBERS, VALUES))
def test_whatever_is_returned_is_an_answer_or_malformed(result: dict[str, Any]) -> None:
    try:
        answer = answered(result)
    except Malformed:
        return
    assert 200 <= answer.status <= 599
    assert not any(b"\n" in part or b"\r" in part for header in answer.headers for part in header)


def test_a_prelude_may_leave_everything_out() -> None:
    assert prelude_of(b"{}") == UrlAnswer(status=200, headers=[(b"content-type", b"application/octet-stream")])
    assert prelude_of(b'{"statusCode":201,"headers":{"Content-Type":"text/plain"},"cookies":["a=b"]}') == UrlAnswer(
        status=201, headers=[(b"content-type", b"text/plain"), (b"set-cookie", b"a=b")]
    )
    for document in (b"", b"[]", b'{"statusCode":"x"}'):
        with pytest.raises(Malformed):
            prelude_of(document)


LISTED = Cors(
    allow_origins=("https://a.example", "https://b.example"),
    allow_methods=("GET", "PUT"),
    allow_headers=("x-a", "x-b"),
    expose_headers=("x-c",),
    max_age_s=60,
)
ORIGIN = "https://a.example"


def test_only_options_with_an_origin_is_a_preflight() -> None:
    assert is_preflight("OPTIONS", ORIGIN)
    assert not is_preflight("OPTIONS", None)
    assert not is_preflight("GET", ORIGIN)


def test_a_preflight_tells_what_an_allowed_origin_may_do() -> None:
    assert preflight(LISTED, ORIGIN) == [
        (b"access-control-allow-origin", b"https://a.example"),
        (b"vary", b"Origin"),
        (b"access-control-allow-methods", b"GET,PUT"),
        (b"access-control-allow-headers", b"x-a,x-b"),
        (b"access-control-max-age", b"60"),
    ]
    assert preflight(LISTED, "https://evil.example") == []


def test_all_origins_are_told_so_unless_they_may_bring_credentials() -> None:
    assert preflight(Cors(allow_origins=("*",)), ORIGIN) == [(b"access-control-allow-origin", b"*")]
    assert preflight(Cors(allow_origins=("*",), allow_credentials=True), ORIGIN) == [
        (b"access-control-allow-origin", b"https://a.example"),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"Origin"),
    ]


def test_the_configuration_replaces_what_the_function_says_of_origins() -> None:
    said = [(b"access-control-allow-origin", b"*"), (b"x-a", b"b")]

    assert with_cors(None, ORIGIN, said) == said
    assert with_cors(LISTED, "https://evil.example", said) == [(b"x-a", b"b")]
    assert with_cors(LISTED, ORIGIN, said) == [
        (b"x-a", b"b"),
        (b"access-control-allow-origin", b"https://a.example"),
        (b"vary", b"Origin"),
        (b"access-control-expose-headers", b"x-c"),
    ]
