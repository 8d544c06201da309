"""InvokeWithResponseStream through boto3, and Invoke of functions that stream."""

from __future__ import annotations

import json
import os
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

CODE = """
import os, sys, time

def handler(event, context):
    print("streaming")
    for piece in event.get("pieces", ()):
        yield piece
    if "raise" in event:
        raise ValueError(event["raise"])
    if "exit" in event:
        os._exit(event["exit"])
    time.sleep(event.get("sleep_s", 0))
    for _ in range(event.get("mib", 0)):
        yield bytes(1024 * 1024)

def buffered(event, context):
    if "raise" in event:
        raise ValueError(event["raise"])
    return event
"""

Stream = Callable[..., tuple[list[bytes], dict[str, Any], dict[str, Any]]]


@pytest.fixture
def stream(client: Any) -> Stream:
    """Invokes and reads to the end: the pieces, what InvokeComplete says, and the whole response."""

    def call(name: str, event: Any = None, **parameters: Any) -> tuple[list[bytes], dict[str, Any], dict[str, Any]]:
        response = client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event), **parameters)
        events = list(response["EventStream"])
        return [one["PayloadChunk"]["Payload"] for one in events[:-1]], events[-1]["InvokeComplete"], response

    return call


@pytest.fixture(scope="module")
def streamer(client: Any) -> Any:
    from lambent.testing.service import deploy

    yield deploy(client, "streamer", CODE, Timeout=2)
    client.delete_function(FunctionName="streamer")


