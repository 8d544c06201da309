"""AWS's services as a function finds them: told apart, passed on as they came, or refused in the client's protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import boto3
import pytest
from aiohttp import web
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from lambent.http.server import Server
from lambent.worker import aws_endpoint
from lambent.worker.aws_endpoint import AwsEndpoint


class Upstream:
    """A server that tells what it was sent."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes, dict[str, str], bytes]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((request.method, request.raw_path.encode(), headers, body))
        return web.Response(status=418, body=b"answer", headers={"x-from": "upstream", "keep-alive": "timeout=1"})


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", upstream.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    upstream.url = f"http://{host}:{port}"
    yield upstream
    await runner.cleanup()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    """Starts an endpoint, and returns its URL; what is Lambent's own is answered with its path."""
    async with AsyncExitStack() as stack:

        async def start(**endpoints: str) -> str:
            endpoint = AwsEndpoint({name.replace("any", "*"): url for name, url in endpoints.items()})
            endpoint.own = lambda exchange: exchange.respond(200, (), b"own:" + exchange.path + exchange.body)
            await stack.enter_async_context(endpoint)
            server = await stack.enter_async_context(Server(endpoint.handle, streams=endpoint.streams))
            return f"http://127.0.0.1:{(await server.listen('127.0.0.1', 0)).port}"

        yield start


async def request(url: str, *, method: str = "POST", body: bytes = b"body", **headers: str) -> tuple[int, bytes, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession(skip_auto_headers=("Content-Type", "User-Agent")) as session,
        session.request(method, url, data=body or None, headers=named) as answer,
    ):
        return answer.status, await answer.read(), answer.headers


SIGNED = "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"


def scope(service: str) -> str:
    return (
        f"AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )


async def test_what_is_lambents_own_goes_to_its_gateway(serve: Callable[..., Any], upstream: Upstream) -> None:
    url = await serve(any=upstream.url)

    for service in ("lambda", "logs", "sts", "iam"):
        status, body, _ = await request(f"{url}/x", authorization=scope(service))
        assert (status, body) == (200, b"own:/xbody")
    assert (await request(f"{url}/_lambent/code/0/x?Signature=s", method="GET", body=b""))[
        1
    ] == b"own:/_lambent/code/0/x"
    assert (await request(f"{url}/_lambent/environments", authorization=scope("lambda")))[0] == 404
    assert upstream.requests == []


async def test_what_is_large_reaches_the_gateway_whole_as_far_as_there_is_room(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws_endpoint, "_ROOM_BYTES", 1_000_000)
    url = await serve()

    answers = await asyncio.gather(
        *(request(f"{url}/x", body=bytes(600_000), authorization=scope("lambda")) for _ in range(4))
    )
    assert [(status, len(body)) for status, body, _ in answers] == [(200, 600_006)] * 4
    monkeypatch.setattr(aws_endpoint, "_LARGEST_BYTES", 500_000)
    status, body, _ = await request(f"{url}/x", body=bytes(600_000), authorization=scope("lambda"))
    assert (status, json.loads(body)) == (413, {"message": "At most 500000 bytes can be sent"})


@pytest.mark.parametrize(
    ("framing", "status"), [("content-length: 600000", b"408"), ("transfer-encoding: chunked", b"411")]
)
async def test_a_large_request_must_arrive_and_tell_its_length(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, framing: str, status: bytes
) -> None:
    monkeypatch.setattr(aws_endpoint, "_COLLECTING_S", 0.05)
    host, _, port = (await serve()).removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST /x HTTP/1.1\r\nhost: h\r\nauthorization: {scope('lambda')}\r\n{framing}\r\n\r\n1".encode())

    assert (await reader.readline()).split()[1] == status
    writer.close()


async def test_all_else_is_passed_on_as_it_came(serve: Callable[..., Any], upstream: Upstream) -> None:
    url = await serve(sqs=f"{upstream.url}/base")

    status, body, headers = await request(
        f"{url}/a%2Fb?q=1%202", authorization=scope("sqs"), host="sqs.us-east-1.amazonaws.com", x_amz_meta="1"
    )

    assert (status, body, headers["x-from"]) == (418, b"answer", "upstream")
    assert headers["Content-Length"] == "6"
    assert len(headers.getall("Date")) == 1
    assert "keep-alive" not in headers
    ((method, path, sent, payload),) = upstream.requests
    assert (method, path, payload) == ("POST", b"/base/a%2Fb?q=1%202", b"body")
    assert sent["host"] == "sqs.us-east-1.amazonaws.com"
    assert (sent["authorization"], sent["x-amz-meta"], sent["content-length"]) == (scope("sqs"), "1", "4")


@pytest.mark.parametrize(
    ("query", "headers", "service"),
    [
        ("", {"authorization": scope("dynamodb")}, "dynamodb"),
        ("?X-Amz-Credential=AKID%2F20260101%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Signature=0", {}, "s3"),
        ("", {"authorization": "AWS4-ECDSA-P256-SHA256 Credential=AKID/20260101/events/aws4_request, x"}, "events"),
        ("", {}, "s3"),
        ("?AWSAccessKeyId=a&Signature=b&Expires=1", {}, "s3"),
        ("", {"x-amz-target": "AWSCognitoIdentityProviderService.SignUp"}, "unknown"),
        ("", {"content-type": "application/x-www-form-urlencoded"}, "unknown"),
    ],
)
async def test_a_service_is_told_by_its_signature(
    serve: Callable[..., Any], query: str, headers: dict[str, str], service: str
) -> None:
    url = await serve()

    status, body, _ = await request(f"{url}/{query}", **headers)
    assert status == 400
    assert f"Lambent has no endpoint for the service {service}" in body.decode()


async def test_a_star_stands_for_every_service_that_is_not_named(serve: Callable[..., Any], upstream: Upstream) -> None:
    url = await serve(any=upstream.url, s3="http://127.0.0.1:1")

    assert (await request(url, authorization=scope("sns")))[0] == 418
    assert (await request(url, authorization=scope("s3")))[0] == 503


CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("s3", "list_buckets", {}),
    ("s3", "put_object", {"Bucket": "b", "Key": "k", "Body": b"x" * 1_000_000}),
    ("sqs", "list_queues", {}),
    ("sns", "list_topics", {}),
    ("dynamodb", "list_tables", {}),
    ("ec2", "describe_vpcs", {}),
    ("apigateway", "get_rest_apis", {}),
    ("route53", "list_hosted_zones", {}),
    ("cloudwatch", "list_metrics", {}),
    ("events", "list_rules", {}),
]


