"""Code from S3-compatible stores: moto answers as S3 does; a small server does what S3 would not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from lambent.adapters.http import code_source
from lambent.adapters.http.code_source import S3CodeSource
from lambent.model.errors import InvalidParameterValue, ServiceError

KEY = "päckages/a b+c%20=&?#~.zip"


@pytest.fixture
async def source(moto: str) -> AsyncIterator[S3CodeSource]:
    async with S3CodeSource(f"{moto}/", access_key="key", secret_key="secret") as opened:
        yield opened


@pytest.fixture(scope="module")
def versions(peer: Callable[..., Any]) -> list[str]:
    """A bucket that holds two versions of one object."""
    s3 = peer("s3")
    s3.create_bucket(Bucket="code")
    s3.put_bucket_versioning(Bucket="code", VersioningConfiguration={"Status": "Enabled"})
    return [s3.put_object(Bucket="code", Key=KEY, Body=body)["VersionId"] for body in (b"one", b"two")]


async def test_an_object_is_fetched_whatever_its_key(source: S3CodeSource, versions: list[str]) -> None:
    assert await source.fetch("code", KEY, version=None, region="us-east-1") == b"two"


async def test_one_version_of_an_object_is_fetched(source: S3CodeSource, versions: list[str]) -> None:
    assert await source.fetch("code", KEY, version=versions[0], region="us-east-1") == b"one"


@pytest.mark.parametrize(
    ("bucket", "reason"),
    [
        ("nowhere", "S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not exist"),
        ("code", "S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist."),
    ],
)
async def test_what_is_not_there_is_told_in_awss_words(
    source: S3CodeSource, versions: list[str], bucket: str, reason: str
) -> None:
    with pytest.raises(InvalidParameterValue) as refused:
        await source.fetch(bucket, "absent", version=None, region="us-east-1")
    assert refused.value.message == f"Error occurred while GetObject. {reason}"


async def test_without_an_endpoint_the_option_is_named() -> None:
    async with S3CodeSource(None) as source:
        with pytest.raises(InvalidParameterValue, match=r"Start it with --endpoint s3=URL"):
            await source.fetch("b", "k", version=None, region="us-east-1")


async def test_an_endpoint_that_does_not_answer_is_our_trouble_and_named() -> None:
    async with S3CodeSource("http://127.0.0.1:1") as source:
        with pytest.raises(ServiceError, match=r"http://127\.0\.0\.1:1 did not answer"):
            await source.fetch("b", "k", version=None, region="us-east-1")


@pytest.fixture
async def odd_store() -> AsyncIterator[str]:
    """Redirects one bucket, streams another without an end that matters, and fails without a reason."""

    async def answer(request: web.Request) -> web.StreamResponse:
        match request.match_info["bucket"]:
            case "moved":
                return web.Response(status=307, headers={"Location": "http://127.0.0.1:1/elsewhere"})
            case "endless":
                return web.Response(body=bytes(1_001))
            case "anonymous":
                return web.Response(body=b"signed" if "Authorization" in request.headers else b"unsigned")
        return web.Response(status=503, text="<html>busy</html>")

    application = web.Application()
    application.router.add_get("/{bucket}/{key}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


async def test_more_than_any_package_may_be_is_not_read_to_its_end(
    odd_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_source, "UNZIPPED_CODE_BYTES", 1_000)
    async with S3CodeSource(odd_store) as source:
        with pytest.raises(InvalidParameterValue, match="Unzipped size must be smaller than 262144000 bytes"):
            await source.fetch("endless", "k", version=None, region="us-east-1")


@pytest.mark.parametrize(("bucket", "status"), [("moved", 307), ("broken", 503)])
async def test_an_answer_without_a_reason_is_told_by_its_status_and_never_followed(
    odd_store: str, bucket: str, status: int
) -> None:
    async with S3CodeSource(odd_store) as source:
        with pytest.raises(InvalidParameterValue, match=f"S3 Error Code: HTTP {status}"):
            await source.fetch(bucket, "k", version=None, region="us-east-1")


async def test_requests_are_signed_only_where_there_is_a_key(odd_store: str) -> None:
    async with S3CodeSource(odd_store) as source:
        assert await source.fetch("anonymous", "k", version=None, region="us-east-1") == b"unsigned"
    async with S3CodeSource(odd_store, access_key="a", secret_key="b") as source:
        assert await source.fetch("anonymous", "k", version=None, region="us-east-1") == b"signed"
