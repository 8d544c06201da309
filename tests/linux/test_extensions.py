"""Extensions in real sandboxes: when they start, what they hear, what their failures do, and how they end."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lambent.testing.service import make_zip

Invoke = Callable[..., tuple[Any, dict[str, Any]]]
Function = Callable[..., str]
Extended = Callable[..., str]
Logged = Callable[[str, str], str]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root")

EXAMPLES = Path(__file__).parents[2] / "examples" / "extensions"

EXTENSION = """#!/usr/bin/python3
import http.client, json, os, sys, time
name = os.path.basename(sys.argv[0])
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
identity = {}

def call(method, path, body=None, **headers):
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    data = None if body is None else json.dumps(body)
    api.request(method, "/2020-01-01/extension" + path, data, {**identity, **headers})
    response = api.getresponse()
    found = response.getheader("Lambda-Extension-Identifier")
    if found: identity["Lambda-Extension-Identifier"] = found
    return response.status, json.loads(response.read())

def say(*words): print(f"[{name}]", *words, flush=True)
def register(*events, **headers):
    return call("POST", "/register", {"events": events}, Lambda_Extension_Name=name, **headers)
def next_event(): return call("GET", "/event/next")[1]
"""

HEARS_ALL = """
register("INVOKE", "SHUTDOWN")
while True:
    event = next_event()
    say(event["eventType"], event.get("shutdownReason", ""))
    if event["eventType"] == "SHUTDOWN": break
"""

ECHO = "def handler(event, context):\n    return event\n"

_numbers = itertools.count()


def tail(response: dict[str, Any]) -> str:
    return base64.b64decode(response["LogResult"]).decode()


@pytest.fixture
def extended(client: Any, function: Function) -> Iterator[Extended]:
    """Deploys a function with extensions in a layer: scripts by the names of their files."""
    layers: list[str] = []

    def make(code: str, extensions: dict[str, str], *, executable: bool = True, **parameters: Any) -> str:
        files = {f"extensions/{name}": EXTENSION + script for name, script in extensions.items()}
        package = make_zip(files, executable=tuple(files) if executable else ())
        layers.append(f"test-extensions-{next(_numbers)}")
        answer = client.publish_layer_version(LayerName=layers[-1], Content={"ZipFile": package})
        return function(code, Layers=[answer["LayerVersionArn"]], **{"Timeout": 10, **parameters})

    yield make
    for layer in layers:
        client.delete_layer_version(LayerName=layer, VersionNumber=1)


@pytest.fixture
def logged(logs: Any) -> Callable[..., str]:
    """All that a function has logged, once a line is among it."""

    def read(name: str, awaited: str) -> str:
        deadline = time.monotonic() + 60
        while True:
            groups = logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
            events = logs.filter_log_events(logGroupName=groups[0]["logGroupName"])["events"] if groups else []
            text = "".join(event["message"].rstrip("\n") + "\n" for event in events)
            if awaited in text:
                return text
            assert time.monotonic() < deadline, text
            time.sleep(0.05)

    return read


@pytest.fixture
def replace(client: Any) -> Callable[[str], None]:
    """Ends a function's environments, by changing what they are made from."""

    def update(name: str) -> None:
        client.update_function_configuration(FunctionName=name, Description="another")

    return update


def test_extensions_start_first_and_hear_of_invoke_and_shutdown(
    extended: Extended, invoke: Invoke, logged: Logged, replace: Callable[[str], None]
) -> None:
    name = extended("print('function init')\n" + ECHO, {"all": "say('extension init')\n" + HEARS_ALL})

    payload, response = invoke(name, {"a": 1}, LogType="Tail")
    text = tail(response)
    replace(name)

    assert payload == {"a": 1}
    assert text.index("INIT_START") < text.index("[all] extension init") < text.index("function init")
    assert text.index("function init") < text.index("EXTENSION\tName: all\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n")
    assert text.index("EXTENSION") < text.index("START RequestId")
    assert text.index("[all] INVOKE") < text.index("REPORT")
    assert "[all] SHUTDOWN spindown" in logged(name, "[all] SHUTDOWN")


def test_an_invoke_says_what_it_is_but_not_its_payload(extended: Extended, invoke: Invoke, logged: Logged) -> None:
    script = "register('INVOKE')\nsay(json.dumps(next_event()))\nsay(json.dumps(next_event()))\n"
    name = extended(ECHO, {"json": script})

    _, response = invoke(name, "secret", LogType="Tail")

    found = re.search(r"\[json\] (\{.*\})", tail(response))
    assert found is not None
    event = json.loads(found[1])
    assert event.keys() == {"eventType", "deadlineMs", "requestId", "invokedFunctionArn", "tracing"}
    assert event["eventType"] == "INVOKE"
    assert event["requestId"] == response["ResponseMetadata"]["RequestId"]
    assert event["invokedFunctionArn"].endswith(f":function:{name}")
    assert event["tracing"]["type"] == "X-Amzn-Trace-Id"
    assert 0 < event["deadlineMs"] / 1000 - time.time() <= 10


