"""Every outcome of reference/lifecycle.md §3, in real sandboxes, as a boto3 user sees it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest

Invoke = Callable[..., tuple[Any, dict[str, Any]]]
Function = Callable[..., str]

REPORT = re.compile(
    r"REPORT RequestId: (?P<id>[0-9a-f-]{36})\tDuration: (?P<duration>[\d.]+) ms\tBilled Duration: (?P<billed>\d+) ms\t"
    r"Memory Size: (?P<size>\d+) MB\tMax Memory Used: (?P<used>\d+) MB\t(?:Init Duration: (?P<init>[\d.]+) ms\t)?"
    r"(?P<rest>.*)\n?"
)


def tail(response: dict[str, Any]) -> str:
    return base64.b64decode(response["LogResult"]).decode()


def request_id(response: dict[str, Any]) -> str:
    found: str = response["ResponseMetadata"]["RequestId"]
    return found


def report(response: dict[str, Any]) -> re.Match[str]:
    found = REPORT.search(tail(response))
    assert found is not None, tail(response)
    assert found["id"] == request_id(response)
    return found


def test_a_success_answers_with_the_handlers_own_bytes(function: Function, invoke: Invoke) -> None:
    name = function("def handler(event, context):\n    return {'got': event, 'name': context.function_name}\n")

    payload, response = invoke(name, {"a": 1})

    assert payload == {"got": {"a": 1}, "name": name}
    assert response["StatusCode"] == 200
    assert response["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in response


def test_cold_and_warm_are_told_apart_by_the_report(function: Function, invoke: Invoke) -> None:
    name = function("def handler(event, context):\n    print('hello')\n    return None\n")

    _, cold = invoke(name, LogType="Tail")
    _, warm = invoke(name, LogType="Tail")

    assert report(cold)["init"] is not None
    assert report(warm)["init"] is None
    assert "INIT_START Runtime Version: python:3.11" in tail(cold)
    assert "INIT_START" not in tail(warm)
    identity = request_id(warm)
    assert re.fullmatch(
        rf"START RequestId: {identity} Version: \$LATEST\nhello\nEND RequestId: {identity}\nREPORT .*\t\n", tail(warm)
    )


def test_a_raised_exception_is_the_clients_error_json(function: Function, invoke: Invoke) -> None:
    name = function("def handler(event, context):\n    raise ValueError('no good')\n")

    payload, response = invoke(name, LogType="Tail")

    assert response["StatusCode"] == 200
    assert response["FunctionError"] == "Unhandled"
    assert payload["errorType"] == "ValueError"
    assert payload["errorMessage"] == "no good"
    assert payload["requestId"] == request_id(response)
    assert payload["stackTrace"] == [
        "  File \"/var/task/app.py\", line 2, in handler\n    raise ValueError('no good')\n"
    ]
    assert "[ERROR] ValueError: no good" in tail(response)
    assert "Status:" not in report(response)["rest"]


def test_a_timeout_ends_the_invoke_and_resets_the_environment(
    function: Function, invoke: Invoke, settled: Callable[[], None]
) -> None:
    name = function(
        "import os, time\nopen('/tmp/kept', 'a').write('x')\n"
        "def handler(event, context):\n"
        "    if event: time.sleep(30)\n"
        "    return [os.path.getsize('/tmp/kept'), context.log_stream_name]\n",
        Timeout=3,  # holds the second Init as well
        MemorySize=1769,
    )
    before, _ = invoke(name)

    payload, response = invoke(name, True, LogType="Tail")
    settled()
    after, again = invoke(name, LogType="Tail")

    identity = request_id(response)
    assert payload == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {identity} Error: Task timed out after 3.00 seconds",
    }
    assert response["FunctionError"] == "Unhandled"
    assert report(response)["duration"] == "3000.00"
    assert report(response)["rest"].strip() == "Status: timeout"
    assert re.search(rf"Z {identity} Task timed out after 3.00 seconds\n", tail(response))
    assert before[0] == 1
    assert after == [2, before[1]], "the same environment, initialised again, with its /tmp"
    assert report(again)["init"] is None, "a suppressed init is part of the invoke"


@pytest.mark.parametrize(
    ("end", "error_type", "reason"),
    [
        ("os._exit(0)", "Runtime.ExitError", "Runtime exited without providing a reason"),
        ("os._exit(3)", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        ("sys.exit(1)", "Runtime.ExitError", "Runtime exited with error: exit status 1"),
        ("os.kill(os.getpid(), 9)", "Runtime.ExitError", "Runtime exited with error: signal: killed"),
        ("ctypes.string_at(0)", "Runtime.ExitError", "Runtime exited with error: signal: segmentation fault"),
        ("os.abort()", "Runtime.ExitError", "Runtime exited with error: signal: aborted"),
    ],
)
def test_a_process_that_ends_is_named_with_its_reason(
    function: Function, invoke: Invoke, end: str, error_type: str, reason: str
) -> None:
    name = function(f"import ctypes, os, sys\ndef handler(event, context):\n    {end}\n")

    payload, response = invoke(name, LogType="Tail")

    assert payload == {"errorType": error_type, "errorMessage": f"RequestId: {request_id(response)} Error: {reason}"}
    assert response["FunctionError"] == "Unhandled"
    assert report(response)["rest"].strip() == f"Status: error\tError Type: {error_type}"


def test_memory_beyond_the_size_is_out_of_memory(function: Function, invoke: Invoke) -> None:
    name = function("def handler(event, context): return len(bytearray(1 << 30))", MemorySize=512, Timeout=60)

    payload, response = invoke(name, LogType="Tail")
    _, second = invoke(name)

    assert payload["errorType"] == "Runtime.OutOfMemory"
    assert report(response)["used"] == report(response)["size"] == "512"
    assert second["FunctionError"] == "Unhandled"


def test_a_response_that_is_too_large_keeps_the_environment(function: Function, invoke: Invoke) -> None:
    name = function(
        "count = 0\ndef handler(event, context):\n    global count\n    count += 1\n"
        "    return 'x' * event if event else count\n",
        MemorySize=512,
    )

    payload, response = invoke(name, 6_291_556)
    small, _ = invoke(name, 0)

    assert payload == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }
    assert response["FunctionError"] == "Unhandled"
    assert small == 2
    fits, _ = invoke(name, 6_291_554)
    assert len(fits) == 6_291_554


@pytest.mark.parametrize(
    ("files", "handler", "error_type", "message"),
    [
        ({"app.py": ""}, "app.missing", "Runtime.HandlerNotFound", "Handler 'missing' missing on module 'app'"),
        ({"app.py": ""}, "nodots", "Runtime.MalformedHandlerName", "Bad handler 'nodots'"),
        ({"app.py": ""}, "other.handler", "Runtime.ImportModuleError", "Unable to import module 'other'"),
        ({"app.py": "def handler(:"}, "app.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"),
        ({"app.py": "1 / 0"}, "app.handler", "ZeroDivisionError", "division by zero"),
    ],
)
def test_a_handler_that_cannot_be_loaded_is_named(
    function: Function, invoke: Invoke, files: dict[str, str], handler: str, error_type: str, message: str
) -> None:
    name = function(files, Handler=handler)

    payload, response = invoke(name, LogType="Tail")

    assert payload["errorType"] == error_type
    assert payload["errorMessage"].startswith(message)
    assert response["FunctionError"] == "Unhandled"
    assert "Phase: invoke\tStatus: error" in tail(response)


def test_a_slow_init_runs_again_inside_the_first_invoke(function: Function, invoke: Invoke) -> None:
    name = function(
        "import os, time\n"
        "if not os.path.exists('/tmp/second'):\n    open('/tmp/second', 'w').close()\n    time.sleep(60)\n"
        "def handler(event, context):\n    return 'made it'\n",
        Timeout=20,
    )

    payload, response = invoke(name, LogType="Tail")

    assert payload == "made it"
    assert "INIT_REPORT Init Duration: 10000.00 ms\tPhase: init\tStatus: timeout" in tail(response)
    assert report(response)["init"] is None


def test_an_init_that_fails_once_is_repeated(function: Function, invoke: Invoke) -> None:
    name = function(
        "import os\n"
        "if not os.path.exists('/tmp/second'):\n    open('/tmp/second', 'w').close()\n    os._exit(7)\n"
        "def handler(event, context):\n    return 'made it'\n"
    )

    payload, response = invoke(name, LogType="Tail")

    assert payload == "made it"
    assert "Phase: init\tStatus: error\tError Type: Runtime.ExitError" in tail(response)


def test_an_extra_thread_is_frozen_between_invokes(function: Function, invoke: Invoke) -> None:
    name = function(
        "import threading, time\nticks = 0\n"
        "def tick():\n    global ticks\n    while True:\n        ticks += 1\n        time.sleep(0.01)\n"
        "threading.Thread(target=tick, daemon=True).start()\n"
        "def handler(event, context):\n    return [ticks, time.time()]\n"
    )
    import time

    invoke(name)
    time.sleep(0.3)
    (before, _), _ = invoke(name)
    time.sleep(1.5)
    (after, _), _ = invoke(name)

    assert after - before < 60, "1.5 s unfrozen would be 150 ticks"


def test_a_missing_interpreter_is_named_in_the_answer(function: Function, invoke: Invoke) -> None:
    name = function("def handler(event, context): pass", Runtime="ruby3.4")

    payload, response = invoke(name)

    assert response["FunctionError"] == "Unhandled"
    assert "ruby3.4" in payload["errorMessage"]


def test_a_bash_runtime_speaks_the_runtime_api(function: Function, invoke: Invoke) -> None:
    from lambent.testing.service import make_zip

    bootstrap = """#!/bin/bash
