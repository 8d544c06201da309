"""Function URLs over HTTP: by host and by path, signed and public, buffered and streamed."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from function_url import open_to_all
from lambent.testing.service import RunningService, deploy

CODE = """
import json, time

def handler(event, context):
    wanted = json.loads(event["body"]) if event.get("body") else event
    if "raise" in wanted:
        raise ValueError(wanted["raise"])
    return wanted

def stream(event, context):
    wanted = json.loads(event["body"])
    for piece in wanted["pieces"]:
        yield piece
    if "raise" in wanted:
        raise ValueError(wanted["raise"])
    time.sleep(wanted.get("sleep_s", 0))

def prelude(event, context, response_stream):
    response_stream.start_http(418, {"content-type": "text/plain", "x-a": "b"}, ["c=d", "e=f"])
    for piece in ("a", "b"):
        response_stream.write(piece)
"""
FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for found, value in self.headers if found == name]


@dataclass(frozen=True, slots=True)
class Url:
    """The URL of a function of the service under test; its name need not resolve."""

    function: str
    url: str

    @property
    def host(self) -> str:
        return urllib.parse.urlsplit(self.url).netloc

    @property
    def url_id(self) -> str:
        return self.host.partition(".")[0]

    def ask(
        self, method: str = "GET", path: str = "/", body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", int(self.host.rpartition(":")[2]), timeout=60)
        encoded = json.dumps(body).encode() if body is not None else None
        typed = {"content-type": "application/json"} if body is not None else {}
        connection.request(method, path, encoded, {"host": self.host, **typed, **(headers or {})})
        response = connection.getresponse()
        found = [(name.lower(), value) for name, value in response.getheaders()]
        try:
            return Answer(response.status, found, response.read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def make_url(client: Any) -> Iterator[Callable[..., Url]]:
    names: list[str] = []

    def make(handler: str, *, is_open: bool = True, **config: Any) -> Url:
        name = f"url-{len(names)}"
        names.append(deploy(client, name, CODE, Handler=f"app.{handler}"))
        created = client.create_function_url_config(FunctionName=name, **{"AuthType": "NONE", **config})
        if is_open:
            open_to_all(client, name)
        return Url(name, created["FunctionUrl"])

    yield make
    for name in names:
        client.delete_function(FunctionName=name)


@pytest.fixture(scope="module")
def public(make_url: Callable[..., Url]) -> Url:
    return make_url("handler")


@pytest.fixture(scope="module")
def streaming(make_url: Callable[..., Url]) -> Url:
    return make_url("stream", InvokeMode="RESPONSE_STREAM")


def test_the_function_sees_the_request(public: Url) -> None:
    answer = public.ask("DELETE", "/a%20b?x=1&x=2", headers={"cookie": "c=d; e=f", "x-many": "yes"})
    event = json.loads(answer.body)

    assert answer.status == 200
    assert answer.values("content-type") == ["application/json"]
    assert answer.values("x-amzn-requestid") == [event["requestContext"]["requestId"]]
    assert (event["rawPath"], event["rawQueryString"], event["cookies"]) == ("/a%20b", "x=1&x=2", ["c=d", "e=f"])
    assert event["headers"]["x-many"] == "yes"
    assert event["headers"]["host"] == public.host
    assert event["requestContext"]["http"]["method"] == "DELETE"
    assert event["requestContext"]["domainPrefix"] == public.url_id


def test_the_path_form_leads_to_the_same_function(public: Url, service: RunningService) -> None:
    answer = public.ask(
        "GET", f"/_lambent/url/{public.url_id}/a/b?c=d", headers={"host": service.endpoint_url.partition("//")[2]}
    )
    event = json.loads(answer.body)

    assert (event["rawPath"], event["rawQueryString"]) == ("/a/b", "c=d")
    assert event["headers"]["x-forwarded-prefix"] == f"/_lambent/url/{public.url_id}"


def test_any_domain_that_leads_here_will_do(public: Url) -> None:
    host = f"{public.url_id}.lambda-url.us-east-1.on.aws"
    event = json.loads(public.ask(headers={"host": host}).body)

    assert event["requestContext"]["domainName"] == host


def test_the_function_says_how_to_answer(public: Url) -> None:
    answer = public.ask(
        "POST",
        body={
            "statusCode": 201,
            "headers": {"X-A": "b", "content-type": "text/plain"},
            "cookies": ["c=d", "e=f"],
            "body": "aGVsbG8=",
            "isBase64Encoded": True,
        },
    )

    assert (answer.status, answer.body) == (201, b"hello")
    assert answer.values("x-a") == ["b"]
    assert answer.values("content-type") == ["text/plain"]
    assert answer.values("set-cookie") == ["c=d", "e=f"]


@pytest.mark.parametrize("failure", [{"raise": "no"}, {"statusCode": "two hundred"}, {"statusCode": 200, "body": {}}])
def test_a_function_that_fails_or_makes_no_sense_is_a_bad_gateway(public: Url, failure: object) -> None:
    answer = public.ask("POST", body=failure)

    assert (answer.status, answer.body) == (502, b"Internal Server Error")


def test_an_unknown_url_is_forbidden_without_a_word(public: Url) -> None:
    for answer in (
        public.ask(headers={"host": f"{'a' * 32}.lambda-url.us-east-1.on.aws"}),
        public.ask("GET", f"/_lambent/url/{'a' * 32}/", headers={"host": "127.0.0.1"}),
    ):
        assert (answer.status, json.loads(answer.body)) == (403, {"Message": None})
        assert answer.values("x-amzn-errortype") == ["AccessDeniedException"]


def test_a_request_of_more_than_6_mb_is_refused(public: Url) -> None:
    assert public.ask("POST", body="x" * 6_291_456).status == 413


def test_an_event_is_queued(public: Url, logs: Any) -> None:
    answer = public.ask("POST", body={"print": "queued"}, headers={"x-amz-invocation-type": "Event"})
    assert (answer.status, answer.body) == (202, b"")

    group, pattern = f"/aws/lambda/{public.function}", f'START "{answer.values("x-amzn-requestid")[0]}"'
    while not logs.filter_log_events(logGroupName=group, filterPattern=pattern)["events"]:
        pass  # until it has been delivered; the test's own time limit ends a wait in vain

    too_large = public.ask("POST", body="x" * 1_048_576, headers={"x-amz-invocation-type": "Event"})
    assert too_large.status == 413


def test_without_a_policy_that_says_so_nobody_may_use_a_url(make_url: Callable[..., Url], client: Any) -> None:
    url = make_url("handler", is_open=False)
    assert (url.ask().status, json.loads(url.ask().body)) == (403, {"Message": FORBIDDEN})

    open_to_all(client, url.function)
    assert url.ask().status == 200

    client.remove_permission(FunctionName=url.function, StatementId="invoke")
    assert url.ask().status == 403


def test_a_function_without_concurrency_is_throttled(make_url: Callable[..., Url], client: Any) -> None:
    url = make_url("handler")
    client.put_function_concurrency(FunctionName=url.function, ReservedConcurrentExecutions=0)

    answer = url.ask()
    assert (answer.status, answer.values("x-amzn-errortype")) == (429, ["TooManyRequestsException"])


def test_a_url_that_asks_for_a_signature_knows_who_signed(make_url: Callable[..., Url]) -> None:
    url = make_url("handler", is_open=False, AuthType="AWS_IAM")
    unsigned = url.ask()
    assert (unsigned.status, json.loads(unsigned.body)) == (403, {"Message": FORBIDDEN})

    for service, status in (("lambda", 200), ("execute-api", 403)):
        answer = url.ask("GET", "/who?a=b", headers=signed(url, "/who?a=b", service))
        assert answer.status == status
        if status == 200:
            context = json.loads(answer.body)["requestContext"]
            assert context["accountId"] == "000000000000"
            assert context["authorizer"]["iam"]["accessKey"] == "test"
            assert context["authorizer"]["iam"]["userArn"] == "arn:aws:iam::000000000000:root"


def signed(url: Url, path: str, service: str) -> dict[str, str]:
    request = botocore.awsrequest.AWSRequest("GET", f"http://{url.host}{path}")
    credentials = botocore.credentials.Credentials("test", "test")
    botocore.auth.SigV4Auth(credentials, service, "us-east-1").add_auth(request)
    return dict(request.headers.items())


def test_pages_of_other_origins_are_answered_by_the_platform(make_url: Callable[..., Url]) -> None:
    cors = {"AllowOrigins": ["https://a.example"], "AllowMethods": ["PUT"], "MaxAge": 60}
    url = make_url("handler", Cors=cors)
    asked = {"origin": "https://a.example", "access-control-request-method": "PUT"}

    preflight = url.ask("OPTIONS", headers=asked)
    assert (preflight.status, preflight.body) == (200, b"")
    assert preflight.values("access-control-allow-origin") == ["https://a.example"]
    assert preflight.values("access-control-allow-methods") == ["PUT"]
    refused = url.ask("OPTIONS", headers={**asked, "origin": "https://evil.example"})
    assert not refused.values("access-control-allow-origin")

    said = {"statusCode": 200, "headers": {"access-control-allow-origin": "*"}}
    actual = url.ask("PUT", body=said, headers={"origin": "https://a.example"})
    assert actual.values("access-control-allow-origin") == ["https://a.example"]


def test_without_cors_a_preflight_is_the_functions(public: Url) -> None:
    answer = public.ask("OPTIONS", headers={"origin": "https://a.example"})

    assert json.loads(answer.body)["requestContext"]["http"]["method"] == "OPTIONS"


def test_an_alias_has_its_own_url_and_its_own_policy(make_url: Callable[..., Url], client: Any) -> None:
    function = make_url("handler").function
    client.publish_version(FunctionName=function)
    client.create_alias(FunctionName=function, Name="live", FunctionVersion="1")
    created = client.create_function_url_config(FunctionName=function, Qualifier="live", AuthType="NONE")
    url = Url(function, created["FunctionUrl"])

    assert url.ask().status == 403
    open_to_all(client, f"{function}:live")
    assert url.ask().status == 200


def test_a_stream_arrives_piece_by_piece_while_the_function_runs(streaming: Url) -> None:
    body = json.dumps({"pieces": ["one", "two"], "sleep_s": 60}).encode()
    head = f"POST / HTTP/1.1\r\nhost: {streaming.host}\r\ncontent-type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", int(streaming.host.rpartition(":")[2])), timeout=60) as caller:
        caller.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        received = b""
        while b"3\r\ntwo\r\n" not in received:
            received += caller.recv(65536)
        assert b"HTTP/1.1 200 OK" in received
        assert b"content-type: application/octet-stream" in received
        rest = b""
        while data := caller.recv(65536):  # until the function's timeout cuts the connection
            rest += data
        assert b"0\r\n\r\n" not in rest


def test_a_stream_says_status_headers_and_cookies_first(make_url: Callable[..., Url]) -> None:
    for mode in ("RESPONSE_STREAM", "BUFFERED"):
        answer = make_url("prelude", InvokeMode=mode).ask()

        assert (answer.status, answer.body) == (418, b"ab")
        assert answer.values("x-a") == ["b"]
        assert answer.values("content-type") == ["text/plain"]
        assert answer.values("set-cookie") == ["c=d", "e=f"]


def test_a_stream_that_fails_is_a_bad_gateway_or_cut_off(streaming: Url) -> None:
    early = streaming.ask("POST", body={"pieces": [], "raise": "early"})
    assert (early.status, early.body) == (502, b"Internal Server Error")

    with pytest.raises(http.client.IncompleteRead) as cut:
        streaming.ask("POST", body={"pieces": ["so far"], "raise": "late"})
    assert cut.value.partial == b"so far"


def test_a_prelude_that_makes_no_sense_is_a_bad_gateway(streaming: Url) -> None:
    answer = streaming.ask("POST", body={"pieces": [{"statusCode": "x"}, "body"]})

    assert (answer.status, answer.body) == (502, b"Internal Server Error")


def test_what_a_function_returns_whole_is_streamed_as_it_is(make_url: Callable[..., Url]) -> None:
    answer = make_url("handler", InvokeMode="RESPONSE_STREAM").ask("POST", body={"statusCode": 201})

    assert (answer.status, json.loads(answer.body)) == (200, {"statusCode": 201})


def test_a_function_that_is_gone_takes_its_url_along(client: Any) -> None:
    deploy(client, "short-lived", CODE)
    created = client.create_function_url_config(FunctionName="short-lived", AuthType="NONE")
    url = Url("short-lived", created["FunctionUrl"])
    open_to_all(client, "short-lived")
    assert url.ask().status == 200

    client.delete_function(FunctionName="short-lived")
    assert json.loads(url.ask().body) == {"Message": None}
