"""Asynchronous invokes over the wire, to the end: events, their outcomes in moto's SQS and S3, and the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import botocore.exceptions
import botocore.session
import pytest

from lambent.testing.service import RunningService, deploy, running_service

ACCOUNT = "000000000000"
DEADLINE_S = 30

CODE = """
import json, os, time
def handler(event, context):
    if event.get("fail"):
        raise ValueError("boom")
    time.sleep(event.get("sleep_s", 0))
    if event.get("exit"):
        os._exit(1)
    return {"id": context.aws_request_id, "trace": os.environ["_X_AMZN_TRACE_ID"], "custom": context.client_context}
"""


@pytest.fixture(scope="module")
def keyed(moto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A server that checks signatures and knows SQS and S3, but not SNS."""
    if os.geteuid() != 0:
        pytest.skip("real sandboxes are tested as root")
    data_dir = tmp_path_factory.mktemp("events") / "data"
    endpoints = ("--endpoint", f"sqs={moto}", "--endpoint", f"s3={moto}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        with running_service(data_dir, "--egress", "none", "--auth", "enforce", *endpoints) as running:
            yield running


@pytest.fixture(scope="module")
def key(keyed: RunningService) -> tuple[str, str]:
    found = json.loads((keyed.data_dir / "root-key.json").read_text())
    return found["access_key_id"], found["secret_access_key"]


@pytest.fixture(scope="module")
def owner(keyed: RunningService, key: tuple[str, str]) -> Any:
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    keyed.client("iam", access_key=key[0], secret_key=key[1]).create_role(
        RoleName="lambda-role",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )
    return keyed.client("lambda", access_key=key[0], secret_key=key[1])


@pytest.fixture(scope="module")
def worked(owner: Any, peer: Any) -> Iterator[str]:
    """A function whose successes go to the queue `done`; its failures, without retries, to a bucket and a queue."""
    for name in ("done", "dead"):
        peer("sqs").create_queue(QueueName=name)
    peer("s3").create_bucket(Bucket="failures")
    dead = f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead"
    name = deploy(owner, "worked", CODE, DeadLetterConfig={"TargetArn": dead})
    owner.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=0,
        DestinationConfig={
            "OnSuccess": {"Destination": f"arn:aws:sqs:us-east-1:{ACCOUNT}:done"},
            "OnFailure": {"Destination": "arn:aws:s3:::failures"},
        },
    )
    return name


@pytest.fixture(scope="module")
def broken(owner: Any, peer: Any) -> str:
    """A function of one second whose failures go to the queue of its name."""
    peer("sqs").create_queue(QueueName="broken")
    name = deploy(owner, "broken", CODE, Timeout=1)
    target = {"Destination": f"arn:aws:sqs:us-east-1:{ACCOUNT}:broken"}
    owner.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": target}
    )
    return name


def received(peer: Any, queue: str) -> dict[str, Any]:
    url = peer("sqs").get_queue_url(QueueName=queue)["QueueUrl"]
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        response = peer("sqs").receive_message(QueueUrl=url, MessageAttributeNames=["All"], WaitTimeSeconds=1)
        for message in response.get("Messages", []):
            peer("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return dict(message)
    raise AssertionError(f"nothing arrived in {queue}")


def refusal(call: Callable[[], Any]) -> tuple[int, str, str]:
    with pytest.raises(botocore.exceptions.ClientError) as error:
        call()
    response = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def test_an_event_is_answered_202_and_runs_under_the_request_id_that_was_told(
    owner: Any, worked: str, peer: Any
) -> None:
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"
    owner.meta.events.register_first(
        "before-call.lambda.Invoke", lambda params, **_: params["headers"].update({"X-Amzn-Trace-Id": trace}), "trace"
    )
    answer = owner.invoke(FunctionName=worked, InvocationType="Event", Payload=b'{"a": 1}', ClientContext="e30=")
    owner.meta.events.unregister("before-call.lambda.Invoke", unique_id="trace")

    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
    assert "ExecutedVersion" not in answer
    record = json.loads(received(peer, "done")["Body"])
    assert record["requestContext"]["requestId"] == answer["ResponseMetadata"]["RequestId"]
    assert record["requestContext"]["condition"] == "Success"
    assert record["requestPayload"] == {"a": 1}
    said = record["responsePayload"]
    assert (said["id"], said["custom"]) == (answer["ResponseMetadata"]["RequestId"], None)
    assert said["trace"].startswith(f"{trace};Lineage=1:")


def test_invoke_async_is_the_same_by_another_name(owner: Any, worked: str, peer: Any) -> None:
    assert owner.invoke_async(FunctionName=worked, InvokeArgs=b'{"old": true}')["Status"] == 202
    assert json.loads(received(peer, "done")["Body"])["requestPayload"] == {"old": True}


def test_a_failure_is_a_dead_letter_and_a_record_in_the_bucket(owner: Any, worked: str, peer: Any) -> None:
    request_id = owner.invoke(FunctionName=worked, InvocationType="Event", Payload=b'{"fail": true}')[
        "ResponseMetadata"
    ]["RequestId"]

    letter = received(peer, "dead")
    assert letter["Body"] == '{"fail": true}'
    attributes = {name: one["StringValue"] for name, one in letter["MessageAttributes"].items()}
    assert attributes == {"RequestID": request_id, "ErrorCode": "200", "ErrorMessage": "boom"}
    deadline = time.monotonic() + DEADLINE_S
    while not (found := peer("s3").list_objects_v2(Bucket="failures").get("Contents")):
        assert time.monotonic() < deadline
    assert found[0]["Key"].startswith("aws/lambda/async/worked/20")
    record = json.loads(peer("s3").get_object(Bucket="failures", Key=found[0]["Key"])["Body"].read())
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}