set -euo pipefail
api="http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime"
while true; do
  headers=$(mktemp)
  event=$(curl -sS -D "$headers" "$api/invocation/next")
  id=$(grep -i '^lambda-runtime-aws-request-id' "$headers" | tr -d '[:space:]' | cut -d: -f2)
  echo "got $event"
  curl -sS -X POST "$api/invocation/$id/response" -d "{\\"echo\\":$event}" > /dev/null
done
"""
    name = function(
        make_zip({"bootstrap": bootstrap}, executable=("bootstrap",)), Runtime="provided.al2023", Handler="none"
    )

    payload, response = invoke(name, {"x": 1}, LogType="Tail")

    assert payload == {"echo": {"x": 1}}
    assert 'got {"x": 1}' in tail(response)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"other": ""}, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        ({"bootstrap": "#!/bin/sh\n"}, "fork/exec /var/task/bootstrap: permission denied"),
    ],
)
def test_a_bad_bootstrap_is_an_invalid_entrypoint(
    function: Function, invoke: Invoke, files: dict[str, str], message: str
) -> None:
    name = function(files, Runtime="provided.al2023", Handler="none")

    payload, response = invoke(name)

    assert payload["errorType"] == "Runtime.InvalidEntrypoint"
    assert message in payload["errorMessage"]
    assert response["FunctionError"] == "Unhandled"
