"""The Telemetry and Logs APIs in real sandboxes: what a subscriber receives, event for event, kept in golden files.

`LAMBENT_WRITE_GOLDEN=1` writes the files anew.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lambent.testing.service import RunningService, make_zip

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root")

Invoke = Callable[..., tuple[Any, dict[str, Any]]]
Function = Callable[..., str]
Subscribed = Callable[..., str]
Log = Callable[..., str]

GOLDEN = Path(__file__).parent / "golden"

SUBSCRIBER = """#!/usr/bin/python3
import http.client, http.server, json, os, socket, sys, threading, time
name = os.path.basename(sys.argv[0])
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
identity = {}

def call(method, path, body=None, **headers):
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    api.request(method, path, None if body is None else json.dumps(body), {**identity, **headers})
    response = api.getresponse()
    found = response.getheader("Lambda-Extension-Identifier")
    if found: identity["Lambda-Extension-Identifier"] = found
    return response.status, json.loads(response.read())

def say(*words): print(f"[{name}]", *words, flush=True)
told = []
def seen(event):
    say("seen", json.dumps(event))
    told.append(event["type"])

class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        assert self.headers["Content-Type"] == "application/json"
        for event in json.loads(self.rfile.read(int(self.headers["Content-Length"]))): seen(event)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    do_PUT = do_POST
    def log_message(self, *args): pass