@pytest.mark.parametrize(
    ("event", "error_type"), [({"sleep_s": 30}, "Sandbox.Timedout"), ({"exit": True}, "Runtime.ExitError")]
)
def test_a_timeout_and_a_process_that_ends_are_failures_too(
    owner: Any, broken: str, peer: Any, event: dict[str, Any], error_type: str
) -> None:
    owner.invoke(FunctionName=broken, InvocationType="Event", Payload=json.dumps(event))

    record = json.loads(received(peer, "broken")["Body"])
    assert (record["requestPayload"], record["requestContext"]["condition"]) == (event, "RetriesExhausted")
    assert record["requestContext"]["approximateInvokeCount"] == 1
    assert record["responsePayload"]["errorType"] == error_type


def test_what_a_synchronous_invoke_would_be_refused_an_event_is_too(owner: Any, worked: str) -> None:
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function"

    assert refusal(lambda: owner.invoke(FunctionName="nothing", InvocationType="Event")) == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {arn}:nothing:$LATEST",
    )
    status, code, _ = refusal(lambda: owner.invoke(FunctionName=worked, InvocationType="Event", Payload=b"{"))
    assert (status, code) == (400, "InvalidRequestContentException")


def test_an_event_may_have_one_megabyte_and_an_old_one_a_quarter(owner: Any) -> None:
    worked = deploy(owner, "large", CODE)
    largest = json.dumps({"x": "x" * (1024 * 1024 - 9)}).encode()
    quarter = json.dumps({"x": "x" * (256 * 1024 - 9)}).encode()

    assert owner.invoke(FunctionName=worked, InvocationType="Event", Payload=largest)["StatusCode"] == 202
    assert owner.invoke_async(FunctionName=worked, InvokeArgs=quarter)["Status"] == 202
    assert refusal(lambda: owner.invoke(FunctionName=worked, InvocationType="Event", Payload=largest + b" ")) == (
        413,
        "RequestEntityTooLargeException",
        "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)",
    )
    status, _, _ = refusal(lambda: owner.invoke_async(FunctionName=worked, InvokeArgs=quarter + b" "))
    assert status == 413


def test_a_call_deep_in_a_recursive_loop_is_refused(owner: Any, worked: str) -> None:
    first = json.loads(owner.invoke(FunctionName=worked)["Payload"].read())["trace"]
    deep = first.removesuffix(":0") + ":15"
    owner.meta.events.register_first(
        "before-call.lambda.Invoke", lambda params, **_: params["headers"].update({"X-Amzn-Trace-Id": deep}), "deep"
    )
    try:
        status, code, _ = refusal(lambda: owner.invoke(FunctionName=worked))
        assert (status, code) == (400, "RecursiveInvocationException")
        owner.put_function_recursion_config(FunctionName=worked, RecursiveLoop="Allow")
        assert owner.invoke(FunctionName=worked)["StatusCode"] == 200
    finally:
        owner.meta.events.unregister("before-call.lambda.Invoke", unique_id="deep")
        owner.put_function_recursion_config(FunctionName=worked, RecursiveLoop="Terminate")


def test_an_outcome_without_an_endpoint_is_shown_redriven_and_dropped(
    keyed: RunningService, key: tuple[str, str], owner: Any
) -> None:
    name = deploy(owner, "untold", CODE)
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:topic"
    owner.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": topic}})
    owner.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"a": 1}')
    environment = keyed.environment() | {"AWS_ACCESS_KEY_ID": key[0], "AWS_SECRET_ACCESS_KEY": key[1]}

    def events(*arguments: str) -> Any:
        command = [sys.executable, "-m", "lambent", "events", *arguments, "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    deadline = time.monotonic() + DEADLINE_S
    while not (listed := events("list", "--function", name)) or listed[0]["state"] != "Parked":
        assert time.monotonic() < deadline
    (waiting,) = listed
    assert (waiting["recipient"], waiting["target"]) == ("OnSuccess", topic)
    assert "--endpoint sns=URL" in waiting["reason"]
    shown = events("show", str(waiting["id"]))
    assert json.loads(shown["body"])["requestPayload"] == {"a": 1}
    assert events("redrive", "--function", name) == {"redriven": 1}
    while events("list", "--function", name)[0]["state"] != "Parked":
        assert time.monotonic() < deadline
    assert events("statistics")["waiting_outcomes"] == 1
    assert events("drop", str(waiting["id"])) == {"id": waiting["id"]}
    assert events("list", "--function", name) == []


@pytest.mark.parametrize(("method", "path"), [("GET", "events"), ("POST", "events/redrive"), ("DELETE", "events/1")])
def test_waiting_events_are_seen_and_steered_only_with_a_signature(
    keyed: RunningService, method: str, path: str
) -> None:
    request = urllib.request.Request(f"{keyed.endpoint_url}/_lambent/{path}", method=method)

    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request)
    assert error.value.code == 403
    error.value.close()