@pytest.mark.parametrize(("service", "operation", "parameters"), CALLS)
async def test_a_service_without_an_endpoint_says_so_in_its_own_protocol(
    serve: Callable[..., Any], service: str, operation: str, parameters: dict[str, Any]
) -> None:
    client = client_of(service, await serve())

    with pytest.raises(ClientError) as refused:
        await asyncio.to_thread(getattr(client, operation), **parameters)
    signed_as = {"cloudwatch": "monitoring"}.get(service, service)
    assert refused.value.response["Error"]["Code"] == "EndpointNotConfigured"
    assert refused.value.response["Error"]["Message"] == (
        f"Lambent has no endpoint for the service {signed_as}: start it with --endpoint {signed_as}=URL or "
        "--endpoint '*'=URL"
    )


async def test_an_endpoint_that_is_not_there_is_named(serve: Callable[..., Any]) -> None:
    client = client_of("sqs", await serve(sqs="http://127.0.0.1:1"))

    with pytest.raises(ClientError) as refused:
        await asyncio.to_thread(client.list_queues)
    assert refused.value.response["Error"]["Code"] == "ServiceUnavailable"
    assert "The endpoint of sqs, http://127.0.0.1:1, cannot be reached" in refused.value.response["Error"]["Message"]


async def test_an_answer_that_breaks_off_does_not_look_whole(serve: Callable[..., Any]) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        writer.close()

    server = await asyncio.start_server(half, "127.0.0.1", 0)
    async with server:
        url = await serve(s3=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(aiohttp.ClientPayloadError, match="received 4 of 10 bytes"):
            await request(url, method="GET", body=b"")


async def test_a_request_is_given_up_when_the_function_is_gone(serve: Callable[..., Any]) -> None:
    came, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        came.set()
        await reader.read()
        gone.set()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        url = await serve(s3=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        asking = asyncio.create_task(request(url, method="GET", body=b""))
        await came.wait()
        asking.cancel()
        await gone.wait()


async def test_boto3_uses_s3_through_it(serve: Callable[..., Any], moto: str) -> None:
    url = await serve(s3=moto)
    s3 = client_of("s3", url)

    def use() -> tuple[bytes, int, bytes]:
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="a b/ü", Body=b"content", ACL="public-read")
        head = s3.head_object(Bucket="bucket", Key="a b/ü")
        s3.put_object(Bucket="bucket", Key="empty", Body=b"")
        anonymous = client_of("s3", url, signature_version=UNSIGNED).get_object(Bucket="bucket", Key="a b/ü")
        read = s3.get_object(Bucket="bucket", Key="a b/ü")["Body"].read()
        assert s3.get_object(Bucket="bucket", Key="empty")["Body"].read() == b""
        s3.delete_object(Bucket="bucket", Key="a b/ü")
        return read, head["ContentLength"], anonymous["Body"].read()

    assert await asyncio.to_thread(use) == (b"content", 7, b"content")


def client_of(service: str, url: str, **config: Any) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, **config),
    )