def receive_http():
    server = http.server.ThreadingHTTPServer(("sandbox.localdomain", 8080), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()

def receive_tcp():
    def follow():
        for line in listener.accept()[0].makefile(): seen(json.loads(line))
    listener = socket.create_server(("sandbox.localdomain", 8080))
    threading.Thread(target=follow, daemon=True).start()

HTTP = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/here"}
TCP = {"protocol": "TCP", "port": 8080}

def register(*events):
    return call("POST", "/2020-01-01/extension/register", {"events": events}, Lambda_Extension_Name=name)
def subscribe(path, schema, types, destination, **more):
    body = {"schemaVersion": schema, "types": types, "destination": destination, **more}
    return call("PUT", path, body)
def next_event(): return call("GET", "/2020-01-01/extension/event/next")[1]
"""

FOLLOW = """
TYPES = ["platform", "function"]
register("SHUTDOWN")
receive_{protocol}()
say("answer", *subscribe("{path}", "{schema}", TYPES, {destination}, buffering={{"timeoutMs": 25}}))
open("/tmp/subscribed", "w").close()
reason = next_event()["shutdownReason"]
while {reports} > told.count("platform.report"): time.sleep(0.001)
say("end", reason)
"""

TELEMETRY, LOGS = "/2022-07-01/telemetry", "/2020-08-15/logs"

AFTER_SUBSCRIPTION = """
import os, time
while not os.path.exists("/tmp/subscribed"): time.sleep(0.001)  # a function may be faster than its extension
os.remove("/tmp/subscribed")
"""

FUNCTION = """
import os, time
print("init")
def handler(event, context):
    print("handling", event)
    if event == "raise": raise ValueError("no good")
    if event == "sleep": time.sleep(60)
    if event == "exit": os._exit(3)
"""

_numbers = itertools.count()


def follow(path: str = TELEMETRY, schema: str = "2022-12-13", protocol: str = "http", reports: int = 0) -> str:
    """A subscriber that prints all it gets; one that is sent lines must know how many `reports` to await at its end."""
    values = {"path": path, "schema": schema, "protocol": protocol, "reports": reports}
    return SUBSCRIBER + FOLLOW.format(destination=protocol.upper(), **values)


@pytest.fixture
def subscribed(client: Any, function: Function) -> Iterator[Subscribed]:
    """Deploys a function with one extension, `sub`, in a layer."""
    layers: list[str] = []

    def make(code: str, script: str, **parameters: Any) -> str:
        files = {"extensions/sub": script}
        layers.append(f"test-telemetry-{next(_numbers)}")
        package = {"ZipFile": make_zip(files, executable=tuple(files))}
        arn = client.publish_layer_version(LayerName=layers[-1], Content=package)["LayerVersionArn"]
        return function(code, Layers=[arn], **{"Timeout": 10, **parameters})

    yield make
    for layer in layers:
        client.delete_layer_version(LayerName=layer, VersionNumber=1)


@pytest.fixture
def log(client: Any, logs: Any) -> Log:
    """All that a function has logged once its extension has ended so often; `spindown` ends it."""

    def read(name: str, *reasons: str) -> str:
        if reasons[-1:] == ("spindown",):
            client.update_function_configuration(FunctionName=name, Description="another")
        deadline = time.monotonic() + 20
        while True:
            groups = logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
            events = logs.filter_log_events(logGroupName=groups[0]["logGroupName"])["events"] if groups else []
            text = "".join(event["message"].rstrip("\n") + "\n" for event in events)
            if (ends := tuple(re.findall(r"\[sub\] end (\w+)", text))) == reasons:
                return text
            assert time.monotonic() < deadline, (ends, text)
            time.sleep(0.05)

    return read


def received(text: str) -> list[Any]:
    return [json.loads(found) for found in re.findall(r"^\[sub\] seen (.*)$", text, re.MULTILINE)]


def normalized(value: Any, key: str = "") -> Any:
    """What differs from run to run, by what it is."""
    if isinstance(value, dict):
        return {name: normalized(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [normalized(one, key) for one in value]
    if isinstance(value, str) and key in NAMED:
        return f"<{NAMED[key]}>" if re.fullmatch(PATTERNS[NAMED[key]], value) else value
    if isinstance(value, float) or key in ("billedDurationMs", "maxMemoryUsedMB"):
        return f"<{'MB' if key.endswith('MB') else 'ms'}>" if value >= 0 else value
    if isinstance(value, str):
        return re.sub(r"RequestId: [0-9a-f-]{36}|\S+Z [0-9a-f-]{36}", "<request id>", value)
    return value


NAMED = {
    "time": "time",
    "start": "time",
    "requestId": "request id",
    "functionName": "function",
    "functionArn": "arn",
    "runtimeVersionArn": "arn",
    "instanceId": "instance",
    "value": "trace",
    "spanId": "span",
}
PATTERNS = {
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "request id": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "function": r"test-\d+",
    "arn": r"arn:aws:lambda:us-east-1:.*",
    "instance": r"[0-9a-f]{32}",
    "trace": r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=[01].*",
    "span": r"[0-9a-f]{16}",
}


def matches_golden(name: str, events: list[Any]) -> None:
    lines = [json.dumps(normalized(event)) for event in events]
    file = GOLDEN / f"{name}.jsonl"
    if os.environ.get("LAMBENT_WRITE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_text("\n".join(lines) + "\n")
    assert lines == file.read_text().splitlines()


@pytest.mark.parametrize("schema", ["2022-07-01", "2022-12-13", "2025-01-29"])
def test_a_cold_and_a_warm_invoke_and_the_end(subscribed: Subscribed, invoke: Invoke, log: Log, schema: str) -> None:
    name = subscribed(AFTER_SUBSCRIPTION + FUNCTION, follow(schema=schema))
    invoke(name, "one")
    invoke(name, "two")

    matches_golden(f"telemetry-{schema}", received(log(name, "spindown")))


@pytest.mark.parametrize("event", ["raise", "sleep", "exit"])
def test_a_failed_invoke_and_the_one_after_it_in_the_same_environment(
    subscribed: Subscribed, invoke: Invoke, log: Log, settled: Callable[[], None], event: str
) -> None:
    reasons = {"raise": [], "sleep": ["timeout"], "exit": ["failure"]}[event]
    name = subscribed(AFTER_SUBSCRIPTION + FUNCTION, follow(), Timeout=2)
    invoke(name, event)
    settled()
    invoke(name, "after")

    matches_golden(f"telemetry-{event}", received(log(name, *reasons, "spindown")))


@pytest.mark.parametrize("schema", ["2020-08-15", "2021-03-18"])
def test_the_logs_api_tells_less(subscribed: Subscribed, invoke: Invoke, log: Log, schema: str) -> None:
    name = subscribed(AFTER_SUBSCRIPTION + FUNCTION, follow(LOGS, schema), Timeout=2)
    invoke(name, "one")
    invoke(name, "sleep")

    matches_golden(f"logs-{schema}", received(log(name, "timeout")))


def test_a_listener_gets_one_record_to_a_line(subscribed: Subscribed, invoke: Invoke, log: Log) -> None:
    name = subscribed(AFTER_SUBSCRIPTION + FUNCTION, follow(protocol="tcp", reports=2))
    invoke(name, "one")
    invoke(name, "two")

    matches_golden("telemetry-2022-12-13", received(log(name, "spindown")))


REFUSALS = """
register("SHUTDOWN")
other = dict(identity)
small = {"schemaVersion": "2022-12-13", "types": ["platform"], "destination": TCP, "buffering": {"maxItems": 1}}
for body in [{}, {"schemaVersion": "2022-12-13"}, small]:
    say("refused", json.dumps(call("PUT", "/2022-07-01/telemetry", body)))
say("refused", json.dumps(call("PUT", "/2020-08-15/logs", {})))
identity["Lambda-Extension-Identifier"] = "00000000-0000-0000-0000-000000000000"
say("refused", json.dumps(call("PUT", "/2022-07-01/telemetry", {})))
del identity["Lambda-Extension-Identifier"]
say("refused", json.dumps(call("PUT", "/2022-07-01/telemetry", {})))
identity.update(other)
say("end", next_event()["shutdownReason"])
"""


def test_what_cannot_be_subscribed_to_is_refused(subscribed: Subscribed, invoke: Invoke) -> None:
    name = subscribed(FUNCTION, SUBSCRIBER + REFUSALS)

    _, response = invoke(name, LogType="Tail")

    answers = [json.loads(one) for one in re.findall(r"\[sub\] refused (.*)", tail(response))]
    assert [(status, answer["errorType"]) for status, answer in answers] == [
        (400, "ValidationError"),
        (400, "ValidationError"),
        (400, "ValidationError"),
        (400, "Logs.ValidationError"),
        (403, "Extension.UnknownExtensionIdentifier"),
        (403, "Extension.MissingExtensionIdentifier"),
    ]
    assert answers[2][1]["errorMessage"] == "buffering.maxItems must be between 1000 and 10000, not 1"


LATE = """
register("INVOKE")
next_event()
say("late", json.dumps(subscribe("/2022-07-01/telemetry", "2022-12-13", ["platform"], HTTP)))
next_event()
"""


def test_nobody_can_subscribe_after_init(subscribed: Subscribed, invoke: Invoke) -> None:
    name = subscribed(FUNCTION, SUBSCRIBER + LATE)

    _, response = invoke(name, LogType="Tail")

    error = {
        "errorMessage": "Telemetry API subscription is closed",
        "errorType": "Telemetry.SubscriptionClosed",
    }
    assert f"[sub] late {json.dumps([403, error])}" in tail(response)


OUTPUT = """
register("SHUTDOWN")
receive_http()
say("first")
subscribe("/2022-07-01/telemetry", "2022-12-13", ["extension"], HTTP, buffering={"timeoutMs": 25})
seen = lambda event: open("/tmp/seen", "a").write(json.dumps([event["type"], event["record"]]) + "\\n")
say("second")
next_event()
"""


def test_what_extensions_print_can_be_subscribed_to(subscribed: Subscribed, invoke: Invoke) -> None:
    code = (
        "import os, time\ndef handler(event, context):\n    print('not this')\n"
        "    while not os.path.exists('/tmp/seen') or 'second' not in open('/tmp/seen').read(): time.sleep(0.01)\n"
        "    return open('/tmp/seen').read().splitlines()\n"
    )
    name = subscribed(code, SUBSCRIBER + OUTPUT)

    lines, _ = invoke(name)

    assert list(map(json.loads, lines)) == [["extension", "[sub] first"], ["extension", "[sub] second"]]


def test_a_function_that_logs_objects_is_told_of_in_objects(subscribed: Subscribed, invoke: Invoke, log: Log) -> None:
    code = "def handler(event, context):\n    print('{\"a\": 1}')\n    print('{not json')\n"
    name = subscribed(code, follow(), LoggingConfig={"LogFormat": "JSON"})
    invoke(name)

    records = [one["record"] for one in received(log(name, "spindown")) if one["type"] == "function"]
    assert records == [{"a": 1}, "{not json"]


DEAF = """
register()
deaf = socket.create_server(("sandbox.localdomain", 8080), backlog=1)
say("answer", *subscribe("/2022-07-01/telemetry", "2022-12-13", ["platform", "function"], {destination}))
next_event()
"""


@pytest.mark.parametrize("destination", ["HTTP", "TCP"])
def test_a_subscriber_that_never_reads_loses_but_holds_nobody_up(
    service: RunningService, subscribed: Subscribed, invoke: Invoke, destination: str
) -> None:
    mebibytes = int(os.environ.get("LAMBENT_TELEMETRY_MIB", "12"))
    code = (
        "import sys\nline = 'x' * 1023 + '\\n'\n"
        "def handler(mebibytes, context):\n    for _ in range(mebibytes): sys.stdout.write(line * 1024)\n"
    )
    name = subscribed(code, SUBSCRIBER + DEAF.format(destination=destination), Timeout=60)
    invoke(name, 0)
    before = resident_bytes(service)

    payload, response = invoke(name, mebibytes, LogType="Tail")

    assert payload is None
    assert "FunctionError" not in response
    found = re.search(r"LOGS_DROPPED\tName: sub\tDropped Records: (\d+)\tDropped Bytes: (\d+)", tail(response))
    assert found is not None
    assert (mebibytes - 5) * 1024 < int(found[1]) < mebibytes * 1024
    assert int(found[2]) >= int(found[1]) * 1024
    assert resident_bytes(service) - before < 64 * 1024 * 1024


def resident_bytes(service: RunningService) -> int:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def tail(response: dict[str, Any]) -> str:
    return base64.b64decode(response["LogResult"]).decode()
