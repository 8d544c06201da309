"""Whom an invoke without parameters is for is read from its path once; all else goes the long way."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lambent.frontend.plain_invokes import PlainInvokes
from lambent.model.arn import FunctionArn
from lambent.spec.service import load

ACCOUNT, REGION = "000000000000", "eu-west-1"
PATH = "/2015-03-31/functions/{}/invocations"
F = FunctionArn(REGION, ACCOUNT, "f")


def named(
    path: str = PATH.format("f"), *, method: str = "POST", query: str = "", headers: Mapping[str, str] | None = None
) -> FunctionArn | None:
    plain = PlainInvokes(load("lambda"))
    first, second = (
        plain.function(method, path, query, headers or {}, account=ACCOUNT, region=REGION) for _ in range(2)
    )
    assert first == second
    return first


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("f", F),
        ("f:live", F.qualified("live")),
        ("f%3A7", F.qualified("7")),
        (f"{ACCOUNT}:function:f", F),
        (f"arn%3Aaws%3Alambda%3A{REGION}%3A{ACCOUNT}%3Afunction%3Af", F),
    ],
)
def test_the_path_names_the_function(name: str, function: FunctionArn) -> None:
    assert named(PATH.format(name)) == function


@pytest.mark.parametrize("header", ["host", "authorization", "x-amz-date", "x-amzn-trace-id", "x-amz-security-token"])
def test_headers_that_are_no_parameters_change_nothing(header: str) -> None:
    assert named(headers={header: "any"}) == F
    assert named(headers={"content-type": "application/json"}) == F


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-invocation-type": "Event"},
        {"x-amz-invocation-type": "RequestResponse"},
        {"x-amz-log-type": "Tail"},
        {"x-amz-client-context": "e30="},
        {"x-amz-durable-execution-name": "one"},
        {"x-amz-tenant-id": "one"},
        {"content-type": "Text/Plain"},
    ],
)
def test_one_with_parameters_or_of_another_type_goes_the_long_way(headers: Mapping[str, str]) -> None:
    assert named(headers=headers) is None


def test_so_does_one_that_is_something_else_or_must_be_refused() -> None:
    assert named(query="Qualifier=live") is None
    assert named(method="GET") is None
    assert named("/2015-03-31/functions") is None
    assert named("/2014-11-13/functions/f/invoke-async") is None
    assert named("/nowhere") is None
    assert named(PATH.format("no%20name")) is None
    assert named(PATH.format("x" * 300)) is None
    assert named(PATH.format("111111111111:function:f")) is None
    assert named(PATH.format("arn:aws:lambda:us-east-2:000000000000:function:f")) is None


def test_each_account_and_region_names_its_own() -> None:
    plain = PlainInvokes(load("lambda"))
    for account in ("000000000000", "111111111111"):
        for region in ("eu-west-1", "us-east-1"):
            found = plain.function("POST", PATH.format("f"), "", {}, account=account, region=region)
            assert found == FunctionArn(region, account, "f")
