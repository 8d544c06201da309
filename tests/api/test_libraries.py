"""Libraries that functions are built with, unmodified: Powertools for AWS Lambda, and Chalice."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from typing import Any

import pytest

from lambent.testing.packages import vendored
from lambent.testing.service import deploy, make_zip

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"

POWERTOOLS = """
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger(service="orders")
metrics = Metrics(namespace="Shop", service="orders")
tracer = Tracer(service="orders", disabled=True)

@tracer.capture_method
def price(item):
    return len(item)

@logger.inject_lambda_context(log_event=True)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler
def handler(event, context):
    metrics.add_metric(name="Orders", unit=MetricUnit.Count, value=1)
    logger.info("taken", item=event["item"])
    return {"price": price(event["item"])}
"""

CHALICE = """
from chalice import Chalice, BadRequestError, Response

app = Chalice(app_name="shop")

@app.route("/items/{name}", methods=["GET"], cors=True)
def item(name):
    if name == "none":
        raise BadRequestError("no such item")
    return {"name": name, "query": app.current_request.query_params}

@app.route("/text", methods=["POST"], content_types=["text/plain"])
def text():
    return Response(body=app.current_request.raw_body.decode().upper(), headers={"content-type": "text/plain"})

@app.lambda_function()
def plain(event, context):
    return [event, context.function_name]
"""


@pytest.fixture(scope="module")
def powertools(client: Any) -> Iterator[str]:
    package = make_zip({**vendored("aws-lambda-powertools"), **vendored("aws-xray-sdk"), "app.py": POWERTOOLS})
    deploy(client, "powertools", package, Runtime=RUNTIME, Timeout=30, MemorySize=512)
    yield "powertools"
    client.delete_function(FunctionName="powertools")


@pytest.fixture(scope="module")
def chalice(client: Any) -> Iterator[str]:
    files = {
        str(file): file.locate().read_bytes() for file in distribution("chalice").files or () if file.suffix != ".pyc"
    }
    package = make_zip(
        {**{path: text for path, text in files.items() if path.startswith("chalice/")}, "app.py": CHALICE}
    )
    for name in ("app", "plain"):
        deploy(client, f"chalice-{name}", package, Runtime=RUNTIME, Handler=f"app.{name}", Timeout=30, MemorySize=512)
    yield "chalice"
    for name in ("app", "plain"):
        client.delete_function(FunctionName=f"chalice-{name}")


def logged(response: Any) -> list[dict[str, Any]]:
    """The JSON lines of a log tail."""
    lines = base64.b64decode(response["LogResult"]).decode().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def proxied(client: Any, method: str, resource: str, **event: Any) -> Any:
    """What Chalice answers to a REST API's event."""
    request = {
        "resource": resource,
        "path": resource,
        "pathParameters": None,
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "headers": {},
        "stageVariables": None,
        "body": None,
        "isBase64Encoded": False,
        "requestContext": {"httpMethod": method, "resourcePath": resource, "identity": {}, "path": resource},
        **event,
    }
    answer = client.invoke(FunctionName="chalice-app", Payload=json.dumps(request))
    return json.loads(answer["Payload"].read())


def test_powertools_log_in_their_own_structure_with_the_context(client: Any, powertools: str) -> None:
    response = client.invoke(FunctionName=powertools, LogType="Tail", Payload=b'{"item": "pear"}')

    assert json.loads(response["Payload"].read()) == {"price": 4}
    taken = next(line for line in logged(response) if line.get("message") == "taken")
    assert taken["item"] == "pear"
    assert taken["service"] == "orders"
    assert taken["function_name"] == powertools
    assert taken["function_memory_size"] == "512"
    assert taken["function_request_id"] == response["ResponseMetadata"]["RequestId"]


def test_powertools_metrics_are_embedded_in_the_log(client: Any, powertools: str) -> None:
    response = client.invoke(FunctionName=powertools, LogType="Tail", Payload=b'{"item": "fig"}')

    [orders] = [line for line in logged(response) if "Orders" in line]
    assert orders["Orders"] == [1.0]
    assert orders["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Shop"


def test_chalice_routes_requests(client: Any, chalice: str) -> None:
    answer = proxied(
        client,
        "GET",
        "/items/{name}",
        pathParameters={"name": "pear"},
        multiValueQueryStringParameters={"colour": ["green"]},
    )

    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"name": "pear", "query": {"colour": "green"}})
    assert answer["headers"]["Access-Control-Allow-Origin"] == "*"


def test_chalice_turns_its_errors_into_answers(client: Any, chalice: str) -> None:
    answer = proxied(client, "GET", "/items/{name}", pathParameters={"name": "none"})

    assert answer["statusCode"] == 400
    assert json.loads(answer["body"])["Code"] == "BadRequestError"


def test_chalice_reads_bodies(client: Any, chalice: str) -> None:
    answer = proxied(client, "POST", "/text", body="pear", headers={"content-type": "text/plain"})

    assert (answer["statusCode"], answer["body"]) == (200, "PEAR")


def test_a_plain_function_of_chalice_is_invoked(client: Any, chalice: str) -> None:
    response = client.invoke(FunctionName="chalice-plain", Payload=b'{"a": 1}')

    assert json.loads(response["Payload"].read()) == [{"a": 1}, "chalice-plain"]