def test_pieces_come_one_by_one_and_the_outcome_last(streamer: str, stream: Stream) -> None:
    pieces, complete, response = stream(streamer, {"pieces": ["a", "b", "c"]})

    assert b"".join(pieces) == b"abc"
    assert complete == {}
    assert response["StatusCode"] == 200
    assert response["ExecutedVersion"] == "$LATEST"
    assert response["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"


def test_a_piece_arrives_while_the_function_still_runs_and_a_timeout_keeps_it(streamer: str, client: Any) -> None:
    response = client.invoke_with_response_stream(
        FunctionName=streamer, Payload=json.dumps({"pieces": ["early"], "sleep_s": 60})
    )
    events = iter(response["EventStream"])

    assert next(events)["PayloadChunk"]["Payload"] == b"early"
    complete = next(events)["InvokeComplete"]
    assert complete["ErrorCode"] == "Unhandled"
    assert json.loads(complete["ErrorDetails"])["errorType"] == "Sandbox.Timedout"


def test_an_error_in_the_middle_comes_with_the_outcome(streamer: str, stream: Stream) -> None:
    pieces, complete, _ = stream(streamer, {"pieces": ["a"], "raise": "late"})

    assert pieces == [b"a"]
    assert complete["ErrorCode"] == "Unhandled"
    assert json.loads(complete["ErrorDetails"])["errorMessage"] == "late"


def test_an_error_before_the_first_piece_comes_with_the_outcome(streamer: str, stream: Stream) -> None:
    pieces, complete, _ = stream(streamer, {"raise": "early"})

    assert pieces == []
    assert json.loads(complete["ErrorDetails"])["errorType"] == "ValueError"


def test_an_exit_in_the_middle_keeps_what_was_sent(streamer: str, stream: Stream) -> None:
    pieces, complete, _ = stream(streamer, {"pieces": ["a"], "exit": 3})

    assert pieces == [b"a"]
    assert json.loads(complete["ErrorDetails"])["errorType"] == "Runtime.ExitError"
    assert stream(streamer, {"pieces": ["again"]})[0] == [b"again"]


def test_the_log_tail_comes_with_the_outcome(streamer: str, stream: Stream) -> None:
    _, complete, _ = stream(streamer, {"pieces": ["a"]}, LogType="Tail")

    tail = b64decode(complete["LogResult"]).decode()
    assert "streaming" in tail
    assert "REPORT RequestId" in tail


def test_a_buffered_response_is_one_piece(function: Callable[..., str], stream: Stream) -> None:
    name = function(CODE, Handler="app.buffered")

    assert stream(name, {"a": 1})[:2] == ([b'{"a": 1}'], {})
    pieces, complete, _ = stream(name, {"raise": "no"})
    assert pieces == []
    assert json.loads(complete["ErrorDetails"])["errorMessage"] == "no"


def test_invoke_gets_a_streamed_response_whole(streamer: str, client: Any) -> None:
    response = client.invoke(FunctionName=streamer, Payload=json.dumps({"pieces": ["a", "b"]}))
    failed = client.invoke(FunctionName=streamer, Payload=json.dumps({"pieces": ["a"], "raise": "late"}))

    assert response["Payload"].read() == b"ab"
    assert "FunctionError" not in response
    assert failed["FunctionError"] == "Unhandled"
    assert json.loads(failed["Payload"].read())["errorMessage"] == "late"


def test_invoke_of_a_stream_of_more_than_6_mb_says_that_it_is_too_large(streamer: str, client: Any) -> None:
    response = client.invoke(FunctionName=streamer, Payload=b'{"mib": 20}')

    assert response["FunctionError"] == "Unhandled"
    assert json.loads(response["Payload"].read())["errorType"] == "Function.ResponseSizeTooLarge"
    assert client.invoke(FunctionName=streamer, Payload=b'{"pieces": ["fine"]}')["Payload"].read() == b"fine"


def test_a_large_stream_arrives_whole(streamer: str, stream: Stream) -> None:
    mib = int(os.environ.get("LAMBENT_STREAM_MIB", "20"))
    pieces, complete, _ = stream(streamer, {"mib": mib})

    assert (sum(map(len, pieces)), complete) == (mib * 1024 * 1024, {})


def test_a_reader_that_goes_away_leaves_the_function_running(streamer: str, client: Any, logs: Any) -> None:
    response = client.invoke_with_response_stream(
        FunctionName=streamer, Payload=json.dumps({"pieces": ["a"], "mib": 64})
    )
    next(iter(response["EventStream"]))
    response["EventStream"].close()

    assert client.invoke(FunctionName=streamer, Payload=b'{"pieces": ["b"]}')["Payload"].read() == b"b"
    request_id = response["ResponseMetadata"]["RequestId"]
    report = None
    while report is None:  # the stream is being dropped; its report comes when the function has returned
        found = logs.filter_log_events(logGroupName=f"/aws/lambda/{streamer}", filterPattern=f'REPORT "{request_id}"')
        report = next(iter(found["events"]), None)
    assert "Status: timeout" not in report["message"]


def test_a_dry_run_streams_nothing(streamer: str, client: Any) -> None:
    response = client.invoke_with_response_stream(FunctionName=streamer, InvocationType="DryRun")

    assert response["StatusCode"] == 204


def test_an_unknown_function_is_refused_before_the_stream(client: Any) -> None:
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke_with_response_stream(FunctionName="nothing")


def test_a_runtime_in_bash_streams(function: Callable[..., str], stream: Stream) -> None:
    from lambent.testing.service import make_zip

    bootstrap = (EXAMPLES / "bash-stream" / "bootstrap").read_bytes()
    package = make_zip({"bootstrap": bootstrap}, executable=("bootstrap",))
    name = function(package, Runtime="provided.al2023", Handler="unused")

    for event, expected in (({"n": 2}, b'{"n": 2}\n1\n2\n3\n'), ("again", b'"again"\n1\n2\n3\n')):
        pieces, complete, _ = stream(name, event)
        assert (b"".join(pieces), complete) == (expected, {})
        assert len(pieces) > 1


BOOTSTRAP = """#!/bin/bash
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
    event=$(curl -sS -D /tmp/headers "$api/next")
    id=$(tr -d '\\r' </tmp/headers | sed -n 's/^lambda-runtime-aws-request-id: *//Ip')
    mode="Lambda-Runtime-Function-Response-Mode: ${event//\\"/}"
    case "$event" in
        *large*) head -c 9000000 /dev/zero | curl -sS -o /dev/null --data-binary @- "$api/$id/response" ;;
        *cut*)
            exec 3<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API/://}"
            printf '%s\\r\\n' "POST /2018-06-01/runtime/invocation/$id/response HTTP/1.1" "Host: here" \\
                "${mode/cut/streaming}" "Transfer-Encoding: chunked" "" 7 $'so far\\n' >&3
            exec 3>&- ;;
        *) echo hello | curl -sS -o /dev/null -T - -X POST -H "$mode" "$api/$id/response" ;;
    esac
done
"""


@pytest.fixture(scope="module")
def by_mode(client: Any) -> Any:
    from lambent.testing.service import deploy, make_zip

    package = make_zip({"bootstrap": BOOTSTRAP}, executable=("bootstrap",))
    yield deploy(client, "by-mode", package, Runtime="provided.al2023", Handler="unused", Timeout=20)
    client.delete_function(FunctionName="by-mode")


def test_a_runtime_may_send_a_response_of_unknown_length_that_is_no_stream(by_mode: str, stream: Stream) -> None:
    assert stream(by_mode, "buffered")[:2] == ([b"hello\n"], {})
    assert stream(by_mode, "Streaming")[:2] == ([b"hello\n"], {})


def test_an_unknown_response_mode_is_an_error_of_the_runtime(by_mode: str, stream: Stream) -> None:
    pieces, complete, _ = stream(by_mode, "sometimes")

    assert pieces == []
    assert json.loads(complete["ErrorDetails"])["errorType"] == "Runtime.InvalidResponseModeHeader"
    assert stream(by_mode, "buffered")[0] == [b"hello\n"]


def test_a_response_that_announces_more_than_is_allowed_is_refused_at_once(by_mode: str, client: Any) -> None:
    response = client.invoke(FunctionName=by_mode, Payload=b'"large"')

    assert json.loads(response["Payload"].read())["errorType"] == "Function.ResponseSizeTooLarge"


def test_a_stream_that_its_runtime_gives_up_is_truncated(by_mode: str, stream: Stream) -> None:
    pieces, complete, _ = stream(by_mode, "cut")

    assert pieces == [b"so far\n"]
    assert json.loads(complete["ErrorDetails"])["errorType"] == "Runtime.TruncatedResponse"
    assert stream(by_mode, "buffered")[0] == [b"hello\n"]
