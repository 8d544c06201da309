"""Payload format 2.0: what a function sees of an HTTP request to its URL (reference/invocation.md §6.3)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambent.frontend.url_events import IamCaller, UrlRequest, event_of

URL_ID = "abcdefghijklmnopqrstuvwxyz012345"
HOST = f"{URL_ID}.lambda-url.eu-west-1.localhost:9400"


def event(**changes: Any) -> Any:
    given: dict[str, Any] = {
        "url_id": URL_ID,
        "region": "eu-west-1",
        "account": "000000000000",
        "request_id": "r",
        "trace_id": "Root=1-1-1",
        "method": "GET",
        "path": "/",
        "query": "",
        "headers": [("host", HOST), ("user-agent", "test/1")],
        "body": b"",
        "source_ip": "192.0.2.1",
        "port": 9400,
        "now": 1_583_348_638.39,
    }
    return json.loads(event_of(UrlRequest(**{**given, **changes})))


def with_headers(*headers: tuple[str, str], **changes: Any) -> Any:
    return event(headers=[("host", HOST), *headers], **changes)


def test_a_plain_request_is_the_whole_of_the_format() -> None:
    assert event() == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {
            "host": HOST,
            "user-agent": "test/1",
            "x-amzn-trace-id": "Root=1-1-1",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-proto": "http",
            "x-forwarded-port": "9400",
        },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": URL_ID,
            "domainName": HOST.removesuffix(":9400"),
            "domainPrefix": URL_ID,
            "http": {
                "method": "GET",
                "path": "/",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "test/1",
            },
            "requestId": "r",
            "routeKey": "$default",
            "stage": "$default",
            "time": "04/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1583348638390,
        },
        "isBase64Encoded": False,
    }


def test_queries_are_raw_and_parsed_with_doubles_joined() -> None:
    found = event(query="a=1&a=2&b=c+d&e=%C3%A9&empty=&flag")

    assert found["rawQueryString"] == "a=1&a=2&b=c+d&e=%C3%A9&empty=&flag"
    assert found["queryStringParameters"] == {"a": "1,2", "b": "c d", "e": "é", "empty": "", "flag": ""}


def test_paths_stay_encoded() -> None:
    found = event(path="/a%20b/%C3%A9%2F")

    assert found["rawPath"] == found["requestContext"]["http"]["path"] == "/a%20b/%C3%A9%2F"


def test_headers_are_joined_and_cookies_are_a_list() -> None:
    found = with_headers(("accept", "a"), ("accept", "b"), ("cookie", "x=1; y=2"), ("cookie", "z=3"))

    assert found["headers"]["accept"] == "a,b"
    assert found["cookies"] == ["x=1", "y=2", "z=3"]
    assert "cookie" not in found["headers"]


def test_headers_of_the_connection_are_not_the_functions() -> None:
    found = with_headers(("connection", "close"), ("transfer-encoding", "chunked"), ("expect", "100-continue"))

    assert not {"connection", "transfer-encoding", "expect"} & set(found["headers"])


def test_what_a_proxy_in_front_says_is_kept() -> None:
    found = with_headers(
        ("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https"), ("x-forwarded-port", "443")
    )

    assert found["headers"]["x-forwarded-for"] == "203.0.113.9, 192.0.2.1"
    assert (found["headers"]["x-forwarded-proto"], found["headers"]["x-forwarded-port"]) == ("https", "443")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain; charset=utf-8",
        "application/json",
        "application/xml",
        "application/javascript",
        "application/a+json",
    ],
)
def test_text_is_left_as_it_is(content_type: str) -> None:
    found = with_headers(("content-type", content_type), body="é".encode())

    assert (found["body"], found["isBase64Encoded"]) == ("é", False)


@pytest.mark.parametrize(
    ("content_type", "body", "encoded"),
    [
        ("application/x-www-form-urlencoded", b"a=b", "YT1i"),
        ("multipart/form-data; boundary=x", b"--x", "LS14"),
        ("application/octet-stream", b"abc", "YWJj"),
        ("", b"abc", "YWJj"),
        ("application/json", b"\xff", "/w=="),
    ],
)
def test_what_is_no_text_is_base64(content_type: str, body: bytes, encoded: str) -> None:
    found = with_headers(("content-type", content_type), body=body)

    assert (found["body"], found["isBase64Encoded"]) == (encoded, True)


def test_a_signed_request_tells_who_signed_it_and_hides_the_signature() -> None:
    caller = IamCaller(
        access_key="AKIA", account="000000000000", user_arn="arn:aws:iam::000000000000:root", user_id="u"
    )
    found = with_headers(("authorization", "AWS4-HMAC-SHA256 x"), ("x-amz-date", "d"), caller=caller)

    assert found["requestContext"]["accountId"] == "000000000000"
    assert found["requestContext"]["authorizer"] == {
        "iam": {
            "accessKey": "AKIA",
            "accountId": "000000000000",
            "callerId": "u",
            "cognitoIdentity": None,
            "principalOrgId": None,
            "userArn": "arn:aws:iam::000000000000:root",
            "userId": "u",
        }
    }
    assert "authorization" not in found["headers"]
    assert found["headers"]["x-amz-date"] == "d"
    assert with_headers(("authorization", "Bearer t"))["headers"]["authorization"] == "Bearer t"


def test_a_url_told_by_its_path_has_the_domain_it_would_have_and_names_its_prefix() -> None:
    found = with_headers(prefix=f"/_lambent/url/{URL_ID}")

    assert found["requestContext"]["domainName"] == f"{URL_ID}.lambda-url.eu-west-1.on.aws"
    assert found["headers"]["x-forwarded-prefix"] == f"/_lambent/url/{URL_ID}"
