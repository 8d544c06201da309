"""What Invoke refuses, in AWS's words (reference/invocation.md §1)."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import botocore.exceptions
import pytest

from lambent.testing.service import RunningService

ARN = "arn:aws:lambda:us-east-1:000000000000:function"


def refusal(call: Callable[[], Any]) -> tuple[int, str, str]:
    with pytest.raises(botocore.exceptions.ClientError) as error:
        call()
    response = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


@pytest.fixture(scope="module")
def echo(client: Any) -> Any:
    from lambent.testing.service import deploy

    code = (
        "def handler(event, context):\n"
        "    c = context.client_context\n"
        "    return {'event': event, 'arn': context.invoked_function_arn, 'version': context.function_version,\n"
        "            'custom': c.custom if c else None}\n"
    )
    name = deploy(client, "echo", code)
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    yield name
    client.delete_function(FunctionName=name)


def test_an_unknown_function_is_named_with_latest(client: Any) -> None:
    assert refusal(lambda: client.invoke(FunctionName="nothing")) == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {ARN}:nothing:$LATEST",
    )


def test_an_unknown_qualifier_is_named(client: Any, echo: str) -> None:
    for qualifier in ("7", "nobody"):
        assert refusal(lambda q=qualifier: client.invoke(FunctionName=echo, Qualifier=q)) == (
            404,
            "ResourceNotFoundException",
            f"Function not found: {ARN}:echo:{qualifier}",
        )


@pytest.mark.parametrize(
    ("name", "qualifier", "arn", "version"),
    [
        ("echo", None, f"{ARN}:echo", "$LATEST"),
        ("echo", "$LATEST", f"{ARN}:echo:$LATEST", "$LATEST"),
        ("echo:1", None, f"{ARN}:echo:1", "1"),
        ("echo", "live", f"{ARN}:echo:live", "1"),
        ("000000000000:function:echo:live", None, f"{ARN}:echo:live", "1"),
        (f"{ARN}:echo", "1", f"{ARN}:echo:1", "1"),
    ],
)
def test_the_context_keeps_what_the_caller_named(
    client: Any, echo: str, name: str, qualifier: str | None, arn: str, version: str
) -> None:
    qualified = {"Qualifier": qualifier} if qualifier else {}

    response = client.invoke(FunctionName=name, **qualified)
    seen = json.loads(response["Payload"].read())

    assert (seen["arn"], seen["version"]) == (arn, version)
    assert response["ExecutedVersion"] == version


def test_two_qualifiers_that_disagree_are_refused(client: Any, echo: str) -> None:
    status, code, message = refusal(lambda: client.invoke(FunctionName="echo:live", Qualifier="1"))

    assert (status, code) == (400, "InvalidParameterValueException")
    assert message == "The derived qualifier from the function name does not match the specified qualifier."


def test_another_regions_arn_is_not_reachable(client: Any) -> None:
    arn = "arn:aws:lambda:eu-west-1:000000000000:function:echo"

    assert refusal(lambda: client.invoke(FunctionName=arn)) == (
        404,
        "ResourceNotFoundException",
        "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
    )


def test_a_payload_that_is_no_json_is_refused(client: Any, echo: str) -> None:
    status, code, message = refusal(lambda: client.invoke(FunctionName=echo, Payload=b"{nope"))

    assert (status, code) == (400, "InvalidRequestContentException")
    assert message.startswith("Could not parse request body into json: Could not parse payload into json: ")


@pytest.mark.parametrize("payload", [b'"\\ud800"', b'["\\uDC00", "\\ud83d\\ude00"]', b'"\\\\\\udfff"'])
def test_half_a_surrogate_pair_is_json_and_half_an_escape_is_not(client: Any, echo: str, payload: bytes) -> None:
    assert json.loads(client.invoke(FunctionName=echo, Payload=payload)["Payload"].read())["event"] == json.loads(
        payload
    )
    broken = payload.replace(b'"', b'"\\u12', 1)
    assert refusal(lambda: client.invoke(FunctionName=echo, Payload=broken))[:2] == (
        400,
        "InvalidRequestContentException",
    )


def test_an_empty_payload_becomes_an_empty_object(client: Any, echo: str) -> None:
    assert json.loads(client.invoke(FunctionName=echo)["Payload"].read())["event"] == {}


def test_a_payload_above_six_megabytes_is_refused(client: Any, echo: str) -> None:
    assert refusal(lambda: client.invoke(FunctionName=echo, Payload=b'"' + b"x" * 6_291_456 + b'"')) == (
        413,
        "RequestEntityTooLargeException",
        "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
    )


def test_a_dry_run_answers_204_and_runs_nothing(client: Any, echo: str) -> None:
    assert client.invoke(FunctionName=echo, InvocationType="DryRun")["StatusCode"] == 204


def test_the_client_context_reaches_the_handler_decoded(client: Any, echo: str) -> None:
    context = base64.b64encode(json.dumps({"custom": {"key": "välue"}, "client": {}}).encode()).decode()

    response = client.invoke(FunctionName=echo, ClientContext=context)

    assert json.loads(response["Payload"].read())["custom"] == {"key": "välue"}


def test_headers_of_a_synchronous_answer(client: Any, echo: str) -> None:
    headers = client.invoke(FunctionName=echo)["ResponseMetadata"]["HTTPHeaders"]

    assert headers["content-type"] == "application/json"
    assert headers["x-amz-executed-version"] == "$LATEST"
    assert headers["x-amzn-remapped-content-length"] == "0"
    assert headers["x-amzn-trace-id"].startswith("Root=1-")
    assert len(headers["x-amzn-requestid"]) == 36


def test_an_xml_payload_is_an_unsupported_media_type(service: RunningService, echo: str) -> None:
    request = urllib.request.Request(
        f"{service.endpoint_url}/2015-03-31/functions/echo/invocations",
        data=b"{}",
        headers={"Content-Type": "text/xml"},
    )
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request)
    assert error.value.code == 415
    assert error.value.headers["x-amzn-errortype"].startswith("UnsupportedMediaTypeException")
    error.value.close()


def test_reserved_concurrency_of_zero_throttles_with_its_reason(client: Any, echo: str) -> None:
    client.put_function_concurrency(FunctionName=echo, ReservedConcurrentExecutions=0)
    try:
        with pytest.raises(botocore.exceptions.ClientError) as error:
            client.invoke(FunctionName=echo)
    finally:
        client.delete_function_concurrency(FunctionName=echo)
    response = error.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert response["Error"]["Code"] == "TooManyRequestsException"
    assert response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert response["Error"]["Message"] == "Rate Exceeded."
    assert response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    client.invoke(FunctionName=echo)