def test_registering_tells_of_the_function(extended: Extended, invoke: Invoke) -> None:
    script = "say(json.dumps(register(Lambda_Extension_Accept_Feature='accountId')))\nnext_event()\n"
    name = extended(ECHO, {"asks": script})

    _, response = invoke(name, LogType="Tail")

    answer = {
        "functionName": name,
        "functionVersion": "$LATEST",
        "handler": "app.handler",
        "accountId": "000000000000",
    }
    assert f"[asks] {json.dumps([200, answer])}" in tail(response)


def test_extensions_see_the_functions_variables_but_not_the_runtimes(extended: Extended, invoke: Invoke) -> None:
    script = "say(json.dumps(sorted(os.environ)))\nregister()\nnext_event()\n"
    name = extended(ECHO, {"sees": script}, Environment={"Variables": {"MINE": "1"}})

    _, response = invoke(name, LogType="Tail")

    found = re.search(r"\[sees\] (\[.*\])", tail(response))
    assert found is not None
    names = set(json.loads(found[1]))
    assert {"MINE", "AWS_LAMBDA_RUNTIME_API", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "PATH", "TZ"} <= names
    assert not {"_HANDLER", "AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME", "LAMBDA_TASK_ROOT"} & names


def test_the_caller_does_not_wait_for_an_extension_but_the_bill_does(
    extended: Extended, invoke: Invoke, logged: Logged
) -> None:
    script = "register('INVOKE')\nwhile next_event(): time.sleep(0.7); say('at work until now')\n"
    name = extended(ECHO, {"slow": script})

    invoke(name)
    text = logged(name, "REPORT RequestId")

    assert text.index("END RequestId") < text.index("[slow] at work until now") < text.index("REPORT")
    billed = re.search(r"Duration: ([\d.]+) ms\tBilled Duration: (\d+) ms", text)
    assert billed is not None
    assert float(billed[1]) >= 700
    assert int(billed[2]) >= 700


def test_an_extension_that_outlasts_the_deadline_ends_the_environment_after_the_answer(
    extended: Extended, invoke: Invoke, logged: Logged
) -> None:
    hangs = "register('INVOKE')\nnext_event()\ntime.sleep(60)\n"
    name = extended(ECHO, {"all": HEARS_ALL, "hangs": hangs}, Timeout=1)

    payload, response = invoke(name, 7)
    text = logged(name, "[all] SHUTDOWN")

    assert payload == 7
    assert "FunctionError" not in response
    assert "Status: timeout" in text
    assert "[all] SHUTDOWN timeout" in text


def test_a_crash_of_an_extension_fails_the_invoke_and_tells_the_others(
    extended: Extended, invoke: Invoke, logged: Logged
) -> None:
    crashes = "register('INVOKE')\nnext_event()\nos._exit(3)\n"
    name = extended(
        "import time\ndef handler(event, context):\n    time.sleep(5)\n", {"all": HEARS_ALL, "crashes": crashes}
    )

    payload, response = invoke(name, LogType="Tail")

    assert response["FunctionError"] == "Unhandled"
    identity = response["ResponseMetadata"]["RequestId"]
    assert payload == {"errorType": "Extension.Crash", "errorMessage": f"RequestId: {identity} Error: exit status 3"}
    assert "Status: error\tError Type: Extension.Crash" in tail(response)
    assert "[all] SHUTDOWN failure" in logged(name, "[all] SHUTDOWN")


@pytest.mark.parametrize(
    ("script", "error_type", "state"),
    [
        ("os._exit(1)", "Extension.Crash", "Exited"),
        ("register()\nos._exit(1)", "Extension.Crash", "Exited"),
        (
            "register()\ncall('POST', '/init/error', {'errorMessage': 'no key'},"
            " Lambda_Extension_Function_Error_Type='Extension.NoKey')\nos._exit(1)",
            "Extension.InitError",
            "InitError",
        ),
    ],
)
def test_a_failure_before_the_first_next_fails_init_twice(
    extended: Extended, invoke: Invoke, script: str, error_type: str, state: str
) -> None:
    name = extended(ECHO, {"fails": script})

    payload, response = invoke(name, LogType="Tail")
    text = tail(response)

    assert payload["errorType"] == error_type
    assert f"EXTENSION\tName: fails\tState: {state}\tEvents: []" in text
    assert f"Phase: init\tStatus: error\tError Type: {error_type}" in text
    assert f"Phase: invoke\tStatus: error\tError Type: {error_type}" in text


def test_an_extension_may_say_that_it_must_end(extended: Extended, invoke: Invoke) -> None:
    script = (
        "register('INVOKE')\nnext_event()\ncall('POST', '/exit/error', {'errorMessage': 'disk full'},"
        " Lambda_Extension_Function_Error_Type='Extension.DiskFull')\nos._exit(1)"
    )
    name = extended("import time\ndef handler(event, context):\n    time.sleep(5)\n", {"ends": script})

    payload, response = invoke(name)

    assert payload["errorType"] == "Extension.ExitError"
    assert payload["errorMessage"].endswith("Error: disk full")
    assert response["FunctionError"] == "Unhandled"


def test_a_file_that_cannot_be_executed_is_a_launch_error(extended: Extended, invoke: Invoke) -> None:
    name = extended(ECHO, {"plain": ""}, executable=False)

    payload, response = invoke(name, LogType="Tail")

    assert payload["errorType"] == "Extension.LaunchError"
    line = "EXTENSION\tName: plain\tState: LaunchError\tEvents: []\tError Type: PermissionDenied"
    assert line in tail(response)


def test_eleven_extensions_are_too_many(extended: Extended, invoke: Invoke) -> None:
    name = extended(ECHO, {f"number-{number}": HEARS_ALL for number in range(11)})

    payload, response = invoke(name, LogType="Tail")

    assert payload["errorType"] == "Extension.LaunchError"
    assert payload["errorMessage"].endswith("Error: Extension limit (10) reached")
    line = "EXTENSION\tName: number-9\tState: LaunchError\tEvents: []\tError Type: TooManyExtensions\n"
    assert line in tail(response)


def test_a_runtime_with_an_internal_extension_is_told_to_end_before_it_is_killed(
    function: Function, invoke: Invoke, logged: Logged, replace: Callable[[str], None]
) -> None:
    code = """
import http.client, json, os, signal, threading
def call(method, path, body=None, **headers):
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    api.request(method, "/2020-01-01/extension" + path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    response = api.getresponse()
    return response.getheader("Lambda-Extension-Identifier"), response.status, json.loads(response.read())
def follow():
    while True:
        call("GET", "/event/next", Lambda_Extension_Identifier=identity)
refused = call("POST", "/register", '{"events": ["SHUTDOWN"]}', Lambda_Extension_Name="inside")[1:]
identity, *answer = call("POST", "/register", '{"events": ["INVOKE"]}', Lambda_Extension_Name="inside")
threading.Thread(target=follow, daemon=True).start()
signal.signal(signal.SIGTERM, lambda *_: print("told to end", flush=True))
def handler(event, context):
    late = call("POST", "/register", '{"events": []}', Lambda_Extension_Name="late")[1:]
    return [refused, answer[0], late]
"""
    name = function(code, MemorySize=1769)  # with less it could spend its half second waiting for the CPU

    (refused, status, late), _ = invoke(name)
    replace(name)

    assert refused[1]["errorType"] == "Extension.InvalidEventType"
    assert status == 200
    assert late == [
        403,
        {"errorMessage": "Extension registration closed already", "errorType": "Extension.RegistrationClosed"},
    ]
    text = logged(name, "told to end")
    assert "EXTENSION\tName: inside\tState: Ready\tEvents: [INVOKE]" in text


def test_an_extension_that_will_not_end_is_killed(
    extended: Extended, invoke: Invoke, logged: Logged, replace: Callable[[str], None]
) -> None:
    script = "register('SHUTDOWN')\nsay('told', next_event()['eventType'])\ntime.sleep(60)\n"
    name = extended("def handler(event, context):\n    return context.log_stream_name\n", {"stays": script})
    invoke(name)
    assert running("/opt/extensions/stays")

    replace(name)
    logged(name, "told SHUTDOWN")

    deadline = time.monotonic() + 10
    while running("/opt/extensions/stays"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def running(program: str) -> list[int]:
    return [process.pid for process in psutil.process_iter(["cmdline"]) if program in (process.info["cmdline"] or ())]


def test_a_new_generation_has_new_extensions(extended: Extended, invoke: Invoke) -> None:
    code = "import os\ndef handler(event, context):\n    if event: os._exit(1)\n"
    name = extended(code, {"all": "say('born')\n" + HEARS_ALL})
    invoke(name)
    failed, _ = invoke(name, True)

    _, response = invoke(name, LogType="Tail")

    assert failed["errorType"] == "Runtime.ExitError"
    assert tail(response).count("[all] born") == 1
    assert "[all] INVOKE" in tail(response)


def test_the_example_extensions_run_as_they_are(
    client: Any, function: Function, invoke: Invoke, logged: Logged, replace: Callable[[str], None]
) -> None:
    if shutil.which("node") is None:
        pytest.skip("one of the examples needs Node")
    files = {f"extensions/{file.name}": file.read_bytes() for file in EXAMPLES.glob("*/extensions/*")}
    package = {"ZipFile": make_zip(files, executable=tuple(files))}
    arn = client.publish_layer_version(LayerName="test-examples", Content=package)["LayerVersionArn"]
    name = function(ECHO, Layers=[arn], Timeout=20, MemorySize=512)

    identities = [invoke(name, number)[1]["ResponseMetadata"]["RequestId"] for number in range(2)]
    replace(name)

    text = logged(name, "after 2 invocations")
    assert len(files) == 3
    assert text.count("[python-extension] an invocation took") == 2
    for identity in identities:
        assert f"[node-extension] invocation {identity}" in text
        assert re.search(rf'\[bash-extension\] .*"requestId": "{identity}"', text)
    client.delete_layer_version(LayerName="test-examples", VersionNumber=1)
